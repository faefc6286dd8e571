package server

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// RecordOptions say what Record asks for.
type RecordOptions struct {
	Config string // the pipeline.yaml, for the address of the host
	Admin  string // in its place: http://HOST:PORT
	Token  string // of Admin
	App    string // "": all
	Count  int    // events at most, up to MaxRecord
	For    time.Duration
	Out    string // the file of cases to be made
}

// RecordReport is what Record has made.
type RecordReport struct {
	Events  int
	LeftOut int // events that could not be recorded
}

// maxRecordLine bounds a line of a recording.
const maxRecordLine = 4 << 20

// Record has a running host tell its callbacks from now on, and makes a file of
// cases of them that Test runs. The host has replaced personal data. begun is
// called when the host records. What was told is in the file also where ctx ends.
func Record(ctx context.Context, opt RecordOptions, begun func()) (_ *RecordReport, err error) {
	out, err := os.OpenFile(opt.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the file of cases: %w: name a new one", err)
	}
	made := false
	defer func() {
		err = errors.Join(err, out.Close())
		if !made {
			err = errors.Join(err, os.Remove(opt.Out))
		}
	}()
	tape := &tape{}
	err = tape.play(ctx, opt, begun)
	if err != nil && (ctx.Err() == nil || len(tape.events) == 0) {
		return nil, err
	}
	if len(tape.events) == 0 {
		return nil, errors.New("no callback came: send some, or record for longer, with --for")
	}
	report := &RecordReport{Events: len(tape.events), LeftOut: tape.leftOut}
	if err := tape.write(out); err != nil {
		return nil, fmt.Errorf("writing the cases: %w", err)
	}
	made = true
	return report, nil
}

// tape is what a host has told.
type tape struct {
	events  []*recordedEvent
	given   []*recordedState
	leftOut int
	size    int // about, of the file
}

// play reads a recording until it ends.
func (t *tape) play(ctx context.Context, opt RecordOptions, begun func()) error {
	c, err := newAdminClient(opt.Config, opt.Admin, opt.Token)
	if err != nil {
		return err
	}
	query := url.Values{"count": {strconv.Itoa(opt.Count)}, "seconds": {strconv.Itoa(int((opt.For + time.Second - 1) / time.Second))}}
	if opt.App != "" {
		query.Set("app", opt.App)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := c.stream(ctx, "/admin/v1/record", query)
	if err != nil {
		return err
	}
	begun()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxRecordLine)
	for lines.Scan() && t.size < config.MaxFile-maxRecorded*4 {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var l recordLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return errors.Join(fmt.Errorf("reading the recording: %w: is a Weft of this version running there?", err), body.Close())
		}
		t.add(&l, 2*len(lines.Bytes()))
	}
	err = lines.Err()
	cancel()
	if errClose := body.Close(); err == nil && !errors.Is(errClose, context.Canceled) {
		err = errClose
	}
	if err != nil {
		return fmt.Errorf("reading the recording: %w", err)
	}
	return nil
}

func (t *tape) add(l *recordLine, size int) {
	t.leftOut += l.LeftOut
	t.size += size
	if l.Event != nil {
		t.events = append(t.events, l.Event)
	}
	if l.Given != nil {
		t.given = append(t.given, l.Given)
	}
}

// write writes the cases: one for each app, its events in the order in which they
// came.
func (t *tape) write(w io.Writer) error {
	slices.SortStableFunc(t.events, func(a, b *recordedEvent) int { return cmp.Or(strings.Compare(a.App, b.App), a.At.Compare(b.At)) })
	slices.SortStableFunc(t.given, func(a, b *recordedState) int {
		return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.Plugin, b.Plugin))
	})
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Recorded by `weft test --record`, with personal data replaced.\nweft: 1\napp: %s\ncases:\n", t.events[0].App)
	for rest := t.events; len(rest) > 0; {
		app, n := rest[0].App, 0
		for n < len(rest) && rest[n].App == app {
			n++
		}
		t.writeCase(&b, app, rest[:n])
		rest = rest[n:]
	}
	if _, problems := config.ParseCases("the recording", b.Bytes()); problems.Err() != nil {
		return fmt.Errorf("the host told what makes no cases: %w", problems)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (t *tape) writeCase(b *bytes.Buffer, app string, events []*recordedEvent) {
	at := func(when time.Time) string { return when.Format(time.RFC3339Nano) }
	fmt.Fprintf(b, "  - name: recorded of %s at %s\n    app: %s\n    now: %s\n", app, at(events[0].At), app, at(events[0].At))
	t.writeGiven(b, app)
	b.WriteString("    events:\n")
	for _, e := range events {
		fmt.Fprintf(b, "      - recorded: { at: %s, body: %s }\n", at(e.At), jsonText(e.Body))
		writeAnswers(b, "upstreams", e.Upstreams)
		writeAnswers(b, "wechat", e.WeChat)
		e.writeExpected(b)
	}
}

func writeAnswers(b *bytes.Buffer, section string, answers map[string]*recordedAnswer) {
	if len(answers) == 0 {
		return
	}
	fmt.Fprintf(b, "        %s:\n", section)
	for _, name := range sortedKeys(answers) {
		a := answers[name]
		fmt.Fprintf(b, "          %s: { status: %d, type: %s, body: %s }\n", name, a.Status, jsonText(a.Type), jsonText(a.Body))
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// writeGiven writes the state of an app before its first event.
func (t *tape) writeGiven(b *bytes.Buffer, app string) {
	plugin, any := "", false
	for _, g := range t.given {
		if g.App != app {
			continue
		}
		if !any {
			b.WriteString("    given:\n")
			any = true
		}
		if g.Plugin != plugin {
			plugin = g.Plugin
			fmt.Fprintf(b, "      %s:\n", plugin)
		}
		key := "app:" + g.Key
		if g.User != "" {
			key = "user:" + g.User + ":" + g.Key
		}
		fmt.Fprintf(b, "        %s: %s\n", jsonText(key), jsonText(g.Value))
	}
}

// writeExpected writes what is expected of an event.
func (e *recordedEvent) writeExpected(b *bytes.Buffer) {
	switch {
	case !e.Sure:
		b.WriteString("        # It hung on the moment: nothing is expected.\n")
		return
	case e.Raw != "":
		fmt.Fprintf(b, "        reply: { raw: %s }\n", jsonText(e.Raw))
	case e.Reply != nil:
		fmt.Fprintf(b, "        reply: %s\n", yamlSafe(e.Reply))
	default:
		b.WriteString("        reply: none\n")
	}
	if e.Path == nil {
		return
	}
	steps := make([]config.StepWant, len(e.Path))
	for i, s := range e.Path {
		steps[i] = config.StepWant(s)
	}
	fmt.Fprintf(b, "        path: %s\n", wantedPath(steps))
}
