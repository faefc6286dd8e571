package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/wechat"
)

// jsapiSections are an app whose pages may have signatures, one whose pages may
// not, and one that has no way to WeChat.
func jsapiSections(base string) string {
	return "apps:\n" +
		"  shop:\n    { type: official, app_id: " + testAppID + ", token: " + testToken + ", mode: plain, app_secret: " + testSecret + ", api_base: \"" + base + "\",\n" +
		"      jsapi: { hosts: [ www.acme.cn, \"http://dev.acme.cn:8080\", \"[fd00::1]\" ], origins: [ \"https://www.acme.cn\", \"http://dev.acme.cn:8080\" ] },\n" +
		"      domain_files: { MP_verify_a1b2.txt: a1b2, 9Zx.txt: \"0123\" }, callback_path: /wechat }\n" +
		"  bare: { type: official, app_id: wx1111111111111111, token: " + testToken + ", mode: plain }\n" +
		"  mute: { type: official, app_id: wx2222222222222222, token: " + testToken + ", mode: plain, jsapi: { hosts: [ www.acme.cn ] } }\n" +
		"pipeline: { stages: [ { reply: { text: hello } } ] }\n"
}

func newJSAPITown(t *testing.T) *gatewayTown {
	t.Helper()
	return newTown(t, jsapiSections)
}

// signPath is where a page's script asks.
func signPath(app, page string) string { return "/jsapi/" + app + "/sign?url=" + url.QueryEscape(page) }

// ask sends a request with header fields and returns the answer with its body.
func (g *gatewayTown) ask(t testing.TB, method, path string, header ...string) (*httptest.ResponseRecorder, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	g.public.srv.Handler.ServeHTTP(w, r)
	return w, w.Body.String()
}

// ticket is the one that WeChat gave last.
func (g *gatewayTown) ticket(t testing.TB) string {
	t.Helper()
	for _, value := range g.wechat.Issued() {
		if _, kind, state := g.wechat.TicketState(value); kind == simulator.JSTicket && state == simulator.Current {
			return value
		}
	}
	t.Fatal("WeChat gave no ticket")
	return ""
}

// TestSign: what wx.config takes is signed with the app's ticket, for the page as the
// browser has it, and one ticket serves all.
func TestSign(t *testing.T) {
	g := newJSAPITown(t)
	nonces := map[string]bool{}
	for page, signedAs := range map[string]string{
		"https://www.acme.cn":                        "",
		"https://www.acme.cn/":                       "",
		"https://WWW.acme.cn:443/a?b=%E4%BD%A0+c&d=": "",
		"https://www.acme.cn/#/list?x#y":             "https://www.acme.cn/",
		"https://www.acme.cn?code=1&state=2#wechat":  "https://www.acme.cn?code=1&state=2",
		"http://dev.acme.cn:8080/你好":                 "",
		"https://[fd00::1]/x":                        "",
	} {
		if signedAs == "" {
			signedAs = page
		}
		w, answer := g.ask(t, http.MethodGet, signPath("shop", page))
		var s struct {
			AppID     string `json:"appId"`
			Timestamp int64  `json:"timestamp"`
			NonceStr  string `json:"nonceStr"`
			Signature string `json:"signature"`
		}
		d := json.NewDecoder(strings.NewReader(answer))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", page, w.Code, answer)
		}
		if want := wechat.SignPage(g.ticket(t), s.NonceStr, s.Timestamp, signedAs); s.Signature != want || s.AppID != testAppID {
			t.Errorf("%s: got %+v, want signature %s", page, s, want)
		}
		if off := time.Since(time.Unix(s.Timestamp, 0)); off < 0 || off > time.Minute || len(s.NonceStr) < 16 || len(s.NonceStr) > 32 || nonces[s.NonceStr] {
			t.Errorf("%s: %+v", page, s)
		}
		nonces[s.NonceStr] = true
		if w.Header().Get("Cache-Control") != "no-store" || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
			t.Errorf("header %v", w.Header())
		}
		for _, secret := range append(g.wechat.Issued(), testSecret) {
			if strings.Contains(answer, secret) || strings.Contains(g.log.String(), secret) {
				t.Error("a secret is told")
			}
		}
	}
	if n := len(g.wechat.Fetches(testAppID, simulator.JSTicket)); n != 1 {
		t.Errorf("%d tickets were fetched", n)
	}
}

// TestSignRefused: nothing is signed for a page that isn't allow-listed, however it
// is written.
func TestSignRefused(t *testing.T) {
	g := newJSAPITown(t)
	sign := func(page string) string { return signPath("shop", page) }
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/jsapi/nowhere/sign?url=https://www.acme.cn/", 404, "not_found"},
		{"GET", "/jsapi/bare/sign?url=https://www.acme.cn/", 404, "not_found"},
		{"GET", "/jsapi/mute/sign?url=https://www.acme.cn/", 503, "app_unavailable"},
		{"GET", "/jsapi/shop", 404, "not_found"},
		{"POST", sign("https://www.acme.cn/"), 405, "method_not_allowed"},
		{"OPTIONS", sign("https://www.acme.cn/"), 403, "cross_origin"},
		{"GET", "/jsapi/shop/sign", 400, "bad_url"},
		{"GET", "/jsapi/shop/sign?url=", 400, "bad_url"},
		{"GET", "/jsapi/shop/sign?url=%zz", 400, "bad_url"},
		{"GET", sign("https://www.acme.cn/") + "&url=x", 400, "bad_url"},
		{"GET", "/jsapi/shop/sign?url=https://www.acme.cn/?a=1&b=2", 400, "bad_url"},
		{"GET", sign("https://www.acme.cn/" + strings.Repeat("x", maxPage)), 400, "bad_url"},
		{"GET", sign("www.acme.cn/"), 400, "bad_url"},
		{"GET", sign("//www.acme.cn/"), 400, "bad_url"},
		{"GET", sign("ftp://www.acme.cn/"), 400, "bad_url"},
		{"GET", sign("https:///www.acme.cn/"), 400, "bad_url"},
		{"GET", sign("https://www.acme.cn/ x"), 400, "bad_url"},
		{"GET", sign("https://www.acme.cn\t/"), 400, "bad_url"},
		{"GET", sign("https://www.acme.cn\\@evil.cn/"), 400, "bad_url"},
		{"GET", sign("https://evil.cn\\.www.acme.cn/"), 400, "bad_url"},
		{"GET", sign("https://www.acme.cn@evil.cn/"), 400, "bad_url"},
		{"GET", sign("https://evil.cn@www.acme.cn/"), 400, "bad_url"},
		{"GET", sign("https://www%2eacme.cn/"), 400, "bad_url"},
		{"GET", sign("https://www.acme.c\u212a/"), 400, "bad_url"},
		{"GET", sign("http://www.acme.cn/"), 403, "page_not_allowed"},
		{"GET", sign("https://www.acme.cn:8443/"), 403, "page_not_allowed"},
		{"GET", sign("https://www.acme.cn./"), 403, "page_not_allowed"},
		{"GET", sign("https://www.acme.cn.evil.cn/"), 403, "page_not_allowed"},
		{"GET", sign("https://evil.cn/?https://www.acme.cn/"), 403, "page_not_allowed"},
		{"GET", sign("https://evil.cn/#@www.acme.cn/"), 403, "page_not_allowed"},
		{"GET", sign("https://acme.cn/"), 403, "page_not_allowed"},
		{"GET", sign("https://dev.acme.cn:8080/"), 403, "page_not_allowed"},
	} {
		w, answer := g.ask(t, c.method, c.path)
		if w.Code != c.status || codeOf(answer) != c.code {
			t.Errorf("%s %.90s: %d %s, want %d %s", c.method, c.path, w.Code, answer, c.status, c.code)
		}
	}
	if n := len(g.wechat.Fetches(testAppID, simulator.JSTicket)); n != 0 {
		t.Errorf("%d tickets were fetched for them", n)
	}
}

// TestSignWithoutTicket: while WeChat gives none, pages are told to come again, and
// not why.
func TestSignWithoutTicket(t *testing.T) {
	g := newJSAPITown(t)
	lift := g.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/ticket/getticket"}, Errcode: 48001})
	w, answer := g.ask(t, http.MethodGet, signPath("shop", "https://www.acme.cn/"))
	if w.Code != http.StatusServiceUnavailable || codeOf(answer) != "no_credential" || w.Header().Get("Retry-After") == "" || strings.Contains(answer, "48001") {
		t.Errorf("%d %s %v", w.Code, answer, w.Header())
	}
	lift()
}

// TestSignCORS: scripts of allow-listed origins may read the answer, those of others
// may not.
func TestSignCORS(t *testing.T) {
	g := newJSAPITown(t)
	path := signPath("shop", "https://www.acme.cn/")
	for origin, known := range map[string]bool{
		"": false, "null": false, "https://www.acme.cn": true, "http://dev.acme.cn:8080": true, "https://dev.acme.cn:8080": false,
		"http://www.acme.cn": false, "https://www.acme.cn:443": false, "https://www.acme.cn.evil.cn": false, "https://evil.cn": false, "*": false,
	} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			w, _ := g.ask(t, method, path, "Origin", origin)
			header := w.Header()
			want, status := "", http.StatusOK
			if known {
				want = origin
			}
			if method == http.MethodOptions {
				if status = http.StatusForbidden; known {
					status = http.StatusNoContent
				}
				if known != (header.Get("Access-Control-Allow-Methods") == "GET") {
					t.Errorf("preflight of %q: %v", origin, header)
				}
			}
			if w.Code != status || header.Get("Access-Control-Allow-Origin") != want || header.Get("Vary") != "Origin" || header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %q: %d %v", method, origin, w.Code, header)
			}
		}
	}
	if w, _ := g.ask(t, http.MethodGet, signPath("shop", "https://evil.cn/"), "Origin", "https://www.acme.cn"); w.Code != http.StatusForbidden || w.Header().Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("an error can't be read: %d %v", w.Code, w.Header())
	}
}

// TestDomainFiles: a check file is there as its name says, and nothing else is.
func TestDomainFiles(t *testing.T) {
	g := newJSAPITown(t)
	for path, content := range map[string]string{"/MP_verify_a1b2.txt": "a1b2", "/9Zx.txt": "0123"} {
		w, body := g.ask(t, http.MethodGet, path)
		if w.Code != http.StatusOK || body != content || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d %q %v", path, w.Code, body, w.Header())
		}
		if w, _ := g.ask(t, http.MethodPost, path); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/mp_verify_a1b2.txt", "/MP_verify_a1b2.txt/", "/x/MP_verify_a1b2.txt", "//MP_verify_a1b2.txt", "/MP_verify_.txt", "/robots.txt"} {
		if w, body := g.ask(t, http.MethodGet, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %q", path, w.Code, body)
		}
	}
	if w, _ := g.ask(t, http.MethodGet, "/wechat"); w.Code != http.StatusForbidden { // it is no callback of WeChat's
		t.Errorf("callback_path: %d", w.Code)
	}
}

// TestPagesReload: a reload takes over what pages may have, and keeps the ticket.
func TestPagesReload(t *testing.T) {
	g := newJSAPITown(t)
	status := func(path string) int { w, _ := g.ask(t, http.MethodGet, path); return w.Code }
	shop, evil := signPath("shop", "https://www.acme.cn/"), signPath("shop", "https://new.acme.cn/")
	if got := []int{status(shop), status(evil), status("/new.txt")}; fmt.Sprint(got) != "[200 403 404]" {
		t.Errorf("before: %v", got)
	}
	src, err := os.ReadFile(g.file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("hosts: [ www.acme.cn,", "hosts: [ new.acme.cn,", "9Zx.txt", "new.txt").Replace(string(src))
	if err := os.WriteFile(g.file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := g.Reload(t.Context(), "test"); err != nil || r.Result != reloadOK {
		t.Fatalf("%+v %v", r, err)
	}
	if got := []int{status(shop), status(evil), status("/new.txt")}; fmt.Sprint(got) != "[403 200 200]" {
		t.Errorf("after: %v", got)
	}
	if n := len(g.wechat.Fetches(testAppID, simulator.JSTicket)); n != 1 {
		t.Errorf("%d tickets were fetched", n)
	}
}

// FuzzPageOf: an address that has an origin has the same one for net/url, and no
// user.
func FuzzPageOf(f *testing.F) {
	for _, query := range []string{
		"url=https%3A%2F%2Fwww.acme.cn%2F%3Fa%3Db%23c", "url=http://a:80/?x", "url=HTTPS://A:443", "url=https://a\\@b/", "a=b&url=https://u@a/", "url=https://[fd00::1]:1/",
		"url=https://a&url=https://b", "url=https://a?b&c", "url=%", "url=https://a%23b", "url=https%3A%2F%2Fa%252eb", "url=https://a:0443/", "", "&&url",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		page, ok := pageOf(query)
		if !ok {
			return
		}
		if page == "" || len(page) > maxPage || strings.Contains(page, "#") {
			t.Fatalf("page %q", page)
		}
		origin, ok := originOf(page)
		if !ok {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.Port() == "" && strings.Contains(u.Host, ":") && !strings.HasPrefix(u.Host, "[") {
			return // no list has it
		}
		whole, err := url.Parse(page)
		if err != nil {
			return
		}
		port := whole.Port()
		if whole.Scheme == "https" && port == "443" || whole.Scheme == "http" && port == "80" {
			port = ""
		}
		if whole.User != nil || whole.Scheme != u.Scheme || !strings.EqualFold(whole.Hostname(), u.Hostname()) || port != u.Port() {
			t.Errorf("%q has origin %q", page, origin)
		}
	})
}
