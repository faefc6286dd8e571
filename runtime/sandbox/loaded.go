package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"sync/atomic"

	"github.com/tetratelabs/wazero"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// loaded is a module with its pool of instances, shared by all apps and by all
// Plugins that were loaded alike.
type loaded struct {
	sandbox   *Sandbox
	key       moduleKey
	views     map[*Plugin]struct{} // not closed yet; under sandbox.mu
	name      string
	manifest  *manifest.Manifest
	digest    string
	log       *slog.Logger
	grants    grants // in force
	limits    Limits
	state     State
	stateOf   string // the plugin whose keys it has
	isolation Isolation

	module   *fuel.Module // as it is run
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	pool     *pools
	failures *failures // the sandbox's, for all plugins of this name
	counts   counters
	line     line // for run tokens

	// The same of calls aside.
	asidePool *pools
	aside     *failures
	asideLine line

	life     context.Context // ends when calls under way are to be stopped
	kill     context.CancelFunc
	shutting atomic.Bool
	closed   chan struct{} // closed when nothing of the module runs any more
	closeErr error         // read after closed
}

// moduleKey is what Plugins have in common that share a module.
type moduleKey struct {
	name      string
	digest    [sha256.Size]byte
	grants    grants // in force
	limits    Limits // in force
	isolation Isolation
	state     any // identity of its State
	stateOf   string
}

// identity stands for a State in a moduleKey: one that can't be compared equals
// itself only, of one load.
func identity(s State) any {
	if s == nil || reflect.ValueOf(s).Comparable() {
		return s
	}
	return new(byte)
}

// hostPanicked makes a CallError of a panic on our side of a call, so that a
// mistake there, of wazero's too, costs one call of one plugin, not the host.
func (l *loaded) hostPanicked(v any) *CallError {
	e := l.callError(reasonTrap, "the host panicked")
	e.trace = fmt.Sprintf("%v\n%s", v, debug.Stack())
	e.broken = true
	return e
}

// acquireFrom takes an instance from one of the two pools; giveBack must follow.
func (l *loaded) acquireFrom(ctx context.Context, pool *pools, app string) (*instance, *CallError) {
	in, err := pool.acquire(ctx, app)
	if err == nil {
		return in, nil
	}
	var call *CallError
	switch {
	case errors.Is(err, ErrClosed):
		return nil, l.closedError()
	case ctx.Err() != nil:
		return nil, l.callError(reasonBusy, fmt.Sprintf("none of its %d instances was free before the event's time ended", pool.max))
	case errors.As(err, &call):
		l.discarded(ctx, call, nil)
		return nil, call
	default:
		e := l.callError(reasonError, "no instance could be started: "+cleanText([]byte(err.Error())))
		e.blameless = true
		return nil, e
	}
}

// giveBack returns an instance to its pool, or ends it where its call left it
// of no more use.
func (l *loaded) giveBack(ctx context.Context, in *instance, app string, failed *CallError) {
	ev := in.call.event
	in.call = callState{}
	usable := failed == nil || !failed.broken
	if !usable {
		l.discarded(ctx, failed, ev)
		if err := in.close(context.WithoutCancel(ctx)); err != nil {
			l.log.Error("close an instance", slog.Any("error", err))
		}
	} else if !in.restore() {
		usable = false
		l.retire(ctx, in, wornGrown)
	}
	pool := l.pool
	if in.line == &l.asideLine {
		pool = l.asidePool
	}
	if why := pool.release(in, app, usable); why != notWorn {
		l.retire(ctx, in, why)
	}
}

// discarded counts and logs an instance that is not used again; ev is the event
// that it had, nil where none.
func (l *loaded) discarded(ctx context.Context, why *CallError, ev *hostapi.Event) {
	l.counts.discards[why.reason].Add(1)
	attrs := []slog.Attr{slog.String("reason", why.Reason()), slog.String("text", why.text)}
	if ev != nil {
		attrs = append(attrs, slog.String("app", ev.App), slog.String("event_id", ev.ID))
	}
	if why.trace != "" {
		attrs = append(attrs, slog.String("trace", why.trace))
	}
	l.log.LogAttrs(ctx, slog.LevelWarn, "plugin instance discarded", attrs...)
}

func (l *loaded) callError(why reason, text string) *CallError {
	return &CallError{plugin: l.name, reason: why, text: text}
}

// closedError is what a call gets that came too late.
func (l *loaded) closedError() *CallError {
	e := l.callError(reasonBusy, "the plugin is closed")
	e.err = ErrClosed
	return e
}

// shut closes the pools, false where that was done before.
func (l *loaded) shut(ctx context.Context) bool {
	if !l.shutting.CompareAndSwap(false, true) {
		return false
	}
	// The last call frees the runtime, whether or not anybody waits for it.
	var left atomic.Int32
	left.Store(2)
	drained := func() {
		if left.Add(-1) > 0 {
			return
		}
		l.closeErr = errors.Join(l.runtime.Close(context.WithoutCancel(ctx)), l.compiled.Close(context.WithoutCancel(ctx)))
		l.sandbox.remove(l)
		l.kill()
		close(l.closed)
	}
	l.pool.close(drained)
	l.asidePool.close(drained)
	return true
}

// wait returns when nothing of a shut module runs any more; where ctx ends
// first it stops the calls under way.
func (l *loaded) wait(ctx context.Context) error {
	select {
	case <-l.closed: // also where ctx has ended, too
		return l.closeErr
	default:
	}
	select {
	case <-l.closed:
		return l.closeErr
	case <-ctx.Done():
		l.kill()
		return fmt.Errorf("close plugin %s: calls under way were stopped: %w", l.name, ctx.Err())
	}
}
