package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/wechat"
)

// status reads /admin/v1/status.
func (h *testHost) status(t *testing.T) statusDoc {
	t.Helper()
	code, body, kind := get(t, "http://"+h.admin.addr()+"/admin/v1/status")
	if code != http.StatusOK || !strings.HasPrefix(kind, "application/json") {
		t.Fatalf("%d %s: %s", code, kind, body)
	}
	if strings.Contains(body, "oUser") || strings.Contains(body, "unreachable") {
		t.Errorf("says too much: %s", body)
	}
	var doc statusDoc
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestStatus watches a plugin that fails: it skips one user, and is fused when
// it fails for all, with on_error for them; another plugin stays healthy. Its
// metrics say the same.
func TestStatus(t *testing.T) {
	h := startHost(t, writeConfig(t, misdeedSections(t)))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	account := testAccount(t, wechat.Encrypted)
	next := counter()
	send := func(app, user string) string {
		t.Helper()
		got, err := h.ask(account, app, textFrom(user, next(), "hello"))
		if err != nil {
			t.Fatalf("%s: %v", app, err)
		}
		return got
	}
	plugin := func(name string) pluginStatus {
		t.Helper()
		for _, p := range h.status(t).Plugins {
			if p.Name == name {
				return p
			}
		}
		t.Fatalf("no plugin %s", name)
		return pluginStatus{}
	}
	if p := plugin("trap"); p.Module != "trap" || p.Version != "1.0.0" || len(p.Digest) != len("sha256:")+64 || p.Health.State != sandbox.Healthy ||
		p.Instances.Live != 1 || p.Instances.Idle != 1 || p.Instances.MemoryBytes != 64<<10 || p.Calls != 0 || p.LastFailure != nil ||
		p.Limits.Timeout != 8000 || p.Limits.Memory != 16<<20 || p.Limits.Instances != 1 || p.Limits.Fuel != 1_000_000_000 || p.Limits.State != 64<<20 ||
		p.Limits.HostCalls != 100_000 || p.Limits.Response != 16<<20 || p.Limits.Log != 64<<10 {
		t.Errorf("at first: %+v", p)
	}
	// Each second event traps.
	for i := range 12 {
		want := [...]string{"fresh", "sorry"}[i%2]
		if i >= 6 {
			want = "sorry"
		}
		if got := send("trap", "oUser1"); got != want {
			t.Errorf("event %d: %q, want %q", i, got, want)
		}
	}
	if p := plugin("trap"); p.Health.State != sandbox.Healthy || p.Health.SkippedUsers != 1 || p.Calls != 12 || p.Failures != 9 ||
		p.LastFailure == nil || p.LastFailure.Reason != "trap" || time.Since(p.LastFailure.At) > time.Hour || p.Health.Apps[0].App != "trap" || p.Health.Apps[0].Failed != 3 {
		t.Errorf("one user skipped: %+v", p)
	}
	for i := range 14 {
		if got, want := send("trap", fmt.Sprint("oUser", 2+i)), [...]string{"fresh", "sorry"}[i%2]; got != want {
			t.Errorf("event %d: %q, want %q", i, got, want)
		}
	}
	p := plugin("trap")
	if p.Health.State != sandbox.Fused || p.Health.FusedApps != 1 || len(p.Health.Apps) != 1 || p.Failures != 16 {
		t.Fatalf("fused: %+v", p)
	}
	if a := p.Health.Apps[0]; a.State != sandbox.Fused || a.Failed != 10 || a.Calls != 20 || a.Since == nil || a.Since.After(time.Now()) || a.NextTrial.Sub(*a.Since) != time.Second {
		t.Errorf("fused: %+v", a)
	}
	if got := send("healthy", "oUser1"); got != "well" {
		t.Errorf("the healthy plugin: %q", got)
	}
	if p := plugin("healthy"); p.Health.State != sandbox.Healthy || p.Health.Apps != nil || p.Calls != 1 || p.Failures != 0 {
		t.Errorf("%+v", p)
	}
	for name, want := range map[string]int{"fused_apps": 1, "skipped_users": 1, "calls_total": 26, "memory_bytes": 0} {
		if got := h.metric(t, "weft_plugin_"+name)[`plugin="trap"`]; got != want {
			t.Errorf("weft_plugin_%s is %d, want %d", name, got, want)
		}
	}
	if n := h.metric(t, "weft_stage_errors_total")[`pipeline="trap",reason="fused",stage="trap"`]; n != 6 {
		t.Errorf("%d stages fused", n)
	}
	for _, name := range []string{"fuel_total", "host_calls_total"} {
		if h.metric(t, "weft_plugin_"+name)[`plugin="healthy"`] == 0 {
			t.Errorf("weft_plugin_%s is 0", name)
		}
	}
	if got := send("trap", "oUser1000"); got != "sorry" && time.Since(*p.Health.Apps[0].Since) < time.Second {
		t.Errorf("fused: %q", got)
	}
}
