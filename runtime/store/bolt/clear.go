package bolt

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// Clear is store.Store's.
func (s *Store) Clear(ctx context.Context, bucket string, max int) (left bool, err error) {
	if err := store.CheckName("bucket", bucket); err != nil {
		return false, fmt.Errorf("clear a bucket: %w", err)
	}
	if max < 1 {
		return false, fmt.Errorf("clear a bucket: %w: %d keys, at least 1 is needed", store.ErrInvalid, max)
	}
	err = s.submit(&call{
		ctx: ctx, what: fmt.Sprintf("clear bucket %q", bucket), size: max * 64,
		run: func(t *txn) (err error) {
			left, err = t.clear(bucket, max)
			return err
		},
	})
	if err != nil {
		return false, err
	}
	return left, nil
}

// clear removes up to n values and marks of a bucket, and says whether any is
// left.
func (t *txn) clear(bucket string, n int) (left bool, err error) {
	if _, err := t.size(bucket); err != nil {
		return false, err
	}
	prefix := nameKey(bucket, "")
	values, more := keysOf(t.values, prefix, n)
	for _, k := range values {
		if err := t.clearValue(bucket, k); err != nil {
			return false, err
		}
	}
	if more || len(values) == n {
		return true, nil
	}
	marks, more := keysOf(t.marks, prefix, n-len(values))
	for _, k := range marks {
		if m, err := decodeMark(t.marks.Get(k)); err == nil {
			t.del(t.expiry, indexKey(m.expiry, markIndex, k))
		}
		t.del(t.marks, k)
	}
	return more, nil
}

func (t *txn) clearValue(bucket string, k []byte) error {
	v, err := decodeValue(t.values.Get(k))
	if err != nil {
		return unavailable("read a value", err)
	}
	if v.expiry != forever {
		t.del(t.expiry, indexKey(v.expiry, valueIndex, k))
	}
	t.del(t.values, k)
	t.grow(bucket, -int64(len(k)-1-len(bucket)+len(v.data)))
	return nil
}

// keysOf returns up to n keys of b that begin with prefix, and whether there are
// more.
func keysOf(b *bbolt.Bucket, prefix []byte, n int) (keys [][]byte, more bool) {
	c := b.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if len(keys) == n {
			return keys, true
		}
		keys = append(keys, bytes.Clone(k))
	}
	return keys, false
}
