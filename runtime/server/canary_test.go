package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/wechat"
)

// canarySections are an app whose stage has a canary: the same guest under
// another name, with another config and the state of the first.
func canarySections(t testing.TB, canary string) string {
	return "apps:\n" + appYAML("shop", "encrypted", "with: { probe: { name: old }, next: { name: next } }\n") + fmt.Sprintf(`plugins:
  probe: { source: %[1]q, grants: { state: true } }
  next: { source: %[1]q, grants: { state: true }, state_of: probe }
pipeline:
  on_error: { reply: { text: sorry } }
  stages: [ { plugin: probe, canary: { to: next, %s } } ]
`, probe(t), canary)
}

// TestCanary: users are on one side or the other, which share the state; the one
// that starts failing is rolled back by itself, and stays so after a restart and
// until its lines change.
func TestCanary(t *testing.T) {
	file := writeConfig(t, canarySections(t, "percent: 40, users: [oListed], rollback: { errors: 50%, min_events: 6 }"))
	account := testAccount(t, wechat.Encrypted)
	next := counter()
	ask := func(h *testHost, user, text string) string {
		t.Helper()
		got, err := h.ask(account, "shop", textFrom(user, next(), text))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	log := new(syncBuffer)
	started, err := Start(t.Context(), file, NewLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{started, log}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)

	sides := map[string]string{}
	var nexts []string
	for i := range 60 {
		user := fmt.Sprintf("oUser%d", i)
		if sides[user] = ask(h, user, "name"); sides[user] == "next" {
			nexts = append(nexts, user)
		}
	}
	if n := len(nexts); n < 10 || n > 40 || ask(h, "oListed", "name") != "next" {
		t.Errorf("%d of 60 users, the listed one: %s", n, ask(h, "oListed", "name"))
	}
	for i := range 4 {
		user := nexts[0]
		if i%2 == 0 {
			user = "oUser1"
		}
		if got, want := ask(h, user, "count"), fmt.Sprintf("run %d", i+1); got != want {
			t.Errorf("the state is not shared: %q, want %q", got, want)
		}
	}
	if s := h.status(t).Canaries; len(s) != 1 || s[0].Pipeline != "main" || s[0].Stage != "probe" || s[0].Plugin != "probe" || s[0].To != "next" ||
		s[0].Percent != 40 || s[0].Users != 1 || s[0].Window != 600_000 || s[0].Events < len(nexts) || s[0].Failed != 0 || s[0].RolledBack != nil {
		t.Errorf("status: %+v", s)
	}
	if got := h.metric(t, "weft_canary_rolled_back"); got[`pipeline="main",stage="probe"`] != 0 || len(got) != 1 {
		t.Errorf("metric: %v", got)
	}

	rolledBack := false
	for i := 0; i < 200 && !rolledBack; i++ {
		if got := ask(h, nexts[i%len(nexts)], "trap"); got != "sorry" {
			t.Fatalf("a trap was answered %q", got)
		}
		rolledBack = h.status(t).Canaries[0].RolledBack != nil
	}
	check := func(h *testHost, when string) {
		t.Helper()
		for user := range sides {
			if got := ask(h, user, "name"); got != "old" {
				t.Errorf("%s: user %s gets %q", when, user, got)
			}
		}
		if got := h.metric(t, "weft_canary_rolled_back")[`pipeline="main",stage="probe"`]; got != 1 {
			t.Errorf("%s: the metric is %d", when, got)
		}
		c := h.status(t).Canaries[0]
		if c.RolledBack == nil || !strings.Contains(c.RolledBack.Reason, "events failed, the last: ") || c.Failed*2 < c.Events {
			t.Errorf("%s: status %+v", when, c)
		}
	}
	check(h, "rolled back")
	if got := h.metric(t, "weft_canary_events_total")[`pipeline="main",result="trap",side="canary",stage="probe"`]; got < 3 {
		t.Errorf("%d traps counted", got)
	}
	if lines := log.lines(t, "canary rolled back"); len(lines) != 1 || lines[0]["plugin"] != "next" || lines[0]["stage"] != "probe" {
		t.Errorf("log: %v", lines)
	}
	if err := started.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}

	check(startHost(t, file), "after a restart")
}

// TestCanaryAnew: when the stage's lines have changed, it begins anew.
func TestCanaryAnew(t *testing.T) {
	file := writeConfig(t, canarySections(t, "percent: 100, rollback: { errors: 50%, min_events: 1 }"))
	first, err := Start(t.Context(), file, discard())
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{Host: first}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	if got := []string{h.say(t, "shop", "1", "name"), h.say(t, "shop", "2", "fail"), h.say(t, "shop", "3", "name")}; strings.Join(got, " ") != "next sorry old" {
		t.Errorf("answered %q", got)
	}
	if err := first.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(src), "percent: 100", "percent: 99.9", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	second := startHost(t, file)
	if got := second.say(t, "shop", "4", "name"); got != "next" {
		t.Errorf("answered %q", got)
	}
	if c := second.status(t).Canaries[0]; c.RolledBack != nil || c.Percent != 99.9 {
		t.Errorf("status: %+v", c)
	}
}
