// Package pipeline takes decoded events through the stages of their app's
// pipeline: one record an event, so that its deliveries get one answer;
// conditions, error policies and the event's own times; and a durable run for
// what was acknowledged before it was done. It knows events, and neither WeChat
// nor WebAssembly.
//
// An event's way: Deliver (deliver.go) finds or starts its run and waits for
// the answer; the run (run.go) takes the user's turn, walks the stages (walk.go)
// and settles what came of them (settle.go). The durable queue has a keeper for
// each entry that is being run (keeper.go) and a dispatcher (worker.go). Hosts
// with one store ask whose an event is before its stages (own.go, fleet.go).
package pipeline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/telemetry"
)

// ErrStarted is returned by a second Start.
var ErrStarted = errors.New("pipeline: already started")

// errStopping is why contexts of runs end when the engine does.
var errStopping = errors.New("the host stops")

// Options are what an Engine works with.
type Options struct {
	Store   store.Store // stays open until after Close
	Metrics *telemetry.Metrics
	Logger  *slog.Logger // nil: nothing is logged
	Host    string       // names this host among those that share the store
	Shared  store.Board  // where hosts that share the store tell each other of events; nil: nobody shares it
	// Inflight is how many events may be in flight at once, over all apps; 0: any
	// number. Durable runs don't count.
	Inflight int
	// Now is the clock of records, of answers' CreateTime and of the Store; nil:
	// time.Now. Deliveries' Arrived, and how long anything may take, go by the real
	// clock. It is used by many goroutines at once.
	Now func() time.Time
}

// Engine runs events. Records, the users' turns and the durable queue are its
// own; the Set is what it walks. All methods may be called by many goroutines
// at once.
type Engine struct {
	store    store.Store
	metrics  *telemetry.Metrics
	log      *slog.Logger
	ledger   ledger
	locks    userLocks
	canaries canaries
	shadows  shadows
	set      atomic.Pointer[Set] // nil before Start
	watch    atomic.Pointer[func(*Trace)]

	fleet     *fleet // nil: nobody shares the store
	keyPrefix string // of entries whose event has no record: unique to this host and start
	keySeq    atomic.Uint64

	started    atomic.Bool
	base       context.Context // of the store's calls, until Close
	cancel     context.CancelFunc
	runs       context.Context // parent of every run's
	stopRuns   context.CancelCauseFunc
	claims     context.Context // of the dispatcher
	stopClaims context.CancelFunc
	wake       chan struct{}  // of capacity 1: the queue has changed
	crew       *crew          // of the durable runs
	looks      looks          // at entries that can't be run yet
	wg         sync.WaitGroup // keepers, the dispatcher and what it takes up, the crew; the ledger waits for runs
}

// NewEngine makes an engine that answers Again until Start.
func NewEngine(opt Options) (*Engine, error) {
	if opt.Store == nil || opt.Metrics == nil {
		return nil, errors.New("pipeline: an engine needs a store and metrics")
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Inflight <= 0 {
		opt.Inflight = math.MaxInt32 // stands for none
	}
	host := strings.ToValidUTF8(opt.Host[:min(len(opt.Host), 64)], "") + "." + rand.Text()
	e := &Engine{
		store: opt.Store, metrics: opt.Metrics, log: opt.Logger, wake: make(chan struct{}, 1),
		crew:      newCrew(opt.Inflight),
		keyPrefix: host + ".",
	}
	e.ledger.evicted, e.ledger.clock, e.ledger.room.most = opt.Metrics.RecordEvicted, opt.Now, opt.Inflight
	if opt.Shared != nil {
		e.fleet = newFleet(opt.Shared, host, e.metrics, e.log, e.ledger.now)
		e.ledger.shared = true
	}
	return e, nil
}

// Start makes a late record of every entry of the durable queue, so that a
// repeat of its event runs nothing, then accepts deliveries and begins with the
// durable runs. ctx bounds the reading only; its values stay with the runs.
func (e *Engine) Start(ctx context.Context, set *Set) error {
	if !e.started.CompareAndSwap(false, true) {
		return ErrStarted
	}
	if err := e.recall(ctx); err != nil {
		return fmt.Errorf("reading the durable queue: %w", err)
	}
	if err := e.recallCanaries(ctx); err != nil {
		return fmt.Errorf("reading the canaries that were rolled back: %w", err)
	}
	e.base, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	e.runs, e.stopRuns = context.WithCancelCause(e.base)
	e.claims, e.stopClaims = context.WithCancel(e.base)
	if e.fleet != nil {
		e.fleet.start(e.base)
	}
	e.useCanaries(set)
	e.useShadows(set)
	e.arrange(set)
	e.set.Store(set)
	if e.fleet != nil {
		e.wg.Go(e.watchCanaries)
	}
	e.wg.Go(e.dispatch)
	e.wg.Go(func() { e.crew.tend(e.claims) })
	return nil
}

// Swap has events that arrive from now on, and durable runs that begin, walk
// another set. Runs under way go on with theirs; records, the users' turns,
// what canaries have come to and the durable queue stay. The result is closed when no run walks the set before
// any more: then what it uses can be closed. The engine must have been started;
// one Swap at a time.
func (e *Engine) Swap(set *Set) (drained <-chan struct{}) {
	e.useCanaries(set)
	e.useShadows(set)
	e.arrange(set)
	before := e.set.Swap(set)
	e.poke() // for what has waited for an app of this set
	return e.ledger.retire(before)
}

// arrange gives the apps of a set their parts of what the host has.
func (e *Engine) arrange(set *Set) {
	e.ledger.arrange(set)
	e.crew.arrange(set)
}

// recall makes the records of what the queue holds. An entry that can't be read
// is left for the dispatcher to bury.
func (e *Engine) recall(ctx context.Context) error {
	now := e.ledger.now()
	err := e.store.List(ctx, queueName, 0, func(info store.Info) bool {
		var en entry
		if en.decode(info.Value) == nil && (info.Key == en.event.ID || en.alone && info.Key == asyncKey(en.event.ID, en.at.stage)) && en.known.After(now) {
			e.ledger.recall(en.event.ID, en.known)
		}
		return ctx.Err() == nil
	})
	if err != nil {
		return err
	}
	return ctx.Err() // of a list that was left in the middle
}

// Drain waits for the events in flight, deliveries that arrive meanwhile
// included; from then on Deliver answers Again. Durable runs are not begun any
// more. When ctx ends first, the events that remain are left to the durable
// queue: what is not in it yet is appended, their deliveries are answered, their
// contexts end, and Drain returns the context's error when their runs have
// returned.
func (e *Engine) Drain(ctx context.Context) error {
	if e.set.Load() == nil {
		return nil
	}
	e.stopClaims()
	empty := e.ledger.drain()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	e.ledger.close()
	e.handOver()
	e.stopRuns(errStopping)
	<-empty
	return context.Cause(ctx)
}

// handOver makes durable what is in flight and not answered, and answers it.
func (e *Engine) handOver() {
	var wg sync.WaitGroup
	for _, r := range e.ledger.undecided() {
		wg.Go(func() {
			if k := e.entrust(r); k != nil {
				<-k.saved
				e.ledger.goLate(r, k)
				e.tell(r, tellTimeout)
			}
		})
	}
	wg.Wait()
}

// Close ends what Drain has left and waits for every goroutine of the engine.
// It may be called twice, and without Drain: then events in flight that are not
// durable get Again.
func (e *Engine) Close() error {
	e.ledger.close()
	if e.set.Load() == nil {
		return nil
	}
	e.stopClaims()
	e.stopRuns(errStopping)
	<-e.ledger.drain()
	e.wg.Wait()
	if e.fleet != nil {
		e.fleet.stop()
	}
	e.cancel()
	return nil
}
