package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/wechat"
)

// shadowSections are an app whose stage is shadowed by the same guest under
// another name, with another config.
func shadowSections(t testing.TB) string {
	return "apps:\n" + appYAML("shop", "encrypted", "with: { probe: { name: old }, next: { name: next } }\n") + fmt.Sprintf(`plugins:
  probe: { source: %[1]q, grants: { state: true } }
  next: { source: %[1]q, grants: { state: true } }
pipeline:
  on_error: { reply: { text: sorry } }
  stages: [ { plugin: probe, shadow: next } ]
`, probe(t))
}

// waitForShadow waits until the only shadow has had n events, and returns it.
func (h *testHost) waitForShadow(t *testing.T, n uint64) shadowStatus {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		s := h.status(t).Shadows
		if len(s) != 1 {
			t.Fatalf("%d shadows", len(s))
		}
		if s[0].Same+s[0].Different+s[0].Error+s[0].Dropped+s[0].NotComparable >= n {
			return s[0]
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("it has had no %d events: %+v", n, s[0])
		}
	}
}

// differences reads /admin/v1/shadows.
func (h *testHost) differences(t *testing.T, query string) []differenceDoc {
	t.Helper()
	code, body, _ := get(t, "http://"+h.admin.addr()+"/admin/v1/shadows"+query)
	var doc shadowsDoc
	if err := json.Unmarshal([]byte(body), &doc); err != nil || code != http.StatusOK {
		t.Fatalf("%d, %v: %s", code, err, body)
	}
	return doc.Differences
}

// TestShadow: what a real guest does as a shadow stays in its layer, what it
// answers reaches no user and is compared.
func TestShadow(t *testing.T) {
	h := startHost(t, writeConfig(t, shadowSections(t)))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	h.setState(t, "a/text", "before")
	for i, text := range []string{"count", "count", "count", "put shadow text", "echo same", "nothing"} {
		want := []string{"run 1", "run 2", "run 3", "put", "same", "success"}[i]
		if got := h.say(t, "shop", fmt.Sprint(i), text); got != want {
			t.Errorf("%s: answered %q, want %q", text, got, want)
		}
	}
	if s := h.waitForShadow(t, 6); s.Same != 6 || s.Pipeline != "main" || s.Stage != "probe" || s.Primary != "probe" || s.Shadow != "next" || s.LastDifference != nil || s.LastError != "" {
		t.Errorf("status: %+v", s)
	}
	place := layerPlace(t, h.layers, pipeline.Layer{Pipeline: "main", Stage: "probe", Plugin: "next", Over: "probe"})
	for where, want := range map[[2]string]string{
		{"state/probe/shop", "a/runs"}:                      "3",
		{"state/probe/shop", "a/text"}:                      "shadow text",
		{"state/next/shop", "a/runs"}:                       "-",
		{layerBucket(place, "shop", layerValues), "a/runs"}: "3",
		{layerBucket(place, "shop", layerValues), "a/text"}: "shadow text",
	} {
		if got := at(t, h.store, where[0], where[1]); got != want {
			t.Errorf("%v is %q, want %q", where, got, want)
		}
	}

	if got := h.say(t, "shop", "7", "name"); got != "old" {
		t.Errorf("answered %q", got)
	}
	if got := h.say(t, "shop", "8", "trap"); got != "sorry" {
		t.Errorf("answered %q", got)
	}
	s := h.waitForShadow(t, 8)
	if s.Different != 1 || s.Differences != (differencesStatus{Reply: 1}) || s.Error != 1 || s.LastError != "trap" || s.LastDifference == nil || !slices.Equal(s.LastDifference.Kinds, []string{"reply"}) {
		t.Errorf("status: %+v", s)
	}
	for result, want := range map[string]int{"same": 6, "different": 1, "error": 1} {
		if got := h.metric(t, "weft_shadow_total")[`pipeline="main",result="`+result+`",stage="probe"`]; got != want {
			t.Errorf("%s: %d", result, got)
		}
	}
	ds := h.differences(t, "?pipeline=main&stage=probe&app=shop")
	if len(ds) != 1 || ds[0].Content != "name" || ds[0].Primary.Reply != `{"text":{"content":"old"}}` || ds[0].Shadow.Reply != `{"text":{"content":"next"}}` ||
		ds[0].Primary.Outcome != "done" || ds[0].Shadow.Outcome != "done" || len(ds[0].EventID) != 32 {
		t.Errorf("differences: %+v", ds)
	}
	if ds := h.differences(t, "?stage=other"); len(ds) != 0 {
		t.Errorf("of another stage: %+v", ds)
	}
	if strings.Contains(h.log.String(), `"content\":\"next`) {
		t.Error("the log has what the shadow answered")
	}
}

// TestShadowLineGoes: a reload that takes the line away takes its layer, one that
// changes anything else leaves it.
func TestShadowLineGoes(t *testing.T) {
	h := startHost(t, writeConfig(t, shadowSections(t)))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	layer := pipeline.Layer{Pipeline: "main", Stage: "probe", Plugin: "next", Over: "probe"}
	id := counter()
	count := func() {
		t.Helper()
		h.say(t, "shop", id(), "count")
	}
	count()
	h.waitForShadow(t, 1)
	place := layerPlace(t, h.layers, layer)
	src, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(old, text string) {
		t.Helper()
		if err := os.WriteFile(h.file, []byte(strings.Replace(string(src), old, text, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, answer := h.postReload(t, ""); code != http.StatusOK {
			t.Fatalf("%d: %+v", code, answer)
		}
		h.reloads.retiring.Wait()
		h.layers.wg.Wait()
	}
	reload("text: sorry", "text: pardon")
	count()
	if s := h.waitForShadow(t, 2); s.Same != 2 || layerPlace(t, h.layers, layer) != place {
		t.Errorf("after a reload: %+v", s)
	}
	reload("shadow: next }", "}, { plugin: next, when: 'key == \"x\"' }")
	if _, err := h.store.Get(t.Context(), layerBucket(place, "shop", layerValues), "a/runs"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("its layer is still there: %v", err)
	}
	if got := at(t, h.store, "state/probe/shop", "a/runs"); got != "2" {
		t.Errorf("the primary counts %s", got)
	}
	if s := h.status(t).Shadows; len(s) != 0 {
		t.Errorf("status: %+v", s)
	}
	reload("", "")
	count()
	if s := h.waitForShadow(t, 1); s.Same != 1 {
		t.Errorf("after it came back: %+v", s)
	}
}

// TestShadowOfAbsentUnit: a file that is left out for the time being, because a
// secret is missing at a start, has its shadow's layer when it is back; one that is
// removed loses it.
func TestShadowOfAbsentUnit(t *testing.T) {
	unit := "weft: 1\n" + strings.Replace(shadowSections(t), testToken, "\"${file:token}\"", 1)
	head, rest, _ := strings.Cut(unit, "plugins:")
	plugins, stages, _ := strings.Cut(rest, "pipeline:")
	file := writeUnits(t, rootOf("r1")+"plugins:"+plugins, map[string]string{"apps/a.yaml": head + "pipeline:" + stages, "apps/token": testToken})
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	layer := pipeline.Layer{Pipeline: "apps/a.yaml:main", Stage: "probe", Plugin: "next", Over: "probe"}
	first, err := Start(t.Context(), file, discard())
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{Host: first}
	h.say(t, "shop", "1", "count")
	h.waitForShadow(t, 1)
	place := layerPlace(t, first.layers, layer)
	if err := first.Stop(t.Context()); err != nil || place == "" {
		t.Fatal(err, place)
	}
	edit(t, file, map[string]string{"apps/token": ""})
	h = startHost(t, file)
	if got := h.states(t)["a.yaml"]; got != unitAbsent {
		t.Fatalf("a.yaml is %s", got)
	}
	check := func(when, want string) {
		t.Helper()
		h.reloads.retiring.Wait()
		h.layers.wg.Wait()
		if got := layerPlace(t, h.layers, layer); got != want {
			t.Errorf("%s: its layer is %q, want %q", when, got, want)
		}
	}
	check("left out at a start", place)
	edit(t, file, map[string]string{"pipeline.yaml": rootOf("r2") + "plugins:" + plugins})
	h.postReload(t, "")
	check("left out at a reload", place)
	edit(t, file, map[string]string{"apps/token": testToken})
	if status, answer := h.postReload(t, ""); status != http.StatusOK {
		t.Fatalf("%d %+v", status, answer)
	}
	check("back", place)
	edit(t, file, map[string]string{"apps/a.yaml": ""})
	h.postReload(t, "")
	check("removed", "")
}

// TestShadowOfForward: a new plugin against what answers the account today, in
// the three modes.
func TestShadowOfForward(t *testing.T) {
	l := startLegacy(t, 0)
	h := startHost(t, writeConfig(t, "upstreams:\n"+upstreamYAML("legacy", fmt.Sprintf("http://127.0.0.1:%d/", l.port), "")+threeModes()+
		fmt.Sprintf("plugins: { probe: { source: %q, config: { name: 'legacy: name' }, grants: { state: true } } }\n", probe(t))+
		"pipeline: { stages: [ { forward: { to: legacy, as: raw }, shadow: probe, on_error: { reply: { text: sorry } } } ] }\n"))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	id, n := counter(), uint64(0)
	for app, mode := range modes() {
		account := testAccount(t, mode)
		for text, want := range map[string]string{"name": "legacy: name", "silent": "success", "echo 你好": "legacy: echo 你好", "count": "legacy: count", "refuse": "sorry"} {
			_, got := postRaw(t, h.url("/wx/"+app), seal(account, textMessage(id(), text), time.Now()), "text/xml")
			l.next(t)
			if said := openText(t, account, got); said != want {
				t.Errorf("%s, %s: answered %q", app, text, said)
			}
			n++
			h.waitForShadow(t, n)
		}
	}
	if s := h.waitForShadow(t, n); s.Same != 6 || s.Different != 6 || s.NotComparable != 3 || s.Primary != "legacy" || s.Differences != (differencesStatus{Reply: 6}) {
		t.Errorf("status: %+v", s)
	}
	for _, d := range h.differences(t, "?app=shop") {
		want := map[string][2]string{"echo 你好": {"legacy: echo 你好", "你好"}, "count": {"legacy: count", "run 1"}}[d.Content]
		if d.Primary.Reply != `{"text":{"content":"`+want[0]+`"}}` || d.Shadow.Reply != `{"text":{"content":"`+want[1]+`"}}` {
			t.Errorf("%+v", d)
		}
	}
	if got := at(t, h.store, "state/probe/shop", "a/runs"); got != "-" {
		t.Errorf("the plugin's state has %s", got)
	}
}

// TestShadowHangs: a shadow that spins or hangs costs the user nothing, not even
// time, and a plugin that fails as a shadow alone is not fused where it answers
// users.
func TestShadowHangs(t *testing.T) {
	h := startHost(t, writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "")+fmt.Sprintf(`plugins:
  quick: { source: %q }
  next: { source: %q, grants: { state: true }, limits: { timeout: 200ms } }
pipeline:
  stages:
    - { plugin: quick, when: 'content startsWith "loop"', shadow: next }
    - { plugin: next, when: 'content == "echo well"' }
`, textGuest(t, "testdata/healthy.wat", ""), probe(t))))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	account, id := testAccount(t, wechat.Encrypted), counter()
	const events = 40
	for i := range events {
		if got, err := h.ask(account, "shop", textFrom(fmt.Sprint("oUser", i), id(), "loop")); err != nil || got != "well" {
			t.Fatalf("answered %q, %v", got, err)
		}
	}
	s := h.waitForShadow(t, events)
	if s.Error == 0 || s.Same+s.Different != 0 || s.LastError == "" {
		t.Errorf("status: %+v", s)
	}
	if got := h.say(t, "shop", id(), "echo well"); got != "well" {
		t.Errorf("the plugin as a primary: %q", got)
	}
	for _, p := range h.status(t).Plugins {
		if p.Health.State != "healthy" {
			t.Errorf("%s is %s", p.Name, p.Health.State)
		}
	}
}
