package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/wechat"
)

// legacy is a running testdata/legacy.js.
type legacy struct {
	port  int
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// legacyLine is what legacy.js prints of a request.
type legacyLine struct {
	Port              int
	Method, URL, Type string
	Body              []byte
	Text, OpenID      string
	Error             string
	Status            int
	Answer            []byte
	AnswerType        string
}

// startLegacy runs the handler until the test ends; port 0 is any.
func startLegacy(t *testing.T, port int) *legacy {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not there: make deps")
	}
	l := &legacy{cmd: exec.CommandContext(t.Context(), "node", filepath.Join("testdata", "legacy.js"), testToken, testKey, testAppID, fmt.Sprint(port))}
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.kill)
	l.lines = bufio.NewScanner(out)
	l.lines.Buffer(nil, 4<<20)
	l.port = l.next(t).Port
	return l
}

func (l *legacy) kill() {
	_ = l.cmd.Process.Kill() // it may be gone
	_ = l.cmd.Wait()
}

// next waits for the line of the next request.
func (l *legacy) next(t *testing.T) legacyLine {
	t.Helper()
	var line legacyLine
	if !l.lines.Scan() {
		t.Fatalf("legacy.js ended: %v", l.lines.Err())
	}
	if err := json.Unmarshal(l.lines.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, l.lines.Bytes())
	}
	return line
}

// threeModes are apps of every mode.
func threeModes() string {
	return "apps:\n" + appYAML("shop", "encrypted", "callback_path: /old/path\n") + appYAML("mixed", "compatible", "") + appYAML("open", "plain", "")
}

func modes() map[string]wechat.Mode {
	return map[string]wechat.Mode{"shop": wechat.Encrypted, "mixed": wechat.Compatible, "open": wechat.Plain}
}

func upstreamYAML(name, at, more string) string {
	return fmt.Sprintf("  %s: { url: %q, private: [127.0.0.0/8]%s }\n", name, at, more)
}

// TestForwardRaw has an independent handler behind Weft, in the three modes: what
// it gets and what comes back are what they are without Weft, byte for byte.
func TestForwardRaw(t *testing.T) {
	l := startLegacy(t, 0)
	h := startHost(t, writeConfig(t, "upstreams:\n"+upstreamYAML("legacy", fmt.Sprintf("http://127.0.0.1:%d/wechat/portal/wx1?own=1", l.port), "")+
		threeModes()+"pipeline: { stages: [ { reply: { text: early } }, { forward: { to: legacy, as: raw }, on_error: { reply: { text: sorry } } } ] }\n"))
	id := 0
	for app, mode := range modes() {
		for text, want := range map[string]string{"你好": "legacy: 你好", "silent": "success", "empty": "", "refuse": "sorry"} {
			for _, contentType := range []string{"text/xml", "Text/XML; charset=GBK", ""} {
				id++
				r := seal(testAccount(t, mode), textMessage(fmt.Sprint(id), text), time.Now())
				r.query += "&openid=oUser1&x=%7e~&&=%zz"
				gotType, got := postRaw(t, h.url("/wx/"+app), r, contentType)
				line := l.next(t)
				if line.Error != "" || line.Text != text {
					t.Fatalf("%s, %s: the handler says %q of %q", app, text, line.Error, line.Text)
				}
				if line.Method != "POST" || line.URL != "/wechat/portal/wx1?own=1&"+r.query || line.Type != contentType || !bytes.Equal(line.Body, r.body) {
					t.Errorf("%s, %s: it got %s %s of type %q with\n%q, and was sent %s of type %q with\n%q",
						app, text, line.Method, line.URL, line.Type, line.Body, r.query, contentType, r.body)
				}
				if line.Status == 200 && (!bytes.Equal(got, line.Answer) || gotType != line.AnswerType) {
					t.Errorf("%s, %s: it answered %q of type %q, and WeChat got %q of type %q", app, text, line.Answer, line.AnswerType, got, gotType)
				}
				checkRead(t, mode, got, want)
				if said := openText(t, testAccount(t, mode), got); said != want {
					t.Errorf("%s, %s: the user gets %q", app, text, said)
				}
			}
		}
	}
	metrics := h.metrics(t)
	for _, want := range []string{
		`weft_upstream_requests_total{result="ok",upstream="legacy"} 27`, `weft_upstream_requests_total{result="status",upstream="legacy"} 9`,
		`weft_stage_errors_total{pipeline="main",reason="upstream",stage="forward"} 9`, `weft_upstream_open{upstream="legacy"} 0`,
		`weft_upstream_connections{upstream="legacy"} 0`, `weft_events_total{app="shop",outcome="replied"} 6`, `weft_events_total{app="shop",outcome="success"} 6`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// checkRead holds what the host reads in an answer, for those who compare it.
func checkRead(t *testing.T, mode wechat.Mode, answer []byte, want string) {
	t.Helper()
	s := service{accounts: map[string]*wechat.Account{"shop": testAccount(t, mode)}}
	v := &pipeline.Verbatim{Body: answer, Silent: want == "" || want == wechat.Success}
	reply, err := s.Read(&hostapi.Event{App: "shop"}, v)
	if err != nil || v.Silent != (reply == nil) || reply != nil && (reply.Text == nil || reply.Text.Content != want) {
		t.Errorf("reading %q: %v, %+v", answer, err, reply)
	}
	if v.Silent {
		return
	}
	for _, bad := range [][]byte{answer[:len(answer)/2], []byte("<html>no</html>"), []byte("x")} {
		if reply, err := s.Read(&hostapi.Event{App: "shop"}, &pipeline.Verbatim{Body: bad}); err == nil {
			t.Errorf("%q is read as %+v", bad, reply)
		}
	}
}

func (h *testHost) metrics(t testing.TB) string {
	t.Helper()
	_, text, _ := get(t, "http://"+h.admin.addr()+"/metrics")
	return text
}

// postRaw posts a callback with a Content-Type, none where it is "", and returns
// that of the answer and its body.
func postRaw(t testing.TB, url string, r request, contentType string) (string, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"?"+r.query, bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, body)
	}
	return resp.Header.Get("Content-Type"), body
}

// TestForwardRawJSON is the same for callbacks in JSON, and for a callback that
// WeChat repeats.
func TestForwardRawJSON(t *testing.T) {
	l := startLegacy(t, 0)
	h := startHost(t, writeConfig(t, "upstreams:\n"+upstreamYAML("legacy", fmt.Sprintf("http://127.0.0.1:%d", l.port), "")+
		threeModes()+"pipeline: { stages: [ { forward: { to: legacy, as: raw } } ] }\n"))
	for app, mode := range modes() {
		doc := fmt.Appendf(nil, `{"ToUserName":"gh_1","FromUserName":"oUser1","CreateTime":%d,"MsgType":"text","Content":"hi","MsgId":1}`, time.Now().Unix())
		r := seal(testAccount(t, mode), doc, time.Now())
		_, first := postRaw(t, h.url("/wx/"+app), r, "application/json")
		line := l.next(t)
		if line.Error != "" || line.Text != "hi" || line.Type != "application/json" || line.URL != "/?"+r.query || !bytes.Equal(line.Body, r.body) || !bytes.Equal(first, line.Answer) {
			t.Errorf("%s: %+v", app, line)
		}
		if _, again := postRaw(t, h.url("/wx/"+app), r, "application/json"); !bytes.Equal(again, first) {
			t.Errorf("%s: a repeat got %q, the first %q", app, again, first)
		}
	}
	h.stopQuietly(t)
	l.kill()
	if l.lines.Scan() {
		t.Errorf("a repeat was forwarded: %s", l.lines.Bytes())
	}
}

// stopQuietly drains the engine, so that nothing is sent any more.
func (h *testHost) stopQuietly(t *testing.T) {
	t.Helper()
	if err := h.engine.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestForwardRawWithoutType: an answer without a Content-Type gets none here.
func TestForwardRawWithoutType(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<xml>\x00</xml>")
	}))
	defer s.Close()
	h := startHost(t, writeConfig(t, "upstreams:\n"+upstreamYAML("legacy", s.URL, "")+threeModes()+"pipeline: { stages: [ { forward: { to: legacy, as: raw } } ] }\n"))
	contentType, body := postRaw(t, h.url("/old/path"), seal(testAccount(t, wechat.Encrypted), textMessage("1", "hi"), time.Now()), "text/xml")
	if contentType != "" || string(body) != "<xml>\x00</xml>" {
		t.Errorf("got %q of type %q", body, contentType)
	}
}

// TestForwardRawFromQueue: the handler takes what is sealed and signed afresh, in
// the three modes and both formats.
func TestForwardRawFromQueue(t *testing.T) {
	l := startLegacy(t, 0)
	h := startHost(t, writeConfig(t, "upstreams:\n"+upstreamYAML("legacy", fmt.Sprintf("http://127.0.0.1:%d/p", l.port), "")+
		threeModes()+"pipeline: { stages: [ { forward: { to: legacy, as: raw }, on_error: queue } ] }\n"))
	for app, mode := range modes() {
		for contentType, doc := range map[string][]byte{
			"text/xml": textMessage("1", "once "+app+" text/xml"),
			"application/json": fmt.Appendf(nil, `{"ToUserName":"gh_1","FromUserName":"oUser1","CreateTime":%d,"MsgType":"text","Content":"once %s application/json","MsgId":2}`,
				time.Now().Unix(), app),
		} {
			r := seal(testAccount(t, mode), doc, time.Now())
			if _, got := postRaw(t, h.url("/wx/"+app), r, contentType); string(got) != wechat.Success {
				t.Errorf("%s: WeChat got %q", app, got)
			}
			if line := l.next(t); line.Status != 500 || line.Error != "" {
				t.Fatalf("%s: %+v", app, line)
			}
			line := l.next(t)
			if line.Status != 200 || line.Error != "" || line.Text != "once "+app+" "+contentType || line.OpenID != "oUser1" || line.Type != contentType {
				t.Errorf("%s: from the queue: %+v", app, line)
			}
			if strings.Contains(line.URL, r.query) || mode == wechat.Encrypted && bytes.Equal(line.Body, r.body) {
				t.Errorf("%s: the signature is the old one", app)
			}
			if mode == wechat.Plain && !bytes.Equal(line.Body, doc) {
				t.Errorf("%s: from the queue it got %q", app, line.Body)
			}
		}
	}
}

// TestForwardRawSideBySide: a raw forward beside a JSON one, and one off the way,
// in the three modes: the answer is the handler's byte for byte, and who gets the
// event from the queue gets it sealed and signed afresh. An answer over the bound
// is none.
func TestForwardRawSideBySide(t *testing.T) {
	l, copied := startLegacy(t, 0), startLegacy(t, 0)
	orders := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"text":{"content":"orders"}}`)
	}))
	defer orders.Close()
	large := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, gateway.MaxAnswer+1)) }))
	defer large.Close()
	h := startHost(t, writeConfig(t, "upstreams:\n"+upstreamYAML("legacy", fmt.Sprintf("http://127.0.0.1:%d/p", l.port), "")+
		upstreamYAML("copied", fmt.Sprintf("http://127.0.0.1:%d/p", copied.port), "")+upstreamYAML("orders", orders.URL, ", secret: x")+upstreamYAML("large", large.URL, "")+
		threeModes()+`pipeline:
  stages:
    - { forward: { to: large, as: raw }, on_error: skip }
    - parallel: [ { name: json, forward: { to: orders, as: json } }, { name: raw, forward: { to: legacy, as: raw } } ]
  always: [ { name: copy, forward: { to: copied, as: raw }, async: true } ]
`))
	for app, mode := range modes() {
		r := seal(testAccount(t, mode), textMessage("1", "hi "+app), time.Now())
		gotType, got := postRaw(t, h.url("/wx/"+app), r, "text/xml")
		line := l.next(t)
		if line.Error != "" || line.URL != "/p?"+r.query || !bytes.Equal(line.Body, r.body) || !bytes.Equal(got, line.Answer) || gotType != line.AnswerType {
			t.Errorf("%s: got %q of type %q, and %+v", app, got, gotType, line)
		}
		line = copied.next(t)
		if line.Error != "" || line.Status != 200 || line.Text != "hi "+app || strings.Contains(line.URL, r.query) {
			t.Errorf("%s: from the queue: %+v", app, line)
		}
	}
	if n := h.metric(t, "weft_upstream_requests_total")[`result="unusable",upstream="large"`]; n != 3 {
		t.Errorf("%d answers over the bound", n)
	}
}

// TestForwardJSON: what a service of the business gets and what its answers do.
func TestForwardJSON(t *testing.T) {
	status, answer := 200, ""
	var got *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer s.Close()
	h := startHost(t, writeConfig(t, "upstreams:\n"+upstreamYAML("orders", s.URL+"/weft?v=1", `, secret: s3cret, headers: { Authorization: "Bearer key" }`)+
		"apps:\n"+appYAML("shop", "encrypted", "")+
		"pipeline: { stages: [ { reply: { text: early } }, { forward: { to: orders, as: json }, on_error: { reply: { text: sorry } } } ] }\n"))
	tooLong, err := json.Marshal(strings.Repeat("x", hostapi.MaxReply))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		status           int
		answer, want, in string
	}{
		{200, `{"text":{"content":"你好"}}`, "你好", ""},
		{200, ` {"text": {"content":"<&>"}, "image": null}` + "\n", "<&>", ""},
		{200, "", "early", ""},
		{200, " \n", "early", ""},
		{204, "", "early", ""},
		{200, "{}", "sorry", "a reply without a body"},
		{200, "success", "sorry", "the answer is no reply: hostapi: message does not decode: Reply: not JSON"},
		{200, `{"text":{"contents":"s3cret"}}`, "sorry", `unknown name \"contents\"`},
		{200, `{"text":{"content":` + string(tooLong) + `}}`, "sorry", "the answer's reply has over 65536 bytes"},
		{201, `{"text":{"content":"no"}}`, "sorry", "it answered with status 201"},
		{302, "", "sorry", "it answered with status 302"},
		{500, "", "sorry", "it answered with status 500"},
	} {
		status, answer = c.status, c.answer
		before := h.log.String()
		if said := h.say(t, "shop", fmt.Sprint(i), fmt.Sprintf("text %d", i)); said != c.want {
			t.Errorf("%d %.50q: the user gets %q", c.status, c.answer, said)
		}
		if logged := strings.TrimPrefix(h.log.String(), before); !strings.Contains(logged, c.in) || c.in != "" && !strings.Contains(logged, `"reason":"upstream"`) || strings.Contains(logged, "s3cret") {
			t.Errorf("%d %.50q: logged %s", c.status, c.answer, logged)
		}
	}
	checkEvent(t, got, body)
}

// checkEvent looks at the last request of TestForwardJSON.
func checkEvent(t *testing.T, r *http.Request, body []byte) {
	t.Helper()
	h := r.Header
	if r.Method != "POST" || r.RequestURI != "/weft?v=1" || h.Get("Content-Type") != "application/json" || h.Get("Authorization") != "Bearer key" || h.Get("Weft-Attempt") != "1" {
		t.Errorf("%s %s %v", r.Method, r.RequestURI, h)
	}
	var unix int64
	if _, err := fmt.Sscanf(h.Get("Weft-Signature"), "t=%d,", &unix); err != nil || h.Get("Weft-Signature") != gateway.Sign([]byte("s3cret"), body, time.Unix(unix, 0)) {
		t.Errorf("signature %q: %v", h.Get("Weft-Signature"), err)
	}
	var e map[string]any
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	if len(h.Get("Weft-Event-Id")) != 32 || e["id"] != h.Get("Weft-Event-Id") || len(fmt.Sprint(e["traceparent"])) != 55 {
		t.Errorf("id %v, event %s", h.Get("Weft-Event-Id"), body)
	}
	if created, left := e["created"].(float64), e["deadline_ms"].(float64); created < 1e9 || left <= 0 || left > 4000 {
		t.Errorf("created %v, %v ms left", created, left)
	}
	for _, name := range []string{"id", "traceparent", "created", "deadline_ms"} {
		delete(e, name)
	}
	rest, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"app":"shop","app_id":"` + testAppID + `","app_type":"official","attempt":1,"content":"text 11","format":"xml","from":"oUser1","msg_id":"11",` +
		`"origin":"wechat","reply":{"text":{"content":"early"}},"to":"gh_1","type":"text","user":"oUser1"}`
	if string(rest) != want {
		t.Errorf("got  %s\nwant %s", rest, want)
	}
}
