package server

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// generation is a configuration as the host serves it. But for who is using it, it
// does not change. What outlives it belongs to the Host.
type generation struct {
	number    uint64 // 1 is the one of the start
	since     time.Time
	assembly  *assembly
	callbacks *callbacks

	mu      sync.Mutex
	users   int           // requests that use its parts beside the engine
	retired chan struct{} // closed when it is retired and nobody uses it; nil: it is not retired
}

// enter has the generation's parts stay open until leave; false: another one has
// taken its place.
func (g *generation) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired != nil {
		return false
	}
	g.users++
	return true
}

func (g *generation) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users--; g.users == 0 && g.retired != nil {
		close(g.retired)
	}
}

// retire lets nobody enter any more and waits for those who did, or for ctx.
func (g *generation) retire(ctx context.Context) error {
	g.mu.Lock()
	if g.retired == nil {
		g.retired = make(chan struct{})
		if g.users == 0 {
			close(g.retired)
		}
	}
	g.mu.Unlock()
	select {
	case <-g.retired:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the gateway's requests: %w", ctx.Err())
	}
}

// inUse enters the generation that serves. The caller leaves it. nil: the host has
// ended, and a connection that it cut brought one more request.
func (h *Host) inUse() *generation {
	for { // once for each swap in between
		g := h.current.Load()
		if g.enter() {
			return g
		}
		if g == h.current.Load() { // a swap retires none before another one serves
			return nil
		}
	}
}
