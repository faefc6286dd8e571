package identity

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
	"github.com/weft-dev/weft/runtime/store/storetest"
	"github.com/weft-dev/weft/runtime/vault"
)

const testIssuer = "https://wx.example.com"

var testUser = User{OpenID: "oABC-the-openid", UnionID: "uXYZ-the-unionid"}

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func testConfig() SessionConfig {
	return SessionConfig{App: "shop", AppID: "wx1", Claims: []string{ClaimOpenID}, Session: time.Hour, Refresh: 24 * time.Hour}
}

// openBolt opens an embedded store in a folder of the test.
func openBolt(t testing.TB, dir string, now func() time.Time) store.Store {
	t.Helper()
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openRedis(t testing.TB, o redis.Options) store.Store {
	t.Helper()
	s, err := redis.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newSessions is a host's sessions over s.
func newSessions(t testing.TB, s store.Store, now func() time.Time, key []byte, previous ...[]byte) *Sessions {
	t.Helper()
	v, err := vault.New(vault.Options{Store: s, Key: key, PreviousKeys: previous, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := NewSessions(SessionsOptions{
		Store: s, Vault: v, Key: key, PreviousKeys: previous, Now: now, Issuer: func() string { return testIssuer },
	})
	if err != nil {
		t.Fatal(err)
	}
	return sessions
}

// host is the sessions of one host over an embedded store, with a clock.
type host struct {
	*Sessions
	t     testing.TB
	store store.Store
	clock *storetest.Clock
}

func newHost(t testing.TB) *host {
	clock := storetest.NewClock()
	s := openBolt(t, t.TempDir(), clock.Now)
	return &host{Sessions: newSessions(t, s, clock.Now, testKey(1)), t: t, store: s, clock: clock}
}

func (h *host) begin(c SessionConfig) Tokens {
	h.t.Helper()
	tokens, err := h.Begin(h.t.Context(), c, testUser)
	if err != nil {
		h.t.Fatal(err)
	}
	return tokens
}

// good checks that a token is that of the test's user.
func (h *host) good(what, token string) Session {
	h.t.Helper()
	s, err := h.Verify(h.t.Context(), testConfig(), token)
	if err != nil || s.OpenID != testUser.OpenID || s.UnionID != testUser.UnionID || s.App != "shop" || s.ID == "" {
		h.t.Errorf("%s: %+v, %v", what, s, err)
	}
	return s
}

// refused checks that err is ErrSession.
func refused(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrSession) {
		t.Errorf("%s: %v, want ErrSession", what, err)
	}
}

func TestSession(t *testing.T) {
	h, c := newHost(t), testConfig()
	first := h.begin(c)
	session := h.good("a new session", first.Token)
	if want := h.clock.Now().Add(time.Hour); !session.Expires.Equal(want) || first.ExpiresIn != time.Hour {
		t.Errorf("expires %v, in %v, want %v", session.Expires, first.ExpiresIn, want)
	}
	h.clock.Advance(30 * time.Minute)
	second, err := h.Rotate(t.Context(), c, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if again := h.good("a rotated session", second.Token); again.ID != session.ID || second.RefreshToken == first.RefreshToken {
		t.Errorf("rotated: session %q became %q", session.ID, again.ID)
	}
	h.good("its first token", first.Token)
	h.clock.Advance(30*time.Minute + time.Second)
	_, err = h.Verify(t.Context(), c, first.Token)
	refused(t, "the first token an hour later", err)
	h.good("the second", second.Token)

	// The refresh token lives from its rotation on.
	h.clock.Advance(23*time.Hour + 29*time.Minute)
	third, err := h.Rotate(t.Context(), c, second.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.Advance(24*time.Hour + time.Second)
	_, err = h.Rotate(t.Context(), c, third.RefreshToken)
	refused(t, "a refresh token after a day", err)
}

// A refresh token that has expired is refused though the store still has the
// session, whose token is good for longer.
func TestRefreshExpires(t *testing.T) {
	h, c := newHost(t), testConfig()
	c.Session, c.Refresh = 2*time.Hour, time.Hour
	tokens := h.begin(c)
	h.clock.Advance(time.Hour)
	_, err := h.Rotate(t.Context(), c, tokens.RefreshToken)
	refused(t, "a refresh token after an hour", err)
	h.good("its token", tokens.Token)
}

// A refresh token that is shown twice ends the session: nothing of it is good
// then, the tokens of the one who was first no more than the others.
func TestRefreshUsedTwice(t *testing.T) {
	h, c := newHost(t), testConfig()
	first, other := h.begin(c), h.begin(c)
	second, err := h.Rotate(t.Context(), c, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Rotate(t.Context(), c, first.RefreshToken)
	refused(t, "used twice", err)
	_, err = h.Rotate(t.Context(), c, second.RefreshToken)
	refused(t, "the one that came of it", err)
	for _, token := range []string{first.Token, second.Token} {
		_, err = h.Verify(t.Context(), c, token)
		refused(t, "a token of the session that has ended", err)
	}
	h.good("another session of the user", other.Token)
}

// Who made up a refresh token, or changed one, ends nobody's session.
func TestRefreshForged(t *testing.T) {
	h, c := newHost(t), testConfig()
	tokens := h.begin(c)
	real, err := encoding.DecodeString(tokens.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	forged := []string{"", "x", tokens.RefreshToken + "A", tokens.RefreshToken[1:], tokens.Token, "=" + tokens.RefreshToken[1:], tokens.RefreshToken + "\n"}
	for i := range real {
		changed := bytes.Clone(real)
		changed[i] ^= 1
		forged = append(forged, encoding.EncodeToString(changed))
	}
	for _, text := range forged {
		_, err := h.Rotate(t.Context(), c, text)
		refused(t, text, err)
	}
	bank := c
	bank.App = "bank"
	_, err = h.Rotate(t.Context(), bank, tokens.RefreshToken)
	refused(t, "at another app", err)
	if _, err := h.Rotate(t.Context(), c, tokens.RefreshToken); err != nil {
		t.Errorf("the real one after all that: %v", err)
	}
}

// Of many hosts that rotate with one token at once, at most one has tokens to show
// for it, and the session has ended.
func rotateAtOnce(t *testing.T, hosts []*Sessions) {
	c := testConfig()
	for range 10 {
		tokens, err := hosts[0].Begin(t.Context(), c, testUser)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		var got []Tokens
		start := make(chan struct{})
		for _, h := range hosts {
			all.Go(func() {
				<-start
				next, err := h.Rotate(t.Context(), c, tokens.RefreshToken)
				if err != nil {
					refused(t, "at once", err)
					return
				}
				mu.Lock()
				got = append(got, next)
				mu.Unlock()
			})
		}
		close(start)
		all.Wait()
		if len(got) > 1 {
			t.Errorf("%d hosts rotated with one token", len(got))
		}
		for _, next := range append(got, tokens) {
			for _, h := range hosts {
				_, err := h.Verify(t.Context(), c, next.Token)
				refused(t, "a token of a session that was rotated twice", err)
			}
			_, err := hosts[0].Rotate(t.Context(), c, next.RefreshToken)
			refused(t, "its refresh token", err)
		}
	}
}

func TestRotateAtOnce(t *testing.T) {
	t.Run("bolt", func(t *testing.T) {
		s := openBolt(t, t.TempDir(), nil)
		rotateAtOnce(t, []*Sessions{newSessions(t, s, nil, testKey(1)), newSessions(t, s, nil, testKey(1))})
	})
	t.Run("redis", func(t *testing.T) {
		node := redistest.Start(t)
		var hosts []*Sessions
		for range 4 {
			hosts = append(hosts, newSessions(t, openRedis(t, redis.Options{Addrs: []string{node.Addr}}), nil, testKey(1)))
		}
		rotateAtOnce(t, hosts)
	})
}

// interposed is a store in which something happens before a change, or instead of
// its answer.
type interposed struct {
	store.Store
	before func(op store.Op)
	after  func(res store.Result, err error) (store.Result, error)
}

func (s *interposed) Apply(ctx context.Context, op store.Op) (store.Result, error) {
	if s.before != nil {
		s.before(op)
	}
	res, err := s.Store.Apply(ctx, op)
	if s.after != nil {
		return s.after(res, err)
	}
	return res, err
}

// Both hosts have read the session; the second one's change comes when the first
// one has made its own.
func TestRotateBetweenReadAndChange(t *testing.T) {
	h, c := newHost(t), testConfig()
	tokens := h.begin(c)
	var won Tokens
	slow := &interposed{Store: h.store}
	slow.before = func(op store.Op) {
		if op.Kind == store.CompareAndSet && won.Token == "" {
			var err error
			if won, err = h.Rotate(t.Context(), c, tokens.RefreshToken); err != nil {
				t.Errorf("the faster host: %v", err)
			}
		}
	}
	_, err := newSessions(t, slow, h.clock.Now, testKey(1)).Rotate(t.Context(), c, tokens.RefreshToken)
	refused(t, "the slower host", err)
	_, err = h.Verify(t.Context(), c, won.Token)
	refused(t, "what the faster host got", err)
}

// The store makes a change and its answer gets lost, as in a failover: the host
// knows its own change again, and the session goes on.
func TestRotateAnswerLost(t *testing.T) {
	h, c := newHost(t), testConfig()
	tokens := h.begin(c)
	lossy, lost := &interposed{Store: h.store}, 0
	lossy.after = func(res store.Result, err error) (store.Result, error) {
		if lost++; lost == 1 {
			return store.Result{}, store.ErrUnavailable
		}
		return res, err
	}
	next, err := newSessions(t, lossy, h.clock.Now, testKey(1)).Rotate(t.Context(), c, tokens.RefreshToken)
	if err != nil || lost != 2 {
		t.Fatalf("%v after %d changes", err, lost)
	}
	h.good("the rotated session", next.Token)
	if _, err := h.Rotate(t.Context(), c, next.RefreshToken); err != nil {
		t.Errorf("the next rotation: %v", err)
	}
}

// While a store is away nobody is told that his session isn't good.
func TestStoreAway(t *testing.T) {
	h, c := newHost(t), testConfig()
	tokens := h.begin(c)
	away := &interposed{Store: h.store, after: func(store.Result, error) (store.Result, error) { return store.Result{}, store.ErrUnavailable }}
	ctx, cancel := context.WithCancel(t.Context())
	away.before = func(store.Op) { cancel() }
	_, err := newSessions(t, away, h.clock.Now, testKey(1)).Rotate(ctx, c, tokens.RefreshToken)
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, ErrSession) {
		t.Errorf("rotate: %v", err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Verify(t.Context(), c, tokens.Token); err == nil || errors.Is(err, ErrSession) {
		t.Errorf("verify: %v", err)
	}
}

// TestAnotherAccount: an app that is given another account at WeChat has none of the
// sessions that it had with the one before; with that one again they go on.
func TestAnotherAccount(t *testing.T) {
	h, c := newHost(t), testConfig()
	tokens := h.begin(c)
	other := c
	other.AppID = "wx2"
	_, err := h.Verify(t.Context(), other, tokens.Token)
	refused(t, "a token of the other account", err)
	_, err = h.Rotate(t.Context(), other, tokens.RefreshToken)
	refused(t, "its refresh token", err)
	h.good("with its own account", tokens.Token)
	if _, err := h.Rotate(t.Context(), c, tokens.RefreshToken); err != nil {
		t.Errorf("its refresh token with its own account: %v", err)
	}
}

func TestSessionSettings(t *testing.T) {
	h := newHost(t)
	for name, change := range map[string]func(*SessionConfig){
		"no app":     func(c *SessionConfig) { c.App = "" },
		"no session": func(c *SessionConfig) { c.Session = 0 },
		"no refresh": func(c *SessionConfig) { c.Refresh = -1 },
	} {
		c := testConfig()
		change(&c)
		if _, err := h.Begin(t.Context(), c, testUser); err == nil || errors.Is(err, ErrSession) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.Begin(t.Context(), testConfig(), User{UnionID: "u"}); err == nil {
		t.Error("a user without openid got a session")
	}
	if _, err := NewSessions(SessionsOptions{Key: testKey(1)[:31]}); err == nil {
		t.Error("a key of 31 bytes was taken")
	}
}
