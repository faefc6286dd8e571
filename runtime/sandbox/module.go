package sandbox

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxModule is the most bytes that a module may have.
const MaxModule = 32 << 20

// module is what the loader looks at before a module is compiled: everything
// by which it touches the host. The rest is walked for its counts alone; wazero
// validates it.
type module struct {
	types    []signature
	imports  []moduleImport
	funcs    []uint32 // of each function that isn't imported: its type's index
	memories []uint32 // the pages of 64 KiB that each starts with
	exports  []moduleExport
	start    bool // it has a start section
}

type moduleImport struct {
	module, name string
	kind         externKind
	typeIndex    uint32 // where kind is kindFunc
}

type moduleExport struct {
	name  string
	kind  externKind
	index uint32 // in the index space of its kind, imports first
}

type externKind byte

const (
	kindFunc externKind = iota
	kindTable
	kindMemory
	kindGlobal
)

func (k externKind) String() string {
	names := [...]string{"function", "table", "memory", "global"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind 0x%02x", byte(k))
}

// errTruncated says that a module or one of its sections ends too early.
var errTruncated = errors.New("it ends in the middle")

// readModule reads the outline of a WebAssembly module in its binary format
// (https://www.w3.org/TR/wasm-core-2/#binary-format). What it allocates is
// bounded by a small multiple of the input, and so is what wazero allocates to
// read a module that it accepted.
func readModule(b []byte) (*module, error) {
	if len(b) > MaxModule {
		return nil, fmt.Errorf("its %d bytes are over %s", len(b), sizeText(MaxModule))
	}
	if len(b) < 8 || string(b[:4]) != "\x00asm" {
		return nil, errors.New("not a WebAssembly module")
	}
	if string(b[4:8]) != "\x01\x00\x00\x00" {
		return nil, fmt.Errorf("not a WebAssembly core module of version 1 (version bytes % x)", b[4:8])
	}
	m := &module{}
	r := &reader{b: b[8:]}
	order := 0
	for len(r.b) > 0 {
		id := r.byte()
		body := reader{b: r.bytes(r.u32())}
		if r.err != nil {
			return nil, fmt.Errorf("section %d: %w", id, r.err)
		}
		if id == 0 { // a custom section may stand anywhere
			if name := body.name(); name == "name" {
				body.walkNames()
			}
			if body.err != nil {
				return nil, fmt.Errorf("a custom section: %w", body.err)
			}
			continue
		}
		at := sectionOrder(id)
		if at == 0 {
			return nil, fmt.Errorf("section %d is of a WebAssembly feature that this host doesn't accept", id)
		}
		if at <= order {
			return nil, fmt.Errorf("section %d is out of order or there twice", id)
		}
		order = at
		if err := m.readSection(id, &body); err != nil {
			return nil, fmt.Errorf("section %d: %w", id, err)
		}
	}
	return m, nil
}

// sectionOrder gives a section's place among the others, from 1, and 0 for one
// that isn't in WebAssembly 2.0. The data count stands before the code.
func sectionOrder(id byte) int {
	switch {
	case id >= 1 && id <= 9:
		return int(id)
	case id == 12:
		return 10
	case id == 10, id == 11:
		return int(id) + 1
	}
	return 0
}

func (m *module) readSection(id byte, r *reader) error {
	switch id {
	case 1:
		m.types = readVector(r, (*reader).signature)
	case 2:
		m.imports = readVector(r, (*reader).moduleImport)
	case 3:
		m.funcs = readVector(r, (*reader).u32)
	case 4:
		readVector(r, (*reader).table) // the rewriter bounds them
	case 5:
		m.memories = readVector(r, (*reader).limits)
	case 6:
		r.walkGlobals()
	case 7:
		m.exports = readVector(r, (*reader).moduleExport)
	case 8:
		m.start = true
		r.u32()
	case 9:
		r.walkElements()
	case 10:
		r.walkCode()
	case 11:
		r.walkData()
	case 12:
		r.u32()
	}
	if r.err == nil && len(r.b) > 0 {
		return fmt.Errorf("%d bytes too many", len(r.b))
	}
	return r.err
}

// funcType gives the signature of a function by its index, imports first; false
// where the index means none.
func (m *module) funcType(index uint32) (signature, bool) {
	for i := range m.imports {
		if m.imports[i].kind != kindFunc {
			continue
		}
		if index == 0 {
			return m.typeAt(m.imports[i].typeIndex)
		}
		index--
	}
	if uint64(index) >= uint64(len(m.funcs)) {
		return signature{}, false
	}
	return m.typeAt(m.funcs[index])
}

func (m *module) typeAt(i uint32) (signature, bool) {
	if uint64(i) >= uint64(len(m.types)) {
		return signature{}, false
	}
	return m.types[i], true
}

func (m *module) export(name string) *moduleExport {
	for i := range m.exports {
		if m.exports[i].name == name {
			return &m.exports[i]
		}
	}
	return nil
}

// reader reads the binary format. After the first error it gives zero values,
// so err is looked at once, at the end.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errTruncated)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)) {
		r.fail(errTruncated)
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// u32 reads an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint32
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			r.fail(errors.New("a number of more than 32 bits"))
			return 0
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}

func (r *reader) name() string {
	b := r.bytes(r.u32())
	if !utf8.Valid(b) {
		r.fail(errors.New("a name that is not UTF-8"))
		return ""
	}
	return string(b)
}

// readVector reads a count and so many elements, each of which takes at least
// one byte; maxElements at most.
func readVector[T any](r *reader, element func(*reader) T) []T {
	n := r.u32()
	switch {
	case uint64(n) > uint64(len(r.b)):
		r.fail(errTruncated)
		return nil
	case n > maxElements:
		r.fail(fmt.Errorf("%d elements; at most %d are accepted", n, maxElements))
		return nil
	}
	// An element may be wider in memory than in the file: the first thousand
	// are allocated at once, the rest as they are read.
	v := make([]T, 0, min(n, 1024))
	for range n {
		v = append(v, element(r))
		if r.err != nil {
			return nil
		}
	}
	return v
}

func (r *reader) signature() signature {
	if c := r.byte(); r.err == nil && c != 0x60 {
		r.fail(fmt.Errorf("a type of form 0x%02x: only functions are accepted", c))
	}
	s := signature{params: r.bytes(r.u32()), results: r.bytes(r.u32())}
	for _, t := range append(s.params[:len(s.params):len(s.params)], s.results...) {
		if !knownType(t) {
			r.fail(fmt.Errorf("a value of the unknown type 0x%02x", t))
		}
	}
	return s
}

func (r *reader) moduleImport() moduleImport {
	i := moduleImport{module: r.name(), name: r.name(), kind: externKind(r.byte())}
	switch i.kind {
	case kindFunc:
		i.typeIndex = r.u32()
	case kindTable:
		r.table()
	case kindMemory:
		r.limits()
	case kindGlobal:
		r.globalType()
	default:
		r.fail(fmt.Errorf("an import of %s", i.kind))
	}
	return i
}

func (r *reader) moduleExport() moduleExport {
	return moduleExport{name: r.name(), kind: externKind(r.byte()), index: r.u32()}
}

// table gives the elements that a table starts with.
func (r *reader) table() uint32 {
	r.referenceType()
	return r.limits()
}

// limits gives what a table or a memory starts with; a maximum is passed over.
func (r *reader) limits() uint32 {
	flags := r.byte()
	if flags > 1 {
		r.fail(fmt.Errorf("limits with flags 0x%02x: shared and 64-bit memories are not accepted", flags))
		return 0
	}
	start := r.u32()
	if flags == 1 {
		r.u32()
	}
	return start
}
