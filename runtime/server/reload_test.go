package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/wechat"
)

// postReload posts to /admin/v1/reload and returns the status and the answer.
func (h *testHost) postReload(t testing.TB, body string) (int, reloadAnswer) {
	t.Helper()
	resp, err := http.Post("http://"+h.admin.addr()+"/admin/v1/reload", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer reloadAnswer
	decoder := json.NewDecoder(resp.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// TestReloadPanic: a mistake of the host's own that a configuration brings to light
// refuses that, and nothing else.
func TestReloadPanic(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	h.units.accepted["apps/broken.yaml"] = nil // whoever looks at it panics
	status, got := h.postReload(t, "")
	if status != http.StatusUnprocessableEntity || got.Generation != 1 || len(got.Problems) != 1 || got.Problems[0].Text != errReloadPanic.Error() {
		t.Errorf("%d %+v", status, got)
	}
	if text := h.say(t, "shop", "1", "a"); text != "你好" {
		t.Errorf("answered %q", text)
	}
	if log := h.log.String(); !strings.Contains(log, "panic in a reload") || !strings.Contains(log, "units).unseen") {
		t.Errorf("logged %.2000s", log)
	}
	delete(h.units.accepted, "apps/broken.yaml")
	if status, got := h.postReload(t, ""); status != http.StatusOK {
		t.Errorf("%d %+v", status, got)
	}
}

// TestReload takes good configurations over and refuses the others: then what
// served goes on, and log, metric and status say why.
func TestReload(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	if doc := h.status(t); doc.Generation.Number != 1 || doc.Generation.Since.IsZero() || doc.Reload.Last != nil {
		t.Errorf("at first: %+v", doc)
	}
	good, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	serving, answer := uint64(1), "你好"
	results := map[string]int{}
	for i, tc := range []struct {
		name    string
		old     string
		text    string
		problem string // that refuses it; "" where it is taken
		line    int
		answer  string
	}{
		{name: "another answer", old: "text: 你好", text: "text: second", answer: "second"},
		{name: "broken YAML", old: "stages:", text: "stages: [", problem: "", line: -1},
		{name: "unknown key", old: "stages:", text: "stagse:", problem: "unknown key stagse", line: 23},
		{name: "a key of server", old: "drain: 5s", text: "drain: 6s", problem: "server.drain is not what the host runs with: the change needs a restart", line: 2},
		{name: "the store", old: "apps:", text: "store: { embedded: { dir: ./other } }\napps:", problem: "needs a restart", line: 3},
		{name: "a plugin that is not there", old: "pipeline:", text: "plugins: { p: { source: ./no.wasm } }\npipeline:", problem: "no.wasm", line: 22},
		{name: "a third answer", old: "text: 你好", text: "text: third", answer: "third"},
		{name: "the first one", answer: "你好"},
	} {
		if err := os.WriteFile(h.file, bytes.Replace(good, []byte(tc.old), []byte(tc.text), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		status, got := h.postReload(t, "")
		want, result := http.StatusUnprocessableEntity, reloadRefused
		if tc.answer != "" {
			want, result, answer = http.StatusOK, reloadOK, tc.answer
			serving++
		}
		results[`result="`+result+`"`]++
		if status != want || got.Generation != serving || got.Result != result || (len(got.Problems) == 0) != (tc.answer != "") {
			t.Errorf("%s: %d %+v", tc.name, status, got)
		}
		if len(got.Problems) > 0 {
			p := got.Problems[0]
			if p.File != h.file || p.Line != tc.line && tc.line > 0 || !strings.Contains(p.Text, tc.problem) {
				t.Errorf("%s: %+v", tc.name, p)
			}
		}
		if text := h.say(t, "shop", "m"+string(rune('a'+i)), "hello"); text != answer {
			t.Errorf("%s: answered %q, want %q", tc.name, text, answer)
		}
		doc := h.status(t)
		if last := doc.Reload.Last; doc.Generation.Number != serving || last == nil || last.Result != result || last.Trigger != "admin" || len(last.Problems) != len(got.Problems) || last.At.IsZero() {
			t.Errorf("%s: status %+v", tc.name, doc)
		}
	}
	for labels, n := range results {
		if got := h.metric(t, "weft_reload_total")[labels]; got != n {
			t.Errorf("weft_reload_total{%s} is %d, want %d", labels, got, n)
		}
	}
	if n := len(h.log.lines(t, "reload refused")); n != results[`result="refused"`] || len(h.log.lines(t, "reload problem")) < n {
		t.Errorf("%d refusals in the log:\n%s", n, h.log)
	}
}

// TestReloadRequests: only POST reloads; what the request says is not looked at,
// and bounded.
func TestReloadRequests(t *testing.T) {
	file := writeConfig(t, echoSections())
	replaceIn(t, file, "drain: 5s", "drain: 5s, admin_token: 0123456789abcdef")
	h := startHost(t, file)
	for _, tc := range []struct {
		method, token string
		body          int
		status        int
	}{
		{http.MethodGet, "0123456789abcdef", 0, http.StatusMethodNotAllowed},
		{http.MethodPut, "0123456789abcdef", 5, http.StatusMethodNotAllowed},
		{http.MethodPost, "", 0, http.StatusUnauthorized},
		{http.MethodPost, "0123456789abcdef", maxBody + 1, http.StatusRequestEntityTooLarge},
		{http.MethodPost, "0123456789abcdef", maxBody, http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+h.admin.addr()+"/admin/v1/reload", bytes.NewReader(make([]byte, tc.body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tc.token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if resp.Body.Close(); err != nil || resp.StatusCode != tc.status {
			t.Errorf("%s, %d bytes: %d %s %v", tc.method, tc.body, resp.StatusCode, body, err)
		}
		if tc.status == http.StatusMethodNotAllowed && resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow: %s", tc.method, resp.Header.Get("Allow"))
		}
	}
	if doc := h.current.Load(); doc.number != 2 {
		t.Errorf("generation %d", doc.number)
	}
}

// TestReloadInFlight: an event that is under way finishes where it began, with
// the state that it keeps, while the next ones walk the new configuration; what
// is replaced is closed when that event has ended, and not before.
func TestReloadInFlight(t *testing.T) {
	h := startHost(t, writeConfig(t, probeSections(t, appYAML("shop", "encrypted", ""))))
	old := h.current.Load()
	under := make(chan string)
	go func() { under <- h.say(t, "shop", "1", "wait") }()
	h.waitForState(t, "a/runs", "1")
	src, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(src), "plugins:")
	if err := os.WriteFile(h.file, []byte(head+"pipeline: { stages: [ { reply: { text: after } } ] }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if result, err := h.Reload(t.Context(), "test"); err != nil || result.Result != reloadOK || result.Generation != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	if got := h.say(t, "shop", "2", "hello"); got != "after" {
		t.Errorf("an event after the reload: %q", got)
	}
	if s := old.assembly.plugins["probe"].Stats(); s.Instances == 0 {
		t.Error("the plugin is closed while an event is in it")
	}
	h.setState(t, "a/open", "yes")
	if got := <-under; got != "run 1" {
		t.Errorf("the event under way: %q", got)
	}
	h.reloads.retiring.Wait()
	if _, err := old.assembly.plugins["probe"].Handle(t.Context(), &sandbox.Call{Event: &hostapi.Event{App: "shop"}}); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("the plugin that was replaced: %v", err)
	}
}

// TestReloadKeepsApps: an app that is served and gets a config that its plugin
// refuses keeps the one it had; an app that is new, and wrong, is out of service
// alone.
func TestReloadKeepsApps(t *testing.T) {
	h := startHost(t, writeConfig(t, probeSections(t, appYAML("shop", "encrypted", "with: { probe: { name: good } }\n"))))
	replaceIn(t, h.file, "name: good", "name: refused")
	result, err := h.Reload(t.Context(), "test")
	if err != nil || result.Result != reloadPartial || result.Generation != 2 || len(result.Problems) != 1 || !strings.Contains(result.Problems[0].Text, "config of plugin probe for app shop") {
		t.Errorf("%+v, %v", result, err)
	}
	replaceIn(t, h.file, "name: refused", "name: good")
	replaceIn(t, h.file, "apps:\n", "apps:\n"+appYAML("new", "encrypted", "with: { probe: { name: refused } }\n"))
	status, answer := h.postReload(t, "")
	if status != http.StatusUnprocessableEntity || answer.Generation != 3 || answer.Result != reloadPartial || len(answer.Problems) != 1 {
		t.Errorf("%d %+v", status, answer)
	}
	a := testAccount(t, wechat.Encrypted)
	if status, _, body := postTo(t, h.url("/wx/new"), request{}); status != http.StatusServiceUnavailable {
		t.Errorf("the new app: %d %s", status, body)
	}
	if got, err := h.ask(a, "shop", textMessage("1", "echo hello")); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestReloadKeepsInstances: a plugin that is the same keeps its warm instances and
// its counters, also when its configs changed; one of other limits begins anew.
func TestReloadKeepsInstances(t *testing.T) {
	h := startHost(t, writeConfig(t, probeSections(t, appYAML("shop", "encrypted", "with: { probe: { name: one } }\n"))))
	a := testAccount(t, wechat.Encrypted)
	for i, step := range []struct {
		change, to, name string
		calls            uint64 // after the reload and one event
	}{
		{"name: one", "name: two", "two", 2},
		{"pipeline:", "# as it was\npipeline:", "two", 3},
		{"timeout: 8s", "timeout: 9s", "two", 1},
	} {
		if i == 0 {
			if got, err := h.ask(a, "shop", textMessage("0", "name")); err != nil || got != "one" {
				t.Fatalf("%q, %v", got, err)
			}
		}
		replaceIn(t, h.file, step.change, step.to)
		if status, answer := h.postReload(t, ""); status != http.StatusOK {
			t.Fatalf("%d %+v", status, answer)
		}
		if got, err := h.ask(a, "shop", textMessage(fmt.Sprint(i+1), "name")); err != nil || got != step.name {
			t.Errorf("%s: %q, %v", step.to, got, err)
		}
		if p := h.status(t).Plugins[0]; p.Calls != step.calls || p.Instances.Live != 1 {
			t.Errorf("%s: %d calls, %d instances; want %d calls and one instance", step.to, p.Calls, p.Instances.Live, step.calls)
		}
	}
}

// TestReloadSignal: a hangup has Serve read the file again.
func TestReloadSignal(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	log := new(syncBuffer)
	file := writeConfig(t, echoSections())
	hangup, done := make(chan os.Signal, 1), make(chan error)
	go func() { done <- Serve(ctx, file, NewLogger(log), hangup) }()
	h := &testHost{nil, log}
	h.waitForLog(t, "serving")
	hangup <- os.Interrupt // whatever it is
	h.waitForLog(t, "reloaded")
	if line := log.lines(t, "reloaded")[0]; line["trigger"] != "signal" || line["generation"] != 2.0 || line["result"] != "ok" {
		t.Errorf("%v", line)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestReloadHangUp: whenever the one who asked for a reload goes away, a reload
// that began goes on to its end.
func TestReloadHangUp(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	for i := range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.admin.addr()+"/admin/v1/reload", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
		cancel()
	}
	last, err := h.Reload(t.Context(), "test")
	if err != nil || last.Result != reloadOK {
		t.Fatalf("%+v, %v", last, err)
	}
	if done := h.metric(t, "weft_reload_total"); uint64(done[`result="ok"`]) != last.Generation-1 || done[`result="refused"`] != 0 {
		t.Errorf("generation %d after %v", last.Generation, done)
	}
}

// TestStopEndsReload: a host that stops doesn't wait for a plugin that is being
// started, which is as if there had been no reload, and takes no other.
func TestStopEndsReload(t *testing.T) {
	endless := textGuest(t, filepath.Join("..", "sandbox", "testdata", "start-endless.wat"), "")
	log := new(syncBuffer)
	host, err := startWatching(t.Context(), writeConfig(t, echoSections()), NewLogger(log), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{host, log}
	replaceIn(t, h.file, "pipeline:\n", fmt.Sprintf("plugins: { p: { source: %q, limits: { timeout: 30s, fuel: 1000000000000 } } }\npipeline:\n", endless))
	result := make(chan ReloadResult, 1)
	h.reloads.requests <- reloadRequest{"test", result}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Reload(gone, "test"); !errors.Is(err, context.Canceled) {
		t.Errorf("a reload behind it, of one who has gone: %v", err)
	}
	if err := h.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := h.Reload(t.Context(), "test"); !errors.Is(err, ErrStopping) {
		t.Errorf("a reload after the stop: %v", err)
	}
	if len(result) > 0 || len(log.lines(t, "reload refused")) > 0 {
		t.Errorf("the reload under way had a result: %s", log)
	}
}
