package gateway

import "github.com/sony/gobreaker/v2"

// Stats is what an Upstream has done so far and does now.
type Stats struct {
	// Requests counts by what became of them: ok, status (another than 200),
	// timeout, busy (no connection came free), open (not sent: the circuit was
	// open), fenced, failed, unusable.
	Requests map[string]uint64
	Active   int  // requests that hold a connection
	Open     bool // the circuit is open, or tries
}

// Stats reads the counts.
func (u *Upstream) Stats() Stats {
	s := Stats{Requests: make(map[string]uint64, results), Active: len(u.slots), Open: u.breaker.State() != gobreaker.StateClosed}
	for r := range results {
		s.Requests[r.String()] = u.counts[r].Load()
	}
	return s
}
