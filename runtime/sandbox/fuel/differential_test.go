package fuel

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// FuzzDifferential: a module that the generator made of the bytes behaves the
// same rewritten and as it came, in results, traps, memory and globals, at
// slices that end everywhere; its stack is given back, and it uses the same fuel
// whatever the slices are.
func FuzzDifferential(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		f.Add(randomSource(random, nil))
	}
	d := newDifferential(f)
	f.Fuzz(func(t *testing.T, src []byte) { d.bounded(t, src[:min(len(src), 4096)]) })
}

// TestDifferential does what FuzzDifferential does, for a minute, with modules
// that are the same each time; for 5 s with -short, or for as long as
// WEFT_DIFFERENTIAL says.
func TestDifferential(t *testing.T) {
	length := time.Minute
	if testing.Short() {
		length = 5 * time.Second
	}
	if text := os.Getenv("WEFT_DIFFERENTIAL"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	t.Parallel()
	end := time.Now().Add(length)
	for worker := range uint64(2) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(worker, 7))
			d := newDifferential(t)
			var src []byte
			for time.Now().Before(end) && !t.Failed() {
				src = randomSource(random, src)
				if d.bounded(t, src); t.Failed() {
					t.Logf("made of %x", src)
				}
			}
			t.Logf("%d modules, %d calls, %d of them trapped, %d refuels", d.modules, d.calls, d.traps, d.refuels)
		})
	}
}

// randomSource gives bytes to make a module of, in place of b.
func randomSource(random *rand.Rand, b []byte) []byte {
	b = slices.Grow(b[:0], 700)[:20+random.IntN(680)]
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// differential runs modules on several sides. Reused from module to module, by
// one goroutine.
type differential struct {
	r       wazero.Runtime
	g       *generator
	refuels int
	modules int
	calls   int // of each side
	traps   int

	t       testing.TB
	src     []byte
	sides   []*side
	current *side
}

// side is an instance.
type side struct {
	host      host
	rewritten bool
	mod       api.Module
	funcs     []api.Function
	globals   []api.Global
	fuel      api.MutableGlobal
	stack     api.MutableGlobal
	results   []uint64
	err       error
	used      int64 // fuel, by the last call
}

func newDifferential(t testing.TB) *differential {
	t.Helper()
	d := &differential{g: newGenerator(), r: newRuntime(t)}
	i32 := []api.ValueType{api.ValueTypeI32}
	_, err := d.r.NewHostModuleBuilder("env").
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
		stack[0] = uint64(uint32(stack[0]) * 2654435761)
	}), i32, i32).Export("mix").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(again), i32, i32).Export("again").
		Instantiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.r.NewHostModuleBuilder("weft_host").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			d.current.host.refuel(ctx, m, stack)
		}), nil, nil).Export("refuel").
		Instantiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// again calls the guest that calls it.
func again(ctx context.Context, m api.Module, stack []uint64) {
	f := m.ExportedFunction(genName('f', 0))
	results, err := f.Call(ctx, argumentsOf(f, []byte{byte(stack[0]), 3})...)
	if err != nil {
		panic(err)
	}
	stack[0] = uint64(len(results))
}

// argumentsOf gives some for a call, made of the bytes. References are null.
func argumentsOf(f api.Function, src []byte) []uint64 {
	var args []uint64
	for i, t := range f.Definition().ParamTypes() {
		v := uint64(src[i%len(src)]) * 0x1003fff1
		switch t {
		case api.ValueTypeI32, api.ValueTypeF32:
			v = uint64(uint32(v))
		case typeFunc:
			v = 0
		case typeV128:
			args = append(args, v)
		}
		args = append(args, v)
	}
	return args
}

// bounded compares the module as it came, rewritten, and rewritten with slices
// of another size.
func (d *differential) bounded(t testing.TB, src []byte) {
	t.Helper()
	slice := int64(1000)
	if len(src) > 0 {
		slice = int64(src[len(src)-1])*4 + 1
	}
	wasm := d.g.module(src)
	rewritten := rewrite(t, wasm, Options{})
	d.compare(t, src, []sideOf{{wasm, 0}, {rewritten, slice}, {rewritten, 1 << 30}})
}

// sideOf is a module, and the slices of its fuel if it is rewritten.
type sideOf struct {
	wasm  []byte
	slice int64
}

// compare runs the same calls on all sides and compares each with the first;
// the fuel, of those that have any.
func (d *differential) compare(t testing.TB, src []byte, sides []sideOf) {
	t.Helper()
	d.t, d.src, d.sides = t, src, d.sides[:0]
	d.modules++
	var compiled wazero.CompiledModule
	for i, of := range sides {
		var err error
		if i == 0 || &of.wasm[0] != &sides[i-1].wasm[0] {
			if compiled, err = d.r.CompileModule(context.Background(), of.wasm); err != nil {
				t.Fatalf("side %d: %v", i, err)
			}
			defer compiled.Close(context.Background())
		}
		s := d.start(compiled, of.slice)
		if s.mod != nil {
			defer s.mod.Close(context.Background())
		}
		d.sides = append(d.sides, s)
	}
	if d.differ("start", -1) {
		return
	}
	for round := range 3 {
		for i := range d.sides[0].funcs {
			d.call(i, round)
		}
	}
	for _, s := range d.sides {
		d.refuels += s.host.refuels
	}
}

func (d *differential) start(compiled wazero.CompiledModule, slice int64) *side {
	s := &side{rewritten: slice > 0, host: host{slice: slice, left: max(100_000_000, slice)}}
	d.current = s
	s.mod, s.err = d.r.InstantiateModule(context.Background(), compiled, wazero.NewModuleConfig().WithName(""))
	if s.err != nil {
		s.mod = nil
		return s
	}
	for i := 0; ; i++ {
		f := s.mod.ExportedFunction(genName('f', i))
		if f == nil {
			break
		}
		s.funcs = append(s.funcs, f)
	}
	for i := range genGlobals {
		s.globals = append(s.globals, s.mod.ExportedGlobal(genName('g', i)))
	}
	if s.rewritten {
		s.fuel = s.mod.ExportedGlobal("weft_fuel").(api.MutableGlobal)
		s.stack = s.mod.ExportedGlobal("weft_stack").(api.MutableGlobal)
	}
	return s
}

func (d *differential) call(function, round int) {
	d.calls++
	for _, s := range d.sides {
		d.current = s
		s.globals[genStepsAt].(api.MutableGlobal).Set(genSteps)
		before := int64(0)
		if s.rewritten {
			before = s.host.left + int64(s.fuel.Get())
		}
		f := s.funcs[function]
		s.results, s.err = f.Call(context.Background(), argumentsOf(f, append([]byte{byte(round)}, d.src...))...)
		if s.rewritten {
			s.used = before - s.host.left - int64(s.fuel.Get())
			if s.err == nil && s.stack.Get() != 16<<20 {
				d.t.Errorf("%s: %d bytes of stack afterwards", genName('f', function), s.stack.Get())
			}
			s.stack.Set(16 << 20)
		}
	}
	if d.sides[0].err != nil {
		d.traps++
	}
	d.differ(genName('f', function), function)
}

// differ compares the sides after a call of the function, or after their start
// if it is -1, and tells whether there is nothing more to compare.
func (d *differential) differ(name string, function int) bool {
	first := d.sides[0]
	for i, s := range d.sides[1:] {
		if trapOf(first.err) != trapOf(s.err) || !d.sameResults(first, s, function) {
			d.t.Errorf("%s: %x, %v; side %d %x, %v", name, first.results, first.err, i+1, s.results, s.err)
		}
		if s.mod == nil || first.mod == nil {
			return true
		}
		x, _ := first.mod.Memory().Read(0, first.mod.Memory().Size())
		y, _ := s.mod.Memory().Read(0, s.mod.Memory().Size())
		if !bytes.Equal(x, y) {
			d.t.Errorf("%s: memories differ, side %d", name, i+1)
		}
		for j, g := range first.globals {
			a, b := g.Get(), s.globals[j].Get()
			if g.Type() == typeFunc {
				a, b = min(a, 1), min(b, 1)
			}
			if a != b {
				d.t.Errorf("%s: global %d is %x, side %d %x", name, j, a, i+1, b)
			}
		}
		// What a trap interrupts may have been charged or not.
		if last := d.sides[i]; last.rewritten && s.err == nil && last.used != s.used {
			d.t.Errorf("%s: %d units, side %d %d", name, last.used, i+1, s.used)
		}
	}
	return false
}

// trapOf gives what ended a call, without the index of the start function.
func trapOf(err error) string {
	line := firstLine(err)
	if _, after, ok := strings.Cut(line, "] failed: "); ok {
		return after
	}
	return line
}

// sameResults compares results. References to functions are addresses.
func (d *differential) sameResults(a, b *side, function int) bool {
	if function < 0 || a.err != nil {
		return true
	}
	at := 0
	for _, t := range a.funcs[function].Definition().ResultTypes() {
		if t == typeFunc {
			a.results[at], b.results[at] = min(a.results[at], 1), min(b.results[at], 1)
		} else if t == typeV128 {
			at++
		}
		at++
	}
	return slices.Equal(a.results, b.results)
}
