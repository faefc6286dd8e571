package server

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"

	"github.com/weft-dev/weft/runtime/config"
)

// openUnits makes the units of a host that starts, with what was accepted before.
// Of that it says what can't be used.
func openUnits(r *reading) (*units, config.Problems) {
	file := r.file
	u := &units{file: file, reading: r, accepted: map[string]*version{}}
	var problems config.Problems
	for _, dir := range r.dataFolders() {
		k := &keptFolder{dir: filepath.Join(dir, keptName)}
		state, err := k.load()
		if err != nil {
			problems = append(problems, u.notKept("", err))
		}
		if state == nil || state.Root != filepath.Base(file) {
			continue
		}
		u.kept, u.before = k, state.Configs
		for _, kept := range state.Units {
			src, err := k.source(kept.Source)
			if err != nil {
				problems = append(problems, u.notKept(kept.Name, err))
				continue
			}
			u.accepted[kept.Name] = newVersion(includedFile{file: pathOf(file, kept.Name), name: kept.Name}, src, r)
		}
		if root := u.accepted[""]; root != nil {
			root.unit.file = file
			root.modules = map[string]string{}
			maps.Copy(root.modules, state.Modules)
		}
		break
	}
	return u, problems
}

// notKept is a warning: it matters only where the unit's file is broken.
func (u *units) notKept(name string, err error) config.Problem {
	file := u.file
	if name != "" {
		file = pathOf(u.file, name)
	}
	return config.Problem{Pos: config.Pos{File: file}, Warning: true, Text: "its last accepted version is lost: " + err.Error()}
}

// dataFolders are where server.data may be: what the root says, as far as it can
// be read, then the default.
func (r *reading) dataFolders() []string {
	byDefault := filepath.Join(filepath.Dir(r.file), "data")
	if r.newest == nil {
		return []string{byDefault}
	}
	if dir := config.Salvage(r.file, r.newest.src, r.newest.options()).Data; dir != "" && dir != byDefault {
		return []string{dir, byDefault}
	}
	return []string{byDefault}
}

// keepIn has what is accepted from now on be kept in a data folder.
func (u *units) keepIn(data string) {
	dir := filepath.Join(data, keptName)
	if u.kept == nil || filepath.Clean(u.kept.dir) != filepath.Clean(dir) {
		u.kept = &keptFolder{dir: dir, from: u.kept}
	}
}

// accept takes a selection that serves for what is fallen back to from now on, and
// keeps it for the next start. The error is that it could not be kept.
func (u *units) accept(s *selection) error {
	if len(u.before) > 0 || len(s.absent) > 0 {
		u.restoreGoods()
	}
	root := *s.root
	root.modules = s.assembly.digests()
	now := map[string]*version{"": &root}
	byFile := map[string]*version{}
	for _, c := range s.units {
		switch {
		case c.current != nil:
			now[c.unit.name], byFile[c.unit.file] = c.current, c.current
		case c.accepted != nil: // it may be good again
			now[c.unit.name] = c.accepted
		}
	}
	goods := goodConfigs{}
	for _, a := range s.absent {
		goods.copy(u.goods, a.Name)
	}
	for _, app := range s.assembly.cfg.Apps {
		goods.take(app, &root, byFile[app.Pos.File])
	}
	for key := range s.assembly.badConfigs {
		delete(goods, key)
		if last, ok := u.goods[key]; ok {
			goods[key] = last
		}
	}
	u.accepted, u.goods, u.before, u.serving = now, goods, nil, s
	return u.keep(s.assembly.cfg)
}

// keep writes down what is accepted.
func (u *units) keep(cfg *config.Config) error {
	state := &accepted{Root: filepath.Base(u.file), Modules: u.accepted[""].modules}
	contents := map[string][]byte{}
	add := func(v *version) string {
		contents[v.sum+keptSource] = v.src
		return v.sum
	}
	for _, name := range slices.Sorted(maps.Keys(u.accepted)) { // the root has none
		state.Units = append(state.Units, acceptedUnit{Name: name, Source: add(u.accepted[name])})
	}
	for key, c := range u.goods {
		if u.currentPlace(c) {
			continue
		}
		kept := acceptedConfig{App: key.app, Plugin: key.plugin, Root: add(c.root)}
		if c.unit != nil {
			kept.Unit, kept.Source = c.unit.unit.name, add(c.unit)
		}
		state.Configs = append(state.Configs, kept)
	}
	slices.SortFunc(state.Configs, func(a, b acceptedConfig) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Plugin, b.Plugin))
	})
	files := map[string]string{} // of modules, by the name that they are kept under
	for _, p := range cfg.Plugins {
		files[state.Modules[p.Name]+keptModule] = p.Source
	}
	return u.kept.save(state, func(name string) ([]byte, error) {
		if b, ok := contents[name]; ok {
			return b, nil
		}
		return u.kept.takeModule(name, files[name])
	})
}

// currentPlace tells whether a config is the one that the accepted sources have.
func (u *units) currentPlace(c goodConfig) bool {
	if c.root.sum != u.accepted[""].sum {
		return false
	}
	if c.unit == nil {
		return true
	}
	v := u.accepted[c.unit.unit.name]
	return v != nil && v.sum == c.unit.sum
}
