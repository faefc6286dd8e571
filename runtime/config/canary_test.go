package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// canaryFile is a file with a canary; with goes into it as it stands, before more
// of the file.
func canaryFile(with, more string) string {
	return `weft: 1
apps:
  shop: { type: official, app_id: wx1, token: t, mode: plain }
  other: { type: official, app_id: wx2, token: t, mode: plain, pipeline: second }
plugins:
  faq: { source: faq.wasm, grants: { state: true } }
  next: { source: next.wasm, grants: { state: true }, state_of: faq }
  alone: { source: alone.wasm, grants: { state: true } }
  plain: { source: plain.wasm }
pipelines:
  main:
    stages:
      - { plugin: faq, canary: ` + with + ` }
  second:
    stages:
      - plugin: alone
      - plugin: plain
` + more
}

func TestCanaryProblems(t *testing.T) {
	cases := []problemCase{
		{"whole", canaryFile("{ to: next, apps: [shop], users: [oA], percent: 10, rollback: { errors: 5%, min_events: 100, window: 10m } }", ""), ""},
		{"a plugin without a state", canaryFile("{ to: plain, percent: 0.5% }", ""), ""},
		{"nothing in it", canaryFile("{}", ""), "p.yaml:13:24: pipelines.main.stages.0.canary: to is missing (it is the name of a plugin)"},
		{"no plugin of that name", canaryFile("{ to: nxt, percent: 1 }", ""), "p.yaml:13:38: pipelines.main.stages.0.canary.to: there is no plugin nxt (did you mean next?)"},
		{"its own plugin", canaryFile("{ to: faq, percent: 1 }", ""), `
p.yaml:13:24: stage faq: canary gives its events to the stage's own plugin (name another plugin: to: …)`},
		{"a state of its own", canaryFile("{ to: alone, percent: 1 }", ""), `
p.yaml:13:24: stage faq: canary: plugin alone has a state of its own, and a user who changes sides would find another one (plugins.alone: state_of: faq)`},
		{"no event", canaryFile("{ to: next }", ""), "p.yaml:13:24: warning: pipelines.main.stages.0.canary: gives plugin next no event (give percent, apps or users)"},
		{"no event in many words", canaryFile("{ to: next, percent: 0%, apps: [], users: }", ""), "p.yaml:13:24: warning: pipelines.main.stages.0.canary: gives plugin next no event (give percent, apps or users)"},
		{"apps", canaryFile("{ to: next, apps: [shp, other] }", ""), `
p.yaml:13:51: warning: pipelines.main.stages.0.canary.apps: there is no app shp (did you mean shop?)
p.yaml:13:56: warning: pipelines.main.stages.0.canary.apps: events of app other don't walk pipeline main`},
		{"values", canaryFile("{ to: next, users: [''], percent: 101, rollback: { errors: 0%, min_events: 0, window: 1ms } }", ""), `
p.yaml:13:52: pipelines.main.stages.0.canary.users.0: "" is empty (it is a text of 1 to 128 bytes)
p.yaml:13:66: pipelines.main.stages.0.canary.percent: 101 is not a percentage from 0 to 100, such as 10, 5% or 0.5% (with three decimals at most)
p.yaml:13:91: pipelines.main.stages.0.canary.rollback.errors: "0%" is not a percentage over 0, up to 100, such as 10, 5% or 0.5%
p.yaml:13:107: pipelines.main.stages.0.canary.rollback.min_events: 0 is not a whole number from 1 to 1000000
p.yaml:13:118: pipelines.main.stages.0.canary.rollback.window: 1ms is not a duration from 1s to 24h`},
		{
			"of a switch", canaryFile("{ to: next, percent: 1 }", "      - { switch: [ { stages: [] } ], canary: { to: plain, percent: 1 } }\n"),
			"p.yaml:18:39: pipelines.second.stages.2: only a stage with plugin can have a canary",
		},
		{"state_of", strings.Replace(canaryFile("{ to: next, percent: 1 }", ""), "plain: { source: plain.wasm }", `plain: { source: plain.wasm, state_of: faq }
  self: { source: self.wasm, state_of: self, grants: { state: true } }
  third: { source: third.wasm, state_of: next, grants: { state: true } }
  lost: { source: lost.wasm, state_of: fag, grants: { state: true } }`, 1), `
p.yaml:9:42: plugins.plain.state_of: plugin plain may not use state (grants: { state: true })
p.yaml:10:40: plugins.self.state_of: a plugin has its own state without it (name another plugin)
p.yaml:11:3: warning: no stage uses plugin third
p.yaml:11:42: plugins.third.state_of: plugin next has the state of another plugin itself (name that: faq)
p.yaml:12:3: warning: no stage uses plugin lost
p.yaml:12:40: plugins.lost.state_of: there is no plugin fag (did you mean faq?)`},
	}
	const unused = "p.yaml:7:3: warning: no stage uses plugin next\n" // which is another matter
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, problems := config.Parse("p.yaml", []byte(c.src), config.Options{})
			if got, want := strings.TrimPrefix(problems.Error()+"\n", unused), strings.TrimPrefix(c.want, "\n"); strings.TrimSuffix(got, "\n") != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// parseCanary returns the canary of canaryFile.
func parseCanary(t *testing.T, src string, opt config.Options) *config.Canary {
	t.Helper()
	cfg, problems := config.Parse("p.yaml", []byte(src), opt)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	return cfg.Pipelines[0].Stages[0].Canary
}

func TestCanary(t *testing.T) {
	c := parseCanary(t, canaryFile("{ to: next, apps: [shop], users: [oA, oB], percent: 12.5 }", ""), config.Options{})
	want := config.Rollback{Errors: 5000, MinEvents: 100, Window: 10 * time.Minute}
	if c.To.Name != "next" || !slices.Equal(c.Apps, []string{"shop"}) || !slices.Equal(c.Users, []string{"oA", "oB"}) ||
		c.Percent != 12_500 || c.Rollback != want || c.Pos.Line != 13 {
		t.Errorf("got %+v", c)
	}
	if owner := c.To.StateOwner(); owner != "faq" {
		t.Errorf("its state is %s's", owner)
	}
	c = parseCanary(t, canaryFile("{ to: next, percent: 100%, rollback: { window: 1h } }", ""), config.Options{})
	want.Window = time.Hour
	if c.Percent != 100_000 || c.Rollback != want {
		t.Errorf("got %+v", c)
	}
}

// TestCanaryUsesItsPlugin: the target has the app's config, and is not called
// unused; nor is the plugin whose state another has.
func TestCanaryUsesItsPlugin(t *testing.T) {
	cfg, problems := config.Parse("p.yaml", []byte(canaryFile("{ to: next, percent: 1 }", "")), config.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if _, ok := cfg.Apps[0].Configs["next"]; !ok || len(cfg.Plugins[1].Apps) != 1 {
		t.Errorf("app shop has configs %v", cfg.Apps[0].Configs)
	}
	src := strings.Replace(canaryFile("{ to: plain, percent: 1 }", ""), "plugin: faq,", "plugin: next,", 1)
	if _, problems := config.Parse("p.yaml", []byte(src), config.Options{}); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0%", "0%": "0%", "7": "7%", "5%": "5%", "0.5": "0.5%", "0.125%": "0.125%", "12.50": "12.5%", "100": "100%", "100.000%": "100%",
		"100.001": "", "101": "", "-1": "", "+1": "", "1e1": "", ".5": "", "5.": "", "0.1234": "", "5 %": "", "007": "", "%": "", "٣": "",
	} {
		cfg, problems := config.Parse("p.yaml", []byte(canaryFile("{ to: next, users: [oA], percent: '"+text+"' }", "")), config.Options{})
		got := ""
		if problems.Err() == nil {
			got = cfg.Pipelines[0].Stages[0].Canary.Percent.String()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestCanaryLines: what is written in a stage changes its digest; where it is
// written, and what a variable stands for, doesn't.
func TestCanaryLines(t *testing.T) {
	opt := config.Options{Getenv: func(string) (string, bool) { return "7", true }}
	first := canaryFile("{ to: next, percent: '${P}' }", "")
	lines := parseCanary(t, first, opt).Lines
	opt.Getenv = func(string) (string, bool) { return "8", true }
	same := map[string]string{
		"another value of the variable": first,
		"moved and commented":           strings.Replace(first, "    stages:\n", "    # a comment\n    stages:   # one more\n\n", 1),
		"another stage before it":       strings.Replace(first, "    stages:\n", "    stages:\n      - plugin: plain\n", 1),
		"as a block":                    strings.Replace(first, "{ plugin: faq, canary: { to: next, percent: '${P}' } }", "plugin: faq\n        canary:\n            to: next\n            percent: \"${P}\"", 1),
	}
	for what, src := range same {
		cfg, problems := config.Parse("p.yaml", []byte(src), opt)
		if problems.Err() != nil {
			t.Fatal(what, problems)
		}
		stages := cfg.Pipelines[0].Stages
		if got := stages[len(stages)-1].Canary.Lines; got != lines {
			t.Errorf("%s: the digest is another one", what)
		}
	}
	for what, src := range map[string]string{
		"percent":      canaryFile("{ to: next, percent: '${Q}' }", ""),
		"rollback":     canaryFile("{ to: next, percent: '${P}', rollback: { errors: 6% } }", ""),
		"when":         strings.Replace(first, "{ plugin: faq,", "{ plugin: faq, when: 'key == \"\"',", 1),
		"target":       strings.Replace(first, "to: next", "to: plain", 1),
		"order of two": canaryFile("{ percent: '${P}', to: next }", ""),
	} {
		if got := parseCanary(t, src, opt).Lines; got == lines {
			t.Errorf("another %s: the digest is the same", what)
		}
	}
}

// TestCanaryNoEnv: what check --no-env leaves open is no problem.
func TestCanaryNoEnv(t *testing.T) {
	for _, with := range []string{"{ to: next, percent: '${P}' }", "{ to: '${P}', percent: 1 }", "{ to: next, apps: ['${P}'] }", "{ to: next, users: ['${P}'] }", "'${P}'"} {
		_, problems := config.Parse("p.yaml", []byte(canaryFile(with, "")), config.Options{NoEnv: true})
		for _, p := range problems {
			if !strings.Contains(p.Text, "no stage uses plugin") {
				t.Errorf("%s: %v", with, p)
			}
		}
	}
}
