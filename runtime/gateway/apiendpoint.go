package gateway

import (
	"container/list"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/weft-dev/weft/runtime/telemetry"
)

const (
	// maxEndpoints is how many endpoints of an app have a circuit: those called
	// last. Whoever may call any path can't make more of them.
	maxEndpoints = 256
	// maxLabels is how many of an app are told apart in metrics: the first that
	// WeChat answered to; the others are otherEndpoint.
	maxLabels     = 100
	otherEndpoint = "other"
	// apiInARow is how many failures one after another open an endpoint's
	// circuit: where one in ten breaks, that many are as rare as 1e-10.
	apiInARow = 10
	// maxSpare is how many repeats an app may make over one for each call, so
	// that a WeChat that refuses everything gets at most twice the calls.
	maxSpare = 100
)

// apiEndpoint is a path of an app's API.
type apiEndpoint struct {
	path    string
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	label   atomic.Pointer[string] // nil: otherEndpoint
}

func (e *apiEndpoint) name() string {
	if label := e.label.Load(); label != nil {
		return *label
	}
	return otherEndpoint
}

// apiState is what the host knows of an app's API, over changes of its settings.
type apiState struct {
	app     string
	holders int // of APIs.mu
	quota   *appQuota
	slots   chan struct{} // a call, until its answer's body is closed, holds one
	spare   atomic.Int64  // repeats that may be made
	log     *slog.Logger
	alert   telemetry.Seldom // what an operator should see

	mu     sync.Mutex
	recent *list.List // of *apiEndpoint, the one called last in front
	byPath map[string]*list.Element
	labels map[string]bool
}

func newAPIState(app string, quota *appQuota, log *slog.Logger) *apiState {
	s := &apiState{
		app: app, quota: quota, slots: make(chan struct{}, maxAtOnce), log: log,
		recent: list.New(), byPath: make(map[string]*list.Element), labels: make(map[string]bool),
	}
	s.spare.Store(maxSpare)
	return s
}

// endpoint returns the endpoint of a path. A new one looks back long enough to see
// apiInARow calls one after another run out of their time.
func (s *apiState) endpoint(path string, timeout time.Duration) *apiEndpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.byPath[path]; known != nil {
		s.recent.MoveToFront(known)
		return known.Value.(*apiEndpoint)
	}
	if s.recent.Len() >= maxEndpoints {
		last := s.recent.Back()
		s.recent.Remove(last)
		delete(s.byPath, last.Value.(*apiEndpoint).path)
	}
	e := &apiEndpoint{path: path, breaker: newCircuit(gobreaker.Settings{
		Name: path, Interval: window + apiInARow*timeout,
		OnStateChange: func(path string, from, to gobreaker.State) {
			switch {
			case from == gobreaker.StateClosed && to == gobreaker.StateOpen:
				s.log.Error("WeChat fails at a path: calls of it end at once", slog.String("app", s.app), slog.String("path", path))
			case to == gobreaker.StateClosed:
				s.log.Info("WeChat answers at a path again", slog.String("app", s.app), slog.String("path", path))
			}
		},
	}, apiInARow)}
	if s.labels[path] {
		e.label.Store(&e.path)
	}
	s.byPath[path] = s.recent.PushFront(e)
	return e
}

// answered gives an endpoint that exists a label of its own.
func (s *apiState) answered(e *apiEndpoint) {
	if e.label.Load() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.labels) >= maxLabels && !s.labels[e.path] {
		return
	}
	s.labels[e.path] = true
	e.label.Store(&e.path)
}

// called earns a repeat, and mayRepeat takes one.
func (s *apiState) called() {
	if s.spare.Load() < maxSpare {
		s.spare.Add(1)
	}
}

func (s *apiState) mayRepeat() bool {
	if s.spare.Add(-1) >= 0 {
		return true
	}
	s.spare.Add(1)
	return false
}
