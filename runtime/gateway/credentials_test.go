package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store"
)

// Nothing that prints, logs or encodes a credential shows it.
func TestCredentialIsNotPrinted(t *testing.T) {
	c := Credential{Value: "8_secret", Expires: time.Unix(1_800_000_000, 0)}
	var text strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v"} {
		fmt.Fprintf(&text, verb+"\n", c)
		fmt.Fprintf(&text, verb+"\n", &c)
		fmt.Fprintf(&text, verb+"\n", struct{ C Credential }{c})
	}
	log := slog.New(slog.NewJSONHandler(&text, nil))
	log.Info("x", slog.Any("c", c), slog.Any("p", &c), slog.Any("in", struct{ C Credential }{c}))
	encoded, err := json.Marshal(map[string]any{"c": c, "p": &c})
	if err != nil {
		t.Fatal(err)
	}
	text.Write(encoded)
	for _, hidden := range []string{"8_secret", fmt.Sprintf("%x", "8_secret")} {
		if strings.Contains(text.String(), hidden) {
			t.Errorf("%q is in %s", hidden, &text)
		}
	}
	if !strings.Contains(text.String(), "2027-01-15T08:00:00Z") {
		t.Errorf("no time in %s", &text)
	}
}

// What is held is what is there and valid, without a wait.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		app := w.hosts[0].app
		if c, ok := app.Held(JSAPITicket); ok {
			t.Errorf("before anybody wanted one: %v", c)
		}
		got, err := app.Get(t.Context(), JSAPITicket)
		if held, ok := app.Held(JSAPITicket); err != nil || !ok || held != got {
			t.Errorf("got %v (%v), held %v", got, err, held)
		}
		if c, ok := app.Held("other"); ok {
			t.Errorf("of a kind that isn't: %v", c)
		}
		w.wechat.SetDown(true)
		time.Sleep(testLife)
		if c, ok := app.Held(JSAPITicket); ok {
			t.Errorf("after its end: %v", c)
		}
	})
}

// Settings that can't be are refused with their name, and no secret.
func TestOpenRefuses(t *testing.T) {
	if _, err := NewCredentials(CredentialOptions{Store: &view{commonStore: newCommonStore()}, Key: make([]byte, 16)}); err == nil {
		t.Error("a key of 16 bytes is taken")
	}
	c, err := NewCredentials(CredentialOptions{Store: &view{commonStore: newCommonStore()}, Key: testKey()})
	if err != nil {
		t.Fatal(err)
	}
	for want, config := range map[string]CredentialConfig{
		"api_base":     {App: "shop", Source: FromWeChat, AppID: "wx", Secret: testAppSecret, Base: "ftp://x"},
		"app_secret":   {App: "shop", Source: FromWeChat, AppID: "wx", Base: "https://x"},
		"the service":  {App: "shop", Source: FromHTTP},
		"from Redis":   {App: "shop", Source: FromRedis},
		`source "else`: {App: "shop", Source: "elsewhere"},
	} {
		if _, err := c.Open(config); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "shop") ||
			strings.Contains(err.Error(), testAppSecret) {
			t.Errorf("%q: %v", want, err)
		}
	}
	c.Close()
	if _, err := c.Open(testApp()); err == nil {
		t.Error("an app is opened after Close")
	}
}

// A reload with the same settings keeps what is there; with another secret the
// credential stays and its source is asked with the new one; with another app id
// nothing is taken over.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		h := w.hosts[0]
		first := w.get(h, AccessToken)
		reload := func(config CredentialConfig) {
			t.Helper()
			next, err := h.Open(config)
			if err != nil {
				t.Fatal(err)
			}
			h.CloseApp(h.app)
			h.app = next
		}
		same := h.app
		if reload(testApp()); h.app != same {
			t.Error("the same settings are another app")
		}
		w.commonStore.down.Store(true)
		w.wechat.Set(simulator.App{ID: testAppID, Secret: "fedcba9876543210fedcba9876543210"})
		changed := testApp()
		changed.Secret = "fedcba9876543210fedcba9876543210"
		if reload(changed); w.get(h, AccessToken) != first {
			t.Error("the credential is gone with the old secret")
		}
		w.commonStore.back()
		time.Sleep(testLife)
		if second := w.get(h, AccessToken); second == first || stateOf(w, second) != simulator.Current {
			t.Error("it isn't renewed with the new secret")
		}
		if s := h.Stats(); len(s) != 1 || s[0].Fetches["ok"] != 2 || s[0].Expires.IsZero() {
			t.Errorf("%+v", s)
		}
		changed.AppID = "wx2"
		w.wechat.Set(simulator.App{ID: "wx2", Secret: changed.Secret})
		reload(changed)
		if id, _ := w.wechat.TokenState(w.get(h, AccessToken).Value); id != "wx2" {
			t.Errorf("a token of %s", id)
		}
	})
}

// What was given back serves what it has, and nothing is fetched any more.
func TestClosedApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		h := w.hosts[0]
		c := w.get(h, AccessToken)
		old := h.app
		h.CloseApp(old)
		h.CloseApp(old) // once too often: nothing
		if got, err := old.Get(t.Context(), AccessToken); err != nil || got != c {
			t.Errorf("%v, %v", got, err)
		}
		for _, err := range []error{errOf(old.Refused(t.Context(), AccessToken, c.Value)), errOf(old.Get(t.Context(), JSAPITicket))} {
			if !errors.Is(err, errCredentialsClosed) {
				t.Error(err)
			}
		}
		before := w.calls()
		if time.Sleep(3 * testLife); w.calls() != before {
			t.Error("it is renewed")
		}
		if app, err := h.Open(testApp()); err != nil || app == old {
			t.Errorf("%v", err)
		} else {
			h.app = app
		}
	})
}

func errOf[V any](_ V, err error) error { return err }

// The end of a host, and of an app, in the middle of a call doesn't wait for it.
func TestCloseInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		h := w.hosts[0]
		h.client.dead.Store(true)
		done := make(chan error)
		go func() {
			_, err := h.app.Get(t.Context(), AccessToken)
			done <- err
		}()
		time.Sleep(time.Second)
		begun := time.Now()
		h.Close()
		if err := <-done; !errors.Is(err, errCredentialsClosed) || time.Since(begun) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// A record that was fetched with a later lock stays, one with an earlier lock, or
// that can't be opened, goes.
func TestPublishComparesFences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		h := w.hosts[0]
		s, seal := h.app.slots[0], h.sealer
		made := func(value string, fence uint64) *held {
			n := newHeld(tokenAnswer{value, testLife}, time.Now().Add(time.Duration(fence)*time.Second))
			return n.under(fence)
		}
		for _, there := range [][]byte{nil, []byte("what is no record"), seal.seal(s.key, made("earlier", 2)), seal.seal("of another app", made("earlier", 9))} {
			w.commonStore.leave(s.key, there)
			mine := made("mine", 3)
			s.current.Store(mine)
			s.publish(t.Context(), mine, nil)
			if got, err := seal.open(s.key, w.commonStore.record(s.key)); err != nil || got.Value != "mine" {
				t.Errorf("%v, %v", got, err)
			}
		}
		w.commonStore.leave(s.key, seal.seal(s.key, made("later", 4)))
		mine := made("mine", 3)
		s.current.Store(mine)
		s.publish(t.Context(), mine, nil)
		if got, err := seal.open(s.key, w.commonStore.record(s.key)); err != nil || got.Value != "later" || s.current.Load().Value != "later" {
			t.Errorf("%v, %v, current %q", got, err, s.current.Load().Value)
		}
	})
}

// Whatever WeChat's end does, the error shows nothing of the request, and what was
// good stays.
func TestHostileTokenAnswers(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"errcode":99999,"errmsg":"%s %s rid: %s"}`, strings.ReplaceAll(string(body), `"`, ""), r.URL, testAppSecret)
	}
	for name, answer := range map[string]struct {
		handler http.HandlerFunc
		result  string
	}{
		"echo": {echo, "errcode"},
		"html": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "unusable"},
		"huge": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxTokenAnswer+1)) }, "unusable"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://else.test/", http.StatusFound)
		}, "failed"},
		"status": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "failed"},
		"cut":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "failed"},
		"hangs":  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timeout"},
	} {
		for _, plain := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				config := testApp()
				config.Plain = plain
				w := newTokenTown(t, 1, config, simulator.Rules{})
				good := w.get(w.hosts[0], AccessToken)
				hostile := http.Handler(answer.handler)
				w.hosts[0].client.handler.Store(&hostile)
				time.Sleep(testLife - time.Minute)
				if got := w.get(w.hosts[0], AccessToken); got != good {
					t.Errorf("%s: the credential changed", name)
				}
				time.Sleep(time.Minute)
				_, err := w.hosts[0].app.Get(t.Context(), AccessToken)
				var failed *CredentialError
				if !errors.As(err, &failed) || failed.Result() != answer.result || strings.Contains(err.Error(), testAppSecret) || strings.Contains(err.Error(), "http") {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
}

// A host whose clock is ahead or behind by a minute gives out nothing that is
// over: the others renew in time, and it hears of that.
func TestClocksThatDiffer(t *testing.T) {
	for _, off := range []time.Duration{-time.Minute, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newTokenTown(t, 2, testApp(), simulator.Rules{})
			h := w.add(testApp())
			h.CloseApp(h.app)
			h.Close()
			c, err := NewCredentials(CredentialOptions{
				Store: h.view, Key: testKey(), Client: h.client, Now: func() time.Time { return time.Now().Add(off) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if h.app, err = c.Open(testApp()); err != nil {
				t.Fatal(err)
			}
			h.Credentials = c
			w.eachHost(AccessToken, 17*time.Second, 5*testLife)
			if all, fresh := w.executed(simulator.StableToken); all > fresh+2 {
				t.Errorf("off by %v: %d calls for %d tokens", off, all, fresh)
			}
		})
	}
}

// A caller that waits gets its context's error when that ends.
func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		w.hosts[0].client.dead.Store(true)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(nil) })
		if _, err := w.hosts[0].app.Get(ctx, AccessToken); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// The hot path is a read of memory.
func BenchmarkCredentialGet(b *testing.B) {
	w := newTokenTown(b, 1, testApp(), simulator.Rules{})
	app := w.hosts[0].app
	if _, err := app.Get(b.Context(), AccessToken); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := app.Get(b.Context(), AccessToken); err != nil {
				b.Error(err)
			}
		}
	})
}

func TestCredentialGetAllocatesNothing(t *testing.T) {
	w := newTokenTown(t, 1, testApp(), simulator.Rules{})
	app := w.hosts[0].app
	ctx := t.Context()
	if _, err := app.Get(ctx, AccessToken); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = app.Get(ctx, AccessToken) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

var _ CredentialStore = store.Store(nil)
