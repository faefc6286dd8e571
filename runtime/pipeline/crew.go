package pipeline

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// How many workers there are.
const (
	minWorkers     = 4   // the floor
	maxWorkers     = 128 // the ceiling is never over it,
	workersPerCore = 32  // nor over this for each processor,
	inflightPart   = 4   // nor over one for so many events in flight, but for the floor
	heldPerWorker  = 4   // entries in hand, those included whose user's turn has not come

	lookEvery   = 50 * time.Millisecond // at workers while entries wait for them
	longRun     = 10 * time.Millisecond // a run that takes as long waits for something
	shrinkAfter = 10 * time.Second      // without a need of more than half of the workers
)

// crew is the workers of durable runs. Their number follows the load: it doubles
// while entries wait and the runs under way wait for something, and halves while
// there is little to do. An app has of entries in hand, and of workers, at most
// as many as it leaves free, so that there are some for every other app at once,
// however long the first one's runs take.
type crew struct {
	ceiling int
	wake    chan struct{} // of capacity 1: somebody waits for more workers

	mu     sync.Mutex
	size   int // workers
	busy   int
	held   int              // entries in hand, of all apps
	ended  int              // runs, since the last look
	look   time.Time        // the last one
	needed time.Time        // when last more than half of the workers were
	alone  bool             // there is one app only
	bounds map[string]int   // limits.workers of the apps that have some
	gangs  map[string]*gang // by app: those that have an entry in hand
	served uint64           // counts workers that were given
}

// gang is the entries of one app that are in hand.
type gang struct {
	bound   int // of workers; 0: none
	held    int
	busy    int
	served  uint64          // crew.served when it last got a worker
	waiting []chan struct{} // for a worker; closed when there is one
}

func newCrew(inflight int) *crew {
	ceiling := min(maxWorkers, workersPerCore*min(runtime.GOMAXPROCS(0), runtime.NumCPU()), inflight/inflightPart)
	return &crew{size: minWorkers, ceiling: max(ceiling, minWorkers), wake: make(chan struct{}, 1), gangs: make(map[string]*gang)}
}

// arrange takes over the bounds of the apps of a set.
func (c *crew) arrange(set *Set) {
	bounds := make(map[string]int)
	for name, a := range set.apps {
		if a.limits.Workers > 0 {
			bounds[name] = a.limits.Workers
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bounds, c.alone = bounds, len(set.apps) == 1
	for name, g := range c.gangs {
		g.bound = bounds[name]
	}
	c.deal()
}

// gang returns an app's, which is made where there is none. The caller holds mu.
func (c *crew) gang(app string) *gang {
	g := c.gangs[app]
	if g == nil {
		g = &gang{bound: c.bounds[app]}
		c.gangs[app] = g
	}
	return g
}

// fair tells whether an app that has n places of most, of which used are taken,
// may have one more.
func (c *crew) fair(n, used, most int) bool {
	return used < most && (n == 0 || c.alone || n < most-used)
}

// hold takes entries of an app in hand: up to n, or as many as it may have.
func (c *crew) hold(app string, n int) (held int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gang(app)
	for held < n && c.fair(g.held, c.held, c.ceiling*heldPerWorker) && (g.bound == 0 || g.held < g.bound+maxBatch) {
		held++
		g.held++
		c.held++
	}
	c.dismiss(app, g)
	return held
}

// letGo gives up n entries of an app.
func (c *crew) letGo(app string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gangs[app]
	g.held -= n
	c.held -= n
	c.dismiss(app, g)
}

// dismiss forgets a gang that has nothing in hand. The caller holds mu.
func (c *crew) dismiss(app string, g *gang) {
	if g.held == 0 {
		delete(c.gangs, app)
	}
}

// take waits for a worker for an entry that the app has in hand, or until ctx
// ends.
func (c *crew) take(ctx context.Context, app string) error {
	c.mu.Lock()
	g, ready := c.gangs[app], make(chan struct{})
	g.waiting = append(g.waiting, ready)
	c.deal()
	c.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(g.waiting, ready); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	} else {
		c.give(g)
	}
	return context.Cause(ctx)
}

// done gives a worker back.
func (c *crew) done(app string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	c.give(c.gangs[app])
}

// give takes a worker from a gang. The caller holds mu.
func (c *crew) give(g *gang) {
	g.busy--
	c.busy--
	c.shrink(time.Now())
	c.deal()
}

// deal gives workers to those that wait, as far as they may have one: first to
// the app that has fewest, and of those to the one that was served longest ago.
// An app that has none gets one although there are not so many yet. The caller
// holds mu.
func (c *crew) deal() {
	for {
		next, short := c.next()
		if next == nil {
			if short {
				c.poke()
			}
			return
		}
		close(next.waiting[0])
		next.waiting[0] = nil
		next.waiting = next.waiting[1:]
		next.busy++
		c.busy++
		c.served++
		next.served = c.served
		c.size = max(c.size, c.busy)
		if c.busy > c.size/2 {
			c.needed = time.Now()
		}
	}
}

// next returns whose turn it is to get a worker, nil where nobody may have one;
// short: because there are not so many. The caller holds mu.
func (c *crew) next() (next *gang, short bool) {
	for _, g := range c.gangs {
		switch {
		case len(g.waiting) == 0 || !c.fair(g.busy, c.busy, c.ceiling) || g.bound > 0 && g.busy >= g.bound:
		case g.busy > 0 && c.busy >= c.size:
			short = true
		case next == nil || g.busy < next.busy || g.busy == next.busy && g.served < next.served:
			next = g
		}
	}
	return next, short
}

// shrink halves the workers for each time of shrinkAfter in which half of them
// would have done. The caller holds mu.
func (c *crew) shrink(now time.Time) {
	for c.size > minWorkers && c.busy <= c.size/2 && now.Sub(c.needed) >= shrinkAfter {
		c.size = max(c.size/2, minWorkers, c.busy)
		c.needed = c.needed.Add(shrinkAfter)
	}
}

// grow doubles the workers where there are too few and those there are take
// long: since the last look, runs of theirs ended more slowly than by longRun
// each. It tells whether it is to look again.
func (c *crew) grow(now time.Time) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, short := c.next()
	since := now.Sub(c.look)
	if short && since < 2*lookEvery && time.Duration(c.ended)*longRun < time.Duration(c.size)*since {
		c.size = min(2*c.size, c.ceiling)
		c.deal()
	}
	c.ended, c.look = 0, now
	return short
}

func (c *crew) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// tend looks after the number of workers until ctx ends.
func (c *crew) tend(ctx context.Context) {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		for again := true; again; again = c.grow(time.Now()) {
			timer := time.NewTimer(lookEvery)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}
