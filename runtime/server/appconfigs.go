package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// lastGood finds the config that a plugin last took for an app.
type lastGood func(app, plugin string) (sandbox.Config, bool)

// setConfigs checks each app's config of each plugin, by the schema first and
// then by the plugin's own weft_check, and gives the good ones to the plugin. An
// app whose config is bad has the last good one; it is broken where there is none
// or where that is bad, too.
func (a *assembly) setConfigs(ctx context.Context, last lastGood) {
	for _, p := range a.cfg.Plugins {
		if loaded := a.plugins[p.Name]; loaded != nil {
			a.setConfigsOf(ctx, p, loaded, last)
		}
	}
}

func (a *assembly) setConfigsOf(ctx context.Context, p *config.Plugin, loaded *sandbox.Plugin, last lastGood) {
	wrong := map[string]config.Problems{} // by app
	good := make(map[string]sandbox.Config, len(p.Apps))
	for _, app := range p.Apps {
		pc := app.Configs[p.Name]
		wrong[app.Name] = checkConfig(app, p, loaded)
		if len(wrong[app.Name]) == 0 && len(pc.Unknown) == 0 {
			good[app.Name] = sandbox.Config{JSON: pc.JSON, ID: pc.ID}
		}
	}
	failed := loaded.SetConfigs(ctx, good)
	for _, app := range p.Apps {
		if err := failed[app.Name]; err != nil {
			wrong[app.Name] = config.Problems{configProblem(app, p, app.Configs[p.Name].Pos, refusalText(err))}
			delete(good, app.Name)
		}
	}
	earlier := map[string]sandbox.Config{}
	for _, app := range p.Apps {
		if len(wrong[app.Name]) == 0 {
			continue
		}
		a.badConfigs[appPlugin{app.Name, p.Name}] = true
		if last == nil {
			continue
		}
		if c, ok := last(app.Name, p.Name); ok && len(loaded.Manifest().CheckConfig(c.JSON)) == 0 {
			earlier[app.Name] = c
		}
	}
	if len(earlier) > 0 {
		maps.Copy(good, earlier)
		failed = loaded.SetConfigs(ctx, good)
	}
	for _, app := range p.Apps {
		_, replaced := earlier[app.Name]
		err := failed[app.Name]
		switch {
		case replaced && err == nil:
			a.replaced = append(a.replaced, wrong[app.Name]...)
		case replaced:
			wrong[app.Name] = append(wrong[app.Name], configProblem(app, p, app.Configs[p.Name].Pos, "its last good one: "+refusalText(err)))
		case len(wrong[app.Name]) == 0 && err != nil: // which it was not a moment ago
			a.badConfigs[appPlugin{app.Name, p.Name}] = true
			wrong[app.Name] = config.Problems{configProblem(app, p, app.Configs[p.Name].Pos, refusalText(err))}
		}
		if !replaced || err != nil {
			a.breakApp(app.Name, wrong[app.Name])
		}
	}
}

// checkConfig checks an app's config of a plugin by the plugin's schema. Of one
// with values that noEnv left open only the others are checked.
func checkConfig(app *config.App, p *config.Plugin, loaded *sandbox.Plugin) config.Problems {
	pc := app.Configs[p.Name]
	bad := slices.DeleteFunc(loaded.Manifest().CheckConfig(pc.JSON), func(b manifest.ConfigProblem) bool { return pc.Open(b.Pointer) })
	var problems config.Problems
	for _, b := range bad {
		text := b.Text
		if b.Pointer != "" {
			text = b.Pointer + ": " + text
		}
		problems = append(problems, configProblem(app, p, pc.PosOf(b.Pointer), text))
	}
	return problems
}

func configProblem(app *config.App, p *config.Plugin, pos config.Pos, text string) config.Problem {
	return config.Problem{Pos: pos, Text: fmt.Sprintf("config of plugin %s for app %s: %s", p.Name, app.Name, text)}
}

// refusalText is what a plugin said against a config.
func refusalText(err error) string {
	if ce := (*sandbox.CallError)(nil); errors.As(err, &ce) {
		return ce.Text()
	}
	return err.Error()
}

func (a *assembly) breakApp(app string, problems config.Problems) {
	if len(problems) > 0 {
		a.broken[app] = append(a.broken[app], problems...)
	}
}

// appProblems lists what is wrong with single apps, in the order of the file,
// then what was replaced.
func (a *assembly) appProblems() config.Problems {
	var ps config.Problems
	for _, app := range a.cfg.Apps {
		ps = append(ps, a.broken[app.Name]...)
	}
	return append(ps, a.replaced...)
}

// digests are the SHA-256 of the plugins' modules in hex, by plugin.
func (a *assembly) digests() map[string]string {
	all := make(map[string]string, len(a.plugins))
	for name, p := range a.plugins {
		all[name] = p.Digest()
	}
	return all
}
