package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/identity"
	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// oauthSections are an app whose users log in on web pages, and such as can't.
func oauthSections(base string) string {
	official := "type: official, token: " + testToken + ", mode: plain, api_base: \"" + base + "\""
	return "apps:\n" +
		"  shop: { " + official + ", app_id: " + testAppID + ", app_secret: " + testSecret + ", oauth: { redirects: [\"https://www.acme.cn/\"], claims: [openid, unionid] } }\n" +
		"  next: { " + official + ", app_id: wx3333333333333333, app_secret: " + testSecret + ", oauth: { redirects: [\"https://www.acme.cn/\"] } }\n" +
		"  mute: { " + official + ", app_id: wx1111111111111111, oauth: { redirects: [\"https://www.acme.cn/\"] } }\n" +
		"  bare: { " + official + ", app_id: wx2222222222222222, app_secret: " + testSecret + " }\n" +
		"pipeline: { stages: [ { reply: { text: hello } } ] }\n"
}

// loginTown is hosts before a fake WeChat, with all that they have answered.
type loginTown struct {
	*gatewayTown
	hosts []*testHost
	files []string // their configurations
	mu    sync.Mutex
	told  strings.Builder
}

// newLoginTown starts a host over an embedded store, or several over Redis.
func newLoginTown(t *testing.T, hosts int) *loginTown {
	t.Helper()
	w := simulator.New(simulator.Options{})
	w.Set(simulator.App{ID: testAppID, Secret: testSecret})
	w.SetUser(testAppID, simulator.User{OpenID: "oOne", UnionID: "uOne"})
	srv := httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); srv.Close() })
	server, sections := "drain: 5s, public: \"https://wx.acme.cn\"", oauthSections(srv.URL)
	if hosts > 1 {
		server += ", key: " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", keySize)))
		sections = "store: { redis: { addrs: [\"" + redistest.Start(t).Addr + "\"] } }\n" + sections
	}
	l := &loginTown{}
	for range hosts {
		file := writeConfig(t, sections)
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(src), "drain: 5s", server, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		l.hosts = append(l.hosts, startHost(t, file))
		l.files = append(l.files, file)
	}
	l.gatewayTown = &gatewayTown{testHost: l.hosts[0], wechat: w, file: l.files[0]}
	return l
}

// ask sends a request to one of the hosts.
func (l *loginTown) ask(host int, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	l.hosts[host].public.srv.Handler.ServeHTTP(w, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, values := range w.Header() {
		l.told.WriteString(name + ": " + strings.Join(values, " ") + "\n")
	}
	l.told.WriteString(w.Body.String() + "\n")
	return w
}

const loginPath = "/oauth/shop/login?redirect=https%3A%2F%2Fwww.acme.cn%2Fme%3Fx%3D1%23top"

// begin has a browser begin a login: what it keeps, and the state at WeChat.
func (l *loginTown) begin(t *testing.T) (cookie, state string) {
	t.Helper()
	w := l.ask(0, http.MethodGet, loginPath, "", "X-Forwarded-Host", "evil.example")
	at, err := url.Parse(w.Header().Get("Location"))
	if w.Code != http.StatusFound || err != nil || at.Host != "open.weixin.qq.com" || at.Fragment != "wechat_redirect" {
		t.Fatalf("%d %v %v", w.Code, w.Header(), err)
	}
	if got := at.Query().Get("redirect_uri"); got != "https://wx.acme.cn/oauth/shop/callback" {
		t.Errorf("WeChat sends the browser to %s", got)
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || !cookies[0].Secure || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("%v", cookies)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%v", w.Header())
	}
	return cookies[0].Name + "=" + cookies[0].Value, at.Query().Get("state")
}

func (l *loginTown) code() string {
	return l.wechat.NewCode(testAppID, simulator.OAuthCode, "oOne", simulator.ScopeBase)
}

func (l *loginTown) back(host int, cookie, state, code string) *httptest.ResponseRecorder {
	return l.ask(host, http.MethodGet, "/oauth/shop/callback?"+url.Values{"code": {code}, "state": {state}}.Encode(), "", "Cookie", cookie)
}

// ticket is what a callback's answer leads with; "": it does not.
func ticketIn(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	location := w.Header().Get("Location")
	at, err := url.Parse(location)
	if w.Code != http.StatusFound || err != nil || !strings.HasPrefix(location, "https://www.acme.cn/me?x=1&") || !strings.HasSuffix(location, "#top") {
		t.Fatalf("%d %s: led to %s", w.Code, w.Body, location)
	}
	return at.Query().Get("ticket")
}

func (l *loginTown) redeem(host int, app, ticket string, header ...string) *httptest.ResponseRecorder {
	return l.ask(host, http.MethodPost, "/oauth/"+app+"/ticket", `{"ticket":"`+ticket+`"}`, append(header, "Content-Type", "application/json")...)
}

// quiet fails the test where a secret of WeChat's is in an answer or a log.
func (l *loginTown) quiet(t *testing.T, more ...string) {
	t.Helper()
	for _, secret := range append(append(l.wechat.Issued(), testSecret), more...) {
		for _, h := range l.hosts {
			if strings.Contains(h.log.String(), secret) {
				t.Errorf("a log tells %.8s…", secret)
			}
		}
		if strings.Contains(l.told.String(), secret) {
			t.Errorf("an answer tells %.8s…", secret)
		}
	}
}

// TestWebLogin: a browser is led to WeChat and back, its page gets a session for the
// ticket, and the pipeline an event.
func TestWebLogin(t *testing.T) {
	l := newLoginTown(t, 1)
	cookie, state := l.begin(t)
	code := l.code()
	ticket := ticketIn(t, l.back(0, cookie, state, code))
	w := l.redeem(0, "shop", ticket)
	var got struct {
		Token   string
		Refresh string `json:"refresh_token"`
		Expires int    `json:"expires_in"`
		New     *bool  `json:"new_user"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || got.Refresh == "" || got.Expires != 7200 || got.New == nil || !*got.New {
		t.Fatalf("%d %+v %v", w.Code, got, err)
	}
	s, err := l.identities.sessions.Verify(t.Context(), l.current.Load().assembly.logins["shop"].Session, got.Token)
	if err != nil || s.OpenID != "oOne" || s.UnionID != "uOne" {
		t.Errorf("%+v %v", s, err)
	}
	if w := l.redeem(0, "shop", ticket); w.Code != http.StatusUnauthorized || codeOf(w.Body.String()) != "ticket_refused" {
		t.Errorf("the ticket again: %d %s", w.Code, w.Body)
	}
	refresh := func() *httptest.ResponseRecorder {
		return l.ask(0, http.MethodPost, "/mp/shop/refresh", `{"refresh_token":"`+got.Refresh+`"}`, "Origin", "https://www.acme.cn")
	}
	if w := refresh(); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "refresh_token") || w.Header().Get("Access-Control-Allow-Origin") != "https://www.acme.cn" {
		t.Errorf("the page renews its session: %d %s %v", w.Code, w.Body, w.Header())
	}
	if w := refresh(); w.Code != http.StatusUnauthorized || codeOf(w.Body.String()) != "session_invalid" {
		t.Errorf("with the same token again: %d %s", w.Code, w.Body)
	}
	if _, err := l.identities.sessions.Verify(t.Context(), l.current.Load().assembly.logins["shop"].Session, got.Token); err == nil {
		t.Error("the session goes on after its refresh token was used twice")
	}
	waitUntil(t, "the login is an event", func() bool {
		_, metrics, _ := get(t, "http://"+l.admin.addr()+"/metrics")
		return strings.Contains(metrics, `weft_events_total{app="shop",outcome="queued"} 1`)
	})
	l.quiet(t, code)
}

// TestWebLoginState: a callback that is forged, replayed or another browser's leads
// nowhere.
func TestWebLoginState(t *testing.T) {
	l := newLoginTown(t, 1)
	cookie, state := l.begin(t)
	otherCookie, otherState := l.begin(t)
	code := l.code()
	refused := func(what string, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusForbidden || codeOf(w.Body.String()) != "state_refused" || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d %s %v", what, w.Code, w.Body, w.Header())
		}
	}
	refused("without a cookie", l.back(0, "", state, code))
	refused("another browser's", l.back(0, otherCookie, state, code))
	refused("another state", l.back(0, cookie, otherState, code))
	refused("forged", l.back(0, cookie, strings.Repeat("0", len(state)), code))
	refused("none", l.back(0, cookie, "", code))
	refused("another app's", l.ask(0, http.MethodGet, "/oauth/next/callback?code="+code+"&state="+state, "", "Cookie", cookie))
	refused("two states", l.ask(0, http.MethodGet, "/oauth/shop/callback?code="+code+"&state="+state+"&state="+otherState, "", "Cookie", cookie))
	refused("two codes", l.ask(0, http.MethodGet, "/oauth/shop/callback?code="+code+"&code=x&state="+state, "", "Cookie", cookie))
	if n := l.wechat.Count(simulator.Where{Path: "/sns/**"}).Calls; n != 0 {
		t.Errorf("WeChat was asked %d times", n)
	}
	first := l.back(0, cookie, state, code)
	again := l.back(0, cookie, state, code)
	if ticketIn(t, first) == "" || again.Header().Get("Location") != first.Header().Get("Location") {
		t.Errorf("again: %v after %v", again.Header(), first.Header())
	}
	refused("replayed with another code", l.back(0, cookie, state, l.code()))
	refused("replayed without one", l.back(0, cookie, state, ""))
	if n := l.wechat.Count(simulator.Where{Path: "/sns/**"}).Calls; n != 1 {
		t.Errorf("WeChat was asked %d times", n)
	}
	l.quiet(t, code)
}

// TestWebLoginRedirects: a login leads to no page that is not allow-listed, however
// it is spelled.
func TestWebLoginRedirects(t *testing.T) {
	l := newLoginTown(t, 1)
	for _, to := range []string{
		"https://evil.example/", "//evil.example/", "https:/evil.example", "https:evil.example", "/\\evil.example", "https://www.acme.cn@evil.example/",
		"https://www.acme.cn.evil.example/", "https://www.acme.cn\\@evil.example/", "https://evil.example\\.www.acme.cn/", "https://www.acme.cn:444/",
		"http://www.acme.cn/", "javascript:alert(1)//https://www.acme.cn/", "https://www.acme.cn%2eevil.example/", "https://www.acme.cn/\r\nX: y",
		"\thttps://evil.example/", "https://www.acme.cn//evil.example", "https://www.acme.cn/?ticket=mine", "https://www.acme.cn/..//evil.example", "",
	} {
		w := l.ask(0, http.MethodGet, "/oauth/shop/login?redirect="+url.QueryEscape(to), "")
		if w.Code != http.StatusBadRequest || codeOf(w.Body.String()) != "redirect_not_allowed" || w.Header().Get("Location") != "" || len(w.Result().Cookies()) != 0 {
			t.Errorf("%q: %d %s %v", to, w.Code, w.Body, w.Header())
		}
	}
	for query, want := range map[string]string{
		"":              "redirect_not_allowed",
		"?redirect=%zz": "redirect_not_allowed",
		"?redirect=https://www.acme.cn/&redirect=https://evil.example/": "redirect_not_allowed",
		"?redirect=https://www.acme.cn/&scope=snsapi_login":             "bad_scope",
	} {
		if w := l.ask(0, http.MethodGet, "/oauth/shop/login"+query, ""); codeOf(w.Body.String()) != want {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

// TestWebLoginRefused: what WeChat has against a login is told to the page in a word,
// and to the log in full.
func TestWebLoginRefused(t *testing.T) {
	l := newLoginTown(t, 1)
	for _, c := range []struct {
		code    string
		errcode int
		want    string
	}{
		{"", 0, "access_denied"},
		{"never", 0, "invalid_code"},
		{l.code(), 40163, "invalid_code"},
		{l.code(), 40125, "server_error"},
		{l.code(), 45011, "temporarily_unavailable"},
	} {
		if c.errcode != 0 {
			l.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/sns/**"}, Times: 1, Errcode: c.errcode})
		}
		cookie, state := l.begin(t)
		w := l.back(0, cookie, state, c.code)
		if ticketIn(t, w) != "" || !strings.Contains(w.Header().Get("Location"), "&error="+c.want+"#top") {
			t.Errorf("%d: %v", c.errcode, w.Header())
		}
		if c.code != "" {
			l.quiet(t, c.code)
		}
	}
	if len(l.log.lines(t, "login refused")) == 0 || len(l.log.lines(t, "login failed")) == 0 {
		t.Errorf("the log says %s", l.log)
	}
}

// TestWebLoginLog: whoever makes logins of one app fail again and again hides no line
// of another's, and none of what only an operator can mend.
func TestWebLoginLog(t *testing.T) {
	l := newLoginTown(t, 1)
	refuse := func() {
		cookie, state := l.begin(t)
		l.back(0, cookie, state, "never")
	}
	refuse()
	l.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/sns/**"}, Times: 1, Errcode: 40125}) // the app_secret
	refuse()
	w := l.ask(0, http.MethodGet, strings.Replace(loginPath, "shop", "next", 1), "")
	at, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	l.ask(0, http.MethodGet, "/oauth/next/callback?code=never&state="+at.Query().Get("state"), "", "Cookie", w.Header().Get("Set-Cookie"))
	logged := map[string]int{}
	for _, text := range []string{"login refused", "login failed"} {
		for _, line := range l.log.lines(t, text) {
			logged[fmt.Sprint(line["app"], " ", line["level"])]++
		}
	}
	// WeChat doesn't know the next one's app_id.
	if want := map[string]int{"shop WARN": 1, "shop ERROR": 1, "next ERROR": 1}; !maps.Equal(logged, want) {
		t.Errorf("logged: %v", logged)
	}
}

// TestWebLoginReload: logins that are under way go on with what a reload has changed:
// another app_secret, a redirect that is no more, an app that has no login any more.
func TestWebLoginReload(t *testing.T) {
	l := newLoginTown(t, 1)
	reload := func(old, text string) {
		t.Helper()
		replaceIn(t, l.file, old, text)
		if r, err := l.Reload(t.Context(), "test"); err != nil || r.Result != reloadOK {
			t.Fatalf("%+v %v", r, err)
		}
	}
	const changed = "0123456789abcdefTheNextSecret"
	cookie, state := l.begin(t)
	l.wechat.Set(simulator.App{ID: testAppID, Secret: changed})
	reload(testSecret, changed)
	ticket := ticketIn(t, l.back(0, cookie, state, l.code()))
	if ticket == "" {
		t.Fatal("with another secret nobody logs in")
	}
	cookie, state = l.begin(t)
	const redirects = `redirects: ["https://www.acme.cn/"], claims`
	reload(redirects, `redirects: ["https://www.acme.cn/shop"], claims`)
	if w := l.back(0, cookie, state, l.code()); w.Code != http.StatusForbidden || w.Header().Get("Location") != "" {
		t.Errorf("to a redirect that is no more: %d %v", w.Code, w.Header())
	}
	reload(`, oauth: { redirects: ["https://www.acme.cn/shop"], claims: [openid, unionid] }`, "")
	for what, w := range map[string]*httptest.ResponseRecorder{"callback": l.back(0, cookie, state, l.code()), "ticket": l.redeem(0, "shop", ticket)} {
		if w.Code != http.StatusNotFound {
			t.Errorf("%s without oauth: %d %s", what, w.Code, w.Body)
		}
	}
	l.quiet(t, changed)
}

// deadlined is an answer that notes until when it may be written.
type deadlined struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (d *deadlined) SetWriteDeadline(t time.Time) error { d.until = t; return nil }

// TestWebLoginTime: an answer that uses something up is written however long WeChat
// and the store have taken for it.
func TestWebLoginTime(t *testing.T) {
	l := newLoginTown(t, 1)
	cookie, state := l.begin(t)
	r := httptest.NewRequest(http.MethodGet, "/oauth/shop/callback?"+url.Values{"code": {l.code()}, "state": {state}}.Encode(), nil)
	r.Header.Set("Cookie", cookie)
	w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
	l.public.srv.Handler.ServeHTTP(w, r)
	if ticketIn(t, w.ResponseRecorder) == "" {
		t.Error("nobody is logged in")
	}
	if left := time.Until(w.until); left < identity.FinishTime || left > identity.FinishTime+writeSlack {
		t.Errorf("the answer may be written for %v", left)
	}
	if l.public.srv.WriteTimeout <= bodyTime+miniTime {
		t.Errorf("an answer of a mini program's may come after %v, and is written until %v", bodyTime+miniTime, l.public.srv.WriteTimeout)
	}
}

// TestStopDuringWebLogin stops a host while WeChat keeps it waiting: it doesn't wait,
// and what came of the login is said.
func TestStopDuringWebLogin(t *testing.T) {
	l := newLoginTown(t, 1)
	l.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/sns/**"}, Ends: simulator.HangBefore})
	cookie, state := l.begin(t)
	answer := make(chan *httptest.ResponseRecorder)
	go func() { answer <- l.back(0, cookie, state, l.code()) }()
	waitUntil(t, "WeChat is asked", func() bool { return l.wechat.Count(simulator.Where{Path: "/sns/**"}).Calls == 1 })
	begun := time.Now()
	if err := l.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if took := time.Since(begun); took > 3*time.Second { // WeChat is given up after 5
		t.Errorf("it took %v", took)
	}
	if w := <-answer; !strings.Contains(w.Header().Get("Location"), "&error=temporarily_unavailable#top") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// TestWebLoginAnotherAccount: with another app_id an app's sessions and tickets have
// ended.
func TestWebLoginAnotherAccount(t *testing.T) {
	l := newLoginTown(t, 1)
	var tickets [2]string
	for i := range tickets {
		cookie, state := l.begin(t)
		tickets[i] = ticketIn(t, l.back(0, cookie, state, l.code()))
	}
	var got struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(l.redeem(0, "shop", tickets[0]).Body.Bytes(), &got); err != nil || got.Refresh == "" {
		t.Fatal(err)
	}
	replaceIn(t, l.file, testAppID, "wx4444444444444444")
	if r, err := l.Reload(t.Context(), "test"); err != nil || r.Result != reloadOK {
		t.Fatalf("%+v %v", r, err)
	}
	if w := l.ask(0, http.MethodPost, "/mp/shop/refresh", `{"refresh_token":"`+got.Refresh+`"}`); w.Code != http.StatusUnauthorized {
		t.Errorf("the other account's session is renewed: %d", w.Code)
	}
	if w := l.redeem(0, "shop", tickets[1]); w.Code != http.StatusUnauthorized {
		t.Errorf("the other account's ticket is redeemed: %d", w.Code)
	}
}

// TestWebLoginApps: what an app can't have is said by each path.
func TestWebLoginApps(t *testing.T) {
	l := newLoginTown(t, 1)
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/oauth/bare/login?redirect=https://www.acme.cn/", 404, "not_found"},
		{"GET", "/oauth/none/callback?code=a&state=b", 404, "not_found"},
		{"POST", "/oauth/bare/ticket", 404, "not_found"},
		{"GET", "/oauth/mute/login?redirect=https://www.acme.cn/", 503, "app_unavailable"},
		{"POST", loginPath, 405, "method_not_allowed"},
		{"HEAD", "/oauth/shop/callback", 405, ""},
		{"GET", "/oauth/shop/ticket", 405, "method_not_allowed"},
		{"GET", "/mp/shop/refresh", 405, "method_not_allowed"},
		{"POST", "/mp/shop/refresh", 400, "bad_body"},
		{"POST", "/mp/bare/refresh", 404, "not_found"},
		{"POST", "/oauth/shop/ticket", 400, "bad_body"},
	} {
		w := l.ask(0, c.method, c.path, "")
		if w.Code != c.status || c.code != "" && codeOf(w.Body.String()) != c.code {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	for _, body := range []string{`{"ticket":7}`, `[]`, `{"ticket":"` + strings.Repeat("0", 64) + `"}`, `{"ticket":"x"}`} {
		if w := l.ask(0, http.MethodPost, "/oauth/shop/ticket", body); w.Code != http.StatusBadRequest && w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

// TestWebLoginOrigins: scripts of the pages that a login may lead to read the answer
// for a ticket, and no others do.
func TestWebLoginOrigins(t *testing.T) {
	l := newLoginTown(t, 1)
	for origin, allowed := range map[string]bool{"https://www.acme.cn": true, "https://evil.example": false, "http://www.acme.cn": false, "null": false} {
		w := l.ask(0, http.MethodOptions, "/oauth/shop/ticket", "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
		if (w.Code == http.StatusNoContent) != allowed || (w.Header().Get("Access-Control-Allow-Origin") == origin) != allowed || w.Header().Get("Vary") != "Origin" {
			t.Errorf("%s: %d %v", origin, w.Code, w.Header())
		}
		w = l.redeem(0, "shop", strings.Repeat("0", 64), "Origin", origin)
		if (w.Header().Get("Access-Control-Allow-Origin") == origin) != allowed {
			t.Errorf("%s: %d %v", origin, w.Code, w.Header())
		}
	}
	if w := l.ask(0, http.MethodGet, loginPath, "", "Origin", "https://www.acme.cn"); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a script may begin a login: %v", w.Header())
	}
}

// TestWebLoginTwoHosts: a callback that comes twice, to two hosts at once, exchanges
// its code once; the ticket is good once, at either.
func TestWebLoginTwoHosts(t *testing.T) {
	l := newLoginTown(t, 2)
	cookie, state := l.begin(t)
	code := l.code()
	l.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/sns/**"}, Times: 1, Delay: 200 * time.Millisecond})
	var both sync.WaitGroup
	answers := make([]*httptest.ResponseRecorder, 2)
	for i := range answers {
		both.Go(func() { answers[i] = l.back(i, cookie, state, code) })
	}
	both.Wait()
	ticket := ticketIn(t, answers[0])
	if ticket == "" || ticketIn(t, answers[1]) != ticket {
		t.Fatalf("led to %v and %v", answers[0].Header(), answers[1].Header())
	}
	if n := l.wechat.Count(simulator.Where{Path: "/sns/**"}).Calls; n != 1 {
		t.Errorf("the code was exchanged %d times", n)
	}
	for i := range answers {
		both.Go(func() { answers[i] = l.redeem(i, "shop", ticket) })
	}
	both.Wait()
	if a, b := answers[0].Code, answers[1].Code; min(a, b) != http.StatusOK || max(a, b) != http.StatusUnauthorized {
		t.Errorf("the ticket at both: %d and %d", a, b)
	}
	l.quiet(t, code)
}
