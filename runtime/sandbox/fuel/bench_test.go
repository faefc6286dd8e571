package fuel

import (
	"context"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// kernels are the exports of testdata/kernels.c, each with what makes it run
// for some milliseconds.
var kernels = []struct {
	name string
	n    uint64
}{
	{"sum", 200},
	{"fnv", 100},
	{"sieve", 10},
	{"matrix", 8},
	{"crc", 60},
	{"sort", 8},
	{"collatz", 10_000},
	{"scan", 20},
	{"calls", 27},
	{"copy", 100_000},
	{"visit", 8},
}

func kernelModule(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "kernels.wasm")
	run(t, "clang", "--target=wasm32", "-mbulk-memory", "-nostdlib", "-O2", "-Wl,--no-entry", "-o", out, "testdata/kernels.c")
	return readFile(t, out)
}

// BenchmarkKernels gives, for each loop kernel, how much longer it takes
// rewritten: the ratio of the shortest of many runs, taken in turns.
func BenchmarkKernels(b *testing.B) {
	wasm := kernelModule(b)
	h := &host{slice: 100_000, left: math.MaxInt64}
	sides := [2]api.Module{start(b, wasm, nil), start(b, rewrite(b, wasm, Options{}), h)}
	for _, k := range kernels {
		b.Run(k.name, func(b *testing.B) {
			best := [2]time.Duration{math.MaxInt64, math.MaxInt64}
			var got [2]uint64
			for b.Loop() {
				for i, m := range sides {
					start := time.Now()
					results, err := m.ExportedFunction(k.name).Call(context.Background(), k.n)
					if err != nil {
						b.Fatal(err)
					}
					best[i], got[i] = min(best[i], time.Since(start)), results[0]
				}
			}
			if got[0] != got[1] {
				b.Fatalf("%d, rewritten %d", got[0], got[1])
			}
			b.ReportMetric(float64(best[0].Microseconds()), "µs-original")
			b.ReportMetric(float64(best[1].Microseconds()), "µs-rewritten")
			b.ReportMetric(float64(best[1])/float64(best[0]), "times")
		})
	}
}

// BenchmarkRewrite rewrites a plugin in Go, of some 3 MB.
func BenchmarkRewrite(b *testing.B) {
	wasm := goModule(b)
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := Rewrite(wasm, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(m.Wasm))/float64(len(wasm)), "size-ratio")
	}
}
