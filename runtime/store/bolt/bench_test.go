package bolt

import (
	"fmt"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

// BenchmarkSet measures a durable write of 100 bytes under one of 10,000 keys, by a lone
// caller and by 64, beside the same operation under bbolt's own DB.Batch.
func BenchmarkSet(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("committer/callers=%d", callers), func(b *testing.B) {
			s := benchStore(b)
			storetest.Callers(b, callers, setSome(func(op store.Op) error {
				_, err := s.Apply(b.Context(), op)
				return err
			}))
		})
		b.Run(fmt.Sprintf("batch/callers=%d", callers), func(b *testing.B) {
			s := benchStore(b)
			storetest.Callers(b, callers, setSome(func(op store.Op) error {
				ch := newChange(&op)
				return s.db.Batch(func(tx *bbolt.Tx) error {
					t := newTxn(tx, s.now().UnixNano())
					if _, err := ch.apply(t); err != nil {
						return err
					}
					t.flush()
					return t.fault
				})
			}))
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

// setSome is a call that sets 100 bytes under one of 10,000 keys.
func setSome(set func(store.Op) error) func(int64) error {
	value := make([]byte, 100)
	return func(i int64) error {
		return set(store.Op{Kind: store.Set, Bucket: "plugin/app", Key: fmt.Sprintf("user/%d", i*7919%10000), Value: value})
	}
}

// BenchmarkQueue measures what storetest.BenchQueue does.
func BenchmarkQueue(b *testing.B) {
	storetest.BenchQueue(b, func(b *testing.B) store.Queue { return benchStore(b) })
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
