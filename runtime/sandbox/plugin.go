package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// Plugin is a loaded module with its pool of instances, shared by all apps. Its
// methods may be called by many goroutines at once.
type Plugin struct {
	sandbox   *Sandbox
	name      string
	manifest  *manifest.Manifest
	digest    string
	log       *slog.Logger
	grants    Grants
	limits    Limits
	state     State
	isolation Isolation

	module   *fuel.Module // as it is run
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	pool     *pools
	configs  atomic.Pointer[map[string]*appConfig] // by app
	failures *failures                             // the sandbox's, for all plugins of this name
	counts   counters
	line     line // for run tokens

	life     context.Context // ends when calls under way are to be stopped
	kill     context.CancelFunc
	closing  atomic.Bool
	closed   chan struct{} // closed when nothing of the plugin runs any more
	closeErr error         // read after closed
}

// Config is one app's merged config of a plugin.
type Config struct {
	JSON []byte // not changed once given
	ID   uint64 // Event.ConfigID; the same for the same JSON
}

// appConfig is a config that the plugin accepted, with what failed in its app.
type appConfig struct {
	Config
	fuse *fuse
}

// Name is the plugin's name in pipeline.yaml.
func (p *Plugin) Name() string { return p.name }

// Manifest is what the module says of itself.
func (p *Plugin) Manifest() *manifest.Manifest { return p.manifest }

// Digest is the SHA-256 of the module as it was given, in hex.
func (p *Plugin) Digest() string { return p.digest }

// Limits are the limits in force.
func (p *Plugin) Limits() Limits { return p.limits }

// SetConfigs gives each app its config, in place of all given before, and has
// the plugin's weft_check look at each distinct one. The result tells for which
// apps that failed, nil where for none: Handle answers ErrNoConfig for them.
// Calls under way keep the config that they began with.
func (p *Plugin) SetConfigs(ctx context.Context, configs map[string]Config) map[string]error {
	accepted := make(map[string]*appConfig, len(configs))
	failed := map[string]error{}
	checked := map[string]error{} // by JSON
	for app, c := range configs {
		if c.JSON == nil {
			c.JSON = []byte{} // nil is 'no config' to the host call
		}
		err, ok := checked[string(c.JSON)]
		if !ok {
			err = p.checkConfig(ctx, app, c.JSON)
			checked[string(c.JSON)] = err
		}
		if err != nil {
			failed[app] = err
			continue
		}
		accepted[app] = &appConfig{c, p.failures.app(app)}
	}
	p.configs.Store(&accepted)
	if len(failed) == 0 {
		return nil
	}
	return failed
}

func (p *Plugin) checkConfig(ctx context.Context, app string, json []byte) error {
	in, err := p.acquire(ctx, app)
	if err != nil {
		return err
	}
	if in.check == nil {
		p.giveBack(ctx, in, app, nil)
		return nil
	}
	var failed *CallError
	defer func() { p.giveBack(ctx, in, app, failed) }()
	if failed = in.checkConfig(ctx, json); failed != nil {
		return failed
	}
	return nil
}

// Handle gives one event to the plugin. ctx carries the event's own deadline;
// the plugin's timeout counts from the moment an instance is there.
//
// The error is a *CallError: nothing of the call is left behind, neither its
// reply nor its annotations. What it did to state stays. A plugin that fails
// again and again in the event's app, or for the event's user, is not called:
// reason fused.
func (p *Plugin) Handle(ctx context.Context, call *Call) (Result, error) {
	result, failed := p.handle(ctx, call)
	if failed != nil {
		p.counts.countFailure(failed.reason, time.Now())
		return Result{}, failed
	}
	return result, nil
}

func (p *Plugin) handle(ctx context.Context, call *Call) (result Result, failed *CallError) {
	cfg := p.config(call.Event.App)
	if cfg == nil {
		e := p.callError(reasonError, fmt.Sprintf("app %s: %s", call.Event.App, ErrNoConfig))
		e.err = ErrNoConfig
		return Result{}, e
	}
	ticket, refused := cfg.fuse.admit(call.Event.User)
	if refused != "" {
		return Result{}, p.callError(reasonFused, refused)
	}
	tells := verdictFailed // where the host panics
	defer func() { ticket.done(tells) }()
	result, failed = p.handleAdmitted(ctx, call, &cfg.Config)
	tells = failed.verdict()
	return result, failed
}

func (p *Plugin) handleAdmitted(ctx context.Context, call *Call, cfg *Config) (result Result, failed *CallError) {
	in, err := p.acquire(ctx, call.Event.App)
	if err != nil {
		return Result{}, err
	}
	defer func() {
		if v := recover(); v != nil { // the instance is in an unknown state
			result, failed = Result{}, p.hostPanicked(v)
		}
		p.giveBack(ctx, in, call.Event.App, failed)
	}()
	return in.handleEvent(ctx, call, cfg)
}

// hostPanicked makes a CallError of a panic on our side of a call, so that a
// mistake there, of wazero's too, costs one call of one plugin, not the host.
func (p *Plugin) hostPanicked(v any) *CallError {
	e := p.callError(reasonTrap, "the host panicked")
	e.trace = fmt.Sprintf("%v\n%s", v, debug.Stack())
	e.broken = true
	return e
}

func (p *Plugin) config(app string) *appConfig {
	if m := p.configs.Load(); m != nil {
		return (*m)[app]
	}
	return nil
}

// acquire takes an instance from the pool; giveBack must follow.
func (p *Plugin) acquire(ctx context.Context, app string) (*instance, *CallError) {
	in, err := p.pool.acquire(ctx, app)
	if err == nil {
		return in, nil
	}
	var call *CallError
	switch {
	case errors.Is(err, ErrClosed):
		e := p.callError(reasonBusy, "the plugin is closed")
		e.err = ErrClosed
		return nil, e
	case ctx.Err() != nil:
		return nil, p.callError(reasonBusy, fmt.Sprintf("none of its %d instances was free before the event's time ended", p.limits.Instances))
	case errors.As(err, &call):
		p.discarded(ctx, call, nil)
		return nil, call
	default:
		e := p.callError(reasonError, "no instance could be started: "+cleanText([]byte(err.Error())))
		e.blameless = true
		return nil, e
	}
}

// giveBack returns an instance to the pool, or ends it where its call left it
// of no more use.
func (p *Plugin) giveBack(ctx context.Context, in *instance, app string, failed *CallError) {
	ev := in.call.event
	in.call = callState{}
	usable := failed == nil || !failed.broken
	if !usable {
		p.discarded(ctx, failed, ev)
		if err := in.close(context.WithoutCancel(ctx)); err != nil {
			p.log.Error("close an instance", slog.Any("error", err))
		}
	} else if !in.restore() {
		usable = false
		p.retire(ctx, in, wornGrown)
	}
	if why := p.pool.release(in, app, usable); why != notWorn {
		p.retire(ctx, in, why)
	}
}

// discarded counts and logs an instance that is not used again; ev is the event
// that it had, nil where none.
func (p *Plugin) discarded(ctx context.Context, why *CallError, ev *hostapi.Event) {
	p.counts.discards[why.reason].Add(1)
	attrs := []slog.Attr{slog.String("reason", why.Reason()), slog.String("text", why.text)}
	if ev != nil {
		attrs = append(attrs, slog.String("app", ev.App), slog.String("event_id", ev.ID))
	}
	if why.trace != "" {
		attrs = append(attrs, slog.String("trace", why.trace))
	}
	p.log.LogAttrs(ctx, slog.LevelWarn, "plugin instance discarded", attrs...)
}

func (p *Plugin) callError(why reason, text string) *CallError {
	return &CallError{plugin: p.name, reason: why, text: text}
}

// Close lets no new call in, sends those away that wait for an instance, and
// waits for the calls under way. Where ctx ends first it stops them, and gives
// ctx's error; they are cleaned up behind it. A second Close does nothing.
func (p *Plugin) Close(ctx context.Context) error {
	if !p.shut(ctx) {
		return nil
	}
	return p.wait(ctx)
}

// shut closes the pool, false where that was done before.
func (p *Plugin) shut(ctx context.Context) bool {
	if !p.closing.CompareAndSwap(false, true) {
		return false
	}
	// The last call frees the runtime, whether or not anybody waits for it.
	p.pool.close(func() {
		p.closeErr = errors.Join(p.runtime.Close(context.WithoutCancel(ctx)), p.compiled.Close(context.WithoutCancel(ctx)))
		p.sandbox.remove(p)
		p.kill()
		close(p.closed)
	})
	return true
}

// wait returns when nothing of a shut plugin runs any more; where ctx ends
// first it stops the calls under way.
func (p *Plugin) wait(ctx context.Context) error {
	select {
	case <-p.closed: // also where ctx has ended, too
		return p.closeErr
	default:
	}
	select {
	case <-p.closed:
		return p.closeErr
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("close plugin %s: calls under way were stopped: %w", p.name, ctx.Err())
	}
}
