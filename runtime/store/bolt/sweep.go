package bolt

import (
	"bytes"
	"context"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// The sweeper looks for what expired every sweepEvery, and removes at most
// sweepBatch in one transaction.
const (
	sweepEvery = time.Second
	sweepBatch = 512
)

// sweepAll is the sweeper. It ends with ctx.
func (s *Store) sweepAll(ctx context.Context) {
	defer close(s.swept)
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := s.now().UnixNano()
		s.locks.sweep(now)
		s.board.sweep(now)
		if err := s.sweep(ctx); err != nil && !errors.Is(err, store.ErrClosed) && ctx.Err() == nil {
			s.log.Error("removing what expired failed", "error", err)
		}
		timer.Reset(sweepEvery)
	}
}

// sweep removes whatever has expired; where something always does, it ends all
// the same.
func (s *Store) sweep(ctx context.Context) error {
	for {
		due := false
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket([]byte(expiryBucket)).Cursor().First()
			if k == nil {
				return nil
			}
			at, _, _, err := splitIndex(k)
			due = err != nil || at <= s.now().UnixNano()
			return nil
		})
		if err != nil || !due {
			return err
		}
		removed := 0
		err = s.submit(&call{ctx: ctx, what: "remove what expired", run: func(t *txn) (err error) {
			removed, err = t.sweep(sweepBatch)
			return err
		}})
		if err != nil || removed < sweepBatch {
			return err // what expires from now on is the next sweep's
		}
	}
}

// sweep removes up to n values and marks that have expired, and says how many.
func (t *txn) sweep(n int) (int, error) {
	var due [][]byte
	cursor := t.expiry.Cursor()
	for k, _ := cursor.First(); k != nil && len(due) < n; k, _ = cursor.Next() {
		if at, _, _, err := splitIndex(k); err == nil && at > t.now {
			break
		}
		due = append(due, bytes.Clone(k))
	}
	for _, k := range due {
		if err := t.remove(k); err != nil {
			return 0, err
		}
	}
	t.swept = len(due) < n
	return len(due), nil
}

// remove removes what a key of the index points to, and the key. Where they
// don't belong together only the key goes.
func (t *txn) remove(index []byte) error {
	at, kind, key, err := splitIndex(index)
	if err != nil {
		t.del(t.expiry, index)
		return nil
	}
	switch kind {
	case markIndex:
		if m, err := decodeMark(t.marks.Get(key)); err == nil && m.expiry == at {
			t.del(t.marks, key)
		}
	case valueIndex:
		v, err := decodeValue(t.values.Get(key))
		if err != nil || v.expiry != at {
			break
		}
		name, rest, err := splitName(key)
		if err != nil {
			break
		}
		bucket := string(name)
		if _, err := t.size(bucket); err != nil {
			return err
		}
		size := int64(len(rest) + len(v.data))
		t.del(t.values, key)
		t.grow(bucket, -size)
	}
	t.del(t.expiry, index)
	return nil
}
