package sandbox

import (
	"slices"
	"sync"
)

// tokens are what guests run on past their first slice. There is one less than
// processors, so that one of these is always free for what isn't a guest: with
// as many guests running as GOMAXPROCS, or while those that are left wait for
// the disk, only the runtime's monitor looks at the network, every 10 ms.
//
// Waiting is first come first served within a plugin, and round robin between
// plugins. A token is held for a slice at most.
type tokens struct {
	mu    sync.Mutex
	free  int
	lines []*line // those with somebody in them; the first one is next
}

// line is where the calls of one plugin wait for a token, in order.
type line struct{ waiting []chan struct{} }

func newTokens(processors int) *tokens { return &tokens{free: max(1, processors-1)} }

// take takes a token, or puts turn at the end of l, false: the token then comes
// through turn, which has room for it.
func (t *tokens) take(l *line, turn chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 { // nobody waits
		t.free--
		return true
	}
	if len(l.waiting) == 0 {
		t.lines = append(t.lines, l)
	}
	l.waiting = append(l.waiting, turn)
	return false
}

// leave takes turn out of l. True says that a token came before that: the
// caller has it.
func (t *tokens) leave(l *line, turn chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(l.waiting, turn)
	if i < 0 {
		<-turn
		return true
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	if len(l.waiting) == 0 {
		i = slices.Index(t.lines, l)
		t.lines = slices.Delete(t.lines, i, i+1)
	}
	return false
}

// give gives a token back, or on to who is next.
func (t *tokens) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		t.free++
		return
	}
	l := t.lines[0]
	t.lines = slices.Delete(t.lines, 0, 1)
	l.waiting[0] <- struct{}{}
	l.waiting = slices.Delete(l.waiting, 0, 1)
	if len(l.waiting) > 0 {
		t.lines = append(t.lines, l)
	}
}
