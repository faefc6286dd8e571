package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/simulator"
)

// testSecret is the AppSecret of the tests' app at the fake WeChat.
const testSecret = "0123456789abcdefTestAppSecret"

// keyLine is a caller's entry in pipeline.yaml, without its scope.
func keyLine(name, key string) string {
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("  %s: { key: \"sha256:%s\"", name, hex.EncodeToString(sum[:]))
}

// The callers of the gateway's tests.
const (
	crmKey    = "wk_crm"
	legacyKey = "wk_legacy"
	slowKey   = "wk_slow"
)

// gatewaySections are two apps at a fake WeChat, one without a secret, and
// callers.
func gatewaySections(base string) string {
	return "apps:\n" +
		"  shop: { type: official, app_id: " + testAppID + ", token: " + testToken + ", mode: plain, app_secret: " + testSecret + ", api_base: \"" + base + "\" }\n" +
		"  bare: { type: official, app_id: wx1111111111111111, token: " + testToken + ", mode: plain }\n" +
		"callers:\n" +
		keyLine("crm", crmKey) + ", apps: [shop, bare, later], paths: [\"GET /cgi-bin/user/*\", \"/cgi-bin/message/**\"] }\n" +
		keyLine("legacy", legacyKey) + ", apps: [shop], credential: [access_token, jsapi_ticket] }\n" +
		keyLine("slow", slowKey) + ", apps: [shop], paths: [\"/cgi-bin/**\"], rate: 1/m }\n" +
		"pipeline: { stages: [ { reply: { text: hello } } ] }\n"
}

// gatewayTown is a host before a fake WeChat.
type gatewayTown struct {
	*testHost
	wechat *simulator.WeChat
	file   string
}

func newGatewayTown(t *testing.T) *gatewayTown {
	t.Helper()
	return newTown(t, gatewaySections)
}

// newTown starts a host with sections that are made for the address of a fake
// WeChat.
func newTown(t testing.TB, sections func(base string) string) *gatewayTown {
	t.Helper()
	w := simulator.New(simulator.Options{})
	w.Set(simulator.App{ID: testAppID, Secret: testSecret})
	srv := httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); srv.Close() })
	file := writeConfig(t, sections(srv.URL))
	g := &gatewayTown{testHost: startHost(t, file), wechat: w, file: file}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return g
}

// call sends a request of a caller and returns the answer with its body.
func (g *gatewayTown) call(t testing.TB, method, path, key, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.url(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

// codeOf is the code of an error of ours, "" of what is none.
func codeOf(answer string) string {
	var body errorBody
	if json.Unmarshal([]byte(answer), &body) != nil {
		return ""
	}
	return body.Error.Code
}

// TestGateway: a call goes to WeChat with the app's token, and its answer comes
// back; errcodes are told in headers.
func TestGateway(t *testing.T) {
	g := newGatewayTown(t)
	resp, answer := g.call(t, http.MethodGet, "/api/shop/cgi-bin/user/get?lang=zh_CN", crmKey, "")
	if resp.StatusCode != http.StatusOK || !strings.Contains(answer, `"total"`) {
		t.Errorf("user/get: %d %s", resp.StatusCode, answer)
	}
	got := g.wechat.Received(simulator.Where{Path: "/cgi-bin/user/get"})
	if len(got) != 1 || got[0].Query.Get("lang") != "zh_CN" || got[0].Token != simulator.Current || got[0].Header.Get("Authorization") != "" {
		t.Errorf("WeChat got %+v", got)
	}
	g.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/message/**"}, Times: 1, Errcode: 45015})
	resp, answer = g.call(t, http.MethodPost, "/api/shop/cgi-bin/message/custom/send", crmKey, `{"touser":"o1"}`)
	if resp.StatusCode != http.StatusOK || !strings.Contains(answer, "45015") || resp.Header.Get("Weft-Error-Class") != "user_state" || resp.Header.Get("Weft-Error-Advice") == "" {
		t.Errorf("45015: %d %s %v", resp.StatusCode, answer, resp.Header)
	}
	for _, secret := range g.wechat.Issued() {
		if strings.Contains(answer, secret) || strings.Contains(g.log.String(), secret) {
			t.Error("a secret is told")
		}
	}
}

// TestGatewayTrace: WeChat is asked in the caller's trace, or in a new one without
// the state of another.
func TestGatewayTrace(t *testing.T) {
	g := newGatewayTown(t)
	const id = "0af7651916cd43dd8448eb211c80319c"
	for parent, want := range map[string]string{"00-" + id + "-b7ad6b7169203331-01": "a=1", "00-" + id + "-0000000000000000-01": "", "": ""} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url("/api/shop/cgi-bin/user/get"), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {"Bearer " + crmKey}, "Traceparent": {parent}, "Tracestate": {"a=1"}}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		got := g.wechat.Received(simulator.Where{Path: "/cgi-bin/user/get"})
		h := got[len(got)-1].Header
		if h.Get("Tracestate") != want || strings.Contains(h.Get("Traceparent"), id) != (want != "") || len(h.Get("Traceparent")) != 55 {
			t.Errorf("%q: %v", parent, h)
		}
	}
}

// TestGatewayScope: who may not, gets no further than the host.
func TestGatewayScope(t *testing.T) {
	g := newGatewayTown(t)
	g.call(t, http.MethodGet, "/api/shop/cgi-bin/user/get", crmKey, "") // a token is there
	before := g.wechat.Count(simulator.Where{}).Calls
	for _, c := range []struct {
		method, path, key string
		status            int
		code              string
	}{
		{"GET", "/api/shop/cgi-bin/user/get", "", 401, "unauthorized"},
		{"GET", "/api/shop/cgi-bin/user/get", "wk_nobody", 401, "unauthorized"},
		{"GET", "/api/nowhere/cgi-bin/user/get", "", 401, "unauthorized"},
		{"GET", "/api/nowhere/cgi-bin/user/get", crmKey, 403, "outside_scope"},
		{"GET", "/api/later/cgi-bin/user/get", crmKey, 404, "not_found"},
		{"GET", "/api/bare/cgi-bin/user/get", crmKey, 503, "app_unavailable"},
		{"GET", "/api/sh%6fp/cgi-bin/user/get", crmKey, 403, "outside_scope"},
		{"GET", "/api/shop/cgi-bin/menu/get", crmKey, 403, "outside_scope"},
		{"POST", "/api/shop/cgi-bin/user/get", crmKey, 403, "outside_scope"},
		{"GET", "/api/shop/cgi-bin/user/../menu/get", crmKey, 403, ""},
		{"GET", "/api/shop/cgi-bin/user/%2e%2e/menu/get", crmKey, 403, ""},
		{"GET", "/api/shop/cgi-bin/user/..%2fmenu%2fget", crmKey, 403, ""},
		{"GET", "/api/shop/cgi-bin//user/get", crmKey, 403, ""},
		{"GET", "/api/shop//cgi-bin/user/get", crmKey, 403, ""},
		{"GET", "/api/shop/cgi-bin/user/get?access_token=x", crmKey, 403, ""},
		{"GET", "/api/shop/cgi-bin/user/get?Access%5Ftoken=x", crmKey, 403, ""},
		{"POST", "/api/shop/cgi-bin/stable_token", slowKey, 403, ""},
		{"GET", "/api/shop/cgi-bin/user/get", slowKey, 429, "limited"},
		{"GET", "/api/shop", crmKey, 404, "not_found"},
		{"GET", "/credential/shop/access_token", crmKey, 403, "outside_scope"},
		{"GET", "/credential/shop/wx_card_ticket", legacyKey, 403, "outside_scope"},
		{"GET", "/credential/bare/access_token", legacyKey, 403, "outside_scope"},
		{"GET", "/credential/shop/access_token", "", 401, "unauthorized"},
		{"GET", "/api/shop/cgi-bin/user/get", legacyKey, 403, "outside_scope"},
	} {
		resp, answer := g.call(t, c.method, c.path, c.key, "")
		if resp.StatusCode != c.status || c.code != "" && codeOf(answer) != c.code || codeOf(answer) == "" {
			t.Errorf("%s %s with %q: %d %s, want %d %s", c.method, c.path, c.key, resp.StatusCode, answer, c.status, c.code)
		}
	}
	if after := g.wechat.Count(simulator.Where{}).Calls; after != before {
		t.Errorf("%d calls went to WeChat", after-before)
	}
}

// TestCredentialPathsAgree: pipeline.yaml takes no path that the gateway refuses to
// everybody, and refuses no other. The paths are those that either of them has in
// its code.
func TestCredentialPathsAgree(t *testing.T) {
	paths := map[string]bool{}
	for file, name := range map[string]string{"../config/patterns.go": "givesCredential", "../gateway/scope.go": "handsOut"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		before := len(paths)
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != name {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
					path, err := strconv.Unquote(text.Value)
					if err != nil {
						t.Fatal(err)
					}
					paths[path] = true
				}
				return true
			})
		}
		if before == 0 && len(paths) < 5 {
			t.Fatalf("%s has no %s with paths in it", file, name)
		}
	}
	for path := range paths {
		trimmed := strings.TrimSuffix(path, "/")
		for _, p := range []string{trimmed, strings.ToUpper(trimmed), trimmed + "x", trimmed + "/x", "/x" + trimmed} {
			_, refused := gateway.NewTarget("GET", p, "")
			_, problems := config.Parse("p.yaml", []byte("weft: 1\ncallers:\n"+keyLine("crm", crmKey)+", apps: all, paths: [ "+p+" ] }\n"), config.Options{})
			if wrong := problems.Err(); (wrong == nil) != (refused == nil) {
				t.Errorf("%s: pipeline.yaml says %v, the gateway %v", p, wrong, refused)
			}
		}
	}
}

// TestCallbackPathsBesideTheGateway: a callback_path that begins as the gateway's
// paths do stays the app's.
func TestCallbackPathsBesideTheGateway(t *testing.T) {
	h := startHost(t, writeConfig(t, "apps:\n"+appYAML("shop", "plain", "callback_path: /api/v1/wechat\n")+
		appYAML("club", "plain", "callback_path: /credential/old/path\n")+appYAML("page", "plain", "callback_path: /jsapi/old/sign\n")+"pipeline: { stages: [ { reply: { text: hello } } ] }\n"))
	for _, path := range []string{"/api/v1/wechat", "/credential/old/path", "/jsapi/old/sign"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r, err := http.NewRequestWithContext(t.Context(), method, h.url(path), strings.NewReader("<xml/>"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if codeOf(string(answer)) != "not_authentic" {
				t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
			}
		}
	}
}

// TestCredentialPath: a system that can't go through the gateway reads what it
// needs, and names what WeChat refused.
func TestCredentialPath(t *testing.T) {
	g := newGatewayTown(t)
	type credential struct {
		Value     string
		ExpiresIn int64 `json:"expires_in"`
	}
	read := func(method, path, body string) (c credential) {
		t.Helper()
		resp, answer := g.call(t, method, path, legacyKey, body)
		if err := json.Unmarshal([]byte(answer), &c); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, answer, resp.Header)
		}
		return c
	}
	first := read("GET", "/credential/shop/access_token", "")
	if _, state := g.wechat.TokenState(first.Value); state != simulator.Current || first.ExpiresIn < 7100 || first.ExpiresIn > 7200 {
		t.Errorf("the token is %s, for %d s", state, first.ExpiresIn)
	}
	if again := read("GET", "/credential/shop/access_token", ""); again.Value != first.Value {
		t.Error("the second read gave another token")
	}
	ticket := read("GET", "/credential/shop/jsapi_ticket", "")
	if ticket.Value == "" || ticket.Value == first.Value {
		t.Error("there is no ticket")
	}
	g.wechat.Invalidate(testAppID)
	healed := read("POST", "/credential/shop/access_token", `{"value":"`+first.Value+`"}`)
	if _, state := g.wechat.TokenState(healed.Value); healed.Value == first.Value || state != simulator.Current {
		t.Errorf("after it was refused: the token is %s", state)
	}
	for _, body := range []string{"", "{}", `{"value":1}`, `{"value":""}`, "[" + strings.Repeat("[", 9000)} {
		if resp, answer := g.call(t, "POST", "/credential/shop/access_token", legacyKey, body); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%.20q: %d %s", body, resp.StatusCode, answer)
		}
	}
	if resp, _ := g.call(t, "DELETE", "/credential/shop/access_token", legacyKey, ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", resp.StatusCode)
	}
	reads := g.log.lines(t, "credential read")
	for _, line := range reads {
		if line["caller"] != "legacy" || line["app"] != "shop" || line["kind"] == "" || line["trace"] == "" {
			t.Errorf("the audit has %v", line)
		}
	}
	if len(reads) != 4 {
		t.Errorf("%d reads are in the log, want 4", len(reads))
	}
	for _, secret := range g.wechat.Issued() {
		if strings.Contains(g.log.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

// TestCredentialsTold: metrics and status have how each credential is, and not what
// it is.
func TestCredentialsTold(t *testing.T) {
	g := newGatewayTown(t)
	if got := g.status(t).Credentials; len(got) != 0 {
		t.Errorf("before anybody wanted one: %+v", got)
	}
	g.call(t, "GET", "/api/shop/cgi-bin/user/get", crmKey, "")
	got := g.status(t).Credentials
	if len(got) != 1 || got[0].App != "shop" || got[0].State != credentialValid || got[0].Expires == nil || got[0].Fetches["ok"] != 1 {
		t.Errorf("the status has %+v", got)
	}
	metrics := g.metrics(t)
	for _, want := range []string{
		`weft_credential_fetches_total{app="shop",kind="access_token",result="ok"} 1`, `weft_credential_left_seconds{app="shop",kind="access_token"} 7`,
		`wx_api_call_total{app="shop",endpoint="/cgi-bin/user/get",result="ok"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for _, secret := range g.wechat.Issued() {
		if strings.Contains(metrics, secret) {
			t.Error("a secret is in the metrics")
		}
	}
}

// TestGatewayReload: requests end where they began, and the next ones find the
// callers of the new configuration.
func TestGatewayReload(t *testing.T) {
	g := newGatewayTown(t)
	g.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/user/get"}, Times: 1, Delay: 300 * time.Millisecond})
	begun := g.wechat.Count(simulator.Where{}).Calls
	var slow sync.WaitGroup
	slow.Go(func() {
		if resp, answer := g.call(t, "GET", "/api/shop/cgi-bin/user/get", crmKey, ""); resp.StatusCode != http.StatusOK {
			t.Errorf("a call over a reload: %d %s", resp.StatusCode, answer)
		}
	})
	waitUntil(t, "the call is at WeChat", func() bool { return g.wechat.Count(simulator.Where{}).Calls > begun })
	src, err := os.ReadFile(g.file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(src), keyLine("crm", crmKey), keyLine("crm", "wk_another"), 1)
	if err := os.WriteFile(g.file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := g.Reload(t.Context(), "test"); err != nil || r.Result != reloadOK {
		t.Fatalf("%+v %v", r, err)
	}
	if resp, _ := g.call(t, "GET", "/api/shop/cgi-bin/user/get", crmKey, ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the old key: %d", resp.StatusCode)
	}
	fetches := len(g.wechat.Fetches(testAppID, simulator.StableToken))
	if resp, answer := g.call(t, "GET", "/api/shop/cgi-bin/user/get", "wk_another", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the new key: %d %s", resp.StatusCode, answer)
	}
	slow.Wait()
	if n := len(g.wechat.Fetches(testAppID, simulator.StableToken)); n != fetches || n != 1 {
		t.Errorf("%d tokens were fetched, want 1: a reload keeps it", n)
	}
}

// TestGatewayAfterTheEnd: a request that comes after the last generation was retired
// is answered, and doesn't wait for another one.
func TestGatewayAfterTheEnd(t *testing.T) {
	page := &pages{appID: testAppID, hosts: map[string]bool{"https://www.acme.cn": true}}
	h, last := new(Host), &generation{assembly: &assembly{pages: map[string]*pages{"shop": page}}}
	h.current.Store(last)
	if err := last.retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, answer := range []echo.HandlerFunc{h.answerAPI, h.answerCredential, h.answerSign} {
		ended := make(chan error, 1)
		go func() {
			ec := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/api/shop/x?url=https%3A%2F%2Fwww.acme.cn%2F", nil), httptest.NewRecorder())
			ec.SetParamNames("app")
			ec.SetParamValues("shop")
			ended <- answer(ec)
		}()
		select {
		case err := <-ended:
			if err != errStopping {
				t.Errorf("got %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("it waits")
		}
	}
}

// TestGatewayBrokenBody: a call whose body breaks off is not made.
func TestGatewayBrokenBody(t *testing.T) {
	g := newGatewayTown(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url("/api/shop/cgi-bin/message/custom/send"), io.MultiReader(strings.NewReader("{"), brokenReader{io.ErrUnexpectedEOF}))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+crmKey)
	resp, err := http.DefaultClient.Do(r)
	if err == nil {
		resp.Body.Close()
		t.Errorf("a body that broke off was answered with %d", resp.StatusCode)
	}
	if got := g.wechat.Count(simulator.Where{Path: "/cgi-bin/message/custom/send"}).Executed; got != 0 {
		t.Errorf("%d calls were executed", got)
	}
}

// waitUntil waits for what goroutines do.
func waitUntil(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

// TestPluginBehindGateway: a plugin of a serving host asks WeChat's API, with the
// same token as callers.
func TestPluginBehindGateway(t *testing.T) {
	w := simulator.New(simulator.Options{})
	w.Set(simulator.App{ID: testAppID, Secret: testSecret})
	srv := httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); srv.Close() })
	file := writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "app_secret: "+testSecret+"\napi_base: \""+srv.URL+"\"\n")+fmt.Sprintf(`plugins:
  asker: { source: %q, grants: { api: [ "/cgi-bin/user/*" ] }, limits: { timeout: 3s } }
callers:
%s, apps: [shop], paths: ["GET /cgi-bin/user/*"] }
pipeline: { stages: [ { plugin: asker } ] }
`, asker(t), keyLine("crm", crmKey)))
	g := &gatewayTown{testHost: startHost(t, file), wechat: w}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	if got := g.say(t, "shop", "1", "api GET /cgi-bin/user/get"); !strings.HasPrefix(got, "200  {") || !strings.Contains(got, `"total"`) {
		t.Errorf("the plugin was answered %q", got)
	}
	if got := g.say(t, "shop", "2", "api GET /cgi-bin/menu/get"); !strings.Contains(got, "DENIED") {
		t.Errorf("outside its grant: %q", got)
	}
	if resp, answer := g.call(t, "GET", "/api/shop/cgi-bin/user/get", crmKey, ""); resp.StatusCode != http.StatusOK {
		t.Errorf("a caller: %d %s", resp.StatusCode, answer)
	}
	if n := len(w.Fetches(testAppID, simulator.StableToken)); n != 1 {
		t.Errorf("%d tokens were fetched for a plugin and a caller", n)
	}
}
