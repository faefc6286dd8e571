package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// TestLimits has each limit of pipeline.yaml arrive, and two of them at work.
func TestLimits(t *testing.T) {
	h := startHost(t, writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "")+fmt.Sprintf(`plugins:
  probe:
    source: %q
    grants: { state: true }
    limits: { memory: 17MiB, timeout: 8s, fuel: 50000000, instances: 3, state: 1KiB, host_calls: 500, response: 2MiB, log: 3KiB }
pipeline:
  on_error: { reply: { text: sorry } }
  stages: [ { plugin: probe } ]
`, probe(t))))
	want := sandbox.Limits{
		Memory: 17 << 20, Timeout: 8 * time.Second, Fuel: 50_000_000, Instances: 3,
		State: 1 << 10, HostCalls: 500, Response: 2 << 20, Log: 3 << 10,
	}
	if got := h.current.Load().assembly.plugins["probe"].Limits(); got != want {
		t.Errorf("limits in force %+v, want %+v", got, want)
	}
	for i, c := range []struct{ say, want string }{
		{"put small", "put"},
		{"put " + strings.Repeat("x", 1<<10), "LIMITED"},
		{"put smaller", "put"},
		{"loop", "sorry"},
		{"echo alive", "alive"},
	} {
		if got := h.say(t, "shop", fmt.Sprint(i+1), c.say); !strings.Contains(got, c.want) {
			t.Errorf("%.10s: %q, want %s", c.say, got, c.want)
		}
	}
	failed := h.log.lines(t, "stage failed")
	if len(failed) != 1 || failed[0]["reason"] != "fuel" || !strings.Contains(fmt.Sprint(failed[0]["error"]), "no answer within 50000000 units of fuel") {
		t.Errorf("the log says %v, want the one failure, of fuel", failed)
	}
}

// TestLimitDefaults holds what pipeline.yaml's reference says of
// limits that are left out against those that are in force then.
func TestLimitDefaults(t *testing.T) {
	h := startHost(t, writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "")+fmt.Sprintf(`plugins:
  done: { source: %q }
pipeline: { stages: [ { plugin: done } ] }
`, textGuest(t, "../sandbox/testdata/done.wat", ""))))
	l := h.current.Load().assembly.plugins["done"].Limits()
	defaults := map[string]string{
		"memory": fmt.Sprintf("%dMiB", l.Memory>>20), "timeout": l.Timeout.String(), "fuel": fmt.Sprint(l.Fuel), "instances": "two for each processor",
		"state": fmt.Sprintf("%dMiB", l.State>>20), "host_calls": fmt.Sprint(l.HostCalls), "response": fmt.Sprintf("%dMiB", l.Response>>20), "log": fmt.Sprintf("%dKiB", l.Log>>10),
	}
	for _, s := range config.Reference() {
		if s.Name != "plugins.*.limits" {
			continue
		}
		for _, k := range s.Keys {
			if want := defaults[k.Name]; want == "" || !strings.HasSuffix(k.Doc, " "+want) {
				t.Errorf("%s: %q doesn't name the default %q", k.Name, k.Doc, want)
			}
			delete(defaults, k.Name)
		}
	}
	if len(defaults) > 0 {
		t.Errorf("not in the reference: %v", defaults)
	}
}

// TestIsolation has each form of isolation arrive: the guest traps where it
// finds what an event left.
func TestIsolation(t *testing.T) {
	apps, trap := "apps:\n", textGuest(t, "testdata/trap.wat", "")
	plugins, pipelines := "plugins:\n", "pipelines:\n"
	for _, form := range []string{"shared", "app", "event"} {
		for _, app := range []string{"a", "b"} {
			apps += appYAML(form+"-"+app, "encrypted", "pipeline: "+form+"\n")
		}
		plugins += fmt.Sprintf("  %s: { source: %q, isolation: %[1]s, limits: { timeout: 8s, instances: 1 } }\n", form, trap)
		pipelines += fmt.Sprintf("  %s: { stages: [ { plugin: %[1]s, on_error: { reply: { text: sorry } } } ] }\n", form)
	}
	h := startHost(t, writeConfig(t, apps+plugins+pipelines))
	for form, want := range map[string]string{"shared": "fresh sorry", "app": "fresh fresh sorry", "event": "fresh fresh fresh"} {
		got := ""
		for i, app := range []string{"a", "b", "a"}[:len(strings.Fields(want))] {
			got += " " + h.say(t, form+"-"+app, fmt.Sprint(i+1), "hello")
		}
		if got != " "+want {
			t.Errorf("%s: got%s, want %s", form, got, want)
		}
	}
}
