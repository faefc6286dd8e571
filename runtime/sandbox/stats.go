package sandbox

import (
	"sync"
	"sync/atomic"
	"time"
)

// counters are a plugin's, since it was loaded. Only calls that failed and
// instances that end touch them: what a call that goes well adds to is its
// instance's own.
type counters struct {
	failed   [reasonCount]atomic.Uint64
	discards [reasonCount]atomic.Uint64
	worn     [wornCount]atomic.Uint64
	last     atomic.Pointer[Failure]
	ledger   ledger
}

// usage is what went into one instance. The one call in it adds; anybody may
// read.
type usage struct {
	good      atomic.Int64 // events that went well
	fuel      atomic.Int64
	pauses    atomic.Int64
	hostCalls atomic.Int64
	guest     atomic.Int64 // nanoseconds, also in host calls that don't wait
	host      atomic.Int64 // nanoseconds in host calls that may wait
	queued    atomic.Int64 // nanoseconds of waiting for run tokens
}

// addTo adds u to a sum. Nobody else writes sum.
func (u *usage) addTo(sum *usage) {
	sum.good.Add(u.good.Load())
	sum.fuel.Add(u.fuel.Load())
	sum.pauses.Add(u.pauses.Load())
	sum.hostCalls.Add(u.hostCalls.Load())
	sum.guest.Add(u.guest.Load())
	sum.host.Add(u.host.Load())
	sum.queued.Add(u.queued.Load())
}

// ledger adds up the usage of a plugin's instances. A sum never falls: that of
// an instance that ends is taken over in one step.
type ledger struct {
	mu   sync.Mutex
	open map[*usage]struct{} // of instances that live
	past usage               // of those that ended
}

func (l *ledger) begin(u *usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[*usage]struct{}{}
	}
	l.open[u] = struct{}{}
}

// end takes the usage of an instance over, in which no call is. A second end of
// it does nothing.
func (l *ledger) end(u *usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[u]; ok {
		delete(l.open, u)
		u.addTo(&l.past)
	}
}

func (l *ledger) sum() *usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := new(usage)
	l.past.addTo(sum)
	for u := range l.open {
		u.addTo(sum)
	}
	return sum
}

// Stats is a plugin's use at one moment, for metrics, calls aside included. The counts run from the
// load of the plugin and take in calls that have ended.
type Stats struct {
	Instances int               // alive
	Idle      int               // of them not in a call
	Waiting   int               // calls that wait for an instance
	Memory    int64             // bytes that the guests of live instances have
	Calls     uint64            // of Handle
	Failed    map[string]uint64 // calls that ended in an error, by CallError.Reason
	Discards  map[string]uint64 // instances not used again, by the reason: CallError.Reason, or calls, high-water, idle, grown

	// What went into guests; also into their starts and weft_check.
	Fuel      uint64 // instructions
	Pauses    uint64 // times that guests had used up a slice of fuel or of host calls, and others were let run
	HostCalls uint64
	GuestTime time.Duration // in guests, and in host calls that don't wait
	HostTime  time.Duration // in host calls that may wait: state, poll_oneoff
	TokenWait time.Duration // of guests, for their turn to run

	InstanceWait time.Duration // of calls, for an instance
	LastFailure  *Failure      // nil where no call failed
}

// Failure is how a call ended; the guest has no word in it.
type Failure struct {
	Reason string // CallError.Reason, but fused
	At     time.Time
}

// Stats reads the plugin's counters. All reasons are there, also with 0.
func (p *Plugin) Stats() Stats {
	sum := p.counts.ledger.sum()
	s := Stats{
		Calls:        uint64(sum.good.Load()),
		Failed:       map[string]uint64{},
		Discards:     map[string]uint64{},
		Memory:       p.pool.memory() + p.asidePool.memory(),
		Fuel:         uint64(sum.fuel.Load()),
		Pauses:       uint64(sum.pauses.Load()),
		HostCalls:    uint64(sum.hostCalls.Load()),
		GuestTime:    time.Duration(sum.guest.Load()),
		HostTime:     time.Duration(sum.host.Load()),
		TokenWait:    time.Duration(sum.queued.Load()),
		InstanceWait: p.pool.waited() + p.asidePool.waited(),
		LastFailure:  p.counts.last.Load(),
	}
	s.Instances, s.Idle, s.Waiting = p.pool.count()
	live, idle, waiting := p.asidePool.count()
	s.Instances, s.Idle, s.Waiting = s.Instances+live, s.Idle+idle, s.Waiting+waiting
	for r := range reasonCount {
		n := p.counts.failed[r].Load()
		s.Calls += n
		s.Failed[r.String()] = n
		s.Discards[r.String()] = p.counts.discards[r].Load()
	}
	for w := notWorn + 1; w < wornCount; w++ {
		s.Discards[w.String()] = p.counts.worn[w].Load()
	}
	return s
}

// countFailure counts a call of Handle that ended in an error.
func (c *counters) countFailure(why reason, now time.Time) {
	c.failed[why].Add(1)
	if why != reasonFused { // that tells of failures before
		c.last.Store(&Failure{Reason: why.String(), At: now})
	}
}

// Health says how calls of the plugin fare, in all apps.
func (p *Plugin) Health() Health { return p.failures.health() }
