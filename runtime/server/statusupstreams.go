package server

import (
	"maps"
	"slices"
	"time"

	"github.com/weft-dev/weft/runtime/gateway"
)

// upstreamStatus is an upstream in the status. It has nothing of its address.
type upstreamStatus struct {
	Name        string            `json:"name"` // in pipeline.yaml
	Circuit     gateway.Circuit   `json:"circuit"`
	Since       *time.Time        `json:"since,omitempty"` // that the circuit isn't closed
	InFlight    int               `json:"in_flight"`
	Waiting     int               `json:"waiting"`     // for a connection
	Connections int               `json:"connections"` // at once
	Requests    map[string]uint64 `json:"requests"`    // by what became of them
}

// upstreamStatuses are those of the upstreams that a generation still has, by name.
func upstreamStatuses(pool *gateway.Pool) []upstreamStatus {
	all, stats := []upstreamStatus{}, pool.Stats()
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		s := stats[name]
		one := upstreamStatus{
			Name: name, Circuit: s.Circuit, InFlight: s.Active, Waiting: s.Waiting, Connections: s.Connections, Requests: s.Requests,
		}
		if !s.Since.IsZero() {
			since := s.Since.UTC()
			one.Since = &since
		}
		all = append(all, one)
	}
	return all
}
