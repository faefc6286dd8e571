package wechat

import (
	"os"
	"slices"
	"testing"
)

// TestSpeedBars holds opening and sealing to their bare steps: both sides in
// turn in one run, the median of the ratios counts. It takes a minute, so it is
// part of `make bars`.
func TestSpeedBars(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" {
		t.Skip("set WEFT_BARS to measure, without -race")
	}
	for _, c := range []struct {
		name        string
		whole, bare func(*testing.B)
		bar         float64
		allocs      int64
	}{
		{"opening", BenchmarkOpen, BenchmarkOpenBare, 2.0, 8},
		{"sealing", BenchmarkSeal, BenchmarkSealBare, 1.6, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ratios []float64
			for range 15 {
				whole, bare := testing.Benchmark(c.whole), testing.Benchmark(c.bare)
				ratios = append(ratios, float64(whole.NsPerOp())/float64(bare.NsPerOp()))
				if n := whole.AllocsPerOp(); n > c.allocs {
					t.Fatalf("%d allocations, want %d at most", n, c.allocs)
				}
			}
			slices.Sort(ratios)
			median := ratios[len(ratios)/2]
			t.Logf("%.2f times its bare steps (%.2f to %.2f)", median, ratios[0], ratios[len(ratios)-1])
			if median > c.bar {
				t.Errorf("the median is %.2f times the bare steps, want %.1f at most", median, c.bar)
			}
		})
	}
}
