package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// later makes a stage async.
func later(st *config.Stage) *config.Stage {
	st.Async = true
	return st
}

// sees makes a plugin that writes down what it gets.
func sees(j *journal[string], name string, err error) *fake {
	return &fake{handle: func(_ context.Context, c *Call) (Result, error) {
		j.add(fmt.Sprintf("%s %d %v %s", name, c.Event.Attempt, c.Passive, shown(c.Attrs, c.Reply)))
		return Result{Outcome: hostapi.Done, Annotations: tag("async", "1"), Reply: textReply("no"), ReplySet: true}, err
	}}
}

// Async stages, wherever they stand, are durable in one write before the answer
// goes out. Each runs once, on what there was when the event came to it, and
// changes nothing for those after it.
func TestAsync(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var seen journal[string]
		do := func(name string) *config.Stage { return later(w.side(name, sees(&seen, name, nil))) }
		only := func(st *config.Stage, when string) *config.Stage {
			st.When = when
			return st
		}
		unwanted, unwanted2 := do("unwanted"), do("unwanted2")
		for _, name := range []string{"unwanted", "unwanted2"} {
			w.plugins[name].(*fake).wants = func(string, string) bool { return false }
		}
		w.pipe.Stages = []*config.Stage{
			do("a"),
			w.side("tag", gives(Result{Annotations: tag("x", "1")})),
			replyStage("early", "early"),
			only(do("b"), `attrs["x"] == "1"`), only(do("not"), `attrs["x"] == "2"`), list("u", unwanted2),
			w.side("tag2", gives(Result{Annotations: tag("x", "2")})),
			{Name: "all", Parallel: []*config.Stage{list("l", w.side("tag3", gives(Result{Annotations: tag("x", "3")})), do("c")), do("d")}},
			w.side("last", gives(Result{Outcome: hostapi.Done, Reply: textReply("last"), ReplySet: true})),
			do("never"),
		}
		w.pipe.Always = []*config.Stage{
			w.side("best-effort", gives(Result{Annotations: tag("always", "1")})),
			unwanted,
			{Name: "ways", Switch: []*config.Branch{{When: `content == "bye"`, Stages: []*config.Stage{do("bye")}}, {Stages: []*config.Stage{do("e")}}}},
			{Name: "sides", Parallel: []*config.Stage{only(do("f"), `attrs["x"] == "3"`), w.side("best", &fake{})}},
			{Name: "no", When: `attrs["x"] == "1"`, Switch: []*config.Branch{{Stages: []*config.Stage{do("none")}}}},
		}
		w.store.appendTime = time.Second
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), 0, "e1"); !isText(g.answer, "last") || g.at != time.Second || g.answer.Outcome != "replied" {
			t.Errorf("%+v", g)
		}
		if want := []string{"e1/a e1/b e1/c e1/d e1/e e1/f"}; !slices.Equal(w.store.writes, want) {
			t.Errorf("written %q, want %q", w.store.writes, want)
		}
		w.deliver("e1")
		w.pass(time.Minute)
		got := seen.all()
		slices.Sort(got)
		want := []string{"a 1 false none", "b 1 false x=1 early", "c 1 false x=3 early", "d 1 false x=2 early", "e 1 false x=3 last", "f 1 false x=3 last"}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, plugin := range []string{"best-effort", "best"} {
			if n := w.plugins[plugin].(*fake).runs.Load(); n != 1 {
				t.Errorf("%s ran %d times", plugin, n)
			}
		}
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 0 {
			t.Errorf("%d late replies counted", n)
		}
		w.store.mustBeEmpty(t)
	})
}

// An async stage that fails, in each form of on_error: the user gets the answer
// in any case.
func TestAsyncOnError(t *testing.T) {
	for name, tc := range map[string]struct {
		onError *config.OnError
		runs    int32 // in two hours
		others  int32
		errors  int
		dead    string
	}{
		"nothing said": {nil, maxTries + 1, 0, maxTries + 1, "stage count failed for an hour: trap"},
		"queue":        {&config.OnError{Kind: config.Queue}, maxTries + 1, 0, maxTries + 1, "stage count failed for an hour: trap"},
		"again":        {&config.OnError{Kind: config.Again}, maxTries + 1, 0, maxTries + 1, "stage count failed for an hour: trap"},
		"skip":         {&config.OnError{Kind: config.Skip}, 1, 0, 1, ""},
		"stop":         {&config.OnError{Kind: config.Stop}, 1, 0, 1, ""},
		"reply":        {&config.OnError{Kind: config.GiveReply, Reply: &config.Reply{Text: &config.Text{Content: "no"}}}, 1, 0, 1, ""},
		"plugin":       {&config.OnError{Kind: config.Instead, Plugin: &config.Plugin{Name: "other"}}, 1, 1, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				count, other := failing("trap"), &fake{}
				w.stage("quick", takes(0, "answer"))
				w.plugins["other"] = other
				later(w.always("count", count)).OnError = tc.onError
				w.up()
				defer w.down()
				if g := <-w.async(t.Context(), 0, "e1"); !isText(g.answer, "answer") || g.at != 0 {
					t.Errorf("%+v", g)
				}
				w.pass(2 * time.Hour)
				if count.runs.Load() != tc.runs || other.runs.Load() != tc.others {
					t.Errorf("%d runs, %d of the other", count.runs.Load(), other.runs.Load())
				}
				if n := w.count("weft_stage_errors_total", "main", "trap", "count"); n != tc.errors || strings.Count(w.logged(), "stage=count event_id=e1 reason=trap") != n {
					t.Errorf("%d errors counted, logged\n%s", n, w.logged())
				}
				dead := ""
				for _, e := range w.store.list() {
					dead += e.Reason
				}
				if dead != tc.dead || (w.count("weft_dead_letters_total", "shop", "trap") == 1) != (tc.dead != "") {
					t.Errorf("dead letter %q", dead)
				}
				if w.count("weft_late_replies_total", "shop", "drop") != 0 || w.outcome("replied") != 1 {
					t.Error("a reply was counted as late, or the answer not")
				}
			})
		})
	}
}

// A try that fails is the next attempt, a second later, with what there was.
func TestAsyncTries(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var seen journal[string]
		w.stage("tag", gives(Result{Annotations: tag("x", "1"), Reply: textReply("answer"), ReplySet: true}))
		p := sees(&seen, "count", reasonError("upstream"))
		later(w.stage("count", p))
		after := &fake{}
		w.stage("after", after)
		w.up()
		defer w.down()
		w.deliver("e1")
		w.pass(4 * time.Second)
		want := []string{"count 1 false x=1 answer", "count 2 false x=1 answer", "count 3 false x=1 answer"}
		if got := seen.all(); !slices.Equal(got, want) {
			t.Errorf("got\n%s", strings.Join(got, "\n"))
		}
		if after.runs.Load() != 1 {
			t.Errorf("the stage after it ran %d times", after.runs.Load())
		}
	})
}

// A condition that can't be computed is the error of the stage's own run, not of
// the answer.
func TestAsyncWhenError(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{}
		st := later(w.stage("count", p))
		st.When, st.OnError = `int(content) > 1`, &config.OnError{Kind: config.Skip}
		w.stage("quick", takes(0, "answer"))
		w.pipe.Always = []*config.Stage{{
			Name: "ways", OnError: &config.OnError{Kind: config.Skip},
			Switch: []*config.Branch{{When: `int(content) > 1`, Stages: []*config.Stage{later(w.side("other", p))}}},
		}}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); !isText(a, "answer") {
			t.Errorf("%+v", a)
		}
		w.pass(time.Minute)
		for _, stage := range []string{"count", "ways"} {
			if n := w.count("weft_stage_errors_total", "main", "when", stage); n != 1 {
				t.Errorf("%d errors of %s", n, stage)
			}
		}
		if p.runs.Load() != 0 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// Without the write there is no answer: WeChat repeats, and the event runs
// again.
func TestAsyncNotDurable(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		top, count, always := &fake{}, &fake{}, &fake{}
		w.stage("top", top)
		later(w.stage("count", count))
		w.stage("quick", takes(0, "answer"))
		w.always("always", always)
		w.store.failAppends(errStore)
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), 0, "e1"); g.answer.Kind != Again || g.at != 4500*ms {
			t.Errorf("%+v", g)
		}
		if always.runs.Load() != 0 || !strings.Contains(w.logged(), `msg="async stages not made durable" app=shop event_id=e1`) {
			t.Errorf("%d runs of always, logged\n%s", always.runs.Load(), w.logged())
		}
		w.store.failAppends(nil)
		if a := w.deliver("e1"); !isText(a, "answer") {
			t.Errorf("%+v", a)
		}
		w.pass(time.Minute)
		if top.runs.Load() != 2 || count.runs.Load() != 1 || always.runs.Load() != 1 {
			t.Errorf("%d, %d and %d runs", top.runs.Load(), count.runs.Load(), always.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// An event that was late and whose async stage can't be made durable is in the
// queue already: it is run again from there, and given up after an hour.
func TestAsyncNotDurableWhenLate(t *testing.T) {
	for name, lasts := range map[string]time.Duration{"a while": time.Minute, "for good": 3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				slow, count, always := takes(6*time.Second, "no"), &fake{}, &fake{}
				w.stage("slow", slow)
				later(w.stage("count", count))
				w.always("always", always)
				w.up()
				defer w.down()
				if a := w.deliver("e1"); a.Outcome != "late" {
					t.Errorf("%+v", a)
				}
				w.store.failAppends(store.ErrInvalid)
				w.pass(lasts)
				w.store.failAppends(nil)
				w.pass(10 * time.Minute)
				if lasts == time.Minute {
					if slow.runs.Load() < 3 || count.runs.Load() != 1 || always.runs.Load() != 1 {
						t.Errorf("%d, %d and %d runs", slow.runs.Load(), count.runs.Load(), always.runs.Load())
					}
					w.store.mustBeEmpty(t)
					return
				}
				if es := w.store.list(); len(es) != 1 || !es[0].Dead || es[0].Reason != "stage count failed for an hour: store" {
					t.Errorf("%+v", es)
				}
				if always.runs.Load() != 0 || w.count("weft_dead_letters_total", "shop", "store") != 1 {
					t.Errorf("%d runs of always", always.runs.Load())
				}
			})
		})
	}
}

// Where a stage queues the event, the async stages before it are in the same
// write, and the run that goes on does not come by them again.
func TestAsyncThenQueued(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var seen journal[string]
		do := func(name string) *config.Stage { return later(w.side(name, sees(&seen, name, nil))) }
		broken := w.side("broken", fails(1, "upstream", Result{Annotations: tag("x", "1")}))
		broken.OnError = &config.OnError{Kind: config.Queue}
		w.pipe.Stages = []*config.Stage{
			do("a"), {Name: "all", Parallel: []*config.Stage{list("l", do("b"), broken), do("c")}}, do("d"),
		}
		w.pipe.Always = []*config.Stage{do("e")}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != "queued" {
			t.Errorf("%+v", a)
		}
		w.pass(time.Minute)
		if want := []string{"e1 e1/a e1/b e1/c e1/e", "e1/d"}; !slices.Equal(w.store.writes, want) {
			t.Errorf("written %q", w.store.writes)
		}
		got := seen.all()
		slices.Sort(got)
		want := []string{"a 1 false none", "b 1 false none", "c 1 false none", "d 2 false x=1 none", "e 1 false none"}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s", strings.Join(got, "\n"))
		}
		w.store.mustBeEmpty(t)
	})
}

// A late event that a stage then queues, and one that its durable run queues
// once more: the async stages are durable before the entry changes; where they
// can't be, it stays.
func TestAsyncThenQueuedLate(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprint("store away ", away), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				a, b, always := &fake{}, &fake{}, &fake{}
				w.pipe.OnError = config.OnError{Kind: config.Queue}
				slow := takes(6*time.Second, "no")
				w.stage("slow", slow)
				later(w.stage("a", a))
				first := fails(1, "upstream", Result{})
				w.stage("first", first)
				later(w.stage("b", b))
				second := fails(1, "upstream", Result{})
				w.stage("second", second)
				w.always("always", always)
				w.up()
				defer w.down()
				if a := w.deliver("e1"); a.Outcome != "late" {
					t.Errorf("%+v", a)
				}
				want := []string{"e1", "e1/a", "e1/b"}
				slowRuns := int32(1)
				if away {
					w.store.failAppends(errStore)
					w.pass(5 * time.Second)
					w.store.failAppends(nil)
					want, slowRuns = []string{"e1", "e1/a e1/b"}, 2
				}
				w.pass(5 * time.Minute)
				if !slices.Equal(w.store.writes, want) {
					t.Errorf("written %q", w.store.writes)
				}
				if slow.runs.Load() != slowRuns || a.runs.Load() != 1 || b.runs.Load() != 1 || always.runs.Load() != 1 || second.runs.Load() != 2 {
					t.Errorf("%d of slow, %d of a, %d of b, %d of always, %d of second", slow.runs.Load(), a.runs.Load(), b.runs.Load(), always.runs.Load(), second.runs.Load())
				}
				w.store.mustBeEmpty(t)
			})
		})
	}
}

// The same in a run from a stage of which the store is away.
func TestAsyncThenQueuedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OnError = config.OnError{Kind: config.Queue}
		first, a, second := fails(1, "upstream", Result{}), &fake{}, fails(2, "upstream", Result{})
		w.stage("first", first)
		later(w.stage("a", a))
		w.stage("second", second)
		w.up()
		defer w.down()
		w.deliver("e1")
		w.store.failAppends(errStore)
		w.pass(time.Second)
		w.store.failAppends(nil)
		w.pass(time.Minute)
		if first.runs.Load() != 3 || a.runs.Load() != 1 || second.runs.Load() != 3 {
			t.Errorf("%d, %d and %d runs", first.runs.Load(), a.runs.Load(), second.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// Deliveries that end in again leave no async stage; the one that ends does.
func TestAsyncAndAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		count := &fake{}
		later(w.stage("count", count))
		w.stage("broken", fails(1, "upstream", Result{})).OnError = &config.OnError{Kind: config.Again}
		w.up()
		defer w.down()
		for _, want := range []string{"again", "success"} {
			if a := w.deliver("e1"); a.Outcome != want {
				t.Errorf("%+v", a)
			}
		}
		w.pass(time.Second)
		if want := []string{"e1/count"}; !slices.Equal(w.store.writes, want) || count.runs.Load() != 1 {
			t.Errorf("written %q, %d runs", w.store.writes, count.runs.Load())
		}
	})
}

// A host that was killed after the answer has the next one run the stage; a
// repeat of the event gets success and runs nothing.
func TestAsyncAfterKill(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.queue = mortal{w.store, make(chan struct{})}
		quick := takes(0, "answer")
		w.stage("quick", quick)
		count := &fake{}
		count.handle = func(ctx context.Context, _ *Call) (Result, error) {
			if count.runs.Load() == 1 {
				<-ctx.Done()
			}
			return Result{}, ctx.Err()
		}
		later(w.always("count", count))
		w.up()
		if a := w.deliver("e1"); !isText(a, "answer") {
			t.Errorf("%+v", a)
		}
		w.pass(time.Second)
		bury := w.kill()
		defer bury()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success || a.Outcome != "repeat" {
			t.Errorf("repeat: %+v", a)
		}
		w.pass(holdFor + time.Second)
		if quick.runs.Load() != 1 || count.runs.Load() != 2 {
			t.Errorf("%d and %d runs", quick.runs.Load(), count.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// An event that is run again while its async stage waits leaves that as it is.
func TestAsyncOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("slow", takes(6*time.Second, "no"))
		count := failing("busy")
		later(w.stage("count", count))
		w.up()
		defer w.down()
		w.deliver("e1")
		w.pass(3 * time.Second)
		en := entry{pipeline: "main", known: time.Now().Add(time.Minute), event: *event("e1")}
		w.store.entries = append(w.store.entries, &memEntry{Info: store.Info{Key: "e1", Value: en.append(nil), Ready: time.Now()}})
		w.engine.ledger.forget(w.engine.ledger.index["e1"])
		w.engine.poke()
		w.pass(time.Minute)
		if es := w.store.list(); len(es) != 1 || es[0].Key != "e1/count" || !slices.Equal(w.store.writes, []string{"e1", "e1/count", "e1/count"}) {
			t.Errorf("%+v, written %q", es, w.store.writes)
		}
	})
}

// An async stage neither waits for the user's turn nor holds it.
func TestAsyncHoldsNoTurn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OrderUser = true
		p := takes(10*time.Second, "")
		later(w.stage("count", p))
		w.stage("quick", takes(2*time.Second, "answer"))
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 3*time.Second, "e2")
		if a, b := <-first, <-second; a.at != 2*time.Second || b.at != 5*time.Second {
			t.Errorf("answered at %v and %v", a.at, b.at)
		}
		synctest.Wait()
		if n := p.runs.Load(); n != 2 {
			t.Errorf("%d runs begun", n)
		}
	})
}

// The pipeline changes while an async stage waits: it is found by its name,
// async or not any more; where it is gone it is a dead letter.
func TestAsyncChangesWhileQueued(t *testing.T) {
	for name, tc := range map[string]struct {
		after func(w *world, count *config.Stage)
		runs  int32
		dead  string
	}{
		"it moves": {func(w *world, count *config.Stage) {
			w.pipe.Stages, w.pipe.Always = []*config.Stage{list("l", count)}, nil
		}, 2, ""},
		"it is not async any more": {func(_ *world, count *config.Stage) {
			count.Async, count.OnError = false, &config.OnError{Kind: config.Queue}
		}, 2, ""},
		"it is no more":   {func(w *world, _ *config.Stage) { w.pipe.Always = nil }, 1, "stage count of pipeline main is no more"},
		"it is no plugin": {func(w *world, _ *config.Stage) { w.pipe.Always = []*config.Stage{replyStage("count", "x")} }, 1, "stage count of pipeline main is no more"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.queue = mortal{w.store, make(chan struct{})}
				p := fails(1, "upstream", Result{})
				count := later(w.always("count", p))
				w.up()
				w.deliver("e1")
				synctest.Wait()
				tc.after(w, count)
				bury := w.kill()
				defer bury()
				defer w.down()
				w.pass(time.Minute)
				dead := ""
				for _, e := range w.store.list() {
					dead += e.Reason
				}
				if p.runs.Load() != tc.runs || dead != tc.dead {
					t.Errorf("%d runs, dead letter %q", p.runs.Load(), dead)
				}
			})
		})
	}
}

// Without dedupe each delivery has async stages of its own.
func TestAsyncWithoutDedupe(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Dedupe = 0
		count := &fake{}
		later(w.stage("count", count))
		w.up()
		defer w.down()
		w.deliver("e1")
		w.deliver("e1")
		w.pass(time.Second)
		if count.runs.Load() != 2 || len(w.store.writes) != 2 {
			t.Errorf("%d runs, written %q", count.runs.Load(), w.store.writes)
		}
		w.store.mustBeEmpty(t)
	})
}

// A host that stops leaves an async stage that runs to the next one, and that is
// no try.
func TestAsyncDrained(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		later(w.stage("count", takes(time.Hour, "")))
		w.up()
		w.deliver("e1")
		w.pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.engine.Drain(ctx); err == nil {
			t.Error("drained in time")
		}
		w.down()
		if es := w.store.list(); len(es) != 1 || es[0].Key != "e1/count" || es[0].Tries != 0 || es[0].Ready.After(time.Now()) {
			t.Errorf("%+v", es)
		}
		if strings.Contains(w.logged(), "level=ERROR") {
			t.Errorf("logged\n%s", w.logged())
		}
	})
}
