package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// candidate is a configuration, read and assembled in full, that can take the
// place of the one that serves.
type candidate struct {
	assembly *assembly
	problems config.Problems // what is wrong in parts that don't serve
}

// newReloads has the files of from watched, with a look at each tick, once
// startReloads was called.
func newReloads(from *sources, ticks <-chan time.Time) *reloads {
	r := &reloads{requests: make(chan reloadRequest), ticks: ticks, watch: watch{taken: from}, cancel: func() {}, done: make(chan struct{})}
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
	from := newSources(true)
	c, err := h.prepare(ctx, from)
	h.reloads.watch = watch{taken: from}
	if ctx.Err() != nil {
		if err == nil {
			h.closeAssembly(ctx, c.assembly)
		}
		return ReloadResult{}, false
	}
	result := ReloadResult{Result: reloadRefused, Generation: h.current.Load().number}
	switch {
	case err == nil:
		result = h.swap(ctx, c)
	case !errors.As(err, &result.Problems):
		result.Problems = config.Problems{{Pos: config.Pos{File: h.file}, Text: err.Error()}}
	}
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

// prepare reads the configuration and assembles it beside what serves. The error
// is config.Problems where the configuration is wrong or can't take its place.
// from has the files that were read, then, too. The caller closes the candidate's
// assembly.
func (h *Host) prepare(ctx context.Context, from *sources) (*candidate, error) {
	cfg, warnings, err := readConfig(h.file, false, from)
	if err != nil {
		return nil, err
	}
	serving := h.current.Load().assembly
	if problems := cfg.Restart(serving.cfg); len(problems) > 0 {
		return nil, problems
	}
	a, err := h.assemble(ctx, cfg, from)
	if err != nil {
		return nil, err
	}
	var lost config.Problems // of apps that are served now
	for _, app := range serving.cfg.Apps {
		if len(serving.broken[app.Name]) == 0 {
			lost = append(lost, a.broken[app.Name]...)
		}
	}
	if len(lost) > 0 {
		h.closeAssembly(ctx, a)
		return nil, lost
	}
	a.problems = append(warnings, a.problems...)
	return &candidate{assembly: a, problems: a.appProblems()}, nil
}

// swap has the candidate serve in place of what does.
func (h *Host) swap(ctx context.Context, c *candidate) ReloadResult {
	old := h.current.Load()
	next := h.generation(old.number+1, c.assembly)
	drained := h.engine.Swap(c.assembly.set)
	h.current.Store(next)
	h.announce(ctx, c.assembly)
	h.reloads.retiring.Go(func() {
		<-drained // by the end of the engine at the latest
		h.closeAssembly(ctx, old.assembly)
	})
	result := ReloadResult{Result: reloadOK, Generation: next.number, Problems: c.problems}
	if len(c.problems) > 0 {
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
