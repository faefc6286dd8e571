package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// benchApp is the app of a plugin's own cases.
const benchApp = "test"

// pluginBench is a bench with one plugin on it: what its manifest declares is
// granted, and what it asks for allowed.
type pluginBench struct {
	*bench
	plugin *sandbox.Plugin
	config *config.PluginConfig
	out    canned // what answers in the place of WeChat and of upstreams
	asks   *capabilities
	sent   int
}

// openPluginBench loads a module for a case. Where it can't be, or refuses the
// config, the error is config.Problems. The caller closes the bench, also after
// an error.
func openPluginBench(ctx context.Context, wasm []byte, c *config.Case, cacheDir string) (*pluginBench, error) {
	b := &pluginBench{config: &c.Config}
	var err error
	if b.bench, err = openBench(ctx, c.Now, cacheDir); err != nil {
		return b, err
	}
	spec := sandbox.Spec{Name: "plugin", Wasm: wasm, State: b.state()}
	if yaml, err := manifest.Extract(wasm); err == nil { // else Load says so
		if man, err := manifest.Parse(manifest.Section, yaml); err == nil {
			_, spec.Grants.State = man.Capabilities["state"]
			_, spec.Grants.API = man.Capabilities["api"]
			spec.Grants.Fetch = sortedKeys(man.Capabilities["fetch"].Upstreams)
			spec.Name, spec.Limits = man.Name, sandbox.Limits{Memory: man.Limits.Memory, Timeout: man.Limits.Timeout, Fuel: man.Limits.Fuel}
		}
	}
	b.plugin, err = b.sandbox.Load(ctx, spec)
	if le := (*sandbox.LoadError)(nil); errors.As(err, &le) {
		var problems config.Problems
		for _, text := range le.Problems {
			problems = append(problems, config.Problem{Pos: c.Pos, Text: fmt.Sprintf("plugin %s: %s", spec.Name, text), Advice: "`weft plugin check` says more"})
		}
		return b, problems
	}
	if err != nil {
		return b, err
	}
	if problem := b.setAsks(c.Pos); problem != nil {
		return b, config.Problems{*problem}
	}
	if problems := b.setConfig(ctx); len(problems) > 0 {
		return b, problems
	}
	b.random.begin()
	return b, nil
}

// setAsks lets the plugin ask what its manifest declares, by its own names.
func (b *pluginBench) setAsks(pos config.Pos) *config.Problem {
	asks, err := newCapabilities(nil, b.plugin.Manifest(), b.log.logger())
	if err != nil {
		return &config.Problem{Pos: pos, Text: fmt.Sprintf("plugin %s: %v", b.plugin.Name(), err)}
	}
	asks.api = b.out.apiOf
	asks.fetch = func(_, name string) (fetcher, string) { return &cannedClient{&b.out, name, time.Second}, name }
	b.asks = asks
	return nil
}

// setConfig gives the plugin the case's config, as a host would.
func (b *pluginBench) setConfig(ctx context.Context) config.Problems {
	var problems config.Problems
	for _, bad := range b.plugin.Manifest().CheckConfig(b.config.JSON) {
		text := bad.Text
		if bad.Pointer != "" {
			text = bad.Pointer + ": " + text
		}
		problems = append(problems, config.Problem{Pos: b.config.PosOf(bad.Pointer), Text: "the config: " + text})
	}
	if len(problems) > 0 {
		return problems
	}
	failed := b.plugin.SetConfigs(ctx, map[string]sandbox.Config{benchApp: {JSON: b.config.JSON, ID: b.config.ID}})
	if err := failed[benchApp]; err != nil {
		return config.Problems{{Pos: b.config.Pos, Text: "the config: " + callText(err)}}
	}
	return nil
}

// callText is what a plugin's error says, without its name.
func callText(err error) string {
	if ce := (*sandbox.CallError)(nil); errors.As(err, &ce) {
		return ce.Text()
	}
	return err.Error()
}

func (b *pluginBench) close(ctx context.Context) error {
	var err error
	if b.plugin != nil {
		err = b.plugin.Close(ctx)
	}
	return errors.Join(err, b.bench.close(ctx))
}

// handle gives the plugin an event at a time. What the event leaves out is filled
// in as a host does.
func (b *pluginBench) handle(ctx context.Context, now time.Time, ev *hostapi.Event) (sandbox.Result, error) {
	b.clock.set(now)
	b.sent++
	if ev.ID == "" {
		ev.ID = fmt.Sprintf("%032x", b.sent)
	}
	ev.App, ev.AppID, ev.AppType = benchApp, "wx0000000000000000", string(config.Official)
	ev.Origin = cmp.Or(ev.Origin, string(config.OriginWeChat))
	ev.Attempt = max(ev.Attempt, 1)
	calls := &eventCalls{capabilities: b.asks}
	call := sandbox.Call{Event: ev, Attrs: ev.Attrs, Reply: ev.Reply, Passive: true, API: calls, Fetch: calls}
	return b.plugin.Handle(ctx, &call)
}
