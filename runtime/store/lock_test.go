package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeLocks has one lock, whose renewals go as told.
type fakeLocks struct {
	mu       sync.Mutex
	held     bool
	renewed  []time.Duration // since the start
	unlocked int
	renew    func(ctx context.Context, n int) error // of the nth renewal, from 1
	start    time.Time
}

func (f *fakeLocks) Lock(_ context.Context, name string, _ time.Duration) (Lock, error) {
	if f.held {
		return Lock{}, ErrHeld
	}
	f.held = true
	f.start = time.Now()
	return Lock{Name: name, Fence: 7}, nil
}

func (f *fakeLocks) Renew(ctx context.Context, _ Lock, _ time.Duration) error {
	f.mu.Lock()
	f.renewed = append(f.renewed, time.Since(f.start))
	n := len(f.renewed)
	f.mu.Unlock()
	if f.renew == nil {
		return nil
	}
	return f.renew(ctx, n)
}

func (f *fakeLocks) Unlock(context.Context, Lock) error {
	f.unlocked++
	return nil
}

// hold holds the lock of f for 3 s. told are the reasons that lost was given.
func hold(t *testing.T, f *fakeLocks) (h *Held, told *[]error) {
	t.Helper()
	told = new([]error)
	h, err := Hold(t.Context(), f, "l", 3*time.Second, func(err error) { *told = append(*told, err) })
	if err != nil {
		t.Fatal(err)
	}
	return h, told
}

func TestHoldRenewsUntilRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLocks{}
		h, told := hold(t, f)
		if _, err := Hold(t.Context(), f, "l", time.Second, nil); !errors.Is(err, ErrHeld) {
			t.Errorf("held twice: %v", err)
		}
		time.Sleep(3500 * time.Millisecond)
		if h.Fence != 7 || h.Context().Err() != nil {
			t.Errorf("fence %d, %v", h.Fence, h.Context().Err())
		}
		for range 2 {
			if err := h.Release(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if cause := context.Cause(h.Context()); errors.Is(cause, ErrLost) || cause == nil {
			t.Errorf("the cause of the end is %v", cause)
		}
		time.Sleep(time.Minute)
		if got := fmt.Sprint(f.renewed); got != "[1s 2s 3s]" || f.unlocked != 1 || len(*told) > 0 {
			t.Errorf("renewed at %s, given back %d times, lost %v", got, f.unlocked, *told)
		}
	})
}

func TestHoldTellsThatItWasLost(t *testing.T) {
	away := errors.New("away")
	for name, c := range map[string]struct {
		renew func(context.Context, int) error
		end   time.Duration
	}{
		"somebody else has it": {func(_ context.Context, n int) error {
			if n == 2 {
				return ErrLost
			}
			return nil
		}, 2 * time.Second},
		"the store is away from the second renewal on": {func(_ context.Context, n int) error {
			if n > 1 {
				return away
			}
			return nil
		}, 4 * time.Second},
		"the store hangs": {func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		}, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeLocks{renew: c.renew}
				h, told := hold(t, f)
				<-h.Context().Done()
				if late := time.Since(f.start) - c.end; late < 0 || late > 10*time.Millisecond {
					t.Errorf("it ended after %v, want %v", time.Since(f.start), c.end)
				}
				if !errors.Is(context.Cause(h.Context()), ErrLost) {
					t.Errorf("the cause is %v", context.Cause(h.Context()))
				}
				if err := h.Release(t.Context()); !errors.Is(err, ErrLost) || f.unlocked > 0 {
					t.Errorf("released: %v, given back %d times", err, f.unlocked)
				}
				if len(*told) != 1 || !errors.Is((*told)[0], ErrLost) {
					t.Errorf("told %v", *told)
				}
			})
		})
	}
}

func TestHoldOutlivesOneFailure(t *testing.T) {
	for name, fail := range map[string]func(ctx context.Context) error{
		"the store is away": func(context.Context) error { return errors.New("away") },
		"the store hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeLocks{renew: func(ctx context.Context, n int) error {
					if n == 1 {
						return fail(ctx)
					}
					return nil
				}}
				h, told := hold(t, f)
				time.Sleep(20 * time.Second)
				if err := h.Release(t.Context()); err != nil || len(*told) > 0 {
					t.Errorf("%v, lost %v", err, *told)
				}
				if f.renewed[1] > 2500*time.Millisecond {
					t.Errorf("it was tried again after %v only", f.renewed[1])
				}
			})
		})
	}
}

func TestHoldEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLocks{}
		ctx, cancel := context.WithCancel(t.Context())
		h, err := Hold(ctx, f, "l", 3*time.Second, func(err error) { t.Errorf("lost: %v", err) })
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-h.Context().Done()
		synctest.Wait()
		time.Sleep(time.Minute)
		if len(f.renewed) > 0 {
			t.Errorf("it was renewed at %v", f.renewed)
		}
		if err := h.Release(t.Context()); err != nil || f.unlocked != 1 {
			t.Errorf("%v, given back %d times", err, f.unlocked)
		}
	})
}
