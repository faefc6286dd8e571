package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/weft-dev/weft/runtime/store"
)

// durable is the number of the last transaction that is on the disk. bbolt lets
// a reader see a transaction as soon as its meta page was written, which is
// before that page was synced.
type durable struct {
	id atomic.Int64

	mu   sync.Mutex
	next chan struct{} // closed at the next change; nil where nobody waits
}

// reach says that transaction id is durable, or, with the id as it was, that
// those who wait must look at the store's failure.
func (d *durable) reach(id int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.id.Store(id)
	if d.next != nil {
		close(d.next)
		d.next = nil
	}
}

// change returns a channel that the next reach closes; nil: id is durable.
func (d *durable) change(id int64) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.id.Load() >= id {
		return nil
	}
	if d.next == nil {
		d.next = make(chan struct{})
	}
	return d.next
}

// await waits until transaction id is durable.
func (s *Store) await(ctx context.Context, id int64) error {
	if s.durable.id.Load() >= id {
		return nil
	}
	for {
		changed := s.durable.change(id)
		if changed == nil {
			return nil
		}
		if err := s.broken(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// view runs f in a read transaction that sees only what is durable. f must not
// call the store, nor keep a slice of the transaction.
func (s *Store) view(ctx context.Context, f func(*bbolt.Tx) error) (err error) {
	if err := s.check(ctx); err != nil {
		return err
	}
	tx, err := s.db.Begin(false)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w", store.ErrUnavailable, panicError(p))
		}
		if rerr := tx.Rollback(); rerr != nil && err == nil {
			err = fmt.Errorf("%w: %w", store.ErrUnavailable, rerr)
		}
	}()
	if err := s.await(ctx, int64(tx.ID())); err != nil {
		return err
	}
	return f(tx)
}

// failure is why the store stopped.
type failure struct{ err error }

// errDoubtful is why the store stops when the last step of a commit failed: what
// the file holds can't be told until it is read from the disk again.
var errDoubtful = errors.New("writing to the disk failed in the last step of a commit, so the store stopped; look after the disk, then start weft again")

// broken returns why the store stopped, nil where it did not.
func (s *Store) broken() error {
	if f := s.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// stop makes every call from now on fail because of err.
func (s *Store) stop(err error) {
	s.failure.CompareAndSwap(nil, &failure{fmt.Errorf("%w: %w: %w", store.ErrUnavailable, errDoubtful, err)})
	s.log.Error("the store stopped", "error", err)
	s.durable.reach(s.durable.id.Load())
}

// commitTx commits tx. Where it fails before the meta page was written the
// transaction never was, and the store goes on; else the store stops.
func (s *Store) commitTx(tx *bbolt.Tx) error {
	id := int64(tx.ID())
	panicked, err := safely(func() error { return s.commitFile(tx) })
	if err == nil {
		s.durable.reach(id)
		return nil
	}
	err = fmt.Errorf("commit: %w", err)
	if panicked {
		err = errors.Join(err, s.rollback(tx))
		s.stop(err)
		return err
	}
	seen, berr := s.seen()
	if berr != nil || seen != s.durable.id.Load() {
		s.stop(errors.Join(err, berr))
	}
	return err
}

// seen is the transaction that a reader would see now.
func (s *Store) seen() (int64, error) {
	tx, err := s.db.Begin(false)
	if err != nil {
		return 0, fmt.Errorf("look at the last commit: %w", err)
	}
	id := int64(tx.ID())
	return id, tx.Rollback()
}

// rollback ends tx, which may have ended by itself, without a change.
func (s *Store) rollback(tx *bbolt.Tx) error {
	_, err := safely(tx.Rollback)
	if err != nil && !errors.Is(err, bolterrors.ErrTxClosed) {
		return fmt.Errorf("undo a transaction: %w", err)
	}
	return nil
}

// safely calls f and makes an error of its panic.
func safely(f func() error) (panicked bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked, err = true, panicError(p)
		}
	}()
	return false, f()
}
