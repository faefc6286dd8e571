package server

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/wechat"
)

// textGuest compiles a module in the text format, gives it a manifest with what
// more says, and returns its path. The module's name is the file's.
func textGuest(t *testing.T, file, more string) string {
	t.Helper()
	compiler, err := exec.LookPath("wat2wasm")
	if err != nil {
		t.Skip("wat2wasm is not installed")
	}
	name := strings.TrimSuffix(filepath.Base(file), ".wat")
	module := filepath.Join(t.TempDir(), name+".wasm")
	if out, err := exec.CommandContext(t.Context(), compiler, file, "-o", module).CombinedOutput(); err != nil {
		t.Fatalf("wat2wasm: %v\n%s", err, out)
	}
	embedManifest(t, module, []byte("name: "+name+"\nversion: 1.0.0\nabi: 1\ntitle: { en: A guest }\n"+more))
	return module
}

// misdeeds are plugins that do it at the second event of an instance. Each has
// one instance, a pipeline and an app, all of its name.
var misdeeds = []struct {
	plugin  string
	limits  string
	onError string
	want    string // the answer after the misdeed
	text    string // a part of what the log says
}{
	{"trap", "timeout: 8s", "{ reply: { text: sorry } }", "sorry", "plugin trap: trap: unreachable"},
	{"endless", "timeout: 250ms", "skip", "well", "plugin endless: timeout: no answer within 250ms"},
	{"memory", "timeout: 8s, memory: 2MiB", "stop", wechat.Success, "plugin memory: memory: it was refused memory over its limit of 2MiB"},
}

// TestBadPlugins has plugins misbehave beside a healthy one: each error goes by
// on_error, is logged and counted, and neither the healthy plugin nor the next
// event of the bad one feels it.
func TestBadPlugins(t *testing.T) {
	h := startHost(t, writeConfig(t, misdeedSections(t)))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	account := testAccount(t, wechat.Encrypted)
	next := counter()
	send := func(app string) string {
		// No user's: else the bad ones would soon be fused.
		got, err := h.ask(account, app, textFrom("", next(), "hello"))
		if err != nil {
			t.Errorf("%s: %v", app, err)
		}
		return got
	}
	failed := map[string]int{}
	for _, m := range misdeeds {
		t.Run(m.plugin, func(t *testing.T) {
			for range 2 {
				if got := send(m.plugin); got != "fresh" {
					t.Errorf("the first event of an instance: %q", got)
				}
				got, during := h.besideMisdeed(t, m.plugin, send)
				if got != m.want {
					t.Errorf("the misdeed: %q, want %q", got, m.want)
				}
				if m.plugin == "endless" && during == 0 {
					t.Error("the healthy plugin did not answer meanwhile")
				}
				failed[m.plugin]++
			}
		})
	}
	t.Run("all at once", func(t *testing.T) { h.sendMany(t, send, failed) })
	h.checkFailures(t, failed)
}

// misdeedSections are an app and a pipeline for each misdeed, and for a healthy
// plugin.
func misdeedSections(t *testing.T) string {
	apps, plugins, pipelines := "apps:\n", "plugins:\n", "pipelines:\n"
	add := func(name, limits, stages string) {
		apps += appYAML(name, "encrypted", "pipeline: "+name+"\n")
		plugins += fmt.Sprintf("  %s: { source: %q, limits: { %s } }\n", name, textGuest(t, filepath.Join("testdata", name+".wat"), ""), limits)
		pipelines += fmt.Sprintf("  %s: { stages: %s }\n", name, stages)
	}
	add("healthy", "timeout: 8s", "[ { plugin: healthy } ]")
	for _, m := range misdeeds {
		add(m.plugin, "instances: 1, "+m.limits, fmt.Sprintf("[ { reply: { text: earlier } }, { plugin: %s, on_error: %s }, { plugin: healthy } ]", m.plugin, m.onError))
	}
	return apps + plugins + pipelines
}

// counter returns a function that counts, for any goroutine.
func counter() func() string {
	var mu sync.Mutex
	n := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return fmt.Sprint(n)
	}
}

// besideMisdeed sends an event that a plugin misbehaves at, and events of the
// healthy one until that is answered and once more after. It returns the answer,
// and how many of the healthy one began and ended within the misdeed.
func (h *testHost) besideMisdeed(t *testing.T, plugin string, send func(app string) string) (answer string, during int) {
	t.Helper()
	answers := make(chan string, 1)
	go func() { answers <- send(plugin) }()
	for answered := false; !answered; {
		stats := h.current.Load().assembly.plugins[plugin].Stats()
		began := stats.Idle < stats.Instances
		if got := send("healthy"); got != "well" {
			t.Errorf("the healthy plugin, beside %s: %q", plugin, got)
		}
		select {
		case answer = <-answers:
			answered = true
		default:
			if began {
				during++
			}
		}
	}
	if got := send("healthy"); got != "well" {
		t.Errorf("the healthy plugin, after %s: %q", plugin, got)
	}
	return answer, during
}

// sendMany sends events of all apps at once. Those of a bad plugin take turns,
// because its one instance ends with each second event.
func (h *testHost) sendMany(t *testing.T, send func(app string) string, failed map[string]int) {
	const events = 20
	var mu sync.Mutex
	answers := map[string]map[string]int{"healthy": {}, "trap": {}, "memory": {}}
	var all sync.WaitGroup
	for app := range answers {
		for range events {
			all.Go(func() {
				got := send(app)
				mu.Lock()
				defer mu.Unlock()
				answers[app][got]++
			})
		}
	}
	all.Wait()
	if answers["healthy"]["well"] != events {
		t.Errorf("the healthy plugin answered %v", answers["healthy"])
	}
	for _, m := range misdeeds {
		if got := answers[m.plugin]; got != nil {
			failed[m.plugin] += events / 2
			if got["fresh"] != events/2 || got[m.want] != events/2 {
				t.Errorf("%s: answers %v, want half of them fresh and half %s", m.plugin, got, m.want)
			}
		}
	}
}

// checkFailures holds metrics and log to how often each plugin misbehaved.
func (h *testHost) checkFailures(t *testing.T, failed map[string]int) {
	t.Helper()
	want := map[string]int{}
	for plugin, n := range failed {
		want[fmt.Sprintf("pipeline=%q,reason=%q,stage=%q", plugin, reasonFor(plugin), plugin)] = n
	}
	if got := h.metric(t, "weft_stage_errors_total"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("weft_stage_errors_total %v, want %v", got, want)
	}
	discards := h.metric(t, "weft_plugin_discards_total")
	logged := map[string]int{}
	for _, line := range h.log.lines(t, "stage failed") {
		for _, m := range misdeeds {
			if text, _ := line["error"].(string); line["stage"] == m.plugin && line["app"] == m.plugin && line["reason"] == reasonFor(m.plugin) && strings.Contains(text, m.text) {
				logged[m.plugin]++
			}
		}
	}
	for _, m := range misdeeds {
		if logged[m.plugin] != failed[m.plugin] {
			t.Errorf("%d clear lines in the log for %d failures of %s:\n%s", logged[m.plugin], failed[m.plugin], m.plugin, h.log)
		}
	}
	for labels, n := range discards {
		plugin, _, _ := strings.Cut(strings.TrimPrefix(labels, `plugin="`), `"`)
		expected := 0
		if strings.Contains(labels, fmt.Sprintf("reason=%q", reasonFor(plugin))) {
			expected = failed[plugin]
		}
		if n != expected {
			t.Errorf("weft_plugin_discards_total{%s} is %d, want %d", labels, n, expected)
		}
	}
}

// reasonFor is the reason in metrics and log: the guests are named for it, but
// for one.
func reasonFor(plugin string) string {
	if plugin == "endless" {
		return "timeout"
	}
	return plugin
}

// TestPluginsRefused has a plugin that can't be loaded beside a healthy one: the
// host doesn't start, and says what is wrong, where, and what to do. Where that
// is a line for pipeline.yaml, the host starts with it.
func TestPluginsRefused(t *testing.T) {
	for _, tc := range []struct {
		name     string
		guest    string
		manifest string
		text     string // all that is said of the plugin
	}{
		{"export missing", "missing-export", "", "export weft_handle is missing; expected a function (i32, i32) -> i32"},
		{"import not declared", "ungranted-import", "", "import weft.state: the manifest doesn't declare the capability; add to plugin.yaml: capabilities: { state: { why: … } }"},
		{
			"import not granted", "ungranted-import", "capabilities: { state: { why: counts } }\n",
			"it needs the capability state (counts); to grant it, add to pipeline.yaml: plugins.bad.grants: { state: true }",
		},
		{"too much memory", "memory-minimum", "", "its memory starts with 32MiB, over its limit of 16MiB; to allow it, add to pipeline.yaml: plugins.bad.limits: { memory: 32MiB }"},
		{
			"too much fuel", "empty", "limits: { fuel: 2000000000 }\n",
			"the manifest asks for fuel: 2000000000, more than the default of 1000000000; to allow it, add to pipeline.yaml: plugins.bad.limits: { fuel: 2000000000 }",
		},
		{"trap at start", "start-trap", "", "it did not start: _initialize: unreachable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := textGuest(t, filepath.Join("..", "sandbox", "testdata", tc.guest+".wat"), tc.manifest)
			healthy := textGuest(t, filepath.Join("testdata", "healthy.wat"), "")
			write := func(more string) (file, src string) {
				file = writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "")+fmt.Sprintf(`plugins:
  healthy: { source: %q }
  bad: { source: %q%s }
pipeline:
  stages: [ { plugin: bad }, { plugin: healthy } ]
`, healthy, bad, more))
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return file, string(b)
			}
			file, src := write("")
			want := placeOf(t, file, src, "plugins:", "bad:") + ": plugin bad: " + tc.text
			checkServeRefuses(t, file, want)
			if _, line, ok := strings.Cut(tc.text, "add to pipeline.yaml: plugins.bad."); ok {
				file, _ = write(", " + line)
				if got := startHost(t, file).say(t, "shop", "1", "hello"); got != "well" {
					t.Errorf("with the line that it asks for: %q", got)
				}
			}
		})
	}
}

// checkServeRefuses wants Serve, and Check, to find this problem and no other,
// and nothing to be served.
func checkServeRefuses(t *testing.T, file, problem string) {
	t.Helper()
	log := new(syncBuffer)
	err := Serve(t.Context(), file, NewLogger(log), nil)
	var problems config.Problems
	if !errors.As(err, &problems) || err.Error() != problem {
		t.Errorf("serve says\n%v\nwant\n%s", err, problem)
	}
	if served := log.lines(t, "serving"); len(served) > 0 {
		t.Errorf("it served: %v", served)
	}
	report, err := Check(t.Context(), file, false)
	if err != nil || report.Problems.Error() != problem || report.Problems.Err() == nil {
		t.Errorf("check says\n%v, %v\nwant\n%s", report, err, problem)
	}
}
