package fuel

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// guestFile compiles testdata/NAME.wat.
func guestFile(t testing.TB, name string) []byte {
	t.Helper()
	return wat(t, string(readFile(t, filepath.Join("testdata", name+".wat"))))
}

// TestAttackers: whatever a guest does, the host is called once it has used up
// a slice, and can end it. No single stretch between two such calls is long.
func TestAttackers(t *testing.T) {
	for name, want := range map[string]error{
		"endless-loop":        errSpent,
		"endless-loop-table":  errSpent,
		"endless-loop-typed":  errSpent,
		"endless-loop-nested": errSpent,
		"call-tree":           errSpent,
		"fill-straight":       errSpent,
		"fill-huge":           errSpent,
		"copy-huge":           errSpent,
		"grow-loop":           errSpent,
		"table-fill-loop":     errSpent,
		"recursion":           errDeep,
		"recursion-locals":    errDeep,
		"recursion-indirect":  errDeep,
	} {
		t.Run(name, func(t *testing.T) {
			h := &host{slice: 100_000, left: 20_000_000}
			m := start(t, rewrite(t, guestFile(t, name), Options{MaxPages: 1024}), h)
			began := time.Now()
			_, err := m.ExportedFunction("attack").Call(context.Background())
			if !errors.Is(err, want) {
				t.Fatalf("got %v", err)
			}
			if want == errSpent && h.refuels < 190 {
				t.Errorf("only %d refuels", h.refuels)
			}
			t.Logf("%v, after %d slices in %v", want, h.refuels, time.Since(began))
		})
	}
}

// TestLongWays: no way through a function without loops is long without a look
// at the fuel, also not one around all places where others look.
func TestLongWays(t *testing.T) {
	work := func(n int) string { return strings.Repeat("(drop (i32.const 0))", n/2) }
	for name, text := range map[string]string{
		"branch":   "(block " + work(9_900) + "(br_if 0 (local.get 0))" + work(100) + ")",
		"table":    "(block (block " + work(9_900) + "(br_table 1 0 (local.get 0)))" + work(100) + ")",
		"if":       work(9_900) + "(if (i32.eqz (local.get 0)) (then " + work(100) + "))",
		"else":     work(9_900) + "(if (local.get 0) (then) (else " + work(100) + "))",
		"then":     work(9_900) + "(if (i32.eqz (local.get 0)) (then " + work(100) + ") (else))",
		"straight": work(9_900),
	} {
		t.Run(name, func(t *testing.T) {
			wasm := rewrite(t, wat(t, `(module (func (export "f") (param i32) `+strings.Repeat(text, 20)+`))`), Options{})
			h := &host{slice: 1, left: math.MaxInt64}
			if _, err := start(t, wasm, h).ExportedFunction("f").Call(context.Background(), 1); err != nil {
				t.Fatal(err)
			}
			if h.refuels < 20 || h.furthest > 2*maxUnchecked {
				t.Errorf("%d looks, %d units without", h.refuels, h.furthest)
			}
		})
	}
}

// TestForged: an index that only what is appended would have is refused.
func TestForged(t *testing.T) {
	for name, want := range map[string]string{
		"forged-global-get": "global.get of global 1, which there isn't",
		"forged-global-set": "global.set of global 1, which there isn't",
		"forged-stack-set":  "global.set of global 2, which there isn't",
		"forged-local":      "local.set of local 0, which there isn't",
		"forged-function":   "call of function 1, which there isn't",
		"forged-reference":  "ref.func of function 1, which there isn't",
		"forged-label":      "br of label 3, which there isn't",
		"forged-type":       "call_indirect of type 1, which there isn't",
		"forged-export":     "an export of global 1, which there isn't",
		"forged-element":    "function 1, which there isn't",
		"forged-initial":    "global 2, which there isn't",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Rewrite(guestFile(t, name), Options{})
			var refused *Error
			if !errors.As(err, &refused) || refused.Text != want || refused.Offset == 0 {
				t.Errorf("got %v; want %s", err, want)
			}
		})
	}
}

// TestNamesTaken: a module can neither import the host's function nor hide the
// globals behind exports of its own.
func TestNamesTaken(t *testing.T) {
	_, err := Rewrite(wat(t, `(module (import "weft_host" "refuel" (func)))`), Options{})
	if err == nil || !strings.Contains(err.Error(), `"weft_host"`) {
		t.Errorf("got %v", err)
	}
	m, err := Rewrite(wat(t, `(module (func (export "weft_fuel")) (func (export "weft_fuel_2")) (memory (export "weft_stack") 1))`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Fuel != "weft_fuel_3" || m.Stack != "weft_stack_2" {
		t.Errorf("exported as %s and %s", m.Fuel, m.Stack)
	}
	mod := start(t, m.Wasm, &host{})
	if mod.ExportedGlobal(m.Fuel).Get() != 0 || mod.ExportedGlobal(m.Stack).Get() != 16<<20 {
		t.Error("the globals aren't there")
	}
}

// TestMaxima: memory and tables can't grow over what the host said.
func TestMaxima(t *testing.T) {
	m := start(t, rewrite(t, wat(t, `(module (memory 1) (table 3 funcref)
		(func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
		(func (export "table") (result i32) (table.grow 0 (ref.null func) (i32.const 1))))`), Options{MaxPages: 4}),
		&host{slice: 1000, left: math.MaxInt64})
	for _, tc := range []struct {
		name string
		args []uint64
		want int32
	}{{"memory", []uint64{4}, -1}, {"memory", []uint64{3}, 1}, {"memory", []uint64{1}, -1}, {"memory", []uint64{0}, 4}, {"table", nil, -1}} {
		got, err := m.ExportedFunction(tc.name).Call(context.Background(), tc.args...)
		if err != nil || int32(got[0]) != tc.want {
			t.Errorf("%s%v: %v, %v; want %d", tc.name, tc.args, got, err, tc.want)
		}
	}
	for text, want := range map[string]string{
		`(module (memory 5))`: "a memory of at least 5 pages; at most 4 are accepted",
		`(module (table 40000 funcref) (table 25537 funcref))`: "tables that start with 65537 elements; at most 65536 are accepted",
	} {
		if _, err := Rewrite(wat(t, text), Options{MaxPages: 4}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
