package config

import (
	"reflect"
	"slices"
)

// shape says how the values of a kind are written. It is what the reference
// shows, and what a JSON Schema is made from.
type shape struct {
	form      string   // string, integer, size, duration, boolean, list, map, section or any
	what      string   // for people: "a duration from 1s to 1h, such as 5s"
	words     []string // the only values, where there are only those
	pattern   string   // a regular expression of RE2 and ECMA-262 that strings match
	low, high int64    // of an integer or a size, of a string's bytes, of a list's items, of a map's entries (high); high 0: any number
	keys      string   // a pattern that a map's keys match; "": any
	elem      *shape   // of a list or a map
	section   func() described
	other     []shape                // further forms that the value may have
	accepts   func(text string) bool // whether a scalar is one, as far as its text tells
}

// kind is how values of a key are written and read.
type kind[V any] struct {
	shape shape
	// read decodes n, reports what is wrong with it to d, and tells whether
	// there is a value.
	read func(d *decoder, n *node) (V, bool)
}

// section describes a mapping with fixed keys that is decoded into a T.
type section[T any] struct {
	name string // its place in the file; * stands for a name
	doc  string
	one  []string // the keys of which exactly one stands there
	keys []key[T]
}

// key is one key of a section.
type key[T any] struct {
	name     string
	doc      string
	def      string // the default as the file would have it; "" where there is none
	required bool
	value    target[T]
}

// target is a kind together with the place in a T where the value goes.
type target[T any] interface {
	shape() shape
	decode(d *decoder, n *node, dst *T)
}

type into[T, V any] struct {
	kind kind[V]
	at   func(*T) *V
}

func (t into[T, V]) shape() shape { return t.kind.shape }

func (t into[T, V]) decode(d *decoder, n *node, dst *T) {
	if v, ok := t.kind.read(d, n); ok {
		*t.at(dst) = v
	}
}

// same tells whether two have equal values there.
func (t into[T, V]) same(a, b *T) bool { return reflect.DeepEqual(*t.at(a), *t.at(b)) }

// to joins a kind with the place where the value goes.
func to[T, V any](k kind[V], at func(*T) *V) target[T] { return into[T, V]{k, at} }

func (s section[T]) names() []string {
	names := make([]string, len(s.keys))
	for i, k := range s.keys {
		names[i] = k.name
	}
	return names
}

// decode reads a mapping into dst: its keys, then the defaults of those that
// are not there. Nothing at all stands for an empty mapping.
func (s section[T]) decode(d *decoder, n *node, dst *T) bool {
	if n.kind != mapping && !n.isNull() && !n.unknown {
		d.add(n.pos, "must be a mapping, and is "+n.kind.String(), "")
		return false
	}
	for _, e := range n.entries {
		i := slices.IndexFunc(s.keys, func(k key[T]) bool { return k.name == e.key })
		if i < 0 {
			d.add(e.pos, "unknown key "+show(e.key), d.meant(e.key, s.names()))
			continue
		}
		d.push(e.key)
		s.keys[i].value.decode(d, e.value, dst)
		d.pop()
	}
	for _, k := range s.keys {
		switch {
		case n.get(k.name) != nil:
		case k.def != "":
			d.push(k.name)
			k.value.decode(d, &node{pos: n.from, from: n.from, tag: resolve(k.def), plain: true, text: k.def}, dst)
			d.pop()
		case k.required && !n.unknown:
			d.add(n.from, k.name+" is missing", "it is "+k.value.shape().what)
		}
	}
	return true
}

// described is a section without the type that it is decoded into.
type described interface{ describe() (Section, []shape) }

func (s section[T]) describe() (Section, []shape) {
	out := Section{Name: s.name, Doc: s.doc, One: s.one}
	shapes := make([]shape, len(s.keys))
	for i, k := range s.keys {
		shapes[i] = k.value.shape()
		out.Keys = append(out.Keys, Key{
			Name: k.name, Doc: k.doc, What: shapes[i].what, Words: shapes[i].words,
			Default: k.def, Required: k.required,
		})
	}
	return out, shapes
}

// Section documents a mapping of pipeline.yaml.
type Section struct {
	Name string // its place in the file; * stands for a name; "" is the file itself
	Doc  string
	One  []string // the keys of which exactly one stands there; nil where there is no such rule
	Keys []Key
}

// Key documents one key of a Section.
type Key struct {
	Name     string
	Doc      string
	What     string   // how a value is written
	Words    []string // the only values, where there are only those
	Default  string   // as the file would have it; "" where there is none
	Required bool
}

// Reference documents every key that Parse knows, section by section.
func Reference() []Section {
	var all []Section
	var walk func(described)
	var follow func(shape)
	follow = func(s shape) {
		if s.section != nil {
			walk(s.section())
		}
		if s.elem != nil {
			follow(*s.elem)
		}
		for _, o := range s.other {
			follow(o)
		}
	}
	walk = func(d described) {
		doc, shapes := d.describe()
		if slices.ContainsFunc(all, func(s Section) bool { return s.Name == doc.Name }) {
			return
		}
		all = append(all, doc)
		for _, s := range shapes {
			follow(s)
		}
	}
	walk(documentSection())
	return all
}
