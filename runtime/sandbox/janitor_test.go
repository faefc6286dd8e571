package sandbox

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestJanitor: instances that nobody asks for are ended, but for the one that
// was used last.
func TestJanitor(t *testing.T) {
	spec := watSpec(t, "empty", "")
	synctest.Test(t, func(t *testing.T) {
		p := load(t, newSandbox(t, Options{}), spec)
		var held []*instance
		for range 3 {
			in, err := p.acquire(context.Background(), "shop")
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, in)
		}
		for _, in := range held {
			p.giveBack(context.Background(), in, "shop", nil)
		}
		time.Sleep(maxIdle)
		if s := p.Stats(); s.Instances != 3 || s.Idle != 3 {
			t.Errorf("within the time: %+v", s)
		}
		time.Sleep(3 * sweepEvery)
		if s := p.Stats(); s.Instances != 1 || s.Idle != 1 || s.Discards["idle"] != 2 {
			t.Errorf("after it: %+v", s)
		}
		if _, err := handle(p, textCall('0')); err != nil {
			t.Error(err)
		}
	})
}
