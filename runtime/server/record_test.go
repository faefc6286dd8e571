package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/wechat"
)

// recordSections are of an app with a stage of every kind that a recording has to
// know something of.
func recordSections(t testing.TB, upstream string) string {
	return "apps:\n" + appYAML("shop", "encrypted", "") + appYAML("other", "encrypted", "") + fmt.Sprintf(`upstreams:
  crm: { url: %q, private: ["127.0.0.0/8"], timeout: 5s }
plugins:
  probe: { source: %q, grants: { state: true }, limits: { timeout: 8s }, config: { name: "ring 13911112222" } }
pipeline:
  stages:
    - { name: crm, when: 'content startsWith "crm"', forward: { to: crm, as: json }, on_error: skip }
    - { name: raw, when: 'content startsWith "raw"', forward: { to: crm, as: raw } }
    - { plugin: probe, on_error: skip }
`, upstream, probe(t))
}

// record runs Record against a host while send does something, and returns the
// file.
func record(t *testing.T, h *testHost, opt RecordOptions, send func()) (string, *RecordReport) {
	t.Helper()
	opt.Admin, opt.Out = "http://"+h.admin.addr(), filepath.Join(t.TempDir(), "recorded.cases.yaml")
	if opt.For == 0 {
		opt.For = time.Minute
	}
	begun := make(chan struct{})
	type result struct {
		report *RecordReport
		err    error
	}
	done := make(chan result, 1)
	go func() {
		r, err := Record(t.Context(), opt, func() { close(begun) })
		done <- result{r, err}
	}()
	select {
	case <-begun:
	case r := <-done:
		t.Fatalf("the recording did not begin: %v", r.err)
	}
	send()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	src, err := os.ReadFile(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	return string(src), r.report
}

// TestRecord: what was recorded holds nobody's data, and passes at once.
func TestRecord(t *testing.T) {
	account := testAccount(t, wechat.Encrypted)
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("msg_signature") == "" {
			_, _ = w.Write([]byte(`{"text":{"content":"dear 13812345678, your mail is a.b@corp.cn"}}`))
			return
		}
		asked, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		opened, err := account.Open(wechat.ParseQuery(r.URL.RawQuery), asked, time.Now())
		if err != nil {
			t.Error(err)
		}
		body := []byte("<xml><ToUserName>oAbcdefghijklmnopqrstuvwx-_1</ToUserName><MsgType>text</MsgType><Content>13812345678</Content></xml>")
		sealed := account.AppendSealed(nil, body, opened, time.Now().Unix(), [16]byte{})
		_, _ = w.Write(sealed)
	}))
	defer crm.Close()
	file := writeConfig(t, recordSections(t, crm.URL))
	h := startHost(t, file)
	users := []string{"oAbcdefghijklmnopqrstuvwx-_1", "oShort"}
	h.setState(t, "runs", "41")
	personal := append([]string{"13812345678", "138 1234 5678", "a.b@corp.cn", "110101199003071234", "tok=secret", "张三丰", "31.23", "121.47", "rawMediaId", "10.2.3.4", "gh_1", "gQH47joAAAAAAAAA"}, users...)
	texts := []string{
		"echo my phone is 13812345678", "count", "name", "echo 138 1234 5678 and a.b@corp.cn", "echo id 110101199003071234",
		"echo see https://x.cn/a?tok=secret", "echo I am oAbcdefghijklmnopqrstuvwx-_1 at 10.2.3.4", "crm", "raw", "fail", "trap", "put oShort says 13812345678", "count",
	}
	src, report := record(t, h, RecordOptions{App: "shop", Count: len(texts) + 2}, func() {
		for i, text := range texts {
			doc := textFrom(users[i%2], fmt.Sprint(1000+i), text)
			if status, _, body := postTo(t, h.url("/wx/shop"), seal(account, doc, time.Now())); status != http.StatusOK {
				t.Errorf("%s: %d %s", text, status, body)
			}
		}
		for _, doc := range []string{
			"<xml><ToUserName>gh_1</ToUserName><FromUserName>oShort</FromUserName><CreateTime>1</CreateTime><MsgType>event</MsgType><Event>LOCATION</Event><Latitude>31.23</Latitude><Longitude>121.47</Longitude><NickName>张三丰</NickName></xml>",
			"<xml><ToUserName>gh_1</ToUserName><FromUserName>oShort</FromUserName><CreateTime>1</CreateTime><MsgType>image</MsgType><MediaId>rawMediaId</MediaId><Ticket>gQH47joAAAAAAAAA</Ticket><MsgId>77</MsgId></xml>",
		} {
			postTo(t, h.url("/wx/shop"), seal(account, []byte(doc), time.Now()))
		}
		h.say(t, "other", "1", "echo not recorded")
	})
	for _, p := range personal {
		if strings.Contains(src, p) {
			t.Errorf("the file has %q", p)
		}
	}
	if !strings.Contains(src, "ring 13911112222") {
		t.Error("what the operator wrote himself was replaced, too")
	}
	if !strings.Contains(src, "reply: { raw: ") {
		t.Error("an upstream's raw answer is not there")
	}
	if report.Events != len(texts)+2 || report.LeftOut != 0 {
		t.Errorf("%+v", report)
	}
	got := runCasesBeside(t, file, src)
	if !got.OK() || got.Passed != 1 || got.Cases[0].Events != report.Events {
		t.Errorf("%s\n%s", failures(got), src)
	}
	same, err := Replay(t.Context(), ReplayOptions{Files: []string{filepath.Join(filepath.Dir(file), "cases.yaml")}, Config: file, Against: file})
	if err != nil || !same.OK() || same.Events != report.Events || len(same.Differences) > 0 {
		t.Errorf("replayed against itself: %+v, %v", same, err)
	}
	if t.Failed() {
		t.Log(src)
	}
}

// TestRecordBesideTheAnswer: async stages and later tries, whatever becomes of them
// and whether or not the recording saw that, are no part of what is expected, and
// neither is an error of an event of which nothing is.
func TestRecordBesideTheAnswer(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || r.URL.Path == "/sick" || strings.Contains(string(body), "fail") {
			if strings.Contains(string(body), "late") {
				time.Sleep(300 * time.Millisecond) // over answer_within
			}
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer service.Close()
	file := writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "")+fmt.Sprintf(`upstreams:
  crm: { url: %[1]q, private: ["127.0.0.0/8"], timeout: 5s }
  fan: { url: %[1]q, private: ["127.0.0.0/8"], timeout: 5s }
  sick: { url: %[2]q, private: ["127.0.0.0/8"], timeout: 5s }
pipeline:
  answer_within: 200ms
  stages:
    - { name: crm, when: 'content startsWith "crm"', forward: { to: crm, as: json }, on_error: skip }
    - { name: hello, reply: { text: hello } }
    - { name: later, when: 'content startsWith "queue"', forward: { to: sick, as: json }, on_error: queue }
  always:
    - { name: fan, async: true, forward: { to: fan, as: json } }
    - { name: sick, async: true, forward: { to: sick, as: json } }
`, service.URL, service.URL+"/sick"))
	h := startHost(t, file)
	texts := []string{"echo", "crm", "crm fail", "queue", "crm fail late", "echo"}
	src, report := record(t, h, RecordOptions{Count: len(texts)}, func() {
		for i, text := range texts {
			doc := textFrom("oUser", fmt.Sprint(1000+i), text)
			if status, _, body := postTo(t, h.url("/wx/shop"), seal(testAccount(t, wechat.Encrypted), doc, time.Now())); status != http.StatusOK {
				t.Errorf("%s: %d %s", text, status, body)
			}
		}
	})
	if report.Events != len(texts) {
		t.Errorf("%+v", report)
	}
	mustPass(t, runCasesBeside(t, file, src), 1)
	// What is expected is so still.
	replaceIn(t, file, "text: hello", "text: hi")
	if got := runCasesBeside(t, file, src); got.OK() || !strings.Contains(failures(got), "reply") {
		t.Error("another answer passes")
	}
	replaceIn(t, file, "text: hi", "text: hello")
	replaceIn(t, file, "stages:", "stages:\n    - { name: new, when: 'content == \"echo\"', forward: { to: fan, as: json }, on_error: skip }")
	if got := runCasesBeside(t, file, src); got.OK() || !strings.Contains(failures(got), "upstream fan was asked, and has no answer here") {
		t.Errorf("a stage more that fails passes: %s", failures(got))
	}
	if t.Failed() {
		t.Log(src)
	}
}

// Many at once are recorded whole, or counted, and nobody waits for it.
func TestRecordUnderLoad(t *testing.T) {
	file := writeConfig(t, echoSections())
	h := startHost(t, file)
	account := testAccount(t, wechat.Encrypted)
	const senders, each = 8, 40
	src, report := record(t, h, RecordOptions{App: "shop", Count: senders * each, For: 10 * time.Second}, func() {
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					doc := textFrom(fmt.Sprintf("oSender%d", s), fmt.Sprint(s*1000+i), fmt.Sprintf("I am oSender%d, 138000%05d", s, i))
					if status, _, body := postTo(t, h.url("/wx/shop"), seal(account, doc, time.Now())); status != http.StatusOK {
						t.Errorf("%d %s", status, body)
					}
				}
			})
		}
		wg.Wait()
	})
	if report.Events+report.LeftOut != senders*each {
		t.Errorf("%+v", report)
	}
	if strings.Contains(src, "oSender") || strings.Contains(src, "138000") {
		t.Error("somebody's data is in the file")
	}
	mustPass(t, runCasesBeside(t, file, src), 1)
}

// A recording that is over has left nothing behind: the next one may begin, and
// no event waits for it.
func TestRecordEnds(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	src, report := record(t, h, RecordOptions{Count: 1}, func() { h.say(t, "shop", "1", "a") })
	if report.Events != 1 || !strings.Contains(src, "app: shop") {
		t.Errorf("%+v\n%s", report, src)
	}
	h.say(t, "shop", "2", "b")
	if s := h.recorder.session.Load(); s != nil {
		t.Error("a recording is left")
	}
	record(t, h, RecordOptions{Count: 1, App: "shop"}, func() { h.say(t, "shop", "4", "d") })
}

func TestRecordRefused(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	try := func(opt RecordOptions) string {
		opt.Admin, opt.For = "http://"+h.admin.addr(), time.Second
		if opt.Out == "" {
			opt.Out = filepath.Join(t.TempDir(), "out.yaml")
		}
		_, err := Record(t.Context(), opt, func() {})
		if _, there := os.Stat(opt.Out); !errors.Is(there, os.ErrNotExist) && !strings.Contains(fmt.Sprint(err), "name a new one") {
			t.Errorf("%v left a file", opt)
		}
		return fmt.Sprint(err)
	}
	here, err := os.CreateTemp(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opt  RecordOptions
		want string
	}{
		{RecordOptions{App: "nobody", Count: 1}, "no_app"},
		{RecordOptions{Count: MaxRecord + 1}, "bad_query"},
		{RecordOptions{Count: 1, Out: here.Name()}, "name a new one"},
		{RecordOptions{Count: 1}, "no callback came"},
	} {
		if got := try(c.opt); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c.opt, got)
		}
	}
	s, err := h.recorder.begin("", h.engine)
	if err != nil {
		t.Fatal(err)
	}
	if got := try(RecordOptions{Count: 1}); !strings.Contains(got, "one at a time") {
		t.Errorf("a second one: %s", got)
	}
	h.recorder.end(s, h.engine)
}

// A host that stops ends the recording, and what was told is kept.
func TestRecordWhileTheHostStops(t *testing.T) {
	file := writeConfig(t, echoSections())
	h, err := Start(t.Context(), file, discard())
	if err != nil {
		t.Fatal(err)
	}
	th := &testHost{h, new(syncBuffer)}
	src, report := record(t, th, RecordOptions{Count: 100}, func() {
		th.say(t, "shop", "1", "a")
		if err := h.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if report.Events != 1 || !strings.Contains(src, "recorded:") {
		t.Errorf("%+v\n%s", report, src)
	}
}

// Nothing is expected of what hung on the moment.
func TestRecordedIsSure(t *testing.T) {
	failed := func(reason string) *pipeline.Trace {
		return &pipeline.Trace{End: "done", Steps: []pipeline.Step{{Stage: "a"}, {Stage: "b", Error: reason}}}
	}
	for _, c := range []struct {
		outcome string
		trace   *pipeline.Trace
		want    bool
	}{
		{"replied", &pipeline.Trace{End: "done"}, true},
		{"repeat", nil, true},
		{"stopped", failed("trap"), true},
		{"queued", &pipeline.Trace{End: "queued"}, true},
		{"queued", &pipeline.Trace{End: "done", Durable: true}, false},
		{"late", &pipeline.Trace{End: "done"}, false},
		{"success", &pipeline.Trace{End: "refused"}, false},
		{"replied", failed("timeout"), false},
		{"replied", failed("busy"), false},
		{"replied", failed("fused"), false},
	} {
		p := &pendingEvent{answer: &pipeline.Answer{Outcome: c.outcome}, trace: c.trace}
		if got := p.sure(); got != c.want {
			t.Errorf("%s, %+v: %v", c.outcome, c.trace, got)
		}
	}
}

// What an event had before is told from the first operation on a key.
func TestStateBefore(t *testing.T) {
	req := func(op hostapi.StateOp) *hostapi.StateRequest {
		return &hostapi.StateRequest{Op: op, Delta: 2, Expect: []byte("e")}
	}
	for _, c := range []struct {
		name   string
		req    *hostapi.StateRequest
		resp   hostapi.StateResponse
		status hostapi.Status
		want   string
		told   bool
	}{
		{"read", req(hostapi.StateGet), hostapi.StateResponse{Value: []byte("v"), Found: true}, hostapi.OK, "v", true},
		{"read nothing", req(hostapi.StateGet), hostapi.StateResponse{}, hostapi.NotFound, "nil", true},
		{"added", req(hostapi.StateAdd), hostapi.StateResponse{Number: 7}, hostapi.OK, "5", true},
		{"added to nothing", req(hostapi.StateAdd), hostapi.StateResponse{Number: 2}, hostapi.OK, "nil", true},
		{"set", req(hostapi.StateSet), hostapi.StateResponse{}, hostapi.OK, "nil", true},
		{"swapped", req(hostapi.StateCompareAndSet), hostapi.StateResponse{}, hostapi.OK, "e", true},
		{"made", &hostapi.StateRequest{Op: hostapi.StateCompareAndSet, ExpectAbsent: true}, hostapi.StateResponse{}, hostapi.OK, "nil", true},
		{"not swapped", req(hostapi.StateCompareAndSet), hostapi.StateResponse{Value: []byte("v"), Found: true}, hostapi.Conflict, "v", true},
		{"deleted", req(hostapi.StateDelete), hostapi.StateResponse{Found: true}, hostapi.OK, "", true},
		{"failed", req(hostapi.StateGet), hostapi.StateResponse{}, hostapi.Unavailable, "nil", false},
	} {
		before, told := stateBefore(c.req, &c.resp, c.status)
		got := string(before)
		if before == nil {
			got = "nil"
		}
		if got != c.want || told != c.told {
			t.Errorf("%s: %s, %v", c.name, got, told)
		}
	}
}
