package sandbox

import (
	"context"
	"errors"
	"sync"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// flights lets one of those who want the same module prepare it for all of them.
// The zero value is ready.
type flights struct {
	mu     sync.Mutex
	flying map[string]*flight
}

type flight struct {
	done   chan struct{} // closed once the rest is set
	module *fuel.Module
	err    error
}

// do runs prepare, or waits for another who does it for key. prepare ends with
// the context of the one whose it is: then another who waits runs its own.
func (f *flights) do(ctx context.Context, key string, prepare func() (*fuel.Module, error)) (*fuel.Module, error) {
	for {
		mine, theirs := f.board(key)
		if mine != nil {
			defer f.land(key, mine)
			mine.err = errors.New("the host panicked") // unless it comes back
			mine.module, mine.err = prepare()
			return mine.module, mine.err
		}
		select {
		case <-theirs.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !errors.Is(theirs.err, context.Canceled) && !errors.Is(theirs.err, context.DeadlineExceeded) {
			return theirs.module, theirs.err
		}
	}
}

// board gives a new flight where nobody prepares key, else the one that does.
func (f *flights) board(key string) (mine, theirs *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if theirs = f.flying[key]; theirs != nil {
		return nil, theirs
	}
	if f.flying == nil {
		f.flying = map[string]*flight{}
	}
	mine = &flight{done: make(chan struct{})}
	f.flying[key] = mine
	return mine, nil
}

func (f *flights) land(key string, mine *flight) {
	f.mu.Lock()
	delete(f.flying, key)
	f.mu.Unlock()
	close(mine.done)
}
