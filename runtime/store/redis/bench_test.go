package redis

import (
	"fmt"
	"testing"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

// BenchmarkSet measures a durable write of 100 bytes under one of 10,000 keys, by a
// lone caller and by 64.
func BenchmarkSet(b *testing.B) {
	value := make([]byte, 100)
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := openTest(b, Options{Addrs: []string{redistest.Start(b).Addr}})
			storetest.Callers(b, callers, func(i int64) error {
				_, err := s.Apply(b.Context(), store.Op{Kind: store.Set, Bucket: "plugin/app", Key: fmt.Sprintf("user/%d", i*7919%10000), Value: value})
				return err
			})
		})
	}
}

// BenchmarkGet measures a read while nothing is written.
func BenchmarkGet(b *testing.B) {
	s := openTest(b, Options{Addrs: []string{redistest.Start(b).Addr}})
	if err := set(s, "k"); err != nil {
		b.Fatal(err)
	}
	storetest.Callers(b, 1, func(int64) error {
		_, err := s.Get(b.Context(), "b", "k")
		return err
	})
}
