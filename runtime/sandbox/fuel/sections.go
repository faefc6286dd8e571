package fuel

import "fmt"

// assemble writes the module around the bodies in code.
func (w *rewriter) assemble(code []byte) ([]byte, error) {
	m := w.m
	if len(w.references) > 0 {
		m.declared = map[uint32]bool{}
	}
	out := make([]byte, 0, len(m.b)+len(code)-m.codeSize()+1024)
	out = append(out, m.b[:8]...)
	done := 0 // sections up to this place are written
	for _, s := range m.sections {
		if s.id == sectionCustom {
			out = w.custom(out, s)
			continue
		}
		out = w.added(out, done, sectionOrder(s.id))
		done = sectionOrder(s.id)
		content, err := w.section(s, code)
		if err != nil {
			return nil, err
		}
		out = appendSection(out, s.id, content)
	}
	out = w.added(out, done, sectionOrder(sectionData)+1)
	for _, f := range w.references {
		if !m.declared[f] {
			return nil, &Error{Offset: len(m.b), Text: fmt.Sprintf("code takes a reference of function %d, which stands in no export, element or global", f)}
		}
	}
	if len(out) > w.o.Limits.Output {
		return nil, w.tooLarge(len(m.b))
	}
	return out, nil
}

func (m *outline) codeSize() int {
	if len(m.bodies) == 0 {
		return 0
	}
	return m.bodies[len(m.bodies)-1].end - m.bodies[0].at
}

func appendSection(out []byte, id byte, content []byte) []byte {
	out = appendU32(append(out, id), uint32(len(content)))
	return append(out, content...)
}

// added appends the sections that the module doesn't have and needs, of those
// whose place is after and before two others.
func (w *rewriter) added(out []byte, after, before int) []byte {
	for _, id := range []byte{sectionType, sectionImport, sectionGlobal, sectionExport} {
		if at := sectionOrder(id); at > after && at < before {
			n, b := w.more(id)
			out = appendSection(out, id, append(appendU32(nil, n), b...))
		}
	}
	return out
}

// more gives what a section gets at its end, and how many elements that is.
func (w *rewriter) more(id byte) (uint32, []byte) {
	var b []byte
	switch id {
	case sectionType:
		for _, t := range w.types {
			b = append(b, 0x60)
			b = append(appendU32(b, uint32(len(t.params))), t.params...)
			b = append(appendU32(b, uint32(len(t.results))), t.results...)
		}
		return uint32(len(w.types)), b
	case sectionImport:
		b = appendName(appendName(b, w.o.Module), w.o.Name)
		return 1, appendU32(append(b, byte(KindFunc)), w.refuelType)
	case sectionFunction:
		for _, h := range w.helpers {
			b = appendU32(b, h.typ)
		}
		return uint32(len(w.helpers)), b
	case sectionGlobal:
		for _, start := range []int64{0, w.o.Stack} {
			b = append(appendI64(append(b, typeI64, 1), start), opEnd)
		}
		for _, f := range w.references {
			b = append(appendU32(append(b, typeFuncRef, 0, opRefFunc), w.m.movedFunc(f)), opEnd)
		}
		return 2 + uint32(len(w.references)), b
	case sectionExport:
		b = appendU32(append(appendName(b, w.fuelName), byte(KindGlobal)), w.m.globals)
		b = appendU32(append(appendName(b, w.stackName), byte(KindGlobal)), w.m.globals+1)
		for _, g := range w.addedGlobals {
			b = appendU32(append(appendName(b, g.name), byte(KindGlobal)), g.index)
		}
		return 2 + uint32(len(w.addedGlobals)), b
	}
	return 0, nil
}

func appendName(b []byte, name string) []byte {
	return append(appendU32(b, uint32(len(name))), name...)
}

// section gives the content of a section of the original, rewritten.
func (w *rewriter) section(s section, code []byte) ([]byte, error) {
	m := w.m
	r := &reader{b: m.b, at: s.content.at, end: s.content.end}
	switch s.id {
	case sectionStart:
		return appendU32(nil, m.movedFunc(r.index("function", uint32(len(m.funcs))))), r.failed()
	case sectionData, sectionDataCount:
		return m.b[s.content.at:s.content.end], nil
	}
	n := r.u32()
	more, added := w.more(s.id)
	if s.id == sectionCode {
		more, added = uint32(len(w.helpers)), code
		r.at = r.end
	}
	out := make([]byte, 0, r.end-r.at+len(added)+16)
	out = appendU32(out, n+more)
	switch s.id {
	case sectionTable:
		out = w.tables(r, n, out)
	case sectionMemory:
		out = w.memory(r, n, out)
	case sectionGlobal:
		for range n {
			start := r.at
			r.globalType()
			out = append(out, m.b[start:r.at]...)
			m.constant(r, &out)
		}
	case sectionExport:
		out = w.exports(r, out)
	case sectionElement:
		out = w.elements(r, n, out)
	default:
		out = append(out, m.b[r.at:r.end]...)
		r.at = r.end
	}
	if r.err == nil && r.more() {
		r.fail(r.at, "section %d has %d bytes too many", s.id, r.end-r.at)
	}
	return append(out, added...), r.failed()
}

// tables writes the tables, each with the maximum that it starts with.
func (w *rewriter) tables(r *reader, n uint32, out []byte) []byte {
	all := uint64(0)
	for range n {
		at := r.at
		t := r.referenceType()
		l := r.limits()
		if l.bounded && l.max < l.min {
			r.fail(at, "a table of at least %d and at most %d elements", l.min, l.max)
		}
		if all += uint64(l.min); all > uint64(w.o.Limits.TableSize) {
			r.fail(at, "tables that start with %d elements; at most %d are accepted", all, w.o.Limits.TableSize)
		}
		out = appendU32(appendU32(append(out, t, 1), l.min), l.min)
	}
	return out
}

func (w *rewriter) memory(r *reader, n uint32, out []byte) []byte {
	for range n {
		at := r.at
		l := r.memory()
		if l.min > w.o.MaxPages {
			r.fail(at, "a memory of at least %d pages; at most %d are accepted", l.min, w.o.MaxPages)
		}
		most := w.o.MaxPages
		if l.bounded {
			most = min(most, l.max)
		}
		out = appendU32(appendU32(append(out, 1), l.min), most)
	}
	return out
}

func (w *rewriter) exports(r *reader, out []byte) []byte {
	m := w.m
	for _, e := range m.face.Exports {
		i := e.index
		if e.Kind == KindFunc {
			m.declare(i)
			i = m.movedFunc(i)
		}
		out = appendU32(append(appendName(out, e.Name), byte(e.Kind)), i)
	}
	r.at = r.end
	return out
}

// elements writes the element segments, with their functions moved. Their
// eight forms are told by three bits: passive or declarative; with a table, or
// declarative; of expressions.
func (w *rewriter) elements(r *reader, n uint32, out []byte) []byte {
	m, left := w.m, w.o.Limits.Elements
	for range n {
		start := r.at
		form := r.u32()
		if form > 7 {
			r.fail(start, "elements of form %d", form)
		}
		active, explicit, expressions := form&1 == 0, form&2 != 0, form&4 != 0
		if active {
			table := uint32(0)
			at := r.at
			if explicit {
				table = r.u32()
			}
			if r.err == nil && table >= uint32(len(m.tables)) {
				r.fail(at, "elements of table %d, which there isn't", table)
			}
			out = append(out, m.b[start:r.at]...)
			m.constant(r, &out)
			start = r.at
		}
		switch {
		case active && !explicit:
		case expressions:
			r.referenceType()
		default:
			if kind := r.byte(); kind != 0 {
				r.fail(r.at-1, "elements of kind 0x%02x", kind)
			}
		}
		count := r.count("elements", left)
		left -= int(count)
		if r.err != nil {
			return nil
		}
		out = append(out, m.b[start:r.at]...)
		for range count {
			if expressions {
				m.constant(r, &out)
			} else {
				f := r.index("function", uint32(len(m.funcs)))
				m.declare(f)
				out = appendU32(out, m.movedFunc(f))
			}
		}
	}
	return out
}
