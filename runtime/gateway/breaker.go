package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// When the circuit of an upstream opens and closes.
const (
	window      = 10 * time.Second // what is looked back on, beside the time of inARow requests
	inARow      = 5                // failures one after another that open it
	atLeast     = 20               // requests in the window of which half failed do, too
	openFor     = 5 * time.Second  // then one request tries
	bucketWidth = time.Second
)

var (
	// errSick is a request that speaks against the upstream's health.
	errSick = errors.New("sick")
	// errAside is one that says nothing about it.
	errAside = errors.New("aside")
)

// newBreaker makes the circuit breaker of an upstream. It keeps in since when the
// circuit opened.
func newBreaker(c UpstreamConfig, since *atomic.Pointer[time.Time]) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return newCircuit(gobreaker.Settings{
		Name: c.Name, Interval: window + inARow*c.Timeout, // a request counts where it began
		OnStateChange: func(name string, from, to gobreaker.State) {
			switch {
			case from == gobreaker.StateClosed && to == gobreaker.StateOpen:
				now := time.Now()
				since.Store(&now)
				log.Error("upstream away: its stages fail at once", slog.String("upstream", name))
			case to == gobreaker.StateClosed:
				since.Store(nil)
				log.Info("upstream back", slog.String("upstream", name))
			}
		},
	}, inARow)
}

// newCircuit makes a breaker that opens after so many failures in a row, or where
// half of what the interval saw failed.
func newCircuit(s gobreaker.Settings, inARow uint32) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	s.MaxRequests, s.Timeout, s.BucketPeriod = 1, openFor, bucketWidth
	s.ReadyToTrip = func(c gobreaker.Counts) bool {
		told := c.TotalSuccesses + c.TotalFailures
		return c.ConsecutiveFailures >= inARow || told >= atLeast && 2*c.TotalFailures >= told
	}
	s.IsExcluded = func(err error) bool { return errors.Is(err, errAside) }
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](s)
}

// judge tells the breaker what a request says about the upstream. An answer
// shows that it is there, whatever it says: else one user whose message it can't
// take would keep it from all. Only 502, 503 and 504 say of themselves that
// nothing is behind them.
func judge(parent context.Context, failed *Error) error {
	switch {
	case failed == nil || failed.result == resultUnusable:
		return nil
	case failed.result == resultStatus:
		if away(failed.status) {
			return errSick
		}
		return nil
	case parent.Err() != nil:
		return errAside // the event's time was up first, not the upstream's
	}
	return errSick
}

// away tells whether a status says that nothing is behind who answered.
func away(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}
