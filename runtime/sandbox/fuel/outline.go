package fuel

import (
	"fmt"
	"slices"
)

// outline is what is known of a module once its sections have been walked,
// those of code aside. Its counts are the original's: no index of the
// original's may reach them.
type outline struct {
	b        []byte
	face     Outline
	sections []section
	types    []funcType
	funcs    []uint32 // the type of each function, imports first

	importFuncs, importGlobals uint32
	globals, memories          uint32 // imports included
	mutable                    int64  // globals, imports included
	tables                     []byte // the reference type of each, imports first
	elems                      uint32
	dataCount                  uint32   // of the section that says it; 0 without
	data                       []uint32 // the bytes of each segment
	exports                    map[string]bool
	bodies                     []span
	resets                     resets

	// declared are the functions that exports, elements and globals name: code
	// may take references of those only. Nil where code takes none.
	declared map[uint32]bool
}

// declare notes a function that stands outside of code.
func (m *outline) declare(f uint32) {
	if m.declared != nil {
		m.declared[f] = true
	}
}

// section is one of a module's sections: where it, and its content, stand.
type section struct {
	id      byte
	at      int
	content span
}

type span struct{ at, end int }

type funcType struct{ params, results []byte }

// Sections by number.
const (
	sectionCustom    = 0
	sectionType      = 1
	sectionImport    = 2
	sectionFunction  = 3
	sectionTable     = 4
	sectionMemory    = 5
	sectionGlobal    = 6
	sectionExport    = 7
	sectionStart     = 8
	sectionElement   = 9
	sectionCode      = 10
	sectionData      = 11
	sectionDataCount = 12
)

// sectionOrder gives a section's place among the others, from 1, and 0 for one
// that isn't in WebAssembly 2.0. The data count stands before the code.
func sectionOrder(id byte) int {
	switch {
	case id >= sectionType && id <= sectionElement:
		return int(id)
	case id == sectionDataCount:
		return 10
	case id == sectionCode, id == sectionData:
		return int(id) + 1
	}
	return 0
}

// readOutline walks a module's sections. Of code it takes only where each body
// stands.
func readOutline(wasm []byte, l *Limits) (*outline, error) {
	if len(wasm) < 8 || string(wasm[:4]) != "\x00asm" {
		return nil, &Error{Text: "not a WebAssembly module"}
	}
	if version := wasm[4:8]; string(version) != "\x01\x00\x00\x00" {
		return nil, &Error{Offset: 4, Text: fmt.Sprintf("not a WebAssembly core module of version 1 (version bytes % x)", version)}
	}
	m := &outline{b: wasm, exports: map[string]bool{}, resets: newResets()}
	r := &reader{b: wasm, at: 8, end: len(wasm)}
	order, custom := 0, 0
	for r.more() {
		s := section{at: r.at}
		s.id = r.byte()
		body := r.sub(r.u32())
		s.content = span{body.at, body.end}
		m.sections = append(m.sections, s)
		if s.id == sectionCustom && r.err == nil {
			if custom += s.content.end - s.content.at; custom > l.CustomSize {
				r.fail(s.at, "custom sections of more than %d bytes", l.CustomSize)
			}
			if body.name(); r.err == nil {
				r.err = body.err
			}
			continue
		}
		at := sectionOrder(s.id)
		switch {
		case r.err != nil:
		case at == 0:
			r.fail(s.at, "section %d is not accepted", s.id)
		case at <= order:
			r.fail(s.at, "section %d is out of order or there twice", s.id)
		default:
			order = at
			m.readSection(s.id, &body, l)
			r.err = body.err
		}
		if r.err != nil {
			break
		}
	}
	if r.err == nil && len(m.bodies) != len(m.funcs)-int(m.importFuncs) {
		r.fail(len(wasm), "%d functions, but %d bodies", len(m.funcs)-int(m.importFuncs), len(m.bodies))
	}
	return m, r.failed()
}

func (m *outline) readSection(id byte, r *reader, l *Limits) {
	switch id {
	case sectionType:
		m.readTypes(r, l)
	case sectionImport:
		m.readImports(r, l)
	case sectionFunction:
		n := r.count("functions", l.Functions)
		m.funcs = slices.Grow(m.funcs, int(n))
		for range n {
			m.funcs = append(m.funcs, r.index("type", uint32(len(m.types))))
		}
	case sectionTable:
		for range r.count("tables", l.Tables) {
			m.tables = append(m.tables, r.referenceType())
			r.limits()
		}
	case sectionMemory:
		n := r.count("memories", 1)
		for range n {
			m.face.Memories = append(m.face.Memories, r.memory().min)
		}
		m.memories += n
	case sectionGlobal:
		m.walkGlobals(r, l)
	case sectionExport:
		for range r.count("exports", l.Exports) {
			m.readExport(r)
		}
	case sectionStart:
		m.face.Start = true
		r.u32()
	case sectionElement:
		// Walked when they are written; here only how many there are.
		m.elems = r.count("element segments", l.Segments)
		r.at = r.end
	case sectionDataCount:
		m.dataCount = r.u32()
		if r.err == nil && uint64(m.dataCount) > uint64(l.Segments) {
			r.fail(r.at, "%d data segments; at most %d are accepted", m.dataCount, l.Segments)
		}
	case sectionCode:
		n := r.count("bodies", l.Functions)
		m.bodies = make([]span, 0, n)
		for range n {
			b := r.sub(r.u32())
			m.bodies = append(m.bodies, span{b.at, b.end})
			if n := b.end - b.at; r.err == nil && n > l.Body {
				r.fail(b.at, "a function of %d bytes; at most %d are accepted", n, l.Body)
			}
		}
	case sectionData:
		m.readData(r, l)
	}
	if r.more() {
		r.fail(r.at, "section %d has %d bytes too many", id, r.end-r.at)
	}
}

func (m *outline) readExport(r *reader) {
	at := r.at
	e := Export{Name: string(r.name()), Kind: Kind(r.byte()), index: r.u32()}
	switch {
	case r.err != nil:
		return
	case e.Kind > KindGlobal:
		r.fail(at, "an export of the unknown %s", e.Kind)
		return
	case e.index >= m.space(e.Kind):
		r.fail(at, "an export of %s %d, which there isn't", e.Kind, e.index)
		return
	case m.exports[e.Name]:
		r.fail(at, "two exports of the name %.100q", e.Name)
		return
	case e.Kind == KindFunc:
		t := m.types[m.funcs[e.index]]
		e.Params, e.Results = t.params, t.results
	case e.Kind == KindGlobal && m.resets.exported[e.index] == "":
		m.resets.exported[e.index] = e.Name
	}
	m.exports[e.Name] = true
	m.face.Exports = append(m.face.Exports, e)
}

// space is how many of a kind the module has, imports included.
func (m *outline) space(k Kind) uint32 {
	switch k {
	case KindFunc:
		return uint32(len(m.funcs))
	case KindTable:
		return uint32(len(m.tables))
	case KindMemory:
		return m.memories
	default:
		return m.globals
	}
}

func (m *outline) readTypes(r *reader, l *Limits) {
	for range r.count("types", l.Types) {
		if c := r.byte(); r.err == nil && c != 0x60 {
			r.fail(r.at-1, "a type of form 0x%02x: only functions are accepted", c)
		}
		m.types = append(m.types, funcType{r.valueTypes(l), r.valueTypes(l)})
	}
}

func (r *reader) valueTypes(l *Limits) []byte {
	n := r.count("values of one type", l.Signature)
	types := r.b[r.at : r.at+int(n) : r.at+int(n)]
	for range n {
		r.valueType()
	}
	return types
}

func (m *outline) readImports(r *reader, l *Limits) {
	for range r.count("imports", l.Imports) {
		at := r.at
		i := Import{at: at, Module: string(r.name()), Name: string(r.name()), Kind: Kind(r.byte())}
		switch i.Kind {
		case KindFunc:
			f := r.index("type", uint32(len(m.types)))
			if r.err != nil {
				return
			}
			m.funcs = append(m.funcs, f)
			m.importFuncs++
			i.Params, i.Results = m.types[f].params, m.types[f].results
		case KindTable:
			m.tables = append(m.tables, r.referenceType())
			r.limits()
		case KindMemory:
			r.memory()
			m.memories++
		case KindGlobal:
			if _, mutable := r.globalType(); mutable {
				m.mutable++
				m.resets.imported = first(m.resets.imported, m.importGlobals)
			}
			m.importGlobals++
		default:
			r.fail(r.at-1, "an import of the unknown %s", i.Kind)
		}
		m.face.Imports = append(m.face.Imports, i)
	}
	m.globals = m.importGlobals
}

// checkImports refuses imports from the host's own module.
func (m *outline) checkImports(own string) error {
	for _, i := range m.face.Imports {
		if i.Module == own {
			return &Error{Offset: i.at, Text: fmt.Sprintf("an import from module %q, which is the host's own", own)}
		}
	}
	return nil
}

// limits is what a table or a memory starts with, and its maximum where there
// is one.
type limits struct {
	min, max uint32
	bounded  bool
}

func (r *reader) limits() (l limits) {
	flags := r.byte()
	if flags > 1 {
		r.fail(r.at-1, "limits with flags 0x%02x: shared and 64-bit memories are not accepted", flags)
	}
	l.min = r.u32()
	if l.bounded = flags == 1; l.bounded {
		l.max = r.u32()
	}
	return l
}

// memory reads the type of a memory, in pages.
func (r *reader) memory() limits {
	at := r.at
	l := r.limits()
	switch {
	case l.bounded && (l.max < l.min || l.max > maxPages):
		r.fail(at, "a memory of at least %d and at most %d pages", l.min, l.max)
	case l.min > maxPages:
		r.fail(at, "a memory of at least %d pages; at most %d are accepted", l.min, maxPages)
	}
	return l
}

func (r *reader) globalType() (t byte, mutable bool) {
	t = r.valueType()
	c := r.byte()
	if c > 1 {
		r.fail(r.at-1, "a global of mutability 0x%02x", c)
	}
	return t, c == 1
}

func (m *outline) walkGlobals(r *reader, l *Limits) {
	n := r.count("globals", l.Globals)
	m.globals += n
	for i := range n {
		t, mutable := r.globalType()
		m.resets.global(m.importGlobals+i, t, mutable)
		if mutable {
			m.mutable++
		}
		m.constant(r, nil)
	}
}

func (m *outline) readData(r *reader, l *Limits) {
	n := r.count("data segments", l.Segments)
	m.data = make([]uint32, 0, n)
	for range n {
		at := r.at
		form := r.u32()
		switch form {
		case 0:
			m.constant(r, nil)
		case 1:
		case 2:
			r.index("memory", m.memories)
			m.constant(r, nil)
		default:
			r.fail(at, "data of form %d", form)
		}
		m.data = append(m.data, uint32(len(r.bytes(r.u32()))))
	}
}

// constant walks a constant expression and, where out isn't nil, appends it
// with its functions moved.
func (m *outline) constant(r *reader, out *[]byte) {
	var in instr
	from := r.at
	for r.err == nil {
		r.next(&in)
		switch in.code {
		case opI32Const, opI64Const, opF32Const, opF64Const, opV128Const, opRefNull:
		case opGlobalGet:
			if r.err == nil && in.x >= m.globals {
				r.fail(in.at, "global %d, which there isn't", in.x)
			}
		case opRefFunc:
			if out == nil {
				// The functions may not be known yet.
				break
			}
			if r.err == nil && in.x >= uint32(len(m.funcs)) {
				r.fail(in.at, "function %d, which there isn't", in.x)
			}
			m.declare(in.x)
			*out = append(*out, m.b[from:in.at]...)
			*out = appendU32(append(*out, opRefFunc), m.movedFunc(in.x))
			from = r.at
		case opEnd:
			if out != nil {
				*out = append(*out, m.b[from:r.at]...)
			}
			return
		default:
			r.fail(in.at, "instruction %s in a constant expression", in.row.name)
		}
	}
}

// movedFunc gives a function's index in the rewritten module.
func (m *outline) movedFunc(i uint32) uint32 {
	if i >= m.importFuncs {
		return i + 1
	}
	return i
}
