package fuel

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
		i := g.choose(4)
		g.value(genTypes[i])
		g.op(opGlobalSet, byte(i))
	case 4:
		g.store()
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
		g.op(1)
	}
}

// address makes an address, mostly within memory.
func (g *generator) address() {
	g.value(typeI32)
	if g.choose(4) != 1 {
		g.i32(genPages<<16 - 1)
		g.op(0x71) // i32.and
	}
}

func (g *generator) store() {
	g.address()
	t := g.typ()
	g.value(t)
	ops := map[byte][]byte{typeI32: {0x36, 0x3a, 0x3b}, typeI64: {0x37, 0x3c, 0x3d, 0x3e}, typeF32: {0x38}, typeF64: {0x39}}[t]
	g.op(ops[g.choose(len(ops))], 0)
	g.index(g.choose(300))
}

// call calls a function, directly or not, and gives what is on the stack then.
func (g *generator) call() []byte {
	i := g.choose(len(g.funcs) + 1)
	if i == 0 {
		g.value(typeI32)
		g.op(opCall, 0)
		return []byte{typeI32}
	}
	t := g.types[g.funcs[i-1]]
	g.values(t.params)
	if g.choose(3) == 1 {
		g.value(typeI32)
		g.i32(7)
		g.op(0x71, opCallIndirect) // i32.and
		g.index(int(g.funcs[i-1]))
		g.op(0)
	} else {
		g.op(opCall)
		g.index(i)
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

func (g *generator) tables() {
	small := func() { g.i32(int32(g.choose(6))) }
	small()
	switch g.choose(5) {
	case 0:
		g.op(opRefNull, 0x70)
		g.op(0x26, byte(g.choose(2))) // table.set
	case 1:
		g.op(opRefFunc)
		g.index(g.choose(len(g.funcs) + 1))
		small()
		g.misc(17)
		g.op(byte(g.choose(2)))
	case 2:
		small()
		small()
		g.misc(14)
		g.op(byte(g.choose(2)), byte(g.choose(2)))
	case 3:
		small()
		small()
		g.misc(12)
		g.op(1, byte(g.choose(2)))
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
	case 0, 1, 2:
		g.leaf(t)
	case 3, 4, 5:
		g.binary(t)
	case 6:
		g.unary(t)
	case 7:
		g.address()
		op := map[byte][]byte{typeI32: {0x28, 0x2c, 0x2f}, typeI64: {0x29, 0x31, 0x34}, typeF32: {0x2a}, typeF64: {0x2b}}[t]
		g.op(op[g.choose(len(op))], 0)
		g.index(g.choose(300))
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
		g.op(opSelect)
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

// sizes asks for sizes and grows.
func (g *generator) sizes(t byte) {
	if t != typeI32 {
		g.leaf(t)
		return
	}
	switch g.choose(4) {
	case 0:
		g.op(opMemorySize, 0)
	case 1:
		g.i32(int32(g.choose(4)))
		g.op(opMemoryGrow, 0)
	case 2:
		g.i32(int32(g.choose(14)))
		g.op(0x25, byte(g.choose(2)), 0xd1) // table.get, ref.is_null
	case 3:
		g.value(typeI32)
		g.op(prefixVector, 0x11) // i32x4.splat
		g.value(typeI32)
		g.op(prefixVector, 0x11, prefixVector, 0xae, 0x01, prefixVector, 0x1b, 2) // add, extract_lane
	}
}

func (g *generator) leaf(t byte) {
	switch g.choose(3) {
	case 1:
		g.op(opLocalGet)
		g.u32(g.local(t))
		return
	case 2:
		g.op(opGlobalGet, byte(typeNumber(t)))
		return
	}
	n := g.choose(65536)
	switch t {
	case typeI32:
		g.i32(int32(n-32768) << (n % 17))
	case typeI64:
		g.code = appendI64(g.code, int64(n-32768)<<(n%48))
	case typeF32:
		g.op(opF32Const, 0, 0, byte(n), byte(n>>8)&0xbf)
	case typeF64:
		g.op(opF64Const, 0, 0, 0, 0, 0, 0, byte(n), byte(n>>8)&0xbf)
	}
}

func (g *generator) binary(t byte) {
	first, n := map[byte]byte{typeI32: 0x6a, typeI64: 0x7c, typeF32: 0x92, typeF64: 0xa0}[t], 7
	if t == typeI32 || t == typeI64 {
		n = 15
	}
	g.value(t)
	g.value(t)
	g.op(first + byte(g.choose(n)))
}

// unary makes an instruction of one operand of any type, conversions that trap
// among them.
func (g *generator) unary(t byte) {
	type from struct{ operand, op byte }
	froms := map[byte][]from{
		typeI32: {{typeI32, 0x45}, {typeI32, 0x67}, {typeI64, 0x50}, {typeI64, 0xa7}, {typeF32, 0xa8}, {typeF64, 0xab}, {typeI32, 0xc0}},
		typeI64: {{typeI64, 0x7b}, {typeI32, 0xac}, {typeI32, 0xad}, {typeF32, 0xae}, {typeF64, 0xb1}, {typeI64, 0xc4}},
		typeF32: {{typeF32, 0x8b}, {typeF32, 0x91}, {typeI32, 0xb2}, {typeI64, 0xb4}, {typeF64, 0xb6}},
		typeF64: {{typeF64, 0x99}, {typeF64, 0x9f}, {typeI32, 0xb7}, {typeI64, 0xba}, {typeF32, 0xbb}},
	}[t]
	f := froms[g.choose(len(froms))]
	g.value(f.operand)
	g.op(f.op)
}
