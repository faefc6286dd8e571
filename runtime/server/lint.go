package server

import (
	"fmt"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/wechat"
)

// longTimeout is the default of a plugin's timeout. What only computes has spent
// its fuel by then: a plugin that is given more may wait.
const longTimeout = time.Second

// facts is what the pipelines are linted by. A plugin that didn't load is left
// out.
func (a *assembly) facts() pipeline.Facts {
	words := wechat.Catalogue()
	facts := pipeline.Facts{
		MsgTypes: words.MsgTypes, Events: words.Events, InfoTypes: words.InfoTypes, Answered: words.Answered,
		Plugins: make(map[string]pipeline.PluginFacts, len(a.plugins)),
	}
	for name, p := range a.plugins {
		m, timeout := p.Manifest(), p.Limits().Timeout
		facts.Plugins[name] = pipeline.PluginFacts{
			Wants: m.Wants, Messages: m.Messages, Events: m.Events,
			Timeout: timeout, Waits: timeout > longTimeout,
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
		if loaded == nil || !p.Grants.State {
			continue
		}
		if _, declared := loaded.Manifest().Capabilities["state"]; !declared {
			found = append(found, config.Problem{
				Pos: p.Pos, Warning: true, Text: fmt.Sprintf("plugin %s: the grant state has no effect: its manifest doesn't declare it", p.Name),
				Advice: "leave it out",
			})
		}
	}
	return found
}

// Ceiling bounds the calls of a plugin that may wait: where each takes its whole
// timeout, so many instances do Instances / Timeout calls a second.
type Ceiling struct {
	Pos       config.Pos // of the plugin
	Plugin    string
	Instances int           // at once
	Timeout   time.Duration // of one call
	EachApp   bool          // so many in each app
}

// PerSecond is how many calls that are a second.
func (c Ceiling) PerSecond() float64 { return float64(c.Instances) / c.Timeout.Seconds() }

// ceilings lists those of the plugins that apps use and that may wait.
func (a *assembly) ceilings() []Ceiling {
	var all []Ceiling
	for _, p := range a.cfg.Plugins {
		loaded := a.plugins[p.Name]
		if loaded == nil || len(p.Apps) == 0 || loaded.Limits().Timeout <= longTimeout {
			continue
		}
		l := loaded.Limits()
		all = append(all, Ceiling{
			Pos: p.Pos, Plugin: p.Name, Instances: l.Instances, Timeout: l.Timeout,
			EachApp: p.Isolation == config.IsolationApp,
		})
	}
	return all
}
