package server

import "github.com/weft-dev/weft/runtime/pipeline"

// boundsStatus has how much of the bounds of events and of durable runs is used.
type boundsStatus struct {
	Inflight    int               `json:"inflight"` // events
	MaxInflight int               `json:"max_inflight"`
	Workers     int               `json:"workers"` // of durable runs, as the load asks
	MinWorkers  int               `json:"min_workers"`
	MaxWorkers  int               `json:"max_workers"`
	Runs        int               `json:"durable_runs"` // under way
	Apps        []appBoundsStatus `json:"apps"`         // by name
}

type appBoundsStatus struct {
	App         string `json:"app"`
	Inflight    int    `json:"inflight"`
	Kept        int    `json:"kept"`                   // places that are kept free for it
	MaxInflight int    `json:"max_inflight,omitempty"` // of its limits
	Runs        int    `json:"durable_runs"`
	MaxRuns     int    `json:"max_durable_runs,omitempty"` // limits.workers
}

func boundsOf(l pipeline.Load) boundsStatus {
	s := boundsStatus{
		Inflight: l.Inflight, MaxInflight: l.MaxInflight, Workers: l.Workers, MinWorkers: l.MinWorkers, MaxWorkers: l.MaxWorkers,
		Runs: l.Runs, Apps: make([]appBoundsStatus, len(l.Apps)),
	}
	for i, a := range l.Apps {
		s.Apps[i] = appBoundsStatus(a)
	}
	return s
}
