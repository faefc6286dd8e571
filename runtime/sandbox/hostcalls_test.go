package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/weft-dev/weft/hostapi"
)

// caller makes host calls as a guest with one page of memory would, without
// one's code.
type caller struct {
	t     testing.TB
	in    *instance
	state *fakeState
	host  map[string]guestCall
}

// newCaller gives a caller in the middle of a weft_handle for an event.
func newCaller(t testing.TB, ev *hostapi.Event) *caller {
	t.Helper()
	state := &fakeState{}
	spec := watSpec(t, "empty", "capabilities: { state: { why: tries }, api: { why: tries }, fetch: { why: tries, upstreams: { orders: lists, stock: counts } } }")
	spec.Grants, spec.State = Grants{State: true, API: true, Fetch: []string{"stock", "orders"}}, state
	c := callerOf(t, load(t, newSandbox(t, Options{}), spec), ev)
	c.state = state
	return c
}

// callerTime is how long the call of a caller may take.
const callerTime = time.Minute

// callerOf gives a caller on an instance of a plugin.
func callerOf(t testing.TB, p *Plugin, ev *hostapi.Event) *caller {
	t.Helper()
	in, err := p.acquire(context.Background(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	in.bound.begin(context.Background(), callerTime, defaultFuel)
	in.call = callState{phase: phaseHandle, config: []byte(`{"a":1}`), event: ev, passive: true}
	c := &caller{t: t, in: in, host: map[string]guestCall{}}
	for _, m := range []hostModule{weftModule(), wasiModule()} {
		for _, f := range m.funcs {
			c.host[f.name] = f.call
		}
	}
	t.Cleanup(func() {
		in.bound.finish()
		p.giveBack(context.Background(), in, "shop", nil)
	})
	return c
}

// call makes a host call; trap is what ended the guest, nil where nothing did.
func (c *caller) call(name string, params ...uint64) (result uint64, trap error) {
	defer func() {
		if v := recover(); v != nil {
			err, ok := v.(error)
			var pointer *badPointer
			if !ok || !errors.As(err, &pointer) && !errors.As(err, new(*guestExit)) && !errors.As(err, new(stopped)) {
				panic(v)
			}
			trap = err
		}
	}()
	stack := append(slices.Clone(params), 0)
	c.host[name](c.in, stack)
	return stack[0], nil
}

// want makes a host call and holds its result.
func (c *caller) want(result int64, name string, params ...uint64) {
	c.t.Helper()
	got, trap := c.call(name, params...)
	if trap != nil || got != uint64(result) && api.DecodeI32(got) != int32(result) {
		c.t.Errorf("%s%v: got %#x, %v; want %#x", name, params, got, trap, result)
	}
}

func (c *caller) write(at uint64, b []byte) {
	c.t.Helper()
	if !c.in.memory.Write(uint32(at), b) {
		c.t.Fatalf("%d bytes at %d", len(b), at)
	}
}

func (c *caller) read(at, n uint64) []byte {
	c.t.Helper()
	b, ok := c.in.memory.Read(uint32(at), uint32(n))
	if !ok {
		c.t.Fatalf("%d bytes at %d", n, at)
	}
	return slices.Clone(b)
}

// TestPointers puts each pointer of each host call at each boundary of the
// memory. A range of length 0 is never outside.
func TestPointers(t *testing.T) {
	const size = pageSize
	calls := []struct {
		name string
		// params of a call whose other ranges are empty, with its range (at, n)
		params func(at, n uint64) []uint64
	}{
		{"log", func(at, n uint64) []uint64 { return []uint64{1, at, n} }},
		{"fail", func(at, n uint64) []uint64 { return []uint64{at, n} }},
		{"config", func(at, n uint64) []uint64 { return []uint64{at, n} }},
		{"reply", func(at, n uint64) []uint64 { return []uint64{at, n} }},
		{"annotate", func(at, n uint64) []uint64 { return []uint64{at, n, 0, 0} }},
		{"annotate", func(at, n uint64) []uint64 { return []uint64{0, 0, at, n} }},
		{"state", func(at, n uint64) []uint64 { return []uint64{at, n, 0, 0} }},
		{"state", func(at, n uint64) []uint64 { return []uint64{0, 0, at, n} }},
		{"api", func(at, n uint64) []uint64 { return []uint64{at, n, 0, 0} }},
		{"api", func(at, n uint64) []uint64 { return []uint64{0, 0, at, n} }},
		{"fetch", func(at, n uint64) []uint64 { return []uint64{at, n, 0, 0} }},
		{"fetch", func(at, n uint64) []uint64 { return []uint64{0, 0, at, n} }},
		{"response", func(at, n uint64) []uint64 { return []uint64{at, n} }},
	}
	ranges := []struct {
		at, n uint64
		trap  bool
	}{
		{0, 0, false},
		{size - 1, 0, false},
		{size, 0, false},
		{size + 1, 0, false},
		{0xffffffff, 0, false},
		{0, 1, false},
		{0, size, false},
		{size - 1, 1, false},
		{size - 5, 5, false},
		{0, size + 1, true},
		{0, 0xffffffff, true},
		{1, size, true},
		{size - 1, 2, true},
		{size, 1, true},
		{size + 1, 1, true},
		{0x7fffffff, 0x7fffffff, true},
		{0x80000000, 1, true},
		{0xffffffff, 1, true},
		{0xffffffff, 0xffffffff, true},
	}
	for i, call := range calls {
		c := newCaller(t, event('0'))
		c.in.call.config = []byte{}
		for _, r := range ranges {
			t.Run(fmt.Sprintf("%s/%d/%d+%d", call.name, i, r.at, r.n), func(t *testing.T) {
				c.in.call.response, c.in.call.kept = []byte("kept"), true
				_, trap := c.call(call.name, call.params(r.at, r.n)...)
				if (trap != nil) != r.trap {
					t.Errorf("ended the guest: %v; want %v", trap, r.trap)
				}
			})
		}
	}
}

// TestPhases holds which calls which exports may make.
func TestPhases(t *testing.T) {
	c := newCaller(t, event('0'))
	const denied, outside = int64(hostapi.Denied), 0xfffffff0
	for _, p := range []phase{phaseStart, phaseCheck} {
		c.in.call = callState{phase: p}
		c.want(denied, "reply", outside, 9)
		c.want(denied, "annotate", outside, 9, outside, 9)
		c.want(denied<<32, "state", outside, 9, outside, 9)
		c.want(denied<<32, "send", outside, 9, outside, 9)
		c.want(denied<<32, "api", outside, 9, outside, 9)
		c.want(denied<<32, "fetch", outside, 9, outside, 9)
		c.want(-1, "config", outside, 9)
		c.want(-1, "response", outside, 9)
		if _, trap := c.call("log", 1, 0, 5); trap != nil {
			t.Error(trap)
		}
		if _, trap := c.call("fail", 0, 5); trap != nil || !c.in.call.failed {
			t.Error("fail is not let through:", trap)
		}
	}
	c.in.call = callState{phase: phaseCheck, config: []byte("{}")}
	c.want(2, "config", 100, 9)
}

func TestConfigCall(t *testing.T) {
	c := newCaller(t, event('0')) // its config is {"a":1}, 7 bytes
	c.write(100, []byte("XXXXXXXXXX"))
	c.want(7, "config", 0xfffffff0, 0)
	c.want(7, "config", 100, 6)
	if got := c.read(100, 10); string(got) != "XXXXXXXXXX" {
		t.Errorf("wrote %q where it doesn't fit", got)
	}
	c.want(7, "config", 100, 8)
	if got := c.read(100, 10); string(got) != `{"a":1}XXX` {
		t.Errorf("wrote %q", got)
	}
}

func TestReplyCall(t *testing.T) {
	encode := func(r hostapi.Reply) []byte { return r.Append(nil) }
	text := encode(hostapi.Reply{Text: &hostapi.Text{Content: "hi"}})
	for name, tc := range map[string]struct {
		appType string
		async   bool
		reply   []byte
		want    hostapi.Status
	}{
		"text":                  {reply: text, want: hostapi.OK},
		"raw":                   {reply: encode(hostapi.Reply{Raw: &hostapi.Raw{Body: []byte("<xml/>")}}), want: hostapi.OK},
		"taken back":            {reply: nil, want: hostapi.OK},
		"not passive":           {async: true, reply: text, want: hostapi.Invalid},
		"not passive, no reply": {async: true, reply: nil, want: hostapi.Invalid},
		"broken":                {reply: []byte{0x0a, 0x09}, want: hostapi.Invalid},
		"a body of the future":  {reply: []byte{0xa2, 0x06, 0x00}, want: hostapi.Invalid},
		"largest":               {reply: encode(hostapi.Reply{Text: &hostapi.Text{Content: strings.Repeat("x", hostapi.MaxReply-8)}}), want: hostapi.OK},
		"too large":             {reply: slices.Repeat([]byte{0}, hostapi.MaxReply+1), want: hostapi.TooLarge},
		"mini program text":     {appType: "miniprogram", reply: text, want: hostapi.Unavailable},
		"mini program transfer": {appType: "miniprogram", reply: encode(hostapi.Reply{Transfer: &hostapi.Transfer{}}), want: hostapi.OK},
		"mini program raw":      {appType: "miniprogram", reply: encode(hostapi.Reply{Raw: &hostapi.Raw{}}), want: hostapi.OK},
	} {
		t.Run(name, func(t *testing.T) {
			ev := event('0')
			if tc.appType != "" {
				ev.AppType = tc.appType
			}
			c := newCaller(t, ev)
			c.in.memory.Grow(1)
			c.in.call.passive = !tc.async
			c.in.call.result.Reply = &hostapi.Reply{Text: &hostapi.Text{Content: "earlier"}}
			c.write(100, tc.reply)
			c.want(int64(tc.want), "reply", 100, uint64(len(tc.reply)))
			got := c.in.call.result
			if tc.want != hostapi.OK {
				if got.ReplySet || got.Reply.Text.Content != "earlier" {
					t.Errorf("a refused reply left %+v", got)
				}
				return
			}
			if !got.ReplySet || (got.Reply == nil) != (len(tc.reply) == 0) {
				t.Errorf("set %+v", got)
			}
			if got.Reply != nil && string(got.Reply.Append(nil)) != string(tc.reply) {
				t.Errorf("set %+v", got.Reply)
			}
		})
	}
}

func TestAnnotateCall(t *testing.T) {
	c := newCaller(t, event('0'))
	c.write(100, []byte(strings.Repeat("n", 2000)))
	c.write(3000, []byte("\xff"))
	c.want(int64(hostapi.Invalid), "annotate", 100, 0, 100, 1)
	c.want(int64(hostapi.Invalid), "annotate", 3000, 1, 100, 1)
	c.want(int64(hostapi.Invalid), "annotate", 100, 1, 3000, 1)
	c.want(int64(hostapi.TooLarge), "annotate", 100, 1025, 100, 1)
	c.want(int64(hostapi.TooLarge), "annotate", 100, 1, 100, 1025)
	c.want(int64(hostapi.OK), "annotate", 100, 1024, 100, 1024)
	c.in.call.earlier = 60
	for range 3 {
		c.want(int64(hostapi.OK), "annotate", 100, 1, 100, 0)
	}
	c.want(int64(hostapi.Limited), "annotate", 100, 1, 100, 1)
	if n := len(c.in.call.result.Annotations); n != 4 {
		t.Errorf("%d annotations", n)
	}
}

func TestFailCall(t *testing.T) {
	c := newCaller(t, event('0'))
	c.write(100, []byte(strings.Repeat("é", 4000)))
	for _, call := range [][2]uint64{{100, 8000}, {100, 4}} { // the last one counts
		if _, trap := c.call("fail", call[0], call[1]); trap != nil {
			t.Fatal(trap)
		}
		if want := strings.Repeat("é", int(min(call[1], hostapi.MaxText))/2); c.in.call.failText() != want {
			t.Errorf("the reason has %d bytes, want %d", len(c.in.call.failText()), len(want))
		}
	}
	if _, trap := c.call("fail", 0, 0); trap != nil || c.in.call.failText() != "it gave no reason" {
		t.Errorf("an empty reason: %q, %v", c.in.call.failText(), trap)
	}
}

// FuzzHostCalls makes any host call with any parameters: it ends in a result or
// in one of the three ways to end a guest, and never changes the memory
// elsewhere than in the ranges that it was given.
func FuzzHostCalls(f *testing.F) {
	names := func() (names []string) {
		for _, m := range []hostModule{weftModule(), wasiModule()} {
			for _, fn := range m.funcs {
				if fn.name != "poll_oneoff" { // it waits
					names = append(names, m.name+"."+fn.name)
				}
			}
		}
		return names
	}()
	for i := range names {
		f.Add(uint8(i), uint32(1), uint32(100), uint32(10), uint32(200), []byte("\x08\x01\x1a\x01k"))
		f.Add(uint8(i), uint32(100), uint32(17), uint32(10), uint32(80), []byte("\x0a\x06orders\x12\x03GET\x1a\x02/a"))
		f.Add(uint8(i), uint32(65530), uint32(10), uint32(0xffffffff), uint32(1), []byte{})
	}
	c := newCaller(f, event('0'))
	before := make([]byte, pageSize)
	ways := &fakeWays{api: hostapi.APIResponse{Status: 200, Body: []byte("{}")}, fetch: hostapi.FetchResponse{Status: 404}}
	f.Fuzz(func(t *testing.T, call uint8, a, b, d, e uint32, at100 []byte) {
		c.t = t
		c.in.call = callState{phase: phaseHandle, config: []byte("{}"), event: event('0'), passive: true, response: []byte("kept"), kept: true}
		c.in.call.api, c.in.call.fetch = ways, ways
		memory := c.read(0, pageSize)
		copy(memory[100:], at100)
		c.write(0, memory)
		copy(before, memory)
		name := names[int(call)%len(names)]
		module, function, _ := strings.Cut(name, ".")
		params := []uint64{uint64(a), uint64(b), uint64(d), uint64(e), 0, 0, 0, 0, 0}
		_, trap := c.call(function, params...)
		after := c.read(0, pageSize)
		if module != hostapi.Module {
			return // WASI writes where pointers in memory say
		}
		first, last := changed(before, after)
		if first < 0 {
			return
		}
		var from, room uint32
		switch function {
		case "config", "response":
			from, room = a, b
		case "state", "api", "fetch":
			from, room = d, e
		}
		if trap != nil || uint32(first) < from || uint64(last) >= uint64(from)+uint64(room) {
			t.Errorf("%s(%d, %d, %d, %d) changed bytes %d to %d, %v", name, a, b, d, e, first, last, trap)
		}
	})
}

// changed gives the first and the last byte that differ, -1 where none does.
func changed(a, b []byte) (first, last int) {
	first, last = -1, -1
	for i := range a {
		if a[i] != b[i] {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return first, last
}
