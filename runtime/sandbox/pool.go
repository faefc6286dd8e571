package sandbox

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pool hands out instances of a plugin: the one used last first, at most max at
// once. While none is free an app's calls are served in the order they came,
// and the apps by turns: that of them comes next which has less than half of
// the places (of one place, none), and of those the one that was served longest
// ago. So a place is never empty while a call waits, and an app that comes now
// and then waits for one call of another's to end, not for its line.
type pool struct {
	max   int
	start func(context.Context) (*instance, error)

	mu      sync.Mutex
	idle    []*instance            // the one used last is at the end
	live    map[*instance]struct{} // idle or in a call
	held    int                    // places taken by a call: an instance, or the start of one
	lines   map[string]*appLine    // by app; those without use are dropped by expire
	waiting []*appLine             // those in which calls wait, in no order
	turn    uint64                 // places given so far
	waited  atomic.Int64           // nanoseconds that calls waited, those that do now left out
	closed  bool
	drained func() // called once, after close, when no place is held
}

// appLine is one app's share of a pool.
type appLine struct {
	app    string
	held   int    // of the pool's places
	served uint64 // the pool's turn as it was given one last
	calls  queue  // those that wait
	at     int    // where it stands in pool.waiting, if any wait
}

func newPool(limit int, start func(context.Context) (*instance, error)) *pool {
	return &pool{max: limit, start: start, live: map[*instance]struct{}{}, lines: map[string]*appLine{}}
}

// acquire gives an instance for a call of app, started if need be. The caller
// holds its place until release. The error is ctx's where it ended first,
// ErrClosed, or what kept the instance from starting.
func (p *pool) acquire(ctx context.Context, app string) (*instance, error) {
	in, l, err := p.place(ctx, app)
	if err != nil || in != nil {
		return in, err
	}
	return p.startIn(ctx, l)
}

// startIn starts an instance in a place that l holds.
func (p *pool) startIn(ctx context.Context, l *appLine) (in *instance, err error) {
	defer func() { // also where start panics
		p.mu.Lock()
		defer p.mu.Unlock()
		if in == nil {
			p.pass(l, nil)
			return
		}
		in.wear.begin(in.linear)
		in.wear.line = l
		p.live[in] = struct{}{}
	}()
	if in, err = p.start(ctx); err != nil {
		return nil, err
	}
	return in, nil
}

// place takes a place for app, with an idle instance where there is one.
func (p *pool) place(ctx context.Context, app string) (*instance, *appLine, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, nil, ErrClosed
	case p.held < p.max: // then nobody waits
		in, l := p.take(app)
		p.mu.Unlock()
		return in, l, nil
	}
	l := p.line(app)
	w := &waiter{place: make(chan *instance, 1)}
	p.enqueue(l, w)
	p.mu.Unlock()
	defer func(since time.Time) { p.waited.Add(int64(time.Since(since))) }(time.Now())

	select {
	case in, ok := <-w.place:
		if !ok {
			return nil, nil, ErrClosed
		}
		return in, l, nil
	case <-ctx.Done():
		p.leave(l, w)
		return nil, nil, ctx.Err()
	}
}

// take gives a free place to app. p.mu is held.
func (p *pool) take(app string) (*instance, *appLine) {
	p.held++
	n := len(p.idle)
	if n == 0 {
		l := p.line(app)
		p.give(l, nil)
		return nil, l
	}
	in := p.idle[n-1]
	p.idle = p.idle[:n-1]
	l := in.wear.line
	if l.app != app {
		l = p.line(app)
	}
	p.give(l, in)
	return in, l
}

// line gives the line of an app. p.mu is held.
func (p *pool) line(app string) *appLine {
	l := p.lines[app]
	if l == nil {
		l = &appLine{app: app}
		p.lines[app] = l
	}
	return l
}

// give notes that l has a place, with in in it or nil. p.mu is held.
func (p *pool) give(l *appLine, in *instance) {
	p.turn++
	l.held++
	l.served = p.turn
	if in != nil {
		in.wear.line = l
	}
}

// release gives a place back, with its instance. One that is not usable again
// leaves the pool, and so does one that is worn, which the result tells: the
// caller closes both.
func (p *pool) release(in *instance, usable bool) worn {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, why := in.wear.line, notWorn
	if usable {
		why = in.wear.count(in.linear)
	}
	if !usable || why != notWorn {
		delete(p.live, in)
		in = nil
	}
	p.pass(l, in)
	return why
}

// pass hands on the place of a line, or frees it. in is the instance in it, nil
// where there is none. p.mu is held.
func (p *pool) pass(l *appLine, in *instance) {
	l.held--
	if next := p.next(); next != nil {
		p.give(next, in)
		p.serve(next, in)
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

// serve gives a place that a line has to the call that waits longest in it.
// p.mu is held.
func (p *pool) serve(l *appLine, in *instance) {
	w := l.calls.first
	p.dequeue(l, w)
	w.place <- in
}

// next says which line a place goes to, nil where nobody waits. p.mu is held.
func (p *pool) next() *appLine {
	half := max(1, p.max/2)
	var best *appLine
	var bestOver int
	for _, l := range p.waiting {
		over := max(0, l.held+1-half)
		if best == nil || over < bestOver || over == bestOver && l.served < best.served {
			best, bestOver = l, over
		}
	}
	return best
}

// leave takes a call out of its line; a place that it was just given goes to
// the next in it, else to the next line.
func (p *pool) leave(l *appLine, w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.waits {
		p.dequeue(l, w)
		return
	}
	in, ok := <-w.place
	switch {
	case !ok:
	case l.calls.len > 0:
		p.serve(l, in)
	default:
		p.pass(l, in)
	}
}

// expire takes out what was of no use for some time: the instances that were
// idle for idleTime at least, and the lines of apps that hold nothing. It is
// called every now and then, and counts that time from its first call on that
// finds an instance idle. The one used last stays, unless it was idle for
// lastTime, too; 0 is for ever. The caller closes the result.
func (p *pool) expire(now time.Time, idleTime, lastTime time.Duration) []*instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil // whoever closes the pool closes its instances
	}
	n := 0 // those in front are the longest idle
	for i, in := range p.idle {
		if in.wear.idleSince.IsZero() {
			in.wear.idleSince = now
		}
		limit := idleTime
		if i == len(p.idle)-1 {
			limit = lastTime
		}
		if n == i && limit > 0 && now.Sub(in.wear.idleSince) >= limit {
			n++
		}
	}
	out := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	for _, in := range out {
		delete(p.live, in)
	}
	p.dropLines()
	return out
}

// dropLines forgets the apps that hold no place and don't wait. p.mu is held.
func (p *pool) dropLines() {
	kept := map[*appLine]bool{}
	for _, in := range p.idle {
		kept[in.wear.line] = true
	}
	for app, l := range p.lines {
		if l.held == 0 && l.calls.len == 0 && !kept[l] {
			delete(p.lines, app)
		}
	}
}

// close lets nobody in any more and sends those away who wait. drained runs
// when the last place is given back, at once where none is held; it must not
// call the pool.
func (p *pool) close(drained func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.drained = true, drained
	for len(p.waiting) > 0 {
		l := p.waiting[0]
		w := l.calls.first
		p.dequeue(l, w)
		close(w.place)
	}
	if p.held == 0 {
		p.drained()
	}
}

// count says how many instances there are, how many of them are idle, and how
// many calls wait.
func (p *pool) count() (live, idle, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.waiting {
		waiting += l.calls.len
	}
	return len(p.live), len(p.idle), waiting
}

// memory is how many bytes the guests of all instances have.
func (p *pool) memory() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var n int64
	for in := range p.live {
		n += in.linear.size()
	}
	return n
}
