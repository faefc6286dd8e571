package fuel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// bodyModule is a module of one function () -> (), with a memory, a table and
// a data segment, whose body is the code and an end.
func bodyModule(code ...byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = appendSection(out, sectionType, []byte{1, 0x60, 0, 0})
	out = appendSection(out, sectionFunction, []byte{1, 0})
	out = appendSection(out, sectionTable, []byte{1, 0x70, 0, 1})
	out = appendSection(out, sectionMemory, []byte{1, 0, 1})
	out = appendSection(out, sectionExport, append(appendName([]byte{1}, "run"), byte(KindFunc), 0))
	out = appendSection(out, sectionDataCount, []byte{1})
	body := append(append([]byte{0}, code...), opEnd)
	out = appendSection(out, sectionCode, append(appendU32([]byte{1}, uint32(len(body))), body...))
	return appendSection(out, sectionData, []byte{1, 1, 1, 'x'})
}

// TestRefusedCode: whatever isn't in the table of instructions, or has another
// form than there, is refused with its place.
func TestRefusedCode(t *testing.T) {
	for _, tc := range []struct {
		code []byte
		want string
	}{
		{[]byte{0x06, 0x40}, "instruction 0x06 is not accepted"}, // try
		{[]byte{0x08, 0}, "instruction 0x08 is not accepted"},    // throw
		{[]byte{0x12, 0}, "instruction 0x12 is not accepted"},    // return_call
		{[]byte{0x14, 0}, "instruction 0x14 is not accepted"},    // call_ref
		{[]byte{0xff}, "instruction 0xff is not accepted"},
		{[]byte{0xfe, 0x10}, "instruction 0xfe is not accepted"}, // atomic
		{[]byte{0xfc, 18}, "instruction 0xfc 18 is not accepted"},
		{[]byte{0xfd, 0x9a, 0x01}, "instruction 0xfd 154 is not accepted"},
		{[]byte{0xfd, 0x80, 0x02}, "instruction 0xfd 256 is not accepted"}, // relaxed
		{[]byte{0xfd, 0x8c, 0x00}, "instruction 0xfd 12 with more bytes than it needs"},
		{[]byte{0xfd, 0xff, 0x81, 0x00}, "instruction 0xfd 255 with more bytes than it needs"},
		{[]byte{opBlock, blockTyped + 1}, "block of type 1, which there isn't"},
		{[]byte{opBlock, 0x69}, "a block of the unknown type 0x69"},
		{[]byte{opElse}, "else without if"},
		{[]byte{opIf, 0x40, opElse, opElse}, "else without if"},
		{[]byte{opEnd, 0x01}, "2 bytes after the end of a function"},
		{[]byte{opBlock, 0x40}, "the module or a part of it ends in the middle"},
		{[]byte{opBrTable, 0xff, 0xff, 0xff, 0xff, 0x0f}, "the module or a part of it ends in the middle"},
		{[]byte{opBrTable, 1, 0, 1}, "br_table of label 1, which there isn't"},
		{[]byte{0x28, 0x40, 0, 0}, "an access with alignment 2^64"},
		{[]byte{opMemorySize, 1}, "memory.size of memory 1; only memory 0 is accepted"},
		{[]byte{0xfc, 8, 1, 0}, "memory.init of data segment 1, which there isn't"},
		{[]byte{0xfc, 12, 0, 0}, "table.init of element segment 0, which there isn't"},
		{[]byte{0xfc, 14, 0, 1}, "table.copy of table 1, which there isn't"},
		{[]byte{opCall, 0x80, 0x80, 0x80, 0x80, 0x10}, "a number of more than 32 bits"},
		{[]byte{0x1c, 2, 0x7f, 0x7f}, "select t of 2 types"},
		{bytes.Repeat([]byte{opBlock, 0x40}, 10_001), "blocks 10001 deep; at most 10000 are accepted"},
		{make([]byte, 1<<20), "a function of 1048578 bytes; at most 1048576 are accepted"},
	} {
		_, err := Rewrite(bodyModule(tc.code...), Options{})
		var refused *Error
		if !errors.As(err, &refused) || refused.Text != tc.want || refused.Offset < 8 {
			t.Errorf("% x: %v; want %s", tc.code[:min(8, len(tc.code))], err, tc.want)
		}
	}
}

// TestHiddenCode: where wazero reads other instructions than the rewriter, what
// a guest hides in an immediate isn't counted. Here an endless loop stands in a
// v128.const whose number has a byte too many: wazero takes that for
// unreachable.
func TestHiddenCode(t *testing.T) {
	code := []byte{opBlock, 0x40, opBr, 0, prefixVector, 0x8c, 0x00}
	code = append(code, opEnd, opLoop, 0x40, opBr, 0, opEnd, opBlock, 0x40, opUnreachable, 1, 1, 1, 1, 1, 1, 1)
	code = append(code, 0x1a, opEnd)
	wasm := bodyModule(code...)
	if err := compile(newRuntime(t), wasm); err != nil {
		t.Errorf("wazero doesn't read it like that any more: %v", err)
	}
	if _, err := Rewrite(wasm, Options{}); err == nil || !strings.Contains(err.Error(), "instruction 0xfd 12 with more bytes than it needs") {
		t.Errorf("got %v", err)
	}
}

// TestTable: the table has an instruction for each that wazero's validator
// knows of WebAssembly 2.0, and no other.
func TestTable(t *testing.T) {
	count := 0
	for _, table := range []*[256]instruction{&coreTable, &miscTable, &vectorTable} {
		for _, row := range table {
			if row.imm != immRefused {
				count++
			}
			if (row.name == "") != (row.imm == immRefused) || row.cost > 1 {
				t.Errorf("row %+v", row)
			}
		}
	}
	if want := 183 + 18 + 236; count != want {
		t.Errorf("%d instructions, want %d", count, want)
	}
	r := newRuntime(t)
	for code := range 3 * 256 {
		op := []byte{byte(code)}
		if code >= 512 {
			op = appendU32([]byte{prefixVector}, uint32(code-512))
		} else if code >= 256 {
			op = appendU32([]byte{prefixMisc}, uint32(code-256))
		}
		wasm := bodyModule(append(append([]byte{opUnreachable}, op...), make([]byte, 20)...)...)
		_, err := r.CompileModule(context.Background(), wasm)
		unknown := err != nil && (strings.Contains(err.Error(), "invalid instruction") || strings.Contains(err.Error(), "unknown") || strings.Contains(err.Error(), "feature") || strings.Contains(err.Error(), "invalid opcode"))
		_, errFuel := Rewrite(wasm, Options{})
		refused := errFuel != nil && strings.Contains(errFuel.Error(), "is not accepted")
		if refused && err == nil || unknown && errFuel == nil {
			t.Errorf("% x: wazero says %v, the rewriter %v", op, err, errFuel)
		}
	}
}

// FuzzRewrite: hostile bytes neither panic nor grow without bound, give the
// same twice, and a module that wazero refuses isn't made valid.
func FuzzRewrite(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		seed := make([]byte, 10+random.IntN(200))
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(generate(seed))
	}
	f.Add(bodyModule(opLoop, 0x40, opBr, 0, opEnd))
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if len(wasm) > 1<<16 {
			return
		}
		m, err := Rewrite(wasm, Options{Globals: true})
		if err != nil {
			return
		}
		if n := 60*len(wasm) + 4096; len(m.Wasm) > n {
			t.Errorf("%d bytes became %d", len(wasm), len(m.Wasm))
		}
		again, err := Rewrite(wasm, Options{Globals: true})
		if err != nil || !bytes.Equal(m.Wasm, again.Wasm) {
			t.Errorf("not the same twice: %v", err)
		}
		if compile(r, m.Wasm) != nil {
			return
		}
		if err := compile(r, withoutCustom(t, wasm)); err != nil {
			t.Errorf("it became valid: %v", err)
		}
	})
}

// withoutCustom gives a module without its custom sections: a broken one, which
// the rewriter leaves out, can make wazero allocate without bound.
func withoutCustom(t *testing.T, wasm []byte) []byte {
	t.Helper()
	m, err := readOutline(wasm, &defaults().Limits)
	if err != nil {
		t.Fatal(err)
	}
	out := slices.Clone(wasm[:8])
	for _, s := range m.sections {
		if s.id != sectionCustom {
			out = append(out, wasm[s.at:s.content.end]...)
		}
	}
	return out
}

func compile(r wazero.Runtime, wasm []byte) error {
	c, err := r.CompileModule(context.Background(), wasm)
	if err == nil {
		err = c.Close(context.Background())
	}
	return err
}

// TestCustom: custom sections stay where they are; functions in names move, and
// DWARF goes, as do broken names.
func TestCustom(t *testing.T) {
	wasm := wat(t, `(module (import "env" "f" (func $imported)) (memory 1)
		(func $first (local $l i32) (memory.fill (i32.const 0) (i32.const 0) (local.get $l)))
		(func $second (call $first)))`)
	wasm = appendSection(wasm, sectionCustom, append(appendName(nil, ".debug_info"), 1, 2, 3))
	wasm = appendSection(wasm, sectionCustom, append(appendName(nil, "weft.manifest"), "name: x"...))
	broken := append(appendName(nil, "name"), 1, 200)
	wasm = appendSection(wasm, sectionCustom, broken)
	m, err := Rewrite(wasm, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := readOutline(m.Wasm, &defaults().Limits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range o.sections {
		if s.id == sectionCustom {
			got = append(got, fmt.Sprintf("%q", m.Wasm[s.content.at:s.content.end]))
		}
	}
	want := []string{
		`"\x04name\x01\x1a\x03\x00\bimported\x02\x05first\x03\x06second\x02\n\x03` + `\x00\x00\x02\x01\x00\x01l\x03\x00"`,
		`"\rweft.manifestname: x"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if m.Refuel != 1 || bytes.Contains(m.Wasm, []byte(".debug")) {
		t.Errorf("refuel is %d", m.Refuel)
	}
}

// TestLimits: a module over a limit is refused, at once.
func TestLimits(t *testing.T) {
	section := func(id byte, content ...byte) []byte {
		return appendSection([]byte("\x00asm\x01\x00\x00\x00"), id, content)
	}
	many := func(id byte, n int, element ...byte) []byte {
		return section(id, append(appendU32(nil, uint32(n)), bytes.Repeat(element, n)...)...)
	}
	locals := func(n uint32) []byte { // and two more
		out := section(sectionType, 1, 0x60, 0, 0)
		out = appendSection(out, sectionFunction, []byte{1, 0})
		body := append(append(appendU32([]byte{2, 2, typeI32}, n), typeI64), opEnd)
		return appendSection(out, sectionCode, append([]byte{1, byte(len(body))}, body...))
	}
	for _, tc := range []struct {
		wasm []byte
		want string
	}{
		{many(sectionType, 10_001, 0x60, 0, 0), "10001 types; at most 10000"},
		{section(sectionType, 0xff, 0xff, 0xff, 0xff, 0x0f), "ends in the middle"},
		{many(sectionGlobal, 10_001, typeI32, 0, opI32Const, 0, opEnd), "10001 globals; at most 10000"},
		{many(sectionTable, 101, 0x70, 0, 0), "101 tables; at most 100"},
		{many(sectionTable, 3, 0x70, 0, 0xff, 0xff, 1), "tables that start with 98301 elements; at most 65536"},
		{many(sectionData, 100_001, 1, 0), "100001 data segments; at most 100000"},
		{many(sectionElement, 100_001, 1, 0, 0), "100001 element segments; at most 100000"},
		{many(sectionMemory, 2, 0, 0), "2 memories; at most 1"},
		{section(sectionMemory, 1, 3, 1, 1), "shared and 64-bit memories"},
		{section(13, 0), "section 13 is not accepted"},
		{append(section(sectionMemory, 0), sectionMemory, 1, 0), "section 5 is out of order or there twice"},
		{locals(9_999), "a function with 10001 locals; at most 10000"},
		{locals(1<<32 - 1), "locals; at most 10000"},
		{locals(1<<32 - 3), "locals; at most 10000"},
	} {
		_, err := Rewrite(tc.wasm, Options{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("% x: %v; want %s", tc.wasm[:12], err, tc.want)
		}
	}
	if _, err := Rewrite(locals(9_998), Options{}); err != nil {
		t.Error(err)
	}
	if _, err := Rewrite(bodyModule(), Options{Limits: Limits{Output: 100}}); err == nil || !strings.Contains(err.Error(), "over 100 bytes") {
		t.Error(err)
	}
}
