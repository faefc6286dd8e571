package pipeline

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

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
