package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// fails is a canary that is rolled back by one event.
func (w *world) fails() *config.Canary {
	c := w.canary("s", says("old"), failing("trap"), 100_000)
	c.Rollback.MinEvents = 1
	return c
}

// again is a host that starts with the store of another.
func (w *world) again(t *testing.T) *world {
	next := newWorld(t)
	next.store, next.queue = w.store, w.store
	return next
}

// TestCanaryStaysRolledBack: over a restart and a swap, until the lines change.
func TestCanaryStaysRolledBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fails()
		w.up()
		w.send(1)
		at := time.Now()
		w.pass(time.Second)
		w.down()

		w = w.again(t)
		w.fails()
		w.up()
		if got := w.send(2); got != "old" {
			t.Errorf("after a restart: %q", got)
		}
		if end := w.engine.Canaries()[0].RolledBack; end == nil || !end.At.Equal(at) || end.Reason != "1 of 1 events failed, the last: trap" {
			t.Errorf("after a restart: %+v", end)
		}
		w.engine.Swap(w.build())
		if got := w.send(3); got != "old" {
			t.Errorf("after a swap: %q", got)
		}
		w.pipe.Stages[0].Canary.Lines = "other lines"
		w.plugins["s-next"] = says("mended")
		w.engine.Swap(w.build())
		if got := w.send(4); got != "mended" {
			t.Errorf("with other lines: %q", got)
		}
		w.pass(time.Second)
		w.down()

		w = w.again(t)
		w.fails()
		w.plugins["s-next"] = says("anew")
		w.up()
		if got := w.send(5); got != "anew" {
			t.Errorf("after the lines had changed: %q", got)
		}
		w.down()
	})
}

// TestCanaryStageComesBack: a stage that was away for a while, with its file, is
// where it was.
func TestCanaryStageComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fails()
		w.up()
		defer w.down()
		w.send(1)
		whole := w.build()
		w.pipe.Stages = nil
		w.engine.Swap(w.build())
		if n := len(w.engine.Canaries()); n != 0 {
			t.Errorf("%d canaries", n)
		}
		w.engine.Swap(whole)
		if got := w.send(2); got != "old" {
			t.Errorf("answered %q", got)
		}
	})
}

// TestCanaryIsGivenAgain: one that the operator took from its stage, and gives it
// again with the same lines, begins anew, over a restart, too.
func TestCanaryIsGivenAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fails()
		w.up()
		w.send(1)
		given := w.pipe.Stages[0].Canary
		w.pipe.Stages[0].Canary = nil
		w.engine.Swap(w.build())
		w.pass(time.Second)
		w.plugins["s-next"] = says("mended")
		w.pipe.Stages[0].Canary = given
		w.engine.Swap(w.build())
		if got := w.send(2); got != "mended" {
			t.Errorf("answered %q", got)
		}
		w.down()

		w = w.again(t)
		w.fails()
		w.plugins["s-next"] = says("mended")
		w.up()
		if got := w.send(3); got != "mended" {
			t.Errorf("after a restart: %q", got)
		}
		w.down()
	})
}

// TestCanaryHoldsNoOldSet: a trial that goes on keeps nothing of the sets before.
func TestCanaryHoldsNoOldSet(t *testing.T) {
	w := newWorld(t)
	w.canary("s", says("old"), failing("trap"), 0)
	w.up()
	defer w.down()
	gone := make(chan struct{})
	runtime.SetFinalizer(w.engine.set.Load().canaries[0], func(*canary) { close(gone) })
	<-w.engine.Swap(w.build())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		runtime.GC()
		select {
		case <-gone:
			return
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the canary of the set before is still there")
		}
	}
}

// TestCanarySwapKeepsCounts: what counted before a swap counts after it; what
// still runs in a set whose lines were others does not.
func TestCanarySwapKeepsCounts(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.canary("s", says("old"), failing("trap"), 100_000).Rollback.MinEvents = 4
		w.up()
		defer w.down()
		w.send(1)
		w.send(2)
		w.engine.Swap(w.build())
		w.send(3)
		if c := w.engine.Canaries()[0]; c.Events != 3 || c.RolledBack != nil {
			t.Fatalf("got %+v", c)
		}
		w.send(4)
		if c := w.engine.Canaries()[0]; c.RolledBack == nil {
			t.Fatalf("got %+v", c)
		}

		w.plugins["s-next"] = &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
			<-time.After(time.Second)
			return Result{}, reasonError("trap")
		}}
		c := w.pipe.Stages[0].Canary
		c.Lines, c.Rollback.MinEvents = "second", 1
		w.engine.Swap(w.build())
		go w.send(5)
		w.pass(0)
		c.Lines = "third"
		w.plugins["s-next"] = says("third")
		w.engine.Swap(w.build())
		w.pass(2 * time.Second)
		if got := w.send(6); got != "third" {
			t.Errorf("answered %q", got)
		}
		if c := w.engine.Canaries()[0]; c.RolledBack != nil || c.Failed != 0 {
			t.Errorf("got %+v", c)
		}
	})
}

// TestCanaryStoreAway: the rollback holds at once, and is durable when the store
// is back. A host that dies before that rolls back once more.
func TestCanaryStoreAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store.failApplies(errStore)
		w.fails()
		w.up()
		w.send(1)
		if got := w.send(2); got != "old" {
			t.Errorf("answered %q", got)
		}
		w.pass(10 * time.Second)
		if n := strings.Count(w.logged(), "rolled back canaries not made durable"); n < 5 || n > 15 {
			t.Errorf("%d lines in 10 s", n)
		}
		w.store.failApplies(nil)
		w.pass(2 * time.Second)
		w.down()
		w = w.again(t)
		w.fails()
		w.up()
		if got := w.send(3); got != "old" {
			t.Errorf("after the restart: %q", got)
		}
		w.down()

		w = newWorld(t)
		w.store.failApplies(errStore)
		w.fails()
		w.up()
		w.send(1)
		w.pass(time.Second)
		w.down() // it must not wait for the store
		w = w.again(t)
		w.store.failApplies(nil)
		w.fails()
		w.up()
		defer w.down()
		if first, second := w.send(4), w.send(5); first != "" || second != "old" {
			t.Errorf("answered %q, %q", first, second)
		}
	})
}

// TestCanaryDamagedStore: what can't be read is forgotten, and said.
func TestCanaryDamagedStore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store.values = map[string][]byte{canaryBucket + "/" + canaryKey: []byte(`[{"pipeline":1}]`)}
		w.fails()
		w.up()
		defer w.down()
		if !strings.Contains(w.logged(), "canaries that were rolled back are forgotten") {
			t.Errorf("log: %s", w.logged())
		}
		if first, second := w.send(1), w.send(2); first != "" || second != "old" {
			t.Errorf("answered %q, %q", first, second)
		}
	})
}

// TestCanaryUnreadStore: a start that can't read what was rolled back fails.
func TestCanaryUnreadStore(t *testing.T) {
	w := newWorld(t)
	e, err := NewEngine(Options{Store: unread{w.store}, Metrics: w.metrics})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), w.build()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

type unread struct{ *memStore }

func (unread) Get(context.Context, string, string) ([]byte, error) { return nil, store.ErrUnavailable }

// TestRollbacksAreBounded: the oldest is forgotten.
func TestRollbacksAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var list []rolledBack
		for i := range maxRollbacks {
			list = append(list, rolledBack{Pipeline: "main", Stage: strconv.Itoa(i), At: w.start.Add(time.Duration(i-7) * time.Second)})
		}
		value, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		w.store.values = map[string][]byte{canaryBucket + "/" + canaryKey: value}
		w.fails()
		w.up()
		defer w.down()
		cs := &w.engine.canaries
		w.send(1)
		w.pass(time.Second)
		if _, there := cs.rolled[stageName{"main", "0"}]; there || len(cs.rolled) != maxRollbacks {
			t.Errorf("%d rollbacks, the oldest there: %v", len(cs.rolled), there)
		}
		if n := len(w.store.values[canaryBucket+"/"+canaryKey]); n == 0 || n > store.MaxValue {
			t.Errorf("%d bytes in the store", n)
		}
	})
}

func FuzzRolledBack(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", `[{"pipeline":"main","stage":"s","lines":"x","at":"2026-01-02T03:04:05Z","events":10,"failed":3,"reason":"trap"}]`,
		`[{"events":-1,"failed":1e9,"reason":"<script>"}]`, `{"pipeline":"main"}`, `[{"at":"x"}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		rolled, err := decodeRolledBack(value)
		if err != nil {
			return
		}
		for name, r := range rolled {
			if name != (stageName{r.Pipeline, r.Stage}) || r.Events < 0 || r.Failed < 0 || reasonOf(labelled(r.Reason)) != r.Reason {
				t.Errorf("%v: %+v", name, r)
			}
		}
		again, err := json.Marshal(slices.Collect(func(yield func(rolledBack) bool) {
			for _, r := range rolled {
				if !yield(r) {
					return
				}
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := decodeRolledBack(again); err != nil || len(twice) != len(rolled) {
			t.Errorf("%d, then %d, %v", len(rolled), len(twice), err)
		}
	})
}
