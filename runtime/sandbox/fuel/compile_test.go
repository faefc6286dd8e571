package fuel

import (
	"context"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// TestBombs: a module whose compile takes long for its size is refused at once,
// whatever makes it take long; and what is accepted takes at most what the
// estimate says, against what modules take in which nothing is multiplied.
func TestBombs(t *testing.T) {
	straight := 0.0
	for _, code := range [][]byte{
		times(20_000, opLocalGet, 0, opLocalGet, 0, 0x28, 0, 0, 0x36, 0, 0),
		joined(times(20_000, opLocalGet, 0, opLocalGet, 0, 0x28, 0, 0), times(20_000, 0x36, 0, 0)),
		times(20_000, opLocalGet, 0, opLocalGet, 0, 0x6d, 0x1a),
	} {
		wasm, estimate := estimated(t, bomb{bodies: [][]byte{code}}.module())
		straight = max(straight, float64(compileTime(t, wasm))/float64(estimate))
	}
	for _, b := range bombs {
		t.Run(b.name, func(t *testing.T) {
			most := 2000
			if b.refused > 0 {
				most = b.refused
				wasm := b.make(most).module()
				if _, err := Rewrite(wasm, Options{}); err == nil || !strings.Contains(err.Error(), "to compile, by an estimate") {
					t.Fatalf("%d bytes: %v", len(wasm), err)
				}
				t.Logf("%d bytes are refused", len(wasm))
			}
			// The largest of this shape that is held to be quick.
			n := 20
			o := Options{Limits: Limits{Compile: 60 * time.Millisecond}}
			for try := n; try < most; try += try / 2 {
				if _, err := Rewrite(b.make(try).module(), o); err != nil {
					break
				}
				n = try
			}
			wasm, estimate := estimated(t, b.make(n).module())
			took := compileTime(t, wasm)
			for try := 1; try < 4 && float64(took) > 4*straight*float64(estimate); try++ {
				took = min(took, compileTime(t, wasm))
			}
			if times := float64(took) / float64(estimate); times > 4*straight {
				t.Errorf("%d bytes take %v to compile, %.1f times the estimate; others %.1f times", len(wasm), took, times, straight)
			}
			t.Logf("%d bytes take %v to compile; by the estimate %v", len(wasm), took, estimate)
		})
	}
}

// TestCompileHeadroom: what real compilers make is far from being refused.
func TestCompileHeadroom(t *testing.T) {
	for name, module := range map[string]func(testing.TB) []byte{
		"Go": goModule, "C": cModule,
		"kernels in C":    func(t testing.TB) []byte { return kernelModule(t, "C") },
		"kernels in Rust": func(t testing.TB) []byte { return kernelModule(t, "Rust") },
	} {
		t.Run(name, func(t *testing.T) {
			wasm := module(t)
			m, err := readOutline(wasm, &defaults().Limits)
			if err != nil {
				t.Fatal(err)
			}
			_, estimate := estimated(t, wasm)
			if most := time.Second + nanosByte*time.Duration(m.codeSize()); estimate > most/10 {
				t.Errorf("by the estimate %v of %v", estimate, most)
			}
			t.Logf("%d bytes of code: %v, %d ns a byte", m.codeSize(), estimate, estimate.Nanoseconds()/int64(m.codeSize()))
		})
	}
}

// estimated rewrites a module and tells what its compile is held to take.
func estimated(t *testing.T, wasm []byte) ([]byte, time.Duration) {
	t.Helper()
	o := defaults()
	m, err := readOutline(wasm, &o.Limits)
	if err != nil {
		t.Fatal(err)
	}
	w := newRewriter(m, o)
	if _, err := w.code(); err != nil {
		t.Fatal(err)
	}
	return rewrite(t, wasm, Options{}), w.compileTime()
}

// compileTime is the processor time that wazero takes for a module.
func compileTime(t *testing.T, wasm []byte) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigCompiler())
	began := threadTime()
	if _, err := r.CompileModule(context.Background(), wasm); err != nil {
		t.Fatal(err)
	}
	took := threadTime() - began
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return took
}

// threadTime is the processor time that the calling thread has used.
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD of Linux
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
