package fuel

import (
	"bytes"
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/weft-dev/weft/hostapi"
)

func goModule(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "../testdata/go")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, b)
	}
	return readFile(t, out)
}

func cModule(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	run(t, "clang", "--target=wasm32", "-nostdlib", "-O2", "-Wl,--no-entry", "-o", out, "../testdata/c/guest.c")
	return readFile(t, out)
}

// guest is an instance of a plugin with as much of a host as it needs.
type guest struct {
	m      api.Module
	host   *host
	buffer uint32
	calls  [][]byte // what it gave the host, each behind the call's name
}

// startGuest starts a plugin; rewritten, where h isn't nil.
func startGuest(t testing.TB, wasm []byte, h *host) *guest {
	t.Helper()
	return startGuestIn(t, newRuntime(t), wasm, h)
}

func startGuestIn(t testing.TB, r wazero.Runtime, wasm []byte, h *host) *guest {
	t.Helper()
	ctx := context.Background()
	g := &guest{host: h}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	if h != nil {
		h.provide(t, r)
		wasm = rewrite(t, wasm, Options{MaxPages: 1024})
	}
	compiled, err := r.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	b := r.NewHostModuleBuilder(hostapi.Module)
	for _, f := range compiled.ImportedFunctions() {
		if module, name, _ := f.Import(); module == hostapi.Module {
			b.NewFunctionBuilder().WithGoModuleFunction(g.hostCall(name), f.ParamTypes(), f.ResultTypes()).Export(name)
		}
	}
	if _, err := b.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	if g.m, err = r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithStartFunctions("_initialize", "weft_start")); err != nil {
		t.Fatal(err)
	}
	got, err := g.m.ExportedFunction("weft_buffer").Call(ctx, 1<<16)
	if err != nil || got[0] == 0 {
		t.Fatal(got, err)
	}
	g.buffer = uint32(got[0])
	return g
}

// hostCall answers config, and notes what all others are given.
func (g *guest) hostCall(name string) api.GoModuleFunc {
	return func(_ context.Context, m api.Module, stack []uint64) {
		if name == "config" {
			config := `{"greeting":"hi"}`
			if uint64(uint32(stack[1])) >= uint64(len(config)) {
				m.Memory().WriteString(uint32(stack[0]), config)
			}
			stack[0] = uint64(len(config))
			return
		}
		from := 0
		if name == "log" {
			from = 1
		}
		b, _ := m.Memory().Read(uint32(stack[from]), uint32(stack[from+1]))
		g.calls = append(g.calls, append([]byte(name+" "), b...))
		stack[0] = 0
	}
}

func (g *guest) handle(t testing.TB, event []byte) (uint64, error) {
	t.Helper()
	return g.handleIn(t, context.Background(), event)
}

func (g *guest) handleIn(t testing.TB, ctx context.Context, event []byte) (uint64, error) {
	t.Helper()
	g.calls = g.calls[:0]
	if !g.m.Memory().Write(g.buffer, event) {
		t.Fatal("the event has no room")
	}
	stack := [2]uint64{uint64(g.buffer), uint64(len(event))}
	err := g.m.ExportedFunction("weft_handle").CallWithStack(ctx, stack[:])
	return stack[0], err
}

func guestEvent(content string) []byte {
	e := hostapi.Event{
		ID: strings.Repeat("0", 32), App: "shop", AppID: "wx1", Type: "text", From: "oFrom", User: "oFrom", To: "gh_1",
		Content: content, Attempt: 1, Format: "xml", AppType: "official", ConfigID: 7,
	}
	return e.Append(nil)
}

// TestGuests: plugins in Go and C answer as they did, at slices of any size.
func TestGuests(t *testing.T) {
	for _, tc := range []struct {
		name     string
		wasm     []byte
		contents []string
	}{
		{"go", goModule(t), []string{"there", "error", strings.Repeat("long ", 8000), "count", "print", "panic"}},
		{"c", cModule(t), []string{"there", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := &host{slice: 777, left: math.MaxInt64}
			sides := [2]*guest{startGuest(t, tc.wasm, nil), startGuest(t, tc.wasm, h)}
			for _, content := range tc.contents {
				var results [2]uint64
				var errs [2]error
				for i, g := range sides {
					results[i], errs[i] = g.handle(t, guestEvent(content))
				}
				if results[0] != results[1] || firstLine(errs[0]) != firstLine(errs[1]) {
					t.Errorf("%.20q: %d, %v; rewritten %d, %v", content, results[0], errs[0], results[1], errs[1])
				}
				if a, b := bytes.Join(sides[0].calls, []byte("\n")), bytes.Join(sides[1].calls, []byte("\n")); !bytes.Equal(a, b) {
					t.Errorf("%.20q: gave %q, rewritten %q", content, a, b)
				}
				t.Logf("%.20q: %d, %v, %d host calls, %d refuels", content, results[1], errs[1] != nil, len(sides[1].calls), h.refuels)
			}
		})
	}
}

// TestGuestFuel: a C guest uses the same fuel for the same event.
func TestGuestFuel(t *testing.T) {
	g := startGuest(t, cModule(t), &host{})
	fuel := g.m.ExportedGlobal("weft_fuel").(api.MutableGlobal)
	var left [3]uint64
	for i := range left {
		fuel.Set(1000)
		if _, err := g.handle(t, guestEvent("there")); err != nil {
			t.Fatal(err)
		}
		left[i] = fuel.Get()
	}
	if left[0] >= 1000 || left[1] != left[0] || left[2] != left[0] {
		t.Errorf("%d left", left)
	}
}

// guestSides are instances of the guest in Go: as it came, rewritten, and as it
// came under wazero's own deadline.
type guestSides [3]*guest

func startGuestSides(t testing.TB) *guestSides {
	t.Helper()
	wasm := goModule(t)
	bounded := newRuntimeOf(t, runtimeConfig().WithCloseOnContextDone(true))
	return &guestSides{startGuest(t, wasm, nil), startGuest(t, wasm, &host{slice: 100_000, left: math.MaxInt64}), startGuestIn(t, bounded, wasm, nil)}
}

// measure gives what an event takes on each side: the shortest of many batches,
// taken in turns for as long as more says.
func (s *guestSides) measure(t testing.TB, more func() bool) (best [3]time.Duration) {
	t.Helper()
	const batch = 50
	best = [3]time.Duration{math.MaxInt64, math.MaxInt64, math.MaxInt64}
	event := guestEvent("there")
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for more() {
		for i, g := range s {
			start := time.Now()
			for range batch {
				if _, err := g.handleIn(t, ctx, event); err != nil {
					t.Fatal(err)
				}
			}
			best[i] = min(best[i], time.Since(start)/batch)
		}
	}
	return best
}

// BenchmarkGuest is an event through a guest in Go.
func BenchmarkGuest(b *testing.B) {
	best := startGuestSides(b).measure(b, b.Loop)
	b.ReportMetric(float64(best[0].Nanoseconds()), "ns-original")
	b.ReportMetric(float64(best[1])/float64(best[0]), "times")
	b.ReportMetric(float64(best[2])/float64(best[0]), "times-wazero-deadline")
}

// TestGuestBar holds what fuel costs an event through a guest in Go: at most
// 1.20 times. It is part of `make bars`.
func TestGuestBar(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" {
		t.Skip("set WEFT_BARS to measure, without -race")
	}
	turns := 0
	best := startGuestSides(t).measure(t, func() bool { turns++; return turns <= 2000 })
	times := float64(best[1]) / float64(best[0])
	t.Logf("%s, rewritten %.2f times, under wazero's deadline %.2f", best[0], times, float64(best[2])/float64(best[0]))
	if times > 1.2 {
		t.Errorf("an event takes %.2f times as long, want 1.20 at most", times)
	}
}
