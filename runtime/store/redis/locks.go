package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// locks are store.Locks. The server's clock ends them.
type locks struct {
	b    *base
	lock *script
}

func newLocks(b *base) *locks { return &locks{b: b, lock: newScript("lock")} }

// Lock is store.Locks'.
func (l *locks) Lock(ctx context.Context, name string, ttl time.Duration) (store.Lock, error) {
	fence, err := l.run(ctx, "lock", store.Lock{Name: name}, ttl)
	if err != nil {
		return store.Lock{}, fmt.Errorf("take lock %q: %w", name, err)
	}
	return store.Lock{Name: name, Fence: fence}, nil
}

// Renew is store.Locks'.
func (l *locks) Renew(ctx context.Context, held store.Lock, ttl time.Duration) error {
	if _, err := l.run(ctx, "renew", held, ttl); err != nil {
		return fmt.Errorf("renew lock %q: %w", held.Name, err)
	}
	return nil
}

// Unlock is store.Locks'.
func (l *locks) Unlock(ctx context.Context, held store.Lock) error {
	const any = time.Second // not looked at
	if _, err := l.run(ctx, "unlock", held, any); err != nil {
		return fmt.Errorf("give lock %q back: %w", held.Name, err)
	}
	return nil
}

func (l *locks) run(ctx context.Context, doing string, held store.Lock, ttl time.Duration) (fence uint64, err error) {
	if err := store.CheckName("lock", held.Name); err != nil {
		return 0, err
	}
	if err := store.CheckTTL(ttl); err != nil {
		return 0, err
	}
	reply, err := l.b.eval(ctx, l.lock, []string{l.b.lockKey(held.Name)}, doing, microsOf(ttl), held.Fence)
	if err != nil {
		return 0, err
	}
	return readLocked(reply)
}

// readLocked reads the reply of lock.lua.
func readLocked(reply any) (fence uint64, err error) {
	list, _ := reply.([]any)
	switch {
	case len(list) == 1 && list[0] == "held":
		return 0, store.ErrHeld
	case len(list) == 1 && list[0] == "lost":
		return 0, store.ErrLost
	case len(list) == 2 && list[0] == "done":
		text, _ := list[1].(string)
		fence, err := strconv.ParseUint(text, 10, 53)
		if err == nil && fence > 0 {
			return fence, nil
		}
	}
	return 0, readRefusal(list)
}
