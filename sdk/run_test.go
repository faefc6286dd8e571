package sdk

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
)

// fakeHost keeps no state.
type fakeHost struct {
	json    string
	configs int // calls of Config
	reply   *Reply
	status  Status
	logs    []string
}

func (h *fakeHost) Log(level Level, text string) {
	h.logs = append(h.logs, fmt.Sprintf("%d %s", level, text))
}

func (h *fakeHost) Config() ([]byte, bool) {
	h.configs++
	return []byte(h.json), h.json != ""
}

func (h *fakeHost) Reply(r *Reply) Status              { h.reply = r; return h.status }
func (h *fakeHost) Annotate(name, value string) Status { return h.status }
func (h *fakeHost) call(configID uint64) *Call         { return NewCall(h, &Event{ConfigID: configID}) }

func answer(o Outcome, err error) func(*Call) (Outcome, error) {
	return func(*Call) (Outcome, error) { return o, err }
}

func TestRunHandle(t *testing.T) {
	event := (&Event{Content: "hi"}).Append(nil)
	tests := []struct {
		name    string
		handler Handler
		src     []byte
		want    Outcome
		reason  string
	}{
		{"next", answer(Next, nil), event, Next, ""},
		{"done", answer(Done, nil), event, Done, ""},
		{"error", answer(Done, errors.New("no shop")), event, hostapi.Failed, "no shop"},
		{"failed without an error", answer(hostapi.Failed, nil), event, hostapi.Failed, "the handler returned outcome 2; only Next and Done are allowed without an error"},
		{"no handler", nil, event, hostapi.Failed, "the plugin registered no handler: call sdk.Handle in init"},
		{"bad event", answer(Next, nil), []byte{0x0a}, hostapi.Failed, "the host's event: Event field 1: truncated"},
		{"long error", answer(Next, errors.New(strings.Repeat("字", 4096))), event, hostapi.Failed, strings.Repeat("字", 1365)},
		{"the event", func(c *Call) (Outcome, error) { return Done, errors.New(c.Event.Content) }, event, hostapi.Failed, "hi"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, reason := program{handle: tt.handler}, ""
			got := p.runHandle(&fakeHost{}, func(s string) { reason = s }, tt.src)
			if got != tt.want || reason != tt.reason {
				t.Fatalf("outcome %d, reason %q; want %d, %q", got, reason, tt.want, tt.reason)
			}
		})
	}
}

func TestPanicGoesOn(t *testing.T) {
	for value, want := range map[any]string{
		"text":            "panic: text",
		errors.New("err"): "panic: err",
		42:                "panic: a value that is no text; the log has it",
	} {
		reason := ""
		func() {
			defer func() {
				if p := recover(); p != value {
					t.Errorf("recovered %v, want %v", p, value)
				}
			}()
			p := program{handle: func(*Call) (Outcome, error) { panic(value) }}
			p.runHandle(&fakeHost{}, func(s string) { reason = s }, nil)
		}()
		if reason != want {
			t.Errorf("reason %q, want %q", reason, want)
		}
	}
}

func TestRunStartAndCheck(t *testing.T) {
	no := errors.New("no")
	for _, want := range []error{nil, no} {
		reason, code := "", int32(0)
		if want != nil {
			code = 1
		}
		fail := func(s string) { reason = s }
		p := program{handle: answer(Next, nil), start: func() error { return want }, check: func(c *Call) error {
			if c.Event == nil {
				t.Error("no event")
			}
			return want
		}}
		if got := p.runStart(fail); got != code || (reason == "no") != (want != nil) {
			t.Errorf("start: %d, %q", got, reason)
		}
		reason = ""
		if got := p.runCheck(&fakeHost{}, fail); got != code || (reason == "no") != (want != nil) {
			t.Errorf("check: %d, %q", got, reason)
		}
	}
	reason := ""
	if new(program).runStart(func(s string) { reason = s }) == 0 || reason == "" {
		t.Error("a plugin without a handler starts")
	}
	if new(program).runCheck(&fakeHost{}, nil) != 0 {
		t.Error("a plugin without a check refuses")
	}
}

func TestStatusErrors(t *testing.T) {
	h := &fakeHost{status: hostapi.TooLarge}
	c := h.call(0)
	_, noConfig := c.ConfigJSON()
	_, _, noState := c.State().Get("k")
	for want, err := range map[string]error{
		"reply: TOO_LARGE":    c.ReplyText("x"),
		"annotate: TOO_LARGE": c.Annotate("a", "b"),
		"config: DENIED: there is no config outside of an event and a check": noConfig,
		"state get: DENIED": noState,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	h.status = 77
	var status *StatusError
	if err := c.NoReply(); !errors.As(err, &status) || status.Status != 77 {
		t.Errorf("an unknown status gives %v", err)
	}
}

func TestReplies(t *testing.T) {
	h := &fakeHost{}
	c := h.call(0)
	if err := c.ReplyNews(Article{Title: "a"}, Article{}); err != nil || len(h.reply.News.Articles) != 2 {
		t.Errorf("news: %+v, %v", h.reply, err)
	}
	if err := c.NoReply(); err != nil || h.reply != nil {
		t.Errorf("taken back: %+v, %v", h.reply, err)
	}
}

func TestLog(t *testing.T) {
	h := &fakeHost{}
	c := h.call(0)
	c.Debug("a")
	c.Info("%d", 1)
	c.Warn("w")
	c.Error("%s", strings.Repeat("字", 2000))
	if got := strings.Join(h.logs[:3], "|"); got != "0 a|1 1|2 w" {
		t.Error(got)
	}
	if last := h.logs[3]; len(last) > hostapi.MaxText+2 || len(last) < hostapi.MaxText-2 || !utf8.ValidString(last) {
		t.Errorf("a long line has %d bytes", len(last))
	}
}

func TestConfig(t *testing.T) {
	type a struct{ X int }
	type b struct{ X float64 }
	h := &fakeHost{json: `{"X":1}`}
	first, err := Config[a](h.call(1001))
	if err != nil || first.X != 1 {
		t.Fatal(first, err)
	}
	if again, err := Config[a](h.call(1001)); again != first || err != nil || h.configs != 1 {
		t.Errorf("the same config was read %d times, error %v", h.configs, err)
	}
	if other, err := Config[b](h.call(1001)); err != nil || other.X != 1 {
		t.Errorf("another type: %+v, %v", other, err)
	}
	h.json = `{"X":2}`
	if other, err := Config[a](h.call(1002)); err != nil || other.X != 2 {
		t.Errorf("another config: %+v, %v", other, err)
	}
	if unnamed, err := Config[a](h.call(0)); err != nil || unnamed.X != 2 {
		t.Errorf("a config to check: %+v, %v", unnamed, err)
	}
	h.json = `{"X":3}`
	if unnamed, err := Config[a](h.call(0)); err != nil || unnamed.X != 3 {
		t.Errorf("the next config to check: %+v, %v", unnamed, err)
	}
	h.json = `{"X":"no"}`
	if _, err := Config[a](h.call(1003)); err == nil {
		t.Error("a wrong type passed")
	}
}

func TestConfigsAreBounded(t *testing.T) {
	var c configCache
	for i := range uint64(3 * maxConfigs) {
		c.put(configKey{id: i + 1}, i, 10)
		if _, ok := c.get(configKey{id: i + 1}); !ok || len(c.parsed) > maxConfigs {
			t.Fatalf("after %d configs: %d kept, the last %t", i+1, len(c.parsed), ok)
		}
	}
	for i := range uint64(10) {
		c.put(configKey{id: i + 1}, i, maxConfigJSON/3)
		if c.bytes > maxConfigJSON {
			t.Fatalf("%d bytes kept", c.bytes)
		}
	}
	c.put(configKey{id: 1 << 40}, 0, maxConfigJSON+1)
	if _, ok := c.get(configKey{id: 1 << 40}); ok {
		t.Error("a config over the bound was kept")
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Second: 1000, -1: -1, -time.Second: -1000,
		math.MaxInt64: math.MaxInt64/1_000_000 + 1,
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}

// BenchmarkHandle is what a text event costs in the SDK, natively: decoding, the
// handler and its answer.
func BenchmarkHandle(b *testing.B) {
	src := (&Event{
		ID: "0123456789abcdef0123456789abcdef", App: "shop", AppID: "wx1234567890abcdef", Type: "text",
		From: "oABCDEFGHIJKLMNOPQRSTUVWXYZ1", To: "gh_1234567890ab", Created: 1_700_000_000, Content: "你好",
		MsgID: "23238420918410001", DeadlineMS: 4500, Origin: "wechat", User: "oABCDEFGHIJKLMNOPQRSTUVWXYZ1",
		ConfigID: 0x123456789abcdef0, Attempt: 1, Format: "xml", AppType: "official",
	}).Append(nil)
	p := program{handle: func(c *Call) (Outcome, error) { return Done, c.ReplyText("你好，" + c.Event.Content) }}
	h := &fakeHost{}
	b.ReportAllocs()
	for b.Loop() {
		if p.runHandle(h, func(string) {}, src) != Done {
			b.Fatal("not done")
		}
	}
}
