package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// replaySections are of an app that walks the probe, with a stage more, and one
// more upstream asked, where they are of the next version.
func replaySections(t testing.TB, name string, next bool) string {
	more := ""
	if next {
		more = `    - { name: told, forward: { to: crm, as: json }, when: 'content == "tell"', on_error: skip }` + "\n" +
			`    - { name: counted, plugin: probe, when: 'content == "put y"' }` + "\n"
	}
	return "apps:\n" + appYAML("shop", "encrypted", "") + fmt.Sprintf(`upstreams:
  crm: { url: "http://127.0.0.1:1/", private: ["127.0.0.0/8"] }
plugins:
  probe: { source: %q, grants: { state: true }, config: { name: %q } }
pipeline:
  stages:
%s    - { plugin: probe, when: 'content != "nobody"' }
`, probe(t), name, more)
}

const replayed = `
weft: 1
app: shop
upstreams: { crm: { status: 204 } }
cases:
  - name: a conversation
    given: { probe: { "app:runs": "4" } }
    events:
      - { event: { content: name }, reply: { text: whatever } }
      - { event: { content: count } }
      - { event: { content: tell } }
      - { event: { content: tag z } }
      - { event: { content: put x } }
`

func replay2(t *testing.T, before, after, cases string, fuel float64) *ReplayReport {
	t.Helper()
	opt := ReplayOptions{Config: writeConfig(t, before), Against: writeConfig(t, after), Fuel: fuel}
	file := filepath.Join(t.TempDir(), "recorded.cases.yaml")
	if err := os.WriteFile(file, []byte(cases), 0o600); err != nil {
		t.Fatal(err)
	}
	opt.Files = []string{file}
	report, err := Replay(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Two configurations that are the same do the same, fuel included.
func TestReplayOfTheSame(t *testing.T) {
	r := replay2(t, replaySections(t, "Acme", false), replaySections(t, "Acme", false), replayed, 0)
	if !r.OK() || r.Events != 5 || r.Cases != 1 || len(r.Differences) != 0 || r.Fuel.Config != r.Fuel.Against || r.Fuel.Config == 0 {
		b, err := json.Marshal(r)
		t.Errorf("%s %v", b, err)
	}
}

// What differs is told with its kind and both sides; fuel has a bound of its own.
func TestReplayOfAChange(t *testing.T) {
	cases := strings.Replace(replayed, "content: put x", "content: put y", 1)
	after := strings.Replace(replaySections(t, "Other", true), `"nobody"`, `"count"`, 1)
	r := replay2(t, replaySections(t, "Acme", false), after, cases, -1)
	var got []string
	for _, d := range r.Differences {
		got = append(got, fmt.Sprintf("%d %s: %s | %s", d.Line, d.What, d.Config, d.Against))
	}
	want := []string{
		`9 answer: { text: "Acme" } | { text: "Other" }`,
		`10 answer: { text: "run 5" } | none`,
		`10 effect: state probe app:runs: "5" | state probe app:runs: "4"`,
		`10 path: [probe] | []`,
		`11 effect: asked [] | asked [crm]`,
		`11 path: [probe] | [told, probe]`,
		`13 path: [probe] | [counted]`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.OK() || r.Answers != 2 || r.Effects != 2 || r.Paths != 3 || r.Annotations != 0 {
		t.Errorf("%+v", r)
	}
	r = replay2(t, replaySections(t, "Acme", false), replaySections(t, "Acme is now", false), "weft: 1\napp: shop\ncases: [ { name: a, events: [ { event: { content: echo hi } } ] } ]\n", 100)
	if !r.OK() {
		t.Errorf("within the bound of fuel: %+v", r)
	}
	many := replaySections(t, "Acme", false) + "    - { name: again, plugin: probe }\n    - { name: once-more, plugin: probe }\n"
	const two = "weft: 1\napp: shop\ncases: [ { name: a, events: [ { event: { content: nothing } } ] } ]\n"
	if r = replay2(t, replaySections(t, "Acme", false), many, two, 10); r.OK() || !r.FuelOver {
		t.Errorf("over the bound of fuel: %+v", r)
	}
	if r = replay2(t, replaySections(t, "Acme", false), many, two, -1); !r.OK() {
		t.Errorf("without a bound: %+v", r)
	}
}

func TestReplayRefused(t *testing.T) {
	echo := "apps:\n" + appYAML("shop", "plain", "") + "pipeline: { stages: [ { reply: { text: hi } } ] }\n"
	for _, c := range []struct{ name, after, cases, want string }{
		{"a plugin's cases", echo, "weft: 1\ncases: [ { name: a, events: [ { event: {} } ] } ]\n", "the cases are a plugin's"},
		{"no such app", strings.Replace(echo, "shop:", "shop2:", 1), "weft: 1\napp: shop\ncases: [ { name: a, events: [ { event: {} } ] } ]\n", `no app "shop"`},
		{"a wrong configuration", echo + "more: 1\n", "weft: 1\napp: shop\ncases: [ { name: a, events: [ { event: {} } ] } ]\n", "unknown key more"},
		{"a wrong file", echo, "weft: 1\napp: shop\n", "cases is missing"},
	} {
		r := replay2(t, echo, c.after, c.cases, -1)
		if r.OK() || len(r.Problems) == 0 || !strings.Contains(r.Problems[0].String(), c.want) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// What an upstream is told is an effect, also where the answer is the same.
func TestReplayOfWhatIsTold(t *testing.T) {
	sections := func(told string) string {
		return "apps:\n" + appYAML("shop", "plain", "") + `upstreams:
  crm: { url: "http://127.0.0.1:1/", private: ["127.0.0.0/8"], headers: { A: b } }
pipeline:
  stages:
    - { name: first, reply: { text: ` + told + ` } }
    - { forward: { to: crm, as: json } }
    - { name: last, reply: { text: the same } }
`
	}
	const cases = "weft: 1\napp: shop\nupstreams: { crm: { status: 204 } }\ncases: [ { name: a, events: [ { event: { content: x } } ] } ]\n"
	r := replay2(t, sections("one"), sections("two"), cases, -1)
	if r.OK() || len(r.Differences) != 1 || r.Effects != 1 {
		t.Fatalf("%+v", r)
	}
	if got := r.Differences[0].Against; got != `asked [crm reply {"text":{"content":"two"}}]` {
		t.Error(got)
	}
}

// What differs behind the first bytes of a long text differs, and is shown.
func TestReplayOfLongTexts(t *testing.T) {
	const cases = "weft: 1\napp: shop\ncases: [ { name: a, events: [ { event: { content: a } } ] } ]\n"
	long := strings.Repeat("好", 680) // 2,048 bytes are the most that a text has
	sections := func(text string) string { return "apps:\n" + appYAML("shop", "plain", "") + replying(text) }
	r := replay2(t, sections(long+"A"), sections(long+"B"), cases, -1)
	if r.OK() || r.Answers != 1 {
		t.Fatalf("%+v", r)
	}
	d := r.Differences[0]
	if !strings.Contains(d.Config, "好A") || !strings.Contains(d.Against, "好B") || len(d.Config) > maxShownText || !utf8.ValidString(d.Config) {
		t.Errorf("%q | %q", d.Config, d.Against)
	}
}

// A gate through which nothing went is shut.
func TestNoCaseIsRun(t *testing.T) {
	file := writeConfig(t, echoSections())
	cases := filepath.Join(filepath.Dir(file), "cases.yaml")
	if err := os.WriteFile(cases, []byte("weft: 1\napp: shop\ncases: [ { name: a, events: [ { event: {} } ] } ]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := regexp.MustCompile("nothing")
	if _, err := Replay(t.Context(), ReplayOptions{Files: []string{cases}, Config: file, Against: file, Run: run}); !errors.Is(err, errNoCase) {
		t.Error(err)
	}
	if _, err := Test(t.Context(), TestOptions{Config: file, Run: run}); !errors.Is(err, errNoCase) {
		t.Error(err)
	}
}
