package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// runCases writes a pipeline.yaml and a file of cases and runs them.
func runCases(t *testing.T, sections, cases string) *TestReport {
	t.Helper()
	file := writeConfig(t, sections)
	return runCasesBeside(t, file, cases)
}

func runCasesBeside(t *testing.T, file, cases string) *TestReport {
	t.Helper()
	path := filepath.Join(filepath.Dir(file), "cases.yaml")
	if err := os.WriteFile(path, []byte(cases), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := Test(t.Context(), TestOptions{Config: file, Files: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// mustPass fails with all that the report has against the cases.
func mustPass(t *testing.T, report *TestReport, cases int) {
	t.Helper()
	if !report.OK() || report.Passed != cases {
		b, err := json.MarshalIndent(report, "", " ")
		t.Fatalf("%d passed, %d failed: %s %v", report.Passed, report.Failed, b, err)
	}
}

// benchSections are sections with a stage of every kind.
func benchSections(t testing.TB) string {
	return "apps:\n" + appYAML("shop", "encrypted", "labels: { city: x }\n") + appYAML("raw", "plain", "pipeline: raw\n") +
		strings.Replace(appYAML("mini", "plain", ""), "official", "miniprogram", 1) + fmt.Sprintf(`upstreams:
  orders: { url: "http://127.0.0.1:1/", private: ["127.0.0.0/8"] }
plugins:
  probe: { source: %q, grants: { state: true }, config: { name: "${NAME}" } }
  spare: { source: %[1]q, grants: { state: true } }
pipelines:
  main:
    stages:
      - { name: first, plugin: probe, when: 'content != "hour"', on_error: { plugin: spare } }
      - { name: hour, reply: { text: morning }, when: 'content == "hour" && hour == 9' }
      - name: sides
        parallel: [ { name: left, plugin: probe, on_error: skip }, { name: json, forward: { to: orders, as: json }, on_error: skip } ]
        when: 'content startsWith "sides"'
      - { name: retried, plugin: probe, when: 'content == "trap queue"', on_error: queue }
      - { name: later, plugin: probe, async: true, when: 'content == "tag x"' }
      - switch: [ { stages: [ { name: shadowed, plugin: probe, shadow: spare, when: 'content == "shadowed"' } ] } ]
    always:
      - { name: last, plugin: probe, when: 'content == "tag x"' }
  raw:
    stages: [ { name: legacy, forward: { to: orders, as: raw }, on_error: { reply: { text: away } } } ]
`, probe(t))
}

const benchHead = "weft: 1\napp: shop\nenv: { NAME: Acme }\n"

func TestAppCases(t *testing.T) {
	report := runCases(t, benchSections(t), benchHead+`
now: 2026-03-01T09:00:00+08:00
cases:
  - name: a reply, a path, fuel, the config of the environment
    events:
      - { event: { content: name, user: oU }, reply: { text: Acme }, outcome: replied, path: [first], annotations: {}, fuel: 100000000, sends: none }
      - { event: { content: nothing, user: oU }, reply: none, outcome: success, path: [first] }
      - { event: { content: shadowed, user: oU }, reply: none, path: [first, shadowed] }
  - name: annotations, and an async stage
    events:
      - { event: { content: tag x, user: oU }, annotations: { tag: x }, path: [first, last, later] }
  - name: the clock
    events:
      - { event: { content: hour }, reply: { text: morning } }
      - { after: 1h, event: { content: hour }, reply: none }
      - { event: { content: nap }, reply: { text: slept 20ms } }
  - name: a plugin in the stage's place
    events:
      - event: { content: fail }
        reply: none
        outcome: stopped
        path: [ { stage: first, error: error, on_error: plugin }, { stage: first, side: instead, error: error, on_error: stop } ]
  - name: state, given and left
    given: { probe: { "app:runs": "41", "user:oU:x": { base64: AAE= } } }
    events:
      - { event: { content: count }, reply: { text: run 42 }, path: [first] }
    state: { probe: { "app:runs": "42", "user:oU:x": { base64: AAE= }, "app:no": null } }
  - name: another case has none of that state
    events: [ { event: { content: count }, reply: { text: run 1 } } ]
  - name: side by side, with an upstream
    upstreams: { orders: { body: '{"text":{"content":"ordered"}}' } }
    events:
      - { event: { content: sides }, reply: { text: ordered }, path: [first, sides, left, json] }
      - event: { content: sides }
        upstreams: { orders: { status: 502 } }
        reply: none
        path: [first, sides, left, { stage: json, error: upstream, on_error: skip }]
  - name: the queue goes on when the time has come
    events:
      - event: { content: trap queue }
        outcome: stopped
        path: [ { stage: first, error: trap }, { stage: first, side: instead, error: trap } ]
  - name: a callback once more
    events:
      - { event: { content: count, msg_id: "5", user: oU }, reply: { text: run 1 } }
      - { after: 0s, event: { content: count, msg_id: "5", user: oU, created: 1772326800 }, reply: { text: run 1 }, outcome: repeat, path: [] }
  - name: a callback as it is, and fields
    events:
      - { xml: "<xml><ToUserName>gh</ToUserName><FromUserName>oU</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>echo hi</Content><MsgId>2</MsgId></xml>", reply: { text: hi } }
      - { json: '{"ToUserName":"gh","FromUserName":"oU","CreateTime":1,"MsgType":"text","Content":"echo ho","MsgId":3}', reply: { text: ho } }
      - { recorded: { at: 2026-03-01T02:00:00Z, body: "<xml><ToUserName>gh</ToUserName><FromUserName>oU</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>echo he</Content><MsgId>4</MsgId></xml>" }, reply: { text: he } }
      - { event: { event: subscribe_msg_popup_event, fields: { "SubscribeMsgPopupEvent.List[0].TemplateId": a, "SubscribeMsgPopupEvent.List[1].TemplateId": b } }, reply: none }
  - name: forwarded as it came
    app: raw
    upstreams: { orders: { type: text/xml, body: "<xml>theirs</xml>" } }
    events:
      - { event: { content: hi }, reply: { raw: "<xml>theirs</xml>" }, path: [legacy] }
      - { event: { content: ho }, upstreams: { orders: { body: success } }, reply: none, outcome: success }
      - { event: { content: hu }, upstreams: { orders: { status: 500 } }, reply: { text: away }, path: [ { stage: legacy, error: upstream, on_error: reply } ] }
  - name: a mini program has no passive text
    app: mini
    now: 2026-03-01T01:00:00Z
    events: [ { event: { content: hour }, reply: none, sends: none, outcome: success, path: [hour] } ]
`)
	mustPass(t, report, 12)
}

// TestCaseThatIsInterrupted ends before the bench of a case has a store: that leaves
// nothing behind, and is told as what it is.
func TestCaseThatIsInterrupted(t *testing.T) {
	file := writeConfig(t, echoSections())
	cases := filepath.Join(filepath.Dir(file), "cases.yaml")
	if err := os.WriteFile(cases, []byte("weft: 1\napp: open\ncases: [ { name: one, events: [ { event: { content: hi } } ] } ]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Test(ctx, TestOptions{Config: file}); !errors.Is(err, context.Canceled) {
		t.Errorf("Test: %v", err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What is queued runs when the case's clock comes to it.
func TestCaseOfTheQueue(t *testing.T) {
	sections := "apps:\n" + appYAML("shop", "plain", "") + fmt.Sprintf("plugins: { probe: { source: %q, grants: { state: true } } }\n", probe(t)) +
		"pipeline:\n  stages: [ { plugin: probe, on_error: queue } ]\n"
	report := runCases(t, sections, `
weft: 1
app: shop
cases:
  - name: a
    events:
      - { event: { content: fail }, outcome: queued, reply: none, path: [ { stage: probe, error: error, on_error: queue } ] }
      - { after: 500ms, event: { content: echo hi }, path: [probe], reply: { text: hi } }
      - { after: 500ms, event: { content: echo hi }, path: [ { stage: probe, error: error, on_error: queue }, probe ], reply: { text: hi } }
`)
	mustPass(t, report, 1)
}

// TestCaseOfTheHost: logins and phone numbers walk an app's pipeline as they do on a
// host: out of the queue, and without an answer.
func TestCaseOfTheHost(t *testing.T) {
	sections := "apps:\n" + appYAML("shop", "plain", "") + fmt.Sprintf(`upstreams: { crm: { url: "http://127.0.0.1:1/", private: ["127.0.0.0/8"] } }
plugins: { probe: { source: %q, grants: { state: true } } }
pipeline:
  stages:
    - { name: customers, when: 'origin == "identity"', forward: { to: crm, as: json }, on_error: queue }
    - { name: new, plugin: probe, when: 'event == "login" && fields["new_user"] == "true" && user == "oU" && type == "event"' }
    - { name: masked, reply: { text: never sent }, when: 'event == "phone" && fields["phone"] == "138****5678"' }
    - { name: old, reply: { text: hello }, when: 'origin == "wechat"' }
  always: [ { name: count, plugin: probe, async: true, when: 'origin == "identity"' } ]
`, probe(t))
	report := runCases(t, sections, `
weft: 1
app: shop
upstreams: { crm: { status: 204 } }
cases:
  - name: logins
    events:
      - { event: { origin: identity, event: login, user: oU, fields: { new_user: "true", unionid: u } }, outcome: queued, reply: none, path: [customers, new, count], asks: [crm] }
      - { event: { origin: identity, event: login, user: oU, fields: { new_user: "false" } }, path: [customers, count] }
      - { event: { content: hi, user: oU }, reply: { text: hello }, path: [old] }
      - { event: { origin: wechat, content: hi, user: oU }, reply: { text: hello } }
  - name: a phone number
    events: [ { event: { origin: identity, event: phone, user: oU, fields: { phone: "138****5678" } }, reply: none, path: [customers, masked, count] } ]
  - name: a service that is away
    upstreams: { crm: { status: 502 } }
    events:
      - { event: { origin: identity, event: login, user: oU, created: 5 }, outcome: queued, path: [ { stage: customers, error: upstream, on_error: queue }, count ] }
      - { after: 2s, upstreams: { crm: { status: 204 } }, event: { content: hi }, path: [ customers, old ], asks: [crm] }
`)
	mustPass(t, report, 3)
	report = runCases(t, sections, `
weft: 1
app: shop
cases:
  - { name: a, events: [ { event: { origin: identity, event: CLICK, user: oU } } ] }
  - { name: b, events: [ { event: { origin: identity, event: login } } ] }
  - { name: c, events: [ { event: { origin: identity, event: login, user: oU, content: hi } } ] }
  - { name: d, events: [ { event: { origin: identity, event: login, user: oU, from: oV } } ] }
  - { name: e, events: [ { event: { origin: identity, type: text, event: login, user: oU } } ] }
`)
	if got, want := failures(report), `cases.yaml:5:26: there is no such event of origin: identity (its event is login or phone)
cases.yaml:6:26: whose login is it? (user is the openid, and from is left out)
cases.yaml:7:79: an event of origin: identity has no content (it has user, created and fields: new_user, phone, unionid)
cases.yaml:8:26: whose login is it? (user is the openid, and from is left out)
cases.yaml:9:26: there is no such event of origin: identity (its event is login or phone)
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestPluginEventOfTheHost: a plugin's case gives it a login as a host does, with what
// a plugin's case alone can have.
func TestPluginEventOfTheHost(t *testing.T) {
	f, problems := config.ParseCases("cases.yaml", []byte(`
weft: 1
cases: [ { name: a, events: [ { event: { id: e, origin: identity, event: login, user: oU, fields: { new_user: "true" }, attempt: 2, attrs: { a: b } } }, { event: { event: login } } ] } ]
`))
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	events := f.Cases[0].Events
	ev, problem := pluginEvent(events[0].Event, events[0].Pos, 7)
	want := &hostapi.Event{
		ID: "e", Type: "event", Event: "login", From: "oU", User: "oU", Created: 7, Origin: "identity", Attempt: 2,
		Fields: []hostapi.Field{{Name: "new_user", Value: "true"}}, Attrs: []hostapi.Field{{Name: "a", Value: "b"}},
	}
	if problem != nil || !reflect.DeepEqual(ev, want) {
		t.Errorf("%+v %v", ev, problem)
	}
	if ev, problem := pluginEvent(events[1].Event, events[1].Pos, 7); problem != nil || ev.Origin != "wechat" || ev.To == "" {
		t.Errorf("%+v %v", ev, problem)
	}
}

// failures lists what a report has against the cases, a line each.
func failures(report *TestReport) string {
	var b strings.Builder
	for _, p := range report.Problems {
		p.File = filepath.Base(p.File)
		fmt.Fprintln(&b, p)
	}
	for _, c := range report.Cases {
		for _, f := range c.Failures {
			f.File = filepath.Base(f.File)
			fmt.Fprintln(&b, f)
		}
	}
	return b.String()
}

// TestCaseFailures: each expectation that does not hold is told with its place.
func TestCaseFailures(t *testing.T) {
	report := runCases(t, benchSections(t), benchHead+`cases:
  - name: all of it
    events:
      - event: { content: name, user: oU }
        reply: { text: Other }
        outcome: late
        path: [first, hour]
        annotations: { tag: x }
        fuel: 1
      - { event: { content: name }, reply: none }
    state: { probe: { "app:runs": "1", "user:oU:x": null } }
  - name: an error that nobody expects
    events: [ { event: { content: fail } } ]
  - name: no upstream
    events: [ { event: { content: sides }, path: [first, sides, left, { stage: json, error: upstream }] } ]
  - name: no app
    app: shops
    events: [ { event: {} } ]
  - name: no callback
    events: [ { xml: nowhere.xml } ]
  - name: no callback either
    events: [ { xml: "<xml>" } ]
  - name: no name of a leaf
    events: [ { event: { fields: { "A B": x } } } ]
  - name: no list
    events: [ { event: { fields: { "A[7]": x } } } ]
  - name: no plugin
    given: { prob: { "app:x": "1" } }
    events: [ { event: {} } ]
  - name: no plugin either
    events: [ { event: {} } ]
    state: { prob: { "app:x": null } }
  - name: no clock
    now: 2190-01-01T00:00:00Z
    events: [ { after: 876000h, event: {} } ]
`)
	fuel := regexp.MustCompile(`got [0-9]{4,}`)
	got := fuel.ReplaceAllString(failures(report), "got N")
	want := `cases.yaml:8:16: reply: expected { text: "Other" }, got { text: "Acme" }
cases.yaml:9:18: outcome: expected late, got replied
cases.yaml:11:22: annotations: expected { tag: "x" }, got {}
cases.yaml:10:15: path: expected [first, hour], got [first]
cases.yaml:12:15: fuel: expected at most 1, got N (make the plugin do less, or allow more)
cases.yaml:13:44: reply: expected none, got { text: "Acme" }
cases.yaml:14:23: state probe app:runs: expected "1", got nothing
cases.yaml:16:15: stage first ended in an error (error, then plugin), which the case does not expect (the event is of no user: give it one, such as user: oUser1; or mend it, or write the path: [{ stage: first, error: error, on_error: plugin }, { stage: first, side: instead, error: error, on_error: stop }])
cases.yaml:18:15: upstream orders was asked, and has no answer here (write upstreams: { orders: { body: … } })
cases.yaml:19:5: no app "shops": there is shop, raw, mini (name an app of FILE)
cases.yaml:23:22: the callback's file can't be read: open DIR/nowhere.xml: no such file or directory (its path is from the folder of the cases)
cases.yaml:25:22: the callback: undecodable callback: xml at byte 5: ends within an element
cases.yaml:27:15: field "A B" is no name of a leaf (give the callback as xml or json)
cases.yaml:29:15: field "A[7]" can't be written as XML (a list with one member has no index; else give the callback as xml or json)
cases.yaml:31:22: there is no plugin prob (name a plugin that app shop uses)
cases.yaml:35:22: there is no plugin prob (name a plugin that app shop uses)
cases.yaml:38:15: the clock would show 2289-12-08T00:00:00Z (it goes from 1971 to 2200)
`
	dir := regexp.MustCompile(`/\S*/`)
	got = dir.ReplaceAllString(strings.ReplaceAll(got, "pipeline.yaml", "FILE"), "DIR/")
	got = strings.ReplaceAll(got, "DIR/FILE", "FILE")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestCaseOfStrangeState: a value of state that no plugin of the app would see says so.
func TestCaseOfStrangeState(t *testing.T) {
	module := probe(t)
	sections := "apps:\n" + appYAML("shop", "plain", "") + appYAML("club", "plain", "pipeline: other\n") + fmt.Sprintf(`plugins:
  probe: { source: %[1]q, grants: { state: true } }
  next: { source: %[1]q, grants: { state: true }, state_of: probe }
  mine: { source: %[1]q, grants: { state: true } }
pipeline: { stages: [ { plugin: probe }, { plugin: next } ] }
pipelines: { other: { stages: [ { plugin: next }, { plugin: mine } ] } }
`, module)
	report := runCases(t, sections, `
weft: 1
app: shop
cases:
  - { name: a, events: [ { event: { content: hi, user: oU } } ], given: { mine: { "app:x": "1" } } }
  - { name: b, events: [ { event: { content: hi, user: oU } } ], state: { next: { "app:x": null } } }
  - { name: c, app: club, events: [ { event: { content: hi, user: oU } } ], given: { probe: { "app:x": "1" }, mine: { "app:x": "1" } }, state: { probe: { "app:x": "1" } } }
`)
	if got, want := failures(report), `cases.yaml:5:83: app shop does not use plugin mine (name a plugin that it uses)
cases.yaml:6:83: plugin next has no state of its own (write probe, whose state it has)
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A configuration that is wrong, or a plugin's config, is told at its place.
func TestCasesOfWhatIsWrong(t *testing.T) {
	const cases = "weft: 1\napp: shop\ncases: [ { name: a, events: [ { event: {} } ] } ]\n"
	report := runCases(t, "apps:\n"+appYAML("shop", "plain", "tokn: x\n"), cases)
	if got := failures(report); !strings.Contains(got, "pipeline.yaml:9:5: apps.shop: unknown key tokn") || report.OK() {
		t.Errorf("got\n%s", got)
	}
	report = runCases(t, probeSections(t, appYAML("shop", "plain", "with: { probe: { name: refused } }\n")), cases)
	if got := failures(report); !strings.Contains(got, "config of plugin probe for app shop: config refused: name must not be refused") || report.Failed != 1 {
		t.Errorf("got\n%s", got)
	}
}

func TestPluginCases(t *testing.T) {
	dir := t.TempDir()
	wasm, err := os.ReadFile(probe(t))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "probe.wasm"), wasm, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	report := runPluginCases(t, dir, `
weft: 1
config: { name: Acme }
cases:
  - name: what a plugin does
    given: { "app:runs": "6" }
    events:
      - { event: { content: name }, reply: { text: Acme }, outcome: done, fuel: 100000000 }
      - { event: { content: tag x }, reply: none, outcome: next, annotations: { tag: x } }
      - { event: { content: nothing, reply: { text: earlier } }, reply: { text: earlier } }
      - { event: { content: fail }, outcome: error }
      - { event: { id: "1", content: count }, reply: { text: run 7 } }
      - { after: 1h, event: { content: nap }, reply: { text: slept 20ms } }
      - { xml: "<xml><FromUserName>oU</FromUserName><MsgType>text</MsgType><Content>echo hi</Content></xml>", reply: { text: hi } }
    state: { "app:runs": "7" }
  - name: another config, another state
    config: {}
    events:
      - { event: { content: count }, reply: { text: run 1 } }
`)
	mustPass(t, report, 2)
	report = runPluginCases(t, dir, `
weft: 1
cases:
  - name: a
    events:
      - { event: { content: fail } }
      - { event: { content: echo hi }, outcome: next, annotations: { a: b } }
  - name: b
    config: { name: refused }
    events: [ { event: {} } ]
  - name: c
    events: [ { event: { type: event, event: VIEW } } ]
`)
	want := `cases.yaml:6:9: the plugin failed: as it was asked to (mend it, or write outcome: error)
cases.yaml:7:49: outcome: expected next, got done
cases.yaml:7:68: annotations: expected { a: "b" }, got {}
cases.yaml:9:5: the config: config refused: name must not be refused
`
	if got := failures(report); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func runPluginCases(t *testing.T, dir, cases string) *TestReport {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "cases.yaml"), []byte(cases), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := Test(t.Context(), TestOptions{Config: writeConfig(t, echoSections()), Files: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// The same cases come out the same, fuel included, and nothing is left: no store,
// no folder.
func TestCasesAreTheSameTwice(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	file := writeConfig(t, benchSections(t))
	const cases = benchHead + `cases:
  - name: a
    events:
      - { event: { content: count } }
      - { event: { content: nap } }
      - { event: { content: trap }, path: [] }
      - { event: { content: name } }
`
	var first string
	for range 3 {
		b, err := json.Marshal(runCasesBeside(t, file, cases))
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(b)
		} else if string(b) != first {
			t.Fatalf("got\n%s\nand before\n%s", b, first)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "weft-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if entries, err := os.ReadDir(filepath.Join(filepath.Dir(file), "data")); err != nil || len(entries) != 1 {
		t.Errorf("the host's data: %v, %v", entries, err)
	}
}

// Without files it takes what stands beside pipeline.yaml and its plugins, and
// --run chooses by name.
func TestCasesThatAreFound(t *testing.T) {
	file := writeConfig(t, "apps:\n"+appYAML("shop", "plain", "")+"pipeline: { stages: [ { reply: { text: hi } } ] }\n")
	dir := filepath.Dir(file)
	if _, err := Test(t.Context(), TestOptions{Config: file}); err == nil || !strings.Contains(err.Error(), "there is no cases.yaml beside") {
		t.Errorf("without cases: %v", err)
	}
	for _, name := range []string{"cases.yaml", "more.cases.yaml", "other.yaml"} {
		src := "weft: 1\napp: shop\ncases: [ { name: " + name + ", events: [ { event: {}, reply: { text: hi } } ] } ]\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Test(t.Context(), TestOptions{Config: file})
	if err != nil {
		t.Fatal(err)
	}
	mustPass(t, report, 2)
	report, err = Test(t.Context(), TestOptions{Config: file, Run: regexp.MustCompile("^more")})
	if err != nil {
		t.Fatal(err)
	}
	mustPass(t, report, 1)
}
