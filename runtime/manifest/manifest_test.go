package manifest_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/manifest"
)

const whole = `name: welcome
version: 1.2.0-rc.1+build
abi: 1
title: { en: Welcome, zh-CN: 欢迎 }
description: { en: Greets. }
vendor: acme
license: Apache-2.0
messages: [text, image]
events: [subscribe, SCAN]
capabilities:
  state: { why: remembers who was greeted }
  fetch: { why: asks the shop, upstreams: { orders: "GET /orders/{openid}" }, optional: true }
  api: { why: labels users, paths: [ GET /cgi-bin/tags/get, /cgi-bin/tags/members/* ] }
raw: true
limits: { memory: 16MiB, timeout: 300ms, fuel: 50000000 }
config:
  type: object
  additionalProperties: false
  required: [greeting]
  properties:
    greeting: { type: string, minLength: 1, default: hi }
    key: { type: string, writeOnly: true, pattern: "^k-" }
`

const head = "name: welcome\nversion: 1.2.0\nabi: 1\n"

func parse(t testing.TB, src string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Parse("plugin.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParse(t *testing.T) {
	m := parse(t, whole)
	for _, c := range []struct{ what, got, want any }{
		{"name", m.Name, "welcome"},
		{"version", m.Version, "1.2.0-rc.1+build"},
		{"abi", m.ABI, 1},
		{"title", m.Title, map[string]string{"en": "Welcome", "zh-CN": "欢迎"}},
		{"description", m.Description, map[string]string{"en": "Greets."}},
		{"vendor", m.Vendor, "acme"},
		{"license", m.License, "Apache-2.0"},
		{"messages", m.Messages, []string{"text", "image"}},
		{"events", m.Events, []string{"subscribe", "SCAN"}},
		{"capabilities", m.Capabilities, map[string]manifest.Capability{
			"state": {Why: "remembers who was greeted"},
			"fetch": {Why: "asks the shop", Optional: true, Upstreams: map[string]string{"orders": "GET /orders/{openid}"}},
			"api":   {Why: "labels users", Paths: []string{"GET /cgi-bin/tags/get", "/cgi-bin/tags/members/*"}},
		}},
		{"raw", m.Raw, true},
		{"limits", m.Limits, manifest.Limits{Memory: 16 << 20, Timeout: 300 * time.Millisecond, Fuel: 50_000_000}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %#v, want %#v", c.what, c.got, c.want)
		}
	}
	if m := parse(t, head); m.MessagesSet || m.EventsSet || m.Raw || len(m.Capabilities) > 0 || m.Limits != (manifest.Limits{}) {
		t.Errorf("the shortest one: got %+v", m)
	}
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		more, typ, event string
		want             bool
	}{
		{"", "text", "", true},
		{"", "event", "CLICK", true},
		{"", "", "component_verify_ticket", true},
		{"messages: [text]", "text", "", true},
		{"messages: [text]", "TEXT", "", true},
		{"messages: [text]", "voice", "", false},
		{"messages: [text]", "event", "subscribe", false},
		{"messages: [text]", "", "unauthorized", false},
		{"events: [subscribe, Unauthorized]", "event", "Subscribe", true},
		{"events: [subscribe, Unauthorized]", "Event", "subscribe", true},
		{"events: [subscribe, Unauthorized]", "", "unauthorized", true},
		{"events: [subscribe, Unauthorized]", "event", "CLICK", false},
		{"events: [subscribe]", "text", "", false},
		{"messages: [text]\nevents: [CLICK]", "event", "CLICK", true},
		{"messages: [text]\nevents: [CLICK]", "text", "", true},
		{"messages: [text]\nevents: [CLICK]", "image", "", false},
		{"messages: []", "text", "", false},
		{"messages: []\nevents: []", "event", "CLICK", false},
	} {
		if got := parse(t, head+c.more+"\n").Wants(c.typ, c.event); got != c.want {
			t.Errorf("%q wants %q %q: got %v", c.more, c.typ, c.event, got)
		}
	}
}

// TestProblems holds the text and place of what is wrong with a manifest.
func TestProblems(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"empty", "", "p:1:1: the manifest is empty"},
		{"a tab", "name: x\ncapabilities:\n\tstate: {}\n", "p:3:1: not YAML: found character that cannot start any token: indent with blanks, not with tabs"},
		{"not YAML", "name: x\n a: b\n", "p:2:1: not YAML: mapping values are not allowed in this context"},
		{"a list", "- a\n", "p:1:1: the manifest must be a mapping"},
		{"two documents", head + "---\na: b\n", "p:4:1: a second document begins here: a manifest is one"},
		{"nothing in it", "raw: false\n", `
p:1:1: name is missing in the manifest
p:1:1: version is missing in the manifest
p:1:1: abi is missing in the manifest`},
		{"paths", head + "title: { en: t }\ndescription: { en: d }\nvendor: v\nlicense: l\ncapabilities: { api: { why: x, paths: [ get /a, a, /a/, /a, \"/a?b\" ] }, state: { why: x, paths: [] } }\n", `
p:8:41: "get /a" is not a path of WeChat's API, such as /cgi-bin/user/* or GET /cgi-bin/user/info
p:8:49: "a" is not a path of WeChat's API, such as /cgi-bin/user/* or GET /cgi-bin/user/info
p:8:52: "/a/" is not a path of WeChat's API, such as /cgi-bin/user/* or GET /cgi-bin/user/info
p:8:61: "/a?b" is not a path of WeChat's API, such as /cgi-bin/user/* or GET /cgi-bin/user/info
p:8:90: unknown key "paths" in capability state: it has why, optional`},
		{"everything wrong", `name: W
version: v1
abi: 2
title: { "e n": x, en: "" }
description: text
messages: text
events: [a, A, ~]
capabilities: { stat: {}, state: {}, send: { why: x, upstreams: {} }, fetch: { why: x, upstreams: { X: y } } }
raw: yes
limits: { memory: 1KiB, timeout: 2h, fuel: 0, instances: 3 }
grants: {}
`, `
p:1:7: name must match ^[a-z][a-z0-9-]{1,62}$
p:2:10: version must be a semantic version such as 1.2.0
p:3:6: abi must be 1
p:4:10: "e n" is not a language: en, zh, zh-CN
p:4:24: title must have 1 to 4096 bytes
p:5:14: description must be a mapping
p:6:11: messages must be a list of at most 256 words
p:7:13: "A" stands in events twice
p:7:16: a word of events must be a text
p:8:17: unknown capability "stat": there are state, send, api, fetch, media, vault, emit, schedule
p:8:34: why is missing in capability state
p:8:54: unknown key "upstreams" in capability send: it has why, optional
p:8:101: the name of an upstream must match ^[a-z][a-z0-9-]{1,62}$
p:9:6: raw must be true or false
p:10:19: memory must be a size from 64KiB to 4GiB, such as 16MiB
p:10:34: timeout must be a duration from 1ms to 1h, such as 300ms
p:10:44: fuel must be a whole number from 1 to 1000000000000
p:10:47: unknown key "instances" in limits: it has memory, timeout, fuel
p:11:1: unknown key "grants" in the manifest: it has name, version, abi, title, description, vendor, license, messages, events, capabilities, raw, limits, config`},
		{"event as a message", head + "messages: [text, event]\n", "p:4:11: event is not a message: list its events under events"},
		{"strict YAML", head + "vendor: &a x\nlicense: *a\nraw: !!bool true\nvendor: y\n1: x\n", `
p:4:9: anchors and aliases are not supported: write the value out
p:5:10: anchors and aliases are not supported: write the value out
p:5:10: license must be a text
p:6:6: a tag (!) is not allowed: quote a value that begins with !
p:7:1: key "vendor" stands here twice, first on line 4
p:8:1: a key that is not a plain text: quote it
p:8:1: unknown key "1" in the manifest: it has name, version, abi, title, description, vendor, license, messages, events, capabilities, raw, limits, config`},
		{"schema is no mapping", head + "config: [1]\n", "p:4:9: config must be a mapping, a JSON Schema 2020-12"},
		{"schema is wrong", head + "config:\n  properties:\n    a: { type: strin }\n", `p:6:16: config is not a JSON Schema 2020-12: /properties/a/type must be one of "array", "boolean", "integer", "null", "number", "object", "string"`},
		{"pattern is wrong", head + "config: { properties: { a: { pattern: '(' } } }\n", "p:4:39: config is not a JSON Schema 2020-12: /properties/a/pattern is not what the schema says"},
		{"another dialect", head + "config: { $schema: 'http://json-schema.org/draft-07/schema#' }\n", "p:4:20: $schema must be https://json-schema.org/draft/2020-12/schema"},
		{"references outside", head + `config:
  $id: https://example.com/
  properties:
    a: { $ref: "https://example.com/s" }
    b: { items: { $ref: "file:///etc/passwd" } }
    c: { anyOf: [ { $dynamicRef: "#x" } ] }
    $ref: { const: { $ref: x } }
`, `
p:5:3: $id is not supported in a config's schema
p:7:16: $ref must begin with #: a schema refers to nothing outside itself
p:8:25: $ref must begin with #: a schema refers to nothing outside itself
p:9:21: $dynamicRef is not supported in a config's schema`},
		{"reference to nothing", head + "config: { $ref: '#/$defs/x' }\n", `p:4:9: config is not a JSON Schema 2020-12: json-pointer in "#/$defs/x" not found`},
		{"numbers", head + "config: { minimum: 0x10, maximum: 1e401, multipleOf: 1e-999999, const: .nan }\n", `
p:4:20: "0x10" is not a number as JSON has it, or is out of range
p:4:54: "1e-999999" is not a number as JSON has it, or is out of range
p:4:72: ".nan" is not a number as JSON has it, or is out of range`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := manifest.Parse("p", []byte(c.src))
			if err == nil {
				t.Fatalf("got %+v", m)
			}
			if got, want := err.Error(), strings.TrimSpace(c.want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			var all *manifest.Error
			if !errors.As(err, &all) || m != nil {
				t.Errorf("got %T", err)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	for name, src := range map[string]string{
		"size":   head + strings.Repeat("# x\n", manifest.MaxSize/4),
		"depth":  head + "config: { x: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + " }\n",
		"values": head + "config: { enum: [" + strings.Repeat("1,", 30_000) + "] }\n",
		"many":   head + strings.Repeat("a: b\n", 5_000),
	} {
		var all *manifest.Error
		_, err := manifest.Parse("p", []byte(src))
		if !errors.As(err, &all) || len(all.Problems) > 100 {
			t.Errorf("%s: got %.200v", name, err)
		}
	}
}

// FuzzParse: what Parse takes has what hostapi.md asks of it, and any config can
// be checked with it; an error says where.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole), []byte(`{"greeting":"a","key":"b"}`))
	f.Add([]byte(head+"config: { $ref: '#' }\n"), []byte(`{}`))
	f.Add([]byte(head+"config: { allOf: [ { $ref: '#/$defs/a' } ], $defs: { a: { properties: { x: { $ref: '#' } }, unevaluatedProperties: false } } }\n"), []byte(`{"x":{"x":{"y":1}}}`))
	f.Add([]byte(head+"config: { oneOf: [ { required: [a] }, { patternProperties: { '^b': { uniqueItems: true, prefixItems: [ true ], items: { not: {} } } } } ] }\n"), []byte(`{"b":[1,1]}`))
	f.Fuzz(func(t *testing.T, src, config []byte) {
		m, err := manifest.Parse("p", src)
		if err != nil {
			var all *manifest.Error
			if !errors.As(err, &all) || len(all.Problems) == 0 || m != nil {
				t.Fatalf("got %T %v", err, err)
			}
			for _, p := range all.Problems {
				if p.Line < 1 || p.Col < 1 || p.Text == "" {
					t.Fatalf("got %+v", p)
				}
			}
			return
		}
		if m.Name == "" || m.Version == "" || m.ABI != 1 {
			t.Fatalf("got %+v", m)
		}
		for name, c := range m.Capabilities {
			if c.Why == "" {
				t.Fatalf("capability %s without why", name)
			}
		}
		if !m.MessagesSet && !m.EventsSet && !m.Wants("text", "") {
			t.Fatal("wants nothing")
		}
		problems := m.CheckConfig(config)
		if again := m.CheckConfig(config); !reflect.DeepEqual(problems, again) {
			t.Fatalf("got %v, then %v", problems, again)
		}
		if _, err := m.Mask(config); err != nil && len(problems) == 0 {
			t.Fatalf("a good config can't be masked: %v", err)
		}
	})
}
