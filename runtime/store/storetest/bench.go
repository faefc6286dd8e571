package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// Callers has so many goroutines do call, b.N times in all, each with another
// number from 1, and reports how many a second.
func Callers(b *testing.B, callers int, call func(i int64) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchQueue measures the whole way of an entry of 100 bytes by a lone caller and by
// 64: append with a hold and acknowledge, or append, claim and acknowledge.
func BenchQueue(b *testing.B, open func(b *testing.B) store.Queue) {
	value := make([]byte, 100)
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("held/callers=%d", callers), func(b *testing.B) {
			q := open(b)
			Callers(b, callers, func(i int64) error {
				claims, err := q.Append(b.Context(), "events", time.Hour, store.Entry{Key: fmt.Sprint(i), Value: value})
				if err != nil {
					return err
				}
				return q.Ack(b.Context(), "events", claims[0])
			})
		})
		b.Run(fmt.Sprintf("claimed/callers=%d", callers), func(b *testing.B) {
			q := open(b)
			Callers(b, callers, func(i int64) error {
				if _, err := q.Append(b.Context(), "events", 0, store.Entry{Key: fmt.Sprint(i), Value: value}); err != nil {
					return err
				}
				// As many were appended as are claimed: one is there.
				claims, err := q.Claim(b.Context(), "events", "", 1, time.Hour)
				if err != nil {
					return err
				}
				return q.Ack(b.Context(), "events", claims[0])
			})
		})
	}
}
