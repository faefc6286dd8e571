package server

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/config"
)

// round is the search for versions of the included units that serve with one
// root.
type round struct {
	root       *version
	old        *version // the accepted root, where the change to root may not break accepted units; else nil
	candidates []*candidate
	warnings   config.Problems // of the reading
	leftOut    config.Problems // of files that are too many
}

// candidate is an included unit on the way to a selection.
type candidate struct {
	unit     includedFile
	newest   *version // nil where the file can't be read
	accepted *version // nil where there is none
	current  *version // that is tried; nil: the unit is left out
	problems config.Problems
}

// round reads what a root includes. Problems are the root's.
func (u *units) round(root *version, newest bool) (*round, config.Problems) {
	patterns := config.Includes(u.file, root.src, root.options())
	found, problems := findIncluded(u.file, patterns, u.reading.from)
	r := &round{root: root}
	for _, p := range problems {
		switch {
		case p.Warning:
			r.warnings = append(r.warnings, p)
		case p.Pos.File != u.file:
			r.leftOut = append(r.leftOut, p)
		}
	}
	problems = slices.DeleteFunc(problems, func(p config.Problem) bool { return p.Warning || p.Pos.File != u.file })
	if newest {
		r.old = u.accepted[""]
	}
	left := config.MaxFiles - len(root.src)
	for _, f := range append(found, u.unseen(patterns, found)...) {
		c := &candidate{unit: f, accepted: u.accepted[f.name]}
		if c.accepted != nil {
			c.accepted.unit = f
		}
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
	slices.SortFunc(r.candidates, func(a, b *candidate) int { return strings.Compare(a.unit.name, b.unit.name) })
	return r, problems
}

// unseen are the accepted units that the patterns include and whose file is not
// seen, and not because it isn't there: a folder that can't be read takes no app
// out of service.
func (u *units) unseen(patterns []config.Include, found []includedFile) []includedFile {
	var all []includedFile
	for name, v := range u.accepted {
		if name == "" || slices.ContainsFunc(found, func(f includedFile) bool { return f.name == name }) {
			continue
		}
		_, err := u.reading.from.stat(v.unit.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if slices.ContainsFunc(patterns, func(p config.Include) bool {
			matches, err := filepath.Match(p.Pattern, v.unit.file)
			return err == nil && matches && !hidden(p.Pattern, v.unit.file)
		}) {
			all = append(all, v.unit)
		}
	}
	return all
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
		if c.current != nil && byFile[c.unit.file] != nil {
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
	return c.accepted != nil && c.newest != nil && c.current == c.newest && !c.newest.same(c.accepted)
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
