package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// canary adds a stage of plugin p with a canary of plugin NAME-next.
func (w *world) canary(name string, p, next Plugin, percent config.Percent) *config.Canary {
	st := w.stage(name, p)
	w.plugins[name+"-next"] = next
	st.Canary = &config.Canary{
		To: &config.Plugin{Name: name + "-next"}, Percent: percent, Lines: "lines of " + name,
		Rollback: config.Rollback{Errors: 5000, MinEvents: 10, Window: 10 * time.Minute},
	}
	return st.Canary
}

// says makes a plugin that replies text at once.
func says(text string) *fake { return takes(0, text) }

// canaryOf builds a pipeline with one stage and returns its canary.
func canaryOf(stage string, percent config.Percent, change func(*config.Canary)) *canary {
	w := newWorld(nil)
	c := w.canary(stage, &fake{}, &fake{}, percent)
	if change != nil {
		change(c)
	}
	set, _ := Build(&config.Config{Apps: []*config.App{w.app}, Pipelines: []*config.Pipeline{w.pipe}}, w.plugins)
	return set.canaries[0]
}

func user(i int) *hostapi.Event {
	return &hostapi.Event{ID: fmt.Sprintf("%032d", i), User: fmt.Sprintf("oAbCdEfGhIjKlMnOpQrSt%07d", i)}
}

// TestCanaryShare: 10 % ± 1 of 100,000 users, and always the same ones.
func TestCanaryShare(t *testing.T) {
	const users = 100_000
	for _, tc := range []struct {
		percent   config.Percent
		low, high int
	}{{0, 0, 0}, {500, 400, 600}, {10_000, 9_000, 11_000}, {50_000, 49_000, 51_000}, {100_000, users, users}} {
		c, same := canaryOf("answers", tc.percent, nil), canaryOf("answers", tc.percent, nil)
		more := canaryOf("answers", min(tc.percent+7_000, 100_000), nil)
		n := 0
		for i := range users {
			ev := user(i)
			gets := c.gets("shop", ev)
			if gets {
				n++
			}
			ev.ID = "another event of the user"
			if gets != same.gets("blog", ev) {
				t.Fatalf("%v: user %d changes sides", tc.percent, i)
			}
			if gets && !more.gets("shop", ev) {
				t.Fatalf("%v: user %d changes sides when the share grows", tc.percent, i)
			}
		}
		if n < tc.low || n > tc.high {
			t.Errorf("%v: %d of %d users", tc.percent, n, users)
		}
	}
}

// TestCanarySides: the sides never change, from one release to the next.
func TestCanarySides(t *testing.T) {
	for _, tc := range []struct {
		stage, who string
		want       uint64
	}{
		{"answers", "oTester1", 0xc21b95f404169d27},
		{"answers", "oTester2", 0x13299d5b33272d3},
		{"faq", "oTester1", 0x2cecde6d16bd5037},
	} {
		if got := side(sideSeed(tc.stage), tc.who); got != tc.want {
			t.Errorf("%s, %s: %#x, want %#x", tc.stage, tc.who, got, tc.want)
		}
	}
}

// TestCanaryStagesDiffer: who is in the share of one stage is in another one's as
// often as anybody.
func TestCanaryStagesDiffer(t *testing.T) {
	a, b := canaryOf("answers", 10_000, nil), canaryOf("faq", 10_000, nil)
	both := 0
	for i := range 100_000 {
		if ev := user(i); a.gets("shop", ev) && b.gets("shop", ev) {
			both++
		}
	}
	if both < 800 || both > 1200 {
		t.Errorf("%d of 100000 users are in both shares, 1000 expected", both)
	}
}

func TestCanaryLists(t *testing.T) {
	c := canaryOf("answers", 0, func(c *config.Canary) { c.Apps, c.Users = []string{"blog"}, []string{"oTester"} })
	for _, tc := range []struct {
		app, user string
		want      bool
	}{{"blog", "oAnybody", true}, {"blog", "", true}, {"shop", "oTester", true}, {"shop", "oAnybody", false}, {"shop", "", false}} {
		if got := c.gets(tc.app, &hostapi.Event{ID: "e1", User: tc.user}); got != tc.want {
			t.Errorf("app %s, user %q: %v", tc.app, tc.user, got)
		}
	}
	c.trial.ended.Store(&rollback{})
	if c.gets("blog", user(1)) || c.gets("shop", &hostapi.Event{User: "oTester"}) {
		t.Error("the listed get it after it was rolled back")
	}
}

// TestCanaryWithoutUser: a delivery of such an event finds the side of the one
// before it.
func TestCanaryWithoutUser(t *testing.T) {
	c := canaryOf("answers", 50_000, nil)
	n := 0
	for i := range 1000 {
		ev := &hostapi.Event{ID: fmt.Sprintf("%032x", i)}
		gets := c.gets("shop", ev)
		if gets != c.gets("shop", ev) {
			t.Fatal("an event changes sides")
		}
		if gets {
			n++
		}
	}
	if n < 400 || n > 600 {
		t.Errorf("%d of 1000", n)
	}
}

// send delivers an event of another user and returns the text that is answered.
func (w *world) send(i int) string {
	ev := event("e" + strconv.Itoa(i))
	ev.User = user(i).User
	a := w.deliverEvent(w.t.Context(), ev)
	if a.Reply == nil || a.Reply.Text == nil {
		return ""
	}
	return a.Reply.Text.Content
}

func TestCanaryWalk(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		old, next := says("old"), says("next")
		w.canary("s", old, next, 30_000)
		w.up()
		defer w.down()
		var sides journal[string]
		w.engine.Watch(func(tr *Trace) { sides.add(tr.Steps[0].Side) })
		for i := range 200 {
			want := "old"
			if w.engine.Canaries()[0].RolledBack == nil && inShare(side(sideSeed("s"), user(i).User), 30_000) {
				want = "next"
			}
			if got := w.send(i); got != want {
				t.Fatalf("user %d: %s, want %s", i, got, want)
			}
		}
		w.pass(0)
		n := int(next.runs.Load())
		if n < 40 || n > 80 || n+int(old.runs.Load()) != 200 {
			t.Errorf("%d and %d runs", n, old.runs.Load())
		}
		if got := w.count("weft_canary_events_total", "main", "ok", "canary", "s"); got != n {
			t.Errorf("%d counted", got)
		}
		if got := w.count("weft_canary_events_total", "main", "ok", "primary", "s"); got != 200-n {
			t.Errorf("%d of the other side counted", got)
		}
		status := w.engine.Canaries()[0]
		want := CanaryStatus{Pipeline: "main", Stage: "s", Plugin: "s", To: "s-next", Percent: 30_000, Window: 10 * time.Minute, Events: n}
		if status != want {
			t.Errorf("got %+v", status)
		}
		all := sides.all()
		if c := len(slices.DeleteFunc(all, func(s string) bool { return s != SideCanary })); c != n {
			t.Errorf("%d runs traced on the canary's side", c)
		}
	})
}

// TestCanaryRollback: what counts, and what does not.
func TestCanaryRollback(t *testing.T) {
	for reason, counts := range map[string]bool{
		"error": true, "trap": true, "timeout": true, "fuel": true, "memory": true, "fused": true, "busy": false, "blameless": false,
	} {
		t.Run(reason, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				next := failing(reason)
				if reason == "blameless" {
					next = &fake{handle: func(context.Context, *Call) (Result, error) { return Result{}, blamelessError{} }}
				}
				w.canary("s", says("old"), next, 100_000)
				w.pipe.Stages[0].OnError = &config.OnError{Kind: config.GiveReply, Reply: &config.Reply{Text: &config.Text{Content: "sorry"}}}
				w.up()
				defer w.down()
				for i := range 20 {
					want := "old"
					if !counts || i < 10 {
						want = "sorry"
					}
					if got := w.send(i); got != want {
						t.Fatalf("event %d: %q, want %q", i, got, want)
					}
				}
				status := w.engine.Canaries()[0]
				if !counts {
					if status.RolledBack != nil || status.Events != 0 || strings.Contains(w.logged(), "rolled back") {
						t.Errorf("got %+v", status)
					}
					return
				}
				if status.RolledBack == nil || status.Events != 10 || status.Failed != 10 {
					t.Fatalf("got %+v", status)
				}
				if got, want := status.RolledBack.Reason, "10 of 10 events failed, the last: "+reason; got != want {
					t.Errorf("reason %q, want %q", got, want)
				}
				if n := strings.Count(w.logged(), `msg="canary rolled back" pipeline=main stage=s plugin=s-next events=10 failed=10 reason=`+reason); n != 1 {
					t.Errorf("%d lines in the log:\n%s", n, w.logged())
				}
				if got := w.count("weft_canary_events_total", "main", reason, "canary", "s"); got != 10 {
					t.Errorf("%d counted", got)
				}
			})
		})
	}
}

type blamelessError struct{}

func (blamelessError) Error() string   { return "the event was over" }
func (blamelessError) Reason() string  { return "timeout" }
func (blamelessError) Blameless() bool { return true }

// TestCanaryBadOutcome: an outcome that is none is a failure of the canary's.
func TestCanaryBadOutcome(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.canary("s", says("old"), &fake{handle: func(context.Context, *Call) (Result, error) { return Result{Outcome: 9}, nil }}, 100_000).Rollback.MinEvents = 1
		w.up()
		defer w.down()
		if first, second := w.send(1), w.send(2); first != "" || second != "old" {
			t.Errorf("answered %q, %q", first, second)
		}
	})
}

// TestCanaryWindow: only the events of the window count, and only as many as
// there must be.
func TestCanaryWindow(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		fail := false
		next := &fake{handle: func(context.Context, *Call) (Result, error) {
			if fail {
				return Result{}, reasonError("trap")
			}
			return Result{Reply: textReply("next"), ReplySet: true}, nil
		}}
		rule := &w.canary("s", says("old"), next, 100_000).Rollback
		rule.Errors, rule.MinEvents, rule.Window = 20_000, 10, time.Minute
		w.up()
		defer w.down()
		i := 0
		many := func(n int, failing bool) {
			fail = failing
			for range n {
				i++
				w.send(i)
			}
		}
		check := func(events, failed int, rolled bool) {
			t.Helper()
			c := w.engine.Canaries()[0]
			if c.Events != events || c.Failed != failed || (c.RolledBack != nil) != rolled {
				t.Fatalf("got %d of %d, rolled back %v", c.Failed, c.Events, c.RolledBack)
			}
		}
		many(9, true)
		check(9, 9, false) // too few
		w.pass(61 * time.Second)
		check(0, 0, false)
		many(20, false)
		many(1, true)
		w.pass(30 * time.Second)
		many(3, true)
		check(24, 4, false) // 16.7 %
		w.pass(31 * time.Second)
		check(3, 3, false) // the others are over
		many(6, false)
		many(1, true)
		check(10, 4, true)
		w.pass(time.Hour)
		many(5, false)
		check(10, 4, true) // for good
		if n := next.runs.Load(); n != 9+20+1+3+6+1 {
			t.Errorf("%d runs", n)
		}
	})
}

// TestCanaryNotCalled: an event whose time was over before, and one that the end
// of the host cuts, tell nothing of the canary.
func TestCanaryNotCalled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Deadline = 5 * time.Second
		w.stage("slow", &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
			if w.start.Add(time.Minute).After(time.Now()) {
				<-ctx.Done()
			}
			return Result{}, nil
		}})
		next := takes(time.Hour, "no")
		w.canary("s", says("old"), next, 100_000).Rollback.MinEvents = 1
		w.up()
		w.deliver("e1")
		w.pass(2 * time.Minute)
		if n := next.runs.Load(); n != 0 {
			t.Fatalf("%d runs", n)
		}
		go w.deliver("e2")
		w.pass(time.Second)
		if n := next.runs.Load(); n != 1 {
			t.Fatalf("%d runs", n)
		}
		w.down()
		if c := w.engine.Canaries()[0]; c.RolledBack != nil || c.Events != 0 {
			t.Errorf("got %+v", c)
		}
	})
}

// TestCanaryWants: the plugin of the side decides which events there are.
func TestCanaryWants(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		texts := func(typ, _ string) bool { return typ == "text" }
		old, next := says("old"), says("next")
		w.canary("only-old", old, next, 100_000)
		next.wants = func(typ, event string) bool { return !texts(typ, event) }
		w.up()
		defer w.down()
		if got := w.send(1); got != "" || old.runs.Load() != 0 {
			t.Errorf("answered %q", got)
		}
		old.wants, next.wants = next.wants, texts
		if got := w.send(2); got != "next" {
			t.Errorf("answered %q", got)
		}
	})
}

// TestCanaryAsync: an async stage has sides, too, under always as well.
func TestCanaryAsync(t *testing.T) {
	for _, always := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *world) {
			old, next := says("old"), failing("trap")
			c := w.canary("s", old, next, 100_000)
			c.Rollback.MinEvents = 2
			w.pipe.Stages[0].Async = true
			if always {
				w.pipe.Always, w.pipe.Stages = w.pipe.Stages, nil
			}
			w.up()
			defer w.down()
			w.send(1)
			w.pass(time.Minute)
			if next.runs.Load() != 2 || old.runs.Load() != 1 {
				t.Errorf("always %v: %d runs, then %d of the other", always, next.runs.Load(), old.runs.Load())
			}
			w.store.mustBeEmpty(t)
		})
	}
}

// TestCanaryHammer: many users at once, a rollback and swaps.
func TestCanaryHammer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		next := &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			if strings.HasSuffix(c.Event.User, "7") {
				return Result{}, reasonError("trap")
			}
			return Result{Reply: textReply("next"), ReplySet: true}, nil
		}}
		w.canary("s", says("old"), next, 50_000).Rollback.MinEvents = 200
		w.up()
		defer w.down()
		done := make(chan struct{})
		for g := range 8 {
			go func() {
				defer func() { done <- struct{}{} }()
				for i := range 200 {
					w.send(g*1000 + i)
				}
			}()
		}
		for range 20 {
			w.engine.Swap(w.build())
			w.engine.Canaries()
		}
		for range 8 {
			<-done
		}
		c := w.engine.Canaries()[0]
		if c.RolledBack == nil || c.Events < 200 || strings.Count(w.logged(), "canary rolled back") != 1 {
			t.Errorf("got %+v", c)
		}
	})
}

// BenchmarkStageCanary is BenchmarkStage with a canary, half the users on its
// side.
func BenchmarkStageCanary(b *testing.B) {
	w := newWorld(nil)
	for i := range 10 {
		w.canary(strconv.Itoa(i), &fake{}, &fake{}, 50_000)
	}
	benchWalk(b, w, 10)
}
