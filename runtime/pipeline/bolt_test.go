package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
)

// With the real embedded store and the real clock: events that were
// acknowledged while they ran, and that a host left behind, are run by the next.
func TestOverBolt(t *testing.T) {
	dir := t.TempDir()
	const n = 50
	open := func(w *world) *bolt.Store {
		s, err := bolt.Open(t.Context(), bolt.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		w.queue = s
		return s
	}
	w := newWorld(t)
	w.pipe.AnswerWithin = 20 * ms
	w.stage("slow", &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
		<-ctx.Done()
		return Result{}, ctx.Err()
	}})
	s := open(w)
	w.up()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if a := w.deliver(fmt.Sprint("e", i)); a.Kind != Success || a.Outcome != "late" {
				t.Errorf("event %d: %+v", i, a)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.engine.Drain(ctx); err == nil {
		t.Error("drained though events ran")
	}
	w.down()
	if err := s.Close(); err != nil {
		t.Error(err)
	}

	ran := make(chan string, n)
	w2 := newWorld(t)
	w2.stage("slow", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
		ran <- fmt.Sprint(c.Event.ID, " ", c.Event.Attempt)
		return Result{}, nil
	}})
	s = open(w2)
	w2.up()
	seen := make(map[string]bool)
	for range n {
		select {
		case id := <-ran:
			seen[id] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d were run again", len(seen), n)
		}
	}
	if len(seen) != n || !seen["e0 2"] {
		t.Errorf("%d events: %v", len(seen), seen)
	}
	w2.down()
	if d, err := s.Depth(t.Context(), queueName); err != nil || d.Ready+d.Delayed+d.Claimed+d.Dead != 0 {
		t.Errorf("left in the queue: %+v, %v", d, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// One app's backlog, of a plugin that hangs, holds up no other app's durable
// runs: those have begun before the first run of the backlog has ended.
func TestBacklogOverBolt(t *testing.T) {
	const backlog = 100_000
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.queue = s
	w.other("mini", config.AppLimits{})
	hang := make(chan struct{})
	var hung atomic.Int32
	ran := make(chan string, 200)
	w.stage("s", &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
		if c.Event.App == "mini" {
			ran <- c.Event.ID
			return Result{}, nil
		}
		hung.Add(1)
		<-hang
		return Result{}, nil
	}})
	entryOf := func(app, id string) store.Entry {
		ev := userEvent(id, id)
		ev.App = app
		en := entry{pipeline: "main", known: time.Now().Add(time.Minute), event: *ev}
		return store.Entry{Key: id, Line: app, Value: en.append(nil)}
	}
	for from := 0; from < backlog; from += 1000 {
		var all []store.Entry
		for i := range 1000 {
			all = append(all, entryOf("shop", fmt.Sprint("shop", from+i)))
		}
		if _, err := s.Append(t.Context(), queueName, 0, all...); err != nil {
			t.Fatal(err)
		}
	}
	w.pipe.Dedupe = 0 // no records of the backlog: they are not what this is about
	w.up()
	for i := range cap(ran) {
		begin := time.Now()
		if _, err := s.Append(t.Context(), queueName, 0, entryOf("mini", fmt.Sprint("mini", i))); err != nil {
			t.Fatal(err)
		}
		w.engine.poke()
		<-ran
		if took := time.Since(begin); i%50 == 0 {
			t.Logf("run %v after it was appended; %d of the other app hang", took, hung.Load())
		}
	}
	if l := w.engine.Load(); l.Runs >= l.MaxWorkers || hung.Load() < minWorkers {
		t.Errorf("load %+v, %d hang", l, hung.Load())
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	close(hang)
	if err := w.engine.Drain(canceled); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.down()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
