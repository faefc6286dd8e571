package fuel

import (
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// TestGlobals: with the option the host can read and set each mutable global of
// numbers, by names that the module doesn't have, and no other.
func TestGlobals(t *testing.T) {
	wasm := wat(t, `(module (import "spectest" "global_i32" (global i32))
		(global $constant i32 (i32.const 1))
		(global $a (mut i32) (i32.const 10))
		(global $b (export "mine") (export "again") (mut i64) (i64.const 20))
		(global $c (mut f32) (f32.const 1.5))
		(global $d (mut f64) (f64.const 2.5))
		(global $vector (mut v128) (v128.const i64x2 0 0))
		(global $reference (mut externref) (ref.null extern))
		(func (export "weft_global_2") (result i32) (global.get $a))
		(func (export "set") (global.set $a (i32.const 11)) (global.set $d (f64.const 3.5))))`)
	plain, err := Rewrite(wasm, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Globals != nil || slices.Contains(exportsOf(t, plain.Wasm), "weft_global_4") {
		t.Errorf("without the option: %q", plain.Globals)
	}
	m, err := Rewrite(wasm, Options{Globals: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"weft_global_2_2", "mine", "weft_global_4", "weft_global_5"}; !slices.Equal(m.Globals, want) {
		t.Fatalf("got %q, want %q", m.Globals, want)
	}
	r := newRuntime(t)
	h := &host{slice: 1000, left: 1 << 40}
	h.provide(t, r)
	if _, err := r.Instantiate(t.Context(), spectest(t)); err != nil {
		t.Fatal(err)
	}
	mod, err := r.Instantiate(t.Context(), m.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	values := func() (v []uint64) {
		for _, name := range m.Globals {
			v = append(v, mod.ExportedGlobal(name).Get())
		}
		return v
	}
	started := values()
	if want := []uint64{10, 20, api.EncodeF32(1.5), api.EncodeF64(2.5)}; !slices.Equal(started, want) {
		t.Errorf("they start as %x, want %x", started, want)
	}
	if _, err := mod.ExportedFunction("set").Call(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := values(); got[0] != 11 || got[3] != api.EncodeF64(3.5) {
		t.Errorf("they became %x", got)
	}
	for i, name := range m.Globals {
		mod.ExportedGlobal(name).(api.MutableGlobal).Set(started[i])
	}
	if got, err := mod.ExportedFunction("weft_global_2").Call(t.Context()); err != nil || got[0] != 10 {
		t.Errorf("after the reset: %v, %v", got, err)
	}
}

// TestCantReset: each kind of lasting effect is told once, with its place, also
// where the code can't be reached.
func TestCantReset(t *testing.T) {
	const head = `(module (memory 1) (table $t 4 funcref) (elem $e funcref (ref.null func)) (data $d "x") `
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", `(global (mut i32) (i32.const 0)) (global v128 (v128.const i64x2 0 0))
			(func (drop (table.get $t (i32.const 0))) (drop (table.size $t)) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))
				(memory.fill (i32.const 0) (i32.const 0) (i32.const 0)) (drop (memory.grow (i32.const 0))))`, nil},
		{"all", `(func) (func
				(table.set $t (i32.const 0) (ref.null func))
				(drop (table.grow $t (ref.null func) (i32.const 0)))
				(table.fill $t (i32.const 0) (ref.null func) (i32.const 0))
				(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 0))
				(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))
				(elem.drop $e) (data.drop $d))
			(func (data.drop $d) (elem.drop $e))
			(global i32 (i32.const 0))
			(global (mut v128) (v128.const i64x2 0 0)) (global (mut v128) (v128.const i64x2 0 0))
			(global (mut funcref) (ref.null func)) (global (mut externref) (ref.null extern))`, []string{
			"table.set in function 1", "table.grow in function 1", "table.fill in function 1", "table.copy in function 1",
			"table.init in function 1", "elem.drop in function 1", "data.drop in function 1",
			"global 1, which is mutable, of type v128", "global 3, which is mutable, a reference",
		}},
		{"dead", `(func) (func return data.drop $d)`, []string{"data.drop in function 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := Rewrite(wat(t, head+tc.text+")"), Options{})
			if err != nil || !slices.Equal(m.CantReset, tc.want) {
				t.Errorf("%v, got\n%s\nwant\n%s", err, strings.Join(m.CantReset, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
	m, err := Rewrite(wat(t, `(module (import "a" "f" (func)) (import "a" "g" (global i32)) (import "a" "h" (global (mut i64)))
		(table 1 funcref) (func table.set 0))`), Options{})
	want := []string{"table.set in function 1", "global 1, which is mutable, imported"}
	if err != nil || !slices.Equal(m.CantReset, want) {
		t.Errorf("%v, got %q, want %q", err, m.CantReset, want)
	}
}

// exportsOf gives the names of a module's exports.
func exportsOf(t *testing.T, wasm []byte) []string {
	t.Helper()
	m, err := Read(wasm, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range m.Exports {
		names = append(names, e.Name)
	}
	return names
}
