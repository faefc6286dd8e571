package sandbox

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// fakeState answers get with the value that it holds, and OK to the rest.
type fakeState struct {
	scope StateCall
	req   hostapi.StateRequest
	value []byte
	calls int
}

func (s *fakeState) State(_ context.Context, scope StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status {
	s.scope, s.req = scope, *req
	s.calls++
	if req.Op != hostapi.StateGet {
		return hostapi.OK
	}
	if s.value == nil {
		return hostapi.NotFound
	}
	resp.Value = s.value
	return hostapi.OK
}

// state makes a state call with its request at 100 and room bytes at 200000
// for the response.
func (c *caller) stateCall(req []byte, room uint64) (hostapi.Status, uint32) {
	c.t.Helper()
	c.write(100, req)
	got, trap := c.call("state", 100, uint64(len(req)), 200000, room)
	if trap != nil {
		c.t.Fatal(trap)
	}
	return hostapi.Status(got >> 32), uint32(got)
}

func newStateCaller(t testing.TB) *caller {
	c := newCaller(t, event('0'))
	if _, ok := c.in.memory.Grow(7); !ok {
		t.Fatal("no memory")
	}
	return c
}

func TestStateRequests(t *testing.T) {
	key, value := strings.Repeat("k", hostapi.MaxStateKey), make([]byte, hostapi.MaxStateValue)
	once := strings.Repeat("o", hostapi.MaxStateOnce)
	for name, tc := range map[string]struct {
		req    hostapi.StateRequest
		noUser bool
		want   hostapi.Status
		text   string
	}{
		"get nothing":       {req: hostapi.StateRequest{Op: hostapi.StateGet, Key: "k"}, want: hostapi.NotFound},
		"set":               {req: hostapi.StateRequest{Op: hostapi.StateSet, Key: key, Value: value, Once: once, TTLMS: 1}, want: hostapi.OK},
		"delete":            {req: hostapi.StateRequest{Op: hostapi.StateDelete, Key: "k", Once: "a"}, want: hostapi.OK},
		"add":               {req: hostapi.StateRequest{Op: hostapi.StateAdd, Scope: hostapi.ScopeUser, Key: "k", Delta: -3}, want: hostapi.OK},
		"compare-and-set":   {req: hostapi.StateRequest{Op: hostapi.StateCompareAndSet, Key: key, Value: value, Expect: value}, want: hostapi.OK},
		"no operation":      {req: hostapi.StateRequest{Key: "k"}, want: hostapi.Invalid, text: "unknown operation 0"},
		"unknown operation": {req: hostapi.StateRequest{Op: 6, Key: "k"}, want: hostapi.Invalid, text: "unknown operation 6"},
		"unknown scope":     {req: hostapi.StateRequest{Op: hostapi.StateGet, Scope: 2, Key: "k"}, want: hostapi.Invalid, text: "unknown scope 2"},
		"no user":           {req: hostapi.StateRequest{Op: hostapi.StateGet, Scope: hostapi.ScopeUser, Key: "k"}, noUser: true, want: hostapi.Invalid, text: "scope user, but the event is about no user"},
		"no key":            {req: hostapi.StateRequest{Op: hostapi.StateGet}, want: hostapi.Invalid, text: "the key is empty"},
		"negative ttl":      {req: hostapi.StateRequest{Op: hostapi.StateSet, Key: "k", TTLMS: -1}, want: hostapi.Invalid, text: "ttl_ms is negative"},
		"once of a get":     {req: hostapi.StateRequest{Op: hostapi.StateGet, Key: "k", Once: "a"}, want: hostapi.Invalid, text: "once goes with set, delete and add only"},
		"long key":          {req: hostapi.StateRequest{Op: hostapi.StateGet, Key: key + "k"}, want: hostapi.TooLarge},
		"long value":        {req: hostapi.StateRequest{Op: hostapi.StateSet, Key: "k", Value: append(value, 0)}, want: hostapi.TooLarge},
		"long expectation":  {req: hostapi.StateRequest{Op: hostapi.StateCompareAndSet, Key: "k", Expect: append(value, 0)}, want: hostapi.TooLarge},
		"long once":         {req: hostapi.StateRequest{Op: hostapi.StateSet, Key: "k", Once: once + "o"}, want: hostapi.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			c := newStateCaller(t)
			if tc.noUser {
				c.in.call.event.User = ""
			}
			status, n := c.stateCall(tc.req.Append(nil), 1000)
			if status != tc.want {
				t.Errorf("status %s, want %s", status, tc.want)
			}
			var resp hostapi.StateResponse
			if err := resp.Decode(c.read(200000, uint64(n))); err != nil || resp.Error != tc.text {
				t.Errorf("response %+v, %v; want the text %q", resp, err, tc.text)
			}
			passed := tc.want == hostapi.OK || tc.want == hostapi.NotFound
			if passed != (c.state.calls == 1) {
				t.Errorf("%d operations", c.state.calls)
			}
			want := StateCall{Plugin: "empty", App: "shop", User: "oFrom", EventID: event('0').ID, Quota: hostapi.DefaultStateQuota}
			if passed && (c.state.scope != want || fmt.Sprint(c.state.req) != fmt.Sprint(tc.req)) {
				t.Errorf("asked %+v for %+v", c.state.req, c.state.scope)
			}
		})
	}
}

func TestStateBroken(t *testing.T) {
	c := newStateCaller(t)
	status, n := c.stateCall([]byte{0x0a}, 1000)
	var resp hostapi.StateResponse
	if err := resp.Decode(c.read(200000, uint64(n))); status != hostapi.Invalid || err != nil || resp.Error == "" {
		t.Errorf("broken request: %s, %+v, %v", status, resp, err)
	}
	if status, n := c.stateCall(make([]byte, maxStateRequest+1), 0); status != hostapi.TooLarge || n != 0 {
		t.Errorf("endless request: %s, %d", status, n)
	}
	if c.state.calls != 0 {
		t.Errorf("%d operations", c.state.calls)
	}
}

// TestResponse: what doesn't fit is kept until the next request-form call.
func TestResponse(t *testing.T) {
	c := newStateCaller(t)
	c.state.value = []byte("0123456789")
	get := (&hostapi.StateRequest{Op: hostapi.StateGet, Key: "k"}).Append(nil)
	want := (&hostapi.StateResponse{Value: c.state.value}).Append(nil)
	size := uint64(len(want))

	c.want(-1, "response", 300000, 100)
	if status, n := c.stateCall(get, size); status != hostapi.OK || uint64(n) != size || string(c.read(200000, size)) != string(want) {
		t.Errorf("it fits exactly: %s, %d", status, n)
	}
	c.want(-1, "response", 300000, 100)

	c.write(200000, make([]byte, size))
	if status, n := c.stateCall(get, size-1); status != hostapi.OK || uint64(n) != size || c.read(200000, 1)[0] != 0 {
		t.Errorf("it doesn't fit: %s, %d", status, n)
	}
	for range 2 {
		c.want(int64(size), "response", 300000, size-1)
		if c.read(300000, 1)[0] != 0 {
			t.Error("wrote where it doesn't fit")
		}
	}
	for range 2 { // it stays
		c.want(int64(size), "response", 300000, size)
		if string(c.read(300000, size)) != string(want) {
			t.Error("the kept response is another")
		}
	}
	for _, next := range []string{"state", "send"} {
		c.stateCall(get, 0)
		c.want(int64(size), "response", 0, 0)
		if _, trap := c.call(next, 100, 0, 200000, 1000); trap != nil {
			t.Fatal(trap)
		}
		c.want(-1, "response", 300000, 100)
	}
}

func TestStateLimits(t *testing.T) {
	c := newStateCaller(t)
	get := (&hostapi.StateRequest{Op: hostapi.StateGet, Key: "k"}).Append(nil)
	for range hostapi.MaxStateOps {
		if status, _ := c.stateCall(get, 0); status != hostapi.NotFound {
			t.Fatal(status)
		}
	}
	if status, _ := c.stateCall(get, 0); status != hostapi.Limited {
		t.Errorf("one too many: %s", status)
	}
	c.in.call.stateOps = 0
	c.in.plugin.grants.State = false
	if status, _ := c.stateCall(get, 0); status != hostapi.Denied {
		t.Errorf("not granted: %s", status)
	}
	c.in.plugin.grants.State = true
	c.in.bound.deadline = c.in.bound.now() - time.Second
	if status, _ := c.stateCall(get, 0); status != hostapi.Timeout {
		t.Errorf("no time left: %s", status)
	}
	if c.state.calls != hostapi.MaxStateOps {
		t.Errorf("%d operations", c.state.calls)
	}
}

// panicState is a host that breaks.
type panicState struct{}

func (panicState) State(_ context.Context, scope StateCall, _ *hostapi.StateRequest, _ *hostapi.StateResponse) hostapi.Status {
	return []hostapi.Status{}[len(scope.Plugin)]
}

// TestHostPanic: a host call that panics ends one call of one plugin.
func TestHostPanic(t *testing.T) {
	var logs logLines
	spec := watSpec(t, "state-call", "capabilities: { state: { why: tries } }")
	spec.Grants, spec.State = Grants{State: true}, panicState{}
	p := load(t, newSandbox(t, Options{Logger: logs.logger()}), spec)
	for range 2 {
		_, err := handle(p, textCall('0'))
		if e := callError(t, err); e.Reason() != "trap" || err.Error() != "plugin state-call: trap: a host call panicked" {
			t.Errorf("got %v", err)
		}
	}
	lines := logs.lines(t, "plugin instance discarded")
	if len(lines) != 2 || !strings.Contains(lines[0].Trace, "panicState") {
		t.Errorf("logged %+v", lines)
	}
}

// TestHostPanicOutside: a panic of the host's beside a call into the guest, or at
// the start of an instance, ends one call of one plugin, too, and leaves nothing.
func TestHostPanicOutside(t *testing.T) {
	for _, tt := range []struct {
		what, trace string
		breaks      func(p *Plugin)
	}{
		{"start", "newInstance", func(p *Plugin) {
			module := *p.module
			module.Fuel = "no such global"
			p.module = &module
			p.pool.shared.idle[0].wear.calls = maxCalls // it is not used again
		}},
		{"event", "putEvent", func(p *Plugin) { p.manifest = nil }},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var logs logLines
			p := load(t, newSandbox(t, Options{Logger: logs.logger()}), watSpec(t, "empty", ""))
			tt.breaks(p)
			if tt.what == "start" {
				if _, err := handle(p, textCall('0')); err != nil {
					t.Fatal(err)
				}
			}
			_, err := handle(p, textCall('0'))
			if e := callError(t, err); e.Reason() != "trap" || e.Text() != "the host panicked" {
				t.Errorf("got %v", err)
			}
			lines := logs.lines(t, "plugin instance discarded")
			if len(lines) != 1 || !strings.Contains(lines[0].Trace, tt.trace) {
				t.Errorf("logged %+v", lines)
			}
			if s := p.Stats(); s.Instances != 0 || s.Memory != 0 || s.Discards["trap"] != 1 || p.pool.shared.held != 0 {
				t.Errorf("left: %+v", s)
			}
		})
	}
}
