package bolt

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// txn is one transaction of the committer: the operations of many callers.
//
// An operation reads first and decides; then it writes with put and del, whose
// failures are kept in fault. So one that returns an error has written nothing,
// except that a sweep stands by itself, and one with a fault takes the
// transaction down.
type txn struct {
	tx  *bbolt.Tx
	now int64 // Unix nanoseconds, the same for all operations

	values, marks, expiry, sizes, entries, keys *bbolt.Bucket

	longer map[lineKey]int // entries appended in this transaction

	sums  map[string]int64 // sizes read or changed in this transaction
	moved map[string]bool  // sums that differ from the file
	dirty bool
	swept bool // nothing is left that has expired
	fault error
}

// lineKey is a line of a queue.
type lineKey struct{ queue, line string }

// The buckets of the file.
const (
	weftBucket    = "weft"
	valuesBucket  = "values"
	marksBucket   = "marks"
	expiryBucket  = "expiry"
	sizesBucket   = "sizes"
	entriesBucket = "entries"
	keysBucket    = "keys"
)

// formatKey is where the format of the file stands in weftBucket.
const formatKey = "format"

// dataBuckets are the buckets that hold data.
func dataBuckets() []string {
	return []string{valuesBucket, marksBucket, expiryBucket, sizesBucket, entriesBucket, keysBucket}
}

func newTxn(tx *bbolt.Tx, now int64) *txn {
	b := func(name string) *bbolt.Bucket { return tx.Bucket([]byte(name)) }
	return &txn{
		tx: tx, now: now, longer: map[lineKey]int{},
		values: b(valuesBucket), marks: b(marksBucket), expiry: b(expiryBucket),
		sizes: b(sizesBucket), entries: b(entriesBucket), keys: b(keysBucket),
	}
}

// try runs f. A panic in it becomes a fault.
func (t *txn) try(f func(*txn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.fail(panicError(p))
		}
	}()
	return f(t)
}

func panicError(p any) error {
	return fmt.Errorf("panic: %v\n%s", p, debug.Stack())
}

func (t *txn) fail(err error) {
	if t.fault == nil {
		t.fault = err
	}
}

// put sets k in b. Both slices belong to the transaction until it ends.
func (t *txn) put(b *bbolt.Bucket, k, v []byte) {
	t.dirty = true
	if t.fault == nil {
		t.fault = b.Put(k, v)
	}
}

func (t *txn) del(b *bbolt.Bucket, k []byte) {
	t.dirty = true
	if t.fault == nil {
		t.fault = b.Delete(k)
	}
}

// size returns how many bytes bucket has, expired ones included.
func (t *txn) size(bucket string) (int64, error) {
	if n, ok := t.sums[bucket]; ok {
		return n, nil
	}
	var n int64
	if b := t.sizes.Get([]byte(bucket)); b != nil {
		u, err := decodeNumber(b)
		if err != nil {
			return 0, unavailable("read the size of a bucket", err)
		}
		n = int64(u)
	}
	if t.sums == nil {
		t.sums, t.moved = map[string]int64{}, map[string]bool{}
	}
	t.sums[bucket] = n
	return n, nil
}

// grow adds n bytes to bucket, whose size was read before.
func (t *txn) grow(bucket string, n int64) {
	if n != 0 {
		t.sums[bucket] += n
		t.moved[bucket] = true
	}
}

// flush writes the sizes that changed; it is called once, before the commit.
func (t *txn) flush() {
	for bucket := range t.moved {
		k := []byte(bucket)
		if n := t.sums[bucket]; n > 0 {
			t.put(t.sizes, k, binary.BigEndian.AppendUint64(nil, uint64(n)))
		} else {
			t.del(t.sizes, k)
		}
	}
}

// unavailable wraps err, which came up in doing what, as store.ErrUnavailable.
func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
}
