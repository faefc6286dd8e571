package bolt

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// BenchmarkSet measures a durable write of 100 bytes under one of 10,000 keys, by a lone
// caller and by 64, beside the same operation under bbolt's own DB.Batch.
func BenchmarkSet(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("committer/callers=%d", callers), func(b *testing.B) {
			s := benchStore(b)
			benchCallers(b, callers, func(op store.Op) error {
				_, err := s.Apply(b.Context(), op)
				return err
			})
		})
		b.Run(fmt.Sprintf("batch/callers=%d", callers), func(b *testing.B) {
			s := benchStore(b)
			benchCallers(b, callers, func(op store.Op) error {
				ch := newChange(&op)
				return s.db.Batch(func(tx *bbolt.Tx) error {
					t := newTxn(tx, s.now().UnixNano())
					if _, err := ch.apply(t); err != nil {
						return err
					}
					t.flush()
					return t.fault
				})
			})
		})
	}
}

func benchStore(b *testing.B) *Store {
	s, err := Open(b.Context(), Options{Dir: filepath.Join(b.TempDir(), "data")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// benchCallers does b.N writes by so many goroutines.
func benchCallers(b *testing.B, callers int, write func(store.Op) error) {
	value := make([]byte, 100)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				op := store.Op{Kind: store.Set, Bucket: "plugin/app", Key: fmt.Sprintf("user/%d", i*7919%10000), Value: value}
				if err := write(op); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// BenchmarkQueue measures an entry's whole way, append with a hold and
// acknowledge, by a lone caller and by 64.
func BenchmarkQueue(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := benchStore(b)
			benchCallers(b, callers, func(op store.Op) error {
				return passEntry(b, s, op)
			})
		})
	}
}

func passEntry(b *testing.B, s *Store, op store.Op) error {
	key := op.Key
	claims, err := s.Append(b.Context(), "events", time.Hour, store.Entry{Key: key, Value: op.Value})
	if err != nil {
		return err
	}
	return s.Ack(b.Context(), "events", claims[0])
}

// BenchmarkGet measures a read while nothing is written.
func BenchmarkGet(b *testing.B) {
	s := benchStore(b)
	if _, err := s.Apply(b.Context(), store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: make([]byte, 100)}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get(b.Context(), "b", "k"); err != nil {
			b.Fatal(err)
		}
	}
}
