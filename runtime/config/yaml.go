package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// nodeKind is the form of a node.
type nodeKind uint8

const (
	scalar nodeKind = iota
	list
	mapping
)

func (k nodeKind) String() string {
	return [...]string{"a single value", "a list", "a mapping"}[k]
}

// Tags of scalars, as YAML resolves them.
const (
	tagNull  = "!!null"
	tagBool  = "!!bool"
	tagInt   = "!!int"
	tagFloat = "!!float"
	tagStr   = "!!str"
	tagMerge = "!!merge"
)

// node is a value of the file, with aliases followed and ${…} expanded.
type node struct {
	pos  Pos
	from Pos // where to point when something is missing in it: its key, else pos
	kind nodeKind

	tag      string // scalar
	text     string // scalar
	source   string // scalar, as it stands in the file
	plain    bool   // scalar without quotes
	comment  string // what follows a plain scalar on its line
	expanded bool   // text holds something that is not in the file: never shown
	unknown  bool   // what it is can't be told; no check complains about it

	items   []*node // list
	entries []entry // mapping, in the order of the file, each key once
}

// entry is a key and its value.
type entry struct {
	key   string
	pos   Pos // of the key
	value *node
}

// isNull tells whether nothing stands there.
func (n *node) isNull() bool { return n.kind == scalar && n.tag == tagNull && !n.unknown }

// get returns the value of a key, nil where there is none.
func (n *node) get(key string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// at returns the place of a key's value, else of n itself.
func (n *node) at(key string) Pos {
	if v := n.get(key); v != nil {
		return v.pos
	}
	return n.from
}

// lastLine is the line of the last value in n, aliases followed.
func (n *node) lastLine() int {
	last := n.pos.Line
	for _, item := range n.items {
		last = max(last, item.lastLine())
	}
	for _, e := range n.entries {
		last = max(last, e.pos.Line, e.value.lastLine())
	}
	return last
}

// shown is the scalar's text for an error: never an expanded value.
func (n *node) shown() string {
	if n.expanded {
		return "the expanded value"
	}
	return show(n.text)
}

// reader turns yaml's nodes into ours, within the limits.
type reader struct {
	d      *decoder
	values int
	bytes  int
	full   bool // a limit is reached, and said
}

// readYAML reads the one document of a file, nil where that is not possible.
func (d *decoder) readYAML(src []byte) *node {
	doc := d.parse(src)
	if doc == nil {
		return nil
	}
	r := &reader{d: d}
	root := r.node(doc, 1)
	d.used.values += r.values
	d.used.text += r.bytes
	if r.full {
		return nil
	}
	return root
}

// parse parses the one document of a file, nil where that is not possible.
func (d *decoder) parse(src []byte) *yaml.Node {
	if len(src) > MaxFile {
		d.addAt(Pos{File: d.file}, fmt.Sprintf("the file has %d bytes, over %d", len(src), MaxFile), "")
		return nil
	}
	if pos, text := badRune(src); text != "" {
		pos.File = d.file
		d.addAt(pos, text, "save the file as UTF-8 text")
		return nil
	}
	d.lines = 1
	for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		d.lines += bytes.Count(src, []byte(end))
	}
	doc, second, err := documents(src)
	switch {
	case err != nil:
		d.syntax(src, err)
		return nil
	case doc == nil || len(doc.Content) != 1:
		d.addAt(Pos{File: d.file, Line: 1, Col: 1}, "the file is empty", "it begins with weft: 1")
		return nil
	case second != nil:
		d.addAt(d.place(second), "a second document begins here", "a file holds one document")
	}
	return doc.Content[0]
}

// documents returns the first two documents of a file, nil where there are none.
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

// place is where n stands; yaml puts nothing at all behind the last line.
func (d *decoder) place(n *yaml.Node) Pos {
	return Pos{File: d.file, Line: min(max(n.Line, 1), d.lines), Col: max(n.Column, 1)}
}

// node converts n, and what is below it.
func (r *reader) node(n *yaml.Node, depth int) *node {
	pos := r.d.place(n)
	if !r.within(pos, n, depth) {
		return &node{pos: pos, from: pos, unknown: true}
	}
	out := &node{pos: pos, from: pos}
	if n.Style&yaml.TaggedStyle != 0 {
		r.d.addAt(pos, "a tag (!) is not allowed", "quote a value that begins with !")
		out.unknown = true
		return out
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.node(n.Alias, depth+1)
	case yaml.SequenceNode:
		out.kind = list
		for _, c := range n.Content {
			out.items = append(out.items, r.node(c, depth+1))
		}
	case yaml.MappingNode:
		out.kind = mapping
		r.entries(out, n, depth)
	default:
		r.scalar(out, n)
	}
	return out
}

// within counts n and says once where a limit is reached.
func (r *reader) within(pos Pos, n *yaml.Node, depth int) bool {
	r.values++
	r.bytes += len(n.Value)
	text := ""
	switch {
	case r.full:
	case depth > MaxDepth:
		text = fmt.Sprintf("is nested deeper than %d", MaxDepth)
	case r.values > MaxValues:
		text = fmt.Sprintf("has more than %d values", MaxValues)
	case r.bytes > MaxText:
		text = fmt.Sprintf("has more than %d bytes of text", MaxText)
	case r.d.used.values+r.values > MaxAllValues:
		text = fmt.Sprintf("and those before it have more than %d values", MaxAllValues)
	case r.d.used.text+r.bytes > MaxAllText:
		text = fmt.Sprintf("and those before it have more than %d bytes of text", MaxAllText)
	default:
		return true
	}
	if !r.full {
		r.d.addAt(pos, "the file "+text, "aliases count each time they are used")
		r.full = true
	}
	return false
}

// entries converts the keys and values of a mapping.
func (r *reader) entries(out *node, n *yaml.Node, depth int) {
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && !r.full; i += 2 {
		k, pos := n.Content[i], r.d.place(n.Content[i])
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		value := r.node(n.Content[i+1], depth+1)
		value.from = pos
		tag := k.ShortTag()
		switch line, double := first[k.Value]; {
		case k.Kind != yaml.ScalarNode || tag != tagStr && tag != tagMerge || k.Style&yaml.TaggedStyle != 0:
			r.d.addAt(pos, "a key that is not a plain text", "quote it")
		case tag == tagMerge:
			r.d.addAt(pos, "merge keys (<<) are not supported", "write the keys out")
		case double:
			r.d.addAt(pos, fmt.Sprintf("key %s stands here twice, first on line %d", show(k.Value), line), "keep one")
		default:
			first[k.Value] = pos.Line
			r.bytes += len(k.Value)
			out.entries = append(out.entries, entry{key: k.Value, pos: pos, value: value})
		}
	}
}

// scalar takes over a scalar and expands it.
func (r *reader) scalar(out *node, n *yaml.Node) {
	out.plain = n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	if out.plain {
		out.comment = n.LineComment
	}
	ex := r.d.expand.scalar(n.Value)
	for _, p := range ex.problems {
		r.d.addAt(out.pos, p.text, p.advice)
	}
	out.source = n.Value
	out.text, out.expanded, out.unknown = ex.text, ex.expanded, ex.unknown || len(ex.problems) > 0
	r.bytes += max(0, len(ex.text)-len(n.Value))
	out.tag = tagStr
	if out.plain {
		out.tag = resolve(out.text)
	}
}

// resolve returns the tag that YAML gives to a scalar without quotes.
func resolve(text string) string {
	n := yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if tag := n.ShortTag(); tag != tagMerge {
		return tag
	}
	return tagStr
}

// badRune finds the first thing that no YAML file may hold.
func badRune(src []byte) (Pos, string) {
	line, col := 1, 1
	for i := 0; i < len(src); {
		c, size := utf8.DecodeRune(src[i:])
		pos := Pos{Line: line, Col: col}
		switch {
		case c == utf8.RuneError && size <= 1:
			return pos, "broken UTF-8"
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f, c >= 0x80 && c < 0xa0 && c != 0x85,
			c == 0xfffe, c == 0xffff, c == 0xfeff && i > 0:
			return pos, fmt.Sprintf("character U+%04X is not allowed", c)
		}
		i += size
		col++
		if c == '\n' {
			line, col = line+1, 1
		}
	}
	return Pos{}, ""
}

// syntax notes an error of the YAML itself, which ends the reading.
func (d *decoder) syntax(src []byte, err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		var number string
		number, text, _ = strings.Cut(rest, ": ")
		line, _ = strconv.Atoi(number) // 0, and then 1, where it is none
	}
	advice := ""
	if strings.HasPrefix(text, "unknown anchor") { // its name may be a value without quotes
		text, advice = "an alias (*) of nothing", "quote a value that begins with *"
	}
	lines := bytes.SplitAfter(src, []byte("\n"))
	line = min(max(line, 1), len(lines))
	if len(src) <= maxSearched {
		line = failingLine(lines, err)
	}
	body := lines[line-1]
	pos := Pos{File: d.file, Line: line, Col: 1 + len(body) - len(bytes.TrimLeft(body, " "))}
	if bytes.ContainsRune(body[:len(body)-len(bytes.TrimLeft(body, " \t"))], '\t') {
		advice = "indent with blanks, not with tabs"
	}
	for _, near := range lines[max(0, line-2):line] {
		switch {
		case unquotedWhen().Match(near):
			advice = "quote it: when: '…'"
		case advice != "":
		case bareReference().Match(near):
			advice = "between { } and [ ], ${…} needs quotes"
		default:
			advice = fullWidth(near)
		}
	}
	d.addAt(pos, "not YAML: "+text, advice)
}

// maxSearched is how many bytes a file may have for failingLine to be used.
const maxSearched = 128 << 10

// failingLine finds the line that makes the file fail with err, because yaml
// says only where the value begins that the line is in: it is the last line of
// the shortest beginning of the file that fails with the same words.
func failingLine(lines [][]byte, err error) int {
	n := sort.Search(len(lines)-1, func(i int) bool {
		_, _, e := documents(bytes.Join(lines[:i+1], nil))
		return e != nil && e.Error() == err.Error()
	})
	return n + 1
}

// fullWidth is the advice for a line where a Chinese keyboard's sign stands in the
// place of one of YAML's; "" where none does. In texts they are as good as any.
func fullWidth(line []byte) string {
	switch {
	case regexp.MustCompile(`(?:^|[{,])[ \t]*(?:- +)?[\w-]+：`).Match(line):
		return fullWidthColon
	case regexp.MustCompile(`[\w"'}\]]，[ \t]*[\w-]+[:：]`).Match(line):
		return "， is a full-width comma: write , and a blank"
	}
	return ""
}

const (
	fullWidthColon = "： is a full-width colon: write : and a blank"
	fullWidthBlank = "the line begins with a full-width blank, U+3000: indent with blanks"
)

// unquotedWhen matches a line with a `when` that has no quotes.
func unquotedWhen() *regexp.Regexp {
	return regexp.MustCompile(`\bwhen:[ \t]+(?:[^'"|> \t]|"[^"]*"[ \t]*[^ \t,}#])`)
}

// bareReference matches a line with a ${…} that has no quotes.
func bareReference() *regexp.Regexp { return regexp.MustCompile(`[{\[,:][ \t]*\$\{`) }
