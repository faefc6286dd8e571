package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/wechat"
)

// TestFindsLeaks holds that the search for secrets finds one, in any output.
func TestFindsLeaks(t *testing.T) {
	secrets := map[string]string{"8_TheTokenThatWeChatHasGiven0123456789": "a token"}
	for text, found := range map[string]int{
		"nothing":      0,
		"8_TheTokenTh": 0,
		"GET /cgi-bin/user/get?access_token=8_TheTokenThatWeChatHasGiven0123456789: EOF": 1,
		"token=8_TheTokenThatWeChatHasG…":                                                1,
	} {
		if got := leaks(text, secrets); len(got) != found {
			t.Errorf("in %q: %v", text, got)
		}
	}
}

// Whatever goes wrong, no secret is told, neither in an answer nor in what a host
// writes. All other tests with a fleet look for secrets in the output of their
// hosts, too.
func TestLeaks(t *testing.T) {
	node, store := oneRedis(t)
	f := newFleet(t, 2, simulator.Rules{}, store)
	l := newFleetLoad(f)
	token, err := l.token(0, http.MethodGet, "")
	if err != nil {
		t.Fatal(err)
	}
	f.callersAstray(t, l, token)
	f.wechatAstray(t, l)
	f.accountAstray(t, l)
	f.callbacksAstray(t)
	f.adminAstray(t, token)

	node.Stop()
	for place := range f.hosts {
		l.one()
		l.ask(place, http.MethodPost, "/credential/shop/access_token", `{"value":"`+token+`"}`)
	}
	node.Restart()
	f.wrongConfigs(t, node.Addr)
	for _, h := range f.hosts {
		if err := h.terminate(); err != nil {
			t.Errorf("weft serve after SIGTERM: %v", err)
		}
	}
	if said := f.said.String(); len(said) < 10_000 {
		t.Errorf("callers were told %d bytes only", len(said))
	}
}

// callersAstray are callers who ask for what they may not have.
func (f *fleet) callersAstray(t *testing.T, l *fleetLoad, token string) {
	t.Helper()
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/api/shop/cgi-bin/user/get?access_token=" + token, "", 403},
		{"GET", "/api/shop/cgi-bin/token?grant_type=client_credential&appid=" + testAppID + "&secret=" + fleetSecret, "", 403},
		{"POST", "/api/shop/cgi-bin/stable_token", `{"secret":"` + fleetSecret + `"}`, 403},
		{"GET", "/api/shop/sns/" + token, "", 403},
		{"GET", "/api/" + token + "/cgi-bin/user/get", "", 403},
		{"GET", "/credential/shop/" + token, "", 403},
		{"GET", "/credential/shop/wx_card_ticket", "", 403},
		{"PUT", "/credential/shop/access_token", token, 405},
		{"POST", "/credential/shop/access_token", `{"value":"` + token, 400},
		{"GET", "/wx/" + token + "?secret=" + fleetSecret, "", 404},
	} {
		status, _, err := l.ask(0, c.method, c.path, c.body)
		if err != nil || status != c.status {
			t.Errorf("%s %.30s: %d %v, want %d", c.method, c.path, status, err, c.status)
		}
	}
	r, err := http.NewRequest(http.MethodGet, f.at(0)+"/api/shop/cgi-bin/user/get", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+fleetCaller+"x")
	f.hear(t, r, http.StatusUnauthorized)
}

// hear sends a request and keeps what is answered.
func (f *fleet) hear(t *testing.T, r *http.Request, want int) string {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(reason(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Errorf("%s %.40s: %d %v, want %d", r.Method, r.URL.Path, resp.StatusCode, err, want)
	}
	fmt.Fprintln(f.said, resp.StatusCode, resp.Header, string(answer))
	return string(answer)
}

// wechatAstray is a WeChat whose answers don't come as they should.
func (f *fleet) wechatAstray(t *testing.T, l *fleetLoad) {
	t.Helper()
	for _, fault := range []simulator.Fault{
		{Errcode: -1},
		{Errcode: 40001},
		{Errcode: 42001},
		{Errcode: 45011},
		{Errcode: 48001},
		{Ends: simulator.CutBefore},
		{Ends: simulator.CutAfter},
		{Ends: simulator.Truncated, Size: 5},
		{Ends: simulator.Garbage},
		{Ends: simulator.BadGateway},
		{Ends: simulator.Huge, Size: 1 << 20},
	} {
		fault.Where, fault.Times = simulator.Where{Path: "/cgi-bin/*/*/**"}, 3 // not the calls for tokens
		lift := f.wechat.Strike(fault)
		for range 3 {
			l.one()
		}
		lift()
		l.ask(1, http.MethodGet, "/credential/shop/jsapi_ticket", "")
	}
}

// accountAstray is a host that has another secret than WeChat.
func (f *fleet) accountAstray(t *testing.T, l *fleetLoad) {
	t.Helper()
	f.add(t, strings.Replace(fleetConfig(f.front.url, "embedded: {}"), fleetSecret, fleetWrong, 1))
	for _, path := range []string{"/credential/shop/access_token", "/api/shop/cgi-bin/user/get"} {
		if status, _, err := l.ask(2, http.MethodGet, path, ""); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("%s of an app whose secret is refused: %d %v", path, status, err)
		}
	}
	if errors := f.wechat.Count(simulator.Where{}).Errcodes; errors[40125] == 0 {
		t.Errorf("WeChat refused no secret: %v", errors)
	}
}

// callbacksAstray are callbacks that nobody at WeChat has signed. What would have
// been right is told to nobody.
func (f *fleet) callbacksAstray(t *testing.T) {
	t.Helper()
	account, err := wechat.NewAccount(wechat.AccountConfig{AppID: testAppID, Mode: wechat.Encrypted, Token: testToken, AESKey: testAESKey, MaxSkew: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	body, q := account.AppendCallback(nil, []byte("<xml><ToUserName>gh_1</ToUserName></xml>"), wechat.XML, "gh_1", time.Now().Unix(), "n", [16]byte{1})
	wrong := strings.Repeat("0", len(q.MsgSignature))
	r, err := http.NewRequest(http.MethodPost, f.at(0)+fmt.Sprintf("/wx/shop?signature=%s&timestamp=%s&nonce=%s&encrypt_type=aes&msg_signature=%s", wrong, q.Timestamp, q.Nonce, wrong), strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	answer := f.hear(t, r, http.StatusForbidden)
	for _, told := range []string{answer, f.hosts[0].logs.String()} {
		if strings.Contains(told, q.MsgSignature) || strings.Contains(told, q.Signature) {
			t.Error("the signature that was expected is told")
		}
	}
}

// adminAstray asks the admin listener, with its token and without.
func (f *fleet) adminAstray(t *testing.T, token string) {
	t.Helper()
	_, after, _ := strings.Cut(f.hosts[0].logs.String(), `"admin":"`)
	addr, _, _ := strings.Cut(after, `"`)
	for _, path := range []string{"/metrics", "/admin/v1/status", "/admin/v1/queue/events", "/readyz", "/admin/v1/" + token} {
		for _, key := range []string{"", fleetAdmin + "x", fleetAdmin} {
			r, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+key)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close() // it was read
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintln(f.said, resp.StatusCode, resp.Header, string(answer))
		}
	}
}

// wrongConfigs are configurations that don't start, or start and don't work.
func (f *fleet) wrongConfigs(t *testing.T, redis string) {
	t.Helper()
	right := fleetConfig(f.front.url, fmt.Sprintf(`redis: { addrs: [%q], password: %s }`, redis, fleetPassword))
	for what, change := range map[string][]string{
		"a key that is too short":   {"key: \"", "key: \"short"},
		"a password over two lines": {"password: " + fleetPassword, "password: \"" + fleetPassword + "\\n" + fleetPassword + "\""},
		"a mapping for a secret":    {"app_secret: " + fleetSecret, "app_secret: { " + fleetSecret + ": 1 }"},
		"no YAML":                   {"app_secret: " + fleetSecret, "app_secret: \"" + fleetSecret},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(strings.NewReplacer(change...).Replace(right)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"check", "serve"} {
			cmd := exec.CommandContext(t.Context(), weftBinary(t), command, "-c", "pipeline.yaml")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err == nil || len(out) == 0 {
				t.Errorf("weft %s with %s: %v, it wrote %d bytes", command, what, err, len(out))
			}
			for _, found := range leaks(string(out), f.secrets()) {
				t.Errorf("weft %s with %s tells %s", command, what, found)
			}
		}
	}
}
