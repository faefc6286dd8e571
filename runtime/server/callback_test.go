package server

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

// TestVerification is WeChat's check of the URL, in each mode.
func TestVerification(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	a := testAccount(t, wechat.Plain)
	_, q := a.AppendCallback(nil, textMessage("1", "x"), wechat.XML, "gh_1", time.Now().Unix(), "n", [16]byte{})
	q.EchoStr = "1234567890<b>"
	for _, path := range []string{"/wx/open", "/old/path"} {
		status, body, contentType := get(t, h.url(path)+"?"+q.Encode())
		if status != 200 || body != q.EchoStr || !strings.HasPrefix(contentType, "text/plain") {
			t.Errorf("%s: %d %q %s", path, status, body, contentType)
		}
	}
	q.Signature = strings.Repeat("0", 40)
	if status, body, _ := get(t, h.url("/wx/open")+"?"+q.Encode()); status != 403 || strings.Contains(body, "1234") {
		t.Errorf("wrong signature: %d %s", status, body)
	}
}

// TestModes sends the same text in each mode and format, and opens the answer.
func TestModes(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	json := fmt.Appendf(nil, `{"ToUserName":"gh_1","FromUserName":"oUser1","CreateTime":%d,"MsgType":"text","Content":"x","MsgId":7}`, time.Now().Unix())
	cases := []struct {
		app         string
		mode        wechat.Mode
		doc         []byte
		contentType string
	}{
		{"shop", wechat.Encrypted, textMessage("1", "x"), "application/xml; charset=utf-8"},
		{"mixed", wechat.Compatible, textMessage("2", "x"), "application/xml; charset=utf-8"},
		{"open", wechat.Plain, textMessage("3", "x"), "application/xml; charset=utf-8"},
		{"shop", wechat.Encrypted, json, "application/json; charset=utf-8"},
		{"open", wechat.Plain, json, "application/json; charset=utf-8"},
	}
	for i, c := range cases {
		t.Run(strconv.Itoa(i)+" "+c.mode.String(), func(t *testing.T) {
			a := testAccount(t, c.mode)
			status, contentType, body := postTo(t, h.url("/wx/"+c.app), seal(a, c.doc, time.Now()))
			if status != 200 || contentType != c.contentType {
				t.Errorf("%d %s: %s", status, contentType, body)
			}
			if got := openText(t, a, body); got != "你好" {
				t.Errorf("answer %q", got)
			}
		})
	}
	t.Run("nothing to say", func(t *testing.T) {
		doc := []byte(strings.Replace(string(textMessage("4", "x")), "CDATA[text]", "CDATA[image]", 1))
		_, contentType, body := postTo(t, h.url("/wx/shop"), seal(testAccount(t, wechat.Encrypted), doc, time.Now()))
		if string(body) != "success" || contentType != "text/plain; charset=utf-8" {
			t.Errorf("%q %s", body, contentType)
		}
	})
}

// TestPaths asks for what is not there.
func TestPaths(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	for _, c := range []struct {
		method, path string
		status       int
		code         string // or a header
	}{
		{"GET", "/wx/nobody", 404, "not_found"},
		{"POST", "/wx/nobody", 404, "not_found"},
		{"GET", "/", 404, "not_found"},
		{"GET", "/metrics", 404, "not_found"},
		{"GET", "/wx/shop/more", 404, "not_found"},
		{"PUT", "/wx/shop", 405, "method_not_allowed"},
		{"DELETE", "/old/path", 405, "method_not_allowed"},
		{"BREW", "/wx/shop", 405, "Allow: GET, POST\r\n"},
		{"BREW", "/old/path", 405, "Allow: GET, POST\r\n"},
		{"BREW", "/nowhere", 404, "not_found"},
		{"POST", "/healthz", 405, "Allow: GET, HEAD\r\n"},
		{"GET", "/wx/shop", 403, "not_authentic"},
		{"GET", "/wx/%73hop", 404, "not_found"},
		{"GET", "/wx/shop%2F", 404, "not_found"},
		{"GET", "//wx/shop", 404, "not_found"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, h.url(c.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body strings.Builder
		if err := resp.Write(&body); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.status || !strings.Contains(body.String(), c.code) ||
			!strings.Contains(body.String(), `"trace":"0af7651916cd43dd8448eb211c80319c"`) {
			t.Errorf("%s %s: %s", c.method, c.path, body.String())
		}
	}
}

// TestRepeats sends a callback three times while its plugin runs, once after,
// and a different one of the same second.
func TestRepeats(t *testing.T) {
	h := startHost(t, writeConfig(t, probeSections(t, appYAML("shop", "encrypted", ""))))
	a := testAccount(t, wechat.Encrypted)
	r := seal(a, textMessage("1", "wait"), time.Now())
	answers := make([]string, 3)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			_, _, body := postTo(t, h.url("/wx/shop"), r)
			answers[i] = openText(t, a, body)
		})
	}
	h.waitForState(t, "a/runs", "1")
	h.setState(t, "a/open", "yes")
	wg.Wait()
	_, _, body := postTo(t, h.url("/wx/shop"), r)
	for i, got := range append(answers, openText(t, a, body)) {
		if got != "run 1" {
			t.Errorf("delivery %d: %q, want run 1", i, got)
		}
	}
	if got := h.say(t, "shop", "2", "count"); got != "run 2" {
		t.Errorf("another message: %q, want run 2", got)
	}
}

// TestFaults has a plugin fail in each way, and expects what on_error says, and
// the next event to be handled.
func TestFaults(t *testing.T) {
	file := writeConfig(t, probeSections(t, appYAML("shop", "encrypted", "")))
	h := startHost(t, file)
	for i, word := range []string{"fail", "trap", "loop", "memory"} {
		// Each from another user: after three none of his events comes to it.
		got, err := h.ask(testAccount(t, wechat.Encrypted), "shop", textFrom("o"+word, word, word))
		if err != nil || got != "sorry" {
			t.Errorf("%s: %q, %v, want what on_error says", word, got, err)
		}
		if got, want := h.say(t, "shop", "after "+word, "count"), fmt.Sprintf("run %d", i+1); got != want {
			t.Errorf("after %s: %q, want %q", word, got, want)
		}
	}
	_, metrics, _ := get(t, "http://"+h.admin.addr()+"/metrics")
	for _, line := range []string{
		`weft_stage_errors_total{pipeline="main",reason="error",stage="probe"} 1`,
		`weft_stage_errors_total{pipeline="main",reason="trap",stage="probe"} 1`,
		`weft_stage_errors_total{pipeline="main",reason="fuel",stage="probe"} 1`,
		`weft_callbacks_total{app="shop",result="accepted"} 8`,
		`weft_plugin_calls_total{plugin="probe"} 8`,
		`weft_event_seconds_count{app="shop"} 8`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics have no %s:\n%s", line, ours(metrics))
		}
	}
}

func ours(metrics string) string {
	var b strings.Builder
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "weft_") && !strings.Contains(line, "_bucket") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestManyApps has 40 apps share two plugins: each sees its own config, and one
// whose config is wrong is out of service alone.
func TestManyApps(t *testing.T) {
	var apps strings.Builder
	for i := range 40 {
		with := fmt.Sprintf("with: { first: { name: app %d }, second: { name: other } }\n", i)
		switch i {
		case 7:
			with = "with:\n  first: { name: app 7 }\n  second:\n    nome: wrong\n    secret: sesame\n"
		case 9:
			with = "with: { first: { name: refused } }\n"
		}
		apps.WriteString(appYAML(fmt.Sprintf("app%d", i), "encrypted", with))
	}
	file := writeConfig(t, "apps:\n"+apps.String()+fmt.Sprintf(`plugins:
  first: { source: %[1]q, grants: { state: true } }
  second: { source: %[1]q, grants: { state: true } }
pipeline:
  stages: [ { plugin: first }, { plugin: second } ]
`, probe(t)))
	h := startHost(t, file)
	if n := len(h.current.Load().assembly.plugins); n != 2 {
		t.Errorf("%d plugins are loaded, want 2 for all apps", n)
	}
	for i := range 40 {
		name := fmt.Sprintf("app%d", i)
		if i == 7 || i == 9 {
			status, _, body := postTo(t, h.url("/wx/"+name), seal(testAccount(t, wechat.Encrypted), textMessage("1", "name"), time.Now()))
			if status != http.StatusServiceUnavailable || !strings.Contains(string(body), "app_unavailable") {
				t.Errorf("%s: %d %s", name, status, body)
			}
			continue
		}
		if got, want := h.say(t, name, "1", "name"), fmt.Sprintf("app %d", i); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	out := h.log.lines(t, "app out of service")
	if len(out) == 0 || !strings.Contains(fmt.Sprint(out), "pipeline.yaml:") || strings.Contains(h.log.String(), "sesame") {
		t.Errorf("log: %v", out)
	}
}
