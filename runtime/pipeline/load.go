package pipeline

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Load is how much of its bounds an Engine uses at a moment.
type Load struct {
	Inflight    int // events
	MaxInflight int // 0: any number
	Workers     int // of durable runs, now: as the load asks
	MinWorkers  int
	MaxWorkers  int
	Runs        int       // durable ones under way
	Apps        []AppLoad // those of the set and those that have something under way, by name
}

// AppLoad is an app's part of a Load.
type AppLoad struct {
	App         string
	Inflight    int // events
	Kept        int // places for events that are kept free for it, as long as it doesn't use them
	MaxInflight int // as the configuration has it; 0: nothing
	Runs        int // durable ones under way
	MaxRuns     int // as the configuration has it; 0: nothing
}

// Load looks. Before Start it is empty.
func (e *Engine) Load() Load {
	var l Load
	if e.set.Load() == nil {
		return l
	}
	apps := make(map[string]*AppLoad)
	of := func(name string) *AppLoad {
		if apps[name] == nil {
			apps[name] = &AppLoad{App: name}
		}
		return apps[name]
	}
	e.ledger.load(&l, of)
	e.crew.load(&l, of)
	for _, a := range apps {
		l.Apps = append(l.Apps, *a)
	}
	slices.SortFunc(l.Apps, func(a, b AppLoad) int { return strings.Compare(a.App, b.App) })
	return l
}

func (l *ledger) load(to *Load, of func(string) *AppLoad) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if to.MaxInflight = l.room.most; to.MaxInflight == math.MaxInt32 {
		to.MaxInflight = 0
	}
	for _, s := range l.room.shares {
		a := of(s.app)
		a.Inflight, a.Kept, a.MaxInflight = s.inflight, s.own, s.bound
		to.Inflight += s.inflight
	}
}

func (c *crew) load(to *Load, of func(string) *AppLoad) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shrink(time.Now())
	to.Workers, to.MinWorkers, to.MaxWorkers, to.Runs = c.size, minWorkers, c.ceiling, c.busy
	for name, bound := range c.bounds {
		of(name).MaxRuns = bound
	}
	for name, g := range c.gangs {
		if g.busy > 0 {
			of(name).Runs = g.busy
		}
	}
}
