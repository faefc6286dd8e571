package fuel

import (
	"context"
	"testing"
)

// TestCost: one unit for each instruction that is executed, none for block,
// loop, end, else and nop.
func TestCost(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		arg        uint64
		want       int64
	}{
		{"nothing", ``, 0, 0},
		{"free", `nop (block (block)) nop`, 0, 0},
		{"line", `(drop (i32.add (local.get 0) (i32.const 1)))`, 0, 4},
		{"then", `(if (local.get 0) (then (drop (i32.const 1)) (drop (i32.const 1))) (else (drop (i32.const 1)))) (drop (i32.const 1))`, 1, 8},
		{"else", `(if (local.get 0) (then (drop (i32.const 1)) (drop (i32.const 1))) (else (drop (i32.const 1)))) (drop (i32.const 1))`, 0, 6},
		{"taken", `(block (br_if 0 (local.get 0)) (drop (i32.const 1))) (drop (i32.const 1))`, 1, 4},
		{"not taken", `(block (br_if 0 (local.get 0)) (drop (i32.const 1))) (drop (i32.const 1))`, 0, 6},
		{"return", `(if (local.get 0) (then (return))) (drop (i32.const 1))`, 1, 3},
		{"behind br", `(block (br 0) (drop (i32.const 1)))`, 0, 1},
		{"br_table", `(block (block (br_table 0 1 (local.get 0))) (drop (i32.const 1)))`, 0, 4},
		{"loop", `(loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))`, 10, 50},
		{"loop by br", `(loop (if (local.get 0) (then (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br 1))))`, 10, 10*7 + 2},
		{"loop with arms", `(loop (if (i32.and (local.get 0) (i32.const 1)) (then (nop)) (else (drop (i32.const 1))))
			(br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))`, 10, 10*9 + 5*2},
		{"loop in a loop", `(loop (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (if (i32.and (local.get 0) (i32.const 3)) (then (br 1))))
			(if (local.get 0) (then (br 1))))`, 8, 8*8 + 6 + 2*2 + 1},
		{"loop that isn't one", `(loop (drop (i32.const 1)))`, 0, 2},
		{"call", `(call $leaf) (call $leaf)`, 0, 6},
		{"grow", `(drop (memory.grow (local.get 0)))`, 2, 3 + 2*1024},
		{"grow too far", `(drop (memory.grow (local.get 0)))`, 1 << 30, 3},
		{"table", `(table.fill 0 (i32.const 0) (ref.null func) (local.get 0))`, 90, 4 + 90/8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wasm := wat(t, `(module (memory 1) (table 100 funcref)
				(func $leaf (drop (i32.const 1)))
				(func (export "run") (param i32) `+tc.text+`))`)
			// At once, and in slices that end everywhere.
			for _, slice := range []int64{1_000_000, 3, 1} {
				const all = 1 << 40
				h := &host{slice: slice, left: all}
				m := start(t, rewrite(t, wasm, Options{MaxPages: 100}), h)
				if _, err := m.ExportedFunction("run").Call(context.Background(), tc.arg); err != nil {
					t.Fatal(err)
				}
				if used := all - h.left - int64(m.ExportedGlobal("weft_fuel").Get()); used != tc.want {
					t.Errorf("slices of %d: %d units, want %d", slice, used, tc.want)
				}
			}
		})
	}
}
