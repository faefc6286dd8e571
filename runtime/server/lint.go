package server

import (
	"fmt"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/identity"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/wechat"
)

// longTimeout is the default of a plugin's timeout. What only computes has spent
// its fuel by then: a plugin that is given more may wait.
const longTimeout = time.Second

// waits tells whether calls of a plugin may wait.
func waits(p *sandbox.Plugin) bool { return p.Waits() || p.Limits().Timeout > longTimeout }

// facts is what the pipelines are linted by. A plugin that didn't load is left
// out.
func (a *assembly) facts() pipeline.Facts {
	words := wechat.Catalogue()
	facts := pipeline.Facts{
		MsgTypes: words.MsgTypes, Events: words.Events, InfoTypes: words.InfoTypes, Answered: words.Answered,
		Own:     []string{identity.EventLogin, identity.EventPhone},
		Plugins: make(map[string]pipeline.PluginFacts, len(a.plugins)),
	}
	for name, p := range a.plugins {
		m, timeout := p.Manifest(), p.Limits().Timeout
		facts.Plugins[name] = pipeline.PluginFacts{
			Wants: m.Wants, Messages: m.Messages, Events: m.Events,
			Timeout: timeout, Waits: waits(p),
		}
	}
	return facts
}

// idleGrants warns of grants that their plugin doesn't ask for: they are not in
// force.
func (a *assembly) idleGrants() config.Problems {
	var found config.Problems
	for _, p := range a.cfg.Plugins {
		loaded := a.plugins[p.Name]
		if loaded == nil {
			continue
		}
		for _, g := range []struct {
			name    string
			granted bool
		}{{"state", p.Grants.State}, {"api", len(p.Grants.API) > 0}} {
			if _, declared := loaded.Manifest().Capabilities[g.name]; g.granted && !declared {
				found = append(found, config.Problem{
					Pos: p.Pos, Warning: true, Text: fmt.Sprintf("plugin %s: the grant %s has no effect: its manifest doesn't declare it", p.Name, g.name),
					Advice: "leave it out",
				})
			}
		}
	}
	return found
}

// Ceiling bounds the calls of a plugin, or the requests to an upstream, that may
// wait: where each takes its whole timeout, so many at once do AtOnce / Timeout a
// second.
type Ceiling struct {
	Pos      config.Pos    // of the plugin or the upstream
	Plugin   string        // "": it is an upstream's
	Upstream string        // "": it is a plugin's
	AtOnce   int           // instances, or connections
	Timeout  time.Duration // of one call or request
	EachApp  bool          // so many in each app
}

// PerSecond is how many that are a second.
func (c Ceiling) PerSecond() float64 { return float64(c.AtOnce) / c.Timeout.Seconds() }

// ceilings lists those of the plugins that apps use and that may wait, then those
// of the upstreams that apps use.
func (a *assembly) ceilings() []Ceiling {
	var all []Ceiling
	for _, p := range a.cfg.Plugins {
		loaded := a.plugins[p.Name]
		if loaded == nil || len(p.Apps) == 0 || !waits(loaded) {
			continue
		}
		l := loaded.Limits()
		all = append(all, Ceiling{
			Pos: p.Pos, Plugin: p.Name, AtOnce: l.Instances, Timeout: l.Timeout,
			EachApp: p.Isolation == config.IsolationApp,
		})
	}
	used := map[*config.Upstream]bool{}
	for _, p := range a.cfg.Plugins {
		for name, u := range p.Grants.Fetch {
			used[u] = used[u] || len(p.Apps) > 0
			for _, app := range p.Apps {
				if own := app.Upstreams[name]; own != nil {
					used[own] = true
				}
			}
		}
	}
	for _, app := range a.cfg.Apps {
		if app.Pipeline != nil {
			forwardedTo(app.Pipeline.Stages, used)
			forwardedTo(app.Pipeline.Always, used)
		}
	}
	for _, u := range a.cfg.Upstreams {
		if used[u] && !u.Open {
			all = append(all, Ceiling{Pos: u.Pos, Upstream: u.Name, AtOnce: u.Connections, Timeout: u.Timeout})
		}
	}
	return all
}

// forwardedTo notes the upstreams that stages forward to.
func forwardedTo(stages []*config.Stage, used map[*config.Upstream]bool) {
	for _, s := range stages {
		if s.Forward != nil {
			used[s.Forward.To] = true
		}
		for _, b := range s.Switch {
			forwardedTo(b.Stages, used)
		}
		forwardedTo(s.Parallel, used)
	}
}
