package server

import (
	"context"
	"slices"

	"github.com/weft-dev/weft/runtime/config"
)

// round is the search for versions of the included units that serve with one
// root.
type round struct {
	root       *version
	old        *version // the accepted root, where the change to root may not break accepted units; else nil
	candidates []*candidate
	problems   config.Problems // warnings of the reading
}

// candidate is an included unit on the way to a selection.
type candidate struct {
	unit     includedFile
	newest   *version // nil where the file can't be read
	accepted *version // nil where there is none
	current  *version // that is tried; nil: the unit is left out
	problems config.Problems
}

// round reads what a root includes. Problems with an error in them are the root's.
func (u *units) round(root *version, newest bool) (*round, config.Problems) {
	found, problems := findIncluded(u.file, config.Includes(u.file, root.src, root.options()), u.reading.from)
	for i := range problems {
		if problems[i].Pos.File != u.file { // a file too many doesn't hold up the others
			problems[i].Warning = true
		}
	}
	r := &round{root: root, problems: problems}
	if newest {
		r.old = u.accepted[""]
	}
	left := config.MaxFiles - len(root.src)
	for _, f := range found {
		c := &candidate{unit: f, accepted: u.accepted[f.name]}
		r.candidates = append(r.candidates, c)
		src, err := f.read(int64(max(0, min(config.MaxFile, left)))+1, u.reading.from)
		if err != nil {
			c.fallBack(config.Problems{{Pos: config.Pos{File: f.file}, Text: err.Error()}}, c.accepted)
			continue
		}
		if len(src) <= left {
			left -= len(src)
		}
		c.newest = newVersion(f, src, u.reading)
		c.current = c.newest
	}
	return r, problems
}

// parse reads the sources of the root and of the candidates' current versions.
func (r *round) parse() (*config.Config, config.Problems) {
	var sources []config.Source
	for _, c := range r.candidates {
		if c.current != nil {
			sources = append(sources, c.current.source())
		}
	}
	return config.Parse(r.root.unit.file, r.root.src, r.root.options(), sources...)
}

// assemble tries the candidates' current versions. The assembly is nil where the
// sources have errors; the problems are all that was found.
func (r *round) assemble(ctx context.Context, assemble assembler) (*assembly, config.Problems, error) {
	cfg, problems := r.parse()
	if cfg == nil {
		return nil, problems, nil
	}
	a, more, err := assemble(ctx, cfg, r.root)
	return a, append(problems, more...), err
}

// blame has the units that have errors fall back. It returns why the root is not
// taken, where it is the root's turn.
func (r *round) blame(wrong config.Problems) config.Problems {
	byFile := map[string]config.Problems{}
	for _, p := range wrong {
		byFile[p.Pos.File] = append(byFile[p.Pos.File], p)
	}
	var blamed []*candidate
	for _, c := range r.candidates {
		if byFile[c.unit.file] != nil {
			blamed = append(blamed, c)
		}
	}
	if len(blamed) < len(byFile) { // then others are the root's
		return slices.DeleteFunc(wrong, func(p config.Problem) bool {
			return slices.ContainsFunc(blamed, func(c *candidate) bool { return c.unit.file == p.Pos.File })
		})
	}
	for _, c := range blamed {
		problems := byFile[c.unit.file]
		switch {
		case c.changed():
			c.fallBack(problems, c.accepted)
		case c.accepted == nil:
			c.fallBack(problems, nil)
		case r.blameOther(problems):
		case r.breaks(c):
			return r.refusal(c, problems)
		default:
			c.fallBack(problems, nil)
		}
	}
	return nil
}

// refusal says why a root that breaks an accepted unit is not taken.
func (r *round) refusal(c *candidate, problems config.Problems) config.Problems {
	var why config.Problems
	for _, p := range problems {
		pos := config.Pos{File: r.root.unit.file}
		if p.Other.File == pos.File {
			pos = p.Other
		}
		text := "the change is refused: it breaks " + c.unit.file + ", which was accepted: " + p.Pos.String() + ": " + p.Text
		why = append(why, config.Problem{Pos: pos, Other: p.Pos, Text: text, Advice: p.Advice})
	}
	return why
}

// changed tells whether the file has something else than what was accepted, and
// that is what is tried.
func (c *candidate) changed() bool {
	return c.accepted != nil && c.current == c.newest && !c.newest.same(c.accepted)
}

// fallBack has another version tried; why is what is wrong with the one before.
func (c *candidate) fallBack(why config.Problems, to *version) {
	c.problems = append(c.problems, why...)
	c.current = to
}

// blameOther has units fall back whose change clashes with a unit that has not
// changed. It tells whether there is one.
func (r *round) blameOther(problems config.Problems) bool {
	found := false
	for _, p := range problems {
		for _, c := range r.candidates {
			if c.unit.file != p.Other.File || c.current == nil || c.accepted != nil && !c.changed() {
				continue
			}
			c.fallBack(config.Problems{{Pos: p.Other, Other: p.Pos, Text: "it clashes with what was accepted: " + p.Pos.String() + ": " + p.Text, Advice: p.Advice}}, c.accepted)
			found = true
		}
	}
	return found
}

// breaks tells whether a unit's accepted version has errors with the new root, and
// had none with the accepted one.
func (r *round) breaks(c *candidate) bool {
	if r.old == nil || r.root.same(r.old) {
		return false
	}
	wrong := func(root *version) bool {
		_, problems := config.Parse(root.unit.file, root.src, root.options(), c.accepted.source())
		return slices.ContainsFunc(problems, func(p config.Problem) bool { return !p.Warning && p.Pos.File == c.unit.file })
	}
	return wrong(r.root) && !wrong(r.old)
}
