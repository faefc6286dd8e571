package config

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// configOverhead is what a PluginConfig takes beside its JSON, in bytes, about.
const configOverhead = 256

// appConfigs merges the app's `with` over the configs of the plugins that its
// pipeline uses.
func (d *decoder) appConfigs(a *appDecl, uses []*Plugin, plugins map[string]*pluginDecl) {
	if d.used.json > MaxConfigs { // said where it happened
		return
	}
	names := make([]string, len(uses))
	for i, p := range uses {
		names[i] = p.Name
	}
	with := make(map[string]entry, len(a.with))
	for _, e := range a.with {
		with[e.key] = e
		if !slices.Contains(names, e.key) {
			text := fmt.Sprintf("apps.%s.with: pipeline %s doesn't use plugin %s", show(a.Name), show(a.Pipeline.Name), show(e.key))
			d.addAt(e.pos, text, d.meant(e.key, names))
		}
	}
	a.Configs = make(map[string]PluginConfig, len(uses))
	for _, p := range uses {
		decl := plugins[p.Name]
		p.Apps = append(p.Apps, &a.App)
		c, err := d.pluginConfig(decl, with[p.Name])
		if err != nil {
			d.addAt(c.Pos, fmt.Sprintf("config of plugin %s for app %s: %v", show(p.Name), show(a.Name), err), "")
		}
		a.Configs[p.Name] = c
		if d.used.json > MaxConfigs {
			d.addAt(a.Pos, fmt.Sprintf("apps.%s: the configs of all apps' plugins together are over %d bytes", show(a.Name), MaxConfigs), "")
			return
		}
	}
}

// pluginConfig merges one plugin's config with what an app has over it.
func (d *decoder) pluginConfig(p *pluginDecl, with entry) (PluginConfig, error) {
	root, pos := &node{pos: p.Pos, from: p.Pos, kind: mapping}, p.Pos
	if p.config != nil {
		root, pos = p.config, p.config.from
	}
	if with.value != nil {
		root, pos = merge(root, with.value), with.pos
	}
	w := jsonWriter{max: MaxPluginConfig}
	w.value(root, "")
	c := PluginConfig{JSON: w.out, Pos: pos, Unknown: w.unknown, PosOf: func(pointer string) Pos { return find(root, pos, pointer) }}
	sum := sha256.Sum256(w.out)
	c.ID = binary.BigEndian.Uint64(sum[:8])
	d.used.json += len(w.out) + configOverhead
	if len(w.out) > w.max {
		return c, fmt.Errorf("over %d bytes of JSON", w.max)
	}
	return c, nil
}

// merge applies patch to target by RFC 7386 and returns the result, whose nodes
// keep their places. Neither is changed; target may be nil.
func merge(target, patch *node) *node {
	if patch.kind != mapping || patch.unknown {
		return patch
	}
	out := &node{pos: patch.pos, from: patch.from, kind: mapping}
	index := map[string]int{}
	if target != nil && target.kind == mapping {
		for _, e := range target.entries {
			index[e.key] = len(out.entries)
			out.entries = append(out.entries, e)
		}
	}
	for _, e := range patch.entries {
		i, there := index[e.key]
		switch {
		case e.value.isNull() && there:
			out.entries[i].value = nil
		case e.value.isNull():
		case there:
			e.value = merge(out.entries[i].value, e.value)
			out.entries[i] = e
		default:
			e.value = merge(nil, e.value)
			out.entries = append(out.entries, e)
		}
	}
	out.entries = slices.DeleteFunc(out.entries, func(e entry) bool { return e.value == nil })
	return out
}

// find returns the place of the value that a JSON pointer leads to, as far as it
// leads.
func find(n *node, pos Pos, pointer string) Pos {
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for _, part := range strings.Split(pointer, "/")[1:] {
		part = unescape.Replace(part)
		var next *node
		switch n.kind {
		case mapping:
			next = n.get(part)
		case list:
			if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(n.items) {
				next = n.items[i]
			}
		case scalar:
		}
		if next == nil {
			break
		}
		n, pos = next, next.pos
	}
	return pos
}

// jsonWriter writes a node as canonical JSON and stops soon after max bytes.
type jsonWriter struct {
	out     []byte
	max     int
	unknown []string // JSON pointers of values that are open
}

func (w *jsonWriter) value(n *node, pointer string) {
	switch {
	case len(w.out) > w.max:
	case n.unknown:
		w.unknown = append(w.unknown, pointer)
		if n.plain {
			w.out = append(w.out, "null"...)
		} else {
			w.out = append(w.out, `""`...)
		}
	case n.kind == list:
		w.out = append(w.out, '[')
		for i, item := range n.items {
			if i > 0 {
				w.out = append(w.out, ',')
			}
			w.value(item, pointer+"/"+strconv.Itoa(i))
		}
		w.out = append(w.out, ']')
	case n.kind == mapping:
		w.mapping(n, pointer)
	default:
		w.out = append(w.out, n.json()...)
	}
}

func (w *jsonWriter) mapping(n *node, pointer string) {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	sorted := slices.Clone(n.entries)
	slices.SortFunc(sorted, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	w.out = append(w.out, '{')
	for i, e := range sorted {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(appendJSONString(w.out, e.key), ':')
		w.value(e.value, pointer+"/"+escape.Replace(e.key))
	}
	w.out = append(w.out, '}')
}

// json returns a scalar as JSON. What checkJSON refuses is null.
func (n *node) json() string {
	switch n.tag {
	case tagNull:
		return "null"
	case tagBool:
		return strings.ToLower(n.text)
	case tagInt, tagFloat:
		if s, err := jsonNumber(n.text); err == nil {
			return s
		}
		return "null"
	}
	return string(appendJSONString(nil, n.text))
}

// checkJSON refuses what JSON can't hold.
func (d *decoder) checkJSON(n *node) {
	switch {
	case n.unknown:
	case n.kind == scalar && (n.tag == tagInt || n.tag == tagFloat):
		if _, err := jsonNumber(n.text); err != nil {
			d.add(n.pos, n.shown()+" "+err.Error(), "quote it for a text")
		}
	default:
		for i, item := range n.items {
			d.push(strconv.Itoa(i))
			d.checkJSON(item)
			d.pop()
		}
		for _, e := range n.entries {
			d.push(e.key)
			d.checkJSON(e.value)
			d.pop()
		}
	}
}

// Bounds of numbers in a config, so that exact arithmetic on one stays small.
const (
	maxDigits   = 128
	maxExponent = 400
)

// jsonForm is a number of JSON. It is never changed.
var jsonForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// jsonNumber writes a YAML number as JSON. What JSON could hold stays as it is
// written; YAML's other forms become decimal: 0x1F, 0o17, 017, 1_000, +1, .5, 5.
func jsonNumber(s string) (string, error) {
	if len(s) > maxDigits {
		return "", fmt.Errorf("has over %d digits", maxDigits)
	}
	out := s
	if !jsonForm.MatchString(s) {
		out = decimal(strings.ReplaceAll(s, "_", ""))
	}
	if !jsonForm.MatchString(out) {
		return "", errors.New("is not a number that JSON has")
	}
	if i := strings.IndexAny(out, "eE"); i >= 0 {
		if e, err := strconv.Atoi(out[i+1:]); err != nil || e > maxExponent || e < -maxExponent {
			return "", errors.New("is out of range")
		}
	}
	if f, err := strconv.ParseFloat(out, 64); err != nil || math.IsInf(f, 0) {
		return "", errors.New("is out of range")
	}
	return out, nil
}

// decimal turns YAML's forms of numbers into digits.
func decimal(s string) string {
	sign := ""
	switch {
	case strings.HasPrefix(s, "-"):
		sign, s = "-", s[1:]
	case strings.HasPrefix(s, "+"):
		s = s[1:]
	}
	if whole, ok := new(big.Int).SetString(s, 0); ok {
		return sign + whole.String()
	}
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction + exponent
}

// appendJSONString appends s as JSON: only what must be escaped is.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
