package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Locks are leases by name. One ends by Unlock or when its time is over; what its
// holder does after that can't be stopped, so whoever may be told by a late one
// compares fences.
type Locks interface {
	// Lock takes name, 1 to MaxName bytes, for ttl, over 0. It doesn't wait:
	// ErrHeld where somebody has it.
	Lock(ctx context.Context, name string, ttl time.Duration) (Lock, error)
	// Renew makes a lock last ttl, over 0, from now. ErrLost: its time was over.
	Renew(ctx context.Context, l Lock, ttl time.Duration) error
	// Unlock gives a lock back. ErrLost: its time was over.
	Unlock(ctx context.Context, l Lock) error
}

// Lock is a lock that was taken.
type Lock struct {
	Name string
	// Fence is larger than that of every earlier Lock of that name, over
	// restarts, too. It is below 2^53.
	Fence uint64
}

// Held is a lock that is renewed until it is released or lost. Hold makes it.
type Held struct {
	Lock

	locks  Locks
	ctx    context.Context // ends with the lock
	cancel context.CancelCauseFunc
	stop   context.CancelFunc // ends the renewing
	ended  chan struct{}      // closed when the renewing has ended
	once   sync.Once
	err    error // of Release
}

// Hold takes a lock for ttl, as Lock does, and renews it every ttl/3 until
// Release or the end of ctx; one that is not released ends with its time. When
// it is lost, or was not renewed within its time, the context of Held ends with
// ErrLost as its cause and lost, which may be nil, is called once with the
// reason. lost must not call Release.
func Hold(ctx context.Context, s Locks, name string, ttl time.Duration, lost func(error)) (*Held, error) {
	asked := time.Now()
	l, err := s.Lock(ctx, name, ttl)
	if err != nil {
		return nil, err
	}
	h := &Held{Lock: l, locks: s, ended: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	renewing, stop := context.WithCancel(ctx)
	h.stop = stop
	go func() {
		defer close(h.ended)
		if err := h.renew(renewing, asked, ttl); err != nil {
			h.cancel(err)
			if lost != nil {
				lost(err)
			}
		}
	}()
	return h, nil
}

// Context ends when the lock is lost (its cause is then ErrLost), is released, or
// the context of Hold ends.
func (h *Held) Context() context.Context { return h.ctx }

// Release ends the renewing and gives the lock back. ErrLost: it was lost before.
// A second call returns what the first one did.
func (h *Held) Release(ctx context.Context) error {
	h.once.Do(func() {
		h.stop()
		<-h.ended
		if err := context.Cause(h.ctx); errors.Is(err, ErrLost) {
			h.err = err
			return
		}
		h.cancel(context.Canceled)
		h.err = h.locks.Unlock(ctx, h.Lock)
	})
	return h.err
}

// renew renews the lock, which was asked for at that time, until ctx ends (nil)
// or it is lost. One renewal may fail, or hang: the lock is lost when it was not renewed
// within ttl of the last one that was asked for and went well.
func (h *Held) renew(ctx context.Context, asked time.Time, ttl time.Duration) error {
	timer := time.NewTimer(ttl / 3)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		next := time.Now()
		end := asked.Add(ttl)
		trying, cancel := context.WithTimeout(ctx, min(ttl/3, time.Until(end)))
		err := h.locks.Renew(trying, h.Lock, ttl)
		cancel()
		switch {
		case err == nil:
			asked = next
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLost):
			return err
		case !time.Now().Before(end):
			return fmt.Errorf("%w: it could not be renewed: %w", ErrLost, err)
		}
		wait := ttl / 3
		if err != nil {
			wait = min(wait, max(time.Until(end)/4, time.Millisecond))
		}
		timer.Reset(wait)
	}
}
