package sandbox

import (
	"context"
	"testing"
	"time"
)

// BenchmarkHandleEmpty is a call of a guest that does nothing: what the sandbox
// adds to an event, the time limit included.
func BenchmarkHandleEmpty(b *testing.B) {
	benchmarkHandle(b, load(b, newSandbox(b, Options{}), watSpec(b, "empty", "")))
}

// benchmarkHandle calls under a deadline as the pipeline sets it: one for the
// event, further off than the plugin's timeout.
func benchmarkHandle(b *testing.B, p *Plugin) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	call := textCall('0')
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Handle(ctx, call); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHandleEmptyParallel(b *testing.B) {
	p := load(b, newSandbox(b, Options{}), watSpec(b, "empty", ""))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		call := textCall('0')
		for pb.Next() {
			if _, err := p.Handle(ctx, call); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkInstance starts an instance and ends it.
func BenchmarkInstance(b *testing.B) {
	p := load(b, newSandbox(b, Options{}), watSpec(b, "empty", ""))
	b.ReportAllocs()
	for b.Loop() {
		in, err := p.newInstance(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if err := in.close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOutline reads what admission needs of a plugin in Go, of some 3 MB:
// every start of the host does so, also where its native code is there.
func BenchmarkOutline(b *testing.B) {
	wasm := goModule(b)
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readModule(wasm); err != nil {
			b.Fatal(err)
		}
	}
}
