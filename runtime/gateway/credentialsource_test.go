package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store"
)

// legacy is another system, that fetches credentials and gives them out as this
// host does.
type legacy struct {
	mu     sync.Mutex
	number int       // of the token
	ends   time.Time // of the token
	frozen bool      // it gives the same one, refused or not
	status int       // in place of an answer; 0: none
	gets   int
	posts  int
}

func (l *legacy) token() string { return fmt.Sprintf("legacy-token-%d", l.number) }

func (l *legacy) renew() {
	l.number++
	l.ends = time.Now().Add(testLife)
}

func (l *legacy) Exchange(_ context.Context, method, path string, body []byte) (int, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if method == http.MethodPost {
		l.posts++
		var said struct{ Value string }
		if err := json.Unmarshal(body, &said); err != nil {
			return 0, nil, err
		}
		if said.Value == l.token() && !l.frozen {
			l.renew()
		}
	} else {
		l.gets++
	}
	if l.status != 0 {
		return l.status, []byte("no"), nil
	}
	if path != string(AccessToken) {
		return http.StatusNotFound, nil, nil
	}
	if time.Until(l.ends) < leadMost && !l.frozen {
		l.renew()
	}
	return http.StatusOK, fmt.Appendf(nil, `{"value":%q,"expires_in":%d}`, l.token(), int(time.Until(l.ends)/time.Second)), nil
}

func serviceApp(l *legacy) CredentialConfig {
	return CredentialConfig{App: "shop", Source: FromHTTP, AppID: testAppID, Service: l, ServiceName: "legacy"}
}

// seen is what the other system has and was asked, at one moment.
func (l *legacy) seen() (token string, left time.Duration, number, gets, posts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token(), time.Until(l.ends), l.number, l.gets, l.posts
}

// freeze makes it give the same token always, or ends that.
func (l *legacy) freeze(frozen bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = frozen
}

// Another system fetches: it is asked once for each expiry, is told of what was
// refused, and WeChat is never asked.
func TestFromHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &legacy{}
		l.renew()
		w := newTokenTown(t, testHosts, serviceApp(l), simulator.Rules{})
		for end := time.Now().Add(10 * testLife); time.Now().Before(end); time.Sleep(time.Minute) {
			for _, h := range w.hosts {
				if token, left, _, _, _ := l.seen(); w.get(h, AccessToken).Value != token && left < testLife-leadMost {
					t.Fatalf("not %s, that the other system has", token)
				}
			}
		}
		if _, _, number, gets, posts := l.seen(); gets < number || gets > 2*number || posts > 0 {
			t.Errorf("%d tokens, %d requests and %d for another one", number, gets, posts)
		}
		before := w.get(w.hosts[0], AccessToken)
		for _, h := range w.hosts {
			c, err := h.app.Refused(t.Context(), AccessToken, before.Value)
			if token, _, _, _, _ := l.seen(); err != nil || c.Value != token || token == before.Value {
				t.Errorf("%v, %v", c.Value, err)
			}
		}
		if _, _, _, _, posts := l.seen(); posts != 1 || w.calls() != 0 {
			t.Errorf("%d requests for another one, %d calls of WeChat", posts, w.calls())
		}
	})
}

// An app that becomes another account has nothing of what the one before was
// given, on no host, though the other system keeps its name.
func TestFromHTTPOfAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &legacy{}
		l.renew()
		w := newTokenTown(t, 2, serviceApp(l), simulator.Rules{})
		first := w.get(w.hosts[0], AccessToken)
		other := &legacy{number: 100}
		other.renew()
		next := serviceApp(other)
		next.AppID = "wx2"
		for _, h := range w.hosts {
			app, err := h.Open(next)
			if err != nil {
				t.Fatal(err)
			}
			h.CloseApp(h.app)
			h.app = app
			if c := w.get(h, AccessToken); c.Value == first.Value {
				t.Error("the other account has the credential of the one before")
			}
		}
	})
}

// The other system has no other one: the caller is told, and the other system is
// not asked again and again.
func TestFromHTTPHasNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &legacy{}
		l.renew()
		w := newTokenTown(t, 2, serviceApp(l), simulator.Rules{})
		c := w.get(w.hosts[0], AccessToken)
		l.freeze(true)
		for range 100 {
			for _, h := range w.hosts {
				var failed *CredentialError
				if _, err := h.app.Refused(t.Context(), AccessToken, c.Value); !errors.As(err, &failed) {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		if _, _, _, _, posts := l.seen(); posts > 15 {
			t.Errorf("it was asked %d times in 100 s", posts)
		}
		l.freeze(false)
		time.Sleep(time.Minute)
		if got := w.get(w.hosts[0], AccessToken); got.Value == c.Value {
			t.Error("the refused one is not replaced when there is another one")
		}
	})
}

// The other system says no.
func TestFromHTTPRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for status, result := range map[int]string{401: "refused", 403: "refused", 404: "refused", 500: "failed", 302: "failed"} {
			l := &legacy{status: status}
			w := newTokenTown(t, 1, serviceApp(l), simulator.Rules{})
			_, err := w.hosts[0].app.Get(t.Context(), AccessToken)
			var failed *CredentialError
			if !errors.As(err, &failed) || failed.Result() != result || !strings.Contains(err.Error(), fmt.Sprint(status)) {
				t.Errorf("%d: %v", status, err)
			}
		}
	})
}

// foreign is a Redis that another system writes.
type foreign struct {
	mu    sync.Mutex
	value string
	ends  time.Time // zero: never
	away  bool
	looks int
}

func (f *foreign) LookForeign(_ context.Context, key string) ([]byte, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	switch {
	case f.away:
		return nil, 0, store.ErrUnavailable
	case key != "wx:token" || f.value == "" || !f.ends.IsZero() && !time.Now().Before(f.ends):
		return nil, 0, store.ErrNotFound
	case f.ends.IsZero():
		return []byte(f.value), 0, nil
	}
	return []byte(f.value), time.Until(f.ends), nil
}

func (f *foreign) put(value string, ends time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.value, f.ends = value, ends
}

// Another system leaves them in Redis: they are read from there, again when one
// was refused, kept while Redis is away, and WeChat is never asked.
func TestFromRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &foreign{}
		host := newDirect(http.NotFoundHandler())
		c, err := NewCredentials(CredentialOptions{Store: &view{commonStore: newCommonStore()}, Key: testKey(), Client: host, Foreign: f})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		app, err := c.Open(CredentialConfig{App: "shop", Source: FromRedis, Keys: map[CredentialKind]string{AccessToken: "wx:token"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseApp(app)
		if _, err := app.Get(t.Context(), JSAPITicket); !errors.Is(err, ErrNoCredential) {
			t.Errorf("a kind without a key: %v", err)
		}
		if _, err := app.Get(t.Context(), AccessToken); !errors.Is(err, ErrNoCredential) {
			t.Errorf("a key without a value: %v", err)
		}
		want := func(value string) {
			t.Helper()
			if got, err := app.Token(t.Context()); err != nil || got != value {
				t.Errorf("%q, %v, want %q", got, err, value)
			}
		}
		f.put(`{"access_token":"one","expires_in":7200}`, time.Now().Add(testLife))
		time.Sleep(foreignLook)
		want("one")
		f.put("two", time.Time{}) // for ever
		time.Sleep(foreignLook)
		want("two")
		f.put(`"three"`, time.Now().Add(testLife))
		if got, err := app.Renew(t.Context(), "two"); err != nil || got != "three" {
			t.Errorf("in place of a refused one %q, %v", got, err)
		}
		go func() {
			time.Sleep(time.Second)
			f.put("four", time.Now().Add(testLife))
		}()
		if got, err := app.Renew(t.Context(), "three"); err != nil || got != "four" {
			t.Errorf("in place of one that is replaced a second later %q, %v", got, err)
		}
		f.mu.Lock()
		f.away, f.looks = true, 0
		f.mu.Unlock()
		time.Sleep(testLife - time.Minute)
		want("four")
		f.mu.Lock()
		if f.looks > 300 {
			t.Errorf("%d looks in two hours", f.looks)
		}
		f.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if got, err := app.Token(t.Context()); err == nil {
			t.Errorf("%q after its end", got)
		}
		if host.calls.Load() != 0 {
			t.Error("WeChat was called")
		}
	})
}

// A ticket is fetched with the access_token, and one that is refused there is
// replaced once.
func TestTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, testHosts, testApp(), simulator.Rules{})
		for _, kind := range []CredentialKind{JSAPITicket, WXCardTicket} {
			for range 4 * 60 {
				for _, h := range w.hosts {
					c := w.get(h, kind)
					if id, got, state := w.wechat.TicketState(c.Value); id != testAppID || string(got) != strings.TrimSuffix(string(kind), "_ticket") || !state.Works() {
						t.Fatalf("%s: a ticket of %s that is %s", kind, got, state)
					}
				}
				time.Sleep(time.Minute)
			}
		}
		for _, kind := range []simulator.Kind{simulator.JSTicket, simulator.CardTicket} {
			if all, _ := w.executed(kind); all < 2 || all > 5 {
				t.Errorf("%d %s tickets", all, kind)
			}
		}
		w.wechat.Invalidate(testAppID)
		h := w.add(testApp())
		w.commonStore.leave(h.app.slots[1].key, []byte("what is no record"))
		before, _ := w.executed(simulator.StableToken)
		w.get(h, JSAPITicket)
		if after, _ := w.executed(simulator.StableToken); after != before+1 {
			t.Errorf("%d calls for a token, want %d", after, before+1)
		}
	})
}
