package sandbox

import (
	"context"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
)

// withTimeLimit lets a context's end stop guest code: wazero checks at loop
// headers. Together with timeLimit this is all that bounds a guest's time.
func withTimeLimit(cfg wazero.RuntimeConfig) wazero.RuntimeConfig {
	return cfg.WithCloseOnContextDone(true)
}

// timeLimit is the context that all guest code of one instance runs under. It
// ends at the call's deadline, with the caller's context, or when the plugin is
// closed by force. Made once an instance and armed for each call, because a
// context of its own for each call costs more than the call.
//
// Once ended it stays ended, and so does the instance.
type timeLimit struct {
	in   *instance
	done chan struct{} // never replaced: wazero's watcher may read it late

	mu  sync.Mutex
	err error // context.Canceled or DeadlineExceeded once ended

	// Set by arm; read by host calls on the same goroutine.
	parent   context.Context
	deadline time.Time
	own      bool // deadline is the call's own, not the parent's
	timer    *time.Timer
	release  func() bool // stops watching parent; nil where it never ends
}

func newTimeLimit(in *instance) *timeLimit {
	return &timeLimit{in: in, done: make(chan struct{}), parent: context.Background()}
}

// arm starts a call that may take d at most and no longer than parent.
// disarm must follow.
func (l *timeLimit) arm(parent context.Context, d time.Duration) {
	l.parent = parent
	l.deadline, l.own = time.Now().Add(d), true
	if at, ok := parent.Deadline(); ok && at.Before(l.deadline) {
		// The parent's own timer ends the call.
		l.deadline, l.own = at, false
	}
	if l.own {
		if l.timer == nil {
			l.timer = time.AfterFunc(d, func() { l.end(context.DeadlineExceeded) })
		} else {
			l.timer.Reset(d)
		}
	}
	l.release = nil
	if parent.Done() != nil {
		l.release = context.AfterFunc(parent, func() { l.end(parent.Err()) })
	}
}

// disarm ends the watch over a call. It tells whether the instance may still be
// used: false once the limit has ended, or is about to.
func (l *timeLimit) disarm() bool {
	alive := true
	if l.own && !l.timer.Stop() {
		alive = false
	}
	if l.release != nil && !l.release() {
		alive = false
	}
	return alive && l.Err() == nil
}

// end stops the guest code that runs under l, now or at its next call.
func (l *timeLimit) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.done)
	}
}

// Deadline implements context.Context.
func (l *timeLimit) Deadline() (time.Time, bool) { return l.deadline, true }

// Done implements context.Context.
func (l *timeLimit) Done() <-chan struct{} { return l.done }

// Err implements context.Context.
func (l *timeLimit) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Value implements context.Context. wazero asks for its experimental switches
// here; none is on, whatever the caller's context holds.
func (l *timeLimit) Value(any) any { return nil }
