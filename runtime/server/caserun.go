package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/wechat"
)

// appCase runs one case of an app.
func (t *testRun) appCase(ctx context.Context, r *CaseReport, cfg *config.Config, app *config.App, c *config.Case) (err error) {
	b, err := openAppBench(ctx, cfg, app, c.Now, t.cacheDir)
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	if err != nil {
		return r.failedToOpen(err)
	}
	if err := b.give(ctx, app.Name, c.Given); err != nil {
		return err
	}
	now := c.Now
	for i, ev := range c.Events {
		now = nextTime(ev, now, i, time.Second)
		given, problem := appInput(ev, app.Name, now, i)
		if problem != nil {
			r.fail(problem.Pos, problem.Text, "", "", problem.Advice)
			break
		}
		got, err := b.deliver(ctx, now, given, ev.Answers)
		if err != nil {
			return err
		}
		r.compareApp(ev, got)
	}
	r.Log = b.log.all()
	return b.compare(ctx, r, app.Name, c.State)
}

// nextTime is what the clock shows for the event of that number, when now was for
// the one before. It goes on by otherwise where the file says nothing.
func nextTime(ev *config.CaseEvent, now time.Time, number int, otherwise time.Duration) time.Time {
	switch {
	case !ev.At.IsZero():
		return ev.At
	case ev.AfterSet:
		return now.Add(ev.After)
	case number == 0:
		return now
	}
	return now.Add(otherwise)
}

// A case's clock shows no time before and none after these: times are counted in
// nanoseconds, and WeChat's in seconds from 1970.
const (
	firstCaseYear = 1971
	lastCaseYear  = 2200
)

// clockProblem says that an event's time is none that a case's clock can show.
func clockProblem(ev *config.CaseEvent, now time.Time) *config.Problem {
	if year := now.UTC().Year(); year >= firstCaseYear && year <= lastCaseYear {
		return nil
	}
	return &config.Problem{Pos: ev.Pos, Text: "the clock would show " + now.UTC().Format(time.RFC3339), Advice: fmt.Sprintf("it goes from %d to %d", firstCaseYear, lastCaseYear)}
}

// failedToOpen takes over what keeps a case from being run; else it is the error.
func (r *CaseReport) failedToOpen(err error) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	for _, p := range problems {
		if !p.Warning {
			r.fail(p.Pos, p.Text, "", "", p.Advice)
		}
	}
	return nil
}

// appInput is what an app is given for an event.
func appInput(ev *config.CaseEvent, app string, now time.Time, number int) (in benchInput, problem *config.Problem) {
	if problem := clockProblem(ev, now); problem != nil {
		return in, problem
	}
	switch {
	case ev.Event != nil && ev.Event.Origin == config.OriginIdentity:
		in.own, problem = hostEvent(ev.Event, ev.Pos, now.Unix())
		return in, problem
	case ev.Event != nil:
		in.callback, problem = shortDocument(ev.Event, ev.Pos, app, now.Unix(), number)
		return in, problem
	}
	if in.callback, problem = readDocument(ev.Document); problem != nil {
		return in, problem
	}
	if err := wechat.Decode(app, wechat.Opened{Body: in.callback}, new(hostapi.Event)); err != nil {
		problem = &config.Problem{Pos: ev.Document.Pos, Text: "the callback: " + err.Error()}
	}
	return in, problem
}

// readDocument is a callback as the file has it, or another one.
func readDocument(d *config.CaseDocument) ([]byte, *config.Problem) {
	if d.File == "" {
		return []byte(d.Text), nil
	}
	doc, err := readAtMost(d.File, maxBody+1)
	if err != nil {
		return nil, &config.Problem{Pos: d.Pos, Text: "the callback's file can't be read: " + err.Error(), Advice: "its path is from the folder of the cases"}
	}
	if len(doc) > maxBody {
		return nil, &config.Problem{Pos: d.Pos, Text: fmt.Sprintf("the callback's file has over %d bytes", maxBody)}
	}
	return doc, nil
}

// compareApp holds what became of an app's event against what is expected. Of a
// recorded event nothing is known but its answer and the run that gave it: what ran
// beside that or later, and what that asked, is not looked at.
func (r *CaseReport) compareApp(ev *config.CaseEvent, got *benchResult) {
	before := len(r.Failures)
	if got.wrong != "" {
		r.fail(ev.Pos, got.wrong, "", "", "")
	}
	if !ev.Recorded() {
		r.unanswered(ev, got.unasked)
	}
	r.compareAsked(ev, got.asked)
	r.compareReply(ev.Reply, got.reply)
	if ev.Outcome != nil && got.answer.Outcome != ev.Outcome.Value {
		r.fail(ev.Outcome.Pos, "outcome", ev.Outcome.Value, got.answer.Outcome, "")
	}
	var steps []pipeline.Step
	var fuel int64
	var attrs []hostapi.Field
	for _, t := range got.traces {
		if t.Event.ID == got.event && t.Alone == "" {
			attrs = t.Attrs
		}
		steps = append(steps, t.Steps...)
	}
	for _, s := range steps {
		fuel += s.Fuel
	}
	r.Fuel += fuel
	r.compareAnnotations(ev.Annotations, attrs)
	if ev.Recorded() {
		steps = got.answering()
	}
	r.comparePath(ev, steps)
	r.compareFuel(ev.Fuel, fuel)
	if ev.Recorded() && len(r.Failures) > before {
		r.unanswered(ev, got.unasked)
	}
}

// answering are the steps of the run that gave the answer.
func (b *benchResult) answering() []pipeline.Step {
	for _, t := range b.traces {
		if t.Event.ID == b.event && t.Alone == "" {
			return t.Steps
		}
	}
	return nil
}

// comparePath holds the stages that ran against the path. Without a path no stage
// may end in an error, but for a recorded event of which nothing is expected.
func (r *CaseReport) comparePath(ev *config.CaseEvent, steps []pipeline.Step) {
	if ev.Path == nil {
		if ev.Recorded() && ev.Reply == nil {
			return
		}
		for _, s := range steps {
			if s.Error != "" {
				advice := "mend it, or write the path: " + pathText(steps)
				if ev.Event != nil && ev.Event.User == "" && ev.Event.From == "" {
					advice = "the event is of no user: give it one, such as user: oUser1; or " + advice
				}
				r.fail(ev.Pos, "stage "+stepText(s)+", which the case does not expect", "", "", advice)
				return
			}
		}
		return
	}
	same := slices.EqualFunc(steps, ev.Path.Value, func(s pipeline.Step, w config.StepWant) bool {
		return s.Stage == w.Stage && (w.Side == "" || s.Side == w.Side) &&
			(s.Error == "") == (w.Error == "" && w.OnError == "") &&
			(w.Error == "" || s.Error == w.Error) && (w.OnError == "" || string(s.OnError) == w.OnError)
	})
	if !same {
		r.fail(ev.Path.Pos, "path", wantedPath(ev.Path.Value), pathText(steps), "")
	}
}

// stepText is a step as failures show it.
func stepText(s pipeline.Step) string {
	text := s.Stage
	if s.Side != "" {
		text += " (" + s.Side + ")"
	}
	if s.Error != "" {
		text += " ended in an error (" + s.Error + ", then " + string(s.OnError) + ")"
	}
	return text
}

// pathText writes steps as a file of cases does.
func pathText(steps []pipeline.Step) string {
	wants := make([]config.StepWant, len(steps))
	for i, s := range steps {
		wants[i] = config.StepWant{Stage: s.Stage, Side: s.Side, Error: s.Error, OnError: string(s.OnError)}
	}
	return wantedPath(wants)
}

func wantedPath(wants []config.StepWant) string {
	texts := make([]string, len(wants))
	for i, w := range wants {
		if texts[i] = w.Stage; w.Side == "" && w.Error == "" && w.OnError == "" {
			continue
		}
		texts[i] = "{ stage: " + w.Stage
		for _, part := range [][2]string{{"side", w.Side}, {"error", w.Error}, {"on_error", w.OnError}} {
			if part[1] != "" {
				texts[i] += ", " + part[0] + ": " + part[1]
			}
		}
		texts[i] += " }"
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func (r *CaseReport) compareReply(want *config.ReplyWant, got *hostapi.Reply) {
	if want == nil {
		return
	}
	expected := pipeline.FixedReply(want.Reply)
	if (got == nil) == (expected == nil) && (got == nil || bytes.Equal(got.Append(nil), expected.Append(nil))) {
		return
	}
	r.fail(want.Pos, "reply", replyShown(expected), replyShown(got), "")
}

// replyShown is a reply as a file of cases writes it.
func replyShown(reply *hostapi.Reply) string {
	switch {
	case reply == nil:
		return "none"
	case reply.Text != nil:
		return "{ text: " + strconv.Quote(reply.Text.Content) + " }"
	case reply.Raw != nil:
		return "{ raw: " + strconv.Quote(string(reply.Raw.Body)) + " }"
	}
	return string(reply.AppendJSON(nil))
}

func (r *CaseReport) compareAnnotations(want *config.Want[map[string]string], got []hostapi.Field) {
	if want == nil {
		return
	}
	same := len(got) == len(want.Value)
	for _, f := range got {
		v, ok := want.Value[f.Name]
		same = same && ok && v == f.Value
	}
	if same {
		return
	}
	var expected []hostapi.Field
	for name, value := range want.Value {
		expected = append(expected, hostapi.Field{Name: name, Value: value})
	}
	r.fail(want.Pos, "annotations", fieldsShown(expected), fieldsShown(got), "")
}

func fieldsShown(list []hostapi.Field) string {
	texts := make([]string, len(list))
	for i, f := range list {
		texts[i] = f.Name + ": " + strconv.Quote(f.Value)
	}
	if len(texts) == 0 {
		return "{}"
	}
	slices.Sort(texts)
	return "{ " + strings.Join(texts, ", ") + " }"
}

func (r *CaseReport) compareFuel(want *config.Want[int64], got int64) {
	if want != nil && got > want.Value {
		r.fail(want.Pos, "fuel", "at most "+strconv.FormatInt(want.Value, 10), strconv.FormatInt(got, 10), "make the plugin do less, or allow more")
	}
}

// pluginCase runs one case of a plugin.
func (t *testRun) pluginCase(ctx context.Context, r *CaseReport, wasm []byte, c *config.Case) (err error) {
	b, err := openPluginBench(ctx, wasm, c, t.cacheDir)
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	if err != nil {
		return r.failedToOpen(err)
	}
	given, state := named(b.plugin.Name(), c.Given), named(b.plugin.Name(), c.State)
	if err := b.give(ctx, benchApp, given); err != nil {
		return err
	}
	now := c.Now
	for i, ev := range c.Events {
		now = nextTime(ev, now, i, 0)
		event, problem := b.event(ev, now)
		if problem != nil {
			r.fail(problem.Pos, problem.Text, "", "", problem.Advice)
			break
		}
		r.comparePlugin(ctx, b, ev, event, now)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("running a case: %w", err)
		}
	}
	r.Log = b.log.all()
	return b.compare(ctx, r, benchApp, state)
}

// named gives values of state the plugin that they are of.
func named(plugin string, values []config.StateValue) []config.StateValue {
	out := slices.Clone(values)
	for i := range out {
		out[i].Plugin = plugin
	}
	return out
}

// event is the event for a plugin.
func (b *pluginBench) event(ev *config.CaseEvent, now time.Time) (*hostapi.Event, *config.Problem) {
	if problem := clockProblem(ev, now); problem != nil {
		return nil, problem
	}
	var event *hostapi.Event
	if ev.Event != nil {
		var problem *config.Problem
		if event, problem = pluginEvent(ev.Event, ev.Pos, now.Unix()); problem != nil {
			return nil, problem
		}
	} else {
		doc, problem := readDocument(ev.Document)
		if problem != nil {
			return nil, problem
		}
		event = new(hostapi.Event)
		if err := wechat.Decode(benchApp, wechat.Opened{Body: doc}, event); err != nil {
			return nil, &config.Problem{Pos: ev.Document.Pos, Text: "the callback: " + err.Error()}
		}
	}
	if !b.plugin.Manifest().Wants(event.Type, event.Event) {
		return nil, &config.Problem{Pos: ev.Pos, Text: "the plugin takes no such event", Advice: "its plugin.yaml says which: messages, events"}
	}
	return event, nil
}

// comparePlugin runs an event and holds what came of it against what is expected.
func (r *CaseReport) comparePlugin(ctx context.Context, b *pluginBench, ev *config.CaseEvent, event *hostapi.Event, now time.Time) {
	b.out.begin(ev.Answers)
	res, err := b.handle(ctx, now, event)
	asked, unasked := b.out.take()
	r.unanswered(ev, unasked)
	r.compareAsked(ev, asked)
	outcome, reply := "error", event.Reply
	if err == nil {
		outcome = "next"
		if res.Outcome == hostapi.Done {
			outcome = "done"
		}
		if res.ReplySet {
			reply = res.Reply
		}
	}
	switch {
	case ev.Outcome != nil && outcome != ev.Outcome.Value:
		got := outcome
		if err != nil {
			got += ": " + callText(err)
		}
		r.fail(ev.Outcome.Pos, "outcome", ev.Outcome.Value, got, "")
	case ev.Outcome == nil && err != nil:
		r.fail(ev.Pos, "the plugin failed: "+callText(err), "", "", "mend it, or write outcome: error")
	}
	r.compareReply(ev.Reply, reply)
	r.compareAnnotations(ev.Annotations, res.Annotations)
	r.Fuel += res.Fuel
	r.compareFuel(ev.Fuel, res.Fuel)
}
