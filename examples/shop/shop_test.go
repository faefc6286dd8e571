// Package shop_test goes through the example as its README does, with a browser
// where a customer has one, and through what may go wrong on the way.
package shop_test

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-dev/weft/examples/internal/run"
)

// Addresses as the README has them.
const (
	page   = "http://127.0.0.1:8094/"
	host   = "http://127.0.0.1:8084"
	wechat = "http://127.0.0.1:8074"
)

// secrets of pipeline.yaml and of the fake WeChat, which no page and no log may
// have.
var secrets = []string{
	"sampleSecretOfTheShop", "sampleSecretOfTheMiniProgram", "sampleEventsSecret", "13800138000",
	"wk_868f500ab56a05bb7dc4384ffdc247617691e23cb982f99493f904075d4660f3",
}

// shop is the copy of the example that runs.
type shop struct {
	*run.Example
	all    *run.Program
	driver string
}

// TestShop has the parts of the story one after another.
func TestShop(t *testing.T) {
	for _, name := range []string{"node", "chromium", "chromedriver"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(name + " is not there: make deps")
		}
	}
	s := &shop{Example: run.New(t)}
	s.Build(t, "shop-wechat", "./examples/shop/wechat")
	s.Command(t, "bin/weft", "check", "--strict", "-c", s.Config())
	s.all = s.Start(t, "the shop is open", "node", "examples/shop/start.js")
	s.driver = startDriver(t)
	t.Run("a customer logs in", s.logsIn)
	t.Run("a customer refuses", s.refuses)
	t.Run("somebody else's login", s.foreignLogin)
	t.Run("a signature for another page", s.foreignPage)
	t.Run("the mini program", s.mini)
	t.Run("events that are not Weft's", s.foreignEvents)
	s.all.Stop(t)
	for _, secret := range secrets {
		if strings.Contains(s.all.Log(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
	if !strings.Contains(s.all.Log(), `"msg":"stopped"`) {
		t.Errorf("the host did not stop: %s", s.all.Log())
	}
}

// heard waits until the shop has heard of something so many times.
func (s *shop) heard(t *testing.T, what string, times int) {
	t.Helper()
	run.Until(t, "the shop hears "+what, func() bool { return strings.Count(s.all.Log(), what) >= times })
	if got := strings.Count(s.all.Log(), what); got != times {
		t.Errorf("the shop has heard %q %d times, want %d", what, got, times)
	}
}

// A new customer, who agrees at WeChat, is known to the shop, may share the page,
// and is known to WeChat's API; so is another one in another browser.
func (s *shop) logsIn(t *testing.T) {
	for i, user := range []string{"oShopXiaoMing", "oShopXiaoHong"} {
		b := newBrowser(t, s.driver)
		b.open(s.Address(page))
		b.shows("#hello", "你好，请登录。")
		b.shows("#sdk", "可以分享")
		b.click("#login")
		b.click(`button[value="` + user + `"]`)
		b.shows("#hello", "欢迎光临！")
		b.shows("#sdk", "可以分享")
		b.shows("#openid", user)
		b.shows("#follows", "已关注")
		// Browsers take the fragment of WeChat's link along.
		if got, _, _ := strings.Cut(b.at(), "#"); got != s.Address(page) {
			t.Errorf("the browser is at %s", got)
		}
		var displayed bool
		b.script(`return document.getElementById("login").checkVisibility()`, &displayed)
		if displayed {
			t.Error("who is logged in is asked to log in")
		}
		s.heard(t, "login of shop, new_user true", i+1)
		s.keepsSecrets(t, b)
		if dir := os.Getenv("WEFT_SCREENSHOTS"); dir != "" {
			b.shoot(filepath.Join(dir, user+".png"))
		}
	}
}

// keepsSecrets looks for what a page must not know in all that the browser has.
func (s *shop) keepsSecrets(t *testing.T, b *browser) {
	t.Helper()
	var seen string
	b.script(`return document.documentElement.outerHTML + document.cookie + JSON.stringify(localStorage) + JSON.stringify(performance.getEntries())`, &seen)
	for _, secret := range append([]string{"ticket=", "access_token", "session_key", "shop_customer"}, secrets...) {
		if strings.Contains(seen, secret) {
			t.Errorf("the page has %s", secret)
		}
	}
}

// Who refuses is told so, and may try again.
func (s *shop) refuses(t *testing.T) {
	b := newBrowser(t, s.driver)
	b.open(s.Address(page))
	b.click("#login")
	b.click(`button[value=""]`)
	b.shows("#hello", "你没有同意登录。")
	b.click("#login")
	b.click(`button[value="oShopXiaoMing"]`)
	b.shows("#openid", "oShopXiaoMing")
	s.heard(t, "login of shop, new_user false", 1)
}

// A link that ends a login of somebody else's logs nobody in: not at the host, and
// not at the shop, where it has got a ticket already.
func (s *shop) foreignLogin(t *testing.T) {
	thief := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	start := follow(t, thief, s.Address(page)+"login", nil)
	toWeChat := follow(t, thief, start.location, nil)
	if !strings.HasPrefix(toWeChat.location, s.Address(wechat)+"/connect/oauth2/authorize?appid=") {
		t.Fatalf("the host sends browsers to %s", toWeChat.location)
	}
	base := strings.Replace(toWeChat.location, "snsapi_userinfo", "snsapi_base", 1) // which asks nobody
	callback := follow(t, thief, base, nil)
	b := newBrowser(t, s.driver)
	b.open(callback.location)
	if got := b.at(); !strings.HasPrefix(got, s.Address(host)+"/oauth/shop/callback") {
		t.Errorf("the host leads another browser to %s", got)
	}
	landed := follow(t, thief, callback.location, toWeChat.cookies)
	if !strings.Contains(landed.location, "ticket=") {
		t.Fatalf("the thief's own browser is led to %s", landed.location)
	}
	b.open(landed.location)
	b.shows("#hello", "登录不是从这个浏览器开始的，请重新登录。")
	if got := b.at(); strings.Contains(got, "ticket") {
		t.Errorf("the browser is at %s", got)
	}
}

// hop is an answer that leads on.
type hop struct {
	location string
	cookies  []*http.Cookie
}

// follow goes to an address and returns where it leads.
func follow(t *testing.T, c *http.Client, to string, cookies []*http.Cookie) hop {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range cookies {
		req.AddCookie(cookie)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusFound {
		t.Fatalf("%s: status %d", to, resp.StatusCode)
	}
	return hop{resp.Header.Get("Location"), resp.Cookies()}
}

// Pages that pipeline.yaml doesn't name get no signature, and WeChat takes none that
// is of another page.
func (s *shop) foreignPage(t *testing.T) {
	if status, _ := s.HTTP(t, http.MethodGet, host+"/jsapi/shop/sign?url="+url.QueryEscape("https://example.com/")); status != http.StatusForbidden {
		t.Errorf("another host's page: status %d", status)
	}
	b := newBrowser(t, s.driver)
	b.open(s.Address(wechat) + "/open/js/jweixin-1.6.0.js") // a page of an origin that is not allow-listed
	var told string
	b.ask(http.MethodPost, "/execute/async", map[string]any{"args": []any{}, "script": `const done = arguments[0]
		fetch("` + s.Address(host) + `/jsapi/shop/sign?url=" + encodeURIComponent("` + s.Address(page) + `")).then(() => done("it reads it"), () => done("it may not read it"))`}, &told)
	if told != "it may not read it" {
		t.Errorf("a script of another origin: %s", told)
	}
	b.open(s.Address(page))
	b.shows("#sdk", "可以分享")
	b.ask(http.MethodPost, "/execute/async", map[string]any{"args": []any{}, "script": `const done = arguments[0]
		fetch("` + s.Address(host) + `/jsapi/shop/sign?url=" + encodeURIComponent(location.href + "?other")).then((a) => a.json()).then((c) => {
			wx.ready(() => done("ready")); wx.error((e) => done(e.errMsg)); wx.config(c) })`}, &told)
	if told != "config:invalid signature" {
		t.Errorf("another page's signature: %s", told)
	}
}

// The script does what the README says it prints, and the shop hears of it.
func (s *shop) mini(t *testing.T) {
	got := s.Command(t, "node", "examples/shop/mini.js")
	_, want, _ := strings.Cut(s.Read(t, "README.md"), "node examples/shop/mini.js\n```\n\n```text\n")
	want, _, _ = strings.Cut(want, "```")
	if got != want || want == "" {
		t.Errorf("it prints %q, want %q", got, want)
	}
	s.heard(t, "login of mini, new_user true", 1)
	s.heard(t, "phone of mini, phone 138****8000", 1)
}

// What anybody but Weft posts to the shop is refused.
func (s *shop) foreignEvents(t *testing.T) {
	before := strings.Count(s.all.Log(), "the shop hears")
	if status, _ := s.HTTP(t, http.MethodPost, page+"events"); status != http.StatusForbidden {
		t.Errorf("status %d", status)
	}
	if now := strings.Count(s.all.Log(), "the shop hears"); now != before {
		t.Error("the shop has heard it")
	}
}
