package sandbox

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// sweepEvery is how often idle instances are looked for.
const sweepEvery = 30 * time.Second

// janitor ends the instances that nobody asks for, until ctx ends.
func (s *Sandbox) janitor(ctx context.Context) {
	defer close(s.swept)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, l := range s.all() {
				l.sweep(ctx, now)
			}
		}
	}
}

// all gives the modules of which something may run.
func (s *Sandbox) all() []*loaded {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.modules))
}

// sweep ends the instances that were idle for long.
func (l *loaded) sweep(ctx context.Context, now time.Time) {
	for _, in := range slices.Concat(l.pool.expire(now), l.asidePool.expire(now)) {
		l.retire(ctx, in, wornIdle)
	}
}

// retire counts and ends an instance that is worn, and out of its pool.
func (l *loaded) retire(ctx context.Context, in *instance, why worn) {
	l.counts.worn[why].Add(1)
	if err := in.close(context.WithoutCancel(ctx)); err != nil {
		l.log.Error("close an instance", slog.Any("error", err))
	}
}
