package sandbox

import (
	"context"
	"testing"
	"time"
)

// TestAsideMemory: what a call aside leaves in a guest's memory no other call of
// the plugin finds, and the other way round.
func TestAsideMemory(t *testing.T) {
	p := keeperPlugin(t, IsolationShared)
	got := ""
	for i, aside := range []bool{false, true, false, true} {
		call := appCall("shop", byte('0'+i))
		call.Aside = aside
		got += sawIn(t, p, call)
	}
	if got != "c.01" {
		t.Errorf("saw %s", got)
	}
}

// TestAsideInstances: calls aside that never end take no instance from the others,
// are counted with them, and close with the plugin.
func TestAsideInstances(t *testing.T) {
	spec := watSpec(t, "endless", "")
	spec.Limits = Limits{Instances: 3, Timeout: time.Hour, Fuel: 1 << 50}
	p := load(t, newSandbox(t, Options{}), spec)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reasons := make(chan string)
	const calls = 3 // of which one has an instance
	for i := range calls {
		go func() {
			call := userCall('f', i)
			call.Aside = true
			_, err := p.Handle(ctx, call)
			reasons <- callError(t, err).Reason()
		}()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s := p.Stats(); s.Waiting < calls-1 || s.Instances < 2; s = p.Stats() {
		<-tick.C
	}
	for range 5 {
		if _, err := handle(p, textCall('0')); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.Stats(); s.Instances != 2 || s.Idle != 1 || s.Waiting != calls-1 || s.Memory != 2*pageSize {
		t.Errorf("%+v", s)
	}
	cancel()
	got := map[string]int{}
	for range calls {
		got[<-reasons]++
	}
	if got["busy"] != calls-1 || got["timeout"] != 1 {
		t.Errorf("they ended with %v", got)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	call := textCall('0')
	call.Aside = true
	if _, err := handle(p, call); callError(t, err).Reason() != "busy" {
		t.Errorf("after the end: %v", err)
	}
}
