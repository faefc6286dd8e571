package server

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// appPlugin is a plugin in an app.
type appPlugin struct{ app, plugin string }

// goodConfig is a config that a plugin accepted, and what it was merged in.
type goodConfig struct {
	sandbox.Config
	root, unit *version // unit is nil where the app stands in the root
}

// goodConfigs are the last that plugins accepted.
type goodConfigs map[appPlugin]goodConfig

// take notes the configs of an app's plugins in a configuration that was parsed
// from root and unit.
func (g goodConfigs) take(app *config.App, root, unit *version) {
	for plugin, c := range app.Configs {
		g[appPlugin{app.Name, plugin}] = goodConfig{sandbox.Config{JSON: c.JSON, ID: c.ID}, root, unit}
	}
}

// copy takes over the configs of an app.
func (g goodConfigs) copy(from goodConfigs, app string) {
	for key, c := range from {
		if key.app == app {
			g[key] = c
		}
	}
}

// good returns the last config of a plugin for an app that the plugin accepted.
func (u *units) good(app, plugin string) (sandbox.Config, bool) {
	u.restoreGoods()
	c, ok := u.goods[appPlugin{app, plugin}]
	return c.Config, ok
}

// restoreGoods merges the configs again that were good before the start, out of
// the sources that were kept.
func (u *units) restoreGoods() {
	if u.goods != nil {
		return
	}
	u.goods = goodConfigs{}
	root := u.accepted[""]
	if root == nil {
		return
	}
	byFile := map[string]*version{}
	for _, v := range u.accepted {
		byFile[v.unit.file] = v
	}
	for _, app := range goodApps(root, u.accepted) {
		u.goods.take(app, root, included(byFile[app.Pos.File]))
	}
	for _, c := range u.before {
		u.takeGood(c)
	}
}

// included is nil for the root.
func included(v *version) *version {
	if v == nil || v.unit.name == "" {
		return nil
	}
	return v
}

// goodApps returns the apps of a root and those of the other versions that have
// no errors with it.
func goodApps(root *version, versions map[string]*version) []*config.App {
	var sources []config.Source
	for name, v := range versions {
		if name != "" {
			sources = append(sources, v.source())
		}
	}
	for {
		cfg, problems := config.Parse(root.unit.file, root.src, root.options(), sources...)
		if cfg != nil {
			return cfg.Apps
		}
		before := len(sources)
		sources = slices.DeleteFunc(sources, func(s config.Source) bool { return len(ofFile(problems, s.File)) > 0 })
		if len(sources) == before { // it is the root
			return nil
		}
	}
}

// takeGood merges a config of an app that served with another one than its unit
// has. Where that can't be done any more, there is none.
func (u *units) takeGood(c acceptedConfig) {
	key := appPlugin{c.App, c.Plugin}
	delete(u.goods, key)
	src, err := u.kept.source(c.Root)
	if err != nil {
		return
	}
	root := newVersion(includedFile{file: u.file}, src, u.reading)
	versions := map[string]*version{}
	var unit *version
	if c.Unit != "" {
		if src, err = u.kept.source(c.Source); err != nil {
			return
		}
		unit = newVersion(includedFile{file: pathOf(u.file, c.Unit), name: c.Unit}, src, u.reading)
		versions[c.Unit] = unit
	}
	for _, app := range goodApps(root, versions) {
		if good, ok := app.Configs[c.Plugin]; ok && app.Name == c.App {
			u.goods[key] = goodConfig{sandbox.Config{JSON: good.JSON, ID: good.ID}, root, unit}
		}
	}
}

// pathOf is the path of a file that the folder of root sees as name.
func pathOf(root, name string) string {
	path := filepath.FromSlash(name)
	if filepath.IsAbs(path) || strings.HasPrefix(name, "/") {
		return path
	}
	return filepath.Join(filepath.Dir(root), path)
}
