package fuel

import "bytes"

// bomb is a module of one function type, whose work for a compiler grows faster
// than its size. The first function is (i32) -> (), the others are of the same
// or of type 1.
type bomb struct {
	types   []funcType // after (i32) -> ()
	funcs   []uint32   // types; 0 where it is empty: one function of type 0
	globals int        // mutable, i32
	locals  int        // i32, of each function, after the parameters
	bodies  [][]byte   // the last of them stands for all that follow
}

func (b bomb) module() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	types := append([]funcType{{params: []byte{typeI32}}}, b.types...)
	c := appendU32(nil, uint32(len(types)))
	for _, t := range types {
		c = append(appendU32(append(c, 0x60), uint32(len(t.params))), t.params...)
		c = append(appendU32(c, uint32(len(t.results))), t.results...)
	}
	out = appendSection(out, sectionType, c)
	funcs := b.funcs
	if funcs == nil {
		funcs = []uint32{0}
	}
	c = appendU32(nil, uint32(len(funcs)))
	for _, t := range funcs {
		c = appendU32(c, t)
	}
	out = appendSection(out, sectionFunction, c)
	out = appendSection(out, sectionMemory, []byte{1, 0, 1})
	if b.globals > 0 {
		out = appendSection(out, sectionGlobal, append(appendU32(nil, uint32(b.globals)),
			bytes.Repeat([]byte{typeI32, 1, opI32Const, 0, opEnd}, b.globals)...))
	}
	c = appendU32(nil, uint32(len(funcs)))
	for i := range funcs {
		body := append(appendU32([]byte{1}, uint32(b.locals)), typeI32)
		body = append(append(body, b.bodies[min(i, len(b.bodies)-1)]...), opEnd)
		c = append(appendU32(c, uint32(len(body))), body...)
	}
	return appendSection(out, sectionCode, c)
}

// times writes the code n times.
func times(n int, code ...byte) []byte { return bytes.Repeat(code, n) }

// indexed writes, for each number below n, what stands before and after it.
func indexed(n int, before, after []byte) []byte {
	var out []byte
	for i := range n {
		out = append(appendU32(append(out, before...), uint32(i)), after...)
	}
	return out
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func types(n int) []byte { return bytes.Repeat([]byte{typeI32}, n) }

// bombs are shapes, each by a number that makes it grow.
var bombs = []struct {
	name    string
	refused int // a number for which it is refused; 0 where other limits bound it
	make    func(n int) bomb
}{
	{"branches", 100_000, func(n int) bomb {
		return bomb{bodies: [][]byte{joined([]byte{opBlock, blockEmpty}, times(n, opLocalGet, 0, opBrIf, 0), []byte{opEnd})}}
	}},
	{"joins", 80_000, func(n int) bomb {
		return bomb{bodies: [][]byte{times(n, opBlock, blockEmpty, opLocalGet, 0, opBrIf, 0, opEnd)}}
	}},
	{"loops", 20_000, func(n int) bomb {
		return bomb{bodies: [][]byte{times(n, opLoop, blockEmpty, opLocalGet, 0, opBrIf, 0, opEnd)}}
	}},
	{"fills", 50_000, func(n int) bomb {
		return bomb{bodies: [][]byte{times(n, opLocalGet, 0, opLocalGet, 0, opLocalGet, 0, prefixMisc, 11, 0)}}
	}},
	{"copies", 50_000, func(n int) bomb {
		return bomb{bodies: [][]byte{times(n, opLocalGet, 0, opLocalGet, 0, opLocalGet, 0, prefixMisc, 10, 0, 0)}}
	}},
	{"ifs", 100_000, func(n int) bomb {
		return bomb{bodies: [][]byte{times(n, opLocalGet, 0, opIf, blockEmpty, opEnd)}}
	}},
	{"nested ifs", 9_990, func(n int) bomb {
		return bomb{bodies: [][]byte{joined(times(n, opLocalGet, 0, opIf, blockEmpty), times(n, opEnd))}}
	}},
	{"nested loops", 9_990, func(n int) bomb {
		return bomb{bodies: [][]byte{joined(times(n, opLoop, blockEmpty), times(n, opLocalGet, 0, opBrIf, 0, opEnd))}}
	}},
	{"nested blocks", 9_990, func(n int) bomb {
		return bomb{bodies: [][]byte{joined(times(n, opBlock, blockEmpty), times(n, opLocalGet, 0, opBrIf, 0, opLocalGet, 0, opBrIf, 0, opEnd))}}
	}},
	{"locals in blocks", 9_990, func(n int) bomb {
		return bomb{locals: n, bodies: [][]byte{joined(
			indexed(n, []byte{opLocalGet, 0, 0x28, 0, 0, opLocalSet}, nil),
			times(n, opLocalGet, 0, opIf, blockEmpty, opEnd),
			indexed(n, []byte{opLocalGet, 0, opLocalGet}, []byte{0x36, 0, 0}),
		)}}
	}},
	{"locals in loops", 1_000, func(n int) bomb {
		return bomb{locals: n, bodies: [][]byte{joined(
			indexed(n, []byte{opLocalGet, 0, 0x28, 0, 0, opLocalSet}, nil),
			times(n, opLoop, blockEmpty),
			indexed(n, []byte{opLocalGet, 0, opLocalGet}, []byte{0x36, 0, 0}),
			times(n, opLocalGet, 0, opBrIf, 0, opEnd),
		)}}
	}},
	{"locals at joins", 5_000, func(n int) bomb {
		return bomb{locals: n, bodies: [][]byte{joined(
			[]byte{opBlock, blockEmpty},
			times(n, opLocalGet, 0, 0x28, 0, 0, opLocalSet, 1, opLocalGet, 0, opBrIf, 0),
			indexed(n, []byte{opLocalGet, 0, 0x28, 0, 0, opLocalSet}, nil),
			[]byte{opEnd},
			indexed(n, []byte{opLocalGet, 0, opLocalGet}, []byte{0x36, 0, 0}),
		)}}
	}},
	{"phis", 0, func(n int) bomb {
		return bomb{locals: n, bodies: [][]byte{times(10, joined(
			[]byte{opLocalGet, 0, opIf, blockEmpty},
			indexed(n, []byte{opLocalGet, 0, 0x28, 0, 0, opLocalSet}, nil),
			[]byte{opEnd},
			indexed(n, []byte{opLocalGet, 0, opLocalGet}, []byte{0x36, 0, 0}),
		)...)}}
	}},
	{"phis in a row", 0, func(n int) bomb {
		body := joined(indexed(n, []byte{opI32Const, 5, opLocalSet}, nil), []byte{opLoop, blockEmpty})
		for i := range n - 1 {
			body = append(appendU32(append(body, opLocalGet), uint32(i+2)), opLocalSet)
			body = appendU32(body, uint32(i+1))
		}
		return bomb{locals: n, bodies: [][]byte{append(body, opLocalGet, 0, opBrIf, 0, opEnd)}}
	}},
	{"operands over blocks", 30_000, func(n int) bomb {
		return bomb{bodies: [][]byte{joined(
			times(n, opLocalGet, 0, opLocalGet, 0, 0x28, 0, 0),
			times(n, opLocalGet, 0, opIf, blockEmpty, opEnd),
			times(n, 0x36, 0, 0),
		)}}
	}},
	{"tables", 65_000, func(n int) bomb {
		return bomb{bodies: [][]byte{times(4, joined([]byte{opBlock, blockEmpty, opLocalGet, 0, opBrTable}, appendU32(nil, uint32(n)), times(n+1, 0), []byte{opEnd})...)}}
	}},
	{"tables with values", 39_000, func(n int) bomb {
		k := n / 40
		return bomb{types: []funcType{{results: types(k)}}, bodies: [][]byte{
			joined([]byte{opBlock, 1}, times(k+1, opLocalGet, 0), []byte{opBrTable}, appendU32(nil, uint32(n)), times(n+1, 0), []byte{opEnd}, times(k, 0x1a)),
		}}
	}},
	{"branches with values", 39_000, func(n int) bomb {
		k := n / 40
		return bomb{types: []funcType{{results: types(k)}}, bodies: [][]byte{
			joined([]byte{opBlock, 1}, times(k, opLocalGet, 0), times(n, opLocalGet, 0, opBrIf, 0), []byte{opEnd}, times(k, 0x1a)),
		}}
	}},
	{"blocks with values", 39_000, func(n int) bomb {
		k := n / 40
		return bomb{types: []funcType{{params: types(k), results: types(k)}}, bodies: [][]byte{
			joined(times(k, opLocalGet, 0), times(n, opBlock, 1, opEnd), times(k, 0x1a)),
		}}
	}},
	{"loops with values", 39_000, func(n int) bomb {
		k := n / 40
		return bomb{types: []funcType{{params: types(k), results: types(k)}}, bodies: [][]byte{
			joined(times(k, opLocalGet, 0), times(n, opLoop, 1, opEnd), times(k, 0x1a)),
		}}
	}},
	{"calls with results", 39_000, func(n int) bomb {
		k := n / 40
		return bomb{types: []funcType{{results: types(k)}}, funcs: []uint32{0, 1}, bodies: [][]byte{
			joined(times(n, opCall, 1), []byte{opUnreachable}), {opUnreachable},
		}}
	}},
	{"calls and globals", 9_990, func(n int) bomb {
		return bomb{globals: n, bodies: [][]byte{times(n, opLocalGet, 0, opCall, 0)}}
	}},
	{"functions and globals", 0, func(n int) bomb {
		return bomb{globals: n, funcs: make([]uint32, n), bodies: [][]byte{nil}}
	}},
	{"functions and types", 0, func(n int) bomb {
		b := bomb{funcs: make([]uint32, n), bodies: [][]byte{nil}}
		for i := range n {
			b.types = append(b.types, funcType{params: types(i % 100), results: types(i / 100 % 100)})
		}
		return b
	}},
	{"functions after a large one", 50_000, func(n int) bomb {
		return bomb{funcs: make([]uint32, n), bodies: [][]byte{times(n, opLocalGet, 0, opIf, blockEmpty, opEnd), nil}}
	}},
	{"addresses over blocks", 50_000, func(n int) bomb {
		return bomb{locals: 1, bodies: [][]byte{joined(
			times(n, opLocalGet, 1, opI32Const, 1, 0x6a, opLocalTee, 1, 0x28, 0, 0, 0x1a),
			[]byte{opBlock, blockEmpty}, times(n, opLocalGet, 0, opBrIf, 0), []byte{opEnd},
		)}}
	}},
}
