package sandbox

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStatsFuel: the sum is what the calls say, also of instances that ended.
func TestStatsFuel(t *testing.T) {
	spec := watSpec(t, "endless", "")
	spec.Limits = Limits{Fuel: 10 * slice, Timeout: time.Hour, Instances: 1}
	p := load(t, newSandbox(t, Options{}), spec)
	before := p.Stats()
	var used uint64
	const calls = 5
	for range calls {
		got, err := handle(p, textCall('0'))
		if err != nil {
			t.Fatal(err)
		}
		used += uint64(got.Fuel)
	}
	if s := p.Stats(); s.Fuel-before.Fuel != used || used == 0 || s.Calls != calls || s.Pauses != 0 || s.HostCalls != 0 || s.HostTime != 0 || s.LastFailure != nil || s.Memory != pageSize {
		t.Errorf("%d units by the calls: %+v; before %+v", used, s, before)
	}
	before = p.Stats()
	if _, err := handle(p, textCall('f')); callError(t, err).Reason() != "fuel" {
		t.Fatal(err)
	}
	s := p.Stats()
	if spent := s.Fuel - before.Fuel; spent < 10*slice || spent > 11*slice || s.Pauses != 10 || s.Instances != 0 || s.Memory != 0 || s.Calls != calls+1 {
		t.Errorf("a call that used all its fuel: %+v; before %+v", s, before)
	}
	if s.LastFailure == nil || s.LastFailure.Reason != "fuel" || time.Since(s.LastFailure.At) > time.Hour {
		t.Errorf("last failure %+v", s.LastFailure)
	}
}

// TestStatsTime: time in a host call that waits is that, and none of the
// guest's.
func TestStatsTime(t *testing.T) {
	spec := watSpec(t, "sleep", "")
	spec.Limits = Limits{Timeout: 3 * time.Second, Instances: 1}
	synctest.Test(t, func(t *testing.T) {
		p := load(t, newSandbox(t, Options{}), spec)
		var wg sync.WaitGroup
		for range 2 { // the second waits for the first
			wg.Go(func() {
				if _, err := handle(p, textCall('f')); callError(t, err).Reason() != "timeout" {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if s := p.Stats(); s.HostTime != 6*time.Second || s.GuestTime != 0 || s.HostCalls != 2 || s.InstanceWait != 3*time.Second || s.TokenWait != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestStatsTokenWait: a guest that waits for its turn doesn't spend that time.
func TestStatsTokenWait(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "endless", "")
	spec.Limits = Limits{Timeout: time.Hour}
	p := load(t, s, spec)
	var other line
	for free := s.tokens.free; free > 0; free-- {
		s.tokens.take(&other, nil)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // gives the call up once it waits
		for waits := false; !waits && ctx.Err() == nil; runtime.Gosched() {
			s.tokens.mu.Lock()
			waits = len(s.tokens.lines) > 0
			s.tokens.mu.Unlock()
		}
		cancel()
	}()
	began := time.Now()
	if _, err := p.Handle(ctx, textCall('f')); callError(t, err).Reason() != "timeout" {
		t.Fatal(err)
	}
	took := time.Since(began)
	if s := p.Stats(); s.TokenWait <= 0 || s.TokenWait+s.GuestTime > took || s.Pauses != 1 {
		t.Errorf("%+v; the call took %s", s, took)
	}
}

// TestStatsNeverFall: whoever reads while instances come and go never sees less
// than before, and in the end all is there.
func TestStatsNeverFall(t *testing.T) {
	spec := watSpec(t, "trap", "")
	spec.Limits.Instances = 3
	p := load(t, newSandbox(t, Options{}), spec)
	const callers, calls = 4, 300
	done := make(chan struct{})
	var reader, all sync.WaitGroup
	reader.Go(func() {
		var last Stats
		for {
			s := p.Stats()
			if s.Fuel < last.Fuel || s.Calls < last.Calls || s.GuestTime < last.GuestTime {
				t.Errorf("%+v after %+v", s, last)
				return
			}
			last = s
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for range callers {
		all.Go(func() {
			for i := range calls {
				call := textCall('0')
				if i%5 == 0 {
					call = textCall('f')
				}
				call.Event.User = "" // is never skipped
				_, _ = handle(p, call)
			}
		})
	}
	all.Wait()
	close(done)
	reader.Wait()
	s := p.Stats()
	if s.Calls != callers*calls || s.Failed["trap"] != callers*calls/5 {
		t.Errorf("%+v", s)
	}
	if n := len(p.counts.ledger.open); n != s.Instances {
		t.Errorf("%d instances in the ledger, %d alive", n, s.Instances)
	}
}
