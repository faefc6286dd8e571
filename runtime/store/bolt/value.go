package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// Get is store.Store's.
func (s *Store) Get(ctx context.Context, bucket, key string) ([]byte, error) {
	if err := store.CheckKey(bucket, key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	k := nameKey(bucket, key)
	var out []byte
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(valuesBucket)).Get(k)
		if b == nil {
			return store.ErrNotFound
		}
		v, err := decodeValue(b)
		if err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		if !v.live(s.now().UnixNano()) {
			return store.ErrNotFound
		}
		out = append([]byte{}, v.data...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("get from bucket %q: %w", bucket, err)
	}
	return out, nil
}

// Apply is store.Store's.
func (s *Store) Apply(ctx context.Context, op store.Op) (store.Result, error) {
	if err := op.Check(); err != nil {
		return store.Result{}, fmt.Errorf("change a key: %w", err)
	}
	ch := newChange(&op)
	var res store.Result
	c := &call{
		ctx:  ctx,
		what: fmt.Sprintf("change a key of bucket %q", op.Bucket),
		size: len(ch.record) + len(ch.key) + 64,
		run: func(t *txn) (err error) {
			res, err = ch.apply(t)
			return err
		},
	}
	if err := s.submit(c); err != nil {
		return store.Result{}, err
	}
	return res, nil
}

// change is an Op made ready for the committer: nothing of it is the caller's
// any more, who may have gone when it runs.
type change struct {
	kind    store.Kind
	bucket  string
	key     []byte // in values
	keySize int64  // what the key counts for in a quota
	record  []byte // of the value to be set, its expiry still to be filled in
	expect  []byte // nil: none
	delta   int64
	ttl     time.Duration
	quota   int64
	onceKey []byte // in marks; nil: none
	onceTTL time.Duration
}

func newChange(op *store.Op) *change {
	c := &change{
		kind: op.Kind, bucket: op.Bucket, key: nameKey(op.Bucket, op.Key), keySize: int64(len(op.Key)),
		delta: op.Delta, ttl: op.TTL, quota: op.Quota, onceTTL: op.OnceTTL,
	}
	if op.Kind == store.Set || op.Kind == store.CompareAndSet {
		c.record = appendValue(make([]byte, 0, valueHead+len(op.Value)), value{data: op.Value})
	}
	if op.Expect != nil {
		c.expect = append([]byte{}, op.Expect...)
	}
	if op.Once != "" {
		c.onceKey = nameKey(op.Bucket, op.Once)
	}
	return c
}

// found is what a change met under its key.
type found struct {
	value
	stored bool // there is a record, perhaps an expired one
	live   bool // there is a value
}

func (f found) size(keySize int64) int64 {
	if !f.stored {
		return 0
	}
	return keySize + int64(len(f.data))
}

// apply makes the change in t, or returns an error and changes nothing, but that
// what had expired may have been removed.
func (c *change) apply(t *txn) (store.Result, error) {
	res, err := c.attempt(t)
	if errors.Is(err, errUnfinished) && t.swept {
		res, err = c.attempt(t) // nothing is left to be removed: it says yes or no
	}
	return res, err
}

// attempt is apply; errUnfinished: something expired was removed, so that what
// it had read may be no more.
func (c *change) attempt(t *txn) (store.Result, error) {
	if m, ok, err := c.repeated(t); err != nil || ok {
		return store.Result{Applied: true, Found: m.found, Number: m.number, Repeated: true}, err
	}
	old, err := c.find(t)
	if err != nil {
		return store.Result{}, err
	}
	size, err := t.size(c.bucket)
	if err != nil {
		return store.Result{}, err
	}
	if c.kind == store.CompareAndSet && (old.live != (c.expect != nil) || !bytes.Equal(old.liveData(), c.expect)) {
		return store.Result{Found: old.live, Value: slices.Clone(old.liveData())}, nil
	}
	res := store.Result{Applied: true}
	record := c.record
	if record != nil {
		setExpiry(record, t.now, c.ttl)
	}
	switch c.kind {
	case store.Delete:
		res.Found = old.live
	case store.Add:
		if record, res.Number, err = c.add(t, old); err != nil {
			return store.Result{}, err
		}
	}
	if err := c.fits(t, old, record, size); err != nil {
		return store.Result{}, err
	}
	c.write(t, old, record)
	if c.onceKey != nil {
		c.leaveMark(t, res)
	}
	return res, nil
}

// setExpiry fills in when the value of record ends.
func setExpiry(record []byte, now int64, ttl time.Duration) {
	at := int64(forever)
	if ttl > 0 {
		at = after(now, ttl)
	}
	binary.BigEndian.PutUint64(record[1:], uint64(at))
}

func (f found) liveData() []byte {
	if !f.live {
		return nil
	}
	return f.data
}

// find reads what is under the key.
func (c *change) find(t *txn) (found, error) {
	b := t.values.Get(c.key)
	if b == nil {
		return found{}, nil
	}
	v, err := decodeValue(b)
	if err != nil {
		return found{}, unavailable("read a value", err)
	}
	return found{value: v, stored: true, live: v.live(t.now)}, nil
}

// add makes the record of the counter after it.
func (c *change) add(t *txn, old found) (record []byte, number int64, err error) {
	var n int64
	if old.live {
		n, err = strconv.ParseInt(string(old.data), 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != string(old.data) {
			return nil, 0, fmt.Errorf("%w: it is no decimal number of 64 bits", store.ErrNotCounter)
		}
	}
	sum := n + c.delta
	if (sum > n) != (c.delta > 0) && c.delta != 0 {
		return nil, 0, fmt.Errorf("%w: the sum is out of the range of 64 bits", store.ErrNotCounter)
	}
	record = appendValue(nil, value{expiry: old.expiry, data: strconv.AppendInt(nil, sum, 10)})
	if !old.live {
		setExpiry(record, t.now, c.ttl)
	}
	return record, sum, nil
}

// fits checks the quota. size is that of the bucket with whatever expired and
// was not removed; only where it matters the expired ones are removed first,
// which takes more than one transaction where they are many.
func (c *change) fits(t *txn, old found, record []byte, size int64) error {
	if c.quota == 0 || record == nil {
		return nil
	}
	grown := c.keySize + int64(len(record)) - valueHead - old.size(c.keySize)
	if size+grown <= c.quota {
		return nil
	}
	if !t.swept {
		removed, err := t.sweep(sweepBatch)
		if err != nil {
			return err
		}
		if removed > 0 {
			return errUnfinished
		}
	}
	if grown <= 0 {
		return nil
	}
	return fmt.Errorf("%w: %d bytes, of %d allowed", store.ErrQuota, size+grown, c.quota)
}

// write sets the record (nil: removes the key), with index and size.
func (c *change) write(t *txn, old found, record []byte) {
	var expiry int64
	grown := -old.size(c.keySize)
	if record != nil {
		expiry = int64(binary.BigEndian.Uint64(record[1:]))
		grown += c.keySize + int64(len(record)) - valueHead
	}
	if old.stored && old.expiry != forever && old.expiry != expiry {
		t.del(t.expiry, indexKey(old.expiry, valueIndex, c.key))
	}
	if expiry != forever && (!old.stored || old.expiry != expiry) {
		t.put(t.expiry, indexKey(expiry, valueIndex, c.key), nil)
	}
	switch {
	case record != nil:
		t.put(t.values, c.key, record)
	case old.stored:
		t.del(t.values, c.key)
	}
	t.grow(c.bucket, grown)
}

// repeated looks for the mark of the change.
func (c *change) repeated(t *txn) (mark, bool, error) {
	if c.onceKey == nil {
		return mark{}, false, nil
	}
	b := t.marks.Get(c.onceKey)
	if b == nil {
		return mark{}, false, nil
	}
	m, err := decodeMark(b)
	if err != nil {
		return mark{}, false, unavailable("read a mark", err)
	}
	return m, t.now < m.expiry, nil
}

// leaveMark remembers the outcome, in place of an expired mark where there is one.
func (c *change) leaveMark(t *txn, res store.Result) {
	if b := t.marks.Get(c.onceKey); b != nil {
		if old, err := decodeMark(b); err == nil {
			t.del(t.expiry, indexKey(old.expiry, markIndex, c.onceKey))
		}
	}
	m := mark{expiry: after(t.now, c.onceTTL), found: res.Found, number: res.Number}
	t.put(t.marks, c.onceKey, appendMark(nil, m))
	t.put(t.expiry, indexKey(m.expiry, markIndex, c.onceKey), nil)
}
