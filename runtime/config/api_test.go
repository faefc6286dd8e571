package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// key is a line of a file that has a key for the host.
const key = "server: { key: \"${SERVER_KEY}\" }\n"

// shopWith is app with more keys for shop.
func shopWith(more string) string {
	return strings.Replace(app, "mode: plain", "mode: plain, "+more, 1)
}

// apiCases are problemCases of what calls WeChat, who, and of the store that
// hosts share.
func apiCases() []problemCase {
	hash := "sha256:" + strings.Repeat("0a", 32)
	return []problemCase{
		{"keys of the host", app + `server:
  key: "s3cret-token"
  previous_keys: [ QUFB, "` + serverKey + `", [] ]
  public: http://wx.acme.cn
` + stages, `
p.yaml:5:8: server.key: the value is not 32 random bytes in base64 (openssl rand -base64 32)
p.yaml:6:20: server.previous_keys.0: the value is not 32 random bytes in base64 (openssl rand -base64 32)
p.yaml:6:74: server.previous_keys.2: must be 32 random bytes in base64 (openssl rand -base64 32), and is a list
p.yaml:7:11: server.public: the value is not encrypted on its way (it is an https address such as https://wx.acme.cn; http only to this machine)`},
		{"how browsers come", app + "server: { public: \"https://wx.acme.cn/weft\" }\n" + stages, `
p.yaml:4:19: server.public: the value holds a path (it is an https address such as https://wx.acme.cn; http only to this machine)`},
		{"two stores", app + key + "store:\n  embedded: {}\n  redis: { addrs: [ \"h:1\" ] }\n" + stages, `
p.yaml:6:3: store: embedded and redis are two stores (keep one)`},
		{"no key for a shared store", app + "store:\n  redis: { addrs: [ \"h:1\" ] }\n" + stages, `
p.yaml:5:3: store.redis: server.key is missing, which hosts that share a store share, too (server: { key: … } is 32 random bytes in base64 (openssl rand -base64 32))`},
		{"Redis", app + key + `store:
  redis:
    addrs: [ h, "h:0", "h:70000", "redis://h:1", "10.0.0.1:6379" ]
    mode: sentinels
    password: "s3cret\ttoken"
    tls: yes
    db: 70000
    prefix: "{weft}"
    pool: 5
` + stages, `
p.yaml:7:14: store.redis.addrs.0: h is not HOST:PORT, such as 10.0.3.5:6379
p.yaml:7:17: store.redis.addrs.1: "h:0" is not HOST:PORT, such as 10.0.3.5:6379
p.yaml:7:24: store.redis.addrs.2: "h:70000" is not HOST:PORT, such as 10.0.3.5:6379
p.yaml:7:35: store.redis.addrs.3: "redis://h:1" is not HOST:PORT, such as 10.0.3.5:6379
p.yaml:8:11: store.redis.mode: sentinels is not single, sentinel or cluster (did you mean sentinel?)
p.yaml:9:15: store.redis.password: the value is not a password of at most 512 characters
p.yaml:10:10: store.redis.tls: yes is not true or false (write true)
p.yaml:11:9: store.redis.db: 70000 is not a whole number from 0 to 65535
p.yaml:12:13: store.redis.prefix: "{weft}" is not 1 to 64 letters, digits, . _ : and -
p.yaml:13:5: store.redis: unknown key pool`},
		{"no addresses of Redis", app + key + "store: { redis: { addrs: [] } }\n" + stages, `
p.yaml:5:19: store.redis.addrs: is empty (it is a list of addresses, one at least)`},
		{"Redis that isn't there", app + key + "store: { redis: {} }\n" + stages, `
p.yaml:5:10: store.redis: addrs is missing (it is a list of addresses, one at least)`},
		{"one server of many", app + key + "store: { redis: { addrs: [ \"a:1\", \"b:1\" ], master: m, tls: { cert: c.pem } } }\n" + stages, `
p.yaml:5:26: store.redis.addrs: mode single has one address (keep one, or say mode: sentinel or mode: cluster)
p.yaml:5:52: store.redis.master has a meaning with mode sentinel only (leave it out)
p.yaml:5:55: store.redis.tls: cert and key go together (give both, or none)`},
		{"Sentinels", app + key + "store: { redis: { addrs: [ \"a:1\" ], mode: sentinel } }\n" + stages, `
p.yaml:5:10: store.redis: master is missing (it is the name that the Sentinels have for the primary)`},
		{"a cluster", app + key + "store: { redis: { addrs: [ \"a:1\", \"b:1\" ], mode: cluster, db: 1, sentinel_password: x } }\n" + stages, `
p.yaml:5:63: store.redis.db: a cluster has database 0 only (leave it out)
p.yaml:5:85: store.redis.sentinel_password has a meaning with mode sentinel only (leave it out)`},
		{"callers", app + `callers:
  a: { apps: shop, paths: [ /cgi-bin/a** ], credential: [ token ] }
  b: { key: wk_s3cret, apps: [ shp, "X!" ], paths: [ /a/../b, get /a, /cgi-bin/token, "GET  /a", a, "/a//b", /a/, "/%2e" ] }
  c: { key: "s3cret-token", apps: all, paths: [ "/**" ], rate: 0/s }
  d: { key: "` + hash + `", apps: [ shop ], paths: [ /a ], rate: 5/h, send: true }
  e: { key: "` + strings.ToUpper(hash[7:]) + `", apps: {}, credential: [ access_token ], rate: 1000000/s }
` + stages, `
p.yaml:3:3: warning: apps.shop: app_secret is missing: caller c may use its credentials (without it such calls fail)
p.yaml:5:3: callers.a: key is missing (it is the SHA-256 of a key: sha256: and 64 hex digits)
p.yaml:5:14: callers.a.apps: shop is not a list of apps, or the word all (write [shop], or all)
p.yaml:5:29: callers.a.paths.0: "/cgi-bin/a**" holds ** beside other characters: it stands for whole segments (it is a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**")
p.yaml:5:59: callers.a.credential.0: token is not access_token, jsapi_ticket or wx_card_ticket
p.yaml:6:13: callers.b.key: the value is a key itself, which stands in no file: weft caller new prints its hash. Make a new one, this one has been seen (it is the SHA-256 of a key: sha256: and 64 hex digits)
p.yaml:6:32: warning: callers.b.apps.0: there is no app shp (did you mean shop?)
p.yaml:6:37: warning: callers.b.apps.1: there is no app "X!"
p.yaml:6:54: callers.b.paths.0: "/a/../b" holds a segment of dots (it is a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**")
p.yaml:6:63: callers.b.paths.1: "get /a" is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:6:71: callers.b.paths.2: "/cgi-bin/token" answers with a credential, which is open to nobody: see credential of callers (it is a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**")
p.yaml:6:87: callers.b.paths.3: "GET  /a" is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:6:98: callers.b.paths.4: a is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:6:101: callers.b.paths.5: "/a//b" is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:6:110: callers.b.paths.6: "/a/" is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:6:115: callers.b.paths.7: "/%2e" is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:7:13: callers.c.key: the value is not the SHA-256 of a key: sha256: and 64 hex digits (weft caller new NAME makes a key and prints its hash)
p.yaml:7:64: callers.c.rate: "0/s" is not a rate such as 50/s or 100/m, at most 999999
p.yaml:8:125: callers.d.rate: "5/h" is not a rate such as 50/s or 100/m, at most 999999
p.yaml:8:130: callers.d: unknown key send
p.yaml:9:13: callers.e.key: the value is not the SHA-256 of a key: sha256: and 64 hex digits (weft caller new NAME makes a key and prints its hash)
p.yaml:9:87: callers.e.apps: must be a list of apps, or the word all, and is a mapping
p.yaml:9:127: callers.e.rate: "1000000/s" is not a rate such as 50/s or 100/m, at most 999999`},
		{"callers that may do nothing", shopWith("app_secret: s") + `callers:
  a: { key: "` + hash + `", apps: [ shop ] }
  b: { key: "` + strings.Replace(hash, "0a", "AF", 5) + `", apps: [], paths: [ /a ] }
  c: { key: "sha256:` + strings.Repeat("f", 64) + `", apps: all, credential: [ access_token ] }
` + stages, `
p.yaml:5:3: warning: callers.a may do nothing (it needs apps, and paths or credential)
p.yaml:6:3: warning: callers.b may do nothing (it needs apps, and paths or credential)`},
		{"one key of two callers", shopWith("app_secret: s") + `callers:
  a: { key: "` + hash + `", apps: all, paths: [ /a ] }
  b: { key: "` + strings.Replace(hash, "0a", "0A", 9) + `", apps: [ shop ], paths: [ /a ] }
` + stages, `
p.yaml:6:13: callers.b.key: caller a has this key, too (give each a key of its own: weft caller new b)`},
		{"the app's API", shopWith(`app_secret: "a b", api_base: "http://proxy.acme.cn", api: { timeout: 1ms, rate: { "cgi-bin": 1/s, /a: 1, "GET /cgi-bin/*/**": 5/m }, daily: { /a: 0, "PUSH /cgi-bin/u*": 1 } }`) + stages, `
p.yaml:3:75: apps.shop.app_secret: the value is not an AppSecret: 1 to 256 printable ASCII characters without blanks
p.yaml:3:92: apps.shop.api_base: the value is not encrypted on its way (it is an https address such as https://api.weixin.qq.com; http only to this machine)
p.yaml:3:132: apps.shop.api.timeout: 1ms is not a duration from 100ms to 5m
p.yaml:3:145: apps.shop.api.rate: cgi-bin is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:3:165: apps.shop.api.rate."/a": 1 is not a rate such as 50/s or 100/m, at most 999999
p.yaml:3:209: apps.shop.api.daily."/a": 0 is not a whole number from 1 to 1000000000000
p.yaml:3:212: apps.shop.api.daily: "PUSH /cgi-bin/u*" is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"`},
		{"credentials", shopWith("credentials: { from: wechat, keys: { token: t }, upstream: tokns }") + `  b: { type: official, app_id: b, token: t, mode: plain, credentials: { from: http, plain: false } }
  c: { type: official, app_id: c, token: t, mode: plain, credentials: { from: redis, keys: { access_token: "" } } }
  d: { type: official, app_id: d, token: t, mode: plain, credentials: { from: redis } }
  e: { type: official, app_id: e, token: t, mode: plain, credentials: { from: file, plain: 1 } }
upstreams: { tokens: { url: "https://h" } }
` + stages, `
p.yaml:3:92: apps.shop.credentials.keys: access_token is missing (it is a text of 1 to 512 bytes)
p.yaml:3:98: apps.shop.credentials.keys has a meaning with from: redis only (leave it out)
p.yaml:3:100: apps.shop.credentials.keys: unknown key token
p.yaml:3:122: apps.shop.credentials.upstream: there is no upstream tokns (did you mean tokens?)
p.yaml:3:122: apps.shop.credentials.upstream has a meaning with from: http only (leave it out)
p.yaml:4:58: apps.b.credentials: upstream is missing (from: http needs it)
p.yaml:4:92: apps.b.credentials.plain has a meaning with from: wechat only (leave it out)
p.yaml:5:79: apps.c.credentials.from: there is no Redis: store.redis is missing (it is the one that these keys are read from)
p.yaml:5:108: apps.c.credentials.keys.access_token: "" is empty (it is a text of 1 to 512 bytes)
p.yaml:6:58: apps.d.credentials: keys is missing (from: redis needs it)
p.yaml:6:79: apps.d.credentials.from: there is no Redis: store.redis is missing (it is the one that these keys are read from)
p.yaml:7:79: apps.e.credentials.from: file is not wechat, http or redis
p.yaml:7:92: apps.e.credentials.plain: 1 is not true or false
p.yaml:8:14: warning: nothing uses upstream tokens`},
	}
}

func TestAPINoEnv(t *testing.T) {
	src := shopWith(`app_secret: "${S}", api_base: "${B}", api: { timeout: "${T}", rate: { /a: "${R}" }, daily: { /a: "${D}" } }, credentials: { from: "${F}", upstream: "${U}" }, upstreams: { o: "${U}" }`) + `
server: { key: "${K}", previous_keys: [ "${K}" ], public: "${P}" }
store: { redis: { addrs: [ "${A}" ], mode: "${M}", master: "${M}", tls: "${T}", db: "${D}", prefix: "${P}" } }
callers: { c: { key: "${K}", apps: "${A}", paths: [ "${P}" ], rate: "${R}" }, d: { key: "${K}", apps: [ "${A}" ], credential: [ "${C}" ] } }
plugins: { a: { source: a.wasm, grants: { api: [ "${P}" ], fetch: { o: "${U}" } } } }
pipeline: { stages: [ { plugin: a } ] }
`
	cfg, problems := config.Parse("p.yaml", []byte(src), config.Options{NoEnv: true})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if a := cfg.Apps[0]; a.AppSecret != "" || a.Credentials.From != "" || a.Credentials.Upstream != nil || a.Upstreams["o"] != nil || cfg.Server.Key != nil {
		t.Errorf("got %+v", a)
	}
	if c, d := cfg.Callers[0], cfg.Callers[1]; !c.Open || !d.Open || len(d.Apps) != 0 {
		t.Errorf("got %+v and %+v", c, d)
	}
}

// TestSecretless: who may call WeChat for which app.
func TestSecretless(t *testing.T) {
	hash := "sha256:" + strings.Repeat("0a", 32)
	for _, c := range []struct{ name, src, want string }{
		{"a plugin", app + "plugins: { a: { source: a.wasm, grants: { api: [ /a ] } } }\npipeline: { stages: [ { plugin: a } ] }\n", `
p.yaml:3:3: warning: apps.shop: app_secret is missing: plugin a may call WeChat's API (without it such calls fail)`},
		{"a plugin with an empty grant", app + "plugins: { a: { source: a.wasm, grants: { api: [] } } }\npipeline: { stages: [ { plugin: a } ] }\n", ""},
		{"a caller of the app", app + "callers: { c: { key: \"" + hash + "\", apps: [ shop ], credential: [ jsapi_ticket ] } }\n" + stages, `
p.yaml:3:3: warning: apps.shop: app_secret is missing: caller c may use its credentials (without it such calls fail)`},
		{"a caller of all apps", app + "callers: { c: { key: \"" + hash + "\", apps: all, paths: [ /a ] } }\n" + stages, `
p.yaml:3:3: warning: apps.shop: app_secret is missing: caller c may use its credentials (without it such calls fail)`},
		{"credentials from elsewhere", shopWith("credentials: { from: http, upstream: u }") + "callers: { c: { key: \"" + hash + "\", apps: all, paths: [ /a ] } }\nupstreams: { u: { url: \"https://h\" } }\n" + stages, ""},
		{"nobody", app + stages, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := config.Parse("p.yaml", []byte(c.src), options())
			if got := fmt.Sprint(problems.Error()); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
		})
	}
}

// TestNamesOfUpstreams: what plugins, apps and credentials name is used, and must
// be there.
func TestNamesOfUpstreams(t *testing.T) {
	src := shopWith("credentials: { from: http, upstream: tokens }, upstreams: { orders: shop-orders, ordrs: spare }") + `upstreams:
  tokens: { url: "https://h" }
  shop-orders: { url: "https://h" }
  spare: { url: "https://h" }
  orders: { url: "https://h" }
  idle: { url: "https://h" }
plugins: { a: { source: a.wasm, grants: { fetch: { orders: orders } } } }
pipeline: { stages: [ { plugin: a } ] }
`
	want := `p.yaml:3:144: warning: apps.shop.upstreams: no plugin of pipeline main has a grant to fetch from ordrs (did you mean orders?)
p.yaml:9:3: warning: nothing uses upstream idle`
	cfg, problems := config.Parse("p.yaml", []byte(src), options())
	if got := problems.Error(); got != want || cfg == nil {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	src = strings.NewReplacer("upstream: tokens", "upstream: tokns", "ordrs: spare", "Ordrs: [spare]", "orders: orders }", "orders: order }").Replace(src)
	want = `p.yaml:3:100: apps.shop.credentials.upstream: there is no upstream tokns (did you mean tokens?)
p.yaml:3:143: apps.shop.upstreams: Ordrs is not a name: a small letter, then small letters, digits and -, at most 63
p.yaml:3:150: apps.shop.upstreams.Ordrs: must be the name of an upstream, and is a list
p.yaml:10:60: plugins.a.grants.fetch.orders: there is no upstream order (did you mean orders?)`
	_, problems = config.Parse("p.yaml", []byte(src), options())
	for _, line := range strings.Split(want, "\n") {
		if !strings.Contains(problems.Error()+"\n", line+"\n") {
			t.Errorf("got\n%s\nwithout\n%s", problems, line)
		}
	}
}

// TestAPIOfIncludedApp: an included file says what its apps call WeChat with; the
// store, the callers and the host's keys stand in the root.
func TestAPIOfIncludedApp(t *testing.T) {
	cfg, problems := parseParts("apps/a.yaml", unit("alpha", ", app_secret: s, api_base: \"http://127.0.0.1:8082/\", api: { rate: { /a: 5/m } }, credentials: { plain: true }"))
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	a := cfg.Apps[1]
	if a.AppSecret != "s" || a.APIBase != "http://127.0.0.1:8082" || a.API.Timeout != 10*time.Second || a.API.Rate["/a"] != (config.Rate{Calls: 5, Per: time.Minute}) ||
		a.Credentials != (config.Credentials{From: config.FromWeChat, Plain: true}) {
		t.Errorf("got %+v", a)
	}
	_, problems = parseParts("apps/a.yaml", unit("alpha", ", credentials: { from: redis, keys: { access_token: x } }")+"callers: {}\nstore: {}\nserver: {}\n")
	for _, line := range []string{
		"conf/apps/a.yaml:3:85: apps.alpha.credentials.from: there is no Redis: store.redis is missing (it is the one that these keys are read from)",
		"conf/apps/a.yaml:4:1: callers stands in the root file only (an included file has weft, apps, pipelines and pipeline: move this to conf/pipeline.yaml)",
		"conf/apps/a.yaml:5:1: store stands in the root file only", "conf/apps/a.yaml:6:1: server stands in the root file only",
	} {
		if !strings.Contains(problems.Error(), line) {
			t.Errorf("got\n%s\nwithout\n%s", problems, line)
		}
	}
}
