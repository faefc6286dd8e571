package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Of the host that BenchmarkManyPlugins measures.
const (
	manySmall = 1000
	manyGo    = 20
)

// BenchmarkManyPlugins starts a host with a thousand plugins of a small C kind
// and twenty in Go, all distinct, with an empty compile cache and with a full
// one. It gives what the start takes, each plugin's memory, and how long the
// first event of the last takes. One turn takes half a minute.
func BenchmarkManyPlugins(b *testing.B) {
	small, large := cModule(b), goModule(b)
	for b.Loop() {
		dir := b.TempDir()
		for _, start := range []string{"cold", "warm"} {
			s, err := New(context.Background(), Options{CacheDir: dir})
			if err != nil {
				b.Fatal(err)
			}
			loadMany(b, s, start+"-c", manySmall, "", Spec{Wasm: small})
			plugins := loadMany(b, s, start+"-go", manyGo, goManifest, Spec{Wasm: large, Grants: Grants{State: true}, State: visits{}})
			began := time.Now()
			if _, err := handle(plugins[len(plugins)-1], sayCall("there")); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(began).Microseconds()), start+"-first-event-µs")
			if err := s.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// loadMany loads n plugins that differ in their manifests, as many at a time as
// there are processors, and reports under name how long all take, and at the
// cold start the resident memory and Go heap of each: the warm one finds memory
// that the cold one gave back.
func loadMany(b *testing.B, s *Sandbox, name string, n int, manifest string, spec Spec) []*Plugin {
	b.Helper()
	plugins := make([]*Plugin, n)
	specs := make(chan int)
	resident, heap := memoryNow(b)
	began := time.Now()
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range specs {
				spec := spec
				spec.Name = fmt.Sprintf("%s-%d", name, i)
				spec.Wasm = withManifest(b, spec.Wasm, fmt.Sprintf("%s\n# number %d\n", manifest, i))
				p, err := s.Load(context.Background(), spec)
				if err != nil {
					b.Error(err)
					continue
				}
				if failed := p.SetConfigs(context.Background(), map[string]Config{"shop": {JSON: []byte(`{"greeting":"hi"}`), ID: 7}}); failed != nil {
					b.Error(failed)
				}
				plugins[i] = p
			}
		})
	}
	for i := range n {
		specs <- i
	}
	close(specs)
	workers.Wait()
	took := time.Since(began)
	if b.Failed() {
		b.FailNow()
	}
	residentAfter, heapAfter := memoryNow(b)
	b.ReportMetric(took.Seconds(), name+"-s")
	if !strings.HasPrefix(name, "cold") {
		return plugins
	}
	b.ReportMetric(float64(residentAfter-resident)/float64(n)/1024, name+"-KiB-resident-each")
	b.ReportMetric(float64(heapAfter-heap)/float64(n)/1024, name+"-KiB-heap-each")
	return plugins
}

// memoryNow gives this process's resident memory, 0 where it can't be told, and
// its Go heap, in bytes, after a collection.
func memoryNow(b *testing.B) (resident, heap int64) {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, int64(m.HeapAlloc)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(statm)[1]), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize()), int64(m.HeapAlloc)
}
