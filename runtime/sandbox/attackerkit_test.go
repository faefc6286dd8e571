package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// attackerModule compiles testdata/NAME.wat, in which a line `;;* N TEXT`
// stands for N lines of TEXT, # in it for their number.
func attackerModule(t testing.TB, name string) []byte {
	t.Helper()
	var text bytes.Buffer
	for line := range strings.Lines(string(readFile(t, filepath.Join("testdata", name+".wat")))) {
		n, repeated := 1, line
		if _, err := fmt.Sscanf(strings.TrimSpace(line), ";;* %d", &n); err == nil {
			repeated = strings.SplitN(strings.TrimSpace(line), " ", 3)[2] + "\n"
		}
		for i := range n {
			text.WriteString(strings.ReplaceAll(repeated, "#", fmt.Sprint(i)))
		}
	}
	in := filepath.Join(t.TempDir(), "attacker.wat")
	if err := os.WriteFile(in, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	compileGuest(t, "wat2wasm", "--no-check", in, "-o", in+".wasm")
	return readFile(t, in+".wasm")
}

// attackerManifest has what the attackers import.
const attackerManifest = "capabilities: { state: { why: floods }, send: { why: floods, optional: true }, api: { why: floods }, fetch: { why: floods, upstreams: { orders: floods } } }"

// attackerSpec is an attacker under its own name, with room for all that it
// does, but for more.
func attackerSpec(t testing.TB, name string, more Limits) Spec {
	t.Helper()
	more.Memory, more.Instances = 64<<20, 1
	return Spec{
		Name: filepath.Base(name), Wasm: withManifest(t, attackerModule(t, name), attackerManifest),
		Grants: Grants{State: true, API: true, Fetch: []string{"orders"}}, State: noState{}, Limits: more,
	}
}

// userCall is an event of one of many users: a plugin that fails often for one
// of them is not called for that one any more.
func userCall(first byte, user int) *Call {
	call := textCall(first)
	call.Event.User = fmt.Sprint("oUser", user)
	return call
}

// cost is what a piece of a test took.
type cost struct {
	wall, processor time.Duration
	stop            time.Duration // the longest that the collector waited for guests, rounded up to its histogram's bucket
	live            uint64        // bytes of the host's heap that a collection left, at most
}

func (c cost) String() string {
	return fmt.Sprintf("%v, %v of processor time, collector held up %v, heap %.1f MiB", c.wall.Round(time.Millisecond), c.processor.Round(time.Millisecond), c.stop, float64(c.live)/(1<<20))
}

// measure runs f, which nothing else runs beside but forced collections.
func measure(t testing.TB, f func()) cost {
	t.Helper()
	before, began, stops := processorTime(t), time.Now(), readStops()
	done, collected := make(chan struct{}), make(chan uint64)
	go func() {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		most := uint64(0)
		defer func() { collected <- most }()
		for {
			runtime.GC()
			metrics.Read(live)
			most = max(most, live[0].Value.Uint64())
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	f()
	close(done)
	c := cost{wall: time.Since(began)}
	c.live = <-collected
	c.processor = processorTime(t) - before
	c.stop = longestStop(stops, readStops())
	return c
}

// processorTime is what this process used, on all processors.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// readStops reads how long the collector took to stop all goroutines.
func readStops() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/stopping/gc:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}

// longestStop is the upper end of the highest bucket that got more from one
// reading to the next.
func longestStop(before, after *metrics.Float64Histogram) time.Duration {
	for i := len(after.Counts) - 1; i >= 0; i-- {
		if after.Counts[i] > before.Counts[i] {
			return time.Duration(after.Buckets[min(i+1, len(after.Buckets)-2)] * float64(time.Second))
		}
	}
	return 0
}

// residue is what is left of a test's work: goroutines and live memory.
type residue struct {
	goroutines int
	heap       uint64 // bytes, reachable
	resident   uint64 // bytes
}

// readResidue collects garbage, also what only a finalizer frees.
func readResidue(t testing.TB) residue {
	t.Helper()
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var size, resident uint64
	if _, err := fmt.Sscan(string(readFile(t, "/proc/self/statm")), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return residue{goroutines: runtime.NumGoroutine(), heap: m.HeapAlloc, resident: resident * uint64(os.Getpagesize())}
}

// checkResidue holds what is left to what was there before: no goroutine, and
// no memory but for what caches of the runtime and of the tests hold. Resident
// memory counts only without the race detector, which keeps some of its own.
func checkResidue(t *testing.T, before residue) {
	t.Helper()
	after := readResidue(t)
	for range 10_000 { // those that have just been told to end
		if after.goroutines <= before.goroutines {
			break
		}
		runtime.Gosched()
		after.goroutines = runtime.NumGoroutine()
	}
	t.Logf("before %+v, after %+v", before, after)
	if after.goroutines > before.goroutines {
		var stacks bytes.Buffer
		b := make([]byte, 1<<20)
		stacks.Write(b[:runtime.Stack(b, true)])
		t.Errorf("%d goroutines are left, %d were there before:\n%s", after.goroutines, before.goroutines, &stacks)
	}
	const slack = 20 << 20
	if after.heap > before.heap+before.heap/10+slack {
		t.Errorf("%d bytes are reachable, %d were before", after.heap, before.heap)
	}
	if os.Getenv("WEFT_BARS") != "" && after.resident > before.resident+before.resident/10+slack {
		t.Errorf("%d bytes are resident, %d were before", after.resident, before.resident)
	}
}

// good wants a plugin, and another one, to answer an event as if nothing were.
func good(t *testing.T, p *Plugin, user int, neighbour *Plugin) {
	t.Helper()
	if got, err := handle(p, userCall('0', user)); err != nil || got.Outcome != hostapi.Next {
		t.Errorf("the next event: %v, %v", got, err)
	}
	goodNeighbour(t, neighbour)
}

func goodNeighbour(t *testing.T, neighbour *Plugin) {
	t.Helper()
	if got, err := handle(neighbour, textCall('f')); err != nil || got.Outcome != hostapi.Done {
		t.Errorf("the neighbour: %v, %v", got, err)
	}
	if s := neighbour.Stats(); s.Instances != 1 || s.Calls == 0 {
		t.Errorf("the neighbour's instances: %+v", s)
	}
}

// collected closes a plugin and frees what it had.
func closePlugin(t *testing.T, p *Plugin) {
	t.Helper()
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
