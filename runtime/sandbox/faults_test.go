package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// faults are guests that misbehave for an event whose id begins with f, and
// answer next to any other.
var faults = []struct {
	guest   string
	reason  string
	text    string // a part of the error's
	discard bool
}{
	{"trap", "trap", "unreachable", true},
	{"divide", "trap", "integer divide by zero", true},
	{"recursion", "trap", "call stack: its calls go deeper than the stack it may use", true},
	{"endless", "timeout", "no answer within 100ms", true},
	{"sleep", "timeout", "no answer within 100ms", true},
	{"memory-trap", "memory", "it was refused memory over its limit of 2MiB and gave up: ", true},
	{"memory-huge", "memory", "it was refused memory over its limit of 2MiB: it gave no reason", true},
	{"outcome", "error", "weft_handle returned 7; 0 (next), 1 (done) and 2 (error) are known", true},
	{"fail", "error", `no such \x1btea`, false},
	{"exit", "trap", "it ended itself with proc_exit(3)", true},
	{"bad-pointer", "trap", "log: pointer 65530, length 7 is outside the plugin's memory of 65536 bytes", true},
}

// TestFaults: each misdeed gives a clear error, and neither the plugin's later
// events nor its neighbour feel it.
func TestFaults(t *testing.T) {
	s := newSandbox(t, Options{})
	neighbour := load(t, s, watSpec(t, "done", ""))
	for _, tc := range faults {
		t.Run(tc.guest, func(t *testing.T) {
			t.Parallel()
			spec := watSpec(t, tc.guest, "")
			spec.Limits = Limits{Memory: 2 << 20, Timeout: 5 * time.Minute, Instances: 1}
			if tc.reason == "timeout" {
				spec.Limits.Timeout = 100 * time.Millisecond
			}
			p := load(t, s, spec)
			for range 2 {
				_, err := handle(p, textCall('f'))
				e := callError(t, err)
				if e.Reason() != tc.reason || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), "plugin "+tc.guest) {
					t.Errorf("got %s %q, want %s %q", e.Reason(), err, tc.reason, tc.text)
				}
				if got, err := handle(p, textCall('0')); err != nil || got.Outcome != hostapi.Next {
					t.Errorf("the next event: %v, %v", got, err)
				}
				if got, err := handle(neighbour, textCall('f')); err != nil || got.Outcome != hostapi.Done {
					t.Errorf("the neighbour: %v, %v", got, err)
				}
			}
			want := Stats{Instances: 1, Idle: 1, Memory: int64(p.pool.shared.idle[0].memory.Size()), Calls: 4, Failed: zeroCounts(), Discards: zeroDiscards()}
			want.Failed[tc.reason] = 2
			if tc.discard {
				want.Discards[tc.reason] = 2
			}
			got := p.Stats()
			if got.LastFailure == nil || got.LastFailure.Reason != tc.reason || got.Fuel == 0 || got.GuestTime <= 0 {
				t.Errorf("stats %+v", got)
			}
			// Of what is left only the counts are the same each time.
			got = Stats{Instances: got.Instances, Idle: got.Idle, Waiting: got.Waiting, Memory: got.Memory, Calls: got.Calls, Failed: got.Failed, Discards: got.Discards}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("stats %v, want %v", got, want)
			}
		})
	}
}

func zeroCounts() map[string]uint64 {
	m := map[string]uint64{}
	for r := range reasonCount {
		m[r.String()] = 0
	}
	return m
}

// zeroDiscards is no instance discarded, of any reason.
func zeroDiscards() map[string]uint64 {
	m := zeroCounts()
	for w := notWorn + 1; w < wornCount; w++ {
		m[w.String()] = 0
	}
	return m
}

// TestTrapTrace: the log tells where the guest fell.
func TestTrapTrace(t *testing.T) {
	var logs logLines
	p := load(t, newSandbox(t, Options{Logger: logs.logger()}), watSpec(t, "trap", ""))
	if _, err := handle(p, textCall('f')); err == nil {
		t.Fatal("no error")
	}
	lines := logs.lines(t, "plugin instance discarded")
	if len(lines) != 1 || lines[0].Plugin != "trap" || lines[0].Reason != "trap" || lines[0].App != "shop" || lines[0].EventID != event('f').ID || !strings.Contains(lines[0].Trace, "wasm stack trace") {
		t.Errorf("logged %+v", lines)
	}
}

// TestMemoryRefused: a guest that lives with a refusal is left alone.
func TestMemoryRefused(t *testing.T) {
	p := load(t, newSandbox(t, Options{}), watSpec(t, "memory-refused", ""))
	if _, err := handle(p, textCall('f')); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Instances != 1 || s.Idle != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestEventTime: the event's own deadline ends a call before the plugin's
// timeout does, and so does giving the event up.
func TestEventTime(t *testing.T) {
	p := load(t, newSandbox(t, Options{}), watSpec(t, "endless", ""))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Handle(ctx, textCall('f'))
	if e := callError(t, err); e.Reason() != "timeout" || !strings.Contains(err.Error(), "the event's time ran out before it answered") {
		t.Errorf("got %q", err)
	}
	given, giveUp := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, giveUp)
	_, err = p.Handle(given, textCall('f'))
	if e := callError(t, err); e.Reason() != "timeout" || !strings.Contains(err.Error(), "the event was given up before it answered") {
		t.Errorf("got %q", err)
	}
	_, err = p.Handle(given, textCall('0'))
	if e := callError(t, err); e.Reason() != "busy" {
		t.Errorf("an event whose time is over: %q", err)
	}
}

// TestFailedCallLeavesNothing: neither a reply nor an annotation of a call that
// ends in an error is given.
func TestFailedCallLeavesNothing(t *testing.T) {
	p := load(t, newSandbox(t, Options{}), watSpec(t, "reply", ""))
	for id, reason := range map[byte]string{'b': "error", 'f': "trap"} {
		got, err := handle(p, textCall(id))
		if e := callError(t, err); e.Reason() != reason {
			t.Errorf("%c: reason %s, want %s", id, e.Reason(), reason)
		}
		if got.Reply != nil || got.ReplySet || got.Annotations != nil {
			t.Errorf("%c: left %+v", id, got)
		}
	}
	got, err := handle(p, textCall('0'))
	if err != nil || got.Outcome != hostapi.Done || !got.ReplySet || got.Reply.Text.Content != "hi" || !slices.Equal(got.Annotations, []hostapi.Field{{Name: "tag"}}) {
		t.Errorf("the next event: %+v, %v", got, err)
	}
	got, err = handle(p, textCall('a'))
	if err != nil || !got.ReplySet || got.Reply != nil {
		t.Errorf("reply taken back: %+v, %v", got, err)
	}
}

// TestEarlyCalls: _initialize, weft_start and weft_buffer may only log and fail.
func TestEarlyCalls(t *testing.T) {
	spec := watSpec(t, "early-calls", "capabilities: { state: { why: tries } }")
	spec.Grants, spec.State = Grants{State: true}, noState{}
	p := load(t, newSandbox(t, Options{}), spec)
	call := textCall('0')
	call.Event.Content = strings.Repeat("x", 20000) // so that weft_buffer runs in the middle of Handle, too
	if got, err := handle(p, call); err != nil || got.Outcome != hostapi.Done {
		t.Errorf("got %v, %v", got, err)
	}
}

type noState struct{}

func (noState) State(context.Context, StateCall, *hostapi.StateRequest, *hostapi.StateResponse) hostapi.Status {
	return hostapi.Unavailable
}

func TestLogFlood(t *testing.T) {
	var logs logLines
	p := load(t, newSandbox(t, Options{Logger: logs.logger()}), watSpec(t, "log-flood", ""))
	if _, err := handle(p, textCall('0')); err != nil {
		t.Fatal(err)
	}
	lines := logs.lines(t, "plugin log")
	if len(lines) != maxCallLines || lines[0] != (logged{Level: "INFO", Msg: "plugin log", Plugin: "log-flood", App: "shop", EventID: textCall('0').Event.ID, Line: "me again"}) {
		t.Errorf("%d lines, the first %+v", len(lines), lines[0])
	}
	if cut := logs.lines(t, "plugin log cut"); len(cut) != 1 {
		t.Errorf("said %d times that lines are dropped", len(cut))
	}
}

// TestEventSizes: the guest gets what the event says, in a buffer of its own
// making.
func TestEventSizes(t *testing.T) {
	p := load(t, newSandbox(t, Options{}), watSpec(t, "large-buffer", ""))
	for _, n := range []int{0, 1, hostapi.InitialBuffer - 200, hostapi.InitialBuffer, 70000, 1 << 20, 100, 1 << 20} {
		call := textCall('0')
		call.Event.Content = strings.Repeat("x", n)
		if _, err := handle(p, call); err != nil {
			t.Errorf("content of %d bytes: %v", n, err)
		}
	}
	if s := p.Stats(); s.Instances != 1 {
		t.Errorf("stats %+v", s)
	}
	call := textCall('0')
	call.Event.Content = strings.Repeat("x", 17<<20)
	_, err := handle(p, call)
	if e := callError(t, err); e.Reason() != "memory" {
		t.Errorf("an event larger than the memory: %v", err)
	}
	call.Event.Content = strings.Repeat("x", 15<<20)
	_, err = handle(p, call)
	if e := callError(t, err); e.Reason() != "memory" {
		t.Errorf("an event for which there is no room: %v", err)
	}
	if _, err := handle(p, textCall('0')); err != nil {
		t.Errorf("the next event: %v", err)
	}
}

func TestNoConfig(t *testing.T) {
	p := load(t, newSandbox(t, Options{}), watSpec(t, "empty", ""))
	call := textCall('0')
	call.Event.App = "other"
	_, err := handle(p, call)
	if !errors.Is(err, ErrNoConfig) || callError(t, err).Reason() != "error" {
		t.Errorf("got %v", err)
	}
}
