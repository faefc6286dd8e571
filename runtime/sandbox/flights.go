package sandbox

import (
	"context"
	"errors"
	"sync"
)

// flights lets one of those who want the same thing prepare it for all of them.
// The zero value is ready.
type flights[K comparable, V any] struct {
	mu     sync.Mutex
	flying map[K]*flight[V]
}

type flight[V any] struct {
	done  chan struct{} // closed once the rest is set
	value V
	err   error
}

// do runs prepare, or waits for another who does it for key. prepare ends with
// the context of the one whose it is: then another who waits runs its own.
func (f *flights[K, V]) do(ctx context.Context, key K, prepare func() (V, error)) (V, error) {
	for {
		mine, theirs := f.board(key)
		if mine != nil {
			defer f.land(key, mine)
			mine.err = errors.New("the host panicked") // unless it comes back
			mine.value, mine.err = prepare()
			return mine.value, mine.err
		}
		select {
		case <-theirs.done:
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
		if !errors.Is(theirs.err, context.Canceled) && !errors.Is(theirs.err, context.DeadlineExceeded) {
			return theirs.value, theirs.err
		}
	}
}

// board gives a new flight where nobody prepares key, else the one that does.
func (f *flights[K, V]) board(key K) (mine, theirs *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if theirs = f.flying[key]; theirs != nil {
		return nil, theirs
	}
	if f.flying == nil {
		f.flying = map[K]*flight[V]{}
	}
	mine = &flight[V]{done: make(chan struct{})}
	f.flying[key] = mine
	return mine, nil
}

func (f *flights[K, V]) land(key K, mine *flight[V]) {
	f.mu.Lock()
	delete(f.flying, key)
	f.mu.Unlock()
	close(mine.done)
}
