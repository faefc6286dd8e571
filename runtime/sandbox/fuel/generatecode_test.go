package fuel

import (
	"bytes"
	"math/bits"
	"strconv"
	"strings"
)

// statement makes code that leaves nothing on the stack.
func (g *generator) statement() {
	if g.deep() {
		g.op(0x01)
		return
	}
	defer func() { g.depth-- }()
	switch g.choose(22) {
	case 0:
		g.op(0x01)
	case 1, 2:
		t := g.typ()
		g.value(t)
		g.op(opLocalSet)
		g.u32(g.local(t))
	case 3:
		i := g.choose(len(genTypes))
		g.value(genTypes[i])
		g.op(opGlobalSet, byte(i))
	case 4:
		g.operation(g.ops[0][g.choose(len(g.ops[0]))])
	case 5:
		g.inBlock(opBlock, nil)
	case 6, 7:
		g.inBlock(opLoop, nil)
	case 8:
		g.inBlock(opIf, nil)
	case 9:
		g.typedBlock()
	case 10, 11:
		g.branch(opBrIf)
	case 12:
		g.branch(opBr)
	case 13:
		g.branch(opBrTable)
	case 14:
		g.values(g.t.results)
		g.op(opReturn)
	case 15, 16:
		g.drop(g.call())
	case 17, 18:
		g.bulk()
	case 19:
		g.tables()
	case 20:
		if g.choose(6) == 1 {
			g.op(opUnreachable)
		}
	case 21:
		g.op(prefixMisc, []byte{9, 13}[g.choose(2)]) // data.drop, elem.drop
		g.op(byte(g.choose(3)))
	}
}

// address makes an address, mostly within memory.
func (g *generator) address() {
	g.value(typeI32)
	if g.choose(8) != 1 {
		g.i32(int32(g.pages)<<16 - 1 - int32(g.choose(2))*400)
		g.op(0x71) // i32.and
	}
}

// operation writes one with its operands.
func (g *generator) operation(o operation) {
	memory := o.row.imm == immMemarg || o.row.imm == immMemargLane
	for i, t := range o.params {
		if i == 0 && memory {
			g.address()
		} else {
			g.value(t)
		}
	}
	g.opcode(o.code)
	width, lanes := accessOf(o.row.name)
	switch o.row.imm {
	case immMemarg, immMemargLane:
		g.index(g.choose(bits.Len(uint(width))))
		g.index(g.choose(300))
		if o.row.imm == immMemargLane {
			g.op(byte(g.choose(16 / width)))
		}
	case immLane:
		g.op(byte(g.choose(lanes)))
	case immShuffle:
		for range 16 {
			g.op(byte(g.choose(32)))
		}
	case immI32, immI64, immF32, immF64, immV128:
		g.constant(o.row.imm)
	}
}

// accessOf gives how many bytes an instruction loads or stores, and how many
// lanes its shape has.
func accessOf(name string) (width, lanes int) {
	prefix, op, _ := strings.Cut(name, ".")
	if at := strings.IndexByte(prefix, 'x'); at > 0 {
		lanes, _ = strconv.Atoi(prefix[at+1:])
	}
	number := strings.TrimLeft(op, "loadstre")
	end := strings.IndexFunc(number, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		number, op = number[:end], number[end:]
	}
	if n, err := strconv.Atoi(number); err == nil {
		width = n / 8
		if strings.HasPrefix(op, "x") { // v128.load8x8_s
			width = 8
		}
		return width, lanes
	}
	return map[string]int{"i32": 4, "i64": 8, "f32": 4, "f64": 8, "v128": 16}[prefix], lanes
}

func (g *generator) constant(imm immediate) {
	n := g.choose(65536)
	switch imm {
	case immI32:
		g.code = appendSigned(g.code, int64(int32(n-32768)<<(n%17)))
	case immI64:
		g.code = appendSigned(g.code, int64(n-32768)<<(n%48))
	case immF32:
		g.op(0, 0, byte(n), byte(n>>8)&0xbf)
	case immF64:
		g.op(0, 0, 0, 0, 0, 0, byte(n), byte(n>>8)&0xbf)
	case immV128:
		for i := range 16 {
			g.op(byte(n >> (i & 8) * (i + 1)))
		}
	}
}

// call calls a function, directly or not, and gives what is on the stack then.
func (g *generator) call() []byte {
	i := g.choose(len(g.funcs) + 1)
	if i == 0 {
		g.value(typeI32)
		g.op(opCall, byte(g.choose(8)/7))
		return []byte{typeI32}
	}
	t := g.types[g.funcs[i-1]]
	g.values(t.params)
	if g.choose(3) == 1 {
		if g.choose(2) == 0 {
			g.i32(int32(i-1+genImports) % int32(genElements[0].size))
		} else {
			g.value(typeI32)
			g.i32(7)
			g.op(0x71) // i32.and
		}
		g.op(opCallIndirect)
		g.index(int(g.funcs[i-1]))
		g.op(byte(g.choose(8) / 7))
	} else {
		g.op(opCall)
		g.index(i - 1 + genImports)
	}
	return t.results
}

// count makes a count of bytes, of all sizes.
func (g *generator) count() {
	switch g.choose(4) {
	case 0:
		g.i32(int32(g.choose(200)))
	case 1:
		g.i32(int32(g.choose(65536)))
	case 2:
		g.i32(int32(g.choose(65536)) << 4)
	case 3:
		g.value(typeI32)
	}
}

func (g *generator) bulk() {
	g.address()
	switch op := 8 + g.choose(4); op {
	case 8:
		g.i32(int32(g.choose(genData)))
		g.i32(int32(g.choose(genData)))
		g.misc(8)
		g.op(byte(g.choose(3)), 0)
	case 9, 10:
		g.address()
		g.count()
		g.misc(10)
		g.op(0, 0)
	case 11:
		g.value(typeI32)
		g.count()
		g.misc(11)
		g.op(0)
	}
}

// tables works on tables and their segments.
func (g *generator) tables() {
	small := func() { g.i32(int32(g.choose(8))) }
	table := g.choose(len(genTables))
	t := genTables[table].typ
	small()
	switch g.choose(5) {
	case 0:
		g.value(t)
		g.op(0x26) // table.set
		g.index(table)
	case 1:
		g.value(t)
		small()
		g.misc(17) // table.fill
		g.index(table)
	case 2:
		other := table
		if t == typeFunc {
			other = g.choose(2)
		}
		small()
		small()
		g.misc(14) // table.copy
		g.op(byte(table), byte(other))
	case 3:
		segment := 2
		if t == typeFunc {
			segment = []int{0, 1, 3}[g.choose(3)]
		}
		small()
		small()
		g.misc(12) // table.init
		g.op(byte(segment), byte(table))
	case 4:
		g.op(opLocalSet)
		g.u32(g.local(typeI32))
	}
}

// value makes code that leaves one value of the type.
func (g *generator) value(t byte) {
	if g.deep() {
		g.leaf(t)
		return
	}
	defer func() { g.depth-- }()
	switch g.choose(16) {
	case 0, 1:
		g.leaf(t)
	case 2, 3, 4, 5, 6, 7:
		if ops := g.ops[t]; len(ops) > 0 {
			g.operation(ops[g.choose(len(ops))])
		} else {
			g.reference(t)
		}
	case 8:
		g.inBlock(opBlock, []byte{t})
	case 9:
		g.inBlock(opLoop, []byte{t})
	case 10:
		g.inBlock(opIf, []byte{t})
	case 11:
		g.value(t)
		g.value(t)
		g.value(typeI32)
		if isReferenceType(t) || g.choose(4) == 1 {
			g.op(0x1c, 1, t) // select t
		} else {
			g.op(opSelect)
		}
	case 12:
		g.value(t)
		g.op(opLocalTee)
		g.u32(g.local(t))
	case 13:
		g.drop(g.call())
		g.leaf(t)
	case 14:
		g.statement()
		g.value(t)
	case 15:
		g.sizes(t)
	}
}

// reference makes one out of a table, or of a function.
func (g *generator) reference(t byte) {
	switch {
	case g.choose(2) == 0:
		table := 2
		if t == typeFunc {
			table = g.choose(2)
		}
		g.i32(int32(g.choose(6)))
		g.op(0x25, byte(table)) // table.get
	case t == typeFunc:
		g.op(opRefFunc)
		g.index(g.choose(len(g.funcs) + genImports))
	default:
		g.op(opRefNull, t)
	}
}

// sizes asks for sizes and grows.
func (g *generator) sizes(t byte) {
	if t != typeI32 {
		g.leaf(t)
		return
	}
	table := g.choose(len(genTables))
	switch g.choose(5) {
	case 0:
		g.op(opMemorySize, 0)
	case 1:
		g.i32(int32(g.choose(4)))
		g.op(opMemoryGrow, 0)
	case 2:
		g.value([]byte{typeFunc, typeExtern}[g.choose(2)])
		g.op(0xd1) // ref.is_null
	case 3:
		g.misc(16) // table.size
		g.index(table)
	case 4:
		g.value(genTables[table].typ)
		g.i32(int32(g.choose(3)))
		g.misc(15) // table.grow
		g.index(table)
	}
}

func (g *generator) leaf(t byte) {
	switch g.choose(4) {
	case 1:
		g.op(opLocalGet)
		g.u32(g.local(t))
		return
	case 2:
		g.op(opGlobalGet)
		g.index(typeNumber(t))
		return
	case 3:
		if i := bytes.IndexByte([]byte{typeI32, typeI64, typeFunc, typeExtern}, t); i >= 0 {
			g.op(opGlobalGet)
			g.index(genConstants + i)
			return
		}
	}
	if isReferenceType(t) {
		g.op(opRefNull, t)
		return
	}
	i := typeNumber(t)
	g.opcode([]uint16{opI32Const, opI64Const, opF32Const, opF64Const, opV128Const}[i])
	g.constant([]immediate{immI32, immI64, immF32, immF64, immV128}[i])
}
