package hostapi

import "strings"

// Field returns the value of the leaf name among e.Fields. X and X[0] are the
// same at every level, so that a list of one and a list of two read alike; a
// leaf of exactly this name goes before one that is only the same, an earlier
// one before a later. Letter case counts.
func (e *Event) Field(name string) (value string, ok bool) { return lookup(e.Fields, name) }

// Attr returns the value of the annotation name among e.Attrs, under the rule
// of Field; of several with the same name it is the first.
func (e *Event) Attr(name string) (value string, ok bool) { return lookup(e.Attrs, name) }

func lookup(fields []Field, name string) (string, bool) {
	for i := range fields {
		if fields[i].Name == name {
			return fields[i].Value, true
		}
	}
	for i := range fields {
		if sameName(fields[i].Name, name) {
			return fields[i].Value, true
		}
	}
	return "", false
}

// sameName compares two names of leaves without their [0].
func sameName(a, b string) bool {
	for {
		a, b = skipZero(a), skipZero(b)
		if a == "" || b == "" {
			return a == b
		}
		if a[0] != b[0] {
			return false
		}
		a, b = a[1:], b[1:]
	}
}

// skipZero returns s without the [0] that it starts with, as far as each ends a
// step of the name.
func skipZero(s string) string {
	for strings.HasPrefix(s, "[0]") && (len(s) == 3 || s[3] == '.' || s[3] == '[') {
		s = s[3:]
	}
	return s
}
