package gateway

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// Circuit is how an upstream is reached.
type Circuit string

// The states of a circuit.
const (
	Closed Circuit = "closed" // requests are sent
	Open   Circuit = "open"   // none is
	Trying Circuit = "trying" // one is, and what becomes of it decides
)

// Stats is what an Upstream has done so far and does now.
type Stats struct {
	// Requests counts by what became of them: ok, status (another than 200),
	// timeout, busy (no connection came free), open (not sent: the circuit was
	// open), fenced, failed, unusable.
	Requests    map[string]uint64
	Active      int // requests that hold a connection
	Waiting     int // requests that wait for one
	Connections int // at once
	Circuit     Circuit
	Since       time.Time // that the circuit is not closed; zero while it is
}

// Stats reads the counts.
func (u *Upstream) Stats() Stats {
	s := Stats{
		Requests: make(map[string]uint64, results), Active: len(u.slots), Waiting: int(u.waiting.Load()), Connections: cap(u.slots),
		Circuit: Closed,
	}
	for r := range results {
		s.Requests[r.String()] = u.counts[r].Load()
	}
	switch u.breaker.State() {
	case gobreaker.StateOpen:
		s.Circuit = Open
	case gobreaker.StateHalfOpen:
		s.Circuit = Trying
	}
	if since := u.since.Load(); since != nil && s.Circuit != Closed {
		s.Since = *since
	}
	return s
}
