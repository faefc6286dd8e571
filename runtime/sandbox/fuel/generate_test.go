package fuel

import "bytes"

// A generator of valid modules. Whatever bytes it is given, it makes one; the
// more bytes, the more code. Its modules end: loops and calls count down a
// global, and trap where it is used up.

const (
	genSteps      = 300 // loop turns and calls of one call from outside
	genStepsAt    = 7   // the index of the global that counts them, an i32
	genConstants  = 8   // the globals from there on can't be set
	genGlobals    = 12
	genData       = 300 // bytes of each data segment: 0 active, 1 and 2 passive
	genImports    = 2   // functions
	genMaxDepth   = 6
	genMaxNesting = 12
	typeF32       = 0x7d
	typeF64       = 0x7c
	typeFunc      = 0x70
	typeExtern    = 0x6f
)

// genTypes are all types. Each has two locals in each function and one mutable
// global, in this order.
var genTypes = [7]byte{typeI32, typeI64, typeF32, typeF64, typeV128, typeFunc, typeExtern}

// genTables are tables: the type of each, and how many elements it has. The
// first holds all functions.
var genTables = [3]struct{ typ, size byte }{{typeFunc, 12}, {typeFunc, 4}, {typeExtern, 5}}

// genElements are passive or declarative segments of elements after the first,
// which is of table 0.
var genElements = [4]struct{ typ, size byte }{{typeFunc, 8}, {typeFunc, 3}, {typeExtern, 2}, {typeFunc, 1}}

type generator struct {
	src    []byte
	ops    map[byte][]operation
	types  []funcType
	funcs  []uint32 // types
	pages  byte
	code   []byte
	labels [][]byte // what a branch to each takes
	t      funcType
	depth  int
}

// choose gives a number below n; 0 once the bytes are used up, so that 0 has
// to be a choice that ends.
func (g *generator) choose(n int) int {
	if len(g.src) == 0 {
		return 0
	}
	v := int(g.src[0])
	g.src = g.src[1:]
	if n > 64 && len(g.src) > 0 {
		v = v<<8 | int(g.src[0])
		g.src = g.src[1:]
	}
	return v % n
}

// typ gives a type, numbers mostly.
func (g *generator) typ() byte {
	if i := g.choose(16); i < 12 {
		return genTypes[i/3]
	} else if i < 14 {
		return typeV128
	} else {
		return genTypes[i-9]
	}
}

func (g *generator) op(b ...byte)    { g.code = append(g.code, b...) }
func (g *generator) u32(v uint32)    { g.code = appendU32(g.code, v) }
func (g *generator) i32(v int32)     { g.code = appendI32(g.code, v) }
func (g *generator) misc(n byte)     { g.op(prefixMisc, n) }
func (g *generator) index(n int)     { g.u32(uint32(n)) }
func (g *generator) typeIndex(n int) { g.code = appendSigned(g.code, int64(n)) }

// opcode writes one with its prefix.
func (g *generator) opcode(code uint16) {
	if prefix := byte(code >> 8); prefix != 0 {
		g.op(prefix)
		g.u32(uint32(code & 0xff))
		return
	}
	g.op(byte(code))
}

// generate makes a module.
func generate(src []byte) []byte { return newGenerator().module(src) }

func newGenerator() *generator { return &generator{ops: operations()} }

func (g *generator) module(src []byte) []byte {
	*g = generator{src: src, ops: g.ops, code: g.code[:0]}
	g.pages = []byte{1, 1, 2, 9}[g.choose(4)]
	g.types = []funcType{{}, {params: []byte{typeI32}, results: []byte{typeI32}}}
	for range 2 + g.choose(4) {
		var t funcType
		for range g.choose(4) {
			t.params = append(t.params, g.typ())
		}
		for range g.choose(4) {
			t.results = append(t.results, g.typ())
		}
		g.types = append(g.types, t)
	}
	for range 1 + g.choose(5) {
		g.funcs = append(g.funcs, uint32(g.choose(len(g.types))))
	}
	var bodies []byte
	for i := range g.funcs {
		b := g.function(i)
		bodies = append(appendU32(bodies, uint32(len(b))), b...)
	}
	return g.sections(bodies)
}

// sections puts everything around the bodies. Functions 0 and 1 are imports.
func (g *generator) sections(bodies []byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, n int, content []byte) {
		out = appendSection(out, id, append(appendU32(nil, uint32(n)), content...))
	}
	var b []byte
	for _, t := range g.types {
		b = append(appendU32(append(b, 0x60), uint32(len(t.params))), t.params...)
		b = append(appendU32(b, uint32(len(t.results))), t.results...)
	}
	section(sectionType, len(g.types), b)
	b = append(appendName(appendName(nil, "env"), "mix"), byte(KindFunc), 1)
	b = append(appendName(appendName(b, "env"), "again"), byte(KindFunc), 1)
	section(sectionImport, genImports, b)
	b = nil
	for _, t := range g.funcs {
		b = appendU32(b, t)
	}
	section(sectionFunction, len(g.funcs), b)
	b = nil
	for _, t := range genTables {
		b = append(b, t.typ, 1, t.size, t.size)
	}
	section(sectionTable, len(genTables), b)
	section(sectionMemory, 1, []byte{1, g.pages, g.pages + 2})
	section(sectionGlobal, genGlobals, g.globals())
	b = append(appendName(nil, "memory"), byte(KindMemory), 0)
	for i := range genGlobals {
		b = append(appendName(b, genName('g', i)), byte(KindGlobal), byte(i))
	}
	for i := range g.funcs {
		b = append(appendName(b, genName('f', i)), byte(KindFunc), byte(i+genImports))
	}
	section(sectionExport, 1+genGlobals+len(g.funcs), b)
	if g.funcs[0] == 0 && g.choose(4) == 1 {
		out = appendSection(out, sectionStart, []byte{genImports})
	}
	section(sectionElement, len(genElements), g.elements())
	out = appendSection(out, sectionDataCount, []byte{3})
	section(sectionCode, len(g.funcs), bodies)
	b = []byte{0, opI32Const, 16, opEnd}
	for i := range 3 {
		if i > 0 {
			b = append(b, 1)
		}
		b = appendU32(b, genData)
		for j := range genData {
			b = append(b, byte(j*(i+3)))
		}
	}
	section(sectionData, 3, b)
	return out
}

func genName(letter byte, i int) string { return string([]byte{letter, byte('a' + i)}) }

// globals are one of each type, the steps, and then some that can't be set.
func (g *generator) globals() []byte {
	b := []byte{typeI32, 1, opI32Const, 7, opEnd, typeI64, 1, opI64Const, 9, opEnd}
	b = append(b, typeF32, 1, opF32Const, 0, 0, 0xc0, 0x3f, opEnd)
	b = append(b, typeF64, 1, opF64Const, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, opEnd)
	b = append(b, typeV128, 1, prefixVector, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, opEnd)
	b = append(b, typeFunc, 1, opRefFunc, genImports, opEnd)
	b = append(b, typeExtern, 1, opRefNull, typeExtern, opEnd)
	b = append(appendI32(append(b, typeI32, 1), genSteps), opEnd)
	b = append(b, typeI32, 0, opI32Const, 3, opEnd)
	b = append(b, typeI64, 0, opI64Const, 5, opEnd)
	b = append(b, typeFunc, 0, opRefFunc, 0, opEnd)
	return append(b, typeExtern, 0, opRefNull, typeExtern, opEnd)
}

// elements are of several forms; some places of tables stay empty.
func (g *generator) elements() []byte {
	b := []byte{0, opI32Const, 0, opEnd, genElements[0].size}
	for i := range int(genElements[0].size) {
		b = append(b, byte(i%(len(g.funcs)+genImports)))
	}
	b = append(b, 5, typeFunc, 3, opRefFunc, genImports, opEnd, opRefNull, typeFunc, opEnd, opRefFunc, 0, opEnd)
	b = append(b, 5, typeExtern, 2, opRefNull, typeExtern, opEnd, opRefNull, typeExtern, opEnd)
	// A function has to be told to be one that ref.func may name.
	b = append(b, 3, 0, byte(len(g.funcs)+genImports))
	for i := range len(g.funcs) + genImports {
		b = append(b, byte(i))
	}
	return b
}

func (g *generator) function(i int) []byte {
	g.code = append(g.code[:0], byte(len(genTypes)))
	for _, t := range genTypes {
		g.op(2, t)
	}
	g.t = g.types[g.funcs[i]]
	g.labels = [][]byte{g.t.results}
	g.depth = 0
	g.step()
	g.body(g.t.results)
	g.op(opEnd)
	return g.code
}

// step counts a loop's turn or a call.
func (g *generator) step() {
	g.op(opGlobalGet, genStepsAt)
	g.i32(1)
	g.op(opI32Sub, opGlobalSet, genStepsAt, opGlobalGet, genStepsAt)
	g.i32(0)
	g.op(0x48, opIf, blockEmpty, opUnreachable, opEnd) // i32.lt_s
}

// body makes statements, and then values of the types.
func (g *generator) body(results []byte) {
	for range g.choose(5) {
		g.statement()
	}
	g.values(results)
}

func (g *generator) values(types []byte) {
	for _, t := range types {
		g.value(t)
	}
}

// local gives a local of type t, a parameter sometimes.
func (g *generator) local(t byte) uint32 {
	for i, p := range g.t.params {
		if p == t && g.choose(2) == 1 {
			return uint32(i)
		}
	}
	return uint32(len(g.t.params) + 2*typeNumber(t) + g.choose(2))
}

// typeNumber gives a type's place in genTypes.
func typeNumber(t byte) int { return bytes.IndexByte(genTypes[:], t) }

// deep tells whether it is time to end, and else goes a level deeper.
func (g *generator) deep() bool {
	if len(g.src) == 0 || g.depth >= genMaxDepth || len(g.labels) > genMaxNesting {
		return true
	}
	g.depth++
	return false
}

// inBlock makes a block of the opcode without parameters.
func (g *generator) inBlock(op byte, results []byte) {
	form := func() {
		if len(results) == 1 {
			g.op(results[0])
		} else {
			g.op(blockEmpty)
		}
	}
	if op == opIf {
		g.value(typeI32)
	}
	g.op(op)
	form()
	target := results
	if op == opLoop {
		target = nil
	}
	g.labels = append(g.labels, target)
	if op == opLoop {
		g.step()
	}
	g.body(results)
	if op == opIf && (len(results) > 0 || g.choose(2) == 1) {
		g.op(opElse)
		g.body(results)
	}
	g.labels = g.labels[:len(g.labels)-1]
	g.op(opEnd)
}

// typedBlock makes a block, or a loop, of a type of the module, with its
// parameters, and drops what it gives.
func (g *generator) typedBlock() {
	i := g.choose(len(g.types))
	t := g.types[i]
	g.values(t.params)
	op := []byte{opBlock, opLoop, opIf}[g.choose(3)]
	if op == opIf {
		g.value(typeI32)
	}
	g.op(op)
	g.typeIndex(i)
	target := t.results
	if op == opLoop {
		target = t.params
	}
	g.labels = append(g.labels, target)
	if op == opLoop {
		g.step()
	}
	for arms := 0; ; arms++ {
		for j := len(t.params) - 1; j >= 0; j-- {
			g.op(opLocalSet)
			g.u32(g.local(t.params[j]))
		}
		g.body(t.results)
		if op != opIf || arms == 1 {
			break
		}
		g.op(opElse)
	}
	g.labels = g.labels[:len(g.labels)-1]
	g.op(opEnd)
	g.drop(t.results)
}

func (g *generator) drop(types []byte) {
	for i := len(types) - 1; i >= 0; i-- {
		if g.choose(2) == 1 {
			g.op(opLocalSet)
			g.u32(g.local(types[i]))
		} else {
			g.op(0x1a)
		}
	}
}

// branch leaves to a label, after the values that it takes.
func (g *generator) branch(op byte) {
	label := g.choose(len(g.labels))
	target := g.labels[len(g.labels)-1-label]
	g.values(target)
	if op != opBr {
		g.value(typeI32)
	}
	if op == opBrTable {
		g.table(label, target)
		return
	}
	g.op(op)
	g.index(label)
	if op == opBrIf {
		g.drop(target)
	}
}

// table makes a br_table of labels that take the same.
func (g *generator) table(label int, target []byte) {
	var same []int
	for i := range g.labels {
		if string(g.labels[len(g.labels)-1-i]) == string(target) {
			same = append(same, i)
		}
	}
	n := g.choose(6)
	g.op(opBrTable)
	g.index(n)
	for range n {
		g.index(same[g.choose(len(same))])
	}
	g.index(label)
}
