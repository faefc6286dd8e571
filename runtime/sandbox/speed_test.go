package sandbox

import (
	"context"
	"math"
	"os"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weft-dev/weft/hostapi"
)

// emptyCalls are ways to call a guest that does nothing.
type emptyCalls struct {
	ctx    context.Context
	plugin *Plugin
	in     *instance
	call   *Call
	wazero [2]api.Function // without a deadline, and with wazero's own
}

func startEmptyCalls(t testing.TB) *emptyCalls {
	t.Helper()
	s := newSandbox(t, Options{})
	spec := watSpec(t, "empty", "")
	e := &emptyCalls{plugin: load(t, s, spec), call: textCall('0')}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	e.ctx = ctx
	in, err := e.plugin.newInstance(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	e.in = in
	for i, bounded := range []bool{false, true} {
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(bounded))
		t.Cleanup(func() {
			if err := r.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		m, err := r.Instantiate(ctx, spec.Wasm)
		if err != nil {
			t.Fatal(err)
		}
		e.wazero[i] = m.ExportedFunction(hostapi.ExportHandle)
	}
	return e
}

// invoke is the bare call, under all its bounds.
func (e *emptyCalls) invoke(t testing.TB) {
	in, limits := e.in, e.plugin.limits
	in.stack[0], in.stack[1] = uint64(in.bufferAt), 0
	if _, err := in.invoke(e.ctx, hostapi.ExportHandle, in.handle, callState{phase: phaseHandle}, limits.Timeout, limits.Fuel); err != nil {
		t.Fatal(err)
	}
}

// handle is the whole way of an event.
func (e *emptyCalls) handle(t testing.TB) {
	if _, err := e.plugin.Handle(e.ctx, e.call); err != nil {
		t.Fatal(err)
	}
}

func (e *emptyCalls) plain(t testing.TB) {
	stack := [2]uint64{1024, 0}
	if err := e.wazero[0].CallWithStack(context.Background(), stack[:]); err != nil {
		t.Fatal(err)
	}
}

// deadline has what wazero offers: a context for each call.
func (e *emptyCalls) deadline(t testing.TB) {
	ctx, cancel := context.WithTimeout(e.ctx, time.Second)
	defer cancel()
	stack := [2]uint64{1024, 0}
	if err := e.wazero[1].CallWithStack(ctx, stack[:]); err != nil {
		t.Fatal(err)
	}
}

func (e *emptyCalls) ways() []emptyWay {
	return []emptyWay{
		{"invoke", e.invoke},
		{"handle", e.handle},
		{"wazero-no-deadline", e.plain},
		{"wazero", e.deadline},
	}
}

type emptyWay struct {
	name string
	call func(testing.TB)
}

// measureEmpty gives what each way takes, in nanoseconds: the shortest of many
// batches, taken in turns for as long as more says.
func measureEmpty(t testing.TB, ways []emptyWay, more func() bool) []float64 {
	t.Helper()
	const batch = 200
	best := make([]float64, len(ways))
	for i := range best {
		best[i] = math.Inf(1)
	}
	for more() {
		for i, w := range ways {
			start := time.Now()
			for range batch {
				w.call(t)
			}
			best[i] = min(best[i], float64(time.Since(start).Nanoseconds())/batch)
		}
	}
	return best
}

// BenchmarkEmpty is a call of a guest that does nothing: bare under its bounds,
// as a whole event, and beside them wazero's with and without its own deadline.
func BenchmarkEmpty(b *testing.B) {
	ways := startEmptyCalls(b).ways()
	for i, ns := range measureEmpty(b, ways, b.Loop) {
		b.ReportMetric(ns, "ns-"+ways[i].name)
	}
}

// TestEmptyAllocates: neither a call under its bounds nor a whole event with
// nothing to say allocates.
func TestEmptyAllocates(t *testing.T) {
	e := startEmptyCalls(t)
	for _, w := range e.ways()[:2] {
		if n := testing.AllocsPerRun(100, func() { w.call(t) }); n > 0 {
			t.Errorf("%s: %v allocations", w.name, n)
		}
	}
}

// TestSpeedBars holds a call with its hard deadline to 300 ns. It is part of
// `make bars`.
func TestSpeedBars(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" {
		t.Skip("set WEFT_BARS to measure, without -race")
	}
	ways := startEmptyCalls(t).ways()
	turns := 0
	best := measureEmpty(t, ways, func() bool { turns++; return turns <= 1000 })
	for i, ns := range best {
		t.Logf("%-18s %5.0f ns", ways[i].name, ns)
	}
	if best[0] > 300 {
		t.Errorf("a call takes %.0f ns, want 300 at most", best[0])
	}
}
