package sandbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// TestFuel: a call ends when its fuel is used up, whatever its time, and one
// that answers says what it used.
func TestFuel(t *testing.T) {
	s := newSandbox(t, Options{})
	for i, limit := range []int64{1, 500, slice, slice + 1, 50 * slice} {
		spec := watSpec(t, "endless", "")
		spec.Limits = Limits{Fuel: limit, Timeout: time.Hour}
		p := load(t, s, spec)
		_, err := handle(p, userCall('f', i))
		if e := callError(t, err); e.Reason() != "fuel" || !strings.Contains(e.Text(), fmt.Sprintf("no answer within %d units of fuel", limit)) {
			t.Errorf("limit %d: %v", limit, err)
		}
		if got := p.Stats().Discards["fuel"]; got != 1 {
			t.Errorf("limit %d: %d instances discarded", limit, got)
		}
		if limit < 500 {
			continue // an event takes some
		}
		first, err := handle(p, textCall('0'))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got, err := handle(p, textCall('0')); err != nil || got.Fuel != first.Fuel || got.Fuel <= 0 {
				t.Errorf("limit %d: used %d, %v; before %d", limit, got.Fuel, err, first.Fuel)
			}
		}
	}
}

// TestRunToken: a call gives its token back, however it ends, and waits for
// none where its event ends before.
func TestRunToken(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "endless", "")
	spec.Limits = Limits{Fuel: 10 * slice, Timeout: time.Hour}
	p := load(t, s, spec)
	all := s.tokens.free
	for i := range all + 1 {
		if _, err := handle(p, userCall('f', i)); callError(t, err).Reason() != "fuel" {
			t.Fatal(err)
		}
	}
	if s.tokens.free != all {
		t.Errorf("%d tokens, then %d", all, s.tokens.free)
	}

	var other line
	for range all {
		s.tokens.take(&other, nil)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := p.Handle(ctx, textCall('f'))
	if e := callError(t, err); e.Reason() != "timeout" || !e.blameless {
		t.Errorf("without a token: %v", err)
	}
	if _, err := handle(p, textCall('0')); err != nil {
		t.Errorf("a call within its first slice: %v", err)
	}
	for range all {
		s.tokens.give()
	}
	if s.tokens.free != all || len(s.tokens.lines) != 0 {
		t.Errorf("%d tokens, then %d; %d lines", all, s.tokens.free, len(s.tokens.lines))
	}
}

// blockedState answers when its context ends.
type blockedState struct{ called chan struct{} }

func (s blockedState) State(ctx context.Context, _ StateCall, _ *hostapi.StateRequest, _ *hostapi.StateResponse) hostapi.Status {
	s.called <- struct{}{}
	<-ctx.Done()
	return hostapi.Timeout
}

// TestRunTokenWhileWaiting: while a host call waits for something else than the
// processor its token serves others, and it has one again behind it. Where the
// plugin is killed in it, the call ends and no token is lost.
func TestRunTokenWhileWaiting(t *testing.T) {
	for name, params := range map[string][]uint64{"state": {100, 5, 200, 0}, "poll_oneoff": {100, 200, 1, 90}, "sched_yield": nil} {
		t.Run(name, func(t *testing.T) {
			c := newCaller(t, event('0'))
			p := c.in.plugin
			state := blockedState{make(chan struct{}, 1)}
			p.state = state
			get := hostapi.StateRequest{Op: hostapi.StateGet, Key: "k"}
			request := map[string][]byte{"state": get.Append(nil), "poll_oneoff": clockSubscription(1, clockMonotonic, time.Hour, false)}[name]
			c.write(100, request)
			if name == "state" {
				params[1] = uint64(len(request))
			}
			all := p.sandbox.tokens.free
			c.in.bound.run()
			var others line
			for range all - 1 {
				p.sandbox.tokens.take(&others, nil)
			}
			turn := make(chan struct{}, 1)
			p.sandbox.tokens.take(&others, turn)
			done := make(chan error, 1)
			go func() {
				_, err := c.call(name, params...)
				done <- err
			}()
			select {
			case <-turn:
			case <-done:
				t.Fatal("it kept its token")
			}
			p.sandbox.tokens.give()
			if name == "state" {
				<-state.called
			}
			if name != "sched_yield" { // which ends by itself
				p.kill()
			}
			if err := <-done; (name == "poll_oneoff") != errors.As(err, new(stopped)) {
				t.Errorf("it ended with %v", err)
			}
			for range all - 1 {
				p.sandbox.tokens.give()
			}
			c.in.bound.finish()
			c.in.bound.begin(context.Background(), callerTime, defaultFuel)
			if got := p.sandbox.tokens.free; got != all || len(p.sandbox.tokens.lines) != 0 {
				t.Errorf("%d tokens, then %d", all, got)
			}
		})
	}
}

// TestKilled: a plugin whose Close may not wait stops what runs, also what
// waits for a token.
func TestKilled(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "endless", "")
	spec.Limits = Limits{Fuel: 1 << 60, Timeout: time.Hour, Instances: 3}
	p := load(t, s, spec)
	ended := make(chan error, 3)
	for range cap(ended) {
		go func() {
			_, err := handle(p, textCall('f'))
			ended <- err
		}()
	}
	for p.Stats().Instances != 3 || p.Stats().Idle != 0 { // all are in their calls
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close gave %v", err)
	}
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("a call ended with %v", err)
		}
	}
	<-p.closed
}

// TestHostCallLimits: a call makes so many host calls, gets so many bytes of
// responses and logs so many bytes.
func TestHostCallLimits(t *testing.T) {
	c := newStateCaller(t)
	limits := &c.in.plugin.limits
	limits.HostCalls = 3
	for range 3 {
		c.in.bound.hostCall()
	}
	func() {
		defer func() {
			if v, ok := recover().(stopped); !ok || !errors.Is(v.why, errHostCalls) {
				t.Errorf("one host call too many: %v", v)
			}
		}()
		c.in.bound.hostCall()
	}()
	if e := c.in.explain(errors.New("ended"), time.Second); e.Reason() != "trap" || e.Text() != "more than 3 host calls in one call" || !e.broken {
		t.Errorf("explained as %v", e)
	}

	limits.Response = 10
	c.state.value = make([]byte, 20)
	req := hostapi.StateRequest{Op: hostapi.StateGet, Key: "k"}
	get := req.Append(nil)
	if status, _ := c.stateCall(get, 100); status != hostapi.OK {
		t.Errorf("within the limit of responses: %s", status)
	}
	if status, _ := c.stateCall(get, 100); status != hostapi.Limited || c.state.calls != 1 {
		t.Errorf("over the limit of responses: %s after %d operations", status, c.state.calls)
	}
}

// TestLogBytes: a guest logs so many bytes in a call, and a last line says that
// the rest is dropped.
func TestLogBytes(t *testing.T) {
	var logs logLines
	spec := watSpec(t, "log-flood", "")
	spec.Limits.Log = 20 // its lines have 8 bytes
	p := load(t, newSandbox(t, Options{Logger: logs.logger()}), spec)
	if _, err := handle(p, textCall('0')); err != nil {
		t.Fatal(err)
	}
	if lines, cut := logs.lines(t, "plugin log"), logs.lines(t, "plugin log cut"); len(lines) != 2 || len(cut) != 1 || !strings.Contains(cut[0].Line, "than 20B") {
		t.Errorf("%d lines, cut %+v", len(lines), cut)
	}
}
