package server

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/pipeline"
)

// units are the root file and what it includes, each a unit of its own: a broken
// one keeps its last accepted version, in this process and over a restart. It is
// used by one goroutine at a time, its status by any.
type units struct {
	file     string                                 // of the root
	reading  *reading                               // of the files this time
	kept     *keptFolder                            // what was accepted before the start is read from it, and what is accepted is kept in it
	accepted map[string]*version                    // by name: the last that served; the root's has no name
	goods    goodConfigs                            // of apps that serve, or did; nil: not restored yet
	before   []acceptedConfig                       // to restore them from, until the first selection is accepted
	serving  *selection                             // nil before the first
	discard  func(ctx context.Context, a *assembly) // closes an assembly that serves nothing
	states   map[string]unitState
	status   atomic.Pointer[[]unitStatus]
}

// selection is a version of each unit that serve together, assembled.
type selection struct {
	assembly *assembly
	root     *version
	units    []*candidate         // the included ones, by name
	absent   []config.SalvagedApp // apps that the files have and that can't be served
	leftOut  bool                 // there are more files than are read
	problems config.Problems      // what is wrong in what was not taken
}

// assembler makes an assembly of a configuration that was parsed without errors;
// it returns what is wrong, too.
// The error is what has nothing to do with the configuration.
type assembler func(ctx context.Context, cfg *config.Config, root *version) (*assembly, config.Problems, error)

// settle finds, of a reading, the newest versions that can serve together. Each unit begins with
// what its file has now; one that has errors falls back to its accepted version,
// and is left out where it has none, or where that has errors, too. A root that
// breaks an accepted unit is refused for that. Where no root can serve, the
// selection is nil and the problems are the roots'.
//
// The caller closes the selection's assembly.
func (u *units) settle(ctx context.Context, r *reading, assemble assembler) (*selection, config.Problems, error) {
	u.reading = r
	var refused config.Problems
	newest := r.newest
	switch err := r.err; {
	case err != nil && u.accepted[""] == nil:
		return nil, nil, err
	case err != nil:
		refused = config.Problems{{Pos: config.Pos{File: u.file}, Text: err.Error()}}
	}
	for _, root := range []*version{newest, u.accepted[""]} {
		if root == nil {
			continue
		}
		s, problems, err := u.try(ctx, root, root == newest, assemble)
		if err != nil {
			return nil, nil, err
		}
		if s != nil {
			s.problems = append(refused, s.problems...)
			s.absent = s.notServed(newest)
			sortProblems(u.file, s.problems)
			return s, nil, nil
		}
		for _, p := range problems {
			if !slices.Contains(refused, p) { // the accepted root may have the same, such as a secret that is gone
				refused = append(refused, p)
			}
		}
	}
	return nil, refused, nil
}

// try looks for versions of the included units that serve with a root. Where
// there are none it says why.
func (u *units) try(ctx context.Context, root *version, newest bool, assemble assembler) (*selection, config.Problems, error) {
	r, problems := u.round(root, newest)
	if len(problems) > 0 {
		return nil, problems, nil
	}
	for { // each time at least one unit falls back
		a, problems, err := r.assemble(ctx, assemble)
		wrong := slices.DeleteFunc(slices.Clone(problems), func(p config.Problem) bool { return p.Warning })
		if err == nil && len(wrong) == 0 {
			a.problems = append(slices.Clip(r.warnings), problems...)
			return r.selection(a), nil, nil
		}
		if a != nil {
			u.discard(ctx, a)
		}
		if err != nil {
			return nil, nil, err
		}
		if why := r.blame(wrong); why != nil {
			return nil, why, nil
		}
	}
}

func (r *round) selection(a *assembly) *selection {
	s := &selection{assembly: a, root: r.root, units: r.candidates, leftOut: len(r.leftOut) > 0, problems: slices.Clone(r.leftOut)}
	for _, c := range r.candidates {
		s.problems = append(s.problems, c.problems...)
	}
	s.problems = append(s.problems, a.appProblems()...)
	return s
}

// notServed lists the apps that stand in a version that was not taken, or that
// was taken once, as far as they can be told, and that nothing serves.
func (s *selection) notServed(newest *version) []config.SalvagedApp {
	var all []config.SalvagedApp
	salvage := func(v *version) {
		if v != nil {
			all = append(all, config.Salvage(v.unit.file, v.src, v.options()).Apps...)
		}
	}
	if newest != s.root {
		salvage(newest)
	}
	for _, c := range s.units {
		if c.current == c.newest && c.current != nil {
			continue
		}
		salvage(c.newest)
		if c.current == nil {
			salvage(c.accepted)
		}
	}
	served := make(map[string]bool, len(s.assembly.cfg.Apps))
	for _, a := range s.assembly.cfg.Apps {
		served[a.Name] = true
	}
	return slices.DeleteFunc(all, func(a config.SalvagedApp) bool {
		double := served[a.Name]
		served[a.Name] = true
		return double
	})
}

// outOfService are the apps that can't be served for the time being; others: a
// unit is left out, of whose apps nobody knows all.
func (s *selection) outOfService() (apps []string, others bool) {
	for name := range s.assembly.broken {
		apps = append(apps, name)
	}
	for _, a := range s.absent {
		apps = append(apps, a.Name)
	}
	return apps, s.leftOut || len(present(s.units)) < len(s.units)
}

// usesLayer tells whether a layer of state is one of a shadow that serves, or may
// be of a unit that is left out for the time being: its line has not gone.
func (s *selection) usesLayer() func(pipeline.Layer) bool {
	serving, leftOut := s.assembly.set.Layers(), s.leftOut
	var absent []string
	for _, c := range s.units {
		if c.current == nil {
			absent = append(absent, c.unit.name)
		}
	}
	return func(l pipeline.Layer) bool {
		return leftOut || slices.Contains(serving, l) || slices.ContainsFunc(absent, func(unit string) bool { return config.InUnit(l.Pipeline, unit) })
	}
}

// sameAs tells whether two selections serve the same, and have the same fault with
// it.
func (s *selection) sameAs(other *selection) bool {
	if other == nil || !s.root.same(other.root) || !maps.Equal(s.assembly.digests(), other.assembly.digests()) || !slices.Equal(s.absent, other.absent) {
		return false
	}
	return slices.Equal(s.assembly.appProblems(), other.assembly.appProblems()) &&
		slices.EqualFunc(present(s.units), present(other.units), (*version).same)
}

func present(units []*candidate) []*version {
	var all []*version
	for _, c := range units {
		if c.current != nil {
			all = append(all, c.current)
		}
	}
	return all
}
