package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// lockTable is what memory knows of the locks. They end with the process that
// has the file; that fences grow is kept in the file, by the number under which
// all of them were.
type lockTable struct {
	mu   sync.Mutex
	held map[string]lease
	next uint64 // the next fence, below end
	end  uint64 // fences below it may be given without a write
}

// lease is a lock that somebody has.
type lease struct {
	fence uint64
	until int64
}

// fenceKey is where the end of the fences stands in weftBucket.
const fenceKey = "fence"

// fenceBlock is how many fences one write reserves.
const fenceBlock = 1024

// Lock is store.Locks'. The lock itself is in memory only.
func (s *Store) Lock(ctx context.Context, name string, ttl time.Duration) (store.Lock, error) {
	fence, err := s.lock(ctx, name, ttl)
	if err != nil {
		return store.Lock{}, fmt.Errorf("take lock %q: %w", name, err)
	}
	return store.Lock{Name: name, Fence: fence}, nil
}

func (s *Store) lock(ctx context.Context, name string, ttl time.Duration) (uint64, error) {
	if err := s.checkLock(ctx, name, ttl); err != nil {
		return 0, err
	}
	for {
		fence, err := s.locks.take(name, s.now().UnixNano(), ttl)
		if err != nil || fence > 0 {
			return fence, err
		}
		if err := s.reserveFences(ctx); err != nil {
			return 0, err
		}
	}
}

func (s *Store) checkLock(ctx context.Context, name string, ttl time.Duration) error {
	if err := store.CheckName("lock", name); err != nil {
		return err
	}
	if err := store.CheckTTL(ttl); err != nil {
		return err
	}
	return s.check(ctx)
}

// take takes a lock; 0: no fence is left.
func (l *lockTable) take(name string, now int64, ttl time.Duration) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, ok := l.held[name]; ok && now < have.until {
		return 0, store.ErrHeld
	}
	if l.next >= l.end {
		return 0, nil
	}
	fence := l.next
	l.next++
	l.held[name] = lease{fence: fence, until: after(now, ttl)}
	return fence, nil
}

// reserveFences makes more fences ready to be given.
func (s *Store) reserveFences(ctx context.Context) error {
	var begin uint64
	return s.submit(&call{
		ctx: ctx, what: "reserve fences", size: 64,
		run: func(t *txn) error {
			begin = 1
			b := t.tx.Bucket([]byte(weftBucket))
			if stored := b.Get([]byte(fenceKey)); stored != nil {
				n, err := decodeNumber(stored)
				if err != nil || n > math.MaxInt64 {
					return unavailable("read the end of the fences", errRecord)
				}
				begin = n
			}
			t.put(b, []byte(fenceKey), binary.BigEndian.AppendUint64(nil, begin+fenceBlock))
			return nil
		},
		keep: func() {
			s.locks.mu.Lock()
			defer s.locks.mu.Unlock()
			s.locks.next, s.locks.end = begin, begin+fenceBlock
		},
	})
}

// Renew is store.Locks'.
func (s *Store) Renew(ctx context.Context, l store.Lock, ttl time.Duration) error {
	err := s.checkLock(ctx, l.Name, ttl)
	if err == nil {
		now := s.now().UnixNano()
		err = s.locks.change(l, now, after(now, ttl))
	}
	if err != nil {
		return fmt.Errorf("renew lock %q: %w", l.Name, err)
	}
	return nil
}

// Unlock is store.Locks'.
func (s *Store) Unlock(ctx context.Context, l store.Lock) error {
	err := s.checkLock(ctx, l.Name, 1)
	if err == nil {
		now := s.now().UnixNano()
		err = s.locks.change(l, now, now)
	}
	if err != nil {
		return fmt.Errorf("give lock %q back: %w", l.Name, err)
	}
	return nil
}

// change makes a lock that is still held last until then.
func (l *lockTable) change(held store.Lock, now, until int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, ok := l.held[held.Name]
	if !ok || have.fence != held.Fence || now >= have.until {
		return store.ErrLost
	}
	if until <= now {
		delete(l.held, held.Name)
		return nil
	}
	l.held[held.Name] = lease{fence: have.fence, until: until}
	return nil
}

// sweep forgets the locks whose time is over.
func (l *lockTable) sweep(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, have := range l.held {
		if now >= have.until {
			delete(l.held, name)
		}
	}
}
