package sandbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pools are a plugin's: one for all apps, or with IsolationApp one for each.
type pools struct {
	max    int
	start  func(context.Context) (*instance, error)
	shared *pool // nil with IsolationApp
	// lastTime is for how long the instance of a shared pool that was used last may
	// be idle; 0: for ever.
	lastTime time.Duration

	mu     sync.Mutex
	apps   map[string]*appPool // with IsolationApp, by app
	closed bool
	past   time.Duration // that calls waited in pools that are no more
}

// appPool is the pool of one app.
type appPool struct {
	*pool
	users int // calls that are in it: waiting, starting or with an instance
}

// newPools gives the pools of a plugin, of limit instances at most: in all, or
// with IsolationApp for each app.
func newPools(isolation Isolation, limit int, start func(context.Context) (*instance, error)) *pools {
	p := &pools{max: limit, start: start}
	if isolation == IsolationApp {
		p.apps = map[string]*appPool{}
	} else {
		p.shared = newPool(limit, start)
	}
	return p
}

// acquire gives an instance for a call of an app, as pool.acquire does; release
// must follow. App "" is no app's: what runs for it knows of no app, so that its
// instance may become one app's.
func (p *pools) acquire(ctx context.Context, app string) (in *instance, err error) {
	if p.shared != nil {
		return p.shared.acquire(ctx, app)
	}
	a, err := p.enter(app)
	if err != nil {
		return nil, err
	}
	defer func() { // also where start panics
		if in == nil {
			p.leave(app)
		}
	}()
	return a.acquire(ctx, app)
}

// enter notes a call in the pool of an app, which is made where there is none.
func (p *pools) enter(app string) (*pool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	a := p.apps[app]
	if a == nil {
		if a = p.apps[""]; a != nil && a.users == 0 {
			delete(p.apps, "")
		} else {
			a = &appPool{pool: newPool(p.max, p.start)}
		}
		p.apps[app] = a
	}
	a.users++
	return a.pool, nil
}

// leave notes that a call left the pool of its app.
func (p *pools) leave(app string) *pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.apps[app]
	a.users--
	return a.pool
}

// release gives the instance of a call of app back, as pool.release does: the
// caller closes one that was not usable, and one that is worn.
func (p *pools) release(in *instance, app string, usable bool) worn {
	if p.shared != nil {
		return p.shared.release(in, usable)
	}
	// First this: an app of which expire finds no call has its pool kept while
	// the pool has an instance.
	return p.leave(app).release(in, usable)
}

// expire takes out the instances that nobody used for long, and forgets the
// apps that have none left. It is meant to be called every half minute; the
// caller closes the result.
func (p *pools) expire(now time.Time) []*instance {
	if p.shared != nil {
		return p.shared.expire(now, maxIdle, p.lastTime)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*instance
	for app, a := range p.apps {
		out = append(out, a.expire(now, maxIdle, maxIdleApp)...)
		if live, _, _ := a.count(); live == 0 && a.users == 0 {
			p.past += time.Duration(a.waited.Load())
			delete(p.apps, app)
		}
	}
	return out
}

// close lets nobody in any more and sends those away who wait. drained runs once
// no call has an instance; it must not call the pools.
func (p *pools) close(drained func()) {
	var left atomic.Int64
	done := func() {
		if left.Add(-1) == 0 {
			drained()
		}
	}
	p.mu.Lock()
	p.closed = true
	all := p.all()
	p.mu.Unlock()
	left.Store(int64(len(all)) + 1)
	for _, one := range all {
		one.close(done)
	}
	done()
}

// all gives the pools there are. p.mu is held.
func (p *pools) all() []*pool {
	if p.shared != nil {
		return []*pool{p.shared}
	}
	var list []*pool
	for _, a := range p.apps {
		list = append(list, a.pool)
	}
	return list
}

// count says how many instances there are, how many of them are idle, and how
// many calls wait.
func (p *pools) count() (live, idle, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.all() {
		l, i, w := one.count()
		live, idle, waiting = live+l, idle+i, waiting+w
	}
	return live, idle, waiting
}

// memory is how many bytes the guests of all instances have.
func (p *pools) memory() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var n int64
	for _, one := range p.all() {
		n += one.memory()
	}
	return n
}

// waited is how long calls waited for an instance, all together.
func (p *pools) waited() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.past
	for _, one := range p.all() {
		n += time.Duration(one.waited.Load())
	}
	return n
}
