package pipeline

import (
	"context"
	"fmt"
	"time"
)

// idlePoll is how often Idle looks.
const idlePoll = time.Millisecond

// Wake makes the durable runs look at the queue now: for who has moved the clock
// of its store, or has changed an entry.
func (e *Engine) Wake() { e.poke() }

// Idle waits until no event is under way and the durable queue has no entry that
// is ready or being run, as long as nobody delivers. It is for tests and
// replays: it looks again and again.
func (e *Engine) Idle(ctx context.Context) error {
	ticker := time.NewTicker(idlePoll)
	defer ticker.Stop()
	for {
		if e.ledger.flying() == 0 {
			// Whatever appends is under way: so what is not there now doesn't come.
			depth, err := e.store.Depth(ctx, queueName)
			if err != nil {
				return fmt.Errorf("reading the durable queue: %w", err)
			}
			if depth.Ready == 0 && depth.Claimed == 0 {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the events under way: %w", context.Cause(ctx))
		}
	}
}

// flying is how many runs are under way.
func (l *ledger) flying() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.flight)
}
