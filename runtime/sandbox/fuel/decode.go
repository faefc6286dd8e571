package fuel

// instr is one instruction as it stands in a body.
type instr struct {
	at    int    // offset of its opcode
	code  uint16 // after a prefix: prefix << 8 | number
	row   *instruction
	x, y  uint32 // its indexes, in the order in which they stand
	block blockType
	// Of immLabels, of which there are x + 1: where the first begins.
	labels int
}

// blockType is a block's type: a value type, blockEmpty or typed, and then
// index means the type.
type blockType struct {
	form  byte
	index uint32
}

const (
	blockEmpty = 0x40
	blockTyped = 0
)

// next reads an instruction.
func (r *reader) next(in *instr) {
	in.at = r.at
	c := r.byte()
	in.code = uint16(c)
	if c == prefixMisc || c == prefixVector {
		n := r.u32()
		if n > 0xff {
			r.fail(in.at, "instruction 0x%02x %d is not accepted", c, n)
			n = 0xff
		}
		if c == prefixVector && r.err == nil && r.at-in.at != 2+int(n>>7) {
			// wazero takes one byte for the number, and what follows for the next
			// instruction: 1 behind it, a nop, where it is above 127.
			r.fail(in.at, "instruction 0x%02x %d with more bytes than it needs", c, n)
		}
		in.code = uint16(c)<<8 | uint16(n)
	}
	in.row = lookUp(in.code)
	switch in.row.imm {
	case immNone:
	case immRefused:
		r.refuse(in)
	case immLocal, immGlobal, immLabel, immFunc, immTable, immElem, immData:
		in.x = r.u32()
	case immMemarg:
		r.memarg()
	case immBlock:
		r.blockType(&in.block)
	case immI32:
		r.skipSigned(5)
	case immI64:
		r.skipSigned(10)
	default:
		r.rareImmediate(in)
	}
}

func (r *reader) rareImmediate(in *instr) {
	switch in.row.imm {
	case immLabels:
		// A label takes at least one byte, so the vector has to be there.
		in.x = r.u32()
		if uint64(in.x) > uint64(r.end-r.at) {
			r.truncated()
			return
		}
		in.labels = r.at
		for range uint64(in.x) + 1 {
			r.u32()
		}
	case immCallIndirect, immTables, immTableInit:
		in.x, in.y = r.u32(), r.u32()
	case immTypes:
		if n := r.u32(); n != 1 {
			r.fail(in.at, "%s of %d types", in.row.name, n)
		}
		r.valueType()
	case immMemargLane:
		r.memarg()
		r.byte()
	case immMemory:
		r.zero(in)
	case immMemories:
		r.zero(in)
		r.zero(in)
	case immInit:
		in.x = r.u32()
		r.zero(in)
	case immF32:
		r.bytes(4)
	case immF64:
		r.bytes(8)
	case immV128, immShuffle:
		r.bytes(16)
	case immLane:
		r.byte()
	case immRef:
		r.referenceType()
	}
}

func (r *reader) refuse(in *instr) {
	if in.code > 0xff {
		r.fail(in.at, "instruction 0x%02x %d is not accepted", in.code>>8, in.code&0xff)
		return
	}
	r.fail(in.at, "instruction 0x%02x is not accepted", in.code)
}

// memarg reads alignment and offset. An alignment over 63 says that a memory's
// index follows, which WebAssembly 2.0 doesn't have.
func (r *reader) memarg() {
	start := r.at
	if align := r.u32(); align > 63 {
		r.fail(start, "an access with alignment 2^%d", align)
	}
	r.u32()
}

// zero reads the index of the one memory.
func (r *reader) zero(in *instr) {
	if c := r.byte(); c != 0 {
		r.fail(in.at, "%s of memory %d; only memory 0 is accepted", in.row.name, c)
	}
}

func (r *reader) blockType(t *blockType) {
	start := r.at
	c := r.byte()
	if c == blockEmpty || isValueType(c) {
		t.form = c
		return
	}
	if c&0x40 != 0 && c < 0x80 {
		r.fail(start, "a block of the unknown type 0x%02x", c)
		return
	}
	r.at = min(start, r.end)
	t.form, t.index = blockTyped, r.u32()
}
