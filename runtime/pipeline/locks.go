package pipeline

import (
	"context"
	"sync"
)

// maxWaiting is how many events of one user wait for their turn, and as many
// durable runs beside them.
const maxWaiting = 16

// userLocks lets the events of a user of an app run one after another, in the
// order in which they asked. They belong to the host: configurations come and
// go above them.
type userLocks struct {
	mu    sync.Mutex
	locks map[userKey]*userLock
}

type userKey struct{ app, user string }

// userLock is there as long as somebody holds it.
type userLock struct {
	queue   []*ticket
	waiting [2]int // tickets in queue, by durable
}

// ticket is a place in the line of a user. Its ready is closed when it holds
// the lock; nil: from the start. A nil ticket is no lock and holds always.
type ticket struct {
	locks   *userLocks
	key     userKey
	durable bool
	ready   chan struct{}
}

// take takes a place in the line; nil and false where maxWaiting wait already.
// It does not block: the order of calls is the order of turns.
func (u *userLocks) take(key userKey, durable bool) (*ticket, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := &ticket{locks: u, key: key, durable: durable}
	l := u.locks[key]
	if l == nil {
		if u.locks == nil {
			u.locks = make(map[userKey]*userLock)
		}
		u.locks[key] = new(userLock)
		return t, true
	}
	if l.waiting[kind(durable)] >= maxWaiting {
		return nil, false
	}
	t.ready = make(chan struct{})
	l.queue = append(l.queue, t)
	l.waiting[kind(durable)]++
	return t, true
}

// wait returns when the lock is held, or with an error when ctx ended first;
// then the place in the line is given up.
func (t *ticket) wait(ctx context.Context) error {
	if t == nil || t.ready == nil {
		return nil
	}
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
		t.leave()
		return context.Cause(ctx)
	}
}

// release gives the lock to the next in line.
func (t *ticket) release() {
	if t == nil {
		return
	}
	t.locks.mu.Lock()
	defer t.locks.mu.Unlock()
	t.locks.pass(t.key)
}

// leave gives up a place, or the lock where it was passed on meanwhile.
func (t *ticket) leave() {
	if t == nil {
		return
	}
	t.locks.mu.Lock()
	defer t.locks.mu.Unlock()
	l := t.locks.locks[t.key]
	for i, other := range l.queue {
		if other == t {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			l.waiting[kind(t.durable)]--
			return
		}
	}
	t.locks.pass(t.key)
}

func (u *userLocks) pass(key userKey) {
	l := u.locks[key]
	if len(l.queue) == 0 {
		delete(u.locks, key)
		return
	}
	next := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.waiting[kind(next.durable)]--
	close(next.ready)
}

func kind(durable bool) int {
	if durable {
		return 1
	}
	return 0
}
