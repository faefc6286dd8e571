package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckSees has a configuration for each thing that can be seen without
// running, and the place where check says so.
func TestCheckSees(t *testing.T) {
	guest := filepath.Join("testdata", "healthy.wat")
	modules := strings.NewReplacer(
		"TEXTS", textGuest(t, guest, "messages: [text]\n"),
		"CLICKS", textGuest(t, guest, "events: [CLICK]\n"),
		"WAYBILLS", textGuest(t, guest, "events: [add_waybill]\n"),
		"STATEFUL", textGuest(t, guest, "messages: [text]\ncapabilities: { state: { why: counts } }\n"),
		"CONFIGURED", textGuest(t, guest, "config: { type: object, required: [greeting], properties: { greeting: { type: string, maxLength: 3 } } }\n"),
		"ANY", textGuest(t, guest, ""),
	)
	for _, c := range []struct{ name, file, want string }{
		{"nothing", `
plugins: { a: { source: TEXTS }, b: { source: CLICKS } }
pipeline:
  stages: [ { plugin: a, when: 'type == "text"' }, { plugin: b, when: 'event == "CLICK"' } ]`, ""},
		{"a stage that no event reaches, after a raw forward", `
upstreams: { old: { url: "https://example.com", timeout: 1s } }
plugins: { a: { source: ANY } }
pipeline:
  stages:
    - { name: f, forward: { to: old, as: raw } }
    - { plugin: a }`, `9:7: warning: no callback of WeChat gets to this stage: the raw forward f before it ends the stages (give the forward a when, or move it to the end)`},
		{"a stage that no event reaches, in a branch", `
plugins: { a: { source: CLICKS } }
pipeline:
  stages:
    - switch: [ { when: 'type == "text"', stages: [ { plugin: a } ] } ]`, `7:53: warning: plugin a takes none of the events that get here (it takes no messages and events CLICK)`},
		{"a branch that no event reaches, after the rest", `
pipeline:
  stages:
    - switch:
        - { when: 'type == "text"', stages: [] }
        - { when: 'type != "text"', stages: [] }
        - stages: [ { reply: { text: x } } ]`, `9:11: warning: no event gets to this branch (those before it take all)`},
		{"a rest that is not the last branch", `
pipeline:
  stages:
    - switch:
        - { stages: [] }
        - { when: 'type != "text"', stages: [] }`, `7:11: pipeline.stages.0.switch: only the last branch may leave out when (what stands after it would never run)`},
		{"a when that is true for no event of its plugin", `
plugins: { a: { source: TEXTS } }
pipeline:
  stages:
    - plugin: a
      when: 'event == "CLICK"'`, `8:13: warning: when: plugin a takes none of the events that meet it (it takes messages text and no events)`},
		{"a when that is true for no event", `
plugins: { a: { source: ANY } }
pipeline:
  stages:
    - parallel:
        - plugin: a
          when: 'type == "text" && event == "CLICK"'`, `9:17: warning: when: no event meets it (messages have a type, such as text, and no event; events have the type event)`},
		{"a word that WeChat doesn't have", `
plugins: { a: { source: ANY } }
pipeline:
  stages:
    - { plugin: a, async: true, when: 'event in ["SCAN", "subscibe"]' }`, `7:39: warning: when: "subscibe" is no type or event that WeChat is known to send, at character 19`},
		{"an app that there isn't", `
plugins: { a: { source: ANY } }
pipeline:
  stages:
    - { plugin: a, when: 'app == "shpo"' }`, `7:26: warning: when: "shpo" is no app of the pipeline, at character 8 (its apps are shop)`},
		{"a missing grant", `
plugins:
  a: { source: STATEFUL }
pipeline:
  stages: [ { plugin: a } ]`, `5:3: plugin a: it needs the capability state (counts); to grant it, add to pipeline.yaml: plugins.a.grants: { state: true }`},
		{"a grant too much", `
plugins:
  a: { source: TEXTS, grants: { state: true } }
pipeline:
  stages: [ { plugin: a } ]`, `5:3: warning: plugin a: the grant state has no effect: its manifest doesn't declare it (leave it out)`},
		{"a canary without the stage's state", `
plugins: { a: { source: STATEFUL, grants: { state: true } }, b: { source: STATEFUL, grants: { state: true } } }
pipeline:
  stages:
    - plugin: a
      canary: { to: b, percent: 10 }`, `8:7: stage a: canary: plugin b has a state of its own, and a user who changes sides would find another one (plugins.b: state_of: a)`},
		{"a canary that takes other events", `
plugins: { a: { source: TEXTS }, b: { source: CLICKS } }
pipeline:
  stages:
    - plugin: a
      canary: { to: b, percent: 10 }`, `8:7: warning: canary: plugin b takes none of the events of plugin a (it takes no messages and events CLICK)`},
		{"a shadow that takes other events", `
upstreams: { old: { url: "https://example.com", timeout: 1s } }
plugins: { b: { source: CLICKS } }
pipeline:
  stages:
    - forward: { to: old, as: raw }
      when: 'type == "text"'
      shadow: b`, `10:7: warning: shadow: plugin b takes none of the events of this forward (it takes no messages and events CLICK)`},
		{"a shadow of a stage without an answer", `
plugins: { a: { source: TEXTS }, b: { source: TEXTS } }
pipeline:
  stages:
    - { plugin: a, async: true, shadow: b }`, `7:33: stage a: shadow: the stage has no answer that one could compare (it is for stages on the way to the answer: neither async nor under always)`},
		{"a plugin that nothing uses", `
plugins:
  a: { source: TEXTS }
pipeline:
  stages: [ { reply: { text: x } } ]`, `5:3: warning: no stage uses plugin a`},
		{"an upstream that nothing uses", `
upstreams:
  old: { url: "https://example.com" }
pipeline:
  stages: [ { reply: { text: x } } ]`, `5:3: warning: nothing uses upstream old`},
		{"a config that breaks the schema", `
plugins:
  a:
    source: CONFIGURED
    config:
      greeting: hello
pipeline:
  stages: [ { plugin: a } ]`, `8:17: config of plugin a for app shop: /greeting: must have at most 3 characters`},
		{"a config that lacks what the schema asks for", `
plugins:
  a:
    source: CONFIGURED
    config: { other: 1 }
pipeline:
  stages: [ { plugin: a } ]`, `7:5: config of plugin a for app shop: lacks "greeting"`},
		{"business data without queue or again", `
plugins: { a: { source: WAYBILLS } }
pipeline:
  stages:
    - parallel: [ { plugin: a } ]`, `7:19: warning: the answer to add_waybill is business data, and an error of this stage gives none (on_error: again has WeChat send the event once more, queue has it run later)`},
		{"business data from an upstream", `
upstreams: { old: { url: "https://example.com", timeout: 1s } }
pipeline:
  stages:
    - { forward: { to: old, as: raw }, when: 'event == "add_waybill"', on_error: skip }`, `7:7: warning: the answer to add_waybill is business data, and an error of this stage gives none (on_error: again has WeChat send the event once more, queue has it run later)`},
		{"a deadline under a timeout", `
plugins: { a: { source: TEXTS, limits: { timeout: 6s } } }
pipeline:
  deadline: 5s
  stages: [ { plugin: a, async: true } ]`, `7:13: warning: plugin a may take 6s, and the pipeline's deadline is 5s (raise deadline, or lower the plugin's limits.timeout)`},
		{"a deadline under an upstream's timeout", `
upstreams: { old: { url: "https://example.com", timeout: 6s } }
pipeline:
  deadline: 5s
  stages: [ { forward: { to: old, as: raw }, async: true } ]`, `7:13: warning: upstream old may take 6s, and the pipeline's deadline is 5s (raise deadline, or lower the upstream's timeout)`},
		{"timeouts over answer_within", `
upstreams: { old: { url: "https://example.com", timeout: 2s } }
plugins: { a: { source: TEXTS, limits: { timeout: 2s } }, b: { source: ANY, limits: { timeout: 3s } } }
pipeline:
  stages:
    - parallel: [ { plugin: a }, { plugin: b } ]
    - { forward: { to: old, as: raw }, when: 'type == "text"' }`, `6:1: warning: the stages that wait (a, b, upstream old) may take 5s for one event, and answer_within is 4.5s (an answer that is late reaches nobody: lower limits.timeout of these plugins and the timeout of these upstreams)`},
		{"a deadline under answer_within", `
pipeline:
  deadline: 1s
  stages: [ { reply: { text: x } } ]`, `5:13: deadline of pipeline main is under its answer_within (deadline is the longest an event may take, answered or not)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Symlink(compileCache, filepath.Join(dir, "cache")); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "pipeline.yaml")
			// What a case shows begins on line 4.
			text := fmt.Sprintf("weft: 1\nserver: { data: %q }\napps: { shop: { type: official, app_id: a, token: t, mode: plain } }", dir) +
				modules.Replace(c.file) + "\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			report, err := Check(t.Context(), file, false)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(report.Problems.Error(), file+":", "")
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s\nof\n%s", got, c.want, text)
			}
		})
	}
}
