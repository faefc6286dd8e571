package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Bounds of a plugin.yaml beside MaxSize.
const (
	maxDepth    = 48
	maxValues   = 20_000
	maxProblems = 100
)

// reader collects what is wrong with a file.
type reader struct {
	problems []Problem
	values   int
}

func (r *reader) add(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: max(n.Line, 1), Col: max(n.Column, 1), Text: fmt.Sprintf(format, args...)})
}

// err returns the problems in the order of the file.
func (r *reader) err(file string) error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return &Error{File: file, Problems: r.problems[:min(len(r.problems), maxProblems)]}
}

// document reads the one document of a file, nil where that is not possible.
func (r *reader) document(src []byte) *yaml.Node {
	top := &yaml.Node{}
	if len(src) > MaxSize {
		r.add(top, "the manifest has %d bytes, over %d", len(src), MaxSize)
		return nil
	}
	first, second, err := documents(src)
	switch {
	case err != nil:
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		if rest, ok := strings.CutPrefix(text, "line "); ok {
			_, text, _ = strings.Cut(rest, ": ")
		}
		line := failingLine(src, err)
		if at := bytes.SplitAfter(src, []byte("\n"))[line-1]; bytes.ContainsRune(at[:len(at)-len(bytes.TrimLeft(at, " \t"))], '\t') {
			text += ": indent with blanks, not with tabs"
		}
		r.add(&yaml.Node{Line: line}, "not YAML: %s", text)
		return nil
	case first == nil || len(first.Content) != 1:
		r.add(top, "the manifest is empty")
		return nil
	case second != nil:
		r.add(second, "a second document begins here: a manifest is one")
	}
	r.strict(first.Content[0], 1)
	return first.Content[0]
}

// documents returns the first two documents, nil where there are none.
func documents(src []byte) (first, second *yaml.Node, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for _, at := range []**yaml.Node{&first, &second} {
		n := new(yaml.Node)
		switch err := dec.Decode(n); {
		case errors.Is(err, io.EOF):
			return first, second, nil
		case err != nil:
			return nil, nil, err
		}
		*at = n
	}
	return first, second, nil
}

// failingLine finds the last line of the shortest beginning that fails with err:
// yaml says only where the value begins that it was reading.
func failingLine(src []byte, err error) int {
	lines := bytes.SplitAfter(src, []byte("\n"))
	return 1 + sort.Search(len(lines)-1, func(i int) bool {
		_, _, e := documents(bytes.Join(lines[:i+1], nil))
		return e != nil && e.Error() == err.Error()
	})
}

// strict refuses what a manifest has no use for and readers stumble over:
// anchors, aliases, tags, merge keys, keys that are no text or stand twice.
func (r *reader) strict(n *yaml.Node, depth int) {
	r.values++
	switch {
	case depth > maxDepth || r.values > maxValues:
		if len(r.problems) < maxProblems {
			r.add(n, "the manifest has over %d values or is nested deeper than %d", maxValues, maxDepth)
		}
		n.Kind, n.Content = 0, nil
		return
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.add(n, "anchors and aliases are not supported: write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		r.add(n, "a tag (!) is not allowed: quote a value that begins with !")
	}
	if n.Kind == yaml.AliasNode {
		n.Kind, n.Alias = 0, nil
		return
	}
	seen := map[string]int{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			r.key(c, seen)
			continue
		}
		r.strict(c, depth+1)
	}
}

func (r *reader) key(k *yaml.Node, seen map[string]int) {
	line, double := seen[k.Value]
	switch {
	case k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 || k.ShortTag() != "!!str":
		r.add(k, "a key that is not a plain text: quote it")
	case double:
		r.add(k, "key %s stands here twice, first on line %d", show(k.Value), line)
	default:
		seen[k.Value] = k.Line
	}
}

// field is a key of a mapping and what reads its value.
type field struct {
	name     string
	required bool
	read     func(n *yaml.Node)
}

// fields reads a mapping with fixed keys.
func (r *reader) fields(n *yaml.Node, what string, fields []field) {
	if n.Kind != yaml.MappingNode {
		r.add(n, "%s must be a mapping", what)
		return
	}
	var names []string
	given := map[string]bool{}
	for _, f := range fields {
		names = append(names, f.name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := slices.Index(names, k.Value)
		switch {
		case at < 0:
			r.add(k, "unknown key %s in %s: it has %s", show(k.Value), what, strings.Join(names, ", "))
		case !given[k.Value]:
			given[k.Value] = true
			fields[at].read(v)
		}
	}
	for _, f := range fields {
		if f.required && !given[f.name] {
			r.add(n, "%s is missing in %s", f.name, what)
		}
	}
}

// each calls f for the keys and values of a mapping.
func (r *reader) each(n *yaml.Node, what string, f func(k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.add(n, "%s must be a mapping", what)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		f(n.Content[i], n.Content[i+1])
	}
}

// text reads a scalar of 1 to limit bytes.
func (r *reader) text(n *yaml.Node, what string, limit int) string {
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null":
		r.add(n, "%s must be a text", what)
	case n.Value == "" || len(n.Value) > limit:
		r.add(n, "%s must have 1 to %d bytes", what, limit)
	default:
		return n.Value
	}
	return ""
}

// boolean reads true or false.
func (r *reader) boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.add(n, "%s must be true or false", what)
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

// integer reads a whole number from low to high.
func (r *reader) integer(n *yaml.Node, what string, low, high int64) int64 {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || err != nil || v < low || v > high {
		if low == high {
			r.add(n, "%s must be %d", what, low)
		} else {
			r.add(n, "%s must be a whole number from %d to %d", what, low, high)
		}
		return 0
	}
	return v
}

// show quotes and cuts what an error repeats from the file.
func show(s string) string {
	if runes := []rune(s); len(runes) > 64 {
		s = string(runes[:64]) + "…"
	}
	return strconv.Quote(s)
}
