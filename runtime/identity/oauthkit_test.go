package identity

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/storetest"
	"github.com/weft-dev/weft/runtime/vault"
	"github.com/weft-dev/weft/runtime/wechat"
)

const (
	oauthAppID  = "wx0123456789abcdef"
	oauthSecret = "0123456789abcdefTheAppSecret"
	oauthPage   = "https://www.acme.cn/me?x=1"
	oauthCheck  = "/sns/oauth2/access_token"
)

// oauthTown is a host before a fake WeChat, over an embedded store, with one clock.
type oauthTown struct {
	*OAuth
	t      testing.TB
	wechat *simulator.WeChat
	config *OAuthConfig
	store  store.Store
	dir    string
	clock  *storetest.Clock
	now    func() time.Time
	events posted
}

func newOAuthTown(t testing.TB) *oauthTown {
	clock := storetest.NewClock()
	dir := t.TempDir()
	return oauthTownOver(t, openBolt(t, dir, clock.Now), dir, clock, clock.Now)
}

func oauthTownOver(t testing.TB, s store.Store, dir string, clock *storetest.Clock, now func() time.Time) *oauthTown {
	t.Helper()
	w := simulator.New(simulator.Options{Now: now})
	w.Set(simulator.App{ID: oauthAppID, Secret: oauthSecret})
	w.SetUser(oauthAppID, simulator.User{OpenID: "oOne", UnionID: "uOne"})
	srv := httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); srv.Close() })
	f := &oauthTown{t: t, wechat: w, store: s, dir: dir, clock: clock, now: now}
	session := testConfig()
	session.AppID = oauthAppID
	f.config = &OAuthConfig{
		Session: session, Authorize: "https://open.fake.example", SNS: snsAt(t, srv.URL),
		Callback: "https://wx.acme.cn/oauth/shop/callback", Redirects: testRedirects(t),
	}
	f.OAuth = f.host(testKey(1))
	return f
}

// snsAt makes an app's calls at base.
func snsAt(t testing.TB, base string) *gateway.SNS {
	t.Helper()
	apis := gateway.NewAPIs(gateway.APIsConfig{})
	t.Cleanup(apis.Close)
	return apis.SNS(gateway.SNSConfig{App: "shop", AppID: oauthAppID, Secret: oauthSecret, Base: base})
}

// host is another host over the same store.
func (f *oauthTown) host(key []byte, previous ...[]byte) *OAuth {
	f.t.Helper()
	v, err := vault.New(vault.Options{Store: f.store, Key: key, PreviousKeys: previous, Now: f.now})
	if err != nil {
		f.t.Fatal(err)
	}
	o, err := NewOAuth(OAuthOptions{
		Store: f.store, Vault: v, Sessions: newSessions(f.t, f.store, f.now, key, previous...), Events: &f.events,
		Key: key, PreviousKeys: previous, Now: f.now,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(o.Close)
	return o
}

// begun is a login at WeChat's page.
type begun struct {
	state   string
	cookies []*http.Cookie
}

func (f *oauthTown) begin(scope string) begun {
	f.t.Helper()
	return f.beginAt(f.OAuth, scope)
}

func (f *oauthTown) beginAt(o *OAuth, scope string) begun {
	f.t.Helper()
	link, cookie, err := o.Begin(f.config, oauthPage, scope, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil {
		f.t.Fatal(err)
	}
	q := u.Query()
	want := wechat.Authorize{Base: f.config.Authorize, AppID: oauthAppID, RedirectURI: f.config.Callback, Scope: q.Get("scope"), State: q.Get("state")}.Link()
	if link != want {
		f.t.Errorf("the browser is sent to %s", link)
	}
	return begun{q.Get("state"), []*http.Cookie{{Name: "other", Value: "x"}, cookie}}
}

// code is one that WeChat gives to oOne's browser.
func (f *oauthTown) code(scope string) string {
	return f.wechat.NewCode(oauthAppID, simulator.OAuthCode, "oOne", scope)
}

func (f *oauthTown) exchanged() int {
	return f.wechat.Count(simulator.Where{Path: oauthCheck}).Calls
}

// land ends a login that is answered with a redirect, and returns its query.
func (f *oauthTown) land(b begun, code string) (Landing, url.Values) {
	f.t.Helper()
	l, err := f.Finish(f.t.Context(), f.config, code, b.state, b.cookies)
	if err != nil {
		f.t.Fatal(err)
	}
	u, err := url.Parse(l.Location)
	if err != nil || u.Host != "www.acme.cn" || u.Path != "/me" || u.Query().Get("x") != "1" {
		f.t.Errorf("the browser lands at %s %v", l.Location, err)
	}
	return l, u.Query()
}
