package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// flightTime is how long a round of the keeper may take.
	flightTime = 15 * time.Second
	// patience is how far away the next attempt may be where a caller waits for
	// it; else it gets the error of the last one at once.
	patience = 3 * time.Second
	// leadMost is how long before its end a new credential is asked for; a tenth
	// of its life where that is less (services.md, 'Callers and the gateway').
	leadMost = 5 * time.Minute
)

// slot is one kind of credential of an app. Callers read current; one goroutine,
// the keeper, sees to it that there is one, in rounds.
type slot struct {
	app      *AppCredentials
	kind     CredentialKind
	source   tokenSource
	store    CredentialStore
	log      *slog.Logger
	key      string // in the store and on the board; of the lock
	settings string // of notices

	current atomic.Pointer[held] // nil: there was none yet
	counts  *slotCounts
	kick    chan struct{} // holds one: pending is set

	mu      sync.Mutex
	started bool // the keeper runs, or did
	closed  bool // the keeper has ended, or never begins
	pending *round
	running *round
	report  slotReport

	// The keeper's own.
	pace    pace
	bad     string    // the value of current, where it was refused; "": it was not
	own     ration    // of refreshes without the store
	noticed bool      // this host left a notice
	alone   time.Time // when the plain call was made without the store
}

// slotReport is what Stats tells of the last attempt.
type slotReport struct {
	last   *fetchFailure // nil: it went well
	since  time.Time     // of the first failure in a row
	paused time.Time     // until when nothing is asked
}

// slotCounts are kept over changes of the settings.
type slotCounts struct {
	fetches [fetchResults]atomic.Uint64
	lost    atomic.Uint64 // locks
}

// round is one run of the keeper, that callers may wait for.
type round struct {
	refused string // what a caller says was refused; "": nothing was
	done    chan struct{}
	ended   bool // done is closed
	err     error
	retry   time.Time // when the next round begins, where err is set
}

func (s *slot) now() time.Time { return s.app.host.options.Now() }

// get is AppCredentials.Get's.
func (s *slot) get(ctx context.Context) (Credential, error) {
	if h := s.current.Load(); h != nil && s.now().Before(h.Expires) {
		return h.Credential, nil
	}
	return s.await(ctx, "")
}

// refused is AppCredentials.Refused's.
func (s *slot) refused(ctx context.Context, value string) (Credential, error) {
	if h := s.current.Load(); h != nil && h.Value != value && h.previous == value && s.now().Before(h.Expires) {
		return h.Credential, nil
	}
	return s.await(ctx, value)
}

// usable is the current credential where it is valid and isn't the one that was
// refused; else nil.
func (s *slot) usable(refused string) *held {
	if h := s.current.Load(); h != nil && s.now().Before(h.Expires) && h.Value != refused {
		return h
	}
	return nil
}

// await waits for a round that brings another credential than the refused one.
func (s *slot) await(ctx context.Context, refused string) (Credential, error) {
	for tries := 0; ; {
		r := s.join(refused)
		select {
		case <-r.done:
		case <-ctx.Done():
			return Credential{}, s.interrupted(ctx)
		}
		if h := s.usable(refused); h != nil {
			return h.Credential, nil
		}
		if r.err == nil { // it was under way before, or what it brought is over by now
			if tries++; tries < 5 {
				continue
			}
			return Credential{}, s.failure(errElsewhere, time.Time{})
		}
		wait := r.retry.Sub(s.now())
		if deadline, ok := ctx.Deadline(); wait > patience || r.retry.IsZero() || ok && time.Until(deadline) < wait {
			return Credential{}, r.err
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return Credential{}, s.interrupted(ctx)
		}
		if h := s.usable(refused); h != nil {
			return h.Credential, nil
		}
	}
}

// interrupted is the error of a caller whose time is up.
func (s *slot) interrupted(ctx context.Context) error {
	return fmt.Errorf("app %s: wait for an %s: %w", s.app.config.App, s.kind, ctx.Err())
}

func (s *slot) failure(cause error, retry time.Time) *CredentialError {
	return &CredentialError{App: s.app.config.App, Kind: s.kind, Retry: retry, cause: cause}
}

// join returns the round that a caller waits for: one that is under way for the
// same reason, or the next.
func (s *slot) join(refused string) *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start()
	if s.closed {
		r := &round{done: make(chan struct{}), err: s.failure(errCredentialsClosed, time.Time{})}
		close(r.done)
		return r
	}
	if r := s.running; r != nil && !r.ended && (refused == "" || r.refused == refused) {
		return r
	}
	if s.pending == nil {
		s.pending = &round{done: make(chan struct{})}
	}
	if h := s.current.Load(); s.pending.refused == "" || h != nil && h.Value == refused {
		s.pending.refused = refused
	}
	s.nudge()
	return s.pending
}

// nudge wakes the keeper.
func (s *slot) nudge() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// start lets the keeper run, from the first time that somebody wants the
// credential. The lock is held.
func (s *slot) start() {
	if s.started || s.closed {
		return
	}
	s.started = true
	s.app.keepers.Go(func() { s.keep(s.app.ctx) })
}

// keep runs rounds until ctx ends.
func (s *slot) keep(ctx context.Context) {
	timer := time.NewTimer(atOnce)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.end()
			return
		case <-s.kick:
		case <-timer.C:
		}
		r := s.begin()
		next, err := s.refresh(ctx, r)
		s.finish(r, next, err)
		timer.Reset(max(next.Sub(s.now()), minRest))
	}
}

// minRest is what lies between two rounds that nobody asked for.
const minRest = 10 * time.Millisecond

// atOnce is the wait of a timer that is due already. It isn't zero because two
// such timers at one time crash the race detector in a bubble of
// testing/synctest (golang/go#78156, Go 1.26).
const atOnce = time.Nanosecond

// begin makes the round that callers wait for the one that runs.
func (s *slot) begin() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.pending = s.pending, nil
	if s.running == nil {
		s.running = &round{done: make(chan struct{})}
	}
	return s.running
}

// finish tells those who wait how the round ended.
func (s *slot) finish(r *round, retry time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.paused = time.Time{}
	if s.pace.last != nil {
		s.report.paused = s.pace.until
	}
	if !r.ended {
		r.ended, r.err = true, err
		if err != nil {
			r.retry = retry
		}
		close(r.done)
	}
	if s.running == r {
		s.running = nil
	}
}

// served ends the waiting of those whom a new credential helps, before it is told
// to the other hosts.
func (s *slot) served() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.last, s.report.since = nil, time.Time{}
	if r := s.running; r != nil && !r.ended {
		r.ended = true
		close(r.done)
	}
}

// end lets nobody wait any more.
func (s *slot) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, r := range []*round{s.pending, s.running} {
		if r != nil && !r.ended {
			r.ended, r.err = true, s.failure(errCredentialsClosed, time.Time{})
			close(r.done)
		}
	}
	s.pending = nil
}
