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
			for _, p := range s.all() {
				p.sweep(ctx, now)
			}
		}
	}
}

// all gives the plugins of which something may run.
func (s *Sandbox) all() []*Plugin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.plugins))
}

// sweep ends the plugin's instances that were idle for long.
func (p *Plugin) sweep(ctx context.Context, now time.Time) {
	for _, in := range p.pool.expire(now) {
		p.retire(ctx, in, wornIdle)
	}
}

// retire counts and ends an instance that is worn, and out of its pool.
func (p *Plugin) retire(ctx context.Context, in *instance, why worn) {
	p.counts.worn[why].Add(1)
	if err := in.close(context.WithoutCancel(ctx)); err != nil {
		p.log.Error("close an instance", slog.Any("error", err))
	}
}
