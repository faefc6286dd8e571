package config_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

func TestUpstreams(t *testing.T) {
	src := app + `upstreams:
  legacy: { url: "http://10.0.3.9/wechat?a=b", private: [10.0.3.0/24, 10.0.4.1, "fd00::/8"], timeout: 1500ms, secret: "${SHOP_TOKEN}", connections: 8 }
  orders: { url: "https://orders.example.com", headers: { Authorization: "Bearer ${SHOP_TOKEN}", x-shop: "1" } }
pipeline:
  stages:
    - { forward: { to: orders, as: json }, on_error: skip }
    - { name: old, when: 'type == "text"', forward: { to: legacy, as: raw } }
`
	cfg, problems := config.Parse("p.yaml", []byte(src), options())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	legacy, orders := cfg.Upstreams[0], cfg.Upstreams[1]
	want := config.Upstream{
		Pos: legacy.Pos, Name: "legacy", URL: "http://10.0.3.9/wechat?a=b", Timeout: 1500 * time.Millisecond, Secret: "s3cret-token", Connections: 8,
		Private: []netip.Prefix{netip.MustParsePrefix("10.0.3.0/24"), netip.MustParsePrefix("10.0.4.1/32"), netip.MustParsePrefix("fd00::/8")},
	}
	if !reflect.DeepEqual(*legacy, want) {
		t.Errorf("legacy: got %+v", *legacy)
	}
	want = config.Upstream{
		Pos: orders.Pos, Name: "orders", URL: "https://orders.example.com", Timeout: 4 * time.Second, Connections: 64,
		Headers: map[string]string{"Authorization": "Bearer s3cret-token", "x-shop": "1"},
	}
	if !reflect.DeepEqual(*orders, want) {
		t.Errorf("orders: got %+v", *orders)
	}
	first, second := cfg.Pipelines[0].Stages[0], cfg.Pipelines[0].Stages[1]
	if first.Name != "forward" || *first.Forward != (config.Forward{To: orders, As: config.ForwardJSON}) {
		t.Errorf("first: got %+v", first)
	}
	if second.Name != "old" || *second.Forward != (config.Forward{To: legacy, As: config.ForwardRaw}) {
		t.Errorf("second: got %+v", second)
	}
}

// TestUpstreamProblems holds the text and the place of each problem. No secret
// is in any.
func TestUpstreamProblems(t *testing.T) {
	use := "pipeline: { stages: [ { forward: { to: x, as: raw } } ] }\n"
	for _, c := range []struct{ name, src, want string }{
		{"nothing in it", "upstreams: { x: {} }\n" + use, `
p.yaml:4:14: upstreams.x: url is missing (it is an address such as http://10.0.3.7:8080/path)`},
		{"addresses", `upstreams:
  x: { url: "ftp://h/" }
  x2: { url: "http://bob:s3cret-token@h/" }
  x3: { url: "http://h/#s3cret-token" }
  x4: { url: "http:///s3cret-token" }
  x5: { url: "http://h:80:80/s3cret-token" }
  x6: { url: "http://h/` + strings.Repeat("s3cret-token", 200) + `" }
` + use, `
p.yaml:5:13: upstreams.x.url: the value is not an address such as http://10.0.3.7:8080/path
p.yaml:6:3: warning: nothing uses upstream x2
p.yaml:6:14: upstreams.x2.url: the value holds a user: give it as headers: { Authorization: … } (it is an address such as http://10.0.3.7:8080/path)
p.yaml:7:3: warning: nothing uses upstream x3
p.yaml:7:14: upstreams.x3.url: the value holds a #, which no server gets to see (it is an address such as http://10.0.3.7:8080/path)
p.yaml:8:3: warning: nothing uses upstream x4
p.yaml:8:14: upstreams.x4.url: the value is not an address such as http://10.0.3.7:8080/path
p.yaml:9:3: warning: nothing uses upstream x5
p.yaml:9:14: upstreams.x5.url: the value is not an address such as http://10.0.3.7:8080/path
p.yaml:10:3: warning: nothing uses upstream x6
p.yaml:10:14: upstreams.x6.url: the value has over 2048 bytes (it is an address such as http://10.0.3.7:8080/path)`},
		{"networks", `upstreams:
  x: { url: "http://h", private: [ 10.0.3.7/24, "10.0.0.0/33", "169.254.0.0/16", "fe80::1", "::ffff:10.0.0.1", host ] }
` + use, `
p.yaml:5:36: upstreams.x.private.0: "10.0.3.7/24" is not a network such as 10.0.3.0/24, or an address (did you mean 10.0.3.0/24?)
p.yaml:5:49: upstreams.x.private.1: "10.0.0.0/33" is not a network such as 10.0.3.0/24, or an address
p.yaml:5:64: upstreams.x.private.2: "169.254.0.0/16" is link-local, which is never reached (it is a network such as 10.0.3.0/24, or an address)
p.yaml:5:82: upstreams.x.private.3: "fe80::1" is link-local, which is never reached (it is a network such as 10.0.3.0/24, or an address)
p.yaml:5:93: upstreams.x.private.4: "::ffff:10.0.0.1" is not a network such as 10.0.3.0/24, or an address
p.yaml:5:112: upstreams.x.private.5: host is not a network such as 10.0.3.0/24, or an address`},
		{"header fields", `upstreams:
  x:
    url: "http://h"
    headers:
      Content-Type: s3cret-token
      weft-signature: s3cret-token
      "A b": s3cret-token
      Key: "s3cret\r\nToken: x"
      key: ""
  x2: { url: "http://h", headers: { host: "s3cret-token /", Host: "s3cret-token:80" } }
` + use, `
p.yaml:8:7: upstreams.x.headers: Content-Type is a header field that the host sets itself (leave it out)
p.yaml:9:7: upstreams.x.headers: weft-signature is a header field that the host sets itself (leave it out)
p.yaml:10:7: upstreams.x.headers: "A b" is not the name of a header field
p.yaml:11:12: upstreams.x.headers.Key: the value is not a header field's value: 1 to 4096 printable ASCII characters
p.yaml:12:7: upstreams.x.headers: key stands here twice, in another letter case (keep one)
p.yaml:12:12: upstreams.x.headers.key: the value is not a header field's value: 1 to 4096 printable ASCII characters
p.yaml:13:3: warning: nothing uses upstream x2
p.yaml:13:43: upstreams.x2.headers: the value is not the name of a host, with or without a port
p.yaml:13:61: upstreams.x2.headers: Host stands here twice, in another letter case (keep one)`},
		{"the rest", "upstreams: { x: { url: \"http://h\", timeout: 2m, secret: \"s3cret token\", connections: 0, breaker: {} } }\n" + use, `
p.yaml:4:45: upstreams.x.timeout: 2m is not a duration from 1ms to 1m
p.yaml:4:57: upstreams.x.secret: the value is not 1 to 256 printable ASCII characters without blanks
p.yaml:4:86: upstreams.x.connections: 0 is not a whole number from 1 to 10000
p.yaml:4:89: upstreams.x: unknown key breaker`},
		{"tls", `upstreams:
  x: { url: "http://h", tls: { ca: ca.pem, verify: false } }
  y: { url: "HTTPS://h", tls: { cert: weft.pem } }
  z: { url: "https://h", tls: true }
` + use, `
p.yaml:5:25: upstreams.x.tls has a meaning with an https url only (leave it out, or write the url with https)
p.yaml:5:44: upstreams.x.tls: unknown key verify
p.yaml:6:3: warning: nothing uses upstream y
p.yaml:6:26: upstreams.y.tls: cert and key go together (give both, or none)
p.yaml:7:3: warning: nothing uses upstream z
p.yaml:7:31: upstreams.z.tls: must be a mapping, and is a single value`},
		{"forwards", `upstreams: { legacy: { url: "http://h" } }
pipeline:
  stages:
    - { forward: { to: legcy, as: xml } }
    - { name: b, forward: {}, plugin: a }
    - { name: c, forward: legacy }
    - { name: d, forward: { to: "${SHOP_TOKEN}", as: raw }, when: 'true' }
`, `
p.yaml:4:14: warning: nothing uses upstream legacy
p.yaml:7:24: pipeline.stages.0.forward.to: there is no upstream legcy (did you mean legacy?)
p.yaml:7:35: pipeline.stages.0.forward.as: xml is not raw or json
p.yaml:8:18: pipeline.stages.1.forward: to is missing (it is the name of an upstream)
p.yaml:8:18: pipeline.stages.1.forward: as is missing (it is raw or json)
p.yaml:8:18: pipeline.stages.1: a stage has one of plugin and forward (make two stages of it)
p.yaml:8:39: pipeline.stages.1.plugin: there is no plugin a
p.yaml:9:27: pipeline.stages.2.forward: must be a mapping, and is a single value
p.yaml:10:33: pipeline.stages.3.forward.to: there is no upstream the expanded value`},
		{"warnings", `upstreams:
  x: { url: "http://h" }
pipeline:
  stages:
    - { name: a, forward: { to: x, as: json } }
    - { name: b, forward: { to: x, as: raw }, async: true }
`, `
p.yaml:8:7: warning: stage a: upstream x can't tell who sends: it has neither secret nor headers`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := config.Parse("p.yaml", []byte(app+c.src), options())
			if got := fmt.Sprint(problems); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
			if strings.Contains(problems.Error(), "s3cret") {
				t.Error("a secret is in a problem")
			}
		})
	}
}

func TestUpstreamNoEnv(t *testing.T) {
	src := app + `upstreams:
  x: { url: "${X}", private: [ "${NET}" ], headers: { A: "${X}" }, secret: "${X}", connections: "${N}", timeout: "${T}" }
  y: { url: "${X}", secret: "${X}" }
pipeline: { stages: [ { forward: { to: x, as: json } }, { name: y, forward: { to: y, as: json } }, { name: z, forward: { to: "${Z}", as: "${AS}" } } ] }
`
	cfg, problems := config.Parse("p.yaml", []byte(src), config.Options{NoEnv: true})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if u := cfg.Upstreams[0]; !u.Open || u.URL != "" || len(u.Private) != 0 || u.Secret != "" {
		t.Errorf("got %+v", u)
	}
	cfg, problems = config.Parse("p.yaml", []byte(app+`upstreams: { x: { url: "${X:-http://h}", private: [10.0.0.0/8] }, y: { url: "http://h", private: [ "${N}" ] } }`+"\n"+stages), config.Options{NoEnv: true})
	if problems.Err() != nil || cfg.Upstreams[0].Open || !cfg.Upstreams[1].Open {
		t.Errorf("got %+v, %v", cfg, problems)
	}
}
