package config_test

import (
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

func TestShadowProblems(t *testing.T) {
	const head = `weft: 1
apps: { shop: { type: official, app_id: wx1, token: t, mode: plain } }
upstreams: { old: { url: "https://old.example.com", secret: 0123456789abcdef } }
plugins:
  faq: { source: faq.wasm, grants: { state: true } }
  next: { source: next.wasm, grants: { state: true }, state_of: faq }
  alone: { source: alone.wasm, grants: { state: true } }
pipeline:
`
	const unused = "warning: no stage uses plugin"
	for _, c := range []struct{ name, lines, want string }{
		{"of a plugin", "  stages: [ { plugin: faq, shadow: next } ]\n", ""},
		{"with a state of its own", "  stages: [ { plugin: faq, shadow: alone } ]\n", ""},
		{"of forwards", "  stages: [ { name: a, forward: { to: old, as: raw }, shadow: alone }, { name: b, forward: { to: old, as: json }, shadow: faq } ]\n", ""},
		{"in a branch", "  stages: [ { switch: [ { stages: [ { plugin: faq, shadow: next } ] } ] } ]\n", ""},
		{"no such plugin", "  stages: [ { plugin: faq, shadow: nxt } ]\n", "p.yaml:9:36: pipeline.stages.0.shadow: there is no plugin nxt (did you mean next?)"},
		{"itself", "  stages: [ { plugin: faq, shadow: faq } ]\n", "p.yaml:9:28: stage faq: shadow is the stage's own plugin (name another plugin)"},
		{"of a reply", "  stages: [ { reply: { text: x }, shadow: faq } ]\n", "p.yaml:9:35: pipeline.stages.0: only a stage with plugin or forward can have a shadow"},
		{"of a switch", "  stages: [ { switch: [ { stages: [] } ], shadow: faq } ]\n", "p.yaml:9:43: pipeline.stages.0: only a stage with plugin or forward can have a shadow"},
		{
			"async", "  stages: [ { plugin: faq, async: true, shadow: next } ]\n",
			"p.yaml:9:41: stage faq: shadow: the stage has no answer that one could compare (it is for stages on the way to the answer: neither async nor under always)",
		},
		{
			"always", "  always: [ { switch: [ { stages: [ { plugin: faq, shadow: next } ] } ] } ]\n",
			"p.yaml:9:52: stage faq: shadow: the stage has no answer that one could compare (it is for stages on the way to the answer: neither async nor under always)",
		},
		{"another's state", "  stages: [ { plugin: alone, shadow: next }, { name: f, forward: { to: old, as: json }, shadow: next } ]\n", `
p.yaml:9:30: warning: stage alone: shadow: plugin next sees the state of alone here, not that of faq (a shadow's own writes lie over the state of the stage's plugin)
p.yaml:9:89: warning: stage f: shadow: plugin next sees no state of faq here (beside a forward it begins with none)`},
		{"not a name", "  stages: [ { plugin: faq, shadow: [ next ] } ]\n", "p.yaml:9:36: pipeline.stages.0.shadow: must be the name of a plugin, and is a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := config.Parse("p.yaml", []byte(head+c.lines), config.Options{})
			var got []string
			for _, p := range problems {
				if s := p.String(); !strings.Contains(s, unused) && !strings.Contains(s, "upstream") {
					got = append(got, s)
				}
			}
			if got, want := strings.Join(got, "\n"), strings.TrimPrefix(c.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestShadowUsesItsPlugin: the app has a config for it.
func TestShadowUsesItsPlugin(t *testing.T) {
	cfg, problems := config.Parse("p.yaml", []byte(`weft: 1
apps: { shop: { type: official, app_id: wx1, token: t, mode: plain, with: { b: { x: 1 } } } }
plugins: { a: { source: a.wasm }, b: { source: b.wasm } }
pipeline: { stages: [ { plugin: a, shadow: b } ] }
`), config.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := string(cfg.Apps[0].Configs["b"].JSON); got != `{"x":1}` {
		t.Errorf("config %s", got)
	}
	if _, problems := config.Parse("p.yaml", []byte(`weft: 1
apps: { shop: { type: official, app_id: wx1, token: t, mode: plain } }
plugins: { a: { source: a.wasm } }
pipeline: { stages: [ { plugin: a, shadow: "${S}" } ] }
`), config.Options{NoEnv: true}); len(problems) > 0 {
		t.Errorf("open: %v", problems)
	}
}
