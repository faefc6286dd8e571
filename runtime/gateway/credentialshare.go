package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// CredentialStore is what credentials need of a store.Store.
type CredentialStore interface {
	Get(ctx context.Context, bucket, key string) ([]byte, error)
	Apply(ctx context.Context, op store.Op) (store.Result, error)
	store.Locks
	store.Board
}

// look reads what the store has, makes it current where it is newer, and returns
// it as it stands, nil where there is nothing. An error: the store is away.
func (s *slot) look(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	there, err := s.store.Get(ctx, credentialBucket, s.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		s.app.host.noteAway()
		return nil, err
	}
	s.adopt(there)
	return there, nil
}

// adopt makes a record current where it is valid and newer, and returns it; nil:
// it can't be opened.
func (s *slot) adopt(record []byte) *held {
	h, err := s.app.host.sealer.open(s.key, record)
	if err != nil {
		s.log.Warn("a credential in the store is not used", slog.String("reason", err.Error()))
		return nil
	}
	cur, now := s.current.Load(), s.now()
	switch {
	case !now.Before(h.Expires):
	case cur == nil, !now.Before(cur.Expires):
		s.set(h)
	case h.Value == cur.Value:
		if cur.unstored || h.Expires.After(cur.Expires) {
			s.confirm(cur, h)
		}
	case h.newer(cur):
		s.set(h)
	}
	return h
}

// confirm takes note that the store has what is current.
func (s *slot) confirm(cur, there *held) {
	c := *cur
	c.unstored, c.fence = false, max(c.fence, there.fence)
	if there.Expires.After(c.Expires) {
		c.Expires = there.Expires
	}
	s.current.Store(&c)
}

// lock takes the slot's lock. errElsewhere: another host has it, and either has
// brought what was needed by now, or there is no hurry. Another error: the store
// is away.
func (s *slot) lock(ctx context.Context, w want) (*store.Held, error) {
	for wait := lockPoll; ; wait = min(2*wait, 10*lockPoll) {
		lock, err := s.hold(ctx)
		if !errors.Is(err, store.ErrHeld) {
			return lock, err
		}
		if w != wantNow && w != wantOther {
			return nil, errElsewhere
		}
		pause := time.NewTimer(jitter(wait))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, errElsewhere
		}
		if _, err := s.look(ctx); err != nil {
			return nil, err
		}
		if w = s.want(); w == wantNothing {
			return nil, errElsewhere
		}
	}
}

// hold is store.Hold with the time that the store may take. The lock is renewed
// until unlock, or its host dies.
func (s *slot) hold(ctx context.Context) (*store.Held, error) {
	return store.Hold(ctx, timedLocks{s.store}, s.key, lease, func(err error) {
		s.counts.lost.Add(1)
		s.log.Warn("lock of a refresh lost", slog.String("reason", err.Error()))
	})
}

// timedLocks are locks that answer within storeTime.
type timedLocks struct{ store.Locks }

// Lock is store.Locks's.
func (l timedLocks) Lock(ctx context.Context, name string, ttl time.Duration) (store.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return l.Locks.Lock(ctx, name, ttl)
}

// unlock gives the lock back, when ctx has ended, too.
func (s *slot) unlock(ctx context.Context, lock *store.Held) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err := lock.Release(ctx); err != nil && !errors.Is(err, store.ErrLost) {
		s.log.Warn("lock of a refresh not given back: it ends by itself", slog.String("reason", err.Error()))
	}
}

// publish gives h to the store in place of what was there, unless that was
// fetched with a later lock, and tells the other hosts. It goes on where ctx has
// ended: what was fetched is not to be lost. Where it fails h stays unstored.
func (s *slot) publish(ctx context.Context, h *held, there []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	ttl := h.Expires.Sub(s.now())
	if ttl <= 0 {
		return
	}
	record := s.app.host.sealer.seal(s.key, h)
	for range 3 {
		res, err := s.store.Apply(ctx, store.Op{
			Kind: store.CompareAndSet, Bucket: credentialBucket, Key: s.key, Expect: there, Value: record, TTL: ttl,
		})
		if err != nil {
			s.log.Warn("credential not stored: other hosts don't have it yet", slog.String("reason", err.Error()))
			return
		}
		if res.Applied {
			s.confirm(s.current.Load(), h)
			// A host that misses it looks at the store before it asks WeChat.
			_ = s.store.Publish(ctx, credentialTopic, []byte(s.key))
			return
		}
		if there = nil; res.Found {
			there = append([]byte{}, res.Value...)
			if other := s.adopt(there); other != nil && other.fence > h.fence {
				return
			}
		}
	}
}

// listen hears of what other hosts have fetched until ctx ends.
func (c *Credentials) listen(ctx context.Context) {
	pause := backoffFirst
	for tries := 0; ctx.Err() == nil; tries++ {
		wait, err := c.options.Store.Subscribe(ctx, credentialTopic, c.hear)
		if err == nil {
			if tries > 0 {
				c.hear(nil) // what was told meanwhile
			}
			<-ctx.Done()
			wait()
			return
		}
		if ctx.Err() == nil {
			c.options.Logger.Warn("does not hear of the credentials of other hosts", slog.String("reason", err.Error()))
		}
		timer := time.NewTimer(jitter(pause))
		pause = min(2*pause, maxListenPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// noteAway remembers that the store was not reached.
func (c *Credentials) noteAway() { c.away.Store(c.options.Now().UnixNano()) }

// lastAway is when the store was not reached the last time.
func (c *Credentials) lastAway() time.Time { return time.Unix(0, c.away.Load()) }

const maxListenPause = 5 * time.Second

// hear wakes those whom a message is for; nil: all, because some may have been
// missed.
func (c *Credentials) hear(message []byte) {
	if message == nil {
		c.noteAway()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range c.apps {
		for _, o := range list {
			for _, s := range o.app.slots {
				if s != nil && (message == nil || s.key == string(message)) {
					s.nudge()
				}
			}
		}
	}
}
