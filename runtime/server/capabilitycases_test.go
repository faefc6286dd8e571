package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

// askingSections are an app whose plugin asks a service and WeChat's API. Nobody
// listens where they are.
func askingSections(t *testing.T) string {
	t.Helper()
	return "apps:\n" + appYAML("shop", "plain", "app_secret: s3cret\n") + fmt.Sprintf(`upstreams:
  acme-orders: { url: "http://127.0.0.1:1/", private: [127.0.0.0/8] }
plugins:
  asker: { source: %q, grants: { api: [ "/cgi-bin/**" ], fetch: { orders: acme-orders } } }
pipeline: { stages: [ { plugin: asker } ] }
`, asker(t))
}

// TestAskingCases: cases answer in the place of WeChat and of services, by the most
// exact key, and say what is to be asked.
func TestAskingCases(t *testing.T) {
	report := runCases(t, askingSections(t), `
weft: 1
app: shop
upstreams:
  acme-orders: { body: any }
  acme-orders GET /orders/*: { body: some, type: text/plain }
wechat:
  "/cgi-bin/**": { body: '{"errcode":40003,"errmsg":"x"}' }
cases:
  - name: of the file
    events:
      - { event: { content: 'fetch orders GET /a?b=c' }, reply: { text: 200 any }, asks: [ 'acme-orders GET /a?b=c' ] }
      - { event: { content: 'fetch orders POST /orders/1 x' }, reply: { text: 200 any }, asks: [ 'acme-orders POST /orders/1 "x"' ] }
      - { event: { content: 'fetch orders GET /orders/1' }, reply: { text: '200 some Content-Type=text/plain' } }
      - { event: { content: 'api GET /cgi-bin/a' }, reply: { text: "api /cgi-bin/a: errcode 40003 (caller_error)" }, asks: [ wechat GET /cgi-bin/a ] }
      - { event: { content: 'api GET /wxa/a' }, reply: { text: "api /wxa/a: DENIED: the call is outside of what is granted" }, asks: [] }
      - { event: { content: nothing }, asks: [] }
  - name: its own
    wechat: { GET /cgi-bin/b: { body: "{}" } }
    upstreams: { acme-orders GET /orders/1: { status: 404 } }
    events:
      - event: { content: "api GET /cgi-bin/b\nfetch orders GET /orders/1" }
        reply: { text: "404 " }
        asks: [ wechat GET /cgi-bin/b, acme-orders GET /orders/1 ]
      - { event: { content: 'api GET /cgi-bin/b' }, wechat: { GET /cgi-bin/b: { body: '{"errcode":45065}' } }, reply: { text: '200 treat_as_ok {"errcode":45065}' } }
      - { event: { content: 'fetch orders GET /orders/2' }, reply: { text: '200 some Content-Type=text/plain' } }
`)
	mustPass(t, report, 2)
	report = runCases(t, askingSections(t), `
weft: 1
app: shop
cases:
  - name: nothing is answered
    events:
      - { event: { content: 'api POST /cgi-bin/a? x' }, asks: [] }
      - { event: { content: 'fetch orders GET /a' } }
      - { event: { content: 'api POST /cgi-bin/message/custom/send x' }, sends: none, wechat: { "/cgi-bin/**": { body: "{}" } } }
      - { event: { content: 'api POST /cgi-bin/message/custom/typing x' }, sends: none, wechat: { "/cgi-bin/**": { body: "{}" } } }
      - { event: { content: 'api POST /cgi-bin/message/mass/get x' }, sends: none, wechat: { "/cgi-bin/**": { body: "{}" } } }
      - { event: { content: 'api POST /cgi-bin/message/mass/send' }, sends: none, wechat: { "/cgi-bin/**": { body: "{}" } } }
`)
	want := `cases.yaml:7:9: WeChat was asked POST /cgi-bin/a, and has no answer here (write wechat: { "POST /cgi-bin/a": { body: … } })
cases.yaml:7:63: asks: expected [], got ["wechat POST /cgi-bin/a \"x\""]
cases.yaml:8:9: upstream acme-orders GET /a was asked, and has no answer here (write upstreams: { "acme-orders GET /a": { body: … } }, or of acme-orders)
cases.yaml:9:9: sends: expected none, got "wechat POST /cgi-bin/message/custom/send \"x\""
cases.yaml:12:9: sends: expected none, got "wechat POST /cgi-bin/message/mass/send"
`
	if got := failures(report); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestAskingPluginCases: the cases of a plugin name services as it does, and what
// its manifest declares is granted.
func TestAskingPluginCases(t *testing.T) {
	dir := t.TempDir()
	wasm, err := os.ReadFile(asker(t))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "asker.wasm"), wasm, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	report := runPluginCases(t, dir, `
weft: 1
upstreams: { orders: { body: o }, stock GET /s: { body: s } }
wechat: { POST /wxa/*: { body: "{}" } }
cases:
  - name: what a plugin asks
    events:
      - { event: { content: "fetch stock GET /s\nfetch orders GET /s" }, reply: { text: 200 o }, asks: [ stock GET /s, orders GET /s ] }
      - { event: { content: 'api POST /wxa/a' }, reply: { text: "200  {}" }, asks: [ wechat POST /wxa/a ] }
      - { event: { content: 'api GET /wxa/a' }, reply: { text: "api /wxa/a: DENIED: the call is outside of what is granted" } }
`)
	mustPass(t, report, 1)
}

// TestReplayAsks: what a plugin asks is an effect that two configurations may
// differ in.
func TestReplayAsks(t *testing.T) {
	file := writeConfig(t, askingSections(t))
	against := filepath.Join(filepath.Dir(file), "next.yaml")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(against, []byte(strings.Replace(string(text), "/cgi-bin/**", "/cgi-bin/b", 1)), 0o600)
	}
	cases := filepath.Join(filepath.Dir(file), "cases.yaml")
	if err == nil {
		err = os.WriteFile(cases, []byte(`
weft: 1
app: shop
wechat: { /cgi-bin/**: { body: "{}" } }
cases:
  - name: a
    events:
      - { event: { content: "api GET /cgi-bin/a\nnothing" } }
      - { event: { content: "api GET /cgi-bin/b" } }
`), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	report, err := Replay(t.Context(), ReplayOptions{Files: []string{cases}, Config: file, Against: against, Fuel: -1})
	if err != nil || report.Events != 2 || report.Effects != 1 {
		b, _ := json.Marshal(report)
		t.Fatalf("%v: %s", err, b)
	}
	if d := report.Differences; d[len(d)-1].Config != "asked [wechat GET /cgi-bin/a]" && d[0].Config != "asked [wechat GET /cgi-bin/a]" {
		t.Errorf("%+v", d)
	}
}

// TestCheckOfAsking: what a plugin may ask is told before it serves.
func TestCheckOfAsking(t *testing.T) {
	report, err := CheckPlugin(t.Context(), asker(t))
	if err != nil || !report.OK {
		t.Fatal(err, report)
	}
	for _, want := range []string{
		`may have in pipeline.yaml: grants: { api: [ "/cgi-bin/**", "POST /wxa/*" ] }; without it calls answer DENIED`,
		"may have in pipeline.yaml: grants: { fetch: { orders: …, stock: … } }; without it calls answer DENIED",
	} {
		if !strings.Contains(strings.Join(report.Notes, "\n"), want) {
			t.Errorf("no note %q in %q", want, report.Notes)
		}
	}
	sections := strings.Replace(askingSections(t), "  shop:\n", "  shop:\n    upstreams: { orders: acme-orders }\n", 1)
	checked, err := Check(t.Context(), writeConfig(t, sections), false)
	if err != nil || len(checked.Problems) > 0 || len(checked.Ceilings) != 2 || checked.Ceilings[0].Plugin != "asker" || checked.Ceilings[0].AtOnce != 64 {
		t.Errorf("%+v, %v", checked, err)
	}
	file := writeConfig(t, strings.Replace(askingSections(t), "fetch: { orders:", "fetch: { ordres:", 1))
	found, err := Check(t.Context(), file, false)
	if text := fmt.Sprint(found, err); !strings.Contains(text, "plugins.asker.grants.fetch has ordres, which the manifest doesn't declare; it declares orders, stock") {
		t.Error(text)
	}
}

// TestRecordAsks: what plugins were answered is in the recording, with nobody's
// data, and passes at once.
func TestRecordAsks(t *testing.T) {
	orders := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"nickname":"张三丰","phone":"13812345678", "n": %d,"list":[{"openid":"oAbcdefghijklmnopqrstuvwx-_1"}]}`, 7)
	}))
	defer orders.Close()
	file := writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "")+"upstreams:\n"+upstreamYAML("acme-orders", orders.URL, "")+fmt.Sprintf(`plugins:
  asker: { source: %q, grants: { fetch: { orders: acme-orders } } }
pipeline: { stages: [ { plugin: asker } ] }
`, asker(t)))
	h := startHost(t, file)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	const user = "oAbcdefghijklmnopqrstuvwx-_1"
	account := testAccount(t, wechat.Encrypted)
	texts := []string{"fetch orders GET /users/" + user, "fetch orders GET /a", "fetch orders GET /%E5%AD%97", "fetch orders POST /gone"}
	src, report := record(t, h, RecordOptions{App: "shop", Count: len(texts)}, func() {
		for i, text := range texts {
			postTo(t, h.url("/wx/shop"), seal(account, textFrom(user, fmt.Sprint(i), text), time.Now()))
		}
	})
	for _, personal := range []string{"张三丰", "13812345678", user} {
		if strings.Contains(src, personal) {
			t.Errorf("the file has %q:\n%s", personal, src)
		}
	}
	if report.Events != len(texts) || strings.Count(src, "acme-orders GET /") != 2 || strings.Count(src, "acme-orders:") != 1 || strings.Count(src, "reply:") != 3 {
		t.Errorf("%+v\n%s", report, src)
	}
	mustPass(t, runCasesBeside(t, file, src), 1)
}

// TestReplacedJSON: what is personal goes by the names of leaves, and the rest
// stands as it was.
func TestReplacedJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{ "a": 1.50, "b": [true, null, -2e3], "c\u0041": "x\"y" }`: `{ "a": 1.50, "b": [true, null, -2e3], "c\u0041": "x\"y" }`,
		`{"nickname":"张三","x":["13812345678"]}`:                     `{"nickname":"name1","x":["13900000001"]}`,
		`{"nick_name":[{"a":1},"李四"],"b":"李四"}`:                     `{"nick_name":[{"a":1},"name1"],"b":"name1"}`,
		`{"lat":31.2304,"z":31}`:                                    `{"lat":1.000000,"z":31}`,
		`"13812345678"`:                                             `"13900000001"`,
		`{"a":"13812345678"`:                                        `{"a":"13900000001"`,
		``:                                                          ``,
	} {
		if got := newReplacer().json(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzReplacedJSON: what was JSON is JSON.
func FuzzReplacedJSON(f *testing.F) {
	for _, text := range []string{`{"a":[1,{"nickname":"b"}]}`, `"`, `[`, `{"lat":1e5,"\u006eickname":"\ud800"}`, `-0`, ` {} `} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := newReplacer().json(text); json.Valid([]byte(text)) && !json.Valid([]byte(got)) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
