package fuel

// Operations whose time grows with an operand become calls of functions that
// are appended to the module, one for each operation and what it works on.
// They have the operation's own type, so nothing around them changes. The short
// ones of memory.fill and memory.copy stay where they are.

// piece is how much of memory is worked on between two looks at the fuel.
const piece = 256 << 10

// What so much costs: one unit for 64 bytes, for 8 elements of a table, and for
// the bytes of a page.
const (
	bytesShift    = 6
	elementsShift = 3
	pageShift     = 16 - bytesShift
)

// shortCopy is up to how many bytes memory.fill and memory.copy stay where they
// are, charged but with no look at the fuel.
const shortCopy = 1024

type helperKey struct {
	code uint16
	x, y uint32 // immediates
}

// copyOperands are those of most: where to, what or from where, how much.
// Never written.
var copyOperands = []byte{typeI32, typeI32, typeI32}

type helper struct {
	helperKey
	typ uint32
}

// helperOf gives the function that does what an instruction does.
func (w *rewriter) helperOf(in *instr) uint32 {
	key := helperKey{code: in.code}
	params, results := copyOperands, []byte(nil)
	switch in.code {
	case opMemoryGrow:
		params, results = []byte{typeI32}, []byte{typeI32}
	case opMemoryInit:
		key.x = in.x
	case opTableFill:
		key.x = in.x
		params = []byte{typeI32, w.m.tables[in.x], typeI32}
	case opTableCopy, opTableInit:
		key.x, key.y = in.x, in.y
	}
	i, ok := w.helper[key]
	if !ok {
		i = uint32(len(w.m.funcs) + 1 + len(w.helpers))
		w.helpers = append(w.helpers, helper{key, w.funcType(params, results)})
		w.helper[key] = i
	}
	return i
}

// The operands of the helpers of memory and tables: destination, source or
// value, and count.
const (
	localDst = iota
	localSrc
	localCount
)

func (w *rewriter) helperBody(h helper) []byte {
	b := &block{w: w, helper: h, b: []byte{0}} // no locals
	switch h.code {
	case opMemoryGrow:
		b.grow()
	case opMemoryFill, opMemoryCopy, opMemoryInit:
		b.memory()
	default:
		b.table()
	}
	return append(b.b, opEnd)
}

// block writes the body of a helper.
type block struct {
	w      *rewriter
	helper helper
	b      []byte
}

func (b *block) op(code ...byte)         { b.b = append(b.b, code...) }
func (b *block) get(local byte)          { b.op(opLocalGet, local) }
func (b *block) i32(v int32)             { b.b = appendI32(b.b, v) }
func (b *block) ifThen()                 { b.op(opIf, blockEmpty) }
func (b *block) wide(local byte)         { b.get(local); b.op(opI64ExtendU) }
func (b *block) tooMany(most int32)      { b.get(localCount); b.i32(most); b.op(opI32GtU) }
func (b *block) move(local, op byte)     { b.get(local); b.i32(piece); b.op(op, opLocalSet, local) }
func (b *block) shift(op byte, by int64) { b.b = append(appendI64(b.b, by), op) }

// operation does what the helper stands for with the operands on the stack.
func (b *block) operation() {
	h := b.helper
	b.op(prefixMisc, byte(h.code))
	switch h.code {
	case opMemoryFill:
		b.op(0)
	case opMemoryCopy:
		b.op(0, 0)
	case opMemoryInit:
		b.b = append(appendU32(b.b, h.x), 0)
	case opTableFill:
		b.b = appendU32(b.b, h.x)
	case opTableInit, opTableCopy:
		b.b = appendU32(appendU32(b.b, h.x), h.y)
	}
}

// whole does the operation with the helper's own operands, as they are now.
func (b *block) whole() {
	b.get(localDst)
	b.get(localSrc)
	b.get(localCount)
	b.operation()
}

// charge subtracts the value on the stack, and looks whether fuel is left.
func (b *block) charge(cost func()) {
	b.op(b.w.getFuel...)
	cost()
	b.op(opI64Sub)
	b.op(b.w.setFuel...)
	b.op(b.w.getFuel...)
	b.b = appendI64(b.b, 0)
	b.op(opI64LtS)
	b.b = b.w.appendIfRefuel(b.b)
}

// grow charges the pages, where there may be so many at all.
func (b *block) grow() {
	const localPages = 0
	b.get(localPages)
	b.i32(int32(b.w.o.MaxPages))
	b.op(opI32LeU)
	b.ifThen()
	b.charge(func() {
		b.wide(localPages)
		b.shift(opI64Shl, pageShift)
	})
	b.op(opEnd)
	b.get(localPages)
	b.op(opMemoryGrow, 0)
}

// table charges and does the operation. It is no loop, because a table has at
// most Limits.TableSize elements. What is longer than the table traps.
func (b *block) table() {
	table := b.helper.x
	if b.helper.code == opTableInit {
		table = b.helper.y
	}
	const opTableSize = 16
	b.get(localCount)
	b.op(prefixMisc, opTableSize)
	b.b = appendU32(b.b, table)
	b.op(opI32GtU)
	b.ifThen()
	b.whole()
	b.op(opEnd)
	b.chargeCount(elementsShift)
	b.whole()
}

func (b *block) chargeCount(shift int64) {
	b.charge(func() {
		b.wide(localCount)
		b.shift(opI64ShrU, shift)
	})
}

// memory does the operation in pieces as long as more than one is left, and
// then the rest. What is out of bounds traps first, by the operation itself.
func (b *block) memory() {
	b.tooMany(piece)
	b.ifThen()
	b.outOfBounds()
	b.ifThen()
	b.whole()
	b.op(opEnd)
	if b.helper.code == opMemoryCopy {
		b.get(localDst)
		b.get(localSrc)
		b.op(opI32LeU)
		b.ifThen()
		b.forward()
		b.op(opElse)
		b.backward()
		b.op(opEnd)
	} else {
		b.forward()
	}
	b.op(opEnd)
	b.chargeCount(bytesShift)
	b.whole()
}

// outOfBounds tells whether destination or source end outside.
func (b *block) outOfBounds() {
	memory := func() {
		b.op(opMemorySize, 0, opI64ExtendU)
		b.shift(opI64Shl, 16)
	}
	ends := func(local byte, size func()) {
		b.wide(local)
		b.wide(localCount)
		b.op(opI64Add)
		size()
		b.op(opI64GtU)
	}
	ends(localDst, memory)
	switch b.helper.code {
	case opMemoryCopy:
		ends(localSrc, memory)
		b.op(opI32Or)
	case opMemoryInit:
		// Once dropped it is empty; then the first piece traps.
		ends(localSrc, func() { b.b = appendI64(b.b, int64(b.w.m.data[b.helper.x])) })
		b.op(opI32Or)
	}
}

func (b *block) chargePiece() {
	b.charge(func() { b.b = appendI64(b.b, piece>>bytesShift) })
}

// forward works from the start on; what is left begins after it.
func (b *block) forward() {
	b.op(opLoop, blockEmpty)
	b.chargePiece()
	b.get(localDst)
	b.get(localSrc)
	b.i32(piece)
	b.operation()
	b.move(localDst, opI32Add)
	if b.helper.code != opMemoryFill {
		b.move(localSrc, opI32Add)
	}
	b.move(localCount, opI32Sub)
	b.tooMany(piece)
	b.op(opBrIf, 0, opEnd)
}

// backward works from the end on, for a copy whose destination overlaps what
// it has yet to read; what is left is the beginning.
func (b *block) backward() {
	b.op(opLoop, blockEmpty)
	b.chargePiece()
	b.move(localCount, opI32Sub)
	for _, local := range []byte{localDst, localSrc} {
		b.get(local)
		b.get(localCount)
		b.op(opI32Add)
	}
	b.i32(piece)
	b.operation()
	b.tooMany(piece)
	b.op(opBrIf, 0, opEnd)
}
