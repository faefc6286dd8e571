package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// What came of a reload.
const (
	reloadOK      = "ok"      // all of it serves
	reloadPartial = "partial" // it serves, but for what is wrong in it
	reloadRefused = "refused" // what served before goes on
)

// What asked for a reload.
const (
	triggerWatch  = "watch" // a change of a file
	triggerSignal = "signal"
	triggerAdmin  = "admin"
)

// ErrStopping is returned by Reload when the host stops before the reload began
// or was done.
var ErrStopping = errors.New("the host stops")

// ReloadResult says what came of a reload.
type ReloadResult struct {
	Result     string // ok, partial or refused
	Generation uint64 // that serves now
	// Problems is what is wrong; warnings are logged only. Empty where Result is ok.
	Problems config.Problems
}

// reloads takes configurations over while the host runs, one after another, in
// a goroutine of its own.
type reloads struct {
	requests chan reloadRequest
	ticks    <-chan time.Time
	watch    watch                        // of the goroutine
	last     atomic.Pointer[reloadRecord] // nil: none yet
	cancel   context.CancelFunc
	done     chan struct{}  // closed while there is no goroutine
	retiring sync.WaitGroup // assemblies that are closed when no event walks them any more
}

type reloadRequest struct {
	trigger string
	result  chan<- ReloadResult // with room for it
}

// reloadRecord is a reload that is over.
type reloadRecord struct {
	ReloadResult
	trigger string
	at      time.Time // its end
}

// newReloads has the files of the configuration watched, with a look at each tick,
// once startReloads was called.
func newReloads(ticks <-chan time.Time) *reloads {
	r := &reloads{requests: make(chan reloadRequest), ticks: ticks, cancel: func() {}, done: make(chan struct{})}
	close(r.done)
	return r
}

// startReloads begins to take reloads and to watch the files. ctx gives its
// values only.
func (h *Host) startReloads(ctx context.Context) {
	r := h.reloads
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		for {
			select {
			case <-ctx.Done():
				return
			case req := <-r.requests:
				if result, ok := h.reload(ctx, req.trigger); ok {
					req.result <- result
				}
			case <-r.ticks:
				if r.watch.look(time.Now()) {
					h.reload(ctx, triggerWatch)
				}
			}
		}
	}()
}

// stop ends a reload under way and takes no other.
func (r *reloads) stop(ctx context.Context) error {
	r.cancel()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a reload to end: %w", ctx.Err())
	}
}

// close is stop, and waits for what is closing, which is no event any more: the
// engine is closed.
func (r *reloads) close(ctx context.Context) error {
	if err := r.stop(ctx); err != nil {
		return err
	}
	r.retiring.Wait()
	return nil
}

// Reload reads the configuration again, starts all of it beside what serves, and
// swaps: events that arrive when Reload has returned walk the new one, those in
// flight end where they began. Where anything is wrong, what served goes on.
// trigger stands in log and status. Reloads run one after another. ctx bounds the
// waiting only: a reload that began goes on to its end. The error is ctx's, or
// ErrStopping.
func (h *Host) Reload(ctx context.Context, trigger string) (ReloadResult, error) {
	result := make(chan ReloadResult, 1)
	select {
	case h.reloads.requests <- reloadRequest{trigger, result}:
	case <-h.reloads.done:
		return ReloadResult{}, ErrStopping
	case <-ctx.Done():
		return ReloadResult{}, fmt.Errorf("waiting for another reload: %w", ctx.Err())
	}
	select {
	case r := <-result:
		return r, nil
	case <-ctx.Done():
		return ReloadResult{}, fmt.Errorf("waiting for the reload: %w", ctx.Err())
	case <-h.reloads.done:
	}
	select {
	case r := <-result: // the last one
		return r, nil
	default:
		return ReloadResult{}, ErrStopping
	}
}

// reload does one reload; false where the host stops in the middle, which is as
// if there had been none.
func (h *Host) reload(ctx context.Context, trigger string) (ReloadResult, bool) {
	began := time.Now()
	s, problems, err := h.settleSafely(ctx)
	if ctx.Err() != nil {
		if s != nil {
			h.closeAssembly(ctx, s.assembly)
		}
		return ReloadResult{}, false
	}
	result := ReloadResult{Result: reloadRefused, Generation: h.current.Load().number, Problems: problems}
	switch {
	case err != nil:
		result.Problems = config.Problems{{Pos: config.Pos{File: h.file}, Text: err.Error()}}
		h.units.report(ctx, nil, result.Problems, h.log)
	case s == nil:
		h.units.report(ctx, nil, problems, h.log)
	case len(s.problems) > 0 && s.sameAs(h.units.serving):
		result.Problems = s.problems
		h.closeAssembly(ctx, s.assembly)
		h.units.report(ctx, s, s.problems, h.log)
	default:
		result = h.swap(ctx, s)
		h.accept(ctx, s)
	}
	result.Problems = few(result.Problems, config.MaxProblems)
	h.metrics.Reload(result.Result)
	h.reloads.last.Store(&reloadRecord{result, trigger, time.Now()})
	level, msg := slog.LevelInfo, "reloaded"
	if result.Result != reloadOK {
		level = slog.LevelError
	}
	for _, p := range result.Problems {
		h.log.LogAttrs(ctx, level, "reload problem", slog.String("problem", p.String()))
	}
	if result.Result == reloadRefused {
		msg = "reload refused"
	}
	h.log.LogAttrs(ctx, level, msg, slog.String("trigger", trigger), slog.String("result", result.Result),
		slog.Uint64("generation", result.Generation), slog.String("took", time.Since(began).String()))
	return result, true
}

// errReloadPanic is a mistake of ours that a file brought to light.
var errReloadPanic = errors.New("the host panicked over the configuration: take back what was changed last; the log has where it was")

// settleSafely is settle of what the files have now. A panic over them is an error:
// what serves must not end for it.
func (h *Host) settleSafely(ctx context.Context) (s *selection, problems config.Problems, err error) {
	defer func() {
		if v := recover(); v != nil {
			h.log.LogAttrs(ctx, slog.LevelError, "panic in a reload", slog.String("panic", cut(fmt.Sprint(v), 1024)), slog.String("stack", string(debug.Stack())))
			s, problems, err = nil, nil, errReloadPanic
		}
	}()
	return h.settle(ctx, read(h.file, newSources(true)))
}

// swap has a selection serve in place of what does.
func (h *Host) swap(ctx context.Context, s *selection) ReloadResult {
	old := h.current.Load()
	next := h.generation(old.number+1, s)
	h.layers.use(s.usesLayer())
	drained := h.engine.Swap(s.assembly.set)
	h.current.Store(next)
	h.ways.use(s.assembly)
	h.announce(ctx, s.assembly)
	h.reloads.retiring.Go(func() {
		<-drained // by the end of the engine at the latest
		// Requests end with their callers, and with the listener: there is no error.
		_ = old.retire(context.WithoutCancel(ctx))
		h.closeAssembly(ctx, old.assembly)
		h.layers.tidy(context.WithoutCancel(ctx))
	})
	result := ReloadResult{Result: reloadOK, Generation: next.number, Problems: s.problems}
	if len(s.problems) > 0 {
		result.Result = reloadPartial
	}
	return result
}

// closeAssembly closes an assembly that serves no event. ctx gives its values
// only.
func (h *Host) closeAssembly(ctx context.Context, a *assembly) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if err := a.close(ctx); err != nil {
		h.log.LogAttrs(ctx, slog.LevelWarn, "closing what was replaced", slog.String("error", err.Error()))
	}
}
