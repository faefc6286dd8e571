package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// public is a line of a file that says how browsers reach the host.
const public = "server: { public: \"https://wx.acme.cn\" }\n"

// identityCases are problemCases of login, of pages and of check files.
func identityCases() []problemCase {
	mini := strings.Replace(app, "official", "miniprogram", 1)
	return []problemCase{
		{"pages", shopWith(`app_secret: s, jsapi: { hosts: [ "https://a/", "*.acme.cn", "ftp://a", "a b", "u@a", "a:0", "a:70000", "[::g]", "a.", "http:a" ], origins: [ "www.acme.cn", "null", "*", "https://a/p", "https://[::ffff:1.2.3.4]" ], host: a }`) + stages, `
p.yaml:3:96: apps.shop.jsapi.hosts.0: "https://a/" is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:110: apps.shop.jsapi.hosts.1: "*.acme.cn" is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:123: apps.shop.jsapi.hosts.2: "ftp://a" is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:134: apps.shop.jsapi.hosts.3: "a b" is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:141: apps.shop.jsapi.hosts.4: "u@a" is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:148: apps.shop.jsapi.hosts.5: "a:0" is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:155: apps.shop.jsapi.hosts.6: "a:70000" has a port that is out of range (it is a host such as www.acme.cn, with or without http:// and a port)
p.yaml:3:166: apps.shop.jsapi.hosts.7: "[::g]" is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:175: apps.shop.jsapi.hosts.8: "a." is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:181: apps.shop.jsapi.hosts.9: "http:a" is not a host such as www.acme.cn, with or without http:// and a port
p.yaml:3:204: apps.shop.jsapi.origins.0: "www.acme.cn" is not an origin such as https://www.acme.cn
p.yaml:3:219: apps.shop.jsapi.origins.1: null is not an origin such as https://www.acme.cn
p.yaml:3:227: apps.shop.jsapi.origins.2: "*" is not an origin such as https://www.acme.cn
p.yaml:3:232: apps.shop.jsapi.origins.3: "https://a/p" is not an origin such as https://www.acme.cn
p.yaml:3:247: apps.shop.jsapi.origins.4: "https://[::ffff:1.2.3.4]" has an address that is out of range (it is an origin such as https://www.acme.cn)
p.yaml:3:277: apps.shop.jsapi: unknown key host (did you mean hosts?)`},
		{"no pages", shopWith(`app_secret: s, jsapi: { hosts: [] }`) + "  b: { type: official, app_id: b, token: t, mode: plain, app_secret: s, jsapi: {} }\n" + stages, `
p.yaml:3:87: apps.shop.jsapi.hosts: is empty (it is a list of hosts, one at least)
p.yaml:4:73: apps.b.jsapi: hosts is missing (it is a list of hosts, one at least)`},
		{"pages without tickets", shopWith(`jsapi: { hosts: [ a ] }`) + "  b: { type: miniprogram, app_id: b, token: t, mode: plain, app_secret: s, jsapi: { hosts: [ a ] } }\n" +
			"  c: { type: official, app_id: c, token: t, mode: plain, jsapi: { hosts: [ a ] }, credentials: { from: redis, keys: { access_token: x } } }\n" +
			"  d: { type: official, app_id: d, token: t, mode: plain, jsapi: { hosts: [ a ] }, credentials: { from: redis, keys: { access_token: x, jsapi_ticket: y } } }\n" +
			key + "store: { redis: { addrs: [ \"h:1\" ] } }\n" + stages, `
p.yaml:3:70: warning: apps.shop.jsapi: app_secret is missing: pages get no signature
p.yaml:4:83: apps.b.jsapi has a meaning with type: official only (leave it out)
p.yaml:5:65: warning: apps.c.jsapi: credentials.keys has no jsapi_ticket: pages get no signature`},
		{"where users are sent", shopWith(`app_secret: s, oauth: { redirects: [ www.acme.cn, "https://a/?x", "https://a/#x", "https://u@a/", "https:///a", "//a", "/a", "https://a//b", "https://a/../b", "https://a/%2e", "https://a\\b", "https://a/b c", "javascript:x", "https://*/" ] }`) + public + stages, `
p.yaml:3:100: apps.shop.oauth.redirects.0: "www.acme.cn" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:113: apps.shop.oauth.redirects.1: "https://a/?x" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:129: apps.shop.oauth.redirects.2: "https://a/#x" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:145: apps.shop.oauth.redirects.3: "https://u@a/" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:161: apps.shop.oauth.redirects.4: "https:///a" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:175: apps.shop.oauth.redirects.5: "//a" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:182: apps.shop.oauth.redirects.6: "/a" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:188: apps.shop.oauth.redirects.7: "https://a//b" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:204: apps.shop.oauth.redirects.8: "https://a/../b" holds a segment of dots (it is an address such as https://www.acme.cn/ without a query)
p.yaml:3:222: apps.shop.oauth.redirects.9: "https://a/%2e" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:239: apps.shop.oauth.redirects.10: "https://a\\b" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:255: apps.shop.oauth.redirects.11: "https://a/b c" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:272: apps.shop.oauth.redirects.12: "javascript:x" is not an address such as https://www.acme.cn/ without a query
p.yaml:3:288: apps.shop.oauth.redirects.13: "https://*/" is not an address such as https://www.acme.cn/ without a query`},
		{"sessions", shopWith(`app_secret: s, oauth: { redirects: [ "https://a" ], claims: [ openid, unionId, openid ], session: 1s, refresh: 400d }`) +
			"  b: { type: official, app_id: b, token: t, mode: plain, app_secret: s, oauth: { session: 2h, refresh: 1h } }\n" + public + stages, `
p.yaml:3:123: apps.shop.oauth.claims: openid stands here twice (keep one)
p.yaml:3:133: apps.shop.oauth.claims.1: unionId is not openid or unionid (did you mean unionid?)
p.yaml:3:161: apps.shop.oauth.session: 1s is not a duration from 1m to 24h
p.yaml:3:174: apps.shop.oauth.refresh: 400d is not a duration from 1m to 8760h
p.yaml:4:73: apps.b.oauth: redirects is missing (it is a list of addresses, one at least)
p.yaml:4:104: apps.b.oauth.refresh is under session (a session is renewed before its token ends)`},
		{"logins that can't be", shopWith(`oauth: { redirects: [ "HTTP://a/b", "http://localhost:3000/" ] }, credentials: { from: http, upstream: u }`) + "upstreams: { u: { url: \"https://h\" } }\n" + stages, `
p.yaml:3:70: warning: apps.shop.oauth: app_secret is missing: nobody can log in
p.yaml:3:70: warning: apps.shop.oauth: server.public is missing: WeChat can't send users back to the host (server: { public: https://wx.acme.cn })
p.yaml:3:85: warning: apps.shop.oauth.redirects: "HTTP://a/b" is not encrypted: what logs a user in goes there in plain (write https://)`},
		{"a mini program's login", strings.Replace(mini, "plain", "plain, oauth: { redirects: [ \"https://a\" ], authorize_base: \"https://b\" }", 1) +
			"  b: { type: miniprogram, app_id: b, token: t, mode: plain, app_secret: s, oauth: { session: 1h } }\n" + stages, `
p.yaml:3:73: warning: apps.shop.oauth: app_secret is missing: nobody can log in
p.yaml:3:86: apps.shop.oauth.redirects has a meaning with type: official only (leave it out)
p.yaml:3:119: apps.shop.oauth.authorize_base has a meaning with type: official only (leave it out)`},
		{"where they log in", shopWith(`app_secret: s, oauth: { redirects: [ "https://a" ], authorize_base: "http://open.acme.cn" }`) + public + stages, `
p.yaml:3:131: apps.shop.oauth.authorize_base: the value is not encrypted on its way (it is an https address such as https://open.weixin.qq.com; http only to this machine)`},
		{"check files", shopWith(`domain_files: { MP_verify_a.txt: a, a.html: x, "../a.txt": x, a/b.txt: x, .txt: x, a.txt.txt: x, b.txt: "x y", c.txt: [] }`) +
			"  b: { type: official, app_id: b, token: t, mode: plain, domain_files: { mp_verify_a.txt: a, MP_verify_a.txt: a } }\n" + stages, `
p.yaml:3:99: apps.shop.domain_files: "a.html" is not the name of a check file: letters, digits, _ and -, then .txt
p.yaml:3:110: apps.shop.domain_files: "../a.txt" is not the name of a check file: letters, digits, _ and -, then .txt
p.yaml:3:125: apps.shop.domain_files: "a/b.txt" is not the name of a check file: letters, digits, _ and -, then .txt
p.yaml:3:137: apps.shop.domain_files: ".txt" is not the name of a check file: letters, digits, _ and -, then .txt
p.yaml:3:146: apps.shop.domain_files: "a.txt.txt" is not the name of a check file: letters, digits, _ and -, then .txt
p.yaml:3:167: apps.shop.domain_files."b.txt": "x y" is not 1 to 512 printable ASCII characters without blanks
p.yaml:3:181: apps.shop.domain_files."c.txt": must be 1 to 512 printable ASCII characters without blanks, and is a list
p.yaml:4:94: apps.b.domain_files: app shop has "MP_verify_a.txt", too (names of files are unique over all apps)`},
	}
}

// TestIdentityOfApps: who may have signatures, how users log in, and what is left
// out.
func TestIdentityOfApps(t *testing.T) {
	cfg, problems := config.Parse("testdata/full.yaml", full(t), options())
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	shop, mini, away := cfg.Apps[0], cfg.Apps[1], cfg.Apps[2]
	if shop.JSAPI != nil || shop.OAuth != nil || shop.DomainFiles != nil || mini.JSAPI != nil {
		t.Errorf("got %+v, %+v, %v, %+v", shop.JSAPI, shop.OAuth, shop.DomainFiles, mini.JSAPI)
	}
	for _, c := range []struct{ got, want any }{
		{mini.OAuth, &config.OAuth{Claims: []config.Claim{config.ClaimOpenID}, Session: 2 * time.Hour, Refresh: 30 * 24 * time.Hour, AuthorizeBase: "https://open.weixin.qq.com"}},
		{away.OAuth, &config.OAuth{
			Redirects: []string{"https://www.acme.cn/", "https://shop.acme.cn:8443/Login/", "http://127.0.0.1:3000/app"},
			Claims:    []config.Claim{config.ClaimOpenID, config.ClaimUnionID}, Session: time.Hour, Refresh: 7 * 24 * time.Hour, AuthorizeBase: "http://127.0.0.1:8096",
		}},
		{away.JSAPI, &config.JSAPI{
			Hosts:   []string{"https://www.acme.cn", "http://[fd00::1]", "https://shop.acme.cn:8443"},
			Origins: []string{"https://www.acme.cn", "http://localhost:3000"},
		}},
		{away.DomainFiles, map[string]string{"MP_verify_a1b2.txt": "a1b2", "0x9.txt": "+/="}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("got %+v, want %+v", c.got, c.want)
		}
	}
}

// TestIdentityNoEnv: what the environment holds is taken as it may be.
func TestIdentityNoEnv(t *testing.T) {
	src := shopWith(`app_secret: "${S}", jsapi: { hosts: [ "${H}" ], origins: "${O}" }, oauth: { redirects: [ "${R}" ], claims: [ "${C}" ], authorize_base: "${B}", session: "${T}", refresh: "${T}" }, domain_files: { a.txt: "${F}" }`) +
		"  b: { type: miniprogram, app_id: b, token: t, mode: plain, app_secret: s, oauth: \"${X}\" }\nserver: { public: \"${P}\" }\n" + stages
	if _, problems := config.Parse("p.yaml", []byte(src), config.Options{NoEnv: true}); len(problems) > 0 {
		t.Error(problems)
	}
}

// TestCheckFilesOfFiles: an included file's app has no check file of another's.
func TestCheckFilesOfFiles(t *testing.T) {
	_, problems := parseParts("apps/a.yaml", unit("alpha", ", domain_files: { a.txt: a }"), "apps/b.yaml", unit("beta", ", domain_files: { a.txt: b }"))
	want := `conf/pipeline.yaml:10:3: warning: no app uses pipeline spare
conf/apps/b.yaml:3:79: apps.beta.domain_files: app alpha has "a.txt", too (names of files are unique over all apps)`
	if problems.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", problems, want)
	}
	if len(problems) == 2 && problems[1].Other.File != "conf/apps/a.yaml" {
		t.Errorf("the other place is %s", problems[1].Other)
	}
}
