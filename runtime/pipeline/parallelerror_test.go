package pipeline

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// A branch that fails, or overruns, between two that don't, in each form of
// on_error: what the user gets, what is counted, what is logged. In the table the
// mishap is a trap. Before them a stage has set a
// reply, the branch before the one that fails another; after them a stage runs.
func TestParallelOnError(t *testing.T) {
	for name, tc := range map[string]struct {
		onError config.OnError
		other   *fake // of the form plugin

		kind    AnswerKind
		text    string
		outcome string
		at      time.Duration
		left    string         // what always sees; "": it did not run
		after   int32          // runs of the stage after them
		errors  map[string]int // weft_stage_errors_total by reason
		queue   int            // entries right after the answer
	}{
		"skip": {
			onError: config.OnError{Kind: config.Skip}, kind: Replied, text: "before", outcome: "replied",
			left: "before=1 behind=1 before", after: 1, errors: map[string]int{"trap": 1},
		},
		"stop": {
			onError: config.OnError{Kind: config.Stop}, kind: Success, outcome: "stopped",
			left: "before=1 behind=1 none", errors: map[string]int{"trap": 1},
		},
		"reply": {
			onError: config.OnError{Kind: config.GiveReply, Reply: &config.Reply{Text: &config.Text{Content: "busy"}}}, kind: Replied, text: "busy", outcome: "replied",
			left: "before=1 behind=1 busy", errors: map[string]int{"trap": 1},
		},
		"plugin goes on": {
			onError: config.OnError{Kind: config.Instead}, other: gives(Result{Annotations: tag("other", "1")}), kind: Replied, text: "before", outcome: "replied",
			left: "before=1 other=1 behind=1 before", after: 1, errors: map[string]int{"trap": 1},
		},
		"plugin is done": {
			onError: config.OnError{Kind: config.Instead}, other: gives(Result{Outcome: hostapi.Done, Reply: textReply("other"), ReplySet: true}), kind: Replied, text: "other", outcome: "replied",
			left: "before=1 behind=1 other", errors: map[string]int{"trap": 1},
		},
		"plugin fails too": {
			onError: config.OnError{Kind: config.Instead}, other: failing("busy"), kind: Success, outcome: "stopped",
			left: "before=1 behind=1 none", errors: map[string]int{"trap": 1, "busy": 1},
		},
		"queue": {
			onError: config.OnError{Kind: config.Queue}, kind: Success, outcome: "queued",
			left: "before=1 behind=1 before", errors: map[string]int{"trap": 1}, queue: 1,
		},
		"again": {
			onError: config.OnError{Kind: config.Again}, kind: Again, outcome: "again", at: 4500 * ms,
			errors: map[string]int{"trap": 1},
		},
	} {
		for reason, took := range mishaps() {
			t.Run(name+", "+reason, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					after := &fake{}
					w.pipe.Stages = []*config.Stage{replyStage("early", "early")}
					before := gives(Result{Annotations: tag("before", "1"), Reply: textReply("before"), ReplySet: true})
					behind := &fake{handle: func(context.Context, *Call) (Result, error) {
						time.Sleep(time.Second) // ends after the one that fails
						return Result{Annotations: tag("behind", "1")}, nil
					}}
					broken, onError, errors := w.side("broken", mishap(reason, took)), tc.onError, maps.Clone(tc.errors)
					delete(errors, "trap")
					errors[reason]++
					broken.OnError = &onError
					if tc.other != nil {
						w.plugins["other"] = tc.other
						onError.Plugin = &config.Plugin{Name: "other"}
					}
					w.parallel("all", w.side("before", before), broken, w.side("behind", behind))
					w.stage("after", after)
					left := ""
					w.always("look", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
						left = shown(c.Attrs, c.Reply)
						return Result{}, nil
					}})
					w.up()
					defer w.down()
					g := <-w.async(t.Context(), 0, "e1")
					synctest.Wait()
					if at := max(tc.at, time.Second, took); g.answer.Kind != tc.kind || g.at != at || tc.kind == Replied && !isText(g.answer, tc.text) {
						t.Errorf("answer %+v at %v", g.answer, g.at)
					}
					if g.answer.Outcome != tc.outcome || w.outcome(tc.outcome) != 1 {
						t.Errorf("outcome %s, counted %d", g.answer.Outcome, w.outcome(tc.outcome))
					}
					if left != tc.left || after.runs.Load() != tc.after {
						t.Errorf("left %q; %d runs after them", left, after.runs.Load())
					}
					if before.runs.Load() != 1 || behind.runs.Load() != 1 || w.observed("weft_stage_seconds", "main all") != 1 {
						t.Errorf("%d and %d runs beside it", before.runs.Load(), behind.runs.Load())
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

// Of several ends the strongest counts: again, queue, stop, done, next.
func TestParallelStrongest(t *testing.T) {
	forms := map[string]config.OnErrorKind{"again": config.Again, "queue": config.Queue, "stop": config.Stop, "skip": config.Skip}
	for _, tc := range []struct{ branches, outcome string }{
		{"next", "success"},
		{"skip next", "success"},
		{"done next", "success"},
		{"done stop next", "stopped"},
		{"queue stop done", "queued"},
		{"skip queue", "queued"},
		{"stop again queue", "again"},
	} {
		t.Run(tc.branches, func(t *testing.T) {
			names := strings.Fields(tc.branches)
			for range len(names) { // in every rotation
				names = append(names[1:], names[0])
				bubble(t, func(t *testing.T, w *world) {
					var branches []*config.Stage
					for _, name := range names {
						st := w.side(name, gives(Result{}))
						if name == "done" {
							st = w.side(name, gives(Result{Outcome: hostapi.Done}))
						} else if form, fails := forms[name]; fails {
							st = w.side(name, failing("error"))
							st.OnError = &config.OnError{Kind: form}
						}
						branches = append(branches, st)
					}
					w.parallel("all", branches...)
					after := &fake{}
					w.stage("after", after)
					w.up()
					defer w.down()
					a := w.deliver("e1")
					goesOn := tc.branches == "next" || tc.branches == "skip next"
					if a.Outcome != tc.outcome || (after.runs.Load() == 1) != goesOn {
						t.Errorf("%v: %+v, %d runs after them", names, a, after.runs.Load())
					}
				})
			}
		})
	}
}

// A condition that can't be computed is the error of its branch; that of the
// parallel stage is its own, and then no branch runs. Queued, it runs all.
func TestParallelWhenErrors(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one, two := &fake{}, &fake{}
		bad := w.side("bad", &fake{})
		bad.When, bad.OnError = `int(content) > 1`, &config.OnError{Kind: config.Skip}
		all := w.parallel("all", w.side("one", one), bad)
		all.When = `attrs["x"] == "" || int(content) > 1`
		w.pipe.Stages = append([]*config.Stage{w.side("tag", gives(Result{Annotations: tag("x", "")}))}, w.pipe.Stages...)
		w.pipe.OnError = config.OnError{Kind: config.Queue}
		w.parallel("last", w.side("two", two)).When = `int(content) > 1`
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != "queued" {
			t.Errorf("%+v", a)
		}
		w.pass(time.Second)
		for stage, want := range map[string]int{"bad": 1, "all": 0, "last": 2} {
			if n := w.count("weft_stage_errors_total", "main", "when", stage); n != want {
				t.Errorf("%d errors of %s", n, stage)
			}
		}
		if one.runs.Load() != 1 || two.runs.Load() != 0 {
			t.Errorf("%d and %d runs", one.runs.Load(), two.runs.Load())
		}
	})
}

// fails makes a plugin that fails n times, then leaves res.
func fails(n int32, reason string, res Result) *fake {
	f := &fake{}
	f.handle = func(context.Context, *Call) (Result, error) {
		if f.runs.Load() <= n {
			return Result{}, reasonError(reason)
		}
		return res, nil
	}
	return f
}

// A queued branch is queued alone, from its stage that failed, and sees what it
// saw; the others are not run again, and what they left is merged in list order
// when it is done.
func TestParallelQueuedAlone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OnError = config.OnError{Kind: config.Queue}
		var seen journal[string]
		look := func(name string, p *fake) *config.Stage {
			inner := p.handle
			p.handle = func(ctx context.Context, c *Call) (Result, error) {
				seen.add(fmt.Sprintf("%s %d %s", name, c.Event.Attempt, shown(c.Attrs, c.Reply)))
				return inner(ctx, c)
			}
			return w.side(name, p)
		}
		says := func(attr, value, text string) Result {
			return Result{Annotations: tag(attr, value), Reply: textReply(text), ReplySet: true}
		}
		w.pipe.Stages = []*config.Stage{replyStage("early", "early")}
		w.parallel("all",
			list("first", w.side("f1", gives(says("f1", "1", "f1"))), look("f2", fails(2, "upstream", says("x", "f2", "f2")))),
			w.side("good", gives(says("x", "good", "good"))),
			look("last", fails(1, "busy", Result{Annotations: tag("last", "1")})),
		)
		w.pipe.Stages = append(w.pipe.Stages, look("after", gives(Result{})))
		always := &fake{}
		w.always("count", always)
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != "queued" || a.Kind != Success {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		if es := w.store.list(); len(es) != 1 || es[0].Key != "e1" {
			t.Errorf("entries %+v", es)
		}
		w.pass(time.Minute)
		got := seen.all()
		slices.Sort(got[:2]) // these begin at once
		slices.Sort(got[2:4])
		want := []string{
			"f2 1 f1=1 f1", "last 1 early",
			"f2 2 f1=1 f1", "last 2 early",
			"f2 3 f1=1 f1",
			"after 3 f1=1 x=good last=1 good",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if n := w.plugins["good"].(*fake).runs.Load() + w.plugins["f1"].(*fake).runs.Load(); n != 2 || always.runs.Load() != 1 {
			t.Errorf("%d runs of the others, %d of always", n, always.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// What a branch that was not queued ended in still counts when the queued one is
// done.
func TestParallelQueuedThenEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		other *fake
		late  int // replies dropped as late
	}{
		"done": {gives(Result{Outcome: hostapi.Done, Reply: textReply("x"), ReplySet: true}), 1},
		"stop": {failing("trap"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				broken := w.side("broken", fails(1, "upstream", Result{Reply: textReply("y"), ReplySet: true}))
				broken.OnError = &config.OnError{Kind: config.Queue}
				w.parallel("all", broken, w.side("other", tc.other))
				after := &fake{}
				w.stage("after", after)
				w.up()
				defer w.down()
				if a := w.deliver("e1"); a.Outcome != "queued" {
					t.Errorf("%+v", a)
				}
				w.pass(time.Minute)
				if after.runs.Load() != 0 || tc.other.runs.Load() != 1 || w.count("weft_late_replies_total", "shop", "drop") != tc.late {
					t.Errorf("%d runs after them, %d beside, late %d", after.runs.Load(), tc.other.runs.Load(), w.count("weft_late_replies_total", "shop", "drop"))
				}
				w.store.mustBeEmpty(t)
			})
		})
	}
}

// again in a branch makes the next delivery run all of it; from 8 s after the
// first delivery that branch is queued alone.
func TestParallelAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		good, broken := &fake{}, fails(3, "upstream", Result{})
		st := w.side("broken", broken)
		st.OnError = &config.OnError{Kind: config.Again}
		w.parallel("all", w.side("good", good), st)
		w.up()
		defer w.down()
		for i, want := range []string{"again", "again", "queued"} {
			if a := w.deliver("e1"); a.Outcome != want {
				t.Errorf("delivery %d: %+v", i+1, a)
			}
		}
		w.pass(time.Minute)
		if good.runs.Load() != 3 || broken.runs.Load() != 4 {
			t.Errorf("%d and %d runs", good.runs.Load(), broken.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// A branch that fails for an hour is a dead letter that names it; one that is
// busy beside it takes no try away and adds none.
func TestParallelDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OnError = config.OnError{Kind: config.Queue}
		broken := failing("upstream")
		w.parallel("all", w.side("full", failing("busy")), w.side("broken", broken))
		w.up()
		defer w.down()
		w.deliver("e1")
		w.pass(2 * time.Hour)
		if n := broken.runs.Load(); n != maxTries+1 {
			t.Errorf("%d runs", n)
		}
		if es := w.store.list(); len(es) != 1 || !es[0].Dead || es[0].Reason != "stage broken failed for an hour: upstream" {
			t.Errorf("%+v", es)
		}
		if n := w.count("weft_dead_letters_total", "shop", "upstream"); n != 1 {
			t.Errorf("%d dead letters counted", n)
		}
	})
}

// A host that stops leaves the event to be run again from the top.
func TestParallelDrained(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OnError = config.OnError{Kind: config.Queue}
		quick, slow := failing("trap"), takes(time.Hour, "no")
		w.parallel("all", w.side("quick", quick), w.side("slow", slow))
		w.up()
		defer w.down()
		first := w.async(t.Context(), 0, "e1")
		w.pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.engine.Drain(ctx); err == nil {
			t.Error("drained in time")
		}
		if g := <-first; g.answer.Outcome != "late" {
			t.Errorf("%+v", g)
		}
		es := w.store.list()
		var en entry
		if len(es) != 1 || en.decode(es[0].Value) != nil || en.at.stage != "" {
			t.Errorf("entries %+v", es)
		}
	})
}

// The pipeline changes while a branch waits in the queue. What it needs is found
// by its name; where that is gone the entry is a dead letter.
func TestParallelChangesWhileQueued(t *testing.T) {
	for name, tc := range map[string]struct {
		before, after func(w *world, broken *config.Stage) []*config.Stage
		runs          map[string]int32 // in all
		dead          string
	}{
		"a stage moves into a branch": {
			before: func(w *world, b *config.Stage) []*config.Stage { return []*config.Stage{b, w.side("last", &fake{})} },
			after: func(w *world, b *config.Stage) []*config.Stage {
				inner := &config.Stage{Name: "inner", Parallel: []*config.Stage{w.side("i", &fake{}), b}}
				return []*config.Stage{{Name: "all", Parallel: []*config.Stage{w.side("x", &fake{}), list("l", w.side("y", &fake{}), inner)}}, w.side("last", &fake{})}
			},
			runs: map[string]int32{"x": 0, "y": 0, "i": 0, "last": 1, "broken": 2},
		},
		"branches come and go": {
			before: func(w *world, b *config.Stage) []*config.Stage {
				return []*config.Stage{{Name: "all", Parallel: []*config.Stage{w.side("x", &fake{}), list("l", b)}}, w.side("last", &fake{})}
			},
			after: func(w *world, b *config.Stage) []*config.Stage {
				return []*config.Stage{w.side("new", &fake{}), {Name: "all", Parallel: []*config.Stage{list("l", b, w.side("z", &fake{})), w.side("y", &fake{})}}, w.side("last", &fake{})}
			},
			runs: map[string]int32{"new": 0, "y": 0, "z": 1, "last": 1, "broken": 2},
		},
		"it moves out": {
			before: func(_ *world, b *config.Stage) []*config.Stage {
				return []*config.Stage{{Name: "all", Parallel: []*config.Stage{b}}}
			},
			after: func(w *world, b *config.Stage) []*config.Stage {
				return []*config.Stage{{Name: "all", Parallel: []*config.Stage{w.side("x", &fake{})}}, b}
			},
			runs: map[string]int32{"x": 0, "broken": 1}, dead: "stage broken of pipeline main is no more",
		},
		"it is no more": {
			before: func(_ *world, b *config.Stage) []*config.Stage {
				return []*config.Stage{{Name: "all", Parallel: []*config.Stage{b}}}
			},
			after: func(w *world, _ *config.Stage) []*config.Stage {
				return []*config.Stage{{Name: "all", Parallel: []*config.Stage{w.side("x", &fake{})}}}
			},
			runs: map[string]int32{"x": 0}, dead: "stage broken of pipeline main is no more",
		},
		"another kind of stage": {
			before: func(_ *world, b *config.Stage) []*config.Stage {
				return []*config.Stage{{Name: "all", Parallel: []*config.Stage{b}}}
			},
			after: func(_ *world, b *config.Stage) []*config.Stage { return []*config.Stage{list("all", b)} },
			runs:  map[string]int32{"broken": 1}, dead: "stage all of pipeline main is no more",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.queue = mortal{w.store, make(chan struct{})}
				broken := w.side("broken", fails(1, "upstream", Result{}))
				broken.OnError = &config.OnError{Kind: config.Queue}
				w.pipe.Stages = tc.before(w, broken)
				w.up()
				if a := w.deliver("e1"); a.Outcome != "queued" {
					t.Fatalf("%+v", a)
				}
				w.pipe.Stages = tc.after(w, broken)
				bury := w.kill()
				defer bury()
				defer w.down()
				w.pass(time.Minute)
				for plugin, want := range tc.runs {
					if got := w.plugins[plugin].(*fake).runs.Load(); got != want {
						t.Errorf("%s ran %d times, want %d", plugin, got, want)
					}
				}
				reason := ""
				for _, e := range w.store.list() {
					reason += e.Reason
				}
				if reason != tc.dead {
					t.Errorf("dead letter %q, want %q", reason, tc.dead)
				}
			})
		})
	}
}

// However often which branches fail and are queued: in the end every stage has
// seen and left what it would have without errors, and none that was done has
// run again.
func TestParallelQueueChangesNothing(t *testing.T) {
	for seed := range uint64(300) {
		if t.Failed() {
			return
		}
		var smooth, rough string
		for _, broken := range []bool{false, true} {
			bubble(t, func(t *testing.T, w *world) {
				r := rand.New(rand.NewPCG(seed, 1))
				maker := stageMaker{w: w, r: r, runs: map[string]int{}, saw: map[string]string{}}
				w.pipe.OnError = config.OnError{Kind: config.Queue}
				for range 3 {
					w.pipe.Stages = append(w.pipe.Stages, maker.stage(3))
				}
				if broken {
					maker.failures = rand.New(rand.NewPCG(seed, 2))
				}
				w.up()
				defer w.down()
				w.deliver("e1")
				w.pass(time.Hour)
				w.store.mustBeEmpty(t)
				for name, n := range maker.runs {
					if n != 1 {
						t.Errorf("seed %d: %s was done %d times", seed, name, n)
					}
				}
				if broken {
					rough = fmt.Sprint(maker.saw)
				} else {
					smooth = fmt.Sprint(maker.saw)
				}
			})
		}
		if smooth != rough {
			t.Errorf("seed %d:\nwithout errors %s\nwith           %s", seed, smooth, rough)
		}
	}
}

// stageMaker makes stages at random.
type stageMaker struct {
	w        *world
	r        *rand.Rand
	n        int
	mu       sync.Mutex
	failures *rand.Rand // nil: no plugin fails
	runs     map[string]int
	saw      map[string]string
}

func (m *stageMaker) stage(depth int) *config.Stage {
	m.n++
	name := fmt.Sprint("s", m.n)
	kind := m.r.IntN(3)
	if depth == 0 || kind == 0 {
		return m.plugin(name)
	}
	var inner []*config.Stage
	for range 1 + m.r.IntN(3) {
		inner = append(inner, m.stage(depth-1))
	}
	if kind == 1 {
		return list(name, inner...)
	}
	return &config.Stage{Name: name, Parallel: inner}
}

func (m *stageMaker) plugin(name string) *config.Stage {
	var res Result
	for range m.r.IntN(3) {
		res.Annotations = append(res.Annotations, hostapi.Field{Name: fmt.Sprint("a", m.r.IntN(3)), Value: name})
	}
	switch m.r.IntN(4) {
	case 0:
		res.Reply, res.ReplySet = textReply(name), true
	case 1:
		res.ReplySet = true
	}
	if m.r.IntN(12) == 0 {
		res.Outcome = hostapi.Done
	}
	return m.w.side(name, &fake{handle: func(_ context.Context, c *Call) (Result, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.failures != nil && m.failures.IntN(4) == 0 {
			return Result{Annotations: tag("no", name)}, reasonError("upstream")
		}
		m.runs[name]++
		m.saw[name] = shown(c.Attrs, c.Reply)
		return res, nil
	}})
}
