package fuel

import (
	"math/rand/v2"
	"testing"
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
	d := newDifferential(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		src = src[:min(len(src), 4096)]
		wasm := d.g.module(src)
		d.compare(t, src, []sideOf{{rewrite(t, wasm, Options{}), 1000}, {rewrite(t, wasm, Options{apart: true}), 1000}})
	})
}
