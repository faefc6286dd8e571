package fuel

// instruction is a row of the table of instructions.
type instruction struct {
	name string
	imm  immediate
	cost uint8 // in units of fuel, without what bulk operations pay on top
	// stack is by how many operands the stack is higher afterwards; without
	// what the type of a block or a call adds.
	stack int8
}

// immediate tells what follows an opcode. Zero is the immediate of an
// instruction that isn't in the table.
type immediate uint8

const (
	immRefused      immediate = iota
	immNone                   // nothing
	immBlock                  // block type
	immLabel                  // label
	immLabels                 // vector of labels and one more
	immFunc                   // function
	immCallIndirect           // type, table
	immTypes                  // vector of value types
	immLocal                  // local
	immGlobal                 // global
	immTable                  // table
	immTables                 // table, table
	immTableInit              // element segment, table
	immElem                   // element segment
	immMemarg                 // alignment, offset
	immMemargLane             // alignment, offset, lane
	immMemory                 // memory, always 0
	immMemories               // memory, memory, both always 0
	immInit                   // data segment, memory
	immData                   // data segment
	immI32                    // signed number of 32 bits
	immI64                    // signed number of 64 bits
	immF32                    // 4 bytes
	immF64                    // 8 bytes
	immV128                   // 16 bytes
	immShuffle                // 16 lanes
	immLane                   // lane
	immRef                    // reference type
)

// Opcodes that the rewriter tells apart or writes. Those after a prefix are
// prefix << 8 | number.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelect       = 0x1b
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32GtU       = 0x4b
	opI32LeU       = 0x4d
	opI64LtS       = 0x53
	opI64GtU       = 0x56
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI32Or        = 0x72
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Or        = 0x84
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad // i64.extend_i32_u
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	prefixMisc     = 0xfc
	prefixVector   = 0xfd
	opMemoryInit   = prefixMisc<<8 | 8
	opMemoryCopy   = prefixMisc<<8 | 10
	opMemoryFill   = prefixMisc<<8 | 11
	opTableInit    = prefixMisc<<8 | 12
	opTableCopy    = prefixMisc<<8 | 14
	opTableFill    = prefixMisc<<8 | 17
	opV128Const    = prefixVector<<8 | 12
)

// lookUp gives the row of an opcode, of immRefused where there is none.
func lookUp(code uint16) *instruction {
	switch code >> 8 {
	case prefixMisc:
		return &miscTable[code&0xff]
	case prefixVector:
		return &vectorTable[code&0xff]
	}
	return &coreTable[code]
}

// coreTable has the instructions of one byte, of WebAssembly 2.0
// (https://www.w3.org/TR/wasm-core-2/#a7-index-of-instructions). Never written.
var coreTable = [256]instruction{
	0x00: {"unreachable", immNone, 1, 0},
	0x01: {"nop", immNone, 0, 0},
	0x02: {"block", immBlock, 0, 0},
	0x03: {"loop", immBlock, 0, 0},
	0x04: {"if", immBlock, 1, -1},
	0x05: {"else", immNone, 0, 0},
	0x0b: {"end", immNone, 0, 0},
	0x0c: {"br", immLabel, 1, 0},
	0x0d: {"br_if", immLabel, 1, -1},
	0x0e: {"br_table", immLabels, 1, -1},
	0x0f: {"return", immNone, 1, 0},
	0x10: {"call", immFunc, 1, 0},
	0x11: {"call_indirect", immCallIndirect, 1, -1},
	0x1a: {"drop", immNone, 1, -1},
	0x1b: {"select", immNone, 1, -2},
	0x1c: {"select t", immTypes, 1, -2},
	0x20: {"local.get", immLocal, 1, 1},
	0x21: {"local.set", immLocal, 1, -1},
	0x22: {"local.tee", immLocal, 1, 0},
	0x23: {"global.get", immGlobal, 1, 1},
	0x24: {"global.set", immGlobal, 1, -1},
	0x25: {"table.get", immTable, 1, 0},
	0x26: {"table.set", immTable, 1, -2},
	0x28: {"i32.load", immMemarg, 1, 0},
	0x29: {"i64.load", immMemarg, 1, 0},
	0x2a: {"f32.load", immMemarg, 1, 0},
	0x2b: {"f64.load", immMemarg, 1, 0},
	0x2c: {"i32.load8_s", immMemarg, 1, 0},
	0x2d: {"i32.load8_u", immMemarg, 1, 0},
	0x2e: {"i32.load16_s", immMemarg, 1, 0},
	0x2f: {"i32.load16_u", immMemarg, 1, 0},
	0x30: {"i64.load8_s", immMemarg, 1, 0},
	0x31: {"i64.load8_u", immMemarg, 1, 0},
	0x32: {"i64.load16_s", immMemarg, 1, 0},
	0x33: {"i64.load16_u", immMemarg, 1, 0},
	0x34: {"i64.load32_s", immMemarg, 1, 0},
	0x35: {"i64.load32_u", immMemarg, 1, 0},
	0x36: {"i32.store", immMemarg, 1, -2},
	0x37: {"i64.store", immMemarg, 1, -2},
	0x38: {"f32.store", immMemarg, 1, -2},
	0x39: {"f64.store", immMemarg, 1, -2},
	0x3a: {"i32.store8", immMemarg, 1, -2},
	0x3b: {"i32.store16", immMemarg, 1, -2},
	0x3c: {"i64.store8", immMemarg, 1, -2},
	0x3d: {"i64.store16", immMemarg, 1, -2},
	0x3e: {"i64.store32", immMemarg, 1, -2},
	0x3f: {"memory.size", immMemory, 1, 1},
	0x40: {"memory.grow", immMemory, 1, 0},
	0x41: {"i32.const", immI32, 1, 1},
	0x42: {"i64.const", immI64, 1, 1},
	0x43: {"f32.const", immF32, 1, 1},
	0x44: {"f64.const", immF64, 1, 1},
	0x45: {"i32.eqz", immNone, 1, 0},
	0x46: {"i32.eq", immNone, 1, -1},
	0x47: {"i32.ne", immNone, 1, -1},
	0x48: {"i32.lt_s", immNone, 1, -1},
	0x49: {"i32.lt_u", immNone, 1, -1},
	0x4a: {"i32.gt_s", immNone, 1, -1},
	0x4b: {"i32.gt_u", immNone, 1, -1},
	0x4c: {"i32.le_s", immNone, 1, -1},
	0x4d: {"i32.le_u", immNone, 1, -1},
	0x4e: {"i32.ge_s", immNone, 1, -1},
	0x4f: {"i32.ge_u", immNone, 1, -1},
	0x50: {"i64.eqz", immNone, 1, 0},
	0x51: {"i64.eq", immNone, 1, -1},
	0x52: {"i64.ne", immNone, 1, -1},
	0x53: {"i64.lt_s", immNone, 1, -1},
	0x54: {"i64.lt_u", immNone, 1, -1},
	0x55: {"i64.gt_s", immNone, 1, -1},
	0x56: {"i64.gt_u", immNone, 1, -1},
	0x57: {"i64.le_s", immNone, 1, -1},
	0x58: {"i64.le_u", immNone, 1, -1},
	0x59: {"i64.ge_s", immNone, 1, -1},
	0x5a: {"i64.ge_u", immNone, 1, -1},
	0x5b: {"f32.eq", immNone, 1, -1},
	0x5c: {"f32.ne", immNone, 1, -1},
	0x5d: {"f32.lt", immNone, 1, -1},
	0x5e: {"f32.gt", immNone, 1, -1},
	0x5f: {"f32.le", immNone, 1, -1},
	0x60: {"f32.ge", immNone, 1, -1},
	0x61: {"f64.eq", immNone, 1, -1},
	0x62: {"f64.ne", immNone, 1, -1},
	0x63: {"f64.lt", immNone, 1, -1},
	0x64: {"f64.gt", immNone, 1, -1},
	0x65: {"f64.le", immNone, 1, -1},
	0x66: {"f64.ge", immNone, 1, -1},
	0x67: {"i32.clz", immNone, 1, 0},
	0x68: {"i32.ctz", immNone, 1, 0},
	0x69: {"i32.popcnt", immNone, 1, 0},
	0x6a: {"i32.add", immNone, 1, -1},
	0x6b: {"i32.sub", immNone, 1, -1},
	0x6c: {"i32.mul", immNone, 1, -1},
	0x6d: {"i32.div_s", immNone, 1, -1},
	0x6e: {"i32.div_u", immNone, 1, -1},
	0x6f: {"i32.rem_s", immNone, 1, -1},
	0x70: {"i32.rem_u", immNone, 1, -1},
	0x71: {"i32.and", immNone, 1, -1},
	0x72: {"i32.or", immNone, 1, -1},
	0x73: {"i32.xor", immNone, 1, -1},
	0x74: {"i32.shl", immNone, 1, -1},
	0x75: {"i32.shr_s", immNone, 1, -1},
	0x76: {"i32.shr_u", immNone, 1, -1},
	0x77: {"i32.rotl", immNone, 1, -1},
	0x78: {"i32.rotr", immNone, 1, -1},
	0x79: {"i64.clz", immNone, 1, 0},
	0x7a: {"i64.ctz", immNone, 1, 0},
	0x7b: {"i64.popcnt", immNone, 1, 0},
	0x7c: {"i64.add", immNone, 1, -1},
	0x7d: {"i64.sub", immNone, 1, -1},
	0x7e: {"i64.mul", immNone, 1, -1},
	0x7f: {"i64.div_s", immNone, 1, -1},
	0x80: {"i64.div_u", immNone, 1, -1},
	0x81: {"i64.rem_s", immNone, 1, -1},
	0x82: {"i64.rem_u", immNone, 1, -1},
	0x83: {"i64.and", immNone, 1, -1},
	0x84: {"i64.or", immNone, 1, -1},
	0x85: {"i64.xor", immNone, 1, -1},
	0x86: {"i64.shl", immNone, 1, -1},
	0x87: {"i64.shr_s", immNone, 1, -1},
	0x88: {"i64.shr_u", immNone, 1, -1},
	0x89: {"i64.rotl", immNone, 1, -1},
	0x8a: {"i64.rotr", immNone, 1, -1},
	0x8b: {"f32.abs", immNone, 1, 0},
	0x8c: {"f32.neg", immNone, 1, 0},
	0x8d: {"f32.ceil", immNone, 1, 0},
	0x8e: {"f32.floor", immNone, 1, 0},
	0x8f: {"f32.trunc", immNone, 1, 0},
	0x90: {"f32.nearest", immNone, 1, 0},
	0x91: {"f32.sqrt", immNone, 1, 0},
	0x92: {"f32.add", immNone, 1, -1},
	0x93: {"f32.sub", immNone, 1, -1},
	0x94: {"f32.mul", immNone, 1, -1},
	0x95: {"f32.div", immNone, 1, -1},
	0x96: {"f32.min", immNone, 1, -1},
	0x97: {"f32.max", immNone, 1, -1},
	0x98: {"f32.copysign", immNone, 1, -1},
	0x99: {"f64.abs", immNone, 1, 0},
	0x9a: {"f64.neg", immNone, 1, 0},
	0x9b: {"f64.ceil", immNone, 1, 0},
	0x9c: {"f64.floor", immNone, 1, 0},
	0x9d: {"f64.trunc", immNone, 1, 0},
	0x9e: {"f64.nearest", immNone, 1, 0},
	0x9f: {"f64.sqrt", immNone, 1, 0},
	0xa0: {"f64.add", immNone, 1, -1},
	0xa1: {"f64.sub", immNone, 1, -1},
	0xa2: {"f64.mul", immNone, 1, -1},
	0xa3: {"f64.div", immNone, 1, -1},
	0xa4: {"f64.min", immNone, 1, -1},
	0xa5: {"f64.max", immNone, 1, -1},
	0xa6: {"f64.copysign", immNone, 1, -1},
	0xa7: {"i32.wrap_i64", immNone, 1, 0},
	0xa8: {"i32.trunc_f32_s", immNone, 1, 0},
	0xa9: {"i32.trunc_f32_u", immNone, 1, 0},
	0xaa: {"i32.trunc_f64_s", immNone, 1, 0},
	0xab: {"i32.trunc_f64_u", immNone, 1, 0},
	0xac: {"i64.extend_i32_s", immNone, 1, 0},
	0xad: {"i64.extend_i32_u", immNone, 1, 0},
	0xae: {"i64.trunc_f32_s", immNone, 1, 0},
	0xaf: {"i64.trunc_f32_u", immNone, 1, 0},
	0xb0: {"i64.trunc_f64_s", immNone, 1, 0},
	0xb1: {"i64.trunc_f64_u", immNone, 1, 0},
	0xb2: {"f32.convert_i32_s", immNone, 1, 0},
	0xb3: {"f32.convert_i32_u", immNone, 1, 0},
	0xb4: {"f32.convert_i64_s", immNone, 1, 0},
	0xb5: {"f32.convert_i64u", immNone, 1, 0},
	0xb6: {"f32.demote_f64", immNone, 1, 0},
	0xb7: {"f64.convert_i32_s", immNone, 1, 0},
	0xb8: {"f64.convert_i32_u", immNone, 1, 0},
	0xb9: {"f64.convert_i64_s", immNone, 1, 0},
	0xba: {"f64.convert_i64_u", immNone, 1, 0},
	0xbb: {"f64.promote_f32", immNone, 1, 0},
	0xbc: {"i32.reinterpret_f32", immNone, 1, 0},
	0xbd: {"i64.reinterpret_f64", immNone, 1, 0},
	0xbe: {"f32.reinterpret_i32", immNone, 1, 0},
	0xbf: {"f64.reinterpret_i64", immNone, 1, 0},
	0xc0: {"i32.extend8_s", immNone, 1, 0},
	0xc1: {"i32.extend16_s", immNone, 1, 0},
	0xc2: {"i64.extend8_s", immNone, 1, 0},
	0xc3: {"i64.extend16_s", immNone, 1, 0},
	0xc4: {"i64.extend32_s", immNone, 1, 0},
	0xd0: {"ref.null", immRef, 1, 1},
	0xd1: {"ref.is_null", immNone, 1, 0},
	0xd2: {"ref.func", immFunc, 1, 1},
}

// miscTable has those after the prefix 0xfc. Never written.
var miscTable = [256]instruction{
	0x00: {"i32.trunc_sat_f32_s", immNone, 1, 0},
	0x01: {"i32.trunc_sat_f32_u", immNone, 1, 0},
	0x02: {"i32.trunc_sat_f64_s", immNone, 1, 0},
	0x03: {"i32.trunc_sat_f64_u", immNone, 1, 0},
	0x04: {"i64.trunc_sat_f32_s", immNone, 1, 0},
	0x05: {"i64.trunc_sat_f32_u", immNone, 1, 0},
	0x06: {"i64.trunc_sat_f64_s", immNone, 1, 0},
	0x07: {"i64.trunc_sat_f64_u", immNone, 1, 0},
	0x08: {"memory.init", immInit, 1, -3},
	0x09: {"data.drop", immData, 1, 0},
	0x0a: {"memory.copy", immMemories, 1, -3},
	0x0b: {"memory.fill", immMemory, 1, -3},
	0x0c: {"table.init", immTableInit, 1, -3},
	0x0d: {"elem.drop", immElem, 1, 0},
	0x0e: {"table.copy", immTables, 1, -3},
	0x0f: {"table.grow", immTable, 1, -1},
	0x10: {"table.size", immTable, 1, 1},
	0x11: {"table.fill", immTable, 1, -3},
}
