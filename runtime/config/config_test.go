package config_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// serverKey is base64 of 32 bytes of 3.
const serverKey = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="

const aesKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

// options knows the environment and the files of the tests.
func options() config.Options {
	env := map[string]string{"SHOP_TOKEN": "s3cret-token", "EMPTY": "", "NUMBER": "42", "WORDS": "two words", "NESTED": "${NUMBER}", "WORD": "plainsecret", "SERVER_KEY": serverKey}
	files := map[string]string{
		filepath.Join("testdata", "secrets", "aes"): aesKey + "\n",
		"line": "one\n\n", "crlf": "one\r\n", "binary": "a\x00b",
	}
	return config.Options{
		Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile: func(path string) ([]byte, error) {
			if v, ok := files[path]; ok {
				return []byte(v), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

func full(t testing.TB) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestParseFull(t *testing.T) {
	cfg, problems := config.Parse("testdata/full.yaml", full(t), options())
	if len(problems) > 0 {
		t.Fatalf("problems:\n%v", problems)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, want %#v", what, got, want)
		}
	}
	check("server", cfg.Server, config.Server{
		Listen: "127.0.0.1:8080", Admin: "127.0.0.1:9090", Data: "testdata/data", Inflight: 4096, Drain: 15 * time.Second,
		Public: "https://wx.acme.cn", Key: bytes.Repeat([]byte{3}, 32), PreviousKeys: [][]byte{bytes.Repeat([]byte{'A'}, 32)},
	})
	check("redis", cfg.Store, config.Store{Redis: &config.Redis{
		Addrs: []string{"10.0.3.5:26379", "sentinel.acme.internal:26379", "[fd00::1]:26379"}, Mode: config.RedisSentinel, Master: "weft",
		Username: "weft", Password: "s3cret-token", SentinelUsername: "watcher", SentinelPassword: "s3cret-token", DB: 3, Prefix: "acme:weft",
		TLS: &config.TLS{CA: "testdata/tls/ca.pem", Cert: "testdata/tls/weft.pem", Key: "testdata/tls/weft.key", ServerName: "redis.acme.internal"},
	}})
	shop, mini := cfg.Apps[0], cfg.Apps[1]
	check("shop.pos", shop.Pos.String(), "testdata/full.yaml:26:3")
	check("shop.token", shop.Token, "s3cret-token")
	check("shop.key", shop.EncodingAESKey, aesKey)
	check("shop.previous", *shop.Previous, config.Previous{
		Token: "oldtoken", EncodingAESKey: aesKey, Mode: "plain", Until: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
	})
	check("mini.type", mini.Type, config.MiniProgram)
	check("mini.max_skew", mini.MaxSkew, 10*time.Minute)
	if mini.Pipeline != cfg.Pipelines[0] || shop.Pipeline != mini.Pipeline {
		t.Error("the apps don't share pipeline main")
	}

	p := cfg.Pipelines[0]
	check("pipeline", []any{p.Name, p.AnswerWithin, p.Deadline, p.Dedupe, p.OrderUser, p.OnError.Kind, p.OnError.Reply.Text.Content},
		[]any{"main", 4 * time.Second, time.Minute, 2 * time.Second, true, config.GiveReply, "系统繁忙，请稍后再试"})
	guard, sw := p.Stages[0], p.Stages[1]
	check("guard", []any{guard.Name, guard.Plugin, guard.When, guard.WhenPos.Line, guard.OnError.Kind},
		[]any{"guard", cfg.Plugins[1], `type == "text"`, 77, config.Skip})
	check("switch", []any{sw.Name, len(sw.Switch), sw.Switch[2].When, sw.Switch[0].Stages[0].Name, sw.Switch[1].Stages[0].Name},
		[]any{"switch", 3, "", "welcome", "reply"})
	check("on_error plugin", sw.Switch[0].Stages[0].OnError.Plugin, cfg.Plugins[3])
	check("raw", string(sw.Switch[2].Stages[1].Reply.Raw.Body), "hi")
	par := p.Stages[2]
	check("parallel", []any{par.Name, par.Parallel[0].Plugin, par.Parallel[0].OnError.Kind, par.Parallel[1].Switch[0].Stages[0].Name},
		[]any{"parallel", cfg.Plugins[1], config.Queue, "score"})
	check("canary", *p.Stages[3].Canary, config.Canary{
		Pos: p.Stages[3].Canary.Pos, Lines: p.Stages[3].Canary.Lines, To: cfg.Plugins[4],
		Apps: []string{"shop"}, Users: []string{"oTester1"}, Percent: 12_500,
		Rollback: config.Rollback{Errors: 7000, MinEvents: 50, Window: 5 * time.Minute},
	})
	check("shadow", p.Stages[3].Shadow, cfg.Plugins[3])
	check("state_of", cfg.Plugins[4].StateOf, cfg.Plugins[1])
	check("always", p.Always[0].Plugin, cfg.Plugins[2])
	check("async", []bool{p.Always[0].Async, guard.Async}, []bool{true, false})
	check("sources", []string{cfg.Plugins[0].Source, cfg.Plugins[1].Source}, []string{"testdata/plugins/welcome.wasm", "/opt/faq.wasm"})
	check("limits", cfg.Plugins[0].Limits, config.Limits{
		Memory: 16 << 20, Timeout: 300 * time.Millisecond, Fuel: 50_000_000, Instances: 8,
		State: 1 << 30, HostCalls: 2000, Response: 4 << 20, Log: 16 << 10,
	})
	check("no limits", cfg.Plugins[1].Limits, config.Limits{})
	check("isolation", []config.Isolation{cfg.Plugins[0].Isolation, cfg.Plugins[1].Isolation}, []config.Isolation{config.IsolationShared, config.IsolationEvent})
	check("plugin apps", cfg.Plugins[0].Apps, cfg.Apps)
	checkFullAPI(cfg, check)
}

// checkFullAPI checks what calls WeChat, and who.
func checkFullAPI(cfg *config.Config, check func(what string, got, want any)) {
	shop, mini, away, welcome := cfg.Apps[0], cfg.Apps[1], cfg.Apps[2], cfg.Plugins[0]
	legacy, tokens, orders := cfg.Upstreams[0], cfg.Upstreams[1], cfg.Upstreams[2]
	check("shop's api", []any{shop.AppSecret, shop.APIBase, shop.API}, []any{"s3cret-token", "https://proxy.acme.cn/wechat", config.API{
		Timeout: 8 * time.Second, Daily: map[string]int64{"/cgi-bin/user/*": 90_000},
		Rate: map[string]config.Rate{"POST /cgi-bin/message/custom/send": {Calls: 50, Per: time.Second}, "/cgi-bin/user/*": {Calls: 1000, Per: time.Minute}},
	}})
	check("mini's api", []any{mini.APIBase, mini.API}, []any{"https://api.weixin.qq.com", config.API{Timeout: 10 * time.Second}})
	check("tokens' TLS", tokens.TLS, &config.TLS{CA: "testdata/tls/acme.pem", Cert: "/etc/weft.pem", Key: "/etc/weft.key", ServerName: "tokens.internal"})
	check("shop's credentials", shop.Credentials, config.Credentials{From: config.FromWeChat, Plain: true})
	check("mini's credentials", mini.Credentials, config.Credentials{
		From: config.FromRedis,
		Keys: config.CredentialKeys{AccessToken: "wx:token", JSAPITicket: "wx:ticket", WXCardTicket: "wx:card"},
	})
	check("away's credentials", away.Credentials, config.Credentials{From: config.FromHTTP, Upstream: tokens})
	check("shop's upstreams", shop.Upstreams, map[string]*config.Upstream{"shop": orders})
	check("welcome's grants", welcome.Grants, config.Grants{
		State: true, API: []string{"/cgi-bin/user/*", "POST /cgi-bin/message/**"}, Fetch: map[string]*config.Upstream{"shop": legacy},
	})
	check("crm", *cfg.Callers[0], config.Caller{
		Pos: cfg.Callers[0].Pos, Name: "crm", Hash: sha256.Sum256([]byte("test")), Apps: []string{"shop", "mini"},
		Paths: []string{"GET /cgi-bin/user/*", "/cgi-bin/message/**"}, Rate: config.Rate{Calls: 50, Per: time.Second},
	})
	check("old", *cfg.Callers[1], config.Caller{
		Pos: cfg.Callers[1].Pos, Name: "old", Hash: sha256.Sum256([]byte("test2")), AllApps: true,
		Credentials: []config.CredentialKind{config.AccessToken, config.JSAPITicket, config.WXCardTicket},
	})
}

func TestPluginConfig(t *testing.T) {
	cfg, problems := config.Parse("testdata/full.yaml", full(t), options())
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	shop, mini := cfg.Apps[0].Configs["welcome"], cfg.Apps[1].Configs["welcome"]
	if want := `{"a/b":{"c":"x"},"big":9007199254740993,"greeting":"欢迎来到 Acme","tags":["a",1,2.50,true]}`; string(shop.JSON) != want {
		t.Errorf("shop: got %s, want %s", shop.JSON, want)
	}
	if want := `{"a/b":{"c":"x"},"big":9007199254740993,"greeting":"欢迎关注","limit":3}`; string(mini.JSON) != want {
		t.Errorf("mini: got %s, want %s", mini.JSON, want)
	}
	if c := cfg.Apps[0].Configs["faq"]; string(c.JSON) != "{}" || c.ID != 0x44136fa355b3678a {
		t.Errorf("faq: got %s, %x", c.JSON, c.ID)
	}
	if len(cfg.Apps[0].Configs) != 5 {
		t.Errorf("configs: got %d, want those of 5 plugins", len(cfg.Apps[0].Configs))
	}
	for pointer, want := range map[string]string{
		"":            "46:7",  // the app's entry
		"/greeting":   "46:28", // the app's value
		"/tags/2":     "46:65",
		"/tags/9":     "46:58", // no such item: the list
		"/big":        "59:46", // the plugin's value
		"/a~1b/c":     "59:76",
		"/no/such":    "46:7",
		"/greeting/x": "46:28",
	} {
		if got := shop.PosOf(pointer).String(); got != "testdata/full.yaml:"+want {
			t.Errorf("PosOf(%q): got %s, want %s", pointer, got, want)
		}
	}
	if got := mini.Pos.String(); got != "testdata/full.yaml:59:5" {
		t.Errorf("mini.Pos: got %s", got)
	}
}

// TestParseServer reads a file of which nothing but the server section is right.
func TestParseServer(t *testing.T) {
	src := "weft: 2\nserver: { admin: \"127.0.0.1:1\", admin_token: \"${SHOP_TOKEN}\", key: \"${file:none}\", previous_keys: [ \"${NOT_SET}\" ] }\n" +
		"apps: { shop: { token: \"${NOT_SET}\", mode: loud } }\npipelin: [\"${file:none}\"]\n"
	s, problems := config.ParseServer("p.yaml", []byte(src), options())
	if len(problems) > 0 || s.Admin != "127.0.0.1:1" || s.AdminToken != "s3cret-token" || s.Listen != "127.0.0.1:8080" {
		t.Errorf("%+v, %v", s, problems)
	}
	for src, want := range map[string]string{
		"weft: 1\nserver: { admin: nowhere }\n":              "p.yaml:2:18: server.admin: nowhere is not HOST:PORT",
		"weft: 1\nserver: { admin_token: \"${NOT_SET}\" }\n": "p.yaml:2:24: ${NOT_SET} is not set",
		"server: [":  "p.yaml:1:1: not YAML",
		"server: []": "p.yaml:1:9: server: must be a mapping",
		"":           "the file is empty",
	} {
		s, problems := config.ParseServer("p.yaml", []byte(src), options())
		if s != nil || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %+v, %v, want %s", src, s, problems, want)
		}
	}
	if s, problems := config.ParseServer("p.yaml", []byte("weft: 1\n"), options()); len(problems) > 0 || s.Admin != "127.0.0.1:9090" {
		t.Errorf("without a section: %+v, %v", s, problems)
	}
}

func TestNoEnv(t *testing.T) {
	opt := config.Options{
		NoEnv:    true,
		Getenv:   func(string) (string, bool) { t.Error("environment read"); return "", false },
		ReadFile: func(string) ([]byte, error) { t.Error("file read"); return nil, errors.New("no") },
	}
	src := strings.Replace(string(full(t)), "limit: null", `limit: "${LIMIT}", secret: "${S}", off: "${OFF:-x}"`, 1)
	cfg, problems := config.Parse("p.yaml", []byte(src), opt)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	if cfg.Apps[0].Token != "" || cfg.Apps[0].EncodingAESKey != "" {
		t.Error("an open value is not empty")
	}
}

func TestNoEnvConfigIsOpen(t *testing.T) {
	src := strings.Replace(minimal, "source: a.wasm", "source: a.wasm\n    config: { a: { n: \"${N}\" }, b: [ 1 ], c: \"${C}\", d: \"${D:-5}\" }", 1)
	src = strings.Replace(src, `n: "${N}"`, "n: ${N}", 1)
	src = strings.Replace(src, "{ a: { n: ${N} }, b", "\n      a:\n        n: ${N}\n      rest: { b", 1)
	cfg, problems := config.Parse("p.yaml", []byte(src), config.Options{NoEnv: true})
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	c := cfg.Apps[0].Configs["a"]
	if want := `{"a":{"n":null},"rest":{"b":[1],"c":"","d":"5"}}`; string(c.JSON) != want {
		t.Errorf("got %s, want %s", c.JSON, want)
	}
	for pointer, open := range map[string]bool{"": true, "/a": true, "/a/n": true, "/a/n/x": true, "/rest/b": false, "/rest/b/0": false, "/rest/c": true, "/rest/d": false, "/rest": true} {
		if c.Open(pointer) != open {
			t.Errorf("Open(%q): got %v", pointer, !open)
		}
	}
}

const minimal = `weft: 1
apps:
  shop:
    type: official
    app_id: wx1
    token: t
    mode: plain
plugins:
  a:
    source: a.wasm
pipeline:
  stages:
    - plugin: a
`

func TestBounds(t *testing.T) {
	src := strings.Replace(minimal, "apps:\n", `server: { inflight: 1000 }
apps:
  b: { type: official, app_id: wx2, token: t, mode: plain, limits: { inflight: 200, workers: 4, queue: 50 } }
  c: { type: official, app_id: wx3, token: t, mode: plain, limits: { workers: 2 } }
`, 1)
	cfg, problems := config.Parse("pipeline.yaml", []byte(strings.Replace(src, "stages:", "overflow: ack\n  stages:", 1)), config.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if b, c := cfg.Apps[0].Limits, cfg.Apps[1].Limits; b != (config.AppLimits{Inflight: 200, Workers: 4, Queue: 50}) || c != (config.AppLimits{Workers: 2, Queue: 100_000}) {
		t.Errorf("got %+v and %+v", b, c)
	}
	if cfg.Server.Inflight != 1000 || cfg.Pipelines[0].Overflow != config.OverflowAck {
		t.Errorf("got %d, %s", cfg.Server.Inflight, cfg.Pipelines[0].Overflow)
	}
}

func TestDefaults(t *testing.T) {
	cfg, problems := config.Parse("pipeline.yaml", []byte(minimal), config.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := config.Server{Listen: "127.0.0.1:8080", Admin: "127.0.0.1:9090", Data: "data", Inflight: 4096, Drain: 10 * time.Second}
	if !reflect.DeepEqual(cfg.Server, want) || cfg.Store.Dir != "data" {
		t.Errorf("got %+v, %+v", cfg.Server, cfg.Store)
	}
	p := cfg.Pipelines[0]
	if p.AnswerWithin != 4500*time.Millisecond || p.Deadline != 30*time.Second || p.Dedupe != time.Minute || p.OrderUser || p.OnError.Kind != config.Stop || p.Overflow != config.OverflowQueue {
		t.Errorf("got %+v", p)
	}
	if a := cfg.Apps[0]; a.MaxSkew != 10*time.Minute || a.CallbackPath != "" || a.Previous != nil || a.Limits != (config.AppLimits{Queue: 100_000}) {
		t.Errorf("got %+v", a)
	}
}

// TestReference holds the table against the file that uses every key, and every
// key against having a text.
func TestReference(t *testing.T) {
	sections := map[string]config.Section{}
	for _, s := range config.Reference() {
		sections[s.Name] = s
		if s.Doc == "" {
			t.Errorf("section %q has no text", s.Name)
		}
		for _, k := range s.Keys {
			if k.Doc == "" || k.What == "" || k.Required && k.Default != "" {
				t.Errorf("section %q: %+v", s.Name, k)
			}
		}
	}
	for _, name := range []string{
		"", "server", "store", "store.embedded", "store.redis", "store.redis.tls", "upstreams.*", "upstreams.*.tls", "callers.*", "forward", "apps.*", "apps.*.previous", "apps.*.api", "apps.*.credentials", "apps.*.credentials.keys", "apps.*.jsapi", "apps.*.oauth", "plugins.*", "plugins.*.grants", "plugins.*.limits",
		"pipelines.*", "stages[]", "canary", "canary.rollback", "switch[]", "on_error", "reply", "reply.news.articles[]",
	} {
		if len(sections[name].Keys) == 0 {
			t.Errorf("section %q is not in the reference", name)
		}
	}
}
