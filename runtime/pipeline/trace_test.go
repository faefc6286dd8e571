package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// told writes a trace as a line.
func told(t *Trace) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %s", t.Event.ID, t.Event.Attempt, t.End)
	if t.Durable {
		b.WriteString(" durable")
	}
	if t.Alone != "" {
		b.WriteString(" alone")
	}
	fmt.Fprintf(&b, " [%s]", shown(t.Attrs, t.Reply))
	for _, s := range t.Steps {
		fmt.Fprintf(&b, " %s", s.Stage)
		if s.Side != "" {
			b.WriteString("/" + s.Side)
		}
		if s.Always {
			b.WriteString("!")
		}
		if s.Fuel != 0 {
			fmt.Fprintf(&b, "=%d", s.Fuel)
		}
		if s.Error != "" {
			fmt.Fprintf(&b, ":%s>%s", s.Error, s.OnError)
		}
	}
	return b.String()
}

// A trace has the stages that ran, in order, with what followed their errors.
func TestTrace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var traces journal[string]
		onError := func(st *config.Stage, then config.OnError) *config.Stage {
			st.OnError = &then
			return st
		}
		w.plugins["other"] = gives(Result{Fuel: 3})
		w.plugins["worse"] = failing("trap")
		unwanted := w.side("unwanted", &fake{wants: func(string, string) bool { return false }})
		w.pipe.Stages = []*config.Stage{
			unwanted,
			w.side("a", gives(Result{Annotations: tag("x", "1"), Fuel: 7})),
			{Name: "no", When: `content == "bye"`, Reply: &config.Reply{Text: &config.Text{Content: "bye"}}},
			onError(w.side("b", failing("fuel")), config.OnError{Kind: config.Skip}),
			onError(w.side("c", failing("error")), config.OnError{Kind: config.Instead, Plugin: &config.Plugin{Name: "other"}}),
			{Name: "ways", Switch: []*config.Branch{{Stages: []*config.Stage{replyStage("r", "said")}}}},
			{Name: "all", Parallel: []*config.Stage{
				w.side("slow", takes(time.Second, "slow")),
				list("l", w.side("d", &fake{}), onError(w.side("e", failing("timeout")), config.OnError{Kind: config.Skip})),
			}},
			later(w.side("async", &fake{})),
		}
		w.pipe.Always = []*config.Stage{
			onError(w.side("count", failing("memory")), config.OnError{Kind: config.Instead, Plugin: &config.Plugin{Name: "worse"}}),
		}
		w.up()
		defer w.down()
		w.deliver("unseen")
		if err := w.engine.Idle(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.engine.Watch(func(t *Trace) { traces.add(told(t)) })
		w.deliver("e1")
		if err := w.engine.Idle(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"e1 1 done [x=1 slow] a=7 b:fuel>skip c:error>plugin c/instead=3 r all slow d e:timeout>skip count!:memory>plugin count/instead!:trap>stop",
			"e1 1 done durable alone [x=1 none] async",
		}
		got := traces.all() // in the order in which the runs ended
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		w.engine.Watch(nil)
		w.deliver("e2")
		if n := len(traces.all()); n != 2 {
			t.Errorf("%d traces, and nobody watched the last event", n)
		}
	})
}

// Where a condition can't be computed there is a step all the same; a stop takes
// the reply back.
func TestTraceStop(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var traces journal[string]
		w.pipe.Stages = []*config.Stage{
			replyStage("r", "said"),
			{Name: "bad", When: `labels["x"] > "1" && int(content) > 1`, Reply: &config.Reply{Text: &config.Text{Content: "x"}}},
		}
		w.app.Labels = map[string]string{"x": "2"}
		w.up()
		defer w.down()
		w.engine.Watch(func(t *Trace) { traces.add(told(t)) })
		w.deliver("e1")
		if err := w.engine.Idle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := traces.all(), []string{"e1 1 stopped [none] r bad:when>stop"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Idle waits for durable runs that are due, and not for those that are not.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(10*time.Second, "late")
		w.stage("slow", p)
		w.stage("queued", failing("trap")).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != outcomeLate {
			t.Fatalf("%+v", a)
		}
		if err := w.engine.Idle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(w.start); d < 10*time.Second || d >= 10*time.Second+10*time.Millisecond {
			t.Errorf("idle after %s", d)
		}
		if n := w.count("weft_stage_errors_total", "main", "trap", "queued"); n != 1 {
			t.Errorf("%d errors of the stage whose next try is not due", n)
		}
	})
}

// A watcher that is not there costs nothing.
func TestNoTraceNoAllocation(t *testing.T) {
	var tr *Trace
	st, res := &stage{name: "a"}, &Result{Outcome: hostapi.Next}
	if n := testing.AllocsPerRun(100, func() {
		tr.add(Step{Stage: st.name})
		tr.call(st, "", res, nil, 0)
		tr.failed(st, "", "")
		tr.join(tr.branch())
		tr.give()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Records, what is due in the queue and CreateTime go by the clock that the engine
// was given.
func TestClock(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var ahead atomic.Int64 // of the real clock
		ahead.Store(int64(1000 * time.Hour))
		w.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		w.start = w.now()
		p := takes(0, "said")
		w.stage("a", p)
		w.up()
		defer w.down()
		for i, want := range []struct {
			ahead   time.Duration
			outcome string
			runs    int32
		}{
			{0, outcomeReplied, 1},
			{59 * time.Second, outcomeRepeat, 1},
			{time.Second, outcomeRepeat, 1}, // the bare id
			{10 * time.Minute, outcomeReplied, 2},
		} {
			synctest.Wait() // the run of the delivery before has ended
			ahead.Add(int64(want.ahead))
			if a := w.deliver("e1"); a.Outcome != want.outcome || p.runs.Load() != want.runs {
				t.Errorf("delivery %d: %s, %d runs", i, a.Outcome, p.runs.Load())
			} else if a.Kind == Replied && i != 1 && a.Created != w.now().Unix() {
				t.Errorf("delivery %d: made at %d", i, a.Created)
			}
		}
	})
}
