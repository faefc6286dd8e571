// Package bolt is the embedded driver of package store: one file, one process,
// no server.
//
// One goroutine writes. Callers hand it their operations; whatever came while a
// commit ran goes into the next one, so a lone caller waits for one commit and
// many share one. Readers see only what was synced to the disk.
//
// Claims of the queue are kept in memory: a claim costs no write, and a queue
// that is opened again has every entry ready that was claimed. So are locks, which
// end with the process, and the board.
package bolt

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// Options say how a Store is opened.
type Options struct {
	Dir    string           // where weft.db is; made, 0700, where it isn't there
	Now    func() time.Time // nil: time.Now; called by many goroutines at once
	Logger *slog.Logger     // nil: none; gets what no caller can be told
}

// Store is a store.Store in a file. Open makes it.
type Store struct {
	db    *bbolt.DB
	clock func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	pending []*call // in the order of submit
	closed  bool    // nothing more may be added to pending

	wake      chan struct{} // holds one: pending or closed changed
	committed chan struct{} // closed when the committer has ended
	swept     chan struct{} // closed when the sweeper has ended
	stopSweep context.CancelFunc
	closing   sync.Once
	closeErr  error

	// commitFile makes a transaction durable: (*bbolt.Tx).Commit but in tests.
	commitFile func(*bbolt.Tx) error
	durable    durable
	failure    atomic.Pointer[failure]

	queueMu sync.Mutex
	queues  map[string]*queueState // those that have entries
	token   uint64                 // the last one given out

	locks *lockTable
	board *board
}

var _ store.Store = (*Store)(nil)

func (s *Store) now() time.Time { return s.clock() }

// Close waits for what is under way, then closes the file. Later calls answer
// store.ErrClosed; a second Close waits for the first and returns its error.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.board.close()
		s.stopSweep()
		<-s.swept
		s.nudge()
		<-s.committed
		if err := s.db.Close(); err != nil {
			s.closeErr = fmt.Errorf("close the store: %w", err)
		}
	})
	return s.closeErr
}

// usable returns why no call can be made any more, or nil. The caller holds mu.
func (s *Store) usable() error {
	if s.closed {
		return store.ErrClosed
	}
	return s.broken()
}

// check returns why a call that doesn't go through the committer can't be made.
func (s *Store) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable()
}
