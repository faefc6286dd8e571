package sandbox

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestFloodedApp: two apps share a plugin, one of them has far more events than
// the plugin can handle. An event of the other waits for one call of the plugin
// at most, a second here, where it would wait for none without the flood.
func TestFloodedApp(t *testing.T) {
	spec := watSpec(t, "nap", "")
	spec.Limits = Limits{Instances: 2, Timeout: time.Minute}
	for _, flooded := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := load(t, newSandbox(t, Options{}), spec)
			if failed := p.SetConfigs(t.Context(), map[string]Config{"shop": {JSON: []byte("{}"), ID: 1}, "flood": {JSON: []byte("{}"), ID: 1}}); failed != nil {
				t.Fatal(failed)
			}
			ctx, stop := context.WithCancel(t.Context())
			var flood sync.WaitGroup
			if flooded {
				for i := range 40 {
					flood.Go(func() { floodApp(ctx, t, p, i) })
				}
			}
			random := rand.New(rand.NewPCG(1, 2))
			var longest time.Duration
			for i := range 50 {
				time.Sleep(time.Duration(random.Int64N(int64(3 * time.Second))))
				came := time.Now()
				if _, err := p.Handle(t.Context(), userCall('0', i)); err != nil {
					t.Fatal(err)
				}
				longest = max(longest, time.Since(came))
			}
			stop()
			flood.Wait()
			most := time.Second // the event's own
			if flooded {
				most += time.Second
			}
			if longest > most {
				t.Errorf("flooded %v: an event took %v, want %v at most", flooded, longest, most)
			}
			t.Logf("flooded %v: %d calls in all, the longest of the other app took %v", flooded, p.Stats().Calls, longest)
		})
	}
}

// floodApp has app flood send one event after another until ctx ends.
func floodApp(ctx context.Context, t *testing.T, p *Plugin, user int) {
	call := userCall('0', user)
	call.Event.App = "flood"
	for ctx.Err() == nil {
		if _, err := p.Handle(ctx, call); err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}
