package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/weft-dev/weft/hostapi"
)

// signature is a function's type; each byte is an api.ValueType.
type signature struct {
	params, results []api.ValueType
}

// sig makes a signature of letters, i for i32 and l for i64.
func sig(params, results string) signature {
	types := func(letters string) []api.ValueType {
		t := make([]api.ValueType, len(letters))
		for i := range letters {
			t[i] = api.ValueTypeI32
			if letters[i] == 'l' {
				t[i] = api.ValueTypeI64
			}
		}
		return t
	}
	return signature{params: types(params), results: types(results)}
}

func (s signature) equal(t signature) bool {
	return bytes.Equal(s.params, t.params) && bytes.Equal(s.results, t.results)
}

// String prints a signature as hostapi.md writes them: (i32, i32) -> i32.
func (s signature) String() string {
	results := typeList(s.results)
	if len(s.results) != 1 {
		results = "(" + results + ")"
	}
	return "(" + typeList(s.params) + ") -> " + results
}

// typeList prints value types; a long list is cut.
func typeList(types []api.ValueType) string {
	var names []string
	for i, t := range types {
		if i == 16 {
			names = append(names, fmt.Sprintf("… %d in all", len(types)))
			break
		}
		names = append(names, typeName(t))
	}
	return strings.Join(names, ", ")
}

func typeName(t api.ValueType) string {
	switch t {
	case 0x7b:
		return "v128"
	case 0x70:
		return "funcref"
	}
	if name := api.ValueTypeName(t); name != "unknown" {
		return name
	}
	return fmt.Sprintf("0x%02x", t)
}

// guestExport is a function that a plugin exports, or may export.
type guestExport struct {
	name     string
	sig      signature
	optional bool
}

// guestExports lists the functions of ABI 1 that the host calls; the marker is
// looked for by itself.
func guestExports() []guestExport {
	return []guestExport{
		{name: hostapi.ExportBuffer, sig: sig("i", "i")},
		{name: hostapi.ExportHandle, sig: sig("ii", "i")},
		{name: hostapi.ExportStart, sig: sig("", "i"), optional: true},
		{name: hostapi.ExportCheck, sig: sig("", "i"), optional: true},
		{name: hostapi.ExportInitialize, sig: sig("", ""), optional: true},
	}
}

// Names of the modules that a plugin may import from, and of its memory.
const (
	moduleWASI   = "wasi_snapshot_preview1"
	moduleFuel   = "weft_host"
	nameRefuel   = "refuel"
	exportMemory = "memory"
	markerPrefix = "weft_abi_"
)

// hostModule is a module that the host offers to plugins.
type hostModule struct {
	name  string
	funcs []hostFunc
}

// hostFunc is one function of it.
type hostFunc struct {
	name       string
	sig        signature
	capability string // that the manifest must declare; empty: every plugin has it
	call       guestCall
}

// guestCall is the body of a host function: parameters are on the stack, and
// its result goes to stack[0]. It runs on the goroutine of the call into in.
type guestCall func(in *instance, stack []uint64)

// Call implements api.GoModuleFunction. Guest code only ever runs under a
// *bound, which knows the instance: no look-up by module or context key.
func (f guestCall) Call(ctx context.Context, _ api.Module, stack []uint64) {
	b := ctx.(*bound)
	b.hostCall()
	f(b.in, stack)
}

// fuelCall is the host function by which a rewritten module asks for fuel. It
// is none of the guest's: a module that imports it by itself is refused.
type fuelCall struct{}

// Call implements api.GoModuleFunction.
func (fuelCall) Call(ctx context.Context, _ api.Module, _ []uint64) { ctx.(*bound).refuel() }

func (m hostModule) find(name string) *hostFunc {
	for i := range m.funcs {
		if m.funcs[i].name == name {
			return &m.funcs[i]
		}
	}
	return nil
}
