package fuel

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

const bulkPages = 40

// bulkModule has an export for each bulk operation of memory. Its data segment
// is over two pieces.
func bulkModule(t testing.TB) []byte {
	return wat(t, fmt.Sprintf(`(module (memory (export "memory") %d)
		(data $d "%s")
		(func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
		(func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
		(func (export "init") (param i32 i32 i32) (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
		(func (export "drop") (param i32 i32 i32) (data.drop $d)))`,
		bulkPages, strings.Repeat("a segment of data, ", 600<<10/19)))
}

// TestBulk: operations of all sizes, overlaps and bounds do to memory what the
// one instruction does, and cost one unit for 64 bytes.
func TestBulk(t *testing.T) {
	wasm := bulkModule(t)
	h := &host{slice: 100_000, left: math.MaxInt64}
	sides := [2]api.Module{start(t, wasm, nil), start(t, rewrite(t, wasm, Options{}), h)}
	const end = bulkPages << 16
	data := uint64(600 << 10 / 19 * 19)
	pattern := make([]byte, end)
	for j := range pattern {
		pattern[j] = byte(j>>8*7 + j*13)
	}
	check := func(name string, args ...uint64) {
		t.Helper()
		fuel := sides[1].ExportedGlobal("weft_fuel").(api.MutableGlobal)
		fuel.Set(1 << 40)
		var memory [2][]byte
		var errs [2]error
		for i, m := range sides {
			memory[i], _ = m.Memory().Read(0, end)
			copy(memory[i], pattern)
			_, errs[i] = m.ExportedFunction(name).Call(context.Background(), args...)
		}
		if firstLine(errs[0]) != firstLine(errs[1]) {
			t.Errorf("%s%v: %v, rewritten %v", name, args, errs[0], errs[1])
		}
		if !bytes.Equal(memory[0], memory[1]) {
			t.Errorf("%s%v: memories differ", name, args)
		}
		if used := 1<<40 - fuel.Get(); errs[1] == nil && name != "drop" && used != 4+args[2]/64 {
			t.Errorf("%s%v: %d units, want %d", name, args, used, 4+args[2]/64)
		}
	}
	for _, n := range []uint64{0, 1, 63, 64, 1024, 1025, piece - 1, piece, piece + 1, 2 * piece, 2*piece + 77, 3 * piece, 1 << 20, end - 3, end, end + 1, math.MaxUint32} {
		for _, at := range []uint64{0, 3, end - n, end - n + 1, math.MaxUint32} {
			at &= math.MaxUint32
			check("fill", at, 0x1ab, n)
			for _, from := range []uint64{0, 1, at + 1, at - 1, at + piece, at - piece, end - n, end - n + 1} {
				check("copy", at, from&math.MaxUint32, n)
			}
			for _, from := range []uint64{0, 5, data - n, data - n + 1} {
				check("init", at, from&math.MaxUint32, n)
			}
		}
	}
	check("drop", 0, 0, 0)
	for _, n := range []uint64{0, 1, piece + 1} {
		check("init", 0, 0, n)
	}
}
