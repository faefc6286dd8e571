package sandbox

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPluginFused: a plugin that traps on each event is not called any more in
// that app, single calls try it, and it comes back when it behaves. Another app
// doesn't notice, and a plugin loaded anew goes on where the one before was.
func TestPluginFused(t *testing.T) {
	spec := watSpec(t, "trap", "")
	synctest.Test(t, func(t *testing.T) {
		s := newSandbox(t, Options{})
		p := load(t, s, spec)
		configs := map[string]Config{"shop": {JSON: []byte("{}"), ID: 1}, "other": {JSON: []byte("{}"), ID: 1}}
		if failed := p.SetConfigs(context.Background(), configs); failed != nil {
			t.Fatal(failed)
		}
		user := 0
		want := func(first byte, app, reason string) {
			t.Helper()
			user++
			call := userCall(first, user)
			call.Event.App = app
			got := ""
			if _, err := handle(p, call); err != nil {
				got = callError(t, err).Reason()
			}
			if got != reason {
				t.Fatalf("call %d: ended with %q, want %q", user, got, reason)
			}
		}
		for range fuseAtLeast {
			want('f', "shop", "trap")
		}
		want('0', "shop", "fused")
		want('0', "other", "")
		if s := p.Stats(); s.Calls != fuseAtLeast+2 || s.Failed["fused"] != 1 || s.Discards["trap"] != fuseAtLeast {
			t.Errorf("%+v", s)
		}
		time.Sleep(trialPause)
		want('f', "shop", "trap")
		want('0', "shop", "fused")

		// The next generation.
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		p = load(t, s, spec)
		want('0', "shop", "fused")
		time.Sleep(2 * trialPause)
		for range trialsToClose {
			want('0', "shop", "")
		}
		if h := p.failures.health(); h.State != Healthy {
			t.Errorf("%+v", h)
		}
		for range 100 {
			want('0', "shop", "")
		}
	})
}

// TestPluginSkipsUser: one user's poison message takes the plugin from this
// user alone, for a minute.
func TestPluginSkipsUser(t *testing.T) {
	spec := watSpec(t, "trap", "")
	synctest.Test(t, func(t *testing.T) {
		p := load(t, newSandbox(t, Options{}), spec)
		for i := range 1000 {
			_, err := handle(p, userCall('f', 0))
			want := "trap"
			if i >= skipAfter {
				want = "fused"
			}
			if e := callError(t, err); e.Reason() != want {
				t.Fatalf("poison %d: %v", i, err)
			}
			if want == "fused" && (strings.Contains(err.Error(), "oUser0") || !strings.Contains(err.Error(), "for this user failed")) {
				t.Fatal(err)
			}
			if _, err := handle(p, userCall('0', 1+i%3)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(skipTime)
		if _, err := handle(p, userCall('0', 0)); err != nil {
			t.Error(err)
		}
	})
}

// TestNotItsFailure: what is not the plugin's doing neither fuses it nor has a
// user skipped.
func TestNotItsFailure(t *testing.T) {
	spec := watSpec(t, "endless", "")
	spec.Limits = Limits{Instances: 1, Timeout: time.Hour, Fuel: 1 << 60}
	p := load(t, newSandbox(t, Options{}), spec)
	for name, try := range map[string]func(user int) error{
		"busy": func(user int) error {
			in, failed := p.acquire(context.Background(), "shop")
			if failed != nil {
				return failed
			}
			defer p.giveBack(context.Background(), in, "shop", nil)
			ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
			defer cancel()
			_, err := p.Handle(ctx, userCall('0', user))
			return err
		},
		"no config": func(user int) error {
			call := userCall('0', user)
			call.Event.App = "nobody's"
			_, err := handle(p, call)
			return err
		},
		"the event's time": func(user int) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_, err := p.Handle(ctx, userCall('f', user))
			return err
		},
		"given up": func(user int) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer time.AfterFunc(time.Millisecond, cancel).Stop()
			_, err := p.Handle(ctx, userCall('f', user))
			return err
		},
	} {
		for i := range 30 {
			if err := try(i % 10); err == nil || callError(t, err).Reason() == "fused" {
				t.Fatalf("%s: call %d: %v", name, i, err)
			}
		}
	}
	if h := p.failures.health(); h.State != Healthy || len(h.Apps) != 0 {
		t.Errorf("%+v", h)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for i := range 30 {
		if _, err := handle(p, userCall('0', i%10)); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	}
	if h := p.failures.health(); h.State != Healthy {
		t.Errorf("%+v", h)
	}
}

// TestFairTime: a plugin in which the event's time runs out has failed where it
// had a fair time, also where its own timeout is longer.
func TestFairTime(t *testing.T) {
	spec := watSpec(t, "sleep", "")
	for _, tc := range []struct {
		timeout, event time.Duration
		failed         bool
	}{
		{timeout: time.Hour, event: fairTime - time.Millisecond, failed: false},
		{timeout: time.Hour, event: fairTime, failed: true},
		{timeout: 100 * time.Millisecond, event: 99 * time.Millisecond, failed: false},
		{timeout: 100 * time.Millisecond, event: time.Hour, failed: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			spec.Limits.Timeout = tc.timeout
			p := load(t, newSandbox(t, Options{}), spec)
			ctx, cancel := context.WithTimeout(context.Background(), tc.event)
			defer cancel()
			_, err := p.Handle(ctx, textCall('f'))
			e := callError(t, err)
			if failed := e.verdict() == verdictFailed; e.Reason() != "timeout" || failed != tc.failed {
				t.Errorf("%+v: %v, failed %v", tc, err, failed)
			}
			if h := p.failures.health(); len(h.Apps) > 0 != tc.failed {
				t.Errorf("%+v: %+v", tc, h)
			}
		})
	}
}

// TestTrialPanics: a bug of the host's in a trial is one that failed; it doesn't
// keep the place of the next.
func TestTrialPanics(t *testing.T) {
	spec := watSpec(t, "trap", "")
	synctest.Test(t, func(t *testing.T) {
		p := load(t, newSandbox(t, Options{}), spec)
		for i := range fuseAtLeast {
			if _, err := handle(p, userCall('f', i)); callError(t, err).Reason() != "trap" {
				t.Fatal(err)
			}
		}
		time.Sleep(trialPause)
		start := p.pool.shared.start
		p.pool.shared.start = func(context.Context) (*instance, error) { panic("a bug") }
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _ = handle(p, userCall('0', 100))
		}()
		p.pool.shared.start = start
		if h := p.failures.health(); h.State != Fused || h.Apps[0].Trials != 1 {
			t.Errorf("%+v", h)
		}
		time.Sleep(2 * trialPause)
		if _, err := handle(p, userCall('0', 101)); err != nil {
			t.Error(err)
		}
	})
}

// TestPluginAside: calls aside neither open the plugin's fuse nor are kept from
// it by it; they have one of their own, over loads.
func TestPluginAside(t *testing.T) {
	spec := watSpec(t, "trap", "")
	synctest.Test(t, func(t *testing.T) {
		s := newSandbox(t, Options{})
		p := load(t, s, spec)
		user := 0
		want := func(first byte, aside bool, reason string) {
			t.Helper()
			user++
			call := userCall(first, user)
			call.Aside = aside
			got := ""
			if _, err := handle(p, call); err != nil {
				got = callError(t, err).Reason()
			}
			if got != reason {
				t.Fatalf("call %d: ended with %q, want %q", user, got, reason)
			}
		}
		for range fuseAtLeast {
			want('f', true, "trap")
		}
		want('0', true, "fused")
		want('0', false, "")
		if h := p.Health(); h.State != Healthy || len(h.Apps) != 0 {
			t.Errorf("%+v", h)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		p = load(t, s, spec)
		want('0', true, "fused")
		for range fuseAtLeast - 1 { // one call went well before
			want('f', false, "trap")
		}
		want('0', false, "fused")
		time.Sleep(trialPause)
		want('0', true, "")
		want('f', false, "trap")
	})
}
