package fuel

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// FuzzCoalesce: where a block's cost is charged doesn't change what a call
// costs, in modules that the generator makes.
func FuzzCoalesce(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		seed := make([]byte, 20+random.IntN(900))
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src []byte) { compareFuel(t, src[:min(len(src), 4096)]) })
}

// compareFuel runs a generated module with its costs coalesced and apart.
func compareFuel(t *testing.T, src []byte) {
	t.Helper()
	wasm := generate(src)
	sides := [2]*differential{
		newDifferential(t, 1000, wasm, rewrite(t, wasm, Options{})),
		newDifferential(t, 1000, wasm, rewrite(t, wasm, Options{apart: true})),
	}
	for _, d := range sides {
		defer d.close()
	}
	for _, name := range []string{"f0", "f1", "f2", "f3", "f4"} {
		if sides[0].mods[1].ExportedFunction(name) == nil {
			continue
		}
		var used [2]int64
		var errs [2]error
		for i, d := range sides {
			m := d.mods[1]
			m.ExportedGlobal("g4").(api.MutableGlobal).Set(genSteps)
			fuel := m.ExportedGlobal("weft_fuel")
			before := d.host.left + int64(fuel.Get())
			f := m.ExportedFunction(name)
			_, errs[i] = f.Call(context.Background(), make([]uint64, len(f.Definition().ParamTypes()))...)
			used[i] = before - d.host.left - int64(fuel.Get())
		}
		if firstLine(errs[0]) != firstLine(errs[1]) {
			t.Errorf("%s: %v, apart %v", name, errs[0], errs[1])
		}
		if errs[0] != nil {
			return // the sides differ in what they had charged
		}
		if used[0] != used[1] {
			t.Errorf("%s: %d units, apart %d, of %x", name, used[0], used[1], src)
		}
	}
}
