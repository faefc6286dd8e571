package server

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/telemetry"
	"github.com/weft-dev/weft/runtime/wechat"
)

// hostileCase is an input that must be refused, or handled as specified.
type hostileCase struct {
	name   string
	app    string
	req    func(t *testing.T) request
	status int
	body   string // what the answer has in it; "" for any
}

// workBound is how much work one callback may be, whatever is in it.
const workBound = 10 * time.Millisecond

func hostileCases(t *testing.T) []hostileCase {
	sealed, plain := testAccount(t, wechat.Encrypted), testAccount(t, wechat.Plain)
	at := time.Now()
	good := textMessage("1", "hello")
	change := func(f func(*request)) func(*testing.T) request {
		return func(*testing.T) request {
			r := seal(sealed, good, at)
			f(&r)
			return r
		}
	}
	setQuery := func(name, value string) func(*testing.T) request {
		return change(func(r *request) {
			q, err := url.ParseQuery(r.query)
			if err != nil {
				t.Fatal(err)
			}
			q.Set(name, value)
			r.query = q.Encode()
		})
	}
	doc := func(text string) func(*testing.T) request {
		return func(*testing.T) request { return seal(sealed, []byte(text), at) }
	}
	const notAuthentic, success = `"code":"not_authentic"`, wechat.Success
	other := func(t *testing.T) request {
		a, err := wechat.NewAccount(wechat.AccountConfig{AppID: "wxffffffffffffffff", Mode: wechat.Encrypted, Token: testToken, AESKey: testKey})
		if err != nil {
			t.Fatal(err)
		}
		return seal(a, good, at)
	}
	head := "<xml><ToUserName>gh</ToUserName><FromUserName>o1</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>x</Content><MsgId>"
	text := func(id, more string) string { return head + id + "</MsgId>" + more + "</xml>" }
	bomb := `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><xml>&b;</xml>`
	return []hostileCase{
		{"wrong signature", "shop", setQuery("msg_signature", strings.Repeat("0", 40)), 403, notAuthentic},
		{"no signature", "shop", setQuery("msg_signature", ""), 403, notAuthentic},
		{"no query", "shop", change(func(r *request) { r.query = "" }), 403, notAuthentic},
		{"wrong app id", "shop", other, 403, notAuthentic},
		{"plain callback to an encrypted app", "shop", func(*testing.T) request { return seal(plain, good, at) }, 400, `"code":"wrong_mode"`},
		{"plain callback that says aes", "shop", func(*testing.T) request {
			r := seal(plain, good, at)
			r.query += "&encrypt_type=aes"
			return r
		}, 400, ""},
		{"sealed callback to a plain app", "open", func(*testing.T) request { return seal(sealed, good, at) }, 400, `"code":"wrong_mode"`},
		{"stale timestamp", "shop", func(*testing.T) request { return seal(sealed, good, at.Add(-11*time.Minute)) }, 403, notAuthentic},
		{"timestamp ahead", "shop", func(*testing.T) request { return seal(sealed, good, at.Add(11*time.Minute)) }, 403, notAuthentic},
		{"timestamp that is none", "shop", setQuery("timestamp", "soon"), 403, notAuthentic},
		{"truncated envelope", "shop", change(func(r *request) { r.body = r.body[:len(r.body)/2] }), 0, ""},
		{"empty body", "shop", change(func(r *request) { r.body = nil }), 0, ""},
		{"over 1 MiB", "shop", change(func(r *request) { r.body = bytes.Repeat([]byte("x"), 1<<20+1) }), 413, `"code":"too_large"`},
		{"1 MiB of x", "shop", change(func(r *request) { r.body = bytes.Repeat([]byte("x"), 1<<20) }), 0, ""},
		{"1 MiB of <", "shop", change(func(r *request) { r.body = bytes.Repeat([]byte("<"), 1<<20) }), 0, ""},
		{"1 MiB of <x>", "shop", change(func(r *request) { r.body = bytes.Repeat([]byte("<x>"), 1<<20/3) }), 0, ""},
		{"1 MiB of {", "shop", change(func(r *request) { r.body = bytes.Repeat([]byte(`{"a":`), 1<<20/5) }), 0, ""},
		{"not XML", "shop", doc("hello, world"), 200, success},
		{"XML bomb", "shop", doc(bomb), 200, success},
		{"XML bomb as the envelope", "shop", change(func(r *request) { r.body = []byte(bomb) }), 0, ""},
		{"deep nesting", "shop", doc(text("2", strings.Repeat("<a>", 10_000)+strings.Repeat("</a>", 10_000))), 200, success},
		{"deep JSON", "shop", doc(`{"MsgType":"text","a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}"), 200, success},
		{"10,000 fields", "shop", doc(text("3", manyFields(10_000))), 200, success},
		{"4,000 fields", "shop", doc(text("4", manyFields(4_000))), 200, "<xml>"},
		{"NUL bytes", "shop", doc("\x00\x00<xml>\x00</xml>"), 200, success},
		{"NUL in a name", "shop", doc("<xml><Msg\x00Type>text</Msg\x00Type></xml>"), 200, success},
		{"broken UTF-8", "shop", doc(text("5", "<A>\xff\xfe\xc0</A>")), 200, success},
		{"duplicate elements of the header", "shop", doc(text("6", "<MsgType>event</MsgType>")), 200, success},
		{"duplicate elements", "shop", doc(text("7", "<A>1</A><A>2</A>")), 200, "<xml>"},
		{"unclosed", "shop", doc(head), 200, success},
		{"empty document", "shop", doc(""), 200, ""},
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		name := "f" + strconv.Itoa(i)
		b.WriteString("<" + name + ">v</" + name + ">")
	}
	return b.String()
}

func (c *hostileCase) check(t *testing.T, status int, body []byte) {
	t.Helper()
	if status >= 500 || status < 200 {
		t.Errorf("status %d", status)
	}
	if c.status == 0 && status != 403 && status != 400 || c.status != 0 && status != c.status {
		t.Errorf("status %d, want %d (0: 400 or 403): %s", status, c.status, body)
	}
	if !strings.Contains(string(body), c.body) {
		t.Errorf("answer %s, want %s in it", body, c.body)
	}
	for _, secret := range []string{testToken, testKey} {
		if bytes.Contains(body, []byte(secret)) {
			t.Errorf("the answer has a secret in it: %s", body)
		}
	}
}

// TestHostileInput posts each over a socket, and expects the host to go on.
func TestHostileInput(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	for _, c := range hostileCases(t) {
		t.Run(c.name, func(t *testing.T) {
			r := c.req(t)
			status, _, body := postTo(t, h.url("/wx/"+c.app), r)
			c.check(t, status, body)
			if got := h.say(t, "shop", "after-"+strconv.Itoa(int(time.Now().UnixNano())), "hello"); got != "你好" {
				t.Errorf("the next callback got %q", got)
			}
		})
	}
	if log := h.log.String(); strings.Contains(log, "msg_signature") || strings.Contains(log, testKey) || strings.Contains(log, testToken) {
		t.Errorf("the log has a query or a secret in it: %s", log)
	}
}

// TestHostileWork measures the handler alone, without sockets: what it takes in
// the best of some runs is work, the rest is the machine's.
func TestHostileWork(t *testing.T) {
	bound := workBound
	if raceEnabled {
		bound *= 10
	}
	h := startHost(t, writeConfig(t, echoSections()))
	for _, c := range hostileCases(t) {
		t.Run(c.name, func(t *testing.T) {
			r := c.req(t)
			best := time.Hour
			for range 5 {
				runtime.GC()
				req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/wx/"+c.app+"?"+r.query, bytes.NewReader(r.body))
				w := httptest.NewRecorder()
				start := time.Now()
				h.public.srv.Handler.ServeHTTP(w, req)
				best = min(best, time.Since(start))
				c.check(t, w.Code, w.Body.Bytes())
			}
			if best > bound {
				t.Errorf("it took %v, over %v", best, bound)
			}
		})
	}
}

// panicker is an engine with a mistake in it.
type panicker struct{}

func (panicker) Deliver(context.Context, pipeline.Delivery) pipeline.Answer { panic("a mistake") }

// TestPanic expects a mistake of ours to be an answer and a log line.
func TestPanic(t *testing.T) {
	log := new(syncBuffer)
	e := newEcho(NewLogger(log))
	c := &callbacks{
		apps:   map[string]*app{"shop": {name: "shop", appID: testAppID, account: testAccount(t, wechat.Encrypted)}},
		engine: panicker{}, metrics: telemetry.NewMetrics(), log: NewLogger(log), now: time.Now,
	}
	e.Any("/wx/:app", c.byName)
	srv := httptest.NewServer(e)
	defer srv.Close()
	status, _, body := postTo(t, srv.URL+"/wx/shop", seal(c.apps["shop"].account, textMessage("1", "x"), time.Now()))
	if status != 500 || !strings.Contains(string(body), `"code":"internal"`) || strings.Contains(string(body), "mistake") {
		t.Errorf("answer %d %s", status, body)
	}
	if lines := log.lines(t, "panic in a handler"); len(lines) != 1 || lines[0]["panic"] != "a mistake" {
		t.Errorf("log %s", log)
	}
}
