package simulator

import (
	"path"
	"strings"
)

// Where says which calls are meant. The zero value means all.
type Where struct {
	App    string // an app id; "": of any app, and of none
	Method string // GET, POST …; "": any
	// Path is a path as in the URL, where * stands for any part of a segment and
	// a segment ** for any number of segments; "": any.
	Path string
}

// meets says whether a call is meant.
func (w Where) meets(app, method, name string) bool {
	return (w.App == "" || w.App == app) && (w.Method == "" || w.Method == method) && (w.Path == "" || like(strings.Split(w.Path, "/"), strings.Split(name, "/")))
}

// like says whether a path is as a pattern of Where has it, both by segment.
func like(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(name) + 1 {
				if like(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); err != nil || !ok {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}

// set is a setting for the calls that are meant.
type set[V any] struct {
	where Where
	value V
}

// put adds a setting before the others, in place of an earlier one for the same
// calls.
func put[V any](sets []set[V], where Where, value V) []set[V] {
	kept := []set[V]{{where, value}}
	for _, s := range sets {
		if s.where != where {
			kept = append(kept, s)
		}
	}
	return kept
}

// find gives the setting for a call that was made last.
func find[V any](sets []set[V], app, method, path string) (value V, ok bool) {
	for _, s := range sets {
		if s.where.meets(app, method, path) {
			return s.value, true
		}
	}
	return value, false
}
