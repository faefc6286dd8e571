package storetest

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

func locking(t *testing.T, open Open) {
	lock := func(f *fixture, name string, ttl time.Duration) store.Lock {
		f.Helper()
		l, err := f.Lock(f.Context(), name, ttl)
		f.ok(err)
		if l.Name != name || l.Fence == 0 || l.Fence >= 1<<53 {
			f.Fatalf("lock %q has fence %d", l.Name, l.Fence)
		}
		return l
	}
	held := func(f *fixture, name string) {
		f.Helper()
		_, err := f.Lock(f.Context(), name, time.Minute)
		f.is(err, store.ErrHeld)
	}
	t.Run("one has it until it is given back", func(t *testing.T) {
		f := start(t, open)
		a := lock(f, "l", time.Minute)
		held(f, "l")
		f.ok(f.Unlock(t.Context(), a))
		b := lock(f, "l", time.Minute)
		if b.Fence <= a.Fence {
			t.Fatalf("fence %d after %d", b.Fence, a.Fence)
		}
		held(f, "l")
	})
	t.Run("names are of any bytes, and apart", func(t *testing.T) {
		f := start(t, open)
		for _, name := range []string{"l", "L", "l\x00", "{l}", "}", "l}:l", strings.Repeat("\xff", store.MaxName)} {
			lock(f, name, time.Minute)
			held(f, name)
		}
	})
	t.Run("it ends with its time, and is its holder's no more", func(t *testing.T) {
		f := start(t, open)
		a := lock(f, "l", 10*time.Second)
		f.clock.Advance(10*time.Second - time.Millisecond)
		held(f, "l")
		f.clock.Advance(time.Millisecond)
		f.is(f.Renew(t.Context(), a, time.Minute), store.ErrLost)
		b := lock(f, "l", time.Minute)
		if b.Fence <= a.Fence {
			t.Fatalf("fence %d after %d", b.Fence, a.Fence)
		}
		f.is(f.Renew(t.Context(), a, time.Minute), store.ErrLost)
		f.is(f.Unlock(t.Context(), a), store.ErrLost)
		held(f, "l")
		f.ok(f.Unlock(t.Context(), b))
		f.is(f.Unlock(t.Context(), b), store.ErrLost)
		f.is(f.Renew(t.Context(), b, time.Minute), store.ErrLost)
		f.is(f.Unlock(t.Context(), store.Lock{Name: "never", Fence: 1}), store.ErrLost)
	})
	t.Run("renewed it goes on, from now", func(t *testing.T) {
		f := start(t, open)
		a := lock(f, "l", 10*time.Second)
		f.clock.Advance(6 * time.Second)
		f.ok(f.Renew(t.Context(), a, 10*time.Second))
		f.clock.Advance(9 * time.Second)
		held(f, "l")
		f.ok(f.Renew(t.Context(), a, time.Second)) // shorter, too
		f.clock.Advance(time.Second)
		lock(f, "l", time.Minute)
	})
	t.Run("fences grow over restarts", func(t *testing.T) {
		f := start(t, open)
		var last uint64
		for i := range 6 {
			l := lock(f, "l", time.Minute)
			if l.Fence <= last {
				t.Fatalf("fence %d after %d", l.Fence, last)
			}
			last = l.Fence
			if i%2 == 0 {
				f.ok(f.Unlock(t.Context(), l))
			} else {
				f.clock.Advance(time.Minute)
			}
			if i%3 > 0 {
				f.reopen()
			}
		}
	})
	t.Run("one of many has it, and later ones have larger fences", func(t *testing.T) {
		f := start(t, open)
		const workers, each = 8, 10
		var mu sync.Mutex // what the lock is to protect
		var last uint64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for done := 0; done < each && !t.Failed(); {
					l, err := f.Lock(t.Context(), "l", time.Hour)
					if errors.Is(err, store.ErrHeld) {
						continue
					}
					if err != nil || !mu.TryLock() {
						t.Errorf("two have it, or %v", err)
						return
					}
					if l.Fence <= last {
						t.Errorf("fence %d after %d", l.Fence, last)
					}
					last = l.Fence
					mu.Unlock()
					if err := f.Unlock(t.Context(), l); err != nil {
						t.Error(err)
					}
					done++
				}
			})
		}
		wg.Wait()
	})
	t.Run("wrong arguments", func(t *testing.T) {
		f := start(t, open)
		for _, name := range []string{"", strings.Repeat("n", store.MaxName+1)} {
			_, err := f.Lock(t.Context(), name, time.Minute)
			f.is(err, store.ErrInvalid)
		}
		for _, ttl := range []time.Duration{0, -1} {
			_, err := f.Lock(t.Context(), "l", ttl)
			f.is(err, store.ErrInvalid)
			f.is(f.Renew(t.Context(), store.Lock{Name: "l", Fence: 1}, ttl), store.ErrInvalid)
		}
	})
}
