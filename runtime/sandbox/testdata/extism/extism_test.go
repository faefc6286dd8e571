// Package extism holds Weft against Extism's Go SDK and against plain wazero:
// the same work, on the same event, by the same code. It is a module of its
// own, so that Extism is no dependency of the host.
package extism

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// TestMain: a sandbox in this program starts it as its compiler.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "compile" {
		if err := sandbox.Compile(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const deadline = time.Second

const manifestYAML = `name: guest
version: 1.0.0
abi: 1
title: { en: A guest }
description: { en: A guest of the comparison }
vendor: weft
license: Apache-2.0
`

// side is one way to have a guest work. It gives the reply to an event.
type side struct {
	name   string
	handle func(*hostapi.Event) (*hostapi.Reply, error)
}

// languages are those of the guests, each with its sides, which are compared.
var languages = []string{"C", "Go"}

const (
	weftSide = iota
	extismSide
	extismFreeSide // without a deadline
	wazeroSide     // without a deadline
	wazeroBoundSide
	sideCount
)

func startSides(t testing.TB, language string) [sideCount]side {
	t.Helper()
	ours, theirs := guests(t, language)
	return [sideCount]side{
		weftSide:        {"weft", startWeft(t, ours)},
		extismSide:      {"extism", startExtism(t, theirs, deadline)},
		extismFreeSide:  {"extism-no-deadline", startExtism(t, theirs, 0)},
		wazeroSide:      {"wazero-no-deadline", startWazero(t, ours, 0)},
		wazeroBoundSide: {"wazero", startWazero(t, ours, deadline)},
	}
}

// guests compiles the work as a plugin of Weft and as one of Extism.
func guests(t testing.TB, language string) (ours, theirs []byte) {
	t.Helper()
	build := func(abi string) []byte {
		out := filepath.Join(t.TempDir(), "guest.wasm")
		cmd := exec.Command("clang", "--target=wasm32", "-nostdlib", "-O2", "-Wl,--no-entry", "-o", out, filepath.Join("c", abi+".c"))
		if language == "Go" {
			cmd = exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./guest/"+abi)
			cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		}
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, b)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return build("weft"), build("extism")
}

func startWeft(t testing.TB, wasm []byte) func(*hostapi.Event) (*hostapi.Reply, error) {
	t.Helper()
	ctx := context.Background()
	s, err := sandbox.New(ctx, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	wasm, err = manifest.Embed(wasm, []byte(manifestYAML))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Load(ctx, sandbox.Spec{Name: "guest", Wasm: wasm, Limits: sandbox.Limits{Timeout: deadline}})
	if err != nil {
		t.Fatal(err)
	}
	if failed := p.SetConfigs(ctx, map[string]sandbox.Config{"shop": {JSON: []byte("{}"), ID: 1}}); failed != nil {
		t.Fatal(failed)
	}
	// The pipeline sets a deadline for each event, which all its plugins share.
	bounded, cancel := context.WithTimeout(ctx, time.Hour)
	t.Cleanup(cancel)
	call := sandbox.Call{Passive: true}
	return func(e *hostapi.Event) (*hostapi.Reply, error) {
		call.Event = e
		result, err := p.Handle(bounded, &call)
		return result.Reply, err
	}
}

// startExtism keeps one instance, as Extism's documents advise where calls don't
// overlap. A deadline of 0 is none.
func startExtism(t testing.TB, wasm []byte, deadline time.Duration) func(*hostapi.Event) (*hostapi.Reply, error) {
	t.Helper()
	ctx := context.Background()
	compiled, err := extism.NewCompiledPlugin(ctx, extism.Manifest{
		Wasm:    []extism.Wasm{extism.WasmData{Data: wasm}},
		Memory:  &extism.ManifestMemory{MaxPages: 256, MaxHttpResponseBytes: -1, MaxVarBytes: -1},
		Timeout: uint64(deadline.Milliseconds()),
	}, extism.PluginConfig{EnableWasi: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := compiled.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	p, err := compiled.Instance(ctx, extism.PluginInstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var buffer []byte
	return func(e *hostapi.Event) (*hostapi.Reply, error) {
		buffer = e.Append(buffer[:0])
		status, output, err := p.CallWithContext(ctx, "handle", buffer)
		if err != nil {
			return nil, err
		}
		if status != 0 {
			return nil, fmt.Errorf("status %d", status)
		}
		reply := new(hostapi.Reply)
		return reply, reply.Decode(output)
	}
}

// startWazero calls the plugin of Weft with as much of a host as it needs.
func startWazero(t testing.TB, wasm []byte, deadline time.Duration) func(*hostapi.Event) (*hostapi.Reply, error) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(256).WithCloseOnContextDone(deadline > 0))
	t.Cleanup(func() {
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	var reply *hostapi.Reply
	takeReply := func(_ context.Context, m api.Module, stack []uint64) {
		reply = new(hostapi.Reply)
		b, ok := m.Memory().Read(uint32(stack[0]), uint32(stack[1]))
		if !ok {
			panic("the reply lies outside of the memory")
		}
		stack[0] = 0
		if reply.Decode(b) != nil {
			stack[0] = uint64(hostapi.Invalid)
		}
	}
	i32 := []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}
	if _, err := r.NewHostModuleBuilder(hostapi.Module).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(takeReply), i32, i32[:1]).Export("reply").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(context.Context, api.Module, []uint64) {}), i32, nil).Export("fail").
		Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions(hostapi.ExportInitialize))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.ExportedFunction(hostapi.ExportBuffer).Call(ctx, hostapi.InitialBuffer)
	if err != nil {
		t.Fatal(err)
	}
	at, handle := uint32(got[0]), m.ExportedFunction(hostapi.ExportHandle)
	return func(e *hostapi.Event) (*hostapi.Reply, error) {
		ctx := ctx
		if deadline > 0 {
			bounded, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			ctx = bounded
		}
		n := uint32(e.Size())
		room, ok := m.Memory().Read(at, n)
		if !ok || n > hostapi.InitialBuffer {
			return nil, fmt.Errorf("an event of %d bytes", n)
		}
		e.Append(room[:0])
		stack := [2]uint64{uint64(at), uint64(n)}
		if err := handle.CallWithStack(ctx, stack[:]); err != nil {
			return nil, err
		}
		if stack[0] != uint64(hostapi.Done) {
			return nil, fmt.Errorf("outcome %d", stack[0])
		}
		return reply, nil
	}
}

// event is a text message of n letters as a user sends them.
func event(n int) *hostapi.Event {
	return &hostapi.Event{
		ID: strings.Repeat("0", 32), App: "shop", AppID: "wx0123456789abcdef", AppType: "official",
		Type: "text", From: "oLVPpjqs9BhvzwPj5A-vTYAX3GLc", User: "oLVPpjqs9BhvzwPj5A-vTYAX3GLc", To: "gh_7f083739789a",
		Created: 1357290913, MsgID: "5846464321", Content: strings.Repeat("x", n), Attempt: 1, Format: "xml",
	}
}

// TestSides: all give the same reply.
func TestSides(t *testing.T) {
	for _, language := range languages {
		for _, s := range startSides(t, language) {
			for _, n := range []int{0, 1, 20, 2000} {
				reply, err := s.handle(event(n))
				if err != nil || reply == nil || reply.Text == nil || reply.Text.Content != strings.Repeat("x", n) {
					t.Errorf("%s, %s, %d bytes: %+v, %v", language, s.name, n, reply, err)
				}
			}
		}
	}
}

// measure gives what a call takes on each side: the shortest of many batches,
// taken in turns for as long as more says.
func measure(t testing.TB, sides [sideCount]side, more func() bool) (best [sideCount]time.Duration) {
	t.Helper()
	const batch = 20
	for i := range best {
		best[i] = math.MaxInt64
	}
	e := event(20)
	for more() {
		for i, s := range sides {
			start := time.Now()
			for range batch {
				if _, err := s.handle(e); err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
			}
			best[i] = min(best[i], time.Since(start)/batch)
		}
	}
	return best
}

// BenchmarkSides gives what an event takes on each side.
func BenchmarkSides(b *testing.B) {
	for _, language := range languages {
		b.Run(language, func(b *testing.B) {
			sides := startSides(b, language)
			best := measure(b, sides, b.Loop)
			for i, s := range sides {
				b.ReportMetric(float64(best[i].Nanoseconds()), "ns-"+s.name)
			}
			b.ReportMetric(float64(best[extismSide])/float64(best[weftSide]), "times-extism")
		})
	}
}

// TestBars holds Weft to a twentieth of what Extism takes for a call, both with
// a deadline. Of the guest in Go it holds what the host adds to the guest's own
// time, which is what the guest takes on wazero without a deadline: that alone
// is more than a tenth of Extism's.
func TestBars(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" {
		t.Skip("set WEFT_BARS to measure, without -race")
	}
	for _, language := range languages {
		sides := startSides(t, language)
		turns := 0
		best := measure(t, sides, func() bool { turns++; return turns <= 500 })
		for i, s := range sides {
			t.Logf("%-4s %-18s %6d ns", language, s.name, best[i].Nanoseconds())
		}
		weft, theirs, own := best[weftSide], best[extismSide], best[wazeroSide]
		call := float64(theirs) / float64(weft)
		added := float64(theirs-own) / float64(weft-own)
		t.Logf("%-4s Extism takes %.1f times as long, and adds %.1f times as much to the guest's own time", language, call, added)
		bar := call
		if language == "Go" {
			bar = added
		}
		if bar < 20 {
			t.Errorf("%s: %.1f times, want 20 at least", language, bar)
		}
	}
}
