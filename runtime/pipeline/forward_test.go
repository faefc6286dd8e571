package pipeline

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// service is an Upstream that takes its time and notes what it gets.
type service struct {
	delay    time.Duration
	failures atomic.Int32 // requests that fail before one succeeds
	reason   string       // of a failure
	verbatim *Verbatim
	reply    *hostapi.Reply

	came journal[*Callback] // of raw ones
	sent journal[Call]      // of JSON ones; its slices are copies
}

func (s *service) wait(ctx context.Context) error {
	if !pause(ctx, s.delay) {
		return ctx.Err()
	}
	if s.failures.Add(-1) >= 0 {
		return reasonError(s.reason)
	}
	return nil
}

func (s *service) ForwardRaw(ctx context.Context, _ *hostapi.Event, came *Callback) (*Verbatim, error) {
	s.came.add(came)
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.verbatim, nil
}

func (s *service) Read(_ *hostapi.Event, v *Verbatim) (*hostapi.Reply, error) {
	switch {
	case v.Silent:
		return nil, nil
	case string(v.Body) == "broken":
		return nil, reasonError("upstream")
	}
	return textReply(string(v.Body)), nil
}

func (s *service) ForwardJSON(ctx context.Context, call *Call) (*hostapi.Reply, error) {
	c := *call
	c.Attrs = slices.Clone(c.Attrs)
	s.sent.add(c)
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.reply, nil
}

func newService() *service {
	return &service{reason: "upstream", verbatim: &Verbatim{ContentType: "text/xml", Body: []byte("<xml>legacy</xml>")}}
}

// forward adds a stage that forwards to s.
func (w *world) forward(name string, as config.ForwardAs, s Upstream) *config.Stage {
	w.ups[name] = s
	st := &config.Stage{Name: name, Forward: &config.Forward{To: &config.Upstream{Name: name}, As: as}}
	w.pipe.Stages = append(w.pipe.Stages, st)
	return st
}

// The callback goes out as it came; what comes back is the answer of every
// delivery, in place of an earlier reply, and ends the stages.
func TestForwardRaw(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, after := newService(), &fake{}
		s.delay = time.Second
		var seen *hostapi.Reply
		always := &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			seen = c.Reply
			return Result{}, nil
		}}
		w.stage("early", takes(0, "early"))
		w.forward("legacy", config.ForwardRaw, s)
		w.stage("after", after)
		w.always("count", always)
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 500*ms, "e1")
		for i, g := range []got{<-first, <-second, <-w.async(t.Context(), 5*time.Second, "e1")} {
			if g.answer.Kind != Forwarded || g.answer.Verbatim != s.verbatim || g.answer.Reply != nil {
				t.Errorf("delivery %d: %+v", i+1, g)
			}
		}
		came := s.came.all()
		if len(came) != 1 || came[0].Query != "nonce=e1" || came[0].ContentType != "text/xml" || string(came[0].Body) != "came e1" {
			t.Errorf("came %+v", came)
		}
		if after.runs.Load() != 0 || always.runs.Load() != 1 || seen != nil {
			t.Errorf("%d runs after it, %d of always, which saw the reply %v", after.runs.Load(), always.runs.Load(), seen)
		}
		if w.outcome("replied") != 1 || w.outcome("repeat") != 2 {
			t.Errorf("%d replied, %d repeats", w.outcome("replied"), w.outcome("repeat"))
		}
		if got, want := w.engine.ledger.bytes, recordOverhead+len("text/xml")+len("<xml>legacy</xml>"); got < want {
			t.Errorf("the record is said to have %d bytes, and has %d", got, want)
		}
		w.pass(time.Minute)
		if a := w.deliver("e1"); a.Kind != Success {
			t.Errorf("after dedupe: %+v", a)
		}
		w.store.mustBeEmpty(t)
	})
}

// An answer that has nothing for the user is given as it came, too, and counts
// as success.
func TestForwardRawSilent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := newService()
		s.verbatim = &Verbatim{ContentType: "text/html", Body: []byte("success"), Silent: true}
		w.forward("legacy", config.ForwardRaw, s)
		w.app.Type = config.MiniProgram
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Forwarded || a.Verbatim != s.verbatim || a.Outcome != "success" {
			t.Errorf("%+v", a)
		}
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 0 {
			t.Errorf("%d late replies", n)
		}
	})
}

// A raw forward needs a callback: events of other origins pass it by.
func TestForwardRawOfOtherOrigins(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		raw, json := newService(), newService()
		json.reply = textReply("json")
		w.forward("legacy", config.ForwardRaw, raw).When = `1/0 > 0` // would fail
		w.forward("orders", config.ForwardJSON, json)
		w.up()
		defer w.down()
		for _, origin := range []string{"api", "plugin", "schedule", "identity", ""} {
			ev := event("e-" + origin)
			ev.Origin = origin
			if a := w.deliverEvent(t.Context(), ev); !isText(a, "json") {
				t.Errorf("%s: %+v", origin, a)
			}
		}
		if n := len(raw.came.all()); n != 0 {
			t.Errorf("%d were forwarded raw", n)
		}
	})
}

// From the queue there is no callback as it came. What is answered then is late.
func TestForwardRawFromQueue(t *testing.T) {
	for name, tc := range map[string]struct {
		silent bool
		late   int
	}{"a reply": {late: 1}, "nothing": {silent: true}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				s, before := newService(), &fake{}
				s.failures.Store(2)
				s.verbatim.Silent = tc.silent
				w.stage("before", before)
				w.forward("legacy", config.ForwardRaw, s).OnError = &config.OnError{Kind: config.Queue}
				w.up()
				defer w.down()
				if a := w.deliver("e1"); a.Kind != Success || a.Outcome != "queued" {
					t.Errorf("%+v", a)
				}
				w.pass(time.Minute)
				came := s.came.all()
				if len(came) != 3 || came[0] == nil || came[1] != nil || came[2] != nil {
					t.Errorf("came %v", came)
				}
				if before.runs.Load() != 1 {
					t.Errorf("the stage before ran %d times", before.runs.Load())
				}
				if n := w.count("weft_late_replies_total", "shop", "drop"); n != tc.late {
					t.Errorf("%d late replies", n)
				}
				w.store.mustBeEmpty(t)
			})
		})
	}
}

// An answer after answer_within is late; the event is in the queue until then.
func TestForwardRawLate(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := newService()
		s.delay = 6 * time.Second
		w.forward("legacy", config.ForwardRaw, s)
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), 0, "e1"); g.answer.Kind != Success || g.answer.Outcome != "late" || g.at != 4500*ms {
			t.Errorf("%+v", g)
		}
		if len(w.store.list()) != 1 {
			t.Error("it is not in the queue")
		}
		w.pass(2 * time.Second)
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 1 {
			t.Errorf("%d late replies", n)
		}
		w.store.mustBeEmpty(t)
	})
}

// JSON: a reply is the reply so far, no reply leaves it, and the stages go on.
func TestForwardJSON(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		silent, speaks, side := newService(), newService(), newService()
		speaks.reply, side.reply = textReply("orders"), textReply("never")
		w.stage("first", &fake{handle: func(context.Context, *Call) (Result, error) {
			return Result{Reply: textReply("early"), ReplySet: true, Annotations: []hostapi.Field{{Name: "tag", Value: "vip"}}}, nil
		}})
		w.forward("silent", config.ForwardJSON, silent).When = `attrs["tag"] == "vip"`
		w.forward("orders", config.ForwardJSON, speaks)
		last := &fake{}
		w.stage("last", last)
		w.pipe.Always, w.pipe.Stages = append(w.pipe.Always, w.forward("side", config.ForwardJSON, side)), w.pipe.Stages[:4]
		w.up()
		defer w.down()
		if a := w.deliver("e1"); !isText(a, "orders") {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		for name, c := range map[string]struct {
			*service
			reply   string
			passive bool
		}{"silent": {silent, "early", true}, "orders": {speaks, "early", true}, "side": {side, "orders", false}} {
			sent := c.sent.all()
			if len(sent) != 1 || sent[0].Event.ID != "e1" || sent[0].Reply.Text.Content != c.reply || sent[0].Passive != c.passive ||
				!slices.Equal(sent[0].Attrs, []hostapi.Field{{Name: "tag", Value: "vip"}}) {
				t.Errorf("%s: sent %+v", name, sent)
			}
		}
		if last.runs.Load() != 1 {
			t.Error("the stages ended")
		}
	})
}

// A raw forward under always has the callback, and its answer goes nowhere.
func TestForwardRawAlways(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := newService()
		w.stage("first", takes(0, "early"))
		w.pipe.Always, w.pipe.Stages = append(w.pipe.Always, w.forward("legacy", config.ForwardRaw, s)), w.pipe.Stages[:1]
		last := &fake{}
		w.always("last", last)
		w.up()
		defer w.down()
		if a := w.deliver("e1"); !isText(a, "early") {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		if came := s.came.all(); len(came) != 1 || string(came[0].Body) != "came e1" || last.runs.Load() != 1 {
			t.Errorf("came %v, then %d runs", came, last.runs.Load())
		}
	})
}

// Each form of on_error, for each form of a forward and each reason: what the
// user gets, what is counted, what is logged.
func TestForwardOnError(t *testing.T) {
	for name, tc := range map[string]struct {
		onError config.OnError
		kind    AnswerKind
		text    string
		outcome string
		at      time.Duration
		after   int32
		always  int32
		queue   int
	}{
		"skip":   {onError: config.OnError{Kind: config.Skip}, kind: Replied, text: "early", outcome: "replied", after: 1, always: 1},
		"stop":   {onError: config.OnError{Kind: config.Stop}, kind: Success, outcome: "stopped", always: 1},
		"reply":  {onError: config.OnError{Kind: config.GiveReply, Reply: &config.Reply{Text: &config.Text{Content: "sorry"}}}, kind: Replied, text: "sorry", outcome: "replied", always: 1},
		"plugin": {onError: config.OnError{Kind: config.Instead, Plugin: &config.Plugin{Name: "other"}}, kind: Replied, text: "other", outcome: "replied", after: 1, always: 1},
		"queue":  {onError: config.OnError{Kind: config.Queue}, kind: Success, outcome: "queued", always: 1, queue: 1},
		"again":  {onError: config.OnError{Kind: config.Again}, kind: Again, outcome: "again", at: 4500 * ms},
	} {
		for _, as := range []config.ForwardAs{config.ForwardRaw, config.ForwardJSON} {
			for _, reason := range []string{"upstream", "timeout", "busy"} {
				t.Run(name+" "+string(as)+" "+reason, func(t *testing.T) {
					bubble(t, func(t *testing.T, w *world) {
						s, after, always := newService(), &fake{}, &fake{}
						s.failures.Store(1000)
						s.reason = reason
						w.plugins["other"] = takes(0, "other")
						w.stage("first", takes(0, "early"))
						w.forward("legacy", as, s).OnError = &tc.onError
						w.stage("after", after)
						w.always("count", always)
						w.up()
						defer w.down()
						g := <-w.async(t.Context(), 0, "e1")
						synctest.Wait()
						if g.answer.Kind != tc.kind || g.at != tc.at || tc.kind == Replied && !isText(g.answer, tc.text) || w.outcome(tc.outcome) != 1 {
							t.Errorf("answer %+v at %v", g.answer, g.at)
						}
						if after.runs.Load() != tc.after || always.runs.Load() != tc.always || len(w.store.list()) != tc.queue {
							t.Errorf("%d runs after it, %d of always, %d entries", after.runs.Load(), always.runs.Load(), len(w.store.list()))
						}
						if n := w.count("weft_stage_errors_total", "main", reason, "legacy"); n != 1 {
							t.Errorf("%d errors counted", n)
						}
						if n := strings.Count(w.logged(), `stage=legacy event_id=e1 reason=`+reason); n != 1 {
							t.Errorf("%d lines logged: %s", n, w.logged())
						}
					})
				})
			}
		}
	}
}

// A forward to what Build was not given is a problem.
func TestForwardToNothing(t *testing.T) {
	w := newWorld(t)
	w.forward("legacy", config.ForwardRaw, nil).Pos = config.Pos{File: "p.yaml", Line: 7, Col: 9}
	_, problems := Build(&config.Config{Apps: []*config.App{w.app}, Pipelines: []*config.Pipeline{w.pipe}}, nil)
	if problems.Error() != "p.yaml:7:9: upstream legacy is not there" {
		t.Errorf("got %v", problems)
	}
}

// In a branch a raw forward has the callback; its answer is a branch's reply as
// any other, so that the last branch in list order wins, and ends the stages.
func TestForwardRawBeside(t *testing.T) {
	for name, tc := range map[string]struct {
		last *fake  // the branch after it
		raw  bool   // the upstream's answer is the event's
		text string // else
	}{
		"alone":                  {last: &fake{}, raw: true},
		"a later branch replies": {last: takes(0, "last"), text: "last"},
		"a later branch stops":   {last: failing("trap")},
		"a later branch takes it back": {last: &fake{handle: func(context.Context, *Call) (Result, error) {
			return Result{ReplySet: true}, nil
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				s, after := newService(), &fake{}
				s.delay = time.Second // the last to end
				raw := w.forward("legacy", config.ForwardRaw, s)
				w.pipe.Stages = []*config.Stage{replyStage("early", "early"), {Name: "both", Parallel: []*config.Stage{raw, w.side("last", tc.last)}}, w.side("after", after)}
				w.up()
				defer w.down()
				a := w.deliver("e1")
				switch {
				case tc.raw && (a.Kind != Forwarded || a.Verbatim != s.verbatim), tc.text != "" && !isText(a, tc.text), !tc.raw && tc.text == "" && a.Kind != Success:
					t.Errorf("%+v", a)
				}
				if came := s.came.all(); len(came) != 1 || came[0] == nil || string(came[0].Body) != "came e1" {
					t.Errorf("came %+v", came)
				}
				if after.runs.Load() != 0 {
					t.Error("the stages went on")
				}
				w.store.mustBeEmpty(t)
			})
		})
	}
}

// What a raw forward was answered, where a branch beside it is queued, is late;
// it is not forwarded again.
func TestForwardRawBesideQueued(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, other := newService(), failing("trap")
		raw := w.forward("legacy", config.ForwardRaw, s)
		queues := w.side("other", other)
		queues.OnError = &config.OnError{Kind: config.Queue}
		w.pipe.Stages = []*config.Stage{{Name: "both", Parallel: []*config.Stage{raw, queues}}}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success || a.Outcome != "queued" {
			t.Errorf("%+v", a)
		}
		w.pass(10 * time.Second)
		if n := len(s.came.all()); n != 1 || other.runs.Load() < 2 {
			t.Errorf("forwarded %d times, the other ran %d times", n, other.runs.Load())
		}
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 1 {
			t.Errorf("%d late replies", n)
		}
	})
}

// Async forwards run from the queue: raw without the callback as it came. None
// changes the answer or ends the stages, and a raw one is skipped for events of
// other origins.
func TestForwardAsync(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		raw, json, counted := newService(), newService(), newService()
		raw.failures.Store(2)
		json.reply = textReply("never")
		w.stage("tag", gives(Result{Annotations: tag("x", "1")}))
		later(w.forward("legacy", config.ForwardRaw, raw))
		later(w.forward("orders", config.ForwardJSON, json))
		w.stage("last", takes(0, "answer"))
		w.pipe.Always, w.pipe.Stages = append(w.pipe.Always, later(w.forward("counted", config.ForwardRaw, counted))), w.pipe.Stages[:4]
		w.up()
		defer w.down()
		ev := event("e2")
		ev.Origin = "api"
		for _, ev := range []*hostapi.Event{event("e1"), ev} {
			if a := w.deliverEvent(t.Context(), ev); !isText(a, "answer") {
				t.Errorf("%s: %+v", ev.ID, a)
			}
		}
		if want := []string{"e1/legacy e1/orders e1/counted", "e2/orders"}; !slices.Equal(w.store.writes, want) {
			t.Errorf("written %q, want %q", w.store.writes, want)
		}
		w.pass(time.Minute)
		if came := raw.came.all(); len(came) != 3 || came[0] != nil || came[2] != nil {
			t.Errorf("raw: came %v", came)
		}
		if came := counted.came.all(); len(came) != 1 || came[0] != nil {
			t.Errorf("raw under always: came %v", came)
		}
		sent := json.sent.all()
		if len(sent) != 2 || sent[0].Passive || !slices.Equal(sent[0].Attrs, tag("x", "1")) {
			t.Errorf("json: sent %+v", sent)
		}
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 0 {
			t.Errorf("%d late replies", n)
		}
		w.store.mustBeEmpty(t)
	})
}

// A trace has forwards as it has calls of plugins, and what a raw one was
// answered.
func TestForwardTrace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var traces journal[*Trace]
		bad, good := newService(), newService()
		bad.failures.Store(1)
		w.forward("orders", config.ForwardJSON, bad).OnError = &config.OnError{Kind: config.Skip}
		w.forward("legacy", config.ForwardRaw, good)
		w.up()
		defer w.down()
		w.engine.Watch(traces.add)
		w.deliver("e1")
		synctest.Wait()
		all := traces.all()
		if len(all) != 1 || told(all[0]) != "e1 1 done [none] orders:upstream>skip legacy" || all[0].Verbatim != good.verbatim || all[0].Steps[1].Outcome != hostapi.Done {
			t.Errorf("got %+v", all)
		}
	})
}
