package fuel

import "strings"

// custom writes a custom section. A section "name" that doesn't read as one
// means nothing, and wazero would allocate what its counts say: it is left out.
func (w *rewriter) custom(out []byte, s section) []byte {
	content := w.m.b[s.content.at:s.content.end]
	r := &reader{b: w.m.b, at: s.content.at, end: s.content.end}
	name := string(r.name())
	switch {
	case strings.HasPrefix(name, ".debug_"):
		return out // its offsets into the code are wrong now
	case name == "name":
		moved := append(make([]byte, 0, len(content)+len(content)/8), content[:r.at-s.content.at]...)
		if content = w.m.names(r, moved); r.err != nil {
			return out
		}
	}
	return appendSection(out, sectionCustom, content)
}

// Subsections of names: the module's, and maps that begin with a function
// (https://www.w3.org/TR/wasm-core-2/#name-section; labels are of its
// extension).
const (
	namesModule    = 0
	namesFunctions = 1
	namesLocals    = 2
	namesLabels    = 3
)

// names appends the content of the section "name" with its functions moved.
// r.err tells whether it was one.
func (m *outline) names(r *reader, out []byte) []byte {
	for r.more() {
		at := r.at
		id := r.byte()
		sub := r.sub(r.u32())
		switch id {
		case namesFunctions, namesLocals, namesLabels:
			moved := m.nameMap(&sub, id != namesFunctions)
			out = appendSection(out, id, moved)
		case namesModule:
			if sub.name(); sub.more() {
				sub.fail(sub.at, "a name with %d bytes too many", sub.end-sub.at)
			}
			fallthrough
		default:
			out = append(out, m.b[at:r.at]...)
		}
		if r.err == nil {
			r.err = sub.err
		}
	}
	return out
}

// nameMap gives a map from functions to names, or to maps of names.
func (m *outline) nameMap(r *reader, nested bool) []byte {
	n := r.count("names", len(r.b))
	out := appendU32(make([]byte, 0, r.end-r.at+int(n)), n)
	for range n {
		i := r.u32()
		start := r.at
		if nested {
			for range r.count("names", len(r.b)) {
				r.u32()
				r.name()
			}
		} else {
			r.name()
		}
		if r.err != nil {
			return nil
		}
		out = append(appendU32(out, m.movedFunc(i)), m.b[start:r.at]...)
	}
	if r.more() {
		r.fail(r.at, "names with %d bytes too many", r.end-r.at)
	}
	return out
}
