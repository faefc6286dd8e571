package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

// app is a valid beginning; tests add what they are about.
const app = `weft: 1
apps:
  shop: { type: official, app_id: wx1, token: t, mode: plain }
`

type problemCase struct{ name, src, want string }

// problemCases hold the exact text and place of every kind of problem.
func problemCases() []problemCase {
	return append(append(apiCases(), identityCases()...), []problemCase{
		{"empty", "", `p.yaml:1:1: the file is empty (it begins with weft: 1)`},
		{"comment only", "# hello\n", `p.yaml:1:1: the file is empty (it begins with weft: 1)`},
		{"a list", "- a\n", `p.yaml:1:1: must be a mapping, and is a list`},
		{"two documents", "weft: 1\n---\nweft: 1\n", `
p.yaml:1:1: warning: there are no apps: no callback will be accepted
p.yaml:2:1: a second document begins here (a file holds one document)`},
		{"no version", "apps: {}\n", `
p.yaml:1:1: weft is missing (it is 1)
p.yaml:1:1: warning: there are no apps: no callback will be accepted`},
		{"another version", "weft: 2\n", `
p.yaml:1:1: warning: there are no apps: no callback will be accepted
p.yaml:1:7: weft: 2 is not 1`},
		{"broken UTF-8", "weft: 1\nx: \xff\n", `p.yaml:2:4: broken UTF-8 (save the file as UTF-8 text)`},
		{"NUL", "weft: 1\nx: \x00\n", `p.yaml:2:4: character U+0000 is not allowed (save the file as UTF-8 text)`},
		{"not YAML", "weft: 1\napps: [\n", `p.yaml:2:1: not YAML: did not find expected node content`},
		{"tab", "weft: 1\nserver:\n\tlisten: x\n", `p.yaml:3:1: not YAML: found character that cannot start any token (indent with blanks, not with tabs)`},
		{"a full-width colon", "weft: 1\napps：\n  shop: {}\n", `p.yaml:2:1: not YAML: could not find expected ':' (： is a full-width colon: write : and a blank)`},
		{"a full-width colon in braces", "weft: 1\napps:\n  shop: { type：official, app_id: wx1, token: t, mode: plain }\n" + stages, `
p.yaml:3:3: apps.shop: type is missing (it is official or miniprogram)
p.yaml:3:11: apps.shop: unknown key "type：official" (： is a full-width colon: write : and a blank)`},
		{"a full-width comma", "weft: 1\napps:\n  shop: { type: official，app_id: wx1 }\n", `p.yaml:3:3: not YAML: did not find expected ',' or '}' (， is a full-width comma: write , and a blank)`},
		{"a full-width blank", "weft: 1\napps:\n　shop:\n    type: official\n", `
p.yaml:1:1: warning: there are no apps: no callback will be accepted
p.yaml:3:1: unknown key "\u3000shop" (the line begins with a full-width blank, U+3000: indent with blanks)`},
		{"full-width signs in a text", "weft: 1\nx: 你好，a：b\ny: [\n", `p.yaml:3:1: not YAML: did not find expected node content`},
		{
			"an original id", strings.Replace(app, "wx1", "gh_0123456789ab", 1) + stages,
			`p.yaml:3:35: warning: apps.shop.app_id begins with gh_: that is an account's original id (原始ID) (the AppID begins with wx and stands beside it in the account's console)`,
		},
		{
			"a max_skew that refuses repeats", strings.Replace(app, "app_id: wx1", "app_id: wx1, max_skew: 14s", 1) + stages,
			`p.yaml:3:50: warning: apps.shop.max_skew is under 15s: WeChat's repeats, which carry the first delivery's timestamp, are refused (300s or more also forgives a clock that is off)`,
		},
		{"no warning of one that takes them", strings.Replace(app, "app_id: wx1", "app_id: wx1, max_skew: 15s", 1) + stages, ""},
		{"one address for both listeners", app + "server: { listen: \":9090\" }\n" + stages, `
p.yaml:4:19: server.admin and server.listen are one address (give each a port of its own)`},
		{"one address, written out", app + "server: { listen: 127.0.0.1:80, admin: 127.0.0.1:080 }\n" + stages, `
p.yaml:4:40: server.admin and server.listen are one address (give each a port of its own)`},
		{"two addresses with one port", app + "server: { listen: 10.0.0.1:9090, admin: 127.0.0.1:9090 }\n" + stages, ""},
		{"any port twice", app + "server: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }\n" + stages, ""},
		{"tag", "weft: 1\nserver: { drain: !!str 5s, data: !x y }\n", `
p.yaml:1:1: warning: there are no apps: no callback will be accepted
p.yaml:2:18: a tag (!) is not allowed (quote a value that begins with !)
p.yaml:2:34: a tag (!) is not allowed (quote a value that begins with !)`},
		{"duplicate key", app + "server:\n  drain: 1s\n  drain: 2s\n" + stages, `
p.yaml:6:3: key drain stands here twice, first on line 5 (keep one)`},
		{"merge key", app + "server: { <<: { drain: 1s } }\n" + stages, `
p.yaml:4:11: merge keys (<<) are not supported (write the keys out)`},
		{"keys that are no text", app + "server: { 1: x, true: x, ~: x, [a]: x }\n" + stages, `
p.yaml:4:11: a key that is not a plain text (quote it)
p.yaml:4:17: a key that is not a plain text (quote it)
p.yaml:4:26: a key that is not a plain text (quote it)
p.yaml:4:32: a key that is not a plain text (quote it)`},
		{"unknown keys", app + "servr: {}\nserver: { listn: x, inflght: 4096 }\nconsole: {}\n" + stages, `
p.yaml:4:1: unknown key servr (did you mean server?)
p.yaml:5:11: server: unknown key listn (did you mean listen?)
p.yaml:5:21: server: unknown key inflght (did you mean inflight?)
p.yaml:6:1: unknown key console`},
		{"parts that don't exist yet", app + `pipeline:
  overflow: queue
  late_reply: [repeat]
  stages:
    - { plugin: a, async: true }
plugins:
  a: { source: a.wasm, grants: { media: {} }, limits: { gpu: 1 } }
`, `
p.yaml:6:16: pipeline.late_reply.0: repeat is not drop
p.yaml:10:34: plugins.a.grants: unknown key media
p.yaml:10:57: plugins.a.limits: unknown key gpu`},
		{"values of the server", app + `server:
  listen: 8080
  admin: 0.0.0.0:9090
  drain: 5
  data: [x]
store: embedded
` + stages, `
p.yaml:5:11: server.listen: 8080 is not HOST:PORT, such as 127.0.0.1:8080
p.yaml:6:10: server.admin: not a loopback address, and there is no server.admin_token (set server.admin_token, or listen on 127.0.0.1)
p.yaml:7:10: server.drain: 5 is not 0s or a duration from 0s to 1h (such as 300ms, 5s, 10m, 1h30m or 2d)
p.yaml:8:9: server.data: must be the path of a folder, and is a list
p.yaml:9:8: store: must be a mapping, and is a single value`},
		{"an app without anything", "weft: 1\napps:\n  shop:\n  Shop: {}\n" + stages, `
p.yaml:3:3: apps.shop: type is missing (it is official or miniprogram)
p.yaml:3:3: apps.shop: app_id is missing (it is an AppID: 1 to 64 letters, digits, _ and -)
p.yaml:3:3: apps.shop: token is missing (it is a Token: 1 to 64 printable ASCII characters without blanks)
p.yaml:3:3: apps.shop: mode is missing (it is encrypted, compatible or plain)
p.yaml:4:3: apps: Shop is not a name: a small letter, then small letters, digits and -, at most 63
p.yaml:4:3: apps.Shop: type is missing (it is official or miniprogram)
p.yaml:4:3: apps.Shop: app_id is missing (it is an AppID: 1 to 64 letters, digits, _ and -)
p.yaml:4:3: apps.Shop: token is missing (it is a Token: 1 to 64 printable ASCII characters without blanks)
p.yaml:4:3: apps.Shop: mode is missing (it is encrypted, compatible or plain)`},
		{"values of an app", `weft: 1
apps:
  shop:
    type: offical
    app_id: "wx 1"
    token: my secret token
    encoding_aes_key: too-short-a-key
    mode: encryptd
    max_skew: 48h
    labels: { client: "" }
    callback_path: wechat
    previous: {}
    pipeline: mian
    with: []
` + stages, `
p.yaml:4:11: apps.shop.type: offical is not official or miniprogram (did you mean official?)
p.yaml:5:13: apps.shop.app_id: "wx 1" is not an AppID: 1 to 64 letters, digits, _ and -
p.yaml:6:12: apps.shop.token: the value is not a Token: 1 to 64 printable ASCII characters without blanks
p.yaml:7:23: apps.shop.encoding_aes_key: the value is not an EncodingAESKey: 43 letters, digits, + and /
p.yaml:8:11: apps.shop.mode: encryptd is not encrypted, compatible or plain (did you mean encrypted?)
p.yaml:9:15: apps.shop.max_skew: 48h is not a duration from 1s to 24h
p.yaml:10:23: apps.shop.labels.client: "" is empty (it is a text of 1 to 1024 bytes)
p.yaml:11:20: apps.shop.callback_path: wechat is not a path such as /wechat/portal/wx1
p.yaml:12:5: apps.shop.previous: until is missing (it is a time such as 2026-12-01T00:00:00Z (RFC 3339))
p.yaml:12:5: apps.shop.previous: names nothing that is also accepted (token, encoding_aes_key or mode)
p.yaml:13:15: apps.shop.pipeline: there is no pipeline mian (did you mean main?)
p.yaml:14:11: apps.shop.with: must be a mapping of plugins to configs, and is a list
p.yaml:15:1: warning: no app uses pipeline main`},
		{"keys and modes", `weft: 1
apps:
  a: { type: official, app_id: a, token: t, mode: compatible }
  b: { type: official, app_id: a, token: t, mode: plain, previous: { mode: encrypted, until: 2030-01-01T00:00:00Z } }
  c: { type: official, app_id: a, token: t, mode: plain, previous: { token: x, until: tomorrow } }
` + stages, `
p.yaml:3:3: apps.a: encoding_aes_key is missing (every mode but plain needs one)
p.yaml:4:58: apps.b.previous: encoding_aes_key is missing (every mode but plain needs one)
p.yaml:5:87: apps.c.previous.until: tomorrow is not a time such as 2026-12-01T00:00:00Z (RFC 3339)`},
		{"callback paths", `weft: 1
apps:
  a: { type: official, app_id: a, token: t, mode: plain, callback_path: /wechat }
  b: { type: official, app_id: a, token: t, mode: plain, callback_path: /wechat }
  c: { type: official, app_id: a, token: t, mode: plain, callback_path: /wx/b }
  d: { type: official, app_id: a, token: t, mode: plain, callback_path: /api/b/x }
  e: { type: official, app_id: a, token: t, mode: plain, callback_path: /api/wechat }
  f: { type: official, app_id: a, token: t, mode: plain, callback_path: /a/../b }
  g: { type: official, app_id: a, token: t, mode: plain, callback_path: "/{app}" }
  h: { type: official, app_id: a, token: t, mode: plain, callback_path: /x.txt }
` + stages, `
p.yaml:4:73: apps.b.callback_path: app a has this path, too
p.yaml:5:73: apps.c.callback_path: "/wx/b" is a path of the host's own (it is a path such as /wechat/portal/wx1)
p.yaml:6:73: apps.d.callback_path: /api/{app} is a path of the host's own
p.yaml:8:73: apps.f.callback_path: "/a/../b" is not a path such as /wechat/portal/wx1
p.yaml:9:73: apps.g.callback_path: "/{app}" is not a path such as /wechat/portal/wx1
p.yaml:10:73: apps.h.callback_path: "/x.txt" is a path of the host's own (it is a path such as /wechat/portal/wx1)`},
		{"plugins", app + `plugins:
  a: { source: "oci://host/a:1", grants: { state: yes }, limits: { memory: 16MB, timeout: 0s, instances: 0 } }
  b: { source: b.wasm, config: [], limits: { memory: 1KiB } }
  c: { config: { x: .nan, y: [ -.inf ], z: 1e309, w: "1e999", v: 1e-999 } }
pipeline: { stages: [ { plugin: a }, { plugin: bb } ] }
`, `
p.yaml:5:16: plugins.a.source: "oci://host/a:1" is not a file (a plugin comes from a .wasm file)
p.yaml:5:51: plugins.a.grants.state: yes is not true or false (write true)
p.yaml:5:76: plugins.a.limits.memory: 16MB is not a size from 64KiB to 4GiB (such as 65536, 512KiB or 16MiB)
p.yaml:5:91: plugins.a.limits.timeout: 0s is not a duration from 1ms to 1h
p.yaml:5:106: plugins.a.limits.instances: 0 is not a whole number from 1 to 10000
p.yaml:6:3: warning: no stage uses plugin b
p.yaml:6:32: plugins.b.config: must be a mapping, and is a list
p.yaml:6:54: plugins.b.limits.memory: 1KiB is not a size from 64KiB to 4GiB
p.yaml:7:3: plugins.c: source is missing (it is the path of a .wasm file)
p.yaml:7:3: warning: no stage uses plugin c
p.yaml:7:21: plugins.c.config.x: ".nan" is not a number that JSON has (quote it for a text)
p.yaml:7:32: plugins.c.config.y.0: "-.inf" is not a number that JSON has (quote it for a text)
p.yaml:7:66: plugins.c.config.v: 1e-999 is out of range (quote it for a text)
p.yaml:8:48: pipeline.stages.1.plugin: there is no plugin bb (did you mean b?)`},
		{"bounds of apps", `weft: 1
server: { inflight: 0 }
apps:
  a: { type: official, app_id: wx1, token: t, mode: plain, limits: { inflight: 0, workers: x, queue: -1, queues: 1 } }
  b: { type: official, app_id: wx1, token: t, mode: plain, limits: [] }
pipeline: { overflow: drop }
`, `
p.yaml:2:21: server.inflight: 0 is not a whole number from 1 to 1000000
p.yaml:4:80: apps.a.limits.inflight: 0 is not a whole number from 1 to 1000000
p.yaml:4:92: apps.a.limits.workers: x is not a whole number from 1 to 10000
p.yaml:4:102: apps.a.limits.queue: -1 is not a whole number from 1 to 100000000
p.yaml:4:106: apps.a.limits: unknown key queues (did you mean queue?)
p.yaml:5:68: apps.b.limits: must be a mapping, and is a list
p.yaml:6:23: pipeline.overflow: drop is not queue or ack`},
		{"bounds of apps that make no sense", `weft: 1
server: { inflight: 3 }
apps:
  a: { type: official, app_id: wx1, token: t, mode: plain, limits: { inflight: 3 } }
  b: { type: official, app_id: wx1, token: t, mode: plain, limits: { inflight: 4 } }
` + stages, `
p.yaml:1:1: warning: server.inflight is under 4, two for each of 2 apps: no place is kept free for an app
p.yaml:5:80: warning: apps.b.limits.inflight is over server.inflight, which bounds all apps together`},
		{"limits and isolation", app + `plugins:
  a: { source: a.wasm, isolation: events, limits: { feul: 1, host_call: 1, fuel: 99999, state: 2TiB, host_calls: 0, response: 1, log: 1KB } }
  b: { source: b.wasm, isolation: [app], limits: { fuel: 1e9, instance: 3, state: 1023, host_calls: 4294967297, log: } }
  c: { source: c.wasm, isolation: , limits: { fuel: 1000000000001, response: 5GiB } }
pipeline: { stages: [ { plugin: a }, { plugin: b }, { plugin: c } ] }
`, `
p.yaml:5:35: plugins.a.isolation: events is not shared, app or event (did you mean event?)
p.yaml:5:53: plugins.a.limits: unknown key feul (did you mean fuel?)
p.yaml:5:62: plugins.a.limits: unknown key host_call (did you mean host_calls?)
p.yaml:5:82: plugins.a.limits.fuel: 99999 is not a whole number from 100000 to 1000000000000
p.yaml:5:96: plugins.a.limits.state: 2TiB is not a size from 1KiB to 1TiB
p.yaml:5:114: plugins.a.limits.host_calls: 0 is not a whole number from 1 to 1000000000
p.yaml:5:127: plugins.a.limits.response: 1 is not a size from 1KiB to 4GiB
p.yaml:5:135: plugins.a.limits.log: 1KB is not a size from 1KiB to 1GiB (such as 65536, 512KiB or 16MiB)
p.yaml:6:35: plugins.b.isolation: must be shared, app or event, and is a list
p.yaml:6:58: plugins.b.limits.fuel: 1e9 is not a whole number from 100000 to 1000000000000
p.yaml:6:63: plugins.b.limits: unknown key instance (did you mean instances?)
p.yaml:6:83: plugins.b.limits.state: 1023 is not a size from 1KiB to 1TiB
p.yaml:6:101: plugins.b.limits.host_calls: 4294967297 is not a whole number from 1 to 1000000000
p.yaml:6:118: plugins.b.limits.log: has no value (it is a size from 1KiB to 1GiB)
p.yaml:7:35: plugins.c.isolation: has no value (it is shared, app or event)
p.yaml:7:53: plugins.c.limits.fuel: 1000000000001 is not a whole number from 100000 to 1000000000000
p.yaml:7:78: plugins.c.limits.response: 5GiB is not a size from 1KiB to 4GiB`},
		{"with", app + `plugins: { welcome: { source: w.wasm }, other: { source: o.wasm } }
pipelines:
  main: { stages: [ { plugin: welcome } ] }
  second: { stages: [ { plugin: other } ] }
`, `p.yaml:7:3: warning: no app uses pipeline second`},
		{"with for a plugin of another pipeline", strings.Replace(app, "mode: plain", "mode: plain, with: { other: {}, welcom: {}, x: 1 }", 1) + `plugins: { welcome: { source: w.wasm }, other: { source: o.wasm } }
pipelines:
  main: { stages: [ { plugin: welcome } ] }
  second: { stages: [ { plugin: other } ] }
`, `
p.yaml:3:71: apps.shop.with: pipeline main doesn't use plugin other
p.yaml:3:82: apps.shop.with: pipeline main doesn't use plugin welcom (did you mean welcome?)
p.yaml:3:97: apps.shop.with.x: must be a mapping, and is a single value
p.yaml:7:3: warning: no app uses pipeline second`},
		{"pipeline and pipelines.main", app + "pipelines: { main: {} }\npipeline: {}\n", `
p.yaml:5:1: pipeline is short for pipelines.main, which line 4 has, too (keep one)`},
		{"times", app + "pipeline: { answer_within: 5s, deadline: 2h, dedupe: 500ms, order: app }\n", `
p.yaml:4:28: pipeline.answer_within: 5s is not a duration from 100ms to 4.9s
p.yaml:4:42: pipeline.deadline: 2h is not a duration from 100ms to 1h
p.yaml:4:54: pipeline.dedupe: 500ms is not 0s or a duration from 1s to 24h
p.yaml:4:68: pipeline.order: app is not user`},
		{"deadline under answer_within", app + "pipeline: { deadline: 3s }\n", `
p.yaml:4:23: deadline of pipeline main is under its answer_within (deadline is the longest an event may take, answered or not)`},
		{"stages", app + `plugins: { a: { source: a.wasm } }
pipeline:
  on_error: ignore
  stages:
    - plugin: a
    - { plugin: a, when: 'true' }
    - { plugin: a, reply: { text: x }, name: both }
    - { switch: [] }
    - { name: S, reply: {} }
    - { name: s2, reply: { text: a, image: b } }
    - { name: s3, plugin: a, on_error: { reply: { text: x }, plugin: a } }
    - { name: s4, plugin: a, on_error: {} }
    - { name: s5, plugin: a, on_error: [skip] }
    - { name: s6, plugin: a, on_error: { plugin: none } }
    - name: s7
      switch:
        - stages: []
        - { when: 'true' }
    - plugin
  always:
    - { name: s7, reply: { text: late }, on_error: queue }
`, `
p.yaml:6:13: pipeline.on_error: ignore is not skip, stop, queue, again, { reply: … } or { plugin: NAME }
p.yaml:9:7: a second stage a in pipeline main; the first is on line 8 (give this one a name of its own: name: …)
p.yaml:10:20: pipeline.stages.2: a stage has one of plugin and reply (make two stages of it)
p.yaml:11:9: pipeline.stages.3.switch: the switch has no branches
p.yaml:12:15: pipeline.stages.4.name: S is not a name: a small letter, then small letters, digits and -, at most 63
p.yaml:12:18: pipeline.stages.4.reply: the reply is empty (it has one of text, image, voice, video, music, news, transfer, raw)
p.yaml:13:26: pipeline.stages.5.reply: a reply has one of text, image, voice, video, music, news, transfer, raw (keep one)
p.yaml:14:40: pipeline.stages.6.on_error: has both reply and plugin (keep one)
p.yaml:15:40: pipeline.stages.7.on_error: has neither reply nor plugin (it is skip, stop, queue, again, { reply: … } or { plugin: NAME })
p.yaml:16:40: pipeline.stages.8.on_error: must be skip, stop, queue, again, { reply: … } or { plugin: NAME }, and is a list
p.yaml:17:50: pipeline.stages.9.on_error.plugin: there is no plugin none
p.yaml:20:11: pipeline.stages.10.switch: only the last branch may leave out when (what stands after it would never run)
p.yaml:21:11: pipeline.stages.10.switch.1: stages is missing (it is a list of stages)
p.yaml:22:7: pipeline.stages.11: must be a mapping, and is a single value
p.yaml:24:7: a second stage s7 in pipeline main; the first is on line 18 (give this one a name of its own: name: …)
p.yaml:24:7: warning: stage s7 under always: its reply goes nowhere (stages under always run after the answer)
p.yaml:24:7: warning: stage s7 under always: on_error queue has no effect (stages under always run after the answer)`},
		{"parallel", app + `plugins: { a: { source: a.wasm }, b: { source: b.wasm } }
pipeline:
  stages:
    - parallel: []
    - { name: p2, parallel: { plugin: a } }
    - { name: p3, parallel: }
    - { name: p4, parallel: [ { plugin: a }, { plugin: a }, { plugin: none } ] }
    - { name: p5, parallel: [ { plugin: b } ], plugin: a }
    - { name: p6, parallel: [ { reply: { text: x } } ], on_error: skip }
    - { name: p7, when: 'true', parallel: [ { name: r7, reply: { text: x } } ], on_error: skip }
    - { name: p8, parallel: [ ` + strings.Repeat("x, ", 17) + `] }
  always:
    - { name: p9, parallel: [ { name: r9, reply: { text: x } } ] }
`, `
p.yaml:7:7: pipeline.stages.0.parallel: must be a list of 1 to 16 stages
p.yaml:8:29: pipeline.stages.1.parallel: must be a list of 1 to 16 stages, and is a mapping
p.yaml:9:19: pipeline.stages.2.parallel: must be a list of 1 to 16 stages
p.yaml:10:46: a second stage a in pipeline main; the first is on line 10 (give this one a name of its own: name: …)
p.yaml:10:71: pipeline.stages.3.parallel.2.plugin: there is no plugin none
p.yaml:11:19: pipeline.stages.4: a stage has one of plugin and parallel (make two stages of it)
p.yaml:12:7: warning: stage p6: on_error has no effect: a branch that fails has its own (move it into the branches)
p.yaml:14:19: pipeline.stages.7.parallel: must be a list of 1 to 16 stages
p.yaml:16:31: warning: stage r9 under always: its reply goes nowhere (stages under always run after the answer)`},
		{"async", app + `plugins: { a: { source: a.wasm } }
pipeline:
  stages:
    - { name: s1, plugin: a, async: yes }
    - { name: s2, reply: { text: x }, async: true }
    - { name: s3, switch: [ { stages: [ { plugin: a, async: true, on_error: again } ] } ], async: true }
    - { name: s4, plugin: a, async: false, on_error: again }
  always:
    - { name: s5, plugin: a, async: true, on_error: queue }
    - { name: s6, plugin: a, async: true, on_error: { reply: { text: x } } }
    - { name: s7, reply: { text: x }, async: false }
`, `
p.yaml:7:37: pipeline.stages.0.async: yes is not true or false (write true)
p.yaml:8:39: pipeline.stages.1: only a stage with plugin or forward can be async
p.yaml:9:41: warning: async stage a: no delivery waits for it: its on_error again is queue (leave it out)
p.yaml:9:92: pipeline.stages.2: only a stage with plugin or forward can be async
p.yaml:13:7: warning: async stage s6: the reply of its on_error goes nowhere (the answer does not wait for it: skip has the same effect)
p.yaml:14:7: warning: stage s7 under always: its reply goes nowhere (stages under always run after the answer)`},
		{"replies", app + `pipeline:
  stages:
    - { name: a, reply: { text: "" } }
    - { name: b, reply: { text: { contents: x } } }
    - { name: c, reply: { image: [x] } }
    - { name: d, reply: { news: { articles: [] } } }
    - { name: e, reply: { news: { articles: [ { url: x } ] } } }
    - { name: f, reply: { music: {} } }
    - { name: g, reply: { raw: { body: "%%%" } } }
    - { name: h, reply: { txt: x } }
    - { name: i, reply: x }
`, `
p.yaml:6:33: pipeline.stages.0.reply.text: "" is empty (it is a text of 1 to 61440 bytes)
p.yaml:7:27: pipeline.stages.1.reply.text: content is missing (it is a text of 1 to 61440 bytes)
p.yaml:7:35: pipeline.stages.1.reply.text: unknown key contents (did you mean content?)
p.yaml:8:34: pipeline.stages.2.reply.image: must be a text of 1 to 61440 bytes, and is a list
p.yaml:9:35: pipeline.stages.3.reply.news.articles: must be a list of 1 to 10 articles
p.yaml:10:47: pipeline.stages.4.reply.news.articles.0: title is missing (it is a text of 1 to 4096 bytes)
p.yaml:11:27: pipeline.stages.5.reply.music: thumb_media_id is missing (it is a text of 1 to 1024 bytes)
p.yaml:12:40: pipeline.stages.6.reply.raw.body: "%%%" is not base64
p.yaml:13:27: pipeline.stages.7.reply: unknown key txt (did you mean text?)
p.yaml:14:25: pipeline.stages.8.reply: must be a mapping, and is a single value`},
		{"when without quotes", app + `plugins: { a: { source: a.wasm } }
pipeline:
  stages:
    - { name: a, plugin: a, when: true }
    - { name: b, plugin: a, when: [type] }
    - { name: c, plugin: a, when: { type: text } }
    - { name: d, plugin: a, when: }
    - { name: e, plugin: a, when: 1 }
    - name: f
      plugin: a
      when: content == "a #1"
    - name: g
      plugin: a
      when: type == "text" # voice later
    - name: h
      plugin: a
      when: !(type == "text")
    - name: i
      plugin: a
      when: type == "text"
    - { name: j, plugin: a, when: max(a, b) }
`, `
p.yaml:7:35: pipeline.stages.0.when: true is not an expression: YAML reads it as bool (quote it: when: '…')
p.yaml:8:35: pipeline.stages.1.when: YAML reads a list here, not an expression (quote it: when: '…')
p.yaml:9:35: pipeline.stages.2.when: YAML reads a mapping here, not an expression (quote it: when: '…')
p.yaml:10:35: pipeline.stages.3.when: has no value (leave it out for always, or quote it: when: '…')
p.yaml:11:35: pipeline.stages.4.when: 1 is not an expression: YAML reads it as int (quote it: when: '…')
p.yaml:14:13: pipeline.stages.5.when: without quotes YAML reads only "content == \"a" (quote it: when: '…')
p.yaml:17:13: warning: pipeline.stages.6.when: without quotes YAML takes what follows # as a comment (quote it: when: '…')
p.yaml:20:13: a tag (!) is not allowed (quote a value that begins with !)
p.yaml:24:35: pipeline.stages.9.when: without quotes YAML reads only "max(a" (quote it: when: '…')
p.yaml:24:42: pipeline.stages.9: unknown key "b)"`},
		{"a pipeline without stages for want of a letter", `weft: 1
apps:
  a: { type: official, app_id: a, token: t, mode: plain, with: { p: { x: 1 } } }
plugins: { p: { source: p.wasm } }
upstreams: { u: { url: "http://h" } }
pipeline:
  stagess:
    - { plugin: p }
    - { forward: { to: u, as: raw } }
`, `p.yaml:7:3: pipeline: unknown key stagess (did you mean stages?)`},
		{"a pipeline without stages", `weft: 1
apps:
  a: { type: official, app_id: a, token: t, mode: plain, with: { p: { x: 1 } } }
plugins: { p: { source: p.wasm } }
pipeline: {}
`, `
p.yaml:3:66: apps.a.with: pipeline main doesn't use plugin p
p.yaml:4:12: warning: no stage uses plugin p`},
		{"when that breaks the YAML", app + `pipeline:
  stages:
    - plugin: a
      when: "text" == type
`, `p.yaml:7:7: not YAML: did not find expected key (quote it: when: '…')`},
		{
			"a bare reference in a flow mapping", "weft: 1\nserver: { admin_token: ${T} }\n",
			`p.yaml:2:1: not YAML: did not find expected ',' or '}' (between { } and [ ], ${…} needs quotes)`,
		},
		{"anchors", "weft: 1\napps:\n  a: &x { type: official, app_id: a, token: t, mode: none }\n  b: *x\n" + stages, `
p.yaml:3:54: apps.a.mode: none is not encrypted, compatible or plain
p.yaml:3:54: apps.b.mode: none is not encrypted, compatible or plain`},
		{"unknown anchor", "weft: 1\napps: *x\n", `p.yaml:2:1: not YAML: an alias (*) of nothing (quote a value that begins with *)`},
		{"a cycle", "weft: 1\napps: &x { a: *x }\n", `
p.yaml:2:15: the file is nested deeper than 64 (aliases count each time they are used)`},
	}...)
}

func TestProblems(t *testing.T) {
	for _, c := range problemCases() {
		t.Run(c.name, func(t *testing.T) {
			cfg, problems := config.Parse("p.yaml", []byte(c.src), options())
			if got, want := problems.Error(), strings.TrimSpace(c.want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if (cfg == nil) != (problems.Err() != nil) {
				t.Errorf("config %v with error %v", cfg, problems.Err())
			}
		})
	}
}

const stages = "pipeline: { stages: [] }\n"

func TestProblemsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(app + stages)
	for i := range 300 {
		fmt.Fprintf(&b, "unknown-%d: x\n", i)
	}
	_, problems := config.Parse("p.yaml", []byte(b.String()), config.Options{})
	if len(problems) != config.MaxProblems+1 {
		t.Fatalf("got %d problems", len(problems))
	}
	if got := problems[config.MaxProblems].String(); got != "p.yaml: and 200 more" {
		t.Errorf("got %q", got)
	}
}

// TestErrorsBehindWarnings: a file whose errors are all beyond the listed
// problems is still wrong.
func TestErrorsBehindWarnings(t *testing.T) {
	var b strings.Builder
	b.WriteString(app + stages + "plugins:\n")
	for i := range 150 {
		fmt.Fprintf(&b, "  p%d: { source: a.wasm }\n", i)
	}
	b.WriteString("nonsense: 1\n")
	cfg, problems := config.Parse("p.yaml", []byte(b.String()), config.Options{})
	if cfg != nil || problems.Err() == nil || !problems[0].Warning {
		t.Errorf("got %v", problems)
	}
}

func TestLimits(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("weft: 1\nx0: &x0 [a, a, a, a, a, a, a, a, a, a]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&bomb, "x%d: &x%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i-1), 10), ", "))
	}
	var texts strings.Builder
	texts.WriteString("weft: 1\nx: &x " + strings.Repeat("a", 1<<20) + "\ny:\n")
	for range 20 {
		texts.WriteString("  - *x\n")
	}
	for name, c := range map[string]struct{ src, want string }{
		"aliases":     {bomb.String(), "more than 100000 values"},
		"text":        {texts.String(), "more than 16777216 bytes of text"},
		"depth":       {"weft: 1\nx: " + strings.Repeat("[", 200) + strings.Repeat("]", 200), "nested deeper than 64"},
		"size":        {"weft: 1\n" + strings.Repeat("# x\n", 1<<20+1), "over 4194304"},
		"values":      {"weft: 1\nx: [" + strings.Repeat("a,", 100_001) + "]", "more than 100000 values"},
		"config":      {strings.Replace(minimal, "source: a.wasm", "source: a.wasm\n    config: { x: "+strings.Repeat("a", 1<<20)+" }", 1), "over 1048576 bytes of JSON"},
		"expansion":   {app + stages + "server: { data: \"" + strings.Repeat("${BIG}", 20) + "\" }", "over 1048576 bytes after expansion"},
		"secret file": {app + stages + "server: { data: \"${file:big}\" }", "over 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			big := strings.Repeat("v", 100_000)
			_, problems := config.Parse("p.yaml", []byte(c.src), config.Options{
				Getenv:   func(string) (string, bool) { return big, true },
				ReadFile: func(string) ([]byte, error) { return make([]byte, config.MaxExpanded+1), nil },
			})
			if problems.Err() == nil || !strings.Contains(problems.Error(), c.want) {
				t.Errorf("got %.300s", problems.Error())
			}
		})
	}
}

// TestConfigsAreBounded: many apps that share many plugins are refused before
// their configs fill the memory.
func TestConfigsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("weft: 1\nplugins:\n")
	for i := range 200 {
		fmt.Fprintf(&b, "  p%d: { source: a.wasm, config: { x: %s } }\n", i, strings.Repeat("x", 5000))
	}
	b.WriteString("pipeline:\n  stages:\n")
	for i := range 200 {
		fmt.Fprintf(&b, "    - plugin: p%d\n", i)
	}
	b.WriteString("apps:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  a%d: { type: official, app_id: a, token: t, mode: plain }\n", i)
	}
	_, problems := config.Parse("p.yaml", []byte(b.String()), config.Options{})
	if len(problems) != 1 || !strings.Contains(problems.Error(), "the configs of all apps' plugins together are over 67108864 bytes") {
		t.Errorf("got %.300s", problems.Error())
	}
}

// TestLongWhen: a condition can't be so deep that reading it ends the process.
func TestLongWhen(t *testing.T) {
	when := func(n int) string {
		return "weft: 1\npipeline:\n  stages:\n    - { name: a, when: '" + strings.Repeat("(", n) + "', reply: { text: x } }\n" +
			"    - switch: [ { when: '" + strings.Repeat("!", n) + "', stages: [] } ]\n"
	}
	if _, problems := config.Parse("p.yaml", []byte(when(config.MaxWhen)), config.Options{}); problems.Err() != nil {
		t.Error(problems)
	}
	const want = `p.yaml:4:24: pipeline.stages.0.when: has 32769 bytes, over 32768 (make several stages of it, or let a plugin decide)
p.yaml:5:25: pipeline.stages.1.switch.0.when: has 32769 bytes, over 32768 (make several stages of it, or let a plugin decide)`
	_, problems := config.Parse("p.yaml", []byte(when(config.MaxWhen+1)), config.Options{})
	if got := problems.Error(); !strings.HasSuffix(got, want) || problems.Err() == nil {
		t.Errorf("got %s", got)
	}
}
