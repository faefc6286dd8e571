package server

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/wechat"
)

const (
	agencyApps = 40
	brokenApp  = "client17"
)

// TestAgency has 40 apps share two plugins, each app with words of its own. The
// config of one is wrong, in each of the ways that are found at different
// places: that app is out of service alone, and its place in the file is said.
func TestAgency(t *testing.T) {
	keyword := projectPlugin(t, "keyword")
	file := writeConfig(t, "")
	head, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct {
		name   string
		config string // of keyword in the broken app
		mark   string // begins at the place that is wrong
		text   string // a part of what is said about it
	}{
		{"unknown key", "fallbakc: { text: 您好 }\n", "{ text: 您好 }", "/fallbakc: there is no such property"},
		{"wrong type", "rules:\n  - match: exact\n    words: [价格, 2026]\n    reply: { text: 您好 }\n", "2026", "/rules/0/words/1: must be string"},
		{"refused by the plugin", "rules:\n  - { match: regexp, pattern: '(', reply: { text: 您好 } }\n", "keyword:", "rules[0].pattern: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := string(head) + agencySections(tc.config, probe(t), keyword)
			if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
				t.Fatal(err)
			}
			problem := placeOf(t, file, src, brokenApp+":", tc.mark) + ": config of plugin keyword for app " + brokenApp + ": "

			h := startHost(t, file)
			t.Cleanup(http.DefaultClient.CloseIdleConnections)
			lines := h.log.lines(t, "app out of service")
			if len(lines) != 1 || lines[0]["app"] != brokenApp || !says(lines[0]["problem"], problem, tc.text) {
				t.Errorf("logged %v, want one line with %q and %q", lines, problem, tc.text)
			}
			h.askAgency(t, i+1)
			h.checkPools(t, map[string]int{"probe": 2, "keyword": 2})

			report, err := Check(t.Context(), file, false)
			if err != nil {
				t.Fatal(err)
			}
			// Its warnings are of the long timeouts of this test.
			problems := slices.DeleteFunc(report.Problems, func(p config.Problem) bool { return p.Warning })
			if len(problems) != 1 || !says(problems[0].String(), problem, tc.text) {
				t.Errorf("check finds %v, want one error with %q and %q", problems, problem, tc.text)
			}
		})
	}
}

// projectPlugin compiles a plugin of the project and returns the module's path.
func projectPlugin(t *testing.T, name string) string {
	t.Helper()
	dir, module := filepath.Join("..", "..", "plugins", name), filepath.Join(t.TempDir(), name+".wasm")
	var out bytes.Buffer
	if err := compileGo(t.Context(), dir, module, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	yaml, err := os.ReadFile(filepath.Join(dir, "plugin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	embedManifest(t, module, yaml)
	if err := precompile(module); err != nil {
		t.Fatal(err)
	}
	return module
}

// embedManifest puts a manifest into a module's file.
func embedManifest(t *testing.T, module string, yaml []byte) {
	t.Helper()
	code, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	if code, err = manifest.Embed(code, yaml); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(module, code, 0o600); err != nil {
		t.Fatal(err)
	}
}

func clientName(i int) string { return "client" + strconv.Itoa(i) }

// agencySections are the apps, with config as what the broken one has over
// keyword's, and the two plugins, with two instances at most.
func agencySections(config, probe, keyword string) string {
	var b strings.Builder
	b.WriteString("apps:\n")
	for i := range agencyApps {
		name := clientName(i)
		of := "    rules: [ { match: exact, words: [价格], reply: { text: 价格 " + name + " } } ]\n"
		if name == brokenApp {
			of = ""
			for line := range strings.Lines(config) {
				of += "    " + line
			}
		}
		b.WriteString(appYAML(name, "encrypted", "with:\n  probe: { name: I am "+name+" }\n  keyword:\n"+of))
	}
	fmt.Fprintf(&b, `plugins:
  probe: { source: %q, grants: { state: true }, limits: { instances: 2, timeout: 8s } }
  keyword: { source: %q, limits: { instances: 2, timeout: 8s }, config: { fallback: { text: 没听懂 } } }
pipeline:
  stages: [ { plugin: probe }, { plugin: keyword } ]
`, probe, keyword)
	return b.String()
}

// placeOf is FILE:LINE:COL of the first mark after the text from; columns are
// characters, as editors count.
func placeOf(t *testing.T, file, src, from, mark string) string {
	t.Helper()
	start := strings.Index(src, from)
	at := strings.Index(src[max(start, 0):], mark)
	if start < 0 || at < 0 {
		t.Fatalf("there is no %q after %q", mark, from)
	}
	before := src[:start+at]
	return fmt.Sprintf("%s:%d:%d", file, strings.Count(before, "\n")+1, utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:])+1)
}

// says tells whether a line begins with a text and has another one in it.
func says(line any, begin, part string) bool {
	s, ok := line.(string)
	return ok && strings.HasPrefix(s, begin) && strings.Contains(s, part)
}

// askAgency writes to all apps at once, and wants each to answer with its own
// words, with those that all share where it has none, and to count for itself.
func (h *testHost) askAgency(t *testing.T, round int) {
	t.Helper()
	account := testAccount(t, wechat.Encrypted)
	var all sync.WaitGroup
	for i := range agencyApps {
		all.Go(func() {
			name := clientName(i)
			for at, turn := range []struct{ text, want string }{
				{"name", "I am " + name},
				{"价格", "价格 " + name},
				{"天气", "没听懂"},
				{"count", fmt.Sprintf("run %d", round)},
			} {
				if name == brokenApp {
					turn.want = "status 503: app_unavailable"
				}
				got, err := h.ask(account, name, textMessage(fmt.Sprintf("%d%d", round, at), turn.text))
				if err != nil || got != turn.want {
					t.Errorf("%s, %s: %q, %v; want %q", name, turn.text, got, err, turn.want)
				}
			}
		})
	}
	all.Wait()
}

// ask sends a callback and returns the text of the answer, "success" where
// there is none, and of a refusal the status and the code. Any goroutine may
// call it.
func (h *testHost) ask(a *wechat.Account, app string, doc []byte) (string, error) {
	r := seal(a, doc, time.Now())
	resp, err := http.Post(h.url("/wx/"+app)+"?"+r.query, "text/xml", bytes.NewReader(r.body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		_, code, _ := strings.Cut(body.String(), `"code":"`)
		code, _, _ = strings.Cut(code, `"`)
		return fmt.Sprintf("status %d: %s", resp.StatusCode, code), nil
	}
	plain, format, err := a.OpenReply(body.Bytes())
	if err != nil {
		return "", err
	}
	if string(plain) == wechat.Success {
		return wechat.Success, nil
	}
	text := replyText(plain, format)
	if text == "" {
		err = errors.New("the answer is no text: " + string(plain))
	}
	return text, err
}

// checkPools wants these plugins to have a pool, and no other, with an instance
// at least and so many at most.
func (h *testHost) checkPools(t *testing.T, limits map[string]int) {
	t.Helper()
	live := map[string]int{}
	for labels, n := range h.metric(t, "weft_plugin_instances") {
		_, plugin, _ := strings.Cut(labels, `plugin="`)
		plugin, _, _ = strings.Cut(plugin, `"`)
		live[plugin] += n
	}
	if !slices.Equal(slices.Sorted(maps.Keys(live)), slices.Sorted(maps.Keys(limits))) {
		t.Errorf("instances %v, want pools of %v", live, limits)
	}
	for plugin, limit := range limits {
		if n := live[plugin]; n < 1 || n > limit {
			t.Errorf("plugin %s has %d instances for %d apps, want 1 to %d", plugin, n, agencyApps, limit)
		}
	}
}

// metric reads the samples of a counter or gauge from /metrics, by their labels.
func (h *testHost) metric(t *testing.T, name string) map[string]int {
	t.Helper()
	status, body, _ := get(t, "http://"+h.admin.addr()+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("metrics: status %d", status)
	}
	samples := map[string]int{}
	for line := range strings.Lines(body) {
		labels, found := strings.CutPrefix(line, name+"{")
		if !found {
			continue
		}
		labels, value, _ := strings.Cut(labels, "} ")
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			t.Fatalf("metrics: %q: %v", line, err)
		}
		samples[labels] = int(n)
	}
	return samples
}
