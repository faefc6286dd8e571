package fuel

// A generator of valid modules. Whatever bytes it is given, it makes one; the
// more bytes, the more code. Its modules end: loops and calls count down a
// global, and trap where it is used up.

const (
	genSteps      = 600 // loop turns and calls of one call from outside
	genGlobals    = 5   // i32, i64, f32, f64, and the steps (i32), all mutable
	genSteps4     = 4   // index of the steps
	genPages      = 9
	genTableSize  = 12
	genData       = 300 // bytes of each data segment: 0 active, 1 and 2 passive
	genLocals     = 8   // of each function, two of each type, after parameters
	typeF32       = 0x7d
	typeF64       = 0x7c
	genMaxDepth   = 6
	genMaxNesting = 12
)

var genTypes = [4]byte{typeI32, typeI64, typeF32, typeF64}

type generator struct {
	src    []byte
	types  []funcType
	funcs  []uint32 // types
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
	if n > 256 && len(g.src) > 0 {
		v = v<<8 | int(g.src[0])
		g.src = g.src[1:]
	}
	return v % n
}

func (g *generator) typ() byte { return genTypes[g.choose(4)] }

func (g *generator) op(b ...byte)    { g.code = append(g.code, b...) }
func (g *generator) u32(v uint32)    { g.code = appendU32(g.code, v) }
func (g *generator) i32(v int32)     { g.code = appendI32(g.code, v) }
func (g *generator) misc(n byte)     { g.op(prefixMisc, n) }
func (g *generator) index(n int)     { g.u32(uint32(n)) }
func (g *generator) typeIndex(n int) { g.code = appendSigned(g.code, int64(n)) }

// generate makes a module.
func generate(src []byte) []byte {
	g := &generator{src: src}
	for range 3 + g.choose(4) {
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
	return g.module(bodies)
}

// module puts everything around the bodies. Function 0 is an import.
func (g *generator) module(bodies []byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, n int, content []byte) {
		out = appendSection(out, id, append(appendU32(nil, uint32(n)), content...))
	}
	var b []byte
	for _, t := range append(g.types, funcType{params: []byte{typeI32}, results: []byte{typeI32}}) {
		b = append(appendU32(append(b, 0x60), uint32(len(t.params))), t.params...)
		b = append(appendU32(b, uint32(len(t.results))), t.results...)
	}
	section(sectionType, len(g.types)+1, b)
	b = append(appendName(appendName(nil, "env"), "mix"), kindFunc)
	section(sectionImport, 1, appendU32(b, uint32(len(g.types))))
	b = nil
	for _, t := range g.funcs {
		b = appendU32(b, t)
	}
	section(sectionFunction, len(g.funcs), b)
	section(sectionTable, 2, []byte{0x70, 0, genTableSize, 0x70, 1, 4, 4})
	section(sectionMemory, 1, []byte{1, genPages, genPages + 2})
	b = []byte{typeI32, 1, opI32Const, 7, opEnd, typeI64, 1, opI64Const, 9, opEnd}
	b = append(b, typeF32, 1, opF32Const, 0, 0, 0xc0, 0x3f, opEnd)
	b = append(b, typeF64, 1, opF64Const, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, opEnd)
	b = append(appendI32(append(b, typeI32, 1), genSteps), opEnd)
	section(sectionGlobal, genGlobals, b)
	b = append(appendName(nil, "memory"), kindMemory, 0)
	for i := range genGlobals {
		b = append(appendName(b, "g"+string(rune('0'+i))), kindGlobal, byte(i))
	}
	for i := range g.funcs {
		b = append(appendName(b, "f"+string(rune('0'+i))), kindFunc, byte(i+1))
	}
	section(sectionExport, 1+genGlobals+len(g.funcs), b)
	// The first table holds functions, some places empty.
	b = []byte{0, opI32Const, 0, opEnd, byte(len(g.funcs) + 1)}
	for i := range len(g.funcs) + 1 {
		b = append(b, byte(i))
	}
	b = append(b, 5, 0x70, 3, opRefFunc, byte(len(g.funcs)), opEnd, opRefNull, 0x70, opEnd, opRefFunc, 0, opEnd)
	section(sectionElement, 2, b)
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

func (g *generator) function(i int) []byte {
	g.code = []byte{4, 2, typeI32, 2, typeI64, 2, typeF32, 2, typeF64}
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
	g.op(opGlobalGet, genSteps4)
	g.i32(1)
	g.op(opI32Sub, opGlobalSet, genSteps4, opGlobalGet, genSteps4)
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

func typeNumber(t byte) int { return typeI32 - int(t) }

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
