package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
	"github.com/weft-dev/weft/runtime/telemetry"
	"github.com/weft-dev/weft/runtime/wechat"
)

// startDead starts a host whose queue has dead entries of these keys, which no
// version could read.
func startDead(t *testing.T, more string, keys ...string) (h *testHost, file string) {
	t.Helper()
	file = writeConfig(t, echoSections())
	replaceIn(t, file, "drain: 5s", "drain: 5s"+more)
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: filepath.Join(filepath.Dir(file), "data")})
	if err != nil {
		t.Fatal(err)
	}
	entries := make([]store.Entry, len(keys))
	for i, key := range keys {
		entries[i] = store.Entry{Key: key, Value: []byte("oUser1 said hello")}
	}
	if _, err := s.Append(t.Context(), "events", 0, entries...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	h = startHost(t, file)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	h.waitForDepth(t, store.Depth{Dead: len(keys)})
	return h, file
}

// waitForDepth waits until the queue has so many entries in each state.
func (h *testHost) waitForDepth(t *testing.T, want store.Depth) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := h.store.Depth(t.Context(), "events")
		if d.Oldest = want.Oldest; err == nil && d == want {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("the queue has %+v, %v", d, err)
		}
	}
}

func (h *testHost) queueClient(t *testing.T) *QueueClient {
	t.Helper()
	c, err := NewQueueClient("", "http://"+h.admin.addr(), "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func numbered(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%04d", i)
	}
	return keys
}

// TestQueueAPI lists, retries and drops over the admin listener, in pages.
func TestQueueAPI(t *testing.T) {
	keys := numbered(2*pipeline.MaxQueuePage + 3)
	h, _ := startDead(t, "", keys...)
	c := h.queueClient(t)
	list, err := c.List(t.Context(), QueueQuery{State: "dead"}, "", len(keys)+1)
	if err != nil || len(list.Entries) != len(keys) || list.Next != "" {
		t.Fatalf("%d entries, next %s, %v", len(list.Entries), list.Next, err)
	}
	for i, en := range list.Entries {
		if en.Key != keys[i] || en.State != "dead" || en.Next != nil || en.Reason != "entry of the durable queue is malformed: its version is not 2" {
			t.Fatalf("entry %d: %+v", i, en)
		}
	}
	list, err = c.List(t.Context(), QueueQuery{}, "", 7)
	if err != nil || len(list.Entries) != 7 || list.Next == "" {
		t.Fatalf("%d entries, next %s, %v", len(list.Entries), list.Next, err)
	}
	if list, err = c.List(t.Context(), QueueQuery{}, list.Next, 1); err != nil || len(list.Entries) != 1 || list.Entries[0].Key != keys[7] {
		t.Fatalf("%+v, %v", list, err)
	}
	change, err := c.Drop(t.Context(), append([]string{"nowhere"}, keys[:pipeline.MaxQueuePage+1]...))
	if err != nil || change.Changed != pipeline.MaxQueuePage+1 || !slices.Equal(change.Missing, []string{"nowhere"}) {
		t.Fatalf("%+v, %v", change, err)
	}
	// They are looked at once more, and are dead again.
	change, err = c.Retry(t.Context(), keys[len(keys)-2:])
	if err != nil || change.Changed != 2 || len(change.Missing) > 0 {
		t.Fatalf("%+v, %v", change, err)
	}
	h.waitForDepth(t, store.Depth{Dead: pipeline.MaxQueuePage + 2})
	if change, err = c.DropAll(t.Context(), QueueQuery{App: "shop"}); err != nil || change.Changed != 0 {
		t.Fatalf("%+v, %v", change, err)
	}
	if change, err = c.RetryAll(t.Context(), QueueQuery{}); err != nil || change.Changed != pipeline.MaxQueuePage+2 {
		t.Fatalf("%+v, %v", change, err)
	}
	h.waitForDepth(t, store.Depth{Dead: pipeline.MaxQueuePage + 2})
	if change, err = c.DropAll(t.Context(), QueueQuery{}); err != nil || change.Changed != pipeline.MaxQueuePage+2 {
		t.Fatalf("%+v, %v", change, err)
	}
	h.waitForDepth(t, store.Depth{})
}

// TestQueueOfEvents shows an event that waits in the queue, and in which app, but
// not whose it is; status and metrics count it.
func TestQueueOfEvents(t *testing.T) {
	file := writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "")+
		"pipeline:\n  stages:\n    - { name: work, when: 'int(content) > 0', reply: { text: done }, on_error: queue }\n")
	h := startHost(t, file)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	if got := h.say(t, "shop", "1", "wordsOfTheUser"); got != wechat.Success {
		t.Fatal(got)
	}
	code, body, kind := get(t, "http://"+h.admin.addr()+"/admin/v1/queue?app=shop&stage=work&pipeline=main")
	var list QueueList
	if err := json.Unmarshal([]byte(body), &list); err != nil || code != 200 || !strings.HasPrefix(kind, "application/json") || len(list.Entries) != 1 {
		t.Fatalf("%d %s %s", code, kind, body)
	}
	en := list.Entries[0]
	if len(en.Key) != 32 || en.App != "shop" || en.Pipeline != "main" || !slices.Equal(en.Stages, []string{"work"}) || en.Async ||
		en.Type != "text" || en.Attempt < 2 || en.Next == nil || en.State == "dead" {
		t.Errorf("%+v", en)
	}
	if strings.Contains(body, "oUser") || strings.Contains(body, "wordsOfTheUser") {
		t.Errorf("says too much: %s", body)
	}
	q := h.status(t).Queues["events"]
	if q.Ready+q.Delayed+q.Claimed != 1 || q.Dead != 0 || len(q.Apps) != 1 || q.Apps[0].App != "shop" || q.Apps[0].Ready+q.Apps[0].Delayed+q.Apps[0].Claimed != 1 {
		t.Errorf("%+v", q)
	}
	_, metrics, _ := get(t, "http://"+h.admin.addr()+"/metrics")
	for _, want := range []string{`weft_queue_entries{app="shop",state="dead"} 0`, `weft_queue_entries{app="shop",state="ready"} `, `weft_queue_oldest_seconds{app="shop"} `} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	change, err := h.queueClient(t).Drop(t.Context(), []string{en.Key})
	if err != nil || change.Changed != 0 || !slices.Equal(change.Missing, []string{en.Key}) {
		t.Errorf("a living one dropped: %+v, %v", change, err)
	}
}

// TestQueueKeysOfNone drops and retries what is the key of no entry, because it is
// empty or too long, beside one that is.
func TestQueueKeysOfNone(t *testing.T) {
	h, _ := startDead(t, "", "k1")
	none := []string{"", strings.Repeat("k", store.MaxName), strings.Repeat("k", store.MaxName+1), "\x00\xff"}
	change, err := h.queueClient(t).Retry(t.Context(), none[:3])
	if err != nil || change.Changed != 0 || !slices.Equal(change.Missing, none[:3]) {
		t.Errorf("retried: %d, %d missing, %v", change.Changed, len(change.Missing), err)
	}
	change, err = h.queueClient(t).Drop(t.Context(), append(none, "k1"))
	if err != nil || change.Changed != 1 || len(change.Missing) != len(none) {
		t.Errorf("dropped: %d, %d missing, %v", change.Changed, len(change.Missing), err)
	}
	if strings.Contains(h.log.String(), "request failed") {
		t.Error("it is logged as an error of the host")
	}
	h.waitForDepth(t, store.Depth{})
}

// TestQueueRefuses refuses what is no request of the API, and does nothing.
func TestQueueRefuses(t *testing.T) {
	h, _ := startDead(t, "", "k1")
	const path = "/admin/v1/queue"
	many, err := json.Marshal(queueOrder{Keys: numbered(pipeline.MaxQueuePage + 1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, body string
		header             string
		status             int
		says               string
	}{
		{"POST", path, "{}", "", 405, "method_not_allowed"},
		{"DELETE", path + "/drop", "", "", 405, "method_not_allowed"},
		{"GET", path + "/drop?keys=k1", "", "", 405, "method_not_allowed"},
		{"GET", path + "?limit=0", "", "", 400, "limit is 1 to 1000"},
		{"GET", path + "?limit=1001", "", "", 400, "limit is 1 to 1000"},
		{"GET", path + "?state=DEAD", "", "", 400, "state is ready, delayed, claimed or dead"},
		{"GET", path + "?state=", "", "", 400, "state is ready, delayed, claimed or dead"},
		{"GET", path + "?after=-1", "", "", 400, "after is a next of an answer"},
		{"GET", path + "?ap=shop", "", "", 400, "parameters are"},
		{"GET", path + "?app=shop&app=other", "", "", 400, "each once"},
		{"POST", path + "/drop", "", "", 400, "the body is a JSON object"},
		{"POST", path + "/drop", "null", "", 400, "either keys, or all"},
		{"POST", path + "/drop", "{}", "", 400, "either keys, or all"},
		{"POST", path + "/drop", `{"app":"shop"}`, "", 400, "either keys, or all"},
		{"POST", path + "/drop", `{"all":true,"keys":["k1"]}`, "", 400, "either keys, or all"},
		{"POST", path + "/drop", `{"keys":["k1"],"app":"shop"}`, "", 400, "either keys, or all"},
		{"POST", path + "/drop", `{"all":true,"ap":"shop"}`, "", 400, "the body is a JSON object"},
		{"POST", path + "/drop", `{"all":true}{"all":true}`, "", 400, "the body is a JSON object"},
		{"POST", path + "/drop", `{"all":true,"after":"x"}`, "", 400, "after is a next of an answer"},
		{"POST", path + "/drop", `["k1"]`, "", 400, "the body is a JSON object"},
		{"POST", path + "/drop", string(many), "", 400, "at most 1000 keys"},
		{"POST", path + "/drop", `{"keys":["` + strings.Repeat("k", maxBody) + `"]}`, "", 413, "over 1 MiB"},
		{"POST", path + "/drop", `{"all":true}`, "Sec-Fetch-Site: cross-site", 403, "cross_origin"},
		{"POST", path + "/drop", `{"all":true}`, "Origin: https://evil.example", 403, "cross_origin"},
		{"POST", path + "/all", `{"all":true}`, "", 404, "not_found"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+h.admin.addr()+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body errorBody
		err = json.NewDecoder(resp.Body).Decode(&body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !strings.Contains(body.Error.Code+" "+body.Error.Message, c.says) {
			t.Errorf("%s %s %.60s: %d %+v, %v", c.method, c.path, c.body, resp.StatusCode, body, err)
		}
	}
	h.waitForDepth(t, store.Depth{Dead: 1})
}

// TestQueueStoreGone answers for a store that went away, in the API, in status
// and in metrics.
func TestQueueStoreGone(t *testing.T) {
	engine, err := pipeline.NewEngine(pipeline.Options{Store: goneStore{}, Metrics: telemetry.NewMetrics()})
	if err != nil {
		t.Fatal(err)
	}
	e := newEcho(discard())
	queueAPI{engine}.route(e)
	for _, req := range []*http.Request{
		httptest.NewRequest("GET", "/admin/v1/queue", nil),
		httptest.NewRequest("POST", "/admin/v1/queue/drop", strings.NewReader(`{"keys":["k1"]}`)),
		httptest.NewRequest("POST", "/admin/v1/queue/retry", strings.NewReader(`{"all":true}`)),
	} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, req)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "store_unavailable") {
			t.Errorf("%s: %d %s", req.URL, w.Code, w.Body)
		}
	}
	h := &Host{engine: engine, log: discard()}
	if q := h.queuesStatus(t.Context()); len(q) != 0 {
		t.Errorf("%+v", q)
	}
	metrics := telemetry.NewMetrics()
	metrics.Registry().MustRegister(newQueueMetrics(engine))
	families, err := metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "weft_queue") {
			t.Errorf("%s: %v", f.GetName(), f)
		}
	}
}

// goneStore is a store that can't be reached.
type goneStore struct{ store.Store }

func (goneStore) Lines(context.Context, string) ([]store.Line, error) {
	return nil, store.ErrUnavailable
}

func (goneStore) List(context.Context, string, uint64, func(store.Info) bool) error {
	return store.ErrUnavailable
}
func (goneStore) Retry(context.Context, string, string) error { return store.ErrUnavailable }
func (goneStore) Drop(context.Context, string, string) error  { return store.ErrUnavailable }

// TestQueueClient finds the host by its configuration, of which the rest may be
// wrong, and says what keeps it from an answer.
func TestQueueClient(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	h, file := startDead(t, ", admin_token: "+token, "k1")
	write := func(text string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	right := fmt.Sprintf("server: { admin: %q, admin_token: %q }\napps: wrong\n", h.admin.addr(), token)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer page.Close()
	for name, c := range map[string]struct{ text, address, token, says string }{
		"the file's":           {right, "", "", ""},
		"by address":           {"no file", "http://" + h.admin.addr() + "/", token, ""},
		"no token":             {"", "http://" + h.admin.addr(), "", "asks for a token: it is read from $WEFT_ADMIN_TOKEN"},
		"another token":        {strings.Replace(right, token, "0123456789abcdef0123456789abcdee", 1), "", "", "refuses the token: it has another one than server.admin_token in "},
		"nobody there":         {"", "http://127.0.0.1:1", "", "is `weft serve` running there?"},
		"no host of ours":      {"", page.URL, "", "can't be read"},
		"the public listener":  {"", "http://" + h.public.addr(), token, "404 Not Found: there is no such app or path"},
		"no address":           {"", "127.0.0.1:9090", "", "give http://HOST:PORT"},
		"a path":               {"", "http://127.0.0.1:9090/x", "", "give http://HOST:PORT"},
		"a port that is taken": {"server: { admin: \"127.0.0.1:0\" }", "", "", "server.admin picks a port: give the address with --admin"},
		"a wrong section":      {"server: { admn: x }", "", "", `unknown key admn`},
	} {
		t.Run(name, func(t *testing.T) {
			c1, err := NewQueueClient(write(c.text), c.address, c.token)
			var list QueueList
			if err == nil {
				list, err = c1.List(t.Context(), QueueQuery{}, "", 10)
			}
			switch {
			case c.says == "" && (err != nil || len(list.Entries) != 1):
				t.Errorf("%+v, %v", list, err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "0123456789abcde")):
				t.Errorf("%v, want %s", err, c.says)
			}
		})
	}
	if _, err := NewQueueClient(filepath.Join(t.TempDir(), "none.yaml"), "", ""); err == nil || !strings.Contains(err.Error(), "name it with -c") {
		t.Error(err)
	}
}

// FuzzQueueOrder holds that what a body chooses is what it says: either keys or
// all, within the bounds, and the same when it is written again.
func FuzzQueueOrder(f *testing.F) {
	for _, seed := range []string{
		`{"keys":["k1","k2"]}`, `{"all":true,"app":"shop","stage":"s","pipeline":"main","after":"7"}`, `{"all":true,"keys":["k"]}`, `{}`, `null`, `[]`,
		`{"keys":["k"]}{}`, `{"KEYS":["k"]}`, `{"all":"true"}`, "{\"keys\":[\"\xff\"]}", `{"all":true,"all":false,"keys":["k"]}`, " {\"all\":true}\n",
	} {
		f.Add(seed)
	}
	e := newEcho(discard())
	read := func(t *testing.T, body string) (queueOrder, bool) {
		order, err := readOrder(e.NewContext(httptest.NewRequest("POST", "/admin/v1/queue/drop", strings.NewReader(body)), httptest.NewRecorder()))
		if he := (*httpError)(nil); err != nil && (!errors.As(err, &he) || he.status != 400 && he.status != 413) {
			t.Fatalf("%q: %v", body, err)
		}
		return order, err == nil
	}
	f.Fuzz(func(t *testing.T, body string) {
		order, ok := read(t, body)
		if !ok {
			return
		}
		if order.All == (len(order.Keys) > 0) || len(order.Keys) > pipeline.MaxQueuePage || !order.All && order.App+order.Pipeline+order.Stage+order.After != "" {
			t.Fatalf("%q is taken: %+v", body, order)
		}
		again, err := json.Marshal(order)
		if err != nil {
			t.Fatal(err)
		}
		if second, ok := read(t, string(again)); !ok || fmt.Sprint(second) != fmt.Sprint(order) {
			t.Fatalf("%q is %+v, and written again %+v", body, order, second)
		}
	})
}

// TestQueueClientReadsLittle: a file that never ends is refused, as a configuration
// and as a secret.
func TestQueueClientReadsLittle(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"weft: 1\nserver: { admin_token: \"${file:/dev/zero}\" }\n", "over 1048576 bytes"},
		{"", "over 4194304"},
	} {
		file := "/dev/zero"
		if c.text != "" {
			file = filepath.Join(t.TempDir(), "pipeline.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := NewQueueClient(file, "", ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
