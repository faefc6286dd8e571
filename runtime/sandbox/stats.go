package sandbox

import "sync/atomic"

// counters are a plugin's, since it was loaded.
type counters struct {
	calls    atomic.Uint64
	failed   [reasonCount]atomic.Uint64
	discards [reasonCount]atomic.Uint64
	worn     [wornCount]atomic.Uint64
}

// Stats is a plugin's use at one moment, for metrics. The counts run from the
// load of the plugin.
type Stats struct {
	Instances int               // alive
	Idle      int               // of them not in a call
	Waiting   int               // calls that wait for an instance
	Memory    int64             // bytes that the guests of all instances have
	Calls     uint64            // of Handle
	Failed    map[string]uint64 // calls that ended in an error, by CallError.Reason
	Discards  map[string]uint64 // instances not used again, by the reason: CallError.Reason, or calls, high-water, idle, grown
}

// Stats reads the plugin's counters. All reasons are there, also with 0.
func (p *Plugin) Stats() Stats {
	s := Stats{Calls: p.counts.calls.Load(), Failed: map[string]uint64{}, Discards: map[string]uint64{}}
	s.Instances, s.Idle, s.Waiting = p.pool.count()
	s.Memory = p.pool.memory()
	for r := range reasonCount {
		s.Failed[r.String()] = p.counts.failed[r].Load()
		s.Discards[r.String()] = p.counts.discards[r].Load()
	}
	for w := notWorn + 1; w < wornCount; w++ {
		s.Discards[w.String()] = p.counts.worn[w].Load()
	}
	return s
}
