package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// other adds an app that walks the same pipeline.
func (w *world) other(name string, limits config.AppLimits) *config.App {
	a := &config.App{Name: name, Type: config.Official, Pipeline: w.pipe, Limits: limits}
	w.others = append(w.others, a)
	return a
}

// deliverTo delivers an event of an app.
func (w *world) deliverTo(app, id, user string) Answer {
	ev := userEvent(id, user)
	ev.App = app
	return w.engine.Deliver(w.t.Context(), Delivery{App: app, Event: ev, Timestamp: w.start, MaxSkew: 10 * time.Minute, Arrived: time.Now()})
}

func (w *world) overflow(app, what string) int { return w.count("weft_overflow_total", app, what) }

// An event over the bound is durable and answered success, and run from the top
// with always; its repeats, and those of one in flight, don't count.
func TestOverflowQueue(t *testing.T) {
	for name, bound := range map[string]func(w *world){
		"of the host": func(w *world) { w.most = 1 },
		"of the app":  func(w *world) { w.app.Limits.Inflight = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				bound(w)
				var ran journal[string]
				note := func(what string) *fake {
					return &fake{handle: func(_ context.Context, c *Call) (Result, error) {
						ran.add(fmt.Sprint(what, " ", c.Event.ID, " ", c.Event.Attempt, " ", time.Since(w.start)))
						time.Sleep(2 * time.Second)
						return Result{}, nil
					}}
				}
				w.stage("slow", note("slow"))
				w.always("count", note("count"))
				w.up()
				defer w.down()
				first := w.async(t.Context(), 0, "e1")
				w.pass(time.Second)
				for i, outcome := range []string{outcomeQueued, outcomeRepeat} {
					if g := <-w.async(t.Context(), time.Second, "e2"); g.answer.Kind != Success || g.answer.Outcome != outcome || g.at != time.Second {
						t.Errorf("delivery %d over the bound: %+v", i+1, g)
					}
				}
				repeat := w.async(t.Context(), time.Second, "e1")
				for _, ch := range []<-chan got{first, repeat} {
					if g := <-ch; g.answer.Kind != Success || g.at != 2*time.Second {
						t.Errorf("in flight: %+v", g)
					}
				}
				w.pass(time.Minute)
				want := "[slow e1 1 0s slow e2 1 1s count e1 1 2s count e2 1 3s]"
				if got := fmt.Sprint(ran.all()); got != want {
					t.Errorf("ran %s, want %s", got, want)
				}
				if w.overflow("shop", "queued") != 1 || strings.Count(w.logged(), `level=WARN msg="event over a bound" app=shop event_id=e2 what=queued skipped=0`) != 1 {
					t.Errorf("counted %d, logged:\n%s", w.overflow("shop", "queued"), w.logged())
				}
				w.store.mustBeEmpty(t)
				if a := w.deliver("e3"); a.Outcome != outcomeSuccess {
					t.Errorf("with all places free: %+v", a)
				}
			})
		})
	}
}

// With overflow: ack it is answered success and never run. One line a second
// says so.
func TestOverflowAck(t *testing.T) {
	for name, dedupe := range map[string]time.Duration{"dedupe": time.Minute, "no dedupe": 0} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.most, w.pipe.Overflow, w.pipe.Dedupe = 1, config.OverflowAck, dedupe
				p := takes(2500*ms, "done")
				w.stage("slow", p)
				always := &fake{}
				w.always("count", always)
				w.up()
				defer w.down()
				first := w.async(t.Context(), 0, "e1")
				w.pass(time.Second)
				for _, id := range []string{"e2", "e3", "e4"} {
					if a := w.deliver(id); a.Kind != Success || a.Outcome != outcomeDropped {
						t.Errorf("%s: %+v", id, a)
					}
				}
				w.pass(time.Second)
				w.deliver("e5")
				if dedupe > 0 {
					if a := w.deliver("e2"); a.Kind != Success || a.Outcome != outcomeRepeat {
						t.Errorf("a repeat: %+v", a)
					}
				}
				if g := <-first; !isText(g.answer, "done") {
					t.Errorf("in flight: %+v", g)
				}
				if dedupe > 0 { // its time to run is over, though there is a place
					if a := w.deliver("e3"); a.Outcome != outcomeRepeat {
						t.Errorf("a late repeat: %+v", a)
					}
				}
				w.pass(time.Minute)
				if n := w.overflow("shop", "dropped"); n != 4 || w.outcome(outcomeDropped) != 4 || p.runs.Load() != 1 || always.runs.Load() != 1 {
					t.Errorf("%d dropped, %d runs, %d of always", n, p.runs.Load(), always.runs.Load())
				}
				if l := w.logged(); strings.Count(l, "event over a bound") != 2 || !strings.Contains(l, "event_id=e5 what=dropped skipped=2") {
					t.Errorf("logged:\n%s", l)
				}
				w.store.mustBeEmpty(t)
			})
		})
	}
}

// What can't be made durable is not acknowledged: WeChat sends it again, and
// where there is a place then it is run.
func TestOverflowNotDurable(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.most = 1
		var attempts journal[uint32]
		w.stage("note", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			attempts.add(c.Event.Attempt)
			return Result{}, nil
		}})
		w.stage("slow", takes(4*time.Second, "done"))
		w.store.failAppends(errStore)
		w.up()
		defer w.down()
		first := w.async(t.Context(), 0, "e1")
		w.pass(ms)
		if g := <-w.async(t.Context(), 0, "e2"); g.answer.Kind != Again || g.at != 4501*ms {
			t.Errorf("%+v", g)
		}
		if g := <-first; !isText(g.answer, "done") {
			t.Errorf("%+v", g)
		}
		if g := <-w.async(t.Context(), 0, "e2"); !isText(g.answer, "done") {
			t.Errorf("the next delivery: %+v", g)
		}
		if n := w.overflow("shop", "queued"); n != 0 {
			t.Errorf("%d counted", n)
		}
		if got := fmt.Sprint(attempts.all()); got != "[1 1]" {
			t.Errorf("attempts %s", got)
		}
	})
}

// Where the disk is slow, no more than maxOver events of an app wait for it: the
// others are refused at once, and those of another app are not.
func TestOverflowOfTheOverflow(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.app.Limits.Inflight = 1
		w.other("mini", config.AppLimits{Inflight: 1})
		w.stage("slow", takes(time.Second, "done"))
		w.store.appendTime = 2 * time.Second
		w.up()
		defer w.down()
		var all []<-chan got
		for i := range 1 + maxOver {
			all = append(all, w.async(t.Context(), 0, fmt.Sprint("e", i)))
		}
		synctest.Wait()
		if a := w.deliver("over"); a.Kind != Again || w.overflow("shop", "refused") != 1 {
			t.Errorf("%+v", a)
		}
		if a := w.deliverTo("mini", "m1", "u"); a.Kind != Replied {
			t.Errorf("the other app: %+v", a)
		}
		outcomes := map[string]int{}
		for _, ch := range all {
			outcomes[(<-ch).answer.Outcome]++
		}
		if outcomes[outcomeQueued] != maxOver || outcomes[outcomeReplied] != 1 {
			t.Errorf("%v", outcomes)
		}
		if a := w.deliver("over"); a.Kind != Replied {
			t.Errorf("its next delivery: %+v", a)
		}
		w.pass(time.Hour)
		w.store.mustBeEmpty(t)
	})
}

// limits.queue refuses what would be left to the queue, and neither what is in it
// nor what has been acknowledged.
func TestQueueIsFull(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.app.Limits = config.AppLimits{Inflight: 1, Queue: 2, Workers: 1}
		w.other("mini", config.AppLimits{Queue: 1})
		slow := takes(6*time.Second, "late")
		w.stage("slow", slow)
		w.up()
		defer w.down()
		late := w.async(t.Context(), 0, "e1") // late from 4.5 s on, in spite of the bound
		w.pass(ms)
		for _, id := range []string{"e2", "e3"} {
			if a := w.deliver(id); a.Outcome != outcomeQueued {
				t.Errorf("%s: %+v", id, a)
			}
		}
		refused := w.async(t.Context(), 0, "e4")
		if g := <-late; g.answer.Outcome != outcomeLate || g.at != 4500*ms {
			t.Errorf("%+v", g)
		}
		if g := <-refused; g.answer.Kind != Again || g.at != 4501*ms {
			t.Errorf("%+v", g)
		}
		if n := w.overflow("shop", "refused"); n != 1 || strings.Contains(w.logged(), "level=ERROR") {
			t.Errorf("%d refused; logged\n%s", n, w.logged())
		}
		if a := w.deliverTo("mini", "m1", "u"); a.Outcome != outcomeLate {
			t.Errorf("the other app: %+v", a)
		}
		w.pass(time.Minute)
		w.store.mustBeEmpty(t)
		if n := slow.runs.Load(); n != 4 {
			t.Errorf("%d runs", n)
		}
	})
}

// on_error: queue and async stages are refused, too: nothing was acknowledged. A
// durable run appends what it must.
func TestQueueIsFullForStages(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.app.Limits.Queue = 1
		ready := false
		side := &fake{}
		w.pipe.Stages = []*config.Stage{later(w.side("side", side))}
		w.stage("s", &fake{handle: func(context.Context, *Call) (Result, error) {
			if !ready {
				return Result{}, reasonError("upstream")
			}
			return Result{}, nil
		}}).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), 0, "e1"); g.answer.Kind != Again { // two entries
			t.Errorf("%+v", g)
		}
		w.store.mustBeEmpty(t)
		ready = true
		if a := w.deliver("e1"); a.Kind != Success || a.Outcome != outcomeSuccess {
			t.Errorf("%+v", a)
		}
		w.pass(time.Minute)
		if side.runs.Load() != 1 || w.overflow("shop", "refused") != 1 {
			t.Errorf("%d runs, %d refused", side.runs.Load(), w.overflow("shop", "refused"))
		}
		w.put("e2", "u", 0) // fills the queue, and comes to the async stage
		w.engine.poke()
		w.pass(time.Minute)
		if side.runs.Load() != 2 {
			t.Errorf("%d runs", side.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// An event over those of a user that wait is over a bound as any other.
func TestOverflowOfAUser(t *testing.T) {
	for overflow, outcome := range map[config.Overflow]string{config.OverflowQueue: outcomeQueued, config.OverflowAck: outcomeDropped} {
		t.Run(string(overflow), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.pipe.OrderUser, w.pipe.Overflow = true, overflow
				w.stage("s", takes(100*ms, "x"))
				w.up()
				defer w.down()
				var all []<-chan got
				for i := range maxWaiting + 1 {
					all = append(all, w.async(t.Context(), 0, fmt.Sprint("e", i)))
				}
				synctest.Wait()
				if a := w.deliver("over"); a.Kind != Success || a.Outcome != outcome {
					t.Errorf("%+v", a)
				}
				for _, ch := range all {
					if g := <-ch; g.answer.Kind != Replied {
						t.Errorf("%+v", g)
					}
				}
				what := map[string]string{outcomeQueued: "queued", outcomeDropped: "dropped"}[outcome]
				if n := w.overflow("shop", what); n != 1 {
					t.Errorf("%d %s", n, what)
				}
			})
		})
	}
}

// A swap changes the bounds of those in flight; they keep their places.
func TestSwapChangesBounds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.most, w.app.Limits.Inflight, w.pipe.Overflow = 10, 2, config.OverflowAck
		w.stage("slow", takes(3*time.Second, "done"))
		w.up()
		defer w.down()
		outcome := func(id string) string {
			t.Helper()
			g := w.async(t.Context(), 0, id)
			synctest.Wait()
			select {
			case g := <-g:
				return g.answer.Outcome
			default:
				return "in flight"
			}
		}
		say := func(id, want string) {
			t.Helper()
			if got := outcome(id); got != want {
				t.Errorf("%s is %s, want %s", id, got, want)
			}
		}
		say("e1", "in flight")
		say("e2", "in flight")
		say("e3", outcomeDropped)
		w.app.Limits.Inflight = 3
		w.engine.Swap(w.build())
		say("e4", "in flight")
		say("e5", outcomeDropped)
		w.app.Limits.Inflight = 1
		w.engine.Swap(w.build())
		say("e6", outcomeDropped)
		w.pass(4 * time.Second)
		say("e7", "in flight")
		say("e8", outcomeDropped)
	})
}
