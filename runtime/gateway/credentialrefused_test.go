package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store"
)

// refused tells a host that c was refused and returns what it has instead, which
// must be something that WeChat takes.
func (w *tokenTown) refused(h *townHost, c Credential) Credential {
	w.t.Helper()
	other, err := h.app.Refused(w.t.Context(), AccessToken, c.Value)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, h.log)
	}
	if _, state := w.wechat.TokenState(other.Value); !state.Works() || other.Value == c.Value {
		w.t.Fatalf("in place of a refused token one that is %s", state)
	}
	return other
}

// Where another system fetches for the same app, every caller that is refused has
// one Refused to make, and all hosts together fetch once.
func TestOutsideInvalidation(t *testing.T) {
	for _, plain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			config, kind := testApp(), simulator.StableToken
			if config.Plain = plain; plain {
				kind = simulator.PlainToken
			}
			w := newTokenTown(t, testHosts, config, simulator.Rules{})
			for range 8 {
				var all sync.WaitGroup
				for _, h := range w.hosts {
					before := w.get(h, AccessToken)
					all.Go(func() {
						time.Sleep(time.Minute)
						w.refused(h, before)
					})
				}
				time.Sleep(30 * time.Second)
				w.wechat.Invalidate(testAppID)
				all.Wait()
			}
			if all, _ := w.executed(kind); all != 1+8 {
				t.Errorf("plain %t: %d calls for 8 invalidations, want 9", plain, all)
			}
		})
	}
}

// force_refresh is for a token that the normal call gives back though it was
// refused; 30 s apart and 20 a day, over all hosts.
func TestForceIsRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 2, testApp(), simulator.Rules{})
		w.get(w.hosts[0], AccessToken)
		w.get(w.hosts[1], AccessToken)
		forced := func() (n int) {
			for _, f := range w.wechat.Fetches(testAppID, simulator.StableToken) {
				if f.Forced {
					n++
				}
			}
			return n
		}
		refuse := func(h *townHost) error {
			w.wechat.Spoil(testAppID)
			c := w.get(h, AccessToken)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := h.app.Refused(ctx, AccessToken, c.Value)
			return err
		}
		if err := refuse(w.hosts[0]); err != nil || forced() != 1 {
			t.Fatalf("the first: %v, %d forced", err, forced())
		}
		time.Sleep(time.Second)
		var failed *CredentialError
		if err := refuse(w.hosts[1]); !errors.As(err, &failed) || failed.Result() != "rationed" || forced() != 1 {
			t.Fatalf("one second later on another host: %v, %d forced", err, forced())
		}
		if wait := time.Until(failed.Retry); wait < 25*time.Second || wait > forceApart {
			t.Errorf("the next attempt is %v away", wait)
		}
		time.Sleep(forceApart)
		if forced() != 2 {
			t.Errorf("%d forced half a minute later, want 2: the keeper goes on by itself", forced())
		}
		for range 40 {
			time.Sleep(2 * time.Minute)
			_ = refuse(w.hosts[0]) // from the 20th on it can't be healed
		}
		if forced() > forceDaily {
			t.Errorf("%d forced in a day", forced())
		}
	})
}

// A caller that says what isn't true makes nobody fetch: of a value that nobody
// has, or had, and of one that has been replaced.
func TestRefusedOfAnotherValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 2, testApp(), simulator.Rules{})
		c := w.get(w.hosts[0], AccessToken)
		for _, value := range []string{"", "made-up", strings.Repeat("x", 1<<20)} {
			got, err := w.hosts[0].app.Refused(t.Context(), AccessToken, value)
			if err != nil || got != c {
				t.Errorf("%v, %v", got, err)
			}
		}
		if all, _ := w.executed(simulator.StableToken); all != 1 {
			t.Errorf("%d calls, want 1", all)
		}
		w.wechat.Invalidate(testAppID)
		other := w.refused(w.hosts[0], c)
		if got := w.refused(w.hosts[1], c); got.Value != other.Value {
			t.Error("the second host has another token than the first")
		}
		if all, _ := w.executed(simulator.StableToken); all != 2 {
			t.Errorf("%d calls, want 2", all)
		}
	})
}

// One host missed what another one has fetched: told of a token that it doesn't
// know, it looks at the store before it gives its own.
func TestRefusedOnAHostThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 2, testApp(), simulator.Rules{})
		first := w.get(w.hosts[0], AccessToken)
		w.get(w.hosts[1], AccessToken)
		w.hosts[1].view.cut.Store(true)
		w.wechat.Invalidate(testAppID)
		second := w.refused(w.hosts[0], first)
		time.Sleep(time.Second) // until it is shared
		w.hosts[1].view.cut.Store(false)
		w.wechat.Invalidate(testAppID)
		if third := w.refused(w.hosts[1], second); third.Value == first.Value {
			t.Error("it gave the one before")
		}
	})
}

// Secret, app id or address refused: the call for a token is not repeated until
// the pause is over, or the settings have changed; over all hosts, but for the
// address, which is each one's own.
func TestTokenEndpointRefuses(t *testing.T) {
	for _, c := range []struct {
		errcode int
		result  string
		calls   int // of both hosts
	}{{40001, "refused", 1}, {40013, "refused", 1}, {40125, "refused", 1}, {40164, "address", 2}, {45009, "limited", 1}} {
		synctest.Test(t, func(t *testing.T) {
			w := newTokenTown(t, 2, testApp(), simulator.Rules{})
			lift := w.wechat.Strike(simulator.Fault{Errcode: c.errcode, Errmsg: "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 5f0c1a2b-3c4d5e6f-77889900"})
			for i := range 10 {
				for _, h := range w.hosts {
					_, err := h.app.Get(t.Context(), AccessToken)
					var failed *CredentialError
					if !errors.As(err, &failed) || !errors.Is(err, ErrNoCredential) || failed.Result() != c.result {
						t.Fatalf("%d: %v", c.errcode, err)
					}
					if !strings.Contains(err.Error(), "5f0c1a2b-3c4d5e6f-77889900") && h == w.hosts[0] && i == 0 {
						t.Errorf("%d: no rid in %q", c.errcode, err)
					}
					if c.errcode == 40164 && !strings.Contains(err.Error(), "203.0.113.9") {
						t.Errorf("no address in %q", err)
					}
					time.Sleep(5 * time.Second)
				}
			}
			// What is refused is asked once more, after a minute or two.
			if n := w.calls(); n < c.calls || n > c.calls+1 || n > c.calls && c.result != "refused" {
				t.Errorf("%d: %d calls, want %d", c.errcode, n, c.calls)
			}
			lift()
			changed := testApp()
			changed.Base += "/"
			if same, err := w.hosts[0].Open(changed); err != nil || same != w.hosts[0].app {
				t.Fatalf("the same settings are another app: %v", err)
			}
			w.hosts[0].CloseApp(w.hosts[0].app)
			changed.Base = "http://wechat2.test"
			app, err := w.hosts[0].Open(changed)
			if err != nil {
				t.Fatal(err)
			}
			defer w.hosts[0].CloseApp(app)
			if _, err := app.Get(t.Context(), AccessToken); err != nil {
				t.Errorf("%d: with other settings: %v", c.errcode, err)
			}
		})
	}
}

// A refusal that is WeChat's mistake is over before the credential is; one that
// isn't is asked about less and less often.
func TestRefusedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 2, testApp(), simulator.Rules{})
		first, err := w.hosts[0].app.Get(t.Context(), AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		w.wechat.Strike(simulator.Fault{Errcode: 40001, Times: 1})
		time.Sleep(time.Until(first.Expires) + time.Second)
		for i, h := range w.hosts {
			if _, err := h.app.Get(t.Context(), AccessToken); err != nil {
				t.Errorf("host %d, after one false refusal: %v", i, err)
			}
		}
		w.wechat.Strike(simulator.Fault{Errcode: 40001})
		before := w.calls()
		time.Sleep(4 * time.Hour)
		if n := w.calls() - before; n < 3 || n > 30 {
			t.Errorf("%d calls in four hours of refusals", n)
		}
	})
}

// calls counts those for a token, of all hosts.
func (w *tokenTown) calls() (n int) {
	for _, h := range w.hosts {
		n += int(h.client.calls.Load())
	}
	return n
}

// What fails is repeated with growing pauses, and a good credential stays.
func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, testHosts, testApp(), simulator.Rules{})
		for _, h := range w.hosts {
			w.get(h, AccessToken)
		}
		w.wechat.Strike(simulator.Fault{Errcode: -1})
		time.Sleep(testLife - time.Minute)
		for _, h := range w.hosts {
			w.get(h, AccessToken)
		}
		before := w.calls()
		time.Sleep(time.Hour)
		if n := w.calls() - before; n < 30 || n > 130 {
			t.Errorf("%d calls in an hour, of 8 hosts, while WeChat is busy", n)
		}
		begun := time.Now()
		if _, err := w.hosts[0].app.Get(t.Context(), AccessToken); !errors.Is(err, ErrNoCredential) || time.Since(begun) > 2*patience {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		stats := w.hosts[0].Stats()
		if len(stats) != 1 || stats[0].Result != "busy" || stats[0].Errcode != -1 || stats[0].Since.IsZero() || stats[0].Paused.IsZero() {
			t.Errorf("%+v", stats)
		}
		w.wechat.LiftAll()
		time.Sleep(2 * backoffMost)
		for _, h := range w.hosts {
			w.get(h, AccessToken)
		}
		if s := w.hosts[0].Stats()[0]; s.Result != "" || !s.Since.IsZero() {
			t.Errorf("%+v", s)
		}
	})
}

// Without the store a good credential is served; where it runs out a host asks
// by itself, and shares it when the store is back.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, testHosts, testApp(), simulator.Rules{})
		w.commonStore.down.Store(true)
		w.eachHost(AccessToken, 31*time.Second, 3*testLife)
		if _, fresh := w.executed(simulator.StableToken); fresh < 3 || fresh > 4 {
			t.Errorf("%d tokens in three lives", fresh)
		}
		if all, _ := w.executed(simulator.StableToken); all > 4*testHosts {
			t.Errorf("%d calls in three lives", all)
		}
		w.commonStore.back()
		time.Sleep(time.Minute)
		h := w.add(testApp())
		before := w.calls()
		if w.get(h, AccessToken); w.calls() != before {
			t.Error("a new host fetched what the others had")
		}
	})
}

// The plain call voids what other hosts have: without the store it is made only
// where there is none, and every host has one that works, or gets it by one
// Refused in time.
func TestStoreAwayPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := testApp()
		config.Plain = true
		w := newTokenTown(t, 3, config, simulator.Rules{})
		for _, h := range w.hosts {
			w.get(h, AccessToken)
		}
		w.commonStore.down.Store(true)
		for range 24 * 60 / 5 {
			time.Sleep(5 * time.Minute)
			for _, h := range w.hosts {
				c, err := h.app.Get(t.Context(), AccessToken)
				if _, state := w.wechat.TokenState(c.Value); err == nil && !state.Works() {
					_, _ = h.app.Refused(t.Context(), AccessToken, c.Value)
				}
			}
		}
		if all, _ := w.executed(simulator.PlainToken); all > 3*24*60/5 {
			t.Errorf("%d plain calls in a day", all)
		}
		w.commonStore.back()
		time.Sleep(10 * time.Minute)
		for _, h := range w.hosts {
			if c := w.get(h, AccessToken); stateOf(w, c) != simulator.Current {
				w.refused(h, c)
			}
		}
	})
}

func stateOf(w *tokenTown, c Credential) simulator.State {
	_, state := w.wechat.TokenState(c.Value)
	return state
}

// A host that lost its lock in the middle doesn't take the place of what was
// fetched after it.
func TestLateHostDoesNotOverwrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := testApp()
		config.Plain = true
		w := newTokenTown(t, 2, config, simulator.Rules{})
		slow := w.hosts[0]
		held := make(chan struct{})
		var late http.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.wechat.ServeHTTP(rw, r)
			<-held
		})
		slow.client.handler.Store(&late)
		go func() { _, _ = slow.app.Get(t.Context(), AccessToken) }()
		time.Sleep(time.Second)
		slow.view.cut.Store(true) // its lock ends
		newer := w.get(w.hosts[1], AccessToken)
		slow.view.cut.Store(false)
		close(held)
		time.Sleep(time.Minute)
		if c := w.get(w.add(config), AccessToken); c.Value != newer.Value {
			t.Error("the store has the older one")
		}
		if c := w.get(slow, AccessToken); c.Value != newer.Value {
			t.Error("the host that was late keeps the older one")
		}
	})
}

// One app that hangs makes no other one wait, and a caller no longer than its
// context says.
func TestAppsAreIsolated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		w.wechat.Set(simulator.App{ID: "wx2", Secret: testAppSecret})
		w.wechat.Strike(simulator.Fault{Where: simulator.Where{App: testAppID}, Ends: simulator.HangBefore})
		other := testApp()
		other.App, other.AppID = "other", "wx2"
		app, err := w.hosts[0].Open(other)
		if err != nil {
			t.Fatal(err)
		}
		defer w.hosts[0].CloseApp(app)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		done := make(chan error)
		go func() {
			_, err := w.hosts[0].app.Get(ctx, AccessToken)
			done <- err
		}()
		if _, err := app.Get(t.Context(), AccessToken); err != nil || time.Since(begun) > 500*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// What a lock was taken over from is left alone by hosts with another key.
func TestOtherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		c := w.get(w.hosts[0], AccessToken)
		open := func(key []byte, previous ...[]byte) string {
			h, err := NewCredentials(CredentialOptions{Store: &view{commonStore: w.commonStore}, Key: key, PreviousKeys: previous, Client: newDirect(w.wechat)})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			app, err := h.Open(testApp())
			if err != nil {
				t.Fatal(err)
			}
			defer h.CloseApp(app)
			got, err := app.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		other := make([]byte, serverKeySize)
		if before := w.calls(); open(other, testKey()) != c.Value || w.calls() != before {
			t.Error("what was sealed with a previous key is not read")
		}
		if open(other) != c.Value { // asked anew, and stable
			t.Error("another token")
		}
		w.commonStore.mu.Lock()
		defer w.commonStore.mu.Unlock()
		for key, v := range w.commonStore.values {
			if strings.Contains(string(v.value), c.Value) || strings.Contains(key, testAppSecret) {
				t.Errorf("%q holds a secret", key)
			}
		}
	})
}

var _ store.Locks = (*view)(nil)
