package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// lintFacts has some of WeChat's words and four plugins.
func lintFacts() Facts {
	plugin := func(timeout time.Duration, messages, events []string) PluginFacts {
		has := func(words []string, word string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, word) })
		}
		return PluginFacts{
			Wants: func(typ, event string) bool {
				if typ == "event" || typ == "" {
					return has(events, event)
				}
				return has(messages, typ)
			},
			Messages: messages, Events: events, Timeout: timeout, Waits: timeout > time.Second,
		}
	}
	return Facts{
		MsgTypes:  []string{"device_event", "event", "image", "text", "voice"},
		Events:    []string{"CLICK", "LOCATION", "SCAN", "subscribe", "unsubscribe", "check_biz", "xpay_refund_notify", "xpay_coin_pay_notify"},
		InfoTypes: []string{"authorized", "unauthorized"},
		Answered:  []string{"check_biz", "xpay_refund_notify", "xpay_coin_pay_notify"},
		Own:       []string{"login", "phone"},
		Plugins: map[string]PluginFacts{
			"keyword": plugin(time.Second, []string{"text", "voice"}, nil),
			"menu":    plugin(time.Second, nil, []string{"CLICK"}),
			"shop":    plugin(time.Second, nil, []string{"xpay_refund_notify"}),
			"slow":    plugin(3*time.Second, []string{"text"}, []string{"CLICK"}),
			"odd":     plugin(time.Second, nil, []string{"not_in_the_documents"}),
			"members": plugin(4*time.Second, nil, []string{"login"}),
		},
	}
}

// lintFile makes a file with these lines under pipeline, which is line 10.
func lintFile(lines string) string {
	return `weft: 1
apps: { shop: { type: official, app_id: a, token: t, mode: plain, labels: { client: acme } } }
plugins:
  keyword: { source: a.wasm }
  menu: { source: a.wasm }
  shop: { source: a.wasm }
  slow: { source: a.wasm }
  odd: { source: a.wasm }
  any: { source: a.wasm }
pipeline:` + lines
}

// lint returns the lines of Lint's problems.
func lint(t *testing.T, src string, opt config.Options) string {
	t.Helper()
	cfg, problems := config.Parse("p.yaml", []byte(src), opt)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	found := Lint(cfg, lintFacts())
	if found.Err() != nil {
		t.Errorf("it is no warning: %v", found.Err())
	}
	return found.Error()
}

const (
	onlyKeyword = " (it takes messages text, voice and no events)"
	noEventAt   = "warning: when: no event meets it (messages have a type, such as text, and no event; events have the type event)"
)

// TestLintLogins: logins and phone numbers pass a raw forward by, of apps that have
// them. Who waits for an answer has nothing to do with them.
func TestLintLogins(t *testing.T) {
	src := strings.Replace(lintFile(`
  stages:
    - { name: a, forward: { to: old, as: raw } }
    - { name: b, forward: { to: crm, as: json }, when: 'origin == "identity"' }
    - { name: c, reply: { text: x }, when: 'event == "phone"' }
    - { name: d, plugin: members }
    - { name: e, plugin: keyword, when: 'type == "text"' }
    - { name: f, plugin: menu, when: 'event == "login"' }
    - name: g
      switch: [ { when: 'event == "login"', stages: [ { name: h, plugin: any, when: 'content != "x"' } ] }, { when: 'type == "text"', stages: [] } ]
    - { name: i, plugin: any }
upstreams: { old: { url: "http://h", timeout: 1s }, crm: { url: "http://h", timeout: 1s, secret: x } }
`), "  any: {", "  members: { source: a.wasm }\n  any: {", 1)
	const ended = "the raw forward a before it ends the stages"
	want := `p.yaml:17:41: warning: when: none of the events that get here meets it (` + ended + ` for the others, or the branch that it stands in keeps them out)
p.yaml:18:38: warning: when: plugin menu takes none of the events that meet it (it takes no messages and events CLICK)
p.yaml:20:117: warning: when: no event that meets it gets to this branch (the branches before it, or what stands around the switch, take all of them)
p.yaml:21:7: warning: no callback of WeChat gets to this stage: ` + ended + ` (give the forward a when, or move it to the end)`
	if got := lint(t, strings.Replace(src, "labels: { client: acme }", "oauth: { redirects: [ \"https://a\" ] }", 1), config.Options{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = `p.yaml:14:7: warning: no callback of WeChat gets to this stage: ` + ended + ` (give the forward a when, or move it to the end)`
	if got := lint(t, src, config.Options{}); got != want {
		t.Errorf("where nobody logs in: got\n%s\nwant\n%s", got, want)
	}
}

// TestLintLoginsInBranches: of stages in a branch, or side by side, the condition
// around them says that they are for logins.
func TestLintLoginsInBranches(t *testing.T) {
	src := strings.Replace(lintFile(`
  stages:
    - { name: a, forward: { to: old, as: raw } }
    - switch: [ { when: 'event == "login"', stages: [ { name: b, plugin: any }, { name: c, parallel: [ { name: d, plugin: any } ] } ] } ]
    - { name: e, when: 'event == "phone"', parallel: [ { name: f, plugin: any }, { name: g, reply: { text: x } } ] }
    - { name: h, when: 'origin == "identity"', switch: [ { stages: [ { name: i, plugin: any } ] } ] }
    - { name: j, parallel: [ { name: k, plugin: any } ] }
    - { name: m, switch: [ { when: 'type == "text"', stages: [] }, { stages: [ { name: l, plugin: any } ] } ] }
upstreams: { old: { url: "http://h", timeout: 1s } }
`), "labels: { client: acme }", "oauth: { redirects: [ \"https://a\" ] }", 1)
	const unreached = "warning: no callback of WeChat gets to this stage: the raw forward a before it ends the stages (give the forward a when, or move it to the end)"
	want := `p.yaml:16:30: ` + unreached + `
p.yaml:17:36: warning: when: no event that meets it gets to this branch (the branches before it, or what stands around the switch, take all of them)
p.yaml:17:80: ` + unreached
	if got := lint(t, src, config.Options{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLint(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"nothing wrong", `
  stages:
    - { name: a, plugin: keyword }
    - { name: b, plugin: menu, when: 'event == "CLICK" && key startsWith "m"' }
    - { name: c, plugin: any, when: 'type == "text" || event in ["scan", "subscribe"]' }
    - { name: d, plugin: odd, when: 'event == "not_in_the_documents"' }
    - { name: e, plugin: any, when: 'type == "authorized" || event == "authorized"' }
    - { name: f, plugin: any, when: 'not (type in ["text", "voice"]) and event not in ["SCAN"]' }
    - { name: g, plugin: any, when: 'event matches "^my_[a-z]+$"' }
    - { name: h, plugin: any, when: 'type == "device_event" && event == "bind"' }
    - { name: i, plugin: any, when: 'hour > 9 ? type == "text" : event == "CLICK"' }
    - { name: j, plugin: any, when: 'type == "a_new_type" && event == "a_new_event"' }
    - { name: k, plugin: any, when: 'fields["A"] == "" && len(type) > 3 && lower(event) != "x"' }
    - { name: l, plugin: keyword, when: 'key != "" || event == ""' }
    - { name: m, plugin: any, when: 'hour > 30' }
`, ""},
		{"a when that contradicts itself", `
  stages:
    - { name: a, plugin: any, when: 'type == "text" && type == "voice"' }
    - { name: b, plugin: any, when: 'type == "text" && event == "CLICK" && key == "x"' }
    - { name: c, plugin: any, when: 'event == "CLICK" and not (event in ["click", "SCAN"])' }
    - { name: d, plugin: any, when: 'hour > 9 && (event startsWith "CL" && event endsWith "AN")' }
    - { name: e, reply: { text: x }, when: 'false' }
    - { name: f, plugin: any, when: '(hour > 9 ? type == "text" : type == "voice") && type == "image"' }
    - { name: g, plugin: any, when: 'type != "event" && event == "subscribe" && type in ["text"]' }
`, `
p.yaml:12:37: ` + noEventAt + `
p.yaml:13:37: ` + noEventAt + `
p.yaml:14:37: ` + noEventAt + `
p.yaml:16:44: ` + noEventAt + `
p.yaml:17:37: ` + noEventAt + `
p.yaml:18:37: ` + noEventAt},
		{"a when that its plugin has nothing for", `
  stages:
    - { name: a, plugin: keyword, when: 'event == "CLICK"' }
    - { name: b, plugin: menu, when: 'type == "text" && hour > 9' }
    - { name: c, plugin: odd, when: 'event == "SCAN"' }
    - { name: d, plugin: keyword, on_error: { plugin: menu } }
    - { name: e, plugin: slow, on_error: { plugin: menu } }
`, `
p.yaml:12:41: warning: when: plugin keyword takes none of the events that meet it` + onlyKeyword + `
p.yaml:13:38: warning: when: plugin menu takes none of the events that meet it (it takes no messages and events CLICK)
p.yaml:14:37: warning: when: plugin odd takes none of the events that meet it (it takes no messages and events not_in_the_documents)
p.yaml:15:7: warning: on_error: plugin menu takes none of the events of plugin keyword (it takes no messages and events CLICK)`},
		{"canaries", `
  deadline: 2s
  answer_within: 1500ms
  stages:
    - { name: a, plugin: keyword, canary: { to: any, percent: 1 } }
    - { name: b, plugin: keyword, canary: { to: menu, percent: 1 } }
    - { name: c, plugin: slow, when: 'type == "text"', canary: { to: keyword, percent: 1 } }
    - { name: d, plugin: keyword, canary: { to: slow, percent: 1 } }
`, `
p.yaml:15:35: warning: canary: plugin menu takes none of the events of plugin keyword (it takes no messages and events CLICK)
p.yaml:16:7: warning: plugin slow may take 3s, and the pipeline's deadline is 2s (raise deadline, or lower the plugin's limits.timeout)
p.yaml:17:35: warning: canary: plugin slow doesn't take voice, which plugin keyword takes: no plugin handles them for its users (it takes messages text and events CLICK)
p.yaml:17:35: warning: canary: plugin slow may take 3s, and the pipeline's deadline is 2s (raise deadline, or lower the plugin's limits.timeout)
p.yaml:10:1: warning: the stages that wait (slow) may take 6s for one event, and answer_within is 1.5s (an answer that is late reaches nobody: lower limits.timeout of these plugins)`},
		{"a plugin that takes all of the time by itself", `
  answer_within: 900ms
  stages:
    - { name: a, plugin: keyword }
    - { name: b, plugin: menu, when: 'event == "CLICK"' }
    - { name: c, plugin: shop, async: true }
`, `
p.yaml:10:1: warning: the stages that wait (keyword) may take 1s for one event, and answer_within is 900ms (an answer that is late reaches nobody: lower limits.timeout of these plugins)`},
		{"shadows that take their time", `
  deadline: 2s
  answer_within: 2s
  stages:
    - { name: a, plugin: keyword, shadow: slow }
`, `p.yaml:14:35: warning: shadow: plugin slow may take 3s, and the pipeline's deadline is 2s (raise deadline, or lower the plugin's limits.timeout)`},
		{"shadows", `
  stages:
    - { name: a, plugin: keyword, shadow: any }
    - { name: b, plugin: keyword, shadow: menu }
    - { name: c, plugin: keyword, shadow: slow }
`, `
p.yaml:13:35: warning: shadow: plugin menu takes none of the events of plugin keyword (it takes no messages and events CLICK)`},
		{"branches and what is in them", `
  stages:
    - name: one
      switch:
        - { when: 'type == "text"', stages: [ { name: a, plugin: menu }, { name: b, plugin: keyword, when: 'type == "voice"' } ] }
        - { when: 'type in ["TEXT"] && content == "x"', stages: [ { name: c, plugin: any } ] }
        - { when: 'type == "voice" && content == "x"', stages: [ { name: d, plugin: any } ] }
        - { when: 'type == "voice"', stages: [ { name: e, plugin: any } ] }
        - { when: 'type == "voice"', stages: [ { name: f, plugin: any } ] }
        - { when: 'type == "text" && type == "voice"', stages: [] }
        - stages: [ { name: g, plugin: keyword }, { name: h, plugin: any } ]
    - name: two
      when: 'event == "CLICK"'
      switch:
        - { when: 'event == "CLICK" || hour > 9', stages: [ { name: i, plugin: menu } ] }
        - stages: [ { name: j, plugin: menu } ]
    - name: three
      switch:
        - when: 'event == "SCAN"'
          stages: [ { name: k, switch: [ { when: 'event == "subscribe"', stages: [] }, { stages: [] } ] } ]
  always:
    - { name: l, plugin: menu, when: 'type == "text"' }
`, `
p.yaml:14:47: warning: plugin menu takes none of the events that get here (it takes no messages and events CLICK)
p.yaml:14:108: warning: when: none of the events that get here meets it (the branch that it stands in keeps the others out)
p.yaml:15:19: warning: when: no event that meets it gets to this branch (the branches before it, or what stands around the switch, take all of them)
p.yaml:18:19: warning: when: no event that meets it gets to this branch (the branches before it, or what stands around the switch, take all of them)
p.yaml:19:19: ` + noEventAt + `
p.yaml:20:21: warning: plugin keyword takes none of the events that get here` + onlyKeyword + `
p.yaml:25:11: warning: no event gets to this branch (those before it take all)
p.yaml:29:50: warning: when: no event that meets it gets to this branch (the branches before it, or what stands around the switch, take all of them)
p.yaml:31:38: warning: when: plugin menu takes none of the events that meet it (it takes no messages and events CLICK)`},
		{"answers that are business data", `
  stages:
    - { name: a, plugin: shop }
    - { name: b, plugin: shop, on_error: again }
    - { name: c, plugin: shop, on_error: queue }
    - { name: d, plugin: any }
    - { name: e, plugin: any, when: 'event == "check_biz" || event startsWith "xpay_"', on_error: skip }
    - { name: f, plugin: any, when: 'event in ["SCAN", "check_biz"]', on_error: { plugin: any } }
    - { name: g, plugin: any, when: 'event in ["SCAN", "CLICK"]' }
  always:
    - { name: h, plugin: shop }
`, `
p.yaml:12:7: warning: the answer to xpay_refund_notify is business data, and an error of this stage gives none (on_error: again has WeChat send the event once more, queue has it run later)
p.yaml:16:7: warning: the answer to check_biz, xpay_refund_notify, xpay_coin_pay_notify is business data, and an error of this stage gives none (on_error: again has WeChat send the event once more, queue has it run later)
p.yaml:17:7: warning: the answer to check_biz is business data, and an error of this stage gives none (on_error: again has WeChat send the event once more, queue has it run later)`},
		{"business data under the pipeline's on_error", `
  on_error: again
  stages: [ { plugin: shop } ]
`, ""},
		{"a deadline under a timeout", `
  answer_within: 2s
  deadline: 2s
  stages:
    - { name: a, plugin: keyword }
    - { name: b, plugin: slow, when: 'type == "voice" || event == "CLICK"' }
`, `
p.yaml:15:7: warning: plugin slow may take 3s, and the pipeline's deadline is 2s (raise deadline, or lower the plugin's limits.timeout)
p.yaml:10:1: warning: the stages that wait (slow) may take 3s for one event, and answer_within is 2s (an answer that is late reaches nobody: lower limits.timeout of these plugins)`},
		{"waiting for longer than WeChat does", `
  stages:
    - { name: a, plugin: slow, when: 'type == "text"' }
    - { name: b, plugin: slow, when: 'type == "event"' }
    - name: c
      switch:
        - { when: 'content == "x"', stages: [ { name: d, plugin: slow } ] }
        - { when: 'content == "y"', stages: [ { name: e, plugin: keyword } ] }
`, `
p.yaml:10:1: warning: the stages that wait (slow) may take 6s for one event, and answer_within is 4.5s (an answer that is late reaches nobody: lower limits.timeout of these plugins)`},
		{"waiting side by side", `
  stages:
    - parallel: [ { name: a, plugin: slow }, { name: b, plugin: slow }, { name: c, plugin: keyword } ]
    - { name: d, plugin: slow, async: true }
`, ""},
		{"waiting side by side and after it", `
  stages:
    - parallel: [ { name: a, plugin: slow, when: 'content == "x"' }, { name: c, plugin: keyword } ]
    - { name: b, plugin: slow, when: 'type == "text"' }
`, `
p.yaml:10:1: warning: the stages that wait (slow) may take 6s for one event, and answer_within is 4.5s (an answer that is late reaches nobody: lower limits.timeout of these plugins)`},
		{"side by side and beside the answer", `
  deadline: 1s
  answer_within: 1s
  stages:
    - name: p
      when: 'type == "text"'
      parallel:
        - { name: a, plugin: menu }
        - { name: b, switch: [ { when: 'type == "voice"', stages: [] } ] }
        - { name: c, plugin: keyword, when: 'type == "text" && event == "CLICK"' }
        - { name: d, plugin: slow, async: true }
    - { name: e, plugin: shop, async: true }
    - { name: f, parallel: [ { name: g, plugin: shop } ], when: 'event in ["SCAN", "xpay_refund_notify"]' }
  always: [ { name: h, plugin: keyword, async: true, when: 'event == "CLICK"' } ]
`, `
p.yaml:17:11: warning: plugin menu takes none of the events that get here (it takes no messages and events CLICK)
p.yaml:18:40: warning: when: no event that meets it gets to this branch (the branches before it, or what stands around the switch, take all of them)
p.yaml:19:45: warning: when: no event meets it (messages have a type, such as text, and no event; events have the type event)
p.yaml:20:11: warning: plugin slow may take 3s, and the pipeline's deadline is 1s (raise deadline, or lower the plugin's limits.timeout)
p.yaml:22:30: warning: the answer to xpay_refund_notify is business data, and an error of this stage gives none (on_error: again has WeChat send the event once more, queue has it run later)
p.yaml:23:60: warning: when: plugin keyword takes none of the events that meet it (it takes messages text, voice and no events)`},
		{"raw forwards end the stages", `
  stages:
    - { name: a, forward: { to: old, as: raw }, when: 'type == "text"' }
    - { name: b, plugin: keyword, when: 'type == "text"' }
    - { name: c, plugin: keyword }
    - name: d
      switch:
        - { when: 'type == "voice"', stages: [ { name: e, forward: { to: old, as: raw } }, { name: f, plugin: any }, { name: g, plugin: any } ] }
        - { when: 'content == "x"', stages: [ { name: h, forward: { to: old, as: raw } } ] }
        - stages: [ { name: i, plugin: any } ]
    - { name: j, plugin: keyword }
    - { name: k, parallel: [ { name: l, forward: { to: old, as: raw } }, { name: m, plugin: any } ] }
    - { name: n, plugin: any }
  always:
    - { name: o, forward: { to: old, as: raw } }
    - { name: p, plugin: any }
upstreams: { old: { url: "http://h", timeout: 1s } }
`, `
p.yaml:13:41: warning: when: none of the events that get here meets it (the raw forward a before it ends the stages for the others, or the branch that it stands in keeps them out)
p.yaml:17:92: warning: no callback of WeChat gets to this stage: the raw forward e before it ends the stages (give the forward a when, or move it to the end)
p.yaml:20:7: warning: plugin keyword takes none of the events that get here` + onlyKeyword + `
p.yaml:22:7: warning: no callback of WeChat gets to this stage: the raw forward l before it ends the stages (give the forward a when, or move it to the end)`},
		{"raw forwards after which the stages may go on", `
  stages:
    - { name: a, forward: { to: old, as: raw }, on_error: skip }
    - { name: b, forward: { to: old, as: raw }, on_error: { plugin: any } }
    - { name: c, forward: { to: old, as: raw }, async: true }
    - { name: d, forward: { to: old, as: raw }, when: 'type == "text" && content == "x"' }
    - { name: e, plugin: keyword, when: 'type == "text"' }
    - { name: f, forward: { to: old, as: json } }
    - { name: g, switch: [ { when: 'type == "text"', stages: [ { name: h, forward: { to: old, as: raw } } ] } ] }
    - { name: i, plugin: keyword, when: 'type == "voice"' }
    - { name: j, forward: { to: old, as: raw }, on_error: { reply: { text: x } } }
upstreams: { old: { url: "http://h", timeout: 500ms, secret: x } }
`, ""},
		{"forwards that take their time", `
  deadline: 5s
  stages:
    - { name: a, plugin: slow, when: 'type == "text"' }
    - { name: b, forward: { to: old, as: json }, when: 'type == "text"' }
    - { name: c, forward: { to: old, as: json }, async: true }
    - { name: d, forward: { to: old, as: json }, when: 'type == "voice"' }
    - { name: e, forward: { to: older, as: json }, when: 'event == "CLICK"' }
upstreams: { old: { url: "http://h", timeout: 2s, secret: x }, older: { url: "http://h", timeout: 6s, secret: x } }
`, `
p.yaml:17:7: warning: upstream older may take 6s, and the pipeline's deadline is 5s (raise deadline, or lower the upstream's timeout)
p.yaml:10:1: warning: the stages that wait (upstream older) may take 6s for one event, and answer_within is 4.5s (an answer that is late reaches nobody: lower the timeout of these upstreams)`},
		{"forwards and plugins that take their time", `
  stages:
    - { name: a, plugin: slow, when: 'type == "text"' }
    - { name: b, forward: { to: old, as: raw } }
upstreams: { old: { url: "http://h" } }
`, `
p.yaml:10:1: warning: the stages that wait (slow, upstream old) may take 7s for one event, and answer_within is 4.5s (an answer that is late reaches nobody: lower limits.timeout of these plugins and the timeout of these upstreams)`},
		{"forwards whose errors have to be answered", `
  stages:
    - { name: a, forward: { to: old, as: json }, when: 'event == "check_biz"' }
    - { name: b, forward: { to: old, as: json }, when: 'event == "check_biz"', on_error: again }
    - { name: c, forward: { to: old, as: json }, when: 'event == "check_biz"', async: true }
    - { name: d, forward: { to: old, as: raw }, when: 'type == "voice"', on_error: { plugin: menu } }
    - { name: e, forward: { to: old, as: raw } }
upstreams: { old: { url: "http://h", timeout: 1s, secret: x } }
`, `
p.yaml:12:7: warning: the answer to check_biz is business data, and an error of this stage gives none (on_error: again has WeChat send the event once more, queue has it run later)
p.yaml:15:7: warning: on_error: plugin menu takes none of the events of this forward (it takes no messages and events CLICK)`},
		{"names compared with what they never are", `
  stages:
    - { name: a, plugin: any, when: 'app == "shpo" || "shop" == app || app in ["shop", "other"]' }
    - { name: b, plugin: any, when: 'weekday == 0 || weekday in [6, 7, 8] || hour != 24 || hour == 0' }
    - { name: c, plugin: any, when: 'origin == "wx" || origin in ["wechat", "api"]' }
    - name: d
      switch: [ { when: 'labels["clint"] == "acme" || labels.client == "acme" || labels[key] == "x"', stages: [] } ]
    - { name: e, plugin: any, when: 'content == "shpo" && key in ["0"] && created > 7' }
`, `
p.yaml:12:37: warning: when: "shpo" is no app of the pipeline, at character 8 (its apps are shop)
p.yaml:12:37: warning: when: "other" is no app of the pipeline, at character 51 (its apps are shop)
p.yaml:13:37: warning: when: weekday is never 0, at character 12 (it is 1, Monday, to 7, Sunday)
p.yaml:13:37: warning: when: weekday is never 8, at character 35 (it is 1, Monday, to 7, Sunday)
p.yaml:13:37: warning: when: hour is never 24, at character 49 (it is 0 to 23)
p.yaml:14:37: warning: when: "wx" is no origin, at character 11 (it is one of wechat, plugin, schedule, api, identity)
p.yaml:16:25: warning: when: no app of the pipeline has a label "clint", at character 8 (labels are the app's own; one that it doesn't have is "")`},
		{"plugins that run where another fails", `
  deadline: 5s
  stages:
    - { name: a, plugin: keyword, on_error: { plugin: slow } }
    - { name: b, plugin: slow, on_error: { plugin: slow } }
    - { name: c, plugin: keyword, async: true, on_error: { plugin: slow } }
`, `
p.yaml:10:1: warning: the stages that wait (slow) may take 9s for one event, and answer_within is 4.5s (an answer that is late reaches nobody: lower limits.timeout of these plugins)`},
		{"a plugin that runs wherever one fails", `
  on_error: { plugin: slow }
  deadline: 2s
  answer_within: 2s
  stages:
    - { name: a, plugin: keyword }
    - { name: b, plugin: menu, on_error: { plugin: slow } }
`, `
p.yaml:10:1: warning: on_error: plugin slow may take 3s, and the pipeline's deadline is 2s (raise deadline, or lower the plugin's limits.timeout)
p.yaml:16:7: warning: on_error: plugin slow may take 3s, and the pipeline's deadline is 2s (raise deadline, or lower the plugin's limits.timeout)
p.yaml:10:1: warning: the stages that wait (slow) may take 3s for one event, and answer_within is 2s (an answer that is late reaches nobody: lower limits.timeout of these plugins)`},
		{"waiting one or the other", `
  on_error: again
  stages:
    - name: c
      switch:
        - { when: 'content == "x"', stages: [ { name: d, plugin: slow } ] }
        - { when: 'content == "y"', stages: [ { name: e, plugin: slow } ] }
    - { name: f, plugin: shop }
  always:
    - { name: g, plugin: slow }
`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, want := lint(t, lintFile(c.lines), config.Options{}), strings.TrimSpace(c.want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestLintOpen: a condition that NoEnv left open may hold or not.
// TestLintMiniPrograms: a reply that WeChat doesn't take from a mini program is
// warned of where nobody else can get it.
func TestLintMiniPrograms(t *testing.T) {
	const pipe = `
  on_error: { reply: { text: 稍后 } }
  stages:
    - { when: 'type == "text"', reply: { text: 你好 } }
    - { name: human, reply: { transfer: {} } }
    - { plugin: menu, on_error: { reply: { text: 稍后 } } }
`
	src := lintFile(pipe)
	mini := strings.Replace(src, "type: official", "type: miniprogram", 1)
	both := strings.Replace(src, "apps: {", "apps: { m: { type: miniprogram, app_id: b, token: t, mode: plain },", 1)
	const lost = ": warning: nobody gets this reply: to a mini program WeChat takes transfer and raw as an answer, nothing else (answer with transfer, or have a plugin send a customer service message)\n"
	for name, c := range map[string]struct{ src, want string }{
		"official": {src, ""},
		"mini":     {mini, "p.yaml:10:1" + lost + "p.yaml:13:7" + lost + "p.yaml:15:7" + lost},
		"both":     {both, ""},
	} {
		if got := lint(t, c.src, config.Options{}); got != strings.TrimSuffix(c.want, "\n") {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
}

func TestLintOpen(t *testing.T) {
	src := lintFile(`
  answer_within: "${WITHIN}"
  stages:
    - { name: a, plugin: keyword, when: "${A}" }
    - name: b
      switch:
        - { when: "${B}", stages: [ { name: c, plugin: keyword } ] }
        - { when: 'type == "text"', stages: [ { name: d, plugin: keyword } ] }
        - stages: [ { name: e, plugin: menu } ]
    - { name: f, plugin: slow }
`)
	if got := lint(t, src, config.Options{NoEnv: true}); got != "" {
		t.Error(got)
	}
	env := func(name string) (string, bool) {
		if name == "WITHIN" {
			return "4s", true
		}
		return `type != ""`, true
	}
	if got := lint(t, src, config.Options{Getenv: env}); strings.Count(got, "\n") != 0 || !strings.HasPrefix(got, "p.yaml:17:19: warning: when: no event that meets it gets to this branch") {
		t.Error(got)
	}
}

// TestLintUnknownPlugin: nothing is said of a plugin that isn't known.
func TestLintUnknownPlugin(t *testing.T) {
	cfg, problems := config.Parse("p.yaml", []byte(lintFile(`
  stages: [ { plugin: menu, when: 'type == "text"' } ]
`)), config.Options{})
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	facts := lintFacts()
	facts.Plugins = nil
	if found := Lint(cfg, facts); len(found) > 0 {
		t.Error(found)
	}
}

// TestLintIsBounded: a huge pipeline is looked at for a moment only.
func TestLintIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n  stages:\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "    - { name: s%d, plugin: any, when: 'type == \"t%d\" && event == \"e%d\"' }\n", i, i, i)
	}
	got := lint(t, lintFile(b.String()), config.Options{})
	if got != "p.yaml:10:1: warning: the pipeline has too many stages and conditions to look for those that no event reaches" {
		t.Errorf("%.300s", got)
	}
}

// TestFormulas: what a condition comes to is among what its formula allows, and
// is all that it allows where type and event decide.
func TestFormulas(t *testing.T) {
	for src, decided := range map[string]bool{
		`type == "text"`:                                true,
		`"TEXT" == type`:                                true,
		`event != "scan"`:                               true,
		`event in ["SCAN", "x"]`:                        true,
		`event not in ["SCAN", "x"]`:                    true,
		`not (event in ["SCAN"]) or type in ["text"]`:   true,
		`type == event`:                                 true,
		`event in [type, "SCAN"]`:                       true,
		`event startsWith "SC"`:                         true,
		`event startsWith "sc" || event endsWith "AN"`:  true,
		`event matches "^S" && !(event contains "x")`:   true,
		`lower(event) == "scan"`:                        true,
		`event | lower() | hasPrefix("sc")`:             true,
		`len(type) + len(event) == 9`:                   true,
		`event == "a\"b" || event == "点击"`:              true,
		`type == "event" ? event == "SCAN" : true`:      true,
		`(type == "text" ? "a" : "b") == "a"`:           true,
		`int(event) > 3`:                                false,
		`type == "text" && hour > 9`:                    false,
		`type == "text" || hour > 9`:                    false,
		`hour > 9 ? type == "text" : event == "SCAN"`:   false,
		`fields["A"] == "" && event == "SCAN"`:          false,
		`event in split(key, ",") || type in ["voice"]`: false,
		`attrs["x"] == type`:                            false,
	} {
		c, problems := compile(src, config.Pos{}, nil)
		if problems.Err() != nil {
			t.Fatal(src, problems)
		}
		form := new(formulas).of(src)
		undecidedOnce := false
		for _, typ := range []string{"", "text", "TEXT", "voice", "event", "odd"} {
			for _, event := range []string{"", "SCAN", "scan", "x", "a\"b", "点击"} {
				for _, created := range []int64{1700000000, 1700040000} {
					e := newEnv(new(app), &hostapi.Event{Type: typ, Event: event, Created: created, Key: "SCAN,x"})
					verdict := form(&sample{typ: typ, event: event, env: newEnv(new(app), &hostapi.Event{Type: typ, Event: event})})
					holds, err := c.eval(new(vm.VM), e)
					if err == nil && holds && verdict&mayHold == 0 || err == nil && !holds && verdict&mayFail == 0 || err != nil && verdict != undecided {
						t.Errorf("%s: %s %s: it is %v, %v, and judged %d", src, typ, event, holds, err, verdict)
					}
					undecidedOnce = undecidedOnce || verdict == undecided
				}
			}
		}
		if undecidedOnce == decided {
			t.Errorf("%s: decided: %v", src, !undecidedOnce)
		}
	}
}
