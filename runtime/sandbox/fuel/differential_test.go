package fuel

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// FuzzDifferential: a module that the generator made of the bytes behaves the
// same rewritten and as it came, in results, traps, memory and globals, at
// slices that end everywhere; and its stack is given back.
func FuzzDifferential(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		seed := make([]byte, 20+random.IntN(600))
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 4096 {
			src = src[:4096]
		}
		slice := int64(1000)
		if len(src) > 0 {
			slice = int64(src[len(src)-1])*4 + 1
		}
		wasm := generate(src)
		rewritten, err := Rewrite(wasm, Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := newDifferential(t, slice, wasm, rewritten.Wasm)
		defer d.close()
		for _, name := range []string{"f0", "f1", "f2", "f3", "f4"} {
			if d.mods[0].ExportedFunction(name) != nil {
				d.call(name, src)
			}
		}
	})
}

// differential runs calls on two sides: 0 as it came, 1 rewritten.
type differential struct {
	t    *testing.T
	host host
	r    [2]wazero.Runtime
	mods [2]api.Module
}

func newDifferential(t *testing.T, slice int64, wasm ...[]byte) *differential {
	ctx := context.Background()
	d := &differential{t: t, host: host{slice: slice, left: 1 << 40}}
	for i, b := range wasm {
		d.r[i] = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig())
		_, err := d.r[i].NewHostModuleBuilder("env").NewFunctionBuilder().
			WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
				stack[0] = uint64(uint32(stack[0]) * 2654435761)
			}), []api.ValueType{api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}).Export("mix").
			Instantiate(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			d.host.provide(t, d.r[i])
		}
		if d.mods[i], err = d.r[i].Instantiate(ctx, b); err != nil {
			t.Fatalf("side %d: %v", i, err)
		}
	}
	return d
}

func (d *differential) close() {
	for _, r := range d.r {
		if err := r.Close(context.Background()); err != nil {
			d.t.Error(err)
		}
	}
}

func (d *differential) call(name string, src []byte) {
	d.t.Helper()
	var results [2][]uint64
	var errs [2]error
	for i, m := range d.mods {
		m.ExportedGlobal("g4").(api.MutableGlobal).Set(genSteps)
		f := m.ExportedFunction(name)
		var args []uint64
		for j, t := range f.Definition().ParamTypes() {
			v := uint64(1)
			if j < len(src) {
				v = uint64(src[j]) * 0x3fff1
			}
			if t == api.ValueTypeI32 || t == api.ValueTypeF32 {
				v = uint64(uint32(v))
			}
			args = append(args, v)
		}
		results[i], errs[i] = f.Call(context.Background(), args...)
	}
	if firstLine(errs[0]) != firstLine(errs[1]) || !slices.Equal(results[0], results[1]) {
		d.t.Errorf("%s: %x, %v; rewritten %x, %v", name, results[0], errs[0], results[1], errs[1])
	}
	stack := d.mods[1].ExportedGlobal("weft_stack").(api.MutableGlobal)
	if errs[1] == nil && stack.Get() != 16<<20 {
		d.t.Errorf("%s: %d bytes of stack afterwards", name, stack.Get())
	}
	stack.Set(16 << 20)
	x, _ := d.mods[0].Memory().Read(0, d.mods[0].Memory().Size())
	y, _ := d.mods[1].Memory().Read(0, d.mods[1].Memory().Size())
	if !bytes.Equal(x, y) {
		d.t.Errorf("%s: memories differ", name)
	}
	for _, g := range []string{"g0", "g1", "g2", "g3", "g4"} {
		if a, b := d.mods[0].ExportedGlobal(g).Get(), d.mods[1].ExportedGlobal(g).Get(); a != b {
			d.t.Errorf("%s: global %s is %x, rewritten %x", name, g, a, b)
		}
	}
}
