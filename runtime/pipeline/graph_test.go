package pipeline

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

// chart is a Mermaid flowchart as far as Graph writes one.
type chart struct {
	nodes map[string]string // labels of nodes and subgraphs by their names
	edges []string          // FROM TO LABEL; a dotted one begins with ~
}

// The grammar of a chart, a line at a time. A label holds nothing but letters,
// digits, what no grammar of Mermaid, HTML or Markdown has a use for, character codes and breaks.
var (
	labelForm = `"((?:[\p{L}\p{Nd} _\-.,=()/!…]|#\d+;|<br/>)*)"`
	nodeForm  = regexp.MustCompile(`^    (p\w+)(?:\[` + labelForm + `\]|\(\[` + labelForm + `\]\)|\{` + labelForm + `\}|\{\{` + labelForm + `\}\}|\[\(` + labelForm + `\)\])$`)
	edgeForm  = regexp.MustCompile(`^    (p\w+) (-->|-\.->)(?:\|` + labelForm + `\|)? (p\w+)$`)
	graphForm = regexp.MustCompile(`^  subgraph (p\d+)\[` + labelForm + `\]$`)
	codeForm  = regexp.MustCompile(`#(\d+);`)
)

// parseChart reads what Graph has written.
func parseChart(t *testing.T, text string) *chart {
	t.Helper()
	c := &chart{nodes: map[string]string{}}
	add := func(name, label string) {
		if _, double := c.nodes[name]; double {
			t.Errorf("%s is drawn twice", name)
		}
		c.nodes[name] = decodeLabel(label)
	}
	inside := false
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case i == 0:
			if line != "flowchart TD" {
				t.Fatalf("it begins with %q", line)
			}
		case !inside && graphForm.MatchString(line):
			m := graphForm.FindStringSubmatch(line)
			add(m[1], m[2])
			inside = true
		case inside && line == "  end":
			inside = false
		case inside && edgeForm.MatchString(line):
			m := edgeForm.FindStringSubmatch(line)
			edge := strings.TrimSuffix(m[1]+" "+m[4]+" "+decodeLabel(m[3]), " ")
			if m[2] == "-.->" {
				edge = "~" + edge
			}
			c.edges = append(c.edges, edge)
		case inside && nodeForm.MatchString(line):
			m := nodeForm.FindStringSubmatch(line)
			add(m[1], strings.Join(m[2:], ""))
		default:
			t.Errorf("line %d is no part of a chart: %q", i+1, line)
		}
	}
	for _, e := range c.edges {
		for _, name := range strings.Fields(strings.TrimPrefix(e, "~"))[:2] {
			if _, ok := c.nodes[name]; !ok {
				t.Errorf("%q leads from or to nothing", e)
			}
		}
	}
	if inside {
		t.Error("a subgraph has no end")
	}
	return c
}

// decodeLabel gives the text that Mermaid shows.
func decodeLabel(s string) string {
	s = strings.ReplaceAll(s, "<br/>", "\n")
	return codeForm.ReplaceAllStringFunc(s, func(code string) string {
		n, _ := strconv.Atoi(code[1 : len(code)-1])
		return string(rune(n))
	})
}

func graphOf(t *testing.T, src string) *chart {
	t.Helper()
	cfg, problems := config.Parse("p.yaml", []byte(src), config.Options{NoEnv: true})
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	return parseChart(t, Graph(cfg))
}

func TestGraph(t *testing.T) {
	c := graphOf(t, `weft: 1
apps:
  one: { type: official, app_id: a, token: t, mode: plain }
  two: { type: official, app_id: a, token: t, mode: plain }
  moving: { type: official, app_id: a, token: t, mode: plain, pipeline: fifth }
  other: { type: official, app_id: a, token: t, mode: plain, pipeline: second }
plugins: { a: { source: a.wasm }, b: { source: a.wasm }, c: { source: a.wasm } }
pipelines:
  main:
    on_error: { reply: { text: busy } }
    stages:
      - { name: guard, plugin: a, when: 'type == "text"', on_error: skip }
      - name: which
        when: 'app == "one"'
        switch:
          - { when: 'event == "CLICK"', stages: [ { plugin: b }, { name: b2, plugin: b, on_error: { plugin: c } } ] }
          - { when: 'event == "SCAN"', stages: [] }
          - stages: [ { reply: { text: "hello, you" } } ]
      - name: last
        switch: [ { when: 'hour > 9', stages: [ { name: c1, plugin: c, on_error: again }, { name: c2, plugin: c, on_error: queue }, { name: c3, plugin: c, on_error: queue } ] } ]
    always:
      - { name: count, plugin: a, on_error: { plugin: b } }
      - { name: more, plugin: a }
  second: { stages: [ { plugin: a }, { name: a2, plugin: a, on_error: { reply: { transfer: {} } } } ] }
  third: { answer_within: 1s }
  fourth:
    stages:
      - { plugin: c, async: true }
      - { name: all, when: 'hour > 9', on_error: skip, parallel: [ { plugin: a, on_error: queue }, { name: in, switch: [ { stages: [ { plugin: b } ] } ] } ] }
    always: [ { name: both, parallel: [ { name: c2, plugin: c, async: true, on_error: { plugin: a } } ], on_error: { plugin: b } } ]
  fifth:
    stages:
      - { forward: { to: up, as: json }, on_error: skip }
      - { name: some, forward: { to: up, as: raw }, when: 'type == "text"', on_error: queue }
      - { name: later, forward: { to: up, as: raw }, async: true }
      - { name: rest, forward: { to: up, as: raw }, on_error: { reply: { text: sorry } } }
    always: [ { name: too, forward: { to: up, as: raw } } ]
upstreams: { up: { url: "http://user.example.com/secret" } }
`)
	for name, want := range map[string]string{
		"p1": "pipeline main", "p1start": "events of one, two", "p1answer": "answer, within 4.5s",
		"p1s1": "guard\nplugin a\nwhen type == \"text\"", "p1s2": "which\nwhen app == \"one\"", "p1s3": "b", "p1s4": "b2\nplugin b", "p1s4error": "plugin c",
		"p1s5": "reply\nreply hello, you", "p1s6": "last", "p1s7": "c1\nplugin c", "p1s10": "count\nplugin a", "p1s10error": "plugin b", "p1s11": "more\nplugin a",
		"p1error": "reply busy", "p1again": "WeChat sends it again", "p1queue": "queue, run again later", "p1end": "end",
		"p2": "pipeline second", "p2start": "events of other", "p2stop": "success, no answer", "p2s2error": "transfer to customer service",
		"p3": "pipeline third", "p3start": "no app", "p3answer": "answer, within 1s",
		"p5s1": "forward\nforward to up, json", "p5s2": "some\nforward to up, raw\nwhen type == \"text\"", "p5s3": "later\nforward to up, raw\nasync, from the queue",
		"p4s1": "c\nasync, from the queue", "p4s2": "all\nwhen hour > 9", "p4s3": "a", "p4s4": "in", "p4s5": "b", "p4s6": "both", "p4s7": "c2\nplugin c\nasync, from the queue", "p4s7error": "plugin a",
	} {
		if c.nodes[name] != want {
			t.Errorf("%s: got %q, want %q", name, c.nodes[name], want)
		}
	}
	want := []string{
		"p1start p1s1",
		"p1s1 p1s2", "~p1s1 p1s2 error",
		"p1s2 p1s3 event == \"CLICK\"", "p1s2 p1s6 event == \"SCAN\"", "p1s2 p1s5 all others", "p1s2 p1s6 none",
		"p1s3 p1s4", "p1error p1answer", "~p1s3 p1error error",
		"p1s4 p1s6", "p1s4error p1s6", "~p1s4 p1s4error error",
		"p1s5 p1s6",
		"p1s6 p1s7 hour > 9", "p1s6 p1answer none",
		"p1s7 p1s8", "~p1s7 p1again error",
		"p1s8 p1s9", "~p1s8 p1queue error",
		"p1s9 p1answer", "~p1s9 p1queue error",
		"p1answer p1s10 always",
		"p1s10 p1s11", "p1s10error p1s11", "~p1s10 p1s10error error",
		"p1s11 p1end",
		"p2start p2s1",
		"p2s1 p2s2", "~p2s1 p2stop error",
		"p2s2 p2answer", "p2s2error p2answer", "~p2s2 p2s2error error",
		"p3start p3answer",
		"p4start p4s1",
		"p4s1 p4s2",
		"p4s2 p4s3 side by side", "p4s2 p4s4 side by side", "p4s2 p4answer none",
		"p4s3 p4answer", "~p4s3 p4queue error",
		"p4s4 p4s5 all others",
		"p4s5 p4answer", "~p4s5 p4stop error",
		"~p4s2 p4answer error",
		"p4answer p4s6 always",
		"p4s6 p4s7 side by side",
		"p4s7 p4end", "~p4s7 p4s7error error",
		"p5start p5s1",
		"p5s1 p5s2", "~p5s1 p5s2 error",
		"p5s2 p5answer answered", "p5s2 p5s3 none", "~p5s2 p5queue error",
		"p5s3 p5s4",
		"p5s4 p5answer answered", "p5s4error p5answer", "~p5s4 p5s4error error",
		"p5answer p5s5 always",
		"p5s5 p5end",
	}
	if !slices.Equal(c.edges, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(c.edges, "\n"), strings.Join(want, "\n"))
	}
}

// hostileTexts are conditions and answers that mean something to Mermaid, HTML or
// Markdown.
func hostileTexts() []string {
	return []string{
		`"] --> x["`, `"`, `'`, "`", "\"`**bold**`\"", `|`, `"| p1answer`, `]`, `end`, `subgraph x`, `#quot;`, `#34;`, `#`, `;`, `&quot;`, `&#34;`,
		`%%{init: {"securityLevel": "loose"}}%%`, `%% a comment`, `style p1 fill:#f00;`, `classDef x fill:#f00;`, `click p1s1 call alert()`, `fa:fa-bomb`, `$$x^2$$`,
		`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `</div>`, `javascript:alert(1)`, "```", "~~~", "---\ntitle: x\n---", "a\n%%{init: {}}%%\nb",
		"a\r\nend\nb", "\u202egnp.exe", "x\u200by", "x\u2028y", `\n`, `\`, `{{x}}`, `:::x`, `@{ shape: x }`, "点击", "🎉", strings.Repeat("长", 500),
	}
}

// TestGraphCanary: a stage shows what its canary gets and when that ends, and no
// openid.
func TestGraphCanary(t *testing.T) {
	c := graphOf(t, `weft: 1
apps: { one: { type: official, app_id: a, token: t, mode: plain } }
plugins: { a: { source: a.wasm }, b: { source: a.wasm } }
pipeline:
  stages:
    - { name: s1, plugin: a, canary: { to: b, percent: 12.5, rollback: { min_events: 7 } } }
    - { name: s2, plugin: a, canary: { to: b, apps: [one], users: [oSecret] } }
    - { name: s3, plugin: a, canary: { to: b, percent: 1, users: [oSecret, oOther], apps: [a1, a2, a3, a4, a5, a6], rollback: { errors: 0.5%, window: 30s } } }
    - { name: s4, plugin: a, canary: { to: b } }
    - { name: s5, plugin: a, canary: { to: "${B}", percent: 1 } }
    - { name: s6, plugin: a, shadow: b }
    - { name: s7, plugin: a, shadow: "${B}" }
`)
	for name, want := range map[string]string{
		"p1s1": "s1\nplugin a\ncanary b gets 12.5%\nuntil 5% of 7 events or more fail within 10m0s",
		"p1s2": "s2\nplugin a\ncanary b gets all of one, 1 user\nuntil 5% of 100 events or more fail within 10m0s",
		"p1s3": "s3\nplugin a\ncanary b gets 1%, all of 6 apps, 2 users\nuntil 0.5% of 100 events or more fail within 30s",
		"p1s4": "s4\nplugin a\ncanary b gets 0%\nuntil 5% of 100 events or more fail within 10m0s",
		"p1s6": "s6\nplugin a\nshadow b",
		"p1s7": "s7\nplugin a\nshadow …",
		"p1s5": "s5\nplugin a\ncanary … gets 1%\nuntil 5% of 100 events or more fail within 10m0s",
	} {
		if c.nodes[name] != want {
			t.Errorf("%s: got %q, want %q", name, c.nodes[name], want)
		}
	}
}

// TestGraphHostile: whatever stands in a condition or an answer stays text.
func TestGraphHostile(t *testing.T) {
	for _, text := range hostileTexts() {
		cfg := &config.Config{Pipelines: []*config.Pipeline{{Name: text, Stages: []*config.Stage{
			{Name: text, Plugin: &config.Plugin{Name: text}, When: text, OnError: &config.OnError{Kind: config.Instead, Plugin: &config.Plugin{Name: text}}},
			{Name: "switch", Switch: []*config.Branch{{When: text, Stages: []*config.Stage{{Name: "r", Reply: &config.Reply{Text: &config.Text{Content: text}}}}}}},
		}}}}
		cfg.Apps = []*config.App{{Name: text, Pipeline: cfg.Pipelines[0]}}
		c := parseChart(t, Graph(cfg))
		if len(c.nodes) != 7 || len(c.edges) != 7 {
			t.Errorf("%q makes a chart of %d nodes and %d edges: %v", text, len(c.nodes), len(c.edges), c)
		}
		shown := strings.Join(strings.Fields(text), " ")
		if strings.ContainsAny(text, "\u202e\u200b") || len(text) > 300 {
			continue
		}
		if got := c.nodes["p1s3"]; got != strings.TrimSpace("r\nreply "+shown) {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}

// TestGraphOpen: what NoEnv left open has a place, and nothing from outside is
// shown.
func TestGraphOpen(t *testing.T) {
	c := graphOf(t, `weft: 1
apps:
  one: { type: official, app_id: a, token: t, mode: plain, pipeline: "${P}" }
plugins: { a: { source: a.wasm } }
pipeline:
  on_error: "${E}"
  stages:
    - { name: "${N}", plugin: a, when: "${W}" }
    - { name: b, plugin: "${X}", on_error: { plugin: "${Y}" } }
    - { name: c, reply: { text: "${T}" } }
    - { name: d, switch: [ { when: "${V}", stages: [] } ] }
`)
	for name, want := range map[string]string{"p1start": "no app", "p1s1": "…\nplugin a\nwhen …", "p1s2": "b", "p1s2error": "plugin …", "p1s3": "c\nreply …", "p1s4": "d"} {
		if c.nodes[name] != want {
			t.Errorf("%s: got %q, want %q", name, c.nodes[name], want)
		}
	}
	if !slices.Contains(c.edges, "p1s4 p1answer …") {
		t.Errorf("got %q", c.edges)
	}
}

// TestGraphOfProject draws the project's own pipelines.
func TestGraphOfProject(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../../pipeline.yaml", "../config/testdata/full.yaml") {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if c := graphOf(t, string(src)); len(c.nodes) < 5 {
			t.Errorf("%s: %d nodes", file, len(c.nodes))
		}
	}
}
