package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// head is a valid beginning of an app's cases; own of a plugin's.
const (
	head = "weft: 1\napp: shop\ncases:\n  - name: a\n    events:\n"
	own  = "weft: 1\ncases:\n  - name: a\n    events:\n"
)

func TestCaseProblems(t *testing.T) {
	for _, c := range []problemCase{
		{"empty", "", `p.yaml:1:1: the file is empty (it begins with weft: 1)`},
		{"another version", "weft: 2\ncases: []\n", `
p.yaml:1:7: weft: 2 is not 1
p.yaml:2:1: cases: is empty (it is a list of cases)`},
		{"unknown key", head + "      - { event: {}, replay: none }\n", `p.yaml:6:22: cases.0.events.0: unknown key replay (did you mean reply?)`},
		{"unknown field", head + "      - event: { contents: hi }\n", `p.yaml:6:18: cases.0.events.0.event: unknown key contents (did you mean content?)`},
		{"no event", head + "      - reply: none\n", `p.yaml:6:9: cases.0.events.0: there is no event (it has one of event, xml, json, recorded)`},
		{"two events", head + "      - { event: {}, xml: a.xml }\n", `p.yaml:6:22: cases.0.events.0: an event is one of event and xml (make two of it)`},
		{"no events", "weft: 1\napp: shop\ncases: [ { name: a, events: [] } ]\n", `p.yaml:3:21: cases.0.events: is empty (it is a list of events)`},
		{"no name", "weft: 1\napp: shop\ncases: [ { events: [ { event: {} } ] } ]\n", `p.yaml:3:10: cases.0: name is missing (it is a text of 1 to 200 bytes)`},
		{
			"the same name", "weft: 1\napp: shop\ncases:\n  - { name: a, events: [ { event: {} } ] }\n  - { name: a, events: [ { event: {} } ] }\n",
			`p.yaml:5:5: case a is there twice, first on line 4 (give each a name of its own)`,
		},
		{"a reply that is a word", head + "      - { event: {}, reply: hello }\n", `p.yaml:6:29: cases.0.events.0.reply: hello is neither none nor a reply (for a text write { text: … })`},
		{"an empty reply", head + "      - { event: {}, reply: {} }\n", `p.yaml:6:22: cases.0.events.0.reply: the reply is empty (it has one of text, image, voice, video, music, news, transfer, raw)`},
		{"messages", head + "      - { event: {}, sends: [ { text: hi } ] }\n", `p.yaml:6:29: cases.0.events.0.sends: the host sends no messages yet (write sends: none, or leave it out)`},
		{"an id", head + "      - event: { id: x }\n", `p.yaml:6:18: id is made by the host, from the callback (leave it out; the same event once more has the same msg_id, and after: 0s)`},
		{"an origin", head + "      - event: { origin: identiy }\n", `p.yaml:6:26: cases.0.events.0.event.origin: identiy is not wechat or identity (did you mean identity?)`},
		{"a plugin's outcome", head + "      - { event: {}, outcome: done }\n", `p.yaml:6:31: outcome is done (here it is one of replied, success, late, stopped, queued, again, repeat)`},
		{"an app's outcome", own + "      - { event: {}, outcome: stopped }\n", `p.yaml:5:31: outcome is stopped (here it is one of next, done, error)`},
		{"an app's keys in a plugin's cases", "weft: 1\nenv: { A: b }\ncases: [ { name: a, app: b, events: [ { event: {}, path: [a] } ] } ]\n", `
p.yaml:2:1: env goes with the cases of an app (name the app at the top: app: NAME)
p.yaml:3:21: app goes with the cases of an app (name the app at the top: app: NAME)
p.yaml:3:58: path goes with the cases of an app (name the app at the top: app: NAME)`},
		{"a plugin's keys in an app's cases", "weft: 1\napp: shop\nplugin: x.wasm\ncases: [ { name: a, config: {}, events: [ { event: {} } ] } ]\n", `
p.yaml:3:1: plugin goes with the cases of a plugin (leave it out, or leave out app at the top)
p.yaml:4:21: config goes with the cases of a plugin (leave it out, or leave out app at the top)`},
		{"state without a plugin", head + "      - event: {}\n    state: { \"app:x\": y }\n", `p.yaml:7:14: the state of which plugin? (write NAME: { x: … })`},
		{"state with a plugin", own + "      - event: {}\n    state: { menu: { \"app:x\": y } }\n", `p.yaml:6:22: a plugin's cases name no plugin in a state (write the keys at once)`},
		{"no key of state", own + "      - event: {}\n    given: { order: y, \"user:x\": z }\n", `
p.yaml:6:14: cases.0.given.order: is not a key of state (write app:KEY or user:OPENID:KEY)
p.yaml:6:24: cases.0.given."user:x": is not a key of state (write app:KEY or user:OPENID:KEY)`},
		{"no base64", own + "      - event: {}\n    given: { \"app:x\": { base64: \"*\" } }\n", `p.yaml:6:33: cases.0.given."app:x".base64: "*" is not base64`},
		{
			"a recorded event has its time", head + "      - { after: 1s, recorded: { at: 2026-01-01T00:00:00Z, body: <xml/> } }\n",
			`p.yaml:6:18: cases.0.events.0: a recorded event has its own time (leave out after)`,
		},
		{"answers to what nobody asks", head + "      - { event: {}, upstreams: { Orders: {}, o get /a: {} }, wechat: { a: {}, GET /cgi-bin/token: {}, get /a: {} }, asks: a }\n", `
p.yaml:6:35: cases.0.events.0.upstreams: Orders is not an upstream, or one with a request such as orders GET /orders/*
p.yaml:6:47: cases.0.events.0.upstreams: "o get /a" is not an upstream, or one with a request such as orders GET /orders/*
p.yaml:6:73: cases.0.events.0.wechat: a is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:6:80: cases.0.events.0.wechat: "GET /cgi-bin/token" answers with a credential, which is open to nobody: see credential of callers
p.yaml:6:104: cases.0.events.0.wechat: "get /a" is not a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"
p.yaml:6:124: cases.0.events.0.asks: must be a list of texts, and is a single value`},
		{
			"on_error", head + "      - { event: {}, path: [ { stage: a, on_error: skp } ] }\n",
			`p.yaml:6:52: cases.0.events.0.path.0.on_error: skp is not skip, stop, queue, again, reply or plugin (did you mean skip?)`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, problems := config.ParseCases("p.yaml", []byte(c.src))
			if got := problems.Error(); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if f != nil {
				t.Error("a file that is wrong gave cases")
			}
		})
	}
}

// wholeCases has everything that a file of an app's cases can have.
const wholeCases = `
weft: 1
app: shop
now: 2026-03-01T09:00:00+08:00
env: { TOKEN: "${x}", EMPTY: "" }
upstreams: { orders: { body: a }, legacy: { status: 500 }, orders GET /o/*: { body: one } }
wechat: { POST /cgi-bin/message/custom/send: { body: '{"errcode":0}' }, /cgi-bin/**: { status: 502 } }
cases:
  - name: first
    given: { menu: { "user:oU:order": "1", "app:n": { base64: AAE= }, "app:gone": null } }
    upstreams: { orders: { status: 204 } }
    events:
      - { event: { event: CLICK, key: k, fields: { "List[0].A": "1", B: "" } }, reply: none, sends: [] }
      - after: 2d
        xml: a/b.xml
        reply: { raw: "<a/>" }
        annotations: { a: "1" }
        path: [ one, { stage: two, side: instead, error: trap, on_error: skip } ]
        fuel: 7
      - { json: '{"a":1}', upstreams: { orders: { type: t } }, wechat: { /cgi-bin/**: { body: "{}" } }, asks: [ wechat GET /cgi-bin/a, 'orders POST /o "x"' ] }
      - recorded: { at: 2026-03-02T00:00:00Z, body: "<xml>${y}</xml>" }
    state: { menu: { "user:oU:order": null } }
  - { name: second, app: other, now: 2027-01-01T00:00:00Z, events: [ { event: {} }, { event: { origin: identity, event: login, user: oU } } ] }
`

func TestCases(t *testing.T) {
	f, problems := config.ParseCases("dir/p.yaml", []byte(wholeCases))
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	first, second := f.Cases[0], f.Cases[1]
	moments := []time.Time{first.Now, second.Now, first.Events[3].At}
	for i, want := range []string{"2026-03-01T01:00:00Z", "2027-01-01T00:00:00Z", "2026-03-02T00:00:00Z"} {
		if got := moments[i].UTC().Format(time.RFC3339); got != want {
			t.Errorf("moment %d is %s, want %s", i, got, want)
		}
	}
	if f.Env["TOKEN"] != "${x}" || f.Env["EMPTY"] != "" || first.App != "shop" || second.App != "other" {
		t.Errorf("env %v, apps %s and %s", f.Env, first.App, second.App)
	}
	var given []string
	for _, v := range first.Given {
		given = append(given, v.Plugin, v.User, v.Key, string(v.Value))
	}
	if want := []string{"menu", "oU", "order", "1", "menu", "", "n", "\x00\x01", "menu", "", "gone", ""}; !reflect.DeepEqual(given, want) || first.Given[2].Value != nil {
		t.Errorf("given %q", given)
	}
	click := first.Events[0]
	if _, has := click.Event.Has("key"); !has || click.Event.Type != "event" || !click.NoSends || click.Reply.Reply != nil || click.AfterSet ||
		!reflect.DeepEqual(click.Event.Fields, []config.NamedText{{Name: "List[0].A", Value: "1"}, {Name: "B"}}) {
		t.Errorf("%+v", click.Event)
	}
	if in, login := second.Events[0].Event, second.Events[1].Event; in.Origin != config.OriginWeChat || login.Origin != config.OriginIdentity || login.Type != "event" {
		t.Errorf("%+v and %+v", in, login)
	}
	file := first.Events[1]
	if file.Document.File != filepath.Join("dir", "a", "b.xml") || file.After != 48*time.Hour || string(file.Reply.Reply.Raw.Body) != "<a/>" || file.Fuel.Value != 7 {
		t.Errorf("%+v", file)
	}
	if want := []config.StepWant{{Stage: "one"}, {Stage: "two", Side: "instead", Error: "trap", OnError: "skip"}}; !reflect.DeepEqual(file.Path.Value, want) {
		t.Errorf("path %+v", file.Path.Value)
	}
	if up := first.Events[0].Upstreams; up["orders"].Status != 204 || up["legacy"].Status != 500 {
		t.Errorf("upstreams of the case %v", up)
	}
	if up := first.Events[0]; up.Upstreams["orders GET /o/*"].Body != "one" || up.WeChat["/cgi-bin/**"].Status != 502 || up.Asks != nil {
		t.Errorf("answers of the case %v, asked %v", up.Answers, up.Asks)
	}
	if up := first.Events[2]; up.WeChat["/cgi-bin/**"].Status != 200 || len(up.WeChat) != 2 || !reflect.DeepEqual(up.Asks.Value, []string{"wechat GET /cgi-bin/a", `orders POST /o "x"`}) {
		t.Errorf("answers of the event %v, asked %v", up.Answers, up.Asks)
	}
	if up := first.Events[2].Upstreams; up["orders"].Status != 200 || up["orders"].Type != "t" || up["legacy"].Status != 500 {
		t.Errorf("upstreams of the event %v", up)
	}
	if doc := first.Events[3].Document; doc.Text != "<xml>${y}</xml>" {
		t.Errorf("recorded %q", doc.Text)
	}
}

// The files of the project's own plugins are read as they stand.
func TestCasesOfThePlugins(t *testing.T) {
	files, err := filepath.Glob("../../plugins/*/cases.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if f, problems := config.ParseCases(file, src); len(problems) > 0 || len(f.Cases) == 0 {
			t.Errorf("%s: %v", file, problems)
		}
	}
}

// The schema accepts what ParseCases accepts, and marks slips.
func TestCaseSchema(t *testing.T) {
	src, err := config.CaseSchema()
	if err != nil {
		t.Fatal(err)
	}
	s := compiled(t, src)
	files := []string{"../../examples/sample.cases.yaml"}
	for _, pattern := range []string{"../../plugins/*/cases.yaml", "../../examples/*/cases.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	good := []string{wholeCases}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, string(src))
	}
	for _, src := range good {
		if v, ok := instance(src); !ok || s.Validate(v) != nil {
			t.Errorf("%v for\n%s", s.Validate(v), src)
		}
	}
	for _, src := range []string{
		head + "      - { event: {}, replay: none }\n", head + "      - { event: { contents: hi } }\n", head + "      - reply: none\n",
		head + "      - { event: {}, reply: { raw: a, text: b } }\n", head + "      - { event: {}, path: [ { stage: a, on_error: skp } ] }\n",
		own + "      - event: {}\n    given: { \"app:x\": [ a ] }\n", "weft: 1\n", head + "      - event: { origin: api }\n",
	} {
		if v, ok := instance(src); !ok || s.Validate(v) == nil {
			t.Errorf("accepted\n%s", src)
		}
	}
}

func FuzzParseCases(f *testing.F) {
	for _, seed := range []string{
		"", head + "      - { event: { event: CLICK, fields: { \"A[0].B\": c } }, reply: { text: x }, path: [ a, { stage: b, error: trap } ] }\n    state: { p: { \"app:k\": null } }\n",
		own + "      - { xml: <xml/>, outcome: done, annotations: { a: b }, fuel: 3 }\n    given: { \"user:u:k\": { base64: AA== } }\n",
		"weft: 1\nconfig: &a { b: [ 1, *a ] }\ncases: [ { name: x, events: [ { recorded: { at: 2026-01-01T00:00:00Z, body: \"{}\" } } ] } ]\n",
		"weft: 1\nupstreams: { o GET /a/*: {} }\nwechat: { POST /a/**: { body: b } }\ncases: [ { name: x, events: [ { event: {}, asks: [ a ], wechat: { /b: {} } } ] } ]\n",
		"weft: 1\napp: a\nupstreams: { o: { status: 204 } }\nenv: { A: 1 }\ncases: [ null, 1, [], { events: null } ]\n",
		"cases: { a: b }", "- 1", "weft: 1\ncases: [ { name: x, given: { a: { b: c } }, events: [ 1 ] } ]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, problems := config.ParseCases("p.yaml", src)
		if (file == nil) != (problems.Err() != nil) {
			t.Fatalf("a file %v with problems %v", file, problems)
		}
		if len(problems) > config.MaxProblems+1 {
			t.Fatalf("%d problems", len(problems))
		}
		if file == nil {
			return
		}
		for _, c := range file.Cases {
			if c.Name == "" || len(c.Events) == 0 || c.Now.IsZero() || c.Config.JSON == nil {
				t.Fatalf("a case without what each has: %+v", c)
			}
			for _, ev := range c.Events {
				if (ev.Event == nil) == (ev.Document == nil) {
					t.Fatalf("an event with neither or both: %+v", ev)
				}
			}
		}
	})
}
