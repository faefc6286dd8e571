package sandbox

import (
	"context"
	"slices"
	"sync"
)

// pool hands out a plugin's instances: the one used last first, at most max at
// once, and first come first served while none is free.
type pool struct {
	max   int
	start func(context.Context) (*instance, error)

	mu      sync.Mutex
	idle    []*instance            // the one used last is at the end
	live    map[*instance]struct{} // idle or in a call
	held    int                    // places taken by a call: an instance, or the start of one
	waiting []*waiter              // in the order they came
	closed  bool
	drained func() // called once, after close, when no place is held
}

// waiter is a call that waits for a place.
type waiter struct {
	// place gets an instance, or nil: the place is the caller's, who starts an
	// instance. It is closed where the pool is. One is put in at most.
	place chan *instance
}

// acquire gives an instance, started if need be. The caller holds its place
// until release. The error is ctx's where it ended first, ErrClosed, or what
// kept the instance from starting.
func (p *pool) acquire(ctx context.Context) (in *instance, err error) {
	in, err = p.place(ctx)
	if err != nil || in != nil {
		return in, err
	}
	defer func() { // also where start panics
		p.mu.Lock()
		defer p.mu.Unlock()
		if in == nil {
			p.pass(nil)
			return
		}
		p.live[in] = struct{}{}
	}()
	if in, err = p.start(ctx); err != nil {
		return nil, err
	}
	return in, nil
}

// place takes a place, with an idle instance where there is one.
func (p *pool) place(ctx context.Context) (*instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, ErrClosed
	case p.held < p.max && len(p.waiting) == 0:
		p.held++
		var in *instance
		if n := len(p.idle); n > 0 {
			in, p.idle = p.idle[n-1], p.idle[:n-1]
		}
		p.mu.Unlock()
		return in, nil
	}
	w := &waiter{place: make(chan *instance, 1)}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()

	select {
	case in, ok := <-w.place:
		if !ok {
			return nil, ErrClosed
		}
		return in, nil
	case <-ctx.Done():
		p.leave(w)
		return nil, ctx.Err()
	}
}

// leave takes a waiter out of the line; a place that it was just given goes to
// the next.
func (p *pool) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return
	}
	if in, ok := <-w.place; ok {
		p.pass(in)
	}
}

// release gives a place back, with its instance; one that is not usable again
// leaves the pool, and the caller closes it.
func (p *pool) release(in *instance, usable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !usable {
		delete(p.live, in)
		in = nil
	}
	p.pass(in)
}

// pass hands a place on to who waits longest, or frees it. in is the instance
// in it, nil where there is none. p.mu is held.
func (p *pool) pass(in *instance) {
	if len(p.waiting) > 0 {
		w := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		w.place <- in
		return
	}
	p.held--
	if in != nil {
		p.idle = append(p.idle, in)
	}
	if p.closed && p.held == 0 {
		p.drained()
	}
}

// close lets nobody in any more and sends those away who wait. drained runs
// when the last place is given back, at once where none is held; it must not
// call the pool.
func (p *pool) close(drained func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.drained = true, drained
	for _, w := range p.waiting {
		close(w.place)
	}
	p.waiting = nil
	if p.held == 0 {
		p.drained()
	}
}

// count says how many instances there are, how many of them are idle, and how
// many calls wait.
func (p *pool) count() (live, idle, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live), len(p.idle), len(p.waiting)
}
