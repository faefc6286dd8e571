package pipeline

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// Moments at which a run, its entry in the queue and the engine's end meet.

// put puts an entry of an event from the top into the queue.
func (w *world) put(id, user string, tries uint32) {
	en := entry{pipeline: "main", known: time.Now().Add(10 * time.Minute), event: *userEvent(id, user)}
	en.event.Attempt = 2
	w.store.entries = append(w.store.entries, &memEntry{Info: store.Info{Key: id, Line: "shop", Value: en.append(nil), Tries: tries, Ready: time.Now()}})
}

// slowly is a store whose calls have an effect before they return, or take long
// to have one.
type slowly struct {
	*memStore
	afterAppend, beforeAck, afterClaim time.Duration
}

func (s slowly) Append(ctx context.Context, q string, hold time.Duration, es ...store.Entry) ([]store.Claim, error) {
	claims, err := s.memStore.Append(ctx, q, hold, es...)
	time.Sleep(s.afterAppend)
	return claims, err
}

func (s slowly) Ack(ctx context.Context, q string, c store.Claim) error {
	time.Sleep(s.beforeAck)
	return s.memStore.Ack(ctx, q, c)
}

func (s slowly) Claim(ctx context.Context, q, line string, n int, hold time.Duration) ([]store.Claim, error) {
	claims, err := s.memStore.Claim(ctx, q, line, n, hold)
	time.Sleep(s.afterClaim)
	return claims, err
}

// An entry that is claimed before its append has returned is run when it has,
// and keeps its place.
func TestClaimedBeforeAppended(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.queue = slowly{memStore: w.store, afterAppend: 1500 * ms}
		var at journal[time.Duration]
		p := &fake{}
		p.handle = func(context.Context, *Call) (Result, error) {
			at.add(time.Since(w.start))
			if p.runs.Load() == 1 {
				return Result{}, reasonError("upstream")
			}
			return Result{}, nil
		}
		w.stage("s", p).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		poke := time.AfterFunc(1100*ms, func() { w.engine.poke() })
		defer poke.Stop()
		if g := <-w.async(t.Context(), 0, "e1"); g.answer.Outcome != "queued" || g.at != 1500*ms {
			t.Errorf("%+v", g)
		}
		w.pass(time.Minute)
		if all := at.all(); len(all) != 2 || all[1] != 1500*ms {
			t.Errorf("ran at %v", all)
		}
		w.store.mustBeEmpty(t)
	})
}

// An entry of the run before, which on_error: again has made void, is removed
// before the next run makes its own: else that one, acknowledged, would go.
func TestEntryOfTheRunBefore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.queue = slowly{memStore: w.store, beforeAck: 4800 * ms} // until 9.5 s
		w.store.appendTime = 200 * ms
		p := &fake{}
		p.handle = func(ctx context.Context, _ *Call) (Result, error) {
			needs := 4600 * ms
			if p.runs.Load() > 1 {
				needs = 20 * time.Second
			}
			select {
			case <-time.After(needs):
			case <-ctx.Done():
			}
			return Result{}, reasonError("upstream")
		}
		w.stage("s", p).OnError = &config.OnError{Kind: config.Again}
		w.up()
		defer w.down()
		first, second, third := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 4650*ms, "e1"), w.async(t.Context(), 9600*ms, "e1")
		if g := <-first; g.answer.Kind != Again || g.at != 4600*ms {
			t.Errorf("first: %+v", g)
		}
		if g := <-second; g.answer.Kind != Again || g.at != 9150*ms+saveGrace {
			t.Errorf("second: %+v", g)
		}
		if g := <-third; g.answer.Kind != Success {
			t.Errorf("third: %+v", g)
		}
		if w.pass(time.Second); len(w.store.list()) != 1 {
			t.Error("acknowledged, and not in the queue")
		}
	})
}

// An entry that nobody knew of is run; a repeat that comes meanwhile gets
// success, because there is nobody who would give it the reply.
func TestEntryFoundOfAnOpenRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{}
		p.handle = func(ctx context.Context, _ *Call) (Result, error) {
			time.Sleep(4700 * ms)
			if p.runs.Load() == 1 {
				return Result{}, reasonError("upstream")
			}
			return Result{}, nil
		}
		w.stage("s", p).OnError = &config.OnError{Kind: config.Again}
		w.queue = unsure{w.store}
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 4550*ms, "e1")
		if a, b := <-first, <-second; a.answer.Kind != Again || b.answer.Kind != Again {
			t.Errorf("%+v %+v", a, b)
		}
		if g := <-w.async(t.Context(), 20*time.Second, "e1"); g.answer.Outcome != "repeat" || g.answer.Kind != Success || g.at != 20*time.Second {
			t.Errorf("third: %+v", g)
		}
		w.pass(time.Minute)
		if p.runs.Load() != 2 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// What is claimed while the engine closes goes back at once, and no user's turn
// is held by it.
func TestClaimedWhileClosing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OrderUser = true
		p := &fake{}
		w.stage("s", p)
		w.put("e1", "oUser", 5)
		w.queue = slowly{memStore: w.store, afterClaim: time.Second}
		w.up()
		synctest.Wait()
		w.down()
		if es := w.store.list(); p.runs.Load() != 0 || len(es) != 1 || es[0].Ready.After(time.Now()) || es[0].Tries != 5 {
			t.Errorf("%d runs, %+v", p.runs.Load(), es)
		}
	})
}

// Durable runs that the engine's end interrupts, those that wait for a worker too,
// go back as they were.
func TestDurableRunsInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OrderUser = true
		p := takes(20*time.Second, "answer")
		w.stage("s", p)
		w.app.Limits.Workers = 5
		const n = 5 + 3
		for i := range n {
			w.put(fmt.Sprint("e", i), fmt.Sprint("u", i), 5)
		}
		w.up()
		w.pass(time.Second)
		w.down()
		es := w.store.list()
		if p.runs.Load() != 5 || len(es) != n {
			t.Errorf("%d runs, %d entries", p.runs.Load(), len(es))
		}
		for _, e := range es {
			if e.Ready.After(time.Now()) || e.Tries != 5 {
				t.Errorf("%s: ready in %v, %d tries", e.Key, time.Until(e.Ready), e.Tries)
			}
		}
	})
}

// An entry of a file from before there were lines stands in the one without a
// name, and is run as any other.
func TestEntryWithoutALine(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{}
		w.stage("s", p)
		w.put("e1", "u", 0)
		w.store.entries[0].Line = ""
		w.up()
		defer w.down()
		w.pass(time.Second)
		if n := p.runs.Load(); n != 1 {
			t.Errorf("%d runs", n)
		}
		w.store.mustBeEmpty(t)
	})
}

// The engine's end is no error of the plugin that stands in for another: its
// event is left to the queue.
func TestStandInInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.plugins["other"] = takes(20*time.Second, "answer")
		w.stage("broken", failing("trap")).OnError = &config.OnError{Kind: config.Instead, Plugin: &config.Plugin{Name: "other"}}
		w.up()
		if a := w.deliver("e1"); a.Outcome != "late" {
			t.Errorf("%+v", a)
		}
		w.down()
		if es := w.store.list(); len(es) != 1 || es[0].Ready.After(time.Now()) {
			t.Errorf("%+v", es)
		}
		if n := w.count("weft_stage_errors_total", "main", "error", "broken"); n != 0 {
			t.Errorf("%d errors counted", n)
		}
	})
}
