package fuel

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// kernels are the exports of each program in testdata/kernels, each with what
// makes it run for some milliseconds.
var kernels = []struct {
	name string
	n    uint64
	loop bool
}{
	{"sum", 200, true},
	{"fnv", 100, true},
	{"sieve", 10, true},
	{"matrix", 8, true},
	{"crc", 60, true},
	{"sort", 8, true},
	{"collatz", 10_000, true},
	{"scan", 20, true},
	{"copy", 100_000, true},
	{"visit", 8, true},
	{"calls", 27, false},
}

var kernelLanguages = []string{"C", "Go", "Rust"}

// kernelModule compiles them by the compiler of a language.
func kernelModule(t testing.TB, language string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "kernels.wasm")
	switch language {
	case "C":
		run(t, "clang", "--target=wasm32", "-mbulk-memory", "-nostdlib", "-O2", "-Wl,--no-entry", "-o", out, "testdata/kernels/kernels.c")
	case "Rust":
		rustc, target := rustCompiler(t)
		run(t, rustc, "--target", target, "--crate-type", "cdylib", "-O", "-C", "strip=debuginfo", "-o", out, "testdata/kernels/kernels.rs")
	case "Go":
		cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/kernels")
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, b)
		}
	}
	return readFile(t, out)
}

// rustCompiler finds a rustc that has a target with WASI, under one of the
// names that it has had.
func rustCompiler(t testing.TB) (rustc, target string) {
	t.Helper()
	for _, rustc := range []string{"rustc", "/usr/bin/rustc"} {
		for _, target := range []string{"wasm32-wasip1", "wasm32-wasi"} {
			dir, err := exec.Command(rustc, "--target", target, "--print", "target-libdir").Output()
			if err != nil {
				continue
			}
			if _, err := os.Stat(strings.TrimSpace(string(dir))); err == nil {
				return rustc, target
			}
		}
	}
	t.Skip("there is no rustc with a target for WASI")
	return "", ""
}

// kernelSides are instances of one program.
type kernelSides struct {
	language string
	sides    [2]api.Module // as it came, and rewritten
	deadline api.Module    // as it came, under wazero's own deadline
}

// starts is how often a program is started: where its code comes to lie makes
// some loops a fifth faster or slower.
const starts = 5

// startKernels starts a program so often; the first of them has all sides.
func startKernels(t testing.TB, language string, wasm []byte) []*kernelSides {
	t.Helper()
	config := runtimeConfig()
	all := make([]*kernelSides, starts)
	for i := range all {
		h := &host{slice: 100_000, left: math.MaxInt64}
		all[i] = &kernelSides{
			language: language,
			sides:    [2]api.Module{startKernel(t, wasm, config, nil), startKernel(t, rewrite(t, wasm, Options{}), config, h)},
		}
	}
	all[0].deadline = startKernel(t, wasm, config.WithCloseOnContextDone(true), nil)
	return all
}

// startKernel instantiates a program; where it is rewritten, with a host.
func startKernel(t testing.TB, wasm []byte, config wazero.RuntimeConfig, h *host) api.Module {
	t.Helper()
	ctx := context.Background()
	r := newRuntimeOf(t, config)
	if h != nil {
		h.provide(t, r)
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func callKernel(t testing.TB, ctx context.Context, m api.Module, name string, n uint64) (uint64, time.Duration) {
	t.Helper()
	f := m.ExportedFunction(name)
	stack := [1]uint64{n}
	start := time.Now()
	err := f.CallWithStack(ctx, stack[:])
	took := time.Since(start)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return stack[0], took
}

// turn runs a kernel on both sides, which have to agree.
func (k *kernelSides) turn(t testing.TB, name string, n uint64) (took [2]time.Duration) {
	t.Helper()
	var got [2]uint64
	for i, m := range k.sides {
		got[i], took[i] = callKernel(t, context.Background(), m, name, n)
	}
	if got[0] != got[1] {
		t.Fatalf("%s in %s gave %d, rewritten %d", name, k.language, got[0], got[1])
	}
	return took
}

// overhead is how much longer a kernel takes than as it came without a
// deadline: the ratios of the shortest of many runs, taken in turns; of these
// the median of all starts.
type overhead struct {
	original            time.Duration
	rewritten, deadline float64
}

// measure runs a kernel as long as more says.
func measure(t testing.TB, all []*kernelSides, name string, n uint64, more func() bool) overhead {
	t.Helper()
	var best [2][]time.Duration
	for side := range best {
		best[side] = slices.Repeat([]time.Duration{math.MaxInt64}, len(all))
	}
	for more() {
		for i, k := range all {
			for side, took := range k.turn(t, name, n) {
				best[side][i] = min(best[side][i], took)
			}
		}
	}
	var middle [2]float64
	for side := range best {
		slices.Sort(best[side])
		middle[side] = float64(best[side][len(all)/2])
	}
	bounded := time.Duration(math.MaxInt64)
	for range 2 { // it takes long
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		_, took := callKernel(t, ctx, all[0].deadline, name, n)
		cancel()
		bounded = min(bounded, took)
	}
	return overhead{time.Duration(middle[0]), middle[1] / middle[0], float64(bounded) / middle[0]}
}

// overheads collects those of the loop kernels of all languages.
type overheads struct{ rewritten, deadline []float64 }

func (o *overheads) add(one overhead) {
	o.rewritten = append(o.rewritten, one.rewritten)
	o.deadline = append(o.deadline, one.deadline)
}

func (o *overheads) String() string {
	return fmt.Sprintf("%d loop kernels: rewritten %s; under wazero's deadline %s", len(o.rewritten), spread(o.rewritten), spread(o.deadline))
}

func spread(ratios []float64) string {
	r := slices.Sorted(slices.Values(ratios))
	return fmt.Sprintf("%.2f times in the median, %.2f to %.2f", r[len(r)/2], r[0], r[len(r)-1])
}

// BenchmarkKernels gives what fuel costs each kernel, beside what wazero's own
// deadline costs it.
func BenchmarkKernels(b *testing.B) {
	var all overheads
	for _, language := range kernelLanguages {
		sides := startKernels(b, language, kernelModule(b, language))
		for _, k := range kernels {
			var got overhead
			b.Run(language+"/"+k.name, func(b *testing.B) {
				got = measure(b, sides, k.name, k.n, b.Loop)
				b.ReportMetric(float64(got.original.Microseconds()), "µs-original")
				b.ReportMetric(got.rewritten, "times")
				b.ReportMetric(got.deadline, "times-wazero-deadline")
			})
			if k.loop && got.original > 0 {
				all.add(got)
			}
		}
	}
	if len(all.rewritten) > 0 {
		b.Log(&all)
	}
}

// TestKernels: rewritten, each kernel gives what it gave. The bars compare
// those in Go, too: under the race detector wazero compiles them for ten
// seconds, and TestGuests has a guest in Go.
func TestKernels(t *testing.T) {
	config := runtimeConfig()
	for _, language := range []string{"C", "Rust"} {
		wasm := kernelModule(t, language)
		h := &host{slice: 1000, left: math.MaxInt64}
		k := kernelSides{language: language, sides: [2]api.Module{
			startKernel(t, wasm, config, nil), startKernel(t, rewrite(t, wasm, Options{}), config, h),
		}}
		for _, kernel := range kernels {
			k.turn(t, kernel.name, kernel.n)
		}
		if h.refuels == 0 {
			t.Errorf("%s: not refuelled", language)
		}
	}
}

// TestKernelBars holds what fuel costs: over the loop kernels of all languages
// at most 1.20 times in the median, and none over 1.5. It is part of `make
// bars`.
func TestKernelBars(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" {
		t.Skip("set WEFT_BARS to measure, without -race")
	}
	var all overheads
	for _, language := range kernelLanguages {
		sides := startKernels(t, language, kernelModule(t, language))
		for _, k := range kernels {
			turns := 0
			got := measure(t, sides, k.name, k.n, func() bool { turns++; return turns <= 20 })
			t.Logf("%-4s %-7s %6d µs, rewritten %.2f times, under wazero's deadline %.2f", language, k.name, got.original.Microseconds(), got.rewritten, got.deadline)
			if !k.loop {
				continue
			}
			all.add(got)
			if got.rewritten > 1.5 {
				t.Errorf("%s in %s takes %.2f times as long, want 1.5 at most", k.name, language, got.rewritten)
			}
		}
	}
	t.Log(&all)
	r := slices.Sorted(slices.Values(all.rewritten))
	if m := r[len(r)/2]; m > 1.2 {
		t.Errorf("the median is %.2f times, want 1.20 at most", m)
	}
}
