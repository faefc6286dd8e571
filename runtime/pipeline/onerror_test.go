package pipeline

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// mishaps are how the stage of a table fails, by the reason, and how long it takes
// until then: a plugin that fails, and one that overruns its time.
func mishaps() map[string]time.Duration {
	return map[string]time.Duration{"trap": 0, "timeout": 2 * time.Second}
}

// mishap makes a plugin that fails after a time, with what must not be left.
func mishap(reason string, after time.Duration) *fake {
	return &fake{handle: func(context.Context, *Call) (Result, error) {
		time.Sleep(after)
		return Result{Reply: textReply("no"), ReplySet: true, Annotations: tag("no", "1")}, reasonError(reason)
	}}
}

// failed checks that stage broken of event e1 failed so often for each reason,
// by what is counted and logged, and that nothing else is logged as an error.
func (w *world) failed(errors map[string]int) {
	w.t.Helper()
	all := 0
	for reason, n := range errors {
		all += n
		if got := w.count("weft_stage_errors_total", "main", reason, "broken"); got != n {
			w.t.Errorf("%d errors of reason %s, want %d", got, reason, n)
		}
		line := `level=ERROR msg="stage failed" app=shop pipeline=main stage=broken event_id=e1 reason=` + reason + ` error=`
		if got := strings.Count(w.logged(), line); got != n {
			w.t.Errorf("logged %d times, want %d: %s", got, n, line)
		}
	}
	if got := strings.Count(w.logged(), "level=ERROR"); got != all {
		w.t.Errorf("%d errors are logged, want %d:\n%s", got, all, w.logged())
	}
}

// Each form of on_error, where the stage fails and where it overruns: what the
// user gets, what is counted, what is logged. Before the stage that fails an
// earlier one has set a reply, after it a later one runs. In the table the mishap
// is a trap.
func TestOnError(t *testing.T) {
	text := func(s string) *config.Reply { return &config.Reply{Text: &config.Text{Content: s}} }
	for name, tc := range map[string]struct {
		onError config.OnError
		plugin  Plugin // fails; nil: it has each of the mishaps
		other   *fake  // of the form plugin

		kind    AnswerKind
		text    string
		outcome string
		at      time.Duration
		after   int32 // runs of the stage after the failed one
		always  int32
		errors  map[string]int // weft_stage_errors_total by reason
		queue   int            // entries right after the answer
	}{
		"skip": {
			onError: config.OnError{Kind: config.Skip},
			kind:    Replied, text: "early", outcome: "replied", after: 1, always: 1, errors: map[string]int{"trap": 1},
		},
		"stop": {
			onError: config.OnError{Kind: config.Stop},
			kind:    Success, outcome: "stopped", always: 1, errors: map[string]int{"trap": 1},
		},
		"reply": {
			onError: config.OnError{Kind: config.GiveReply, Reply: text("busy, try later")},
			kind:    Replied, text: "busy, try later", outcome: "replied", always: 1, errors: map[string]int{"trap": 1},
		},
		"plugin goes on": {
			onError: config.OnError{Kind: config.Instead}, other: &fake{},
			kind: Replied, text: "early", outcome: "replied", after: 1, always: 1, errors: map[string]int{"trap": 1},
		},
		"plugin replies": {
			onError: config.OnError{Kind: config.Instead},
			other: &fake{handle: func(context.Context, *Call) (Result, error) {
				return Result{Outcome: hostapi.Done, Reply: textReply("other"), ReplySet: true}, nil
			}},
			kind: Replied, text: "other", outcome: "replied", always: 1, errors: map[string]int{"trap": 1},
		},
		"plugin fails too": {
			onError: config.OnError{Kind: config.Instead}, other: failing("busy"),
			kind: Success, outcome: "stopped", always: 1, errors: map[string]int{"trap": 1, "busy": 1},
		},
		"plugin does not want it": {
			onError: config.OnError{Kind: config.Instead}, other: &fake{wants: func(string, string) bool { return false }},
			kind: Replied, text: "early", outcome: "replied", after: 1, always: 1, errors: map[string]int{"trap": 1},
		},
		"queue": {
			onError: config.OnError{Kind: config.Queue},
			kind:    Success, outcome: "queued", always: 1, errors: map[string]int{"trap": 1}, queue: 1,
		},
		"again": {
			onError: config.OnError{Kind: config.Again},
			kind:    Again, outcome: "again", at: 4500 * ms, errors: map[string]int{"trap": 1},
		},
		"reason of its own": {
			onError: config.OnError{Kind: config.Skip}, plugin: failing("user oABC"),
			kind: Replied, text: "early", outcome: "replied", after: 1, always: 1, errors: map[string]int{"error": 1},
		},
		"bad outcome": {
			onError: config.OnError{Kind: config.Skip},
			plugin: &fake{handle: func(context.Context, *Call) (Result, error) {
				return Result{Outcome: 7, Reply: textReply("no"), ReplySet: true}, nil
			}},
			kind: Replied, text: "early", outcome: "replied", after: 1, always: 1, errors: map[string]int{"error": 1},
		},
	} {
		for reason, took := range mishaps() {
			if tc.plugin != nil && took > 0 {
				continue
			}
			t.Run(name+", "+reason, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					after, always := &fake{}, &fake{}
					w.stage("first", takes(0, "early"))
					p, onError, errors := tc.plugin, tc.onError, maps.Clone(tc.errors)
					if p == nil {
						p = mishap(reason, took)
						delete(errors, "trap")
						errors[reason]++
					}
					w.stage("broken", p).OnError = &onError
					if tc.other != nil {
						w.plugins["other"] = tc.other
						onError.Plugin = &config.Plugin{Name: "other"}
					}
					w.stage("after", after)
					w.always("count", always)
					w.up()
					defer w.down()
					g := <-w.async(t.Context(), 0, "e1")
					synctest.Wait()
					if g.answer.Kind != tc.kind || g.at != max(tc.at, took) || tc.kind == Replied && !isText(g.answer, tc.text) {
						t.Errorf("answer %+v at %v", g.answer, g.at)
					}
					if g.answer.Outcome != tc.outcome || w.outcome(tc.outcome) != 1 {
						t.Errorf("outcome %s, counted %d", g.answer.Outcome, w.outcome(tc.outcome))
					}
					if after.runs.Load() != tc.after || always.runs.Load() != tc.always {
						t.Errorf("%d runs after it, %d of always", after.runs.Load(), always.runs.Load())
					}
					w.failed(errors)
					if n := len(w.store.list()); n != tc.queue {
						t.Errorf("%d entries", n)
					}
				})
			})
		}
	}
}

// A stage that overruns even answer_within: the user gets nothing, whatever the
// form of on_error, and what the form says happens all the same. A reply that is
// ready then is late, and counted; again has no delivery to give it to.
func TestOnErrorLate(t *testing.T) {
	for name, tc := range map[string]struct {
		onError config.OnError
		after   int32 // runs of the stage after the failed one
		always  int32
		late    int // replies dropped
		queue   int // entries when the stage has failed
	}{
		"skip":   {config.OnError{Kind: config.Skip}, 1, 1, 1, 0},
		"stop":   {config.OnError{Kind: config.Stop}, 0, 1, 0, 0},
		"reply":  {config.OnError{Kind: config.GiveReply, Reply: &config.Reply{Text: &config.Text{Content: "busy"}}}, 0, 1, 1, 0},
		"plugin": {config.OnError{Kind: config.Instead, Plugin: &config.Plugin{Name: "other"}}, 1, 1, 1, 0},
		"queue":  {config.OnError{Kind: config.Queue}, 0, 1, 0, 1},
		"again":  {config.OnError{Kind: config.Again}, 0, 1, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				after, always := &fake{}, &fake{}
				w.plugins["other"] = &fake{}
				w.stage("first", takes(0, "early"))
				w.stage("broken", mishap("timeout", 10*time.Second)).OnError = &tc.onError
				w.stage("after", after)
				w.always("count", always)
				w.up()
				defer w.down()
				if g := <-w.async(t.Context(), 0, "e1"); g.answer.Kind != Success || g.answer.Outcome != outcomeLate || g.at != 4500*ms {
					t.Errorf("answer %+v at %v", g.answer, g.at)
				}
				w.pass(5500 * ms)
				if after.runs.Load() != tc.after || always.runs.Load() != tc.always {
					t.Errorf("%d runs after it, %d of always", after.runs.Load(), always.runs.Load())
				}
				w.failed(map[string]int{"timeout": 1})
				if n := w.count("weft_late_replies_total", "shop", "drop"); n != tc.late {
					t.Errorf("%d late replies", n)
				}
				if n := len(w.store.list()); n != tc.queue {
					t.Errorf("%d entries", n)
				}
			})
		})
	}
}

// What befalls every event, of a plugin that is fused or busy or of an upstream
// that is away, is counted each time and logged once a second, with how many were
// not; any other error each time.
func TestErrorFlood(t *testing.T) {
	for err, every := range map[error]bool{reasonError("fused"): false, reasonError("busy"): false, reasonError("trap"): true, reasonError("upstream"): true, awayError{}: false} {
		reason := reasonOf(err)
		bubble(t, func(t *testing.T, w *world) {
			for _, name := range []string{"broken", "too"} { // each by itself
				w.stage(name, &fake{handle: func(context.Context, *Call) (Result, error) { return Result{}, err }}).OnError = &config.OnError{Kind: config.Skip}
			}
			w.up()
			defer w.down()
			const step = 250 * ms
			for i := range 9 { // at 0 s, 0.25 s, … 2 s
				w.pass(step*time.Duration(i) - time.Since(w.start))
				w.deliver(fmt.Sprint("e", i))
			}
			for _, stage := range []string{"broken", "too"} {
				if n := w.count("weft_stage_errors_total", "main", reason, stage); n != 9 {
					t.Errorf("%s: %d errors counted", reason, n)
				}
				line := ` msg="stage failed" app=shop pipeline=main stage=` + stage + " "
				want, missed := 3, 2
				if every {
					want, missed = 9, 0
				}
				lines, without := 0, 0
				for text := range strings.Lines(w.logged()) {
					if strings.Contains(text, line) {
						lines++
						without += strings.Count(text, " not_logged=3\n")
					}
				}
				if lines != want || without != missed {
					t.Errorf("%s: %d lines, %d of them after 3 that weren't logged; want %d and %d:\n%s", reason, lines, without, want, missed, w.logged())
				}
			}
		})
	}
}

// awayError is that of an upstream whose circuit is open.
type awayError struct{}

func (awayError) Error() string  { return "it is away" }
func (awayError) Reason() string { return "upstream" }
func (awayError) General() bool  { return true }

// A stage that ends in an error leaves neither reply nor annotations; the
// pipeline's on_error holds for stages that say nothing.
func TestErrorLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OnError = config.OnError{Kind: config.Skip}
		w.stage("broken", &fake{handle: func(context.Context, *Call) (Result, error) {
			return Result{Reply: textReply("no"), ReplySet: true, Annotations: []hostapi.Field{{Name: "a", Value: "1"}}}, reasonError("trap")
		}})
		var seen []hostapi.Field
		w.stage("after", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			seen = c.Attrs
			if c.Reply != nil {
				t.Error("a reply was left")
			}
			return Result{}, nil
		}})
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success || len(seen) != 0 {
			t.Errorf("%+v, annotations %v", a, seen)
		}
	})
}

// again: WeChat repeats, each delivery runs from the top with attempt + 1, and
// the third one, 8 s after the first, is queued.
func TestAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var attempts []uint32
		w.stage("top", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			attempts = append(attempts, c.Event.Attempt)
			return Result{}, nil
		}})
		w.stage("broken", failing("upstream")).OnError = &config.OnError{Kind: config.Again}
		always := &fake{}
		w.always("count", always)
		w.up()
		defer w.down()
		waiting := w.async(t.Context(), 0, "e1") // waits with the first
		for i, want := range []got{{Answer{Kind: Again}, 4500 * ms}, {Answer{Kind: Again}, 9000 * ms}, {Answer{Kind: Success, Outcome: "queued"}, 9000 * ms}} {
			g := <-w.async(t.Context(), time.Since(w.start), "e1")
			if g.answer.Kind != want.answer.Kind || g.at != want.at || want.answer.Outcome != "" && g.answer.Outcome != want.answer.Outcome {
				t.Errorf("delivery %d: %+v", i+1, g)
			}
		}
		if g := <-waiting; g.answer.Kind != Again || g.at != 4500*ms {
			t.Errorf("the one that waited: %+v", g)
		}
		synctest.Wait()
		// The two deliveries at 0 were one run, or two where the second came after the first had failed.
		if n := len(attempts); attempts[0] != 1 || n < 3 || attempts[n-1] != uint32(n) {
			t.Errorf("attempts %v", attempts)
		}
		if always.runs.Load() != 1 {
			t.Errorf("always ran %d times", always.runs.Load())
		}
		if es := w.store.list(); len(es) != 1 {
			t.Errorf("%d entries", len(es))
		}
	})
}

// again is queue for the last delivery, however soon that comes, and where no
// record tells of the first one: then by the time that it was signed at.
func TestAgainEnds(t *testing.T) {
	for name, tc := range map[string]struct{ answerWithin, dedupe, ahead time.Duration }{ // ahead: WeChat's clock of this host's
		"soon":                      {2 * time.Second, time.Minute, 0},
		"dedupe off":                {4500 * ms, 0, 0},
		"soon, and dedupe off":      {2 * time.Second, 0, 0},
		"clocks disagree":           {4500 * ms, 0, 900 * ms},
		"soon, and clocks disagree": {2 * time.Second, 0, 900 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.pipe.AnswerWithin, w.pipe.Dedupe = tc.answerWithin, tc.dedupe
				w.start = w.start.Add(tc.ahead)
				w.stage("broken", failing("upstream")).OnError = &config.OnError{Kind: config.Again}
				w.up()
				defer w.down()
				for i, want := range []string{outcomeAgain, outcomeAgain, outcomeQueued} {
					if a := w.deliver("e1"); a.Outcome != want {
						t.Errorf("delivery %d: %+v", i+1, a)
					}
				}
				if n := len(w.store.list()); n != 1 {
					t.Errorf("%d entries", n)
				}
			})
		})
	}
}

// again with a run that is slow: those who wait with it get it, too, and an
// entry that was being made is taken back.
func TestAgainWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
			time.Sleep(4600 * ms)
			return Result{}, reasonError("upstream")
		}}
		w.stage("slow", p).OnError = &config.OnError{Kind: config.Again}
		w.store.appendTime = 300 * ms // from 4.5 s to 4.8 s: the run ends in between
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 2*time.Second, "e1")
		if g := <-first; g.answer.Kind != Again || g.at != 4600*ms {
			t.Errorf("first: %+v", g)
		}
		if g := <-second; g.answer.Kind != Again || g.at != 6500*ms {
			t.Errorf("second: %+v", g)
		}
		synctest.Wait()
		w.store.mustBeEmpty(t)
	})
}

// Where nobody waits any more, again is queue.
func TestAgainAfterSuccess(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{}
		p.handle = func(context.Context, *Call) (Result, error) {
			if p.runs.Load() > 1 {
				return Result{}, nil
			}
			time.Sleep(6 * time.Second)
			return Result{}, reasonError("upstream")
		}
		w.stage("slow", p).OnError = &config.OnError{Kind: config.Again}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success || a.Outcome != "late" {
			t.Errorf("%+v", a)
		}
		w.pass(time.Minute)
		if p.runs.Load() != 2 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// The same where the only delivery hung up before.
func TestAgainWithoutDelivery(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{}
		p.handle = func(context.Context, *Call) (Result, error) {
			if p.runs.Load() == 1 {
				time.Sleep(2 * time.Second)
				return Result{}, reasonError("upstream")
			}
			return Result{}, nil
		}
		w.stage("s", p).OnError = &config.OnError{Kind: config.Again}
		w.up()
		defer w.down()
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second)
		defer hangUp()
		<-w.async(ctx, 0, "e1")
		w.pass(time.Second)
		if len(w.store.list()) != 1 {
			t.Error("not queued")
		}
		w.pass(time.Minute)
		if p.runs.Load() != 2 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// queue whose entry can't be made is no success: the next delivery runs again.
func TestQueueFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := failing("upstream")
		w.stage("broken", p).OnError = &config.OnError{Kind: config.Queue}
		always := &fake{}
		w.always("count", always)
		w.store.failAppends(errStore)
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), 0, "e1"); g.answer.Kind != Again || g.at != 4500*ms {
			t.Errorf("%+v", g)
		}
		w.store.failAppends(nil)
		if a := w.deliver("e1"); a.Kind != Success {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		if p.runs.Load() != 2 || len(w.store.list()) != 1 || always.runs.Load() != 1 {
			t.Errorf("%d runs, %d entries, %d of always", p.runs.Load(), len(w.store.list()), always.runs.Load())
		}
	})
}

// A condition that can't be computed is the error of its stage; in a switch, of
// the stage that holds it.
func TestWhenErrors(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OnError = config.OnError{Kind: config.Skip}
		w.stage("one", takes(0, "no")).When = `int(content) > 1`
		w.pipe.Stages = append(w.pipe.Stages, &config.Stage{Name: "ways", Switch: []*config.Branch{
			{When: `int(content) == 2`, Stages: []*config.Stage{{Name: "r", Reply: &config.Reply{Text: &config.Text{Content: "no"}}}}},
			{Stages: []*config.Stage{{Name: "r2", Reply: &config.Reply{Text: &config.Text{Content: "no"}}}}},
		}})
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success {
			t.Errorf("%+v", a)
		}
		for _, stage := range []string{"one", "ways"} {
			if n := w.count("weft_stage_errors_total", "main", "when", stage); n != 1 {
				t.Errorf("%d errors of %s", n, stage)
			}
		}
	})
}

// A stage has what is left of the event's deadline, the user hanging up or not.
func TestDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Deadline = 3 * time.Second
		w.pipe.OnError = config.OnError{Kind: config.GiveReply, Reply: &config.Reply{Text: &config.Text{Content: "sorry"}}}
		w.stage("slow", takes(time.Minute, "no"))
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), 0, "e1"); !isText(g.answer, "sorry") || g.at != 3*time.Second {
			t.Errorf("%+v", g)
		}
		if n := w.count("weft_stage_errors_total", "main", "timeout", "slow"); n != 1 {
			t.Errorf("%d time-outs counted", n)
		}
	})
}
