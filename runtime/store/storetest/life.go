package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// everyCall makes each call of the interface, and returns the errors by name.
func everyCall(ctx context.Context, s store.Store) map[string]error {
	c := store.Claim{Key: "k", Token: 1}
	errs := map[string]error{}
	_, errs["Get"] = s.Get(ctx, "b", "k")
	_, errs["Apply"] = s.Apply(ctx, store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: []byte("new")})
	_, errs["Append"] = s.Append(ctx, "q", 0, store.Entry{Key: "new"})
	_, errs["Claim"] = s.Claim(ctx, "q", "", 1, time.Minute)
	errs["Extend"] = s.Extend(ctx, "q", c, time.Minute)
	errs["Ack"] = s.Ack(ctx, "q", c)
	errs["Release"] = s.Release(ctx, "q", c, 0)
	errs["Bury"] = s.Bury(ctx, "q", c, "")
	_, errs["Lines"] = s.Lines(ctx, "q")
	_, errs["Depth"] = s.Depth(ctx, "q")
	errs["List"] = s.List(ctx, "q", 0, func(store.Info) bool { return true })
	errs["Retry"] = s.Retry(ctx, "q", "k")
	errs["Drop"] = s.Drop(ctx, "q", "k")
	_, errs["Clear"] = s.Clear(ctx, "b2", 1)
	_, errs["Lock"] = s.Lock(ctx, "l", time.Minute)
	errs["Renew"] = s.Renew(ctx, store.Lock{Name: "l", Fence: 1}, time.Minute)
	errs["Unlock"] = s.Unlock(ctx, store.Lock{Name: "l", Fence: 1})
	_, errs["Look"] = s.Look(ctx, "k")
	errs["Put"] = s.Put(ctx, "k", nil, time.Minute)
	_, _, errs["Exchange"] = s.Exchange(ctx, "k", nil, nil, 0)
	errs["Publish"] = s.Publish(ctx, "t", nil)
	_, errs["Subscribe"] = s.Subscribe(ctx, "t", func([]byte) {})
	return errs
}

func life(t *testing.T, open Open) {
	t.Run("every call ends with the error of its context", func(t *testing.T) {
		f := start(t, open)
		f.set("k", "old")
		f.put("k")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, err := range everyCall(ctx, f) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}
		f.has("k", "old")
		f.depth(store.Depth{Ready: 1})
	})
	t.Run("every call after Close is ErrClosed, and a second Close is none", func(t *testing.T) {
		f := start(t, open)
		f.ok(f.Close())
		for name, err := range everyCall(t.Context(), f) {
			if !errors.Is(err, store.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		f.ok(f.Close())
	})
	t.Run("Close waits for what is under way", func(t *testing.T) {
		f := start(t, open)
		var wg sync.WaitGroup
		var done [8]int
		var running atomic.Int32
		for g := range done {
			wg.Go(func() {
				for i := 0; ; i++ {
					_, err := f.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: "b", Key: fmt.Sprintf("%d/%d", g, i)})
					if i == 0 {
						running.Add(1)
					}
					if errors.Is(err, store.ErrClosed) {
						done[g] = i
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := f.Get(t.Context(), "b", "x"); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrClosed) {
						t.Error(err)
						return
					}
				}
			})
		}
		for running.Load() < int32(len(done)) {
			f.set("other", "x")
		}
		f.ok(f.Close())
		wg.Wait()
		f.Store = f.open(t, f.dir, f.clock.Now)
		for g, n := range done {
			for i := range n {
				f.has(fmt.Sprintf("%d/%d", g, i), "")
			}
		}
	})
	t.Run("a store that is opened again has its queue, in order", func(t *testing.T) {
		f := start(t, open)
		f.put("1", "2")
		f.put("3")
		f.reopen()
		f.put("4")
		f.claims("1", "2", "3", "4")
	})
}

func hammer(t *testing.T, open Open) {
	t.Run("compare-and-set counters of 16 sum up", func(t *testing.T) {
		f := start(t, open)
		const workers, each = 16, 25
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range each {
					if err := f.increase(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		f.has("n", fmt.Sprint(workers*each))
	})
	t.Run("adds of 16 sum up, and each sees its own number", func(t *testing.T) {
		f := start(t, open)
		const workers, each = 16, 50
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[int64]bool{}
		for range workers {
			wg.Go(func() {
				for range each {
					r, err := f.Apply(t.Context(), store.Op{Kind: store.Add, Bucket: "b", Key: "n", Delta: 1})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					seen[r.Number] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != workers*each {
			t.Fatalf("%d numbers, want %d", len(seen), workers*each)
		}
	})
	t.Run("once among 16 happens once", func(t *testing.T) {
		f := start(t, open)
		var wg sync.WaitGroup
		var first atomic.Int32
		for range 16 {
			wg.Go(func() {
				r, err := f.Apply(t.Context(), store.Op{Kind: store.Add, Bucket: "b", Key: "n", Delta: 1, Once: "x", OnceTTL: time.Hour})
				if err != nil || r.Number != 1 {
					t.Errorf("%+v, %v", r, err)
				}
				if !r.Repeated {
					first.Add(1)
				}
			})
		}
		wg.Wait()
		f.has("n", "1")
		if first.Load() != 1 {
			t.Fatalf("%d were the first", first.Load())
		}
	})
	t.Run("a failing change does not fail its neighbours", func(t *testing.T) {
		f := start(t, open)
		f.set("text", "x")
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for range 20 {
					op := store.Op{Kind: store.Add, Bucket: "b", Key: "n", Delta: 1}
					if g%2 == 0 {
						op.Key = "text"
					}
					if _, err := f.Apply(t.Context(), op); (g%2 == 0) != errors.Is(err, store.ErrNotCounter) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		f.has("n", "160")
		f.has("text", "x")
	})
	t.Run("no entry is lost, or held by two at once", func(t *testing.T) { f := start(t, open); f.drain() })
}

// increase adds 1 to b/n by compare-and-set.
func (f *fixture) increase() error {
	var have []byte
	for {
		var n int
		if have != nil {
			if _, err := fmt.Sscan(string(have), &n); err != nil {
				return err
			}
		}
		r, err := f.Apply(f.Context(), store.Op{
			Kind: store.CompareAndSet, Bucket: "b", Key: "n", Expect: have, Value: fmt.Append(nil, n+1),
		})
		if err != nil || r.Applied {
			return err
		}
		have = r.Value
	}
}

// drain has 4 goroutines append while 8 claim, release and acknowledge.
func (f *fixture) drain() {
	const makers, takers, each = 4, 8, 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	held, acked := map[string]bool{}, map[string]bool{}
	for m := range makers {
		wg.Go(func() {
			for i := range each {
				if _, err := f.Append(f.Context(), "q", 0, store.Entry{Key: fmt.Sprintf("%d/%d", m, i)}); err != nil {
					f.Error(err)
				}
			}
		})
	}
	var count atomic.Int32
	for range takers {
		wg.Go(func() {
			for count.Load() < makers*each && !f.Failed() {
				cs, err := f.Claim(f.Context(), "q", "", 3, time.Hour)
				if err != nil {
					f.Error(err)
				}
				for _, c := range cs {
					mu.Lock()
					if held[c.Key] || acked[c.Key] {
						f.Errorf("%s is held twice", c.Key)
					}
					held[c.Key] = true
					mu.Unlock()
				}
				for _, c := range cs {
					mu.Lock()
					delete(held, c.Key)
					acked[c.Key] = c.Tries > 0
					mu.Unlock()
					if c.Tries == 0 {
						c.Tries++
						err = f.Release(f.Context(), "q", c, 0)
					} else {
						err = f.Ack(f.Context(), "q", c)
						count.Add(1)
					}
					if err != nil {
						f.Error(err)
					}
				}
				if len(cs) == 0 {
					// Give the makers their turn by waiting for a commit.
					f.set("turn", "x")
				}
			}
		})
	}
	wg.Wait()
	f.depth(store.Depth{})
	if len(acked) != makers*each {
		f.Fatalf("%d entries came through, want %d", len(acked), makers*each)
	}
}
