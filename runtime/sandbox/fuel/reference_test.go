package fuel

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// referencesModule calls three functions through references that its code
// takes, and takes a reference n times.
const referencesModule = `(module
  (type $get (func (result i32)))
  (table $t 3 funcref)
  (elem declare func $a $b $c)
  (func $a (result i32) (i32.const 100))
  (func $b (result i32) (i32.const 101))
  (func $c (result i32) (i32.const 102))
  (func (export "call") (param i32) (result i32)
    (table.set $t (i32.const 0) (ref.func $a))
    (table.set $t (i32.const 1) (ref.func $b))
    (table.set $t (i32.const 2) (ref.func $c))
    (call_indirect $t (type $get) (local.get 0)))
  (func (export "take") (param $n i32)
    (loop $l
      (drop (ref.func $a))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))`

// TestReferences: references that code takes are of the functions that they
// were, and taking one leaves nothing behind.
func TestReferences(t *testing.T) {
	wasm := wat(t, referencesModule)
	_, err := Rewrite(wasm, Options{Limits: Limits{References: 2}})
	if e := (*Error)(nil); !errors.As(err, &e) || e.Offset == 0 || !strings.Contains(e.Text, "code takes references of more than 2 functions") {
		t.Errorf("three references where two are allowed: %v", err)
	}
	m := start(t, rewrite(t, wasm, Options{}), &host{slice: 100_000, left: 1 << 60})
	call := func(m api.Module, name string, n uint64) []uint64 {
		t.Helper()
		got, err := m.ExportedFunction(name).Call(context.Background(), n)
		if err != nil {
			t.Fatal(name, n, err)
		}
		return got
	}
	for i := range uint64(3) {
		if got := call(m, "call", i); got[0] != 100+i {
			t.Errorf("reference %d is of the function that gives %d", i, got)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call(m, "take", 1_000_000)
	runtime.ReadMemStats(&after)
	if more := after.TotalAlloc - before.TotalAlloc; more > 4<<20 {
		t.Errorf("a million references took %d bytes of the host", more)
	}
}
