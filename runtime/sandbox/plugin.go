package sandbox

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/runtime/manifest"
)

// Plugin is a view on a loaded module and its pool of instances, which it has
// with all that were loaded alike and aren't closed: only the configs are its
// own. Its methods may be called by many goroutines at once.
type Plugin struct {
	*loaded
	edition edition                               // of its name
	configs atomic.Pointer[map[string]*appConfig] // by app
	closing atomic.Bool
}

// Config is one app's merged config of a plugin.
type Config struct {
	JSON []byte // not changed once given
	ID   uint64 // Event.ConfigID; the same for the same JSON
}

// appConfig is a config that the plugin accepted, with what failed in its app.
type appConfig struct {
	Config
	fuse, aside *fuse
}

// Name is the plugin's name in pipeline.yaml.
func (p *Plugin) Name() string { return p.name }

// Manifest is what the module says of itself.
func (p *Plugin) Manifest() *manifest.Manifest { return p.manifest }

// Digest is the SHA-256 of the module as it was given, in hex.
func (p *Plugin) Digest() string { return p.digest }

// Limits are the limits in force.
func (p *Plugin) Limits() Limits { return p.limits }

// Waits tells whether calls of the plugin may wait for WeChat or a service of the
// business: api or fetch is in force.
func (p *Plugin) Waits() bool { return p.grants.waits() }

// SetConfigs gives each app its config, in place of all given before, and has
// the plugin's weft_check look at each distinct one, but those that it accepted
// before, here or in a Plugin that shares the module. The result tells for which
// apps that failed, nil where for none: Handle answers ErrNoConfig for them.
// Calls under way keep the config that they began with.
func (p *Plugin) SetConfigs(ctx context.Context, configs map[string]Config) map[string]error {
	accepted := make(map[string]*appConfig, len(configs))
	failed := map[string]error{}
	checked := p.acceptedConfigs() // by JSON
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
		accepted[app] = &appConfig{c, p.failures.app(app), p.aside.app(app)}
	}
	p.configs.Store(&accepted)
	if len(failed) == 0 {
		return nil
	}
	return failed
}

// acceptedConfigs has a nil error for the JSON of each config that the module
// accepted in a view that is not closed; none where p is.
func (p *Plugin) acceptedConfigs() map[string]error {
	known := map[string]error{}
	if p.closing.Load() {
		return known
	}
	p.sandbox.mu.Lock()
	defer p.sandbox.mu.Unlock()
	for view := range p.views {
		if configs := view.configs.Load(); configs != nil {
			for _, c := range *configs {
				known[string(c.JSON)] = nil
			}
		}
	}
	return known
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
	fuse := cfg.fuse
	if call.Aside {
		fuse = cfg.aside
	}
	ticket, refused := fuse.admit(call.Event.User, &p.edition)
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
	pool := p.pool
	if call.Aside {
		pool = p.asidePool
	}
	in, err := p.acquireFrom(ctx, pool, call.Event.App)
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

func (p *Plugin) config(app string) *appConfig {
	if m := p.configs.Load(); m != nil {
		return (*m)[app]
	}
	return nil
}

// acquire takes an instance from the pool for ordinary calls; giveBack must
// follow.
func (p *Plugin) acquire(ctx context.Context, app string) (*instance, *CallError) {
	return p.acquireFrom(ctx, p.pool, app)
}

func (p *Plugin) acquireFrom(ctx context.Context, pool *pools, app string) (*instance, *CallError) {
	if p.closing.Load() {
		return nil, p.closedError()
	}
	return p.loaded.acquireFrom(ctx, pool, app)
}

// Close lets no new call in through p; those under way go on. Where no other
// Plugin shares its module it closes that, too: it sends those away that wait
// for an instance, and waits for the calls under way. Where ctx ends first it
// stops them, and gives ctx's error; they are cleaned up behind it. A second
// Close does nothing.
func (p *Plugin) Close(ctx context.Context) error {
	if !p.closing.CompareAndSwap(false, true) || !p.sandbox.leave(p) || !p.shut(ctx) {
		return nil
	}
	return p.wait(ctx)
}
