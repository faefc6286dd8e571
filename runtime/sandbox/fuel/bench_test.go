package fuel

import "testing"

// BenchmarkRewrite rewrites a plugin in Go, of some 3 MB.
func BenchmarkRewrite(b *testing.B) {
	wasm := goModule(b)
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := Rewrite(wasm, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(m.Wasm))/float64(len(wasm)), "size-ratio")
	}
}
