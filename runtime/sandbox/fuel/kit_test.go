package fuel

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// host is the host side of fuel, as the sandbox will have it: it refills by
// slices, and ends the call when the total is used up or the stack is.
type host struct {
	slice, left int64
	refuels     int
	furthest    int64 // below zero that the fuel was
}

var (
	errSpent = errors.New("fuel is spent")
	errDeep  = errors.New("call stack is spent")
)

func (h *host) refuel(_ context.Context, m api.Module, _ []uint64) {
	if int64(m.ExportedGlobal("weft_stack").Get()) < 0 {
		panic(errDeep)
	}
	h.refuels++
	fuel := m.ExportedGlobal("weft_fuel").(api.MutableGlobal)
	have := int64(fuel.Get())
	h.furthest = max(h.furthest, -have)
	for have < 0 {
		if h.left < h.slice {
			panic(errSpent)
		}
		h.left -= h.slice
		have += h.slice
	}
	fuel.Set(uint64(have))
}

// provide lets modules of r import the host function.
func (h *host) provide(t testing.TB, r wazero.Runtime) {
	t.Helper()
	_, err := r.NewHostModuleBuilder("weft_host").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(h.refuel), nil, nil).Export("refuel").
		Instantiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
}

func runtimeConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2)
}

func newRuntime(t testing.TB) wazero.Runtime {
	t.Helper()
	return newRuntimeOf(t, runtimeConfig())
}

func newRuntimeOf(t testing.TB, config wazero.RuntimeConfig) wazero.Runtime {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(context.Background(), config)
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// start instantiates a module; where it is rewritten, with a host.
func start(t testing.TB, wasm []byte, h *host) api.Module {
	t.Helper()
	r := newRuntime(t)
	if h != nil {
		h.provide(t, r)
	}
	m, err := r.Instantiate(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func rewrite(t testing.TB, wasm []byte, o Options) []byte {
	t.Helper()
	m, err := Rewrite(wasm, o)
	if err != nil {
		t.Fatal(err)
	}
	return m.Wasm
}

// wat compiles a module in text; whether it is valid is not looked at.
func wat(t testing.TB, text string) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "m.wat"), filepath.Join(dir, "m.wasm")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "wat2wasm", "--no-check", "--debug-names", in, "-o", out)
	return readFile(t, out)
}

// run runs a program; without it the test is skipped.
func run(t testing.TB, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wazeroDir is where wazero's source is: its tests' data come with it.
func wazeroDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// defaults are the options of a module for which none are given.
func defaults() *Options {
	o := Options{}.withDefaults()
	return &o
}
