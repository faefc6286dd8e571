package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
	"github.com/weft-dev/weft/runtime/wechat"
)

// TestOAuth: a user is sent to WeChat and back, and the page exchanges its ticket
// once.
func TestOAuth(t *testing.T) {
	f := newOAuthTown(t)
	b := f.begin("")
	if !regexp.MustCompile(`^[a-zA-Z0-9]{32,128}$`).MatchString(b.state) {
		t.Errorf("WeChat does not take the state %s", b.state)
	}
	l, q := f.land(b, f.code(wechat.ScopeBase))
	if l.User.OpenID != "oOne" || l.Refused != nil || q.Get("error") != "" {
		t.Errorf("%+v", l)
	}
	for _, change := range []func(*SessionConfig){func(c *SessionConfig) { c.App = "other" }, func(c *SessionConfig) { c.AppID = "wxother" }} {
		other := *f.config
		change(&other.Session)
		if _, err := f.Login(t.Context(), &other, q.Get("ticket")); !errors.Is(err, ErrTicket) {
			t.Errorf("another app or account redeems the ticket: %v", err)
		}
	}
	in, err := f.Login(t.Context(), f.config, q.Get("ticket"))
	if err != nil || !in.NewUser {
		t.Errorf("%+v %v", in, err)
	}
	if s, err := f.sessions.Verify(t.Context(), f.config.Session, in.Token); err != nil || s.OpenID != "oOne" {
		t.Errorf("%+v %v", s, err)
	}
	for _, ticket := range []string{q.Get("ticket"), "", "x", strings.Repeat("0", 64), strings.Repeat("0", 1<<20)} {
		if _, err := f.Login(t.Context(), f.config, ticket); !errors.Is(err, ErrTicket) {
			t.Errorf("redeemed again or made up: %v", err)
		}
	}
	_, q = f.land(f.begin(""), f.code(wechat.ScopeBase))
	if in, err = f.Login(t.Context(), f.config, q.Get("ticket")); err != nil || in.NewUser {
		t.Errorf("again: %+v %v", in, err)
	}
	if got := f.events.all(); len(got) != 2 || got[0].ID == got[1].ID || !got[0].NewUser || got[1].NewUser ||
		got[0].Name != EventLogin || got[0].App != "shop" || got[0].User.OpenID != "oOne" {
		t.Errorf("the pipeline was told %+v", got)
	}
	_, q = f.land(f.begin(""), f.code(wechat.ScopeBase))
	f.clock.Advance(ticketTime)
	if _, err := f.Login(t.Context(), f.config, q.Get("ticket")); !errors.Is(err, ErrTicket) {
		t.Errorf("after its time: %v", err)
	}
}

// TestOAuthScopes: of userinfo the unionid is known, by a call of its own where
// WeChat does not tell it at once, with the user's token refreshed where it must be.
func TestOAuthScopes(t *testing.T) {
	f := newOAuthTown(t)
	f.config.Session.Claims = []string{ClaimUnionID}
	if _, _, err := f.Begin(f.config, oauthPage, "snsapi_login", nil); !errors.Is(err, ErrScope) {
		t.Errorf("another scope: %v", err)
	}
	if _, _, err := f.Begin(f.config, "https://evil.example/", "", nil); !errors.Is(err, ErrRedirect) {
		t.Errorf("another redirect: %v", err)
	}
	l, _ := f.land(f.begin(wechat.ScopeUserInfo), f.code(wechat.ScopeUserInfo))
	if l.User.UnionID != "uOne" {
		t.Errorf("%+v", l)
	}
	var mu sync.Mutex
	var asked []string // paths, with the user's token where there is one
	expired := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path+r.FormValue("refresh_token")+" "+r.FormValue("access_token"))
		answer := `{"access_token":"8_t","refresh_token":"8_r","expires_in":7200,"openid":"oOne","scope":"snsapi_base,snsapi_userinfo"}`
		switch {
		case r.URL.Path == "/sns/oauth2/refresh_token":
			answer = strings.Replace(answer, "8_t", "8_fresh", 1)
		case r.URL.Path == "/sns/userinfo" && expired && r.FormValue("access_token") == "8_t":
			answer = `{"errcode":42001,"errmsg":"access_token expired"}`
		case r.URL.Path == "/sns/userinfo":
			answer = `{"openid":"oOne","unionid":"uOne"}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(srv.Close)
	f.config.SNS = snsAt(t, srv.URL)
	check := func(scope, unionID string, want ...string) {
		t.Helper()
		l, _ := f.land(f.begin(scope), "any")
		mu.Lock()
		defer mu.Unlock()
		if l.User != (User{"oOne", unionID}) || l.Refused != nil || !slices.Equal(asked, want) {
			t.Errorf("%+v, asked %q", l, asked)
		}
		asked, expired = nil, false
	}
	check(wechat.ScopeUserInfo, "uOne", oauthCheck+" ", "/sns/userinfo 8_t", "/sns/oauth2/refresh_token8_r ", "/sns/userinfo 8_fresh")
	check(wechat.ScopeUserInfo, "uOne", oauthCheck+" ", "/sns/userinfo 8_t")
	check(wechat.ScopeBase, "", oauthCheck+" ") // the user was not asked
	f.config.Session.Claims = nil
	check(wechat.ScopeUserInfo, "", oauthCheck+" ")
}

// TestOAuthState: a state is taken from the browser, app and time that it was made
// for, and nothing is asked of WeChat else.
func TestOAuthState(t *testing.T) {
	f := newOAuthTown(t)
	b, other := f.begin(""), f.begin("")
	code := f.code(wechat.ScopeBase)
	refused := func(what, state string, cookies []*http.Cookie) {
		t.Helper()
		if l, err := f.Finish(t.Context(), f.config, code, state, cookies); !errors.Is(err, ErrState) {
			t.Errorf("%s: %+v %v", what, l, err)
		}
	}
	for i := range b.state {
		forged := b.state[:i] + string(b.state[i]^1) + b.state[i+1:]
		refused("forged", forged, b.cookies)
	}
	for _, state := range []string{"", "0", b.state + "00", b.state[:len(b.state)-2], strings.ToUpper(b.state), strings.Repeat("0", len(b.state))} {
		refused("made up", state, b.cookies)
	}
	refused("stolen: a browser without a cookie", b.state, nil)
	refused("stolen: a browser with a login of its own", b.state, other.cookies)
	value := b.cookies[1].Value
	for i := range value {
		forged := *b.cookies[1]
		forged.Value = value[:i] + string(value[i]^1) + value[i+1:]
		refused("a forged cookie", b.state, []*http.Cookie{&forged})
	}
	strange := f.host(testKey(9))
	foreign := f.beginAt(strange, "")
	refused("signed with another key", foreign.state, foreign.cookies)
	config := *f.config
	config.Session.App = "other"
	if _, err := f.Finish(t.Context(), &config, code, b.state, b.cookies); !errors.Is(err, ErrState) {
		t.Errorf("of another app: %v", err)
	}
	config = *f.config
	config.Redirects = Redirects{}
	if _, err := f.Finish(t.Context(), &config, code, b.state, b.cookies); !errors.Is(err, ErrState) {
		t.Errorf("a redirect that is allowed no more: %v", err)
	}
	if n := f.exchanged(); n != 0 {
		t.Errorf("WeChat was asked %d times", n)
	}
	f.land(b, code) // nothing of all that used it up
	f.clock.Advance(stateLife)
	refused("after its time", other.state, other.cookies)
}

// TestOAuthReplay: the same code gets the same answer for a minute, another code
// none.
func TestOAuthReplay(t *testing.T) {
	f := newOAuthTown(t)
	for what, code := range map[string]string{"a login": f.code(wechat.ScopeBase), "a refusal": "never"} {
		b := f.begin("")
		first, _ := f.land(b, code)
		before := f.exchanged()
		f.clock.Advance(repeatTime - time.Second)
		again, _ := f.land(b, code)
		if again.Location != first.Location || again.User != (User{}) || again.Refused != nil {
			t.Errorf("%s: %+v after %+v", what, again, first)
		}
		for _, another := range []string{f.code(wechat.ScopeBase), ""} {
			if l, err := f.Finish(t.Context(), f.config, another, b.state, b.cookies); !errors.Is(err, ErrState) {
				t.Errorf("%s, another code: %+v %v", what, l, err)
			}
		}
		f.clock.Advance(time.Second)
		if l, err := f.Finish(t.Context(), f.config, code, b.state, b.cookies); !errors.Is(err, ErrState) {
			t.Errorf("%s, later: %+v %v", what, l, err)
		}
		if n := f.exchanged(); n != before {
			t.Errorf("%s: the code was exchanged %d times more", what, n-before)
		}
	}
}

// TestOAuthAtOnce: however often a callback comes at once, over two hosts, the code
// is exchanged once and all are led to the same place.
func TestOAuthAtOnce(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { atOnce(t, newOAuthTown(t)) })
	t.Run("redis", func(t *testing.T) {
		node := redistest.Start(t)
		s := openRedis(t, redis.Options{Addrs: []string{node.Addr}})
		atOnce(t, oauthTownOver(t, s, "", nil, time.Now))
	})
}

func atOnce(t *testing.T, f *oauthTown) {
	hosts := []*OAuth{f.OAuth, f.host(testKey(1))}
	b, code := f.begin(""), f.code(wechat.ScopeBase)
	f.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: oauthCheck}, Times: 1, Delay: 200 * time.Millisecond})
	var mu sync.Mutex
	landed, loggedIn := map[string]int{}, 0
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			l, err := hosts[i%2].Finish(t.Context(), f.config, code, b.state, b.cookies)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			landed[l.Location]++
			if l.User.OpenID != "" {
				loggedIn++
			}
		})
	}
	all.Wait()
	if len(landed) != 1 || loggedIn != 1 || f.exchanged() != 1 {
		t.Fatalf("led to %v, logged in %d times, exchanged %d times", landed, loggedIn, f.exchanged())
	}
	var redeemed int
	for location := range landed {
		_, ticket, _ := strings.Cut(location, "ticket=")
		for i := range 16 {
			all.Go(func() {
				_, err := hosts[i%2].Login(t.Context(), f.config, ticket)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					redeemed++
				} else if !errors.Is(err, ErrTicket) {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if redeemed != 1 || len(f.events.all()) != 1 {
		t.Errorf("the ticket was redeemed %d times, the pipeline was told %+v", redeemed, f.events.all())
	}
}

// TestOAuthBrokenOff: a browser breaks its first request off while WeChat is asked;
// its second one gets the ticket.
func TestOAuthBrokenOff(t *testing.T) {
	f := newOAuthTown(t)
	b, code := f.begin(""), f.code(wechat.ScopeBase)
	f.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: oauthCheck}, Times: 1, Delay: 200 * time.Millisecond})
	ctx, breakOff := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := f.Finish(ctx, f.config, code, b.state, b.cookies); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); f.exchanged() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("WeChat was never asked")
		}
	}
	breakOff()
	_, q := f.land(b, code)
	first.Wait()
	if q.Get("ticket") == "" || f.exchanged() != 1 {
		t.Errorf("%v, exchanged %d times", q, f.exchanged())
	}
}

// hastyStore makes a change though its caller breaks off, and tells him nothing.
type hastyStore struct {
	store.Store
	breakOff func()
}

// Apply implements store.Store.
func (s hastyStore) Apply(ctx context.Context, op store.Op) (store.Result, error) {
	res, err := s.Store.Apply(context.WithoutCancel(ctx), op)
	s.breakOff()
	if ctx.Err() != nil {
		return store.Result{}, ctx.Err()
	}
	return res, err
}

// TestOAuthBrokenOffEarly: a browser breaks its first request off while the state is
// used up; its second one gets the ticket.
func TestOAuthBrokenOffEarly(t *testing.T) {
	f := newOAuthTown(t)
	b, code := f.begin(""), f.code(wechat.ScopeBase)
	ctx, breakOff := context.WithCancel(t.Context())
	hasty := *f.OAuth
	hasty.store = hastyStore{f.store, breakOff}
	if _, err := hasty.Finish(ctx, f.config, code, b.state, b.cookies); err != nil {
		t.Error(err)
	}
	if _, q := f.land(b, code); q.Get("ticket") == "" || f.exchanged() != 1 {
		t.Errorf("%v, exchanged %d times", q, f.exchanged())
	}
	unused := f.begin("")
	if _, err := f.Finish(ctx, f.config, code, unused.state, unused.cookies); !errors.Is(err, context.Canceled) {
		t.Errorf("a browser that has gone: %v", err)
	}
	if _, q := f.land(unused, f.code(wechat.ScopeBase)); q.Get("ticket") == "" {
		t.Errorf("its state was used: %v", q)
	}
}

// TestOAuthClose: a host that stops doesn't wait for WeChat, and the browser is told
// so by another one.
func TestOAuthClose(t *testing.T) {
	f := newOAuthTown(t)
	b, code := f.begin(""), f.code(wechat.ScopeBase)
	asked := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	f.config.SNS = snsAt(t, silent.URL)
	stopping := f.host(testKey(1))
	var all sync.WaitGroup
	begun := time.Now()
	all.Go(func() {
		l, err := stopping.Finish(t.Context(), f.config, code, b.state, b.cookies)
		if err != nil || !strings.HasSuffix(l.Location, "error=temporarily_unavailable") || l.Refused == nil {
			t.Errorf("%+v %v", l, err)
		}
	})
	<-asked
	stopping.Close()
	if l, q := f.land(b, code); q.Get("error") != "temporarily_unavailable" || l.Refused != nil {
		t.Errorf("%+v", l)
	}
	all.Wait()
	if took := time.Since(begun); took > 4*time.Second { // WeChat is given up after 5
		t.Errorf("it took %v", took)
	}
}

// TestOAuthSessionNotKept: a ticket whose session could not be begun is still good.
func TestOAuthSessionNotKept(t *testing.T) {
	f := newOAuthTown(t)
	_, q := f.land(f.begin(""), f.code(wechat.ScopeBase))
	failing := *f.OAuth
	failing.sessions = newSessions(t, &interposed{Store: f.store, after: func(store.Result, error) (store.Result, error) {
		return store.Result{}, errors.New("the disk is full")
	}}, f.now, testKey(1))
	if _, err := failing.Login(t.Context(), f.config, q.Get("ticket")); !errors.Is(err, ErrKept) {
		t.Errorf("the store fails: %v", err)
	}
	l, err := f.Login(t.Context(), f.config, q.Get("ticket"))
	if err != nil || !l.NewUser {
		t.Errorf("again: %+v %v", l, err)
	}
}

// TestOAuthTicketTwice: who shows a ticket while another one redeems it gets nothing,
// and leaves no session.
func TestOAuthTicketTwice(t *testing.T) {
	f := newOAuthTown(t)
	_, q := f.land(f.begin(""), f.code(wechat.ScopeBase))
	var begun store.Op
	slow := *f.OAuth
	slow.sessions = newSessions(t, &interposed{Store: f.store, before: func(op store.Op) {
		if op.Kind != store.CompareAndSet {
			return
		}
		begun = op
		if _, err := f.Login(t.Context(), f.config, q.Get("ticket")); err != nil {
			t.Errorf("who is faster: %v", err)
		}
	}}, f.now, testKey(1))
	if l, err := slow.Login(t.Context(), f.config, q.Get("ticket")); !errors.Is(err, ErrTicket) || l.Token != "" {
		t.Errorf("who is slower: %+v %v", l, err)
	}
	if _, err := f.store.Get(t.Context(), begun.Bucket, begun.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("its session: %v", err)
	}
}

// TestOAuthRefused: what WeChat says against a login is told to the page, and no
// more than that.
func TestOAuthRefused(t *testing.T) {
	f := newOAuthTown(t)
	f.wechat.SetUser(oauthAppID, simulator.User{OpenID: "oSnap", Snapshot: true})
	used := f.code(wechat.ScopeBase)
	f.land(f.begin(""), used)
	at := simulator.Where{Path: oauthCheck}
	for _, c := range []struct {
		code  string
		fault simulator.Fault
		want  string
	}{
		{code: "", want: "access_denied"},
		{code: "never", want: "invalid_code"},
		{code: used, want: "invalid_code"},
		{code: strings.Repeat("x", 5000), want: "invalid_code"},
		{code: f.wechat.NewCode(oauthAppID, simulator.LoginCode, "oOne", ""), want: "invalid_code"},
		{code: f.wechat.NewCode(oauthAppID, simulator.OAuthCode, "oSnap", wechat.ScopeBase), want: "snapshot_user"},
		{code: f.code(wechat.ScopeBase), fault: simulator.Fault{Times: 2, Errcode: -1}},
		{code: f.code(wechat.ScopeBase), fault: simulator.Fault{Times: 3, Errcode: -1}, want: "temporarily_unavailable"},
		{code: f.code(wechat.ScopeBase), fault: simulator.Fault{Times: 1, Ends: simulator.Truncated, Size: 10}, want: "temporarily_unavailable"},
		{code: f.code(wechat.ScopeBase), fault: simulator.Fault{Times: 1, Ends: simulator.BadGateway}, want: "temporarily_unavailable"},
		{code: f.code(wechat.ScopeBase), fault: simulator.Fault{Times: 1, Ends: simulator.Garbage}, want: "temporarily_unavailable"},
		{code: f.code(wechat.ScopeBase), fault: simulator.Fault{Times: 1, Errcode: 50002}, want: "access_denied"},
		{code: f.code(wechat.ScopeBase), fault: simulator.Fault{Times: 1, Errcode: 40125}, want: "server_error"},
		{code: f.code(wechat.ScopeBase), fault: simulator.Fault{Times: 1, Errcode: 40125, Errmsg: "secret " + oauthSecret}, want: "server_error"},
	} {
		if c.fault.Times > 0 {
			c.fault.Where = at
			f.wechat.Strike(c.fault)
		}
		l, q := f.land(f.begin(""), c.code)
		if q.Get("error") != c.want || q.Get("ticket") == "" != (c.want != "") || (l.Refused == nil) != (c.want == "") {
			t.Errorf("%.40q, %+v: %v, %v", c.code, c.fault, q, l.Refused)
		}
		if text := fmt.Sprint(l.Refused); strings.Contains(text, oauthSecret) || c.code != "" && strings.Contains(text, c.code) {
			t.Errorf("the error tells a secret: %s", text)
		}
	}
}

// TestOAuthLoginAgain: a ticket whose event was not kept may be shown again.
func TestOAuthLoginAgain(t *testing.T) {
	f := newOAuthTown(t)
	_, q := f.land(f.begin(""), f.code(wechat.ScopeBase))
	f.events.fail(errors.New("no"))
	if _, err := f.Login(t.Context(), f.config, q.Get("ticket")); !errors.Is(err, ErrKept) {
		t.Errorf("without the pipeline: %v", err)
	}
	f.events.fail(nil)
	if in, err := f.Login(t.Context(), f.config, q.Get("ticket")); err != nil || !in.NewUser {
		t.Errorf("%+v %v", in, err)
	}
}

// TestOAuthKeys: what was begun, and a ticket, outlive a change of the key.
func TestOAuthKeys(t *testing.T) {
	f := newOAuthTown(t)
	b, code := f.begin(""), f.code(wechat.ScopeBase)
	next := f.host(testKey(2), testKey(1))
	l, err := next.Finish(t.Context(), f.config, code, b.state, b.cookies)
	if err != nil || l.User.OpenID != "oOne" {
		t.Fatalf("%+v %v", l, err)
	}
	_, ticket, _ := strings.Cut(l.Location, "ticket=")
	if again, _ := f.land(b, code); again.Location != l.Location {
		t.Errorf("the host with the earlier key leads to %s", again.Location)
	}
	if _, err := next.Login(t.Context(), f.config, ticket); err != nil {
		t.Error(err)
	}
	if _, err := f.host(testKey(3)).Finish(t.Context(), f.config, code, b.state, b.cookies); !errors.Is(err, ErrState) {
		t.Errorf("without the earlier key: %v", err)
	}
}

// TestOAuthCookies: logins of one browser don't disturb each other, and don't grow
// over what fits into a request.
func TestOAuthCookies(t *testing.T) {
	f := newOAuthTown(t)
	long := "https://www.acme.cn/" + strings.Repeat("a", maxRedirect-20)
	jar, states := map[string]*http.Cookie{}, []string{}
	list := func() (all []*http.Cookie) {
		for _, c := range jar {
			all = append(all, c)
		}
		return all
	}
	for range logins + 1 {
		link, c, err := f.Begin(f.config, long, "", list())
		if err != nil {
			t.Fatal(err)
		}
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/oauth/shop/" || c.Domain != "" || c.MaxAge != 600 {
			t.Errorf("the cookie is %v", c)
		}
		jar[c.Name] = c
		_, state, _ := strings.Cut(link, "state=")
		states = append(states, strings.TrimSuffix(state, "#wechat_redirect"))
		f.clock.Advance(time.Second)
	}
	size := 0
	for _, c := range jar {
		size += len(c.String())
	}
	if len(jar) != logins || size > 8<<10 {
		t.Errorf("%d cookies of %d bytes", len(jar), size)
	}
	for i, state := range states {
		_, err := f.Finish(t.Context(), f.config, f.code(wechat.ScopeBase), state, list())
		if i == 0 != errors.Is(err, ErrState) { // the oldest made place
			t.Errorf("login %d of %d: %v", i, len(states), err)
		}
	}
}

// TestOAuthStore: what the store has tells neither who logged in nor with what.
func TestOAuthStore(t *testing.T) {
	f := newOAuthTown(t)
	code := f.code(wechat.ScopeBase)
	_, q := f.land(f.begin(""), f.code(wechat.ScopeBase))
	if _, err := f.Login(t.Context(), f.config, q.Get("ticket")); err != nil {
		t.Fatal(err)
	}
	_, q = f.land(f.begin(""), code)
	files, err := filepath.Glob(filepath.Join(f.dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// The ticket's record is there, and that of a user whose session has begun.
		for what, secret := range map[string]string{"openid": "oOne", "code": code, "ticket": q.Get("ticket"), "secret": oauthSecret, "redirect": "acme.cn/me"} {
			if strings.Contains(string(b), secret) {
				t.Errorf("%s holds the %s", filepath.Base(file), what)
			}
		}
	}
}
