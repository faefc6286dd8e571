package sdktest_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/sdk"
	"github.com/weft-dev/weft/sdk/sdktest"
)

func Example() {
	h := sdktest.New(func(c *sdk.Call) (sdk.Outcome, error) {
		return sdk.Done, c.ReplyText("你好，" + c.Event.Content)
	}, sdktest.Options{})
	r := h.Send(&sdk.Event{Content: "weft"})
	fmt.Println(r.Reply.Text.Content)
	// Output: 你好，weft
}

type greeting struct{ Text string }

func greet(c *sdk.Call) (sdk.Outcome, error) {
	cfg, err := sdk.Config[greeting](c)
	if err != nil {
		return sdk.Next, err
	}
	n, err := c.UserState().Add("seen", 1, sdk.StateOptions{TTL: time.Minute, Once: "seen"})
	if err != nil {
		return sdk.Next, err
	}
	c.Info("seen %d times", n)
	if n > 1 {
		return sdk.Next, nil
	}
	if err := c.Annotate("tag", "new"); err != nil {
		return sdk.Next, err
	}
	return sdk.Done, c.ReplyText(cfg.Text)
}

func TestHarness(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	h := sdktest.New(greet, sdktest.Options{Config: `{"Text":"欢迎"}`, Now: func() time.Time { return now }})

	first := &sdk.Event{ID: "e1", User: "oUser1"}
	for range 2 { // the second time the same event: once holds
		r := h.Send(first)
		if r.Err != nil || r.Outcome != sdk.Done || r.Reply.Text.Content != "欢迎" {
			t.Fatalf("first event: %+v", r)
		}
		if v, ok := r.Annotation("tag"); !ok || v != "new" {
			t.Fatalf("annotations: %v", r.Annotations)
		}
		if len(r.Logs) != 1 || r.Logs[0].Text != "seen 1 times" {
			t.Fatalf("logs: %v", r.Logs)
		}
	}
	if r := h.Send(&sdk.Event{User: "oUser1"}); r.Outcome != sdk.Next || r.Reply != nil {
		t.Fatalf("second event: %+v", r)
	}
	if got, want := h.State(), map[string]string{"user:oUser1:seen": "2"}; !maps.Equal(got, want) {
		t.Fatalf("state %v, want %v", got, want)
	}
	now = now.Add(time.Minute)
	if got := h.State(); len(got) != 0 {
		t.Fatalf("state after its time: %v", got)
	}
	h.SetConfig(`{"Text":"hi"}`)
	if r := h.Send(&sdk.Event{From: "oUser1"}); r.Reply.Text.Content != "hi" {
		t.Fatalf("after another config: %+v", r)
	}
}

func TestFailedCallLeavesNothing(t *testing.T) {
	h := sdktest.New(func(c *sdk.Call) (sdk.Outcome, error) {
		return sdk.Done, errors.Join(c.ReplyText("x"), c.Annotate("a", "b"), errors.New("no"))
	}, sdktest.Options{})
	before := &sdk.Reply{Text: &sdk.Text{Content: "before"}}
	r := h.Send(&sdk.Event{Reply: before})
	if r.Err == nil || r.Outcome != hostapi.Failed || r.Reply != before || r.Annotations != nil {
		t.Fatalf("%+v", r)
	}
}

func TestRules(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	tests := []struct {
		name string
		opt  sdktest.Options
		ev   sdk.Event
		do   func(c *sdk.Call) error
		want sdk.Status
	}{
		{"reply too large", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.ReplyText(long) }, hostapi.TooLarge},
		{"reply not UTF-8", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.ReplyText("\xff") }, hostapi.Invalid},
		{"reply without a body", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.Reply(&sdk.Reply{}) }, hostapi.Invalid},
		{"nil reply", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.Reply(nil) }, hostapi.Invalid},
		{"reply of an async stage", sdktest.Options{Async: true}, sdk.Event{}, func(c *sdk.Call) error { return c.ReplyText("x") }, hostapi.Invalid},
		{"text in a mini program", sdktest.Options{}, sdk.Event{AppType: "miniprogram"}, func(c *sdk.Call) error { return c.ReplyText("x") }, hostapi.Unavailable},
		{"annotation too long", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.Annotate("x", long) }, hostapi.TooLarge},
		{"annotation without a name", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.Annotate("", "x") }, hostapi.Invalid},
		{"annotation not UTF-8", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.Annotate("x", "\xff") }, hostapi.Invalid},
		{"too many annotations", sdktest.Options{}, sdk.Event{Attrs: make([]sdk.Field, hostapi.MaxAnnotations)}, func(c *sdk.Call) error { return c.Annotate("x", "") }, hostapi.Limited},
		{"negative ttl", sdktest.Options{}, sdk.Event{User: "u"}, func(c *sdk.Call) error { return c.State().Set("k", nil, sdk.StateOptions{TTL: -time.Second}) }, hostapi.Invalid},
		{"user state without a user", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.UserState().Set("k", nil, sdk.StateOptions{}) }, hostapi.Invalid},
		{"no state", sdktest.Options{NoState: true}, sdk.Event{}, func(c *sdk.Call) error { return c.State().Set("k", nil, sdk.StateOptions{}) }, hostapi.Denied},
		{"empty key", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.State().Set("", nil, sdk.StateOptions{}) }, hostapi.Invalid},
		{"long key", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error { return c.State().Set(long, nil, sdk.StateOptions{}) }, hostapi.TooLarge},
		{"too many operations", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) (err error) {
			for range hostapi.MaxStateOps + 1 {
				_, _, err = c.State().Get("k")
			}
			return err
		}, hostapi.Limited},
		{"not a counter", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error {
			err := c.State().Set("k", []byte("x"), sdk.StateOptions{})
			_, addErr := c.State().Add("k", 1, sdk.StateOptions{})
			return errors.Join(err, addErr)
		}, hostapi.Invalid},
		{"past 64 bits", sdktest.Options{}, sdk.Event{}, func(c *sdk.Call) error {
			_, err := c.State().Add("k", -1<<63, sdk.StateOptions{})
			_, addErr := c.State().Add("k", -1, sdk.StateOptions{})
			return errors.Join(err, addErr)
		}, hostapi.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := sdktest.New(func(c *sdk.Call) (sdk.Outcome, error) { return sdk.Next, tt.do(c) }, tt.opt).Send(&tt.ev)
			var status *sdk.StatusError
			if !errors.As(r.Err, &status) || status.Status != tt.want {
				t.Fatalf("got %v, want %v", r.Err, tt.want)
			}
		})
	}
}

func TestState(t *testing.T) {
	h := sdktest.New(func(c *sdk.Call) (sdk.Outcome, error) {
		s, o := c.State(), sdk.StateOptions{}
		if v, found, err := s.Get("k"); v != nil || found || err != nil {
			t.Errorf("get of nothing: %q %t %v", v, found, err)
		}
		if ok, cur, err := s.CompareAndSet("k", []byte("a"), []byte("b"), o); ok || cur != nil || err != nil {
			t.Errorf("compare with nothing: %t %q %v", ok, cur, err)
		}
		if ok, _, err := s.CompareAndSet("k", nil, nil, o); !ok || err != nil {
			t.Errorf("compare with absent: %t %v", ok, err)
		}
		if v, found, err := s.Get("k"); v == nil || len(v) != 0 || !found || err != nil {
			t.Errorf("get of an empty value: %q %t %v", v, found, err)
		}
		if ok, cur, err := s.CompareAndSet("k", nil, []byte("b"), o); ok || cur == nil || err != nil {
			t.Errorf("compare with absent where a value is: %t %q %v", ok, cur, err)
		}
		if ok, _, err := s.CompareAndSet("k", []byte{}, []byte("b"), o); !ok || err != nil {
			t.Errorf("compare with an empty value: %t %v", ok, err)
		}
		if found, err := s.Delete("k", o); !found || err != nil {
			t.Errorf("delete: %t %v", found, err)
		}
		if found, err := s.Delete("k", o); found || err != nil {
			t.Errorf("delete of nothing: %t %v", found, err)
		}
		return sdk.Next, nil
	}, sdktest.Options{})
	if r := h.Send(&sdk.Event{}); r.Err != nil {
		t.Fatal(r.Err)
	}
}

func TestCheck(t *testing.T) {
	check := func(c *sdk.Call) error {
		cfg, err := sdk.Config[greeting](c)
		if err == nil && cfg.Text == "" {
			err = errors.New("text is empty")
		}
		return err
	}
	h := sdktest.New(greet, sdktest.Options{Check: check})
	if err := h.Check(); err == nil {
		t.Fatal("an empty text passed")
	}
	h.SetConfig(`{"text":"x"}`)
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
}

// ask is a handler that makes one call.
func ask(do func(c *sdk.Call) error) sdk.Handler {
	return func(c *sdk.Call) (sdk.Outcome, error) { return sdk.Next, do(c) }
}

func TestAsking(t *testing.T) {
	opt := sdktest.Options{
		API: func(req *sdk.APIRequest, resp *sdk.APIResponse) sdk.Status {
			switch req.Path {
			case "/refused":
				*resp = sdk.APIResponse{Status: 200, Errcode: 45015, Class: "user_state", Rid: "r-1", Body: []byte(`{"errcode":45015}`)}
				return hostapi.Upstream
			case "/slow":
				*resp = sdk.APIResponse{Error: "no answer in time", MaybeExecuted: true}
				return hostapi.Timeout
			}
			resp.Status, resp.Body = 200, req.Body
			return hostapi.OK
		},
		Fetch: func(req *sdk.FetchRequest, resp *sdk.FetchResponse) sdk.Status {
			if req.Upstream != "orders" {
				return hostapi.Denied
			}
			resp.Status = 404
			return hostapi.OK
		},
	}
	api := func(req sdk.APIRequest) func(c *sdk.Call) error {
		return func(c *sdk.Call) error { _, err := c.API(req); return err }
	}
	fetch := func(req sdk.FetchRequest) func(c *sdk.Call) error {
		return func(c *sdk.Call) error { _, err := c.Fetch(req); return err }
	}
	long := make([]byte, hostapi.MaxCallBody+1)
	for name, tt := range map[string]struct {
		do   func(c *sdk.Call) error
		want string
	}{
		"api": {func(c *sdk.Call) error {
			body, err := sdk.JSON(map[string]string{"a": "<字&>"})
			if err != nil {
				return err
			}
			resp, err := c.API(sdk.APIRequest{Method: "POST", Path: "/a", Body: body})
			if err == nil && string(resp.Body) != `{"a":"<字&>"}` {
				return errors.New(string(resp.Body))
			}
			return err
		}, ""},
		"fetch": {func(c *sdk.Call) error {
			resp, err := c.Fetch(sdk.FetchRequest{Upstream: "orders", Method: "GET"})
			if err == nil && resp.Status != 404 {
				return errors.New("another status")
			}
			return err
		}, ""},
		"refused":          {api(sdk.APIRequest{Method: "POST", Path: "/refused"}), "api /refused: errcode 45015 (user_state), rid r-1"},
		"slow":             {api(sdk.APIRequest{Method: "POST", Path: "/slow"}), "api /slow: TIMEOUT: no answer in time (it may have been executed)"},
		"no path":          {api(sdk.APIRequest{Method: "POST"}), "api : INVALID: the path doesn't begin with a slash"},
		"method":           {api(sdk.APIRequest{Method: "get", Path: "/a"}), "api /a: INVALID: the method is none of GET, HEAD, POST, PUT, PATCH and DELETE"},
		"body of a GET":    {api(sdk.APIRequest{Method: "GET", Path: "/a", Body: []byte("b")}), "api /a: INVALID: a GET has no body"},
		"not UTF-8":        {api(sdk.APIRequest{Method: "GET", Path: "/a\xff"}), "api /a\xff: INVALID: ApiRequest field 2: string is not UTF-8"},
		"large body":       {api(sdk.APIRequest{Method: "POST", Path: "/a", Body: long}), "api /a: TOO_LARGE: path, query or body is over its limit"},
		"another upstream": {fetch(sdk.FetchRequest{Upstream: "stock", Method: "GET"}), "fetch stock: DENIED"},
		"too many": {func(c *sdk.Call) error {
			var err error
			for range hostapi.MaxCalls + 1 {
				_, err = c.Fetch(sdk.FetchRequest{Upstream: "orders", Method: "GET"})
			}
			return err
		}, "fetch orders: LIMITED"},
	} {
		t.Run(name, func(t *testing.T) {
			err := sdktest.New(ask(tt.do), opt).Send(&sdk.Event{}).Err
			var status *sdk.StatusError
			if text := fmt.Sprint(err); err != nil && (text != tt.want || !errors.As(err, &status)) || err == nil && tt.want != "" {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for _, do := range []func(c *sdk.Call) error{api(sdk.APIRequest{Method: "GET", Path: "/a"}), fetch(sdk.FetchRequest{Upstream: "orders", Method: "GET"})} {
		var status *sdk.StatusError
		if err := sdktest.New(ask(do), sdktest.Options{}).Send(&sdk.Event{}).Err; !errors.As(err, &status) || status.Status != hostapi.Denied {
			t.Errorf("not granted: %v", err)
		}
	}
}
