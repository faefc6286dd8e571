package sandbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// TestConfigs: 40 apps share one plugin, each sees its own config, and one
// that weft_check refuses takes out its apps alone.
func TestConfigs(t *testing.T) {
	var logs logLines
	p := load(t, newSandbox(t, Options{Logger: logs.logger()}), watSpec(t, "config", ""))
	configs := map[string]Config{}
	for i := range 40 {
		json := fmt.Sprintf(`{"n":%d}`, i/2) // two apps each
		if i >= 38 {
			json = "!broken"
		}
		configs[fmt.Sprintf("app%d", i)] = Config{JSON: []byte(json), ID: uint64(i / 2)}
	}
	failed := p.SetConfigs(context.Background(), configs)
	if len(failed) != 2 || failed["app38"] == nil || !strings.Contains(failed["app39"].Error(), "config refused: exclaimed") {
		t.Errorf("failed %v", failed)
	}
	checks := 0
	for _, text := range logs.texts(t) {
		if strings.HasPrefix(text, "DEBUG ") {
			checks++
		}
	}
	if checks != 1+20 { // {} of load, and each of the 20
		t.Errorf("checked %d times", checks)
	}
	for i := range 40 {
		call := textCall('0')
		call.Event.App = fmt.Sprintf("app%d", i)
		_, err := handle(p, call)
		if i >= 38 {
			if !errors.Is(err, ErrNoConfig) {
				t.Errorf("app%d: %v", i, err)
			}
			continue
		}
		lines := logs.lines(t, "plugin log")
		last := lines[len(lines)-1]
		if err != nil || last.App != call.Event.App || last.Line != fmt.Sprintf(`{"n":%d}`, i/2) {
			t.Errorf("app%d: %+v, %v", i, last, err)
		}
	}
	if s := p.Stats(); s.Instances != 1 {
		t.Errorf("%d instances for 40 apps, one after another", s.Instances)
	}
	// All are replaced.
	if failed := p.SetConfigs(context.Background(), map[string]Config{"app38": {}}); failed != nil {
		t.Error(failed)
	}
	call := textCall('0')
	call.Event.App = "app1"
	if _, err := handle(p, call); !errors.Is(err, ErrNoConfig) {
		t.Errorf("an app that is gone: %v", err)
	}
}

// TestEventForGuest holds what of a call and its event the guest gets.
func TestEventForGuest(t *testing.T) {
	for _, raw := range []bool{false, true} {
		p := load(t, newSandbox(t, Options{}), watSpec(t, "empty", fmt.Sprintf("raw: %v", raw)))
		call := &Call{
			Event: event('0'),
			Attrs: []hostapi.Field{{Name: "tag", Value: "vip"}},
			Reply: &hostapi.Reply{Text: &hostapi.Text{Content: "so far"}},
		}
		call.Event.Raw = []byte("<xml/>")
		call.Event.Attrs = []hostapi.Field{{Name: "not", Value: "this"}}
		call.Event.ConfigID = 99
		before := string(call.Event.Append(nil))
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if _, err := p.Handle(ctx, call); err != nil {
			t.Fatal(err)
		}
		if string(call.Event.Append(nil)) != before {
			t.Error("Handle changed the event")
		}
		got := lastEvent(t, p)
		if got.DeadlineMS <= 0 || got.DeadlineMS > 500 {
			t.Errorf("deadline_ms %d", got.DeadlineMS)
		}
		want := *call.Event
		want.Attrs, want.Reply, want.ConfigID, want.DeadlineMS = call.Attrs, call.Reply, 1, got.DeadlineMS
		if !raw {
			want.Raw = nil
		}
		if string(got.Append(nil)) != string(want.Append(nil)) {
			t.Errorf("the guest got %+v, want %+v", got, want)
		}
	}
}

// lastEvent reads the event that lies in the buffer of a plugin's instance.
func lastEvent(t *testing.T, p *Plugin) *hostapi.Event {
	t.Helper()
	in := p.pool.shared.idle[0]
	b, ok := in.memory.Read(in.bufferAt, uint32(in.stackLen()))
	if !ok {
		t.Fatal("no buffer")
	}
	ev := new(hostapi.Event)
	if err := ev.Decode(b); err != nil {
		t.Fatal(err)
	}
	return ev
}

// stackLen is the length that the last weft_handle was called with; its result
// is in the other place.
func (in *instance) stackLen() uint64 { return in.stack[1] }

// TestBusy: with every instance in a call, an event whose time ends is busy, and
// that is no failure of the plugin.
func TestBusy(t *testing.T) {
	spec := watSpec(t, "empty", "")
	spec.Limits.Instances = 1
	p := load(t, newSandbox(t, Options{}), spec)
	in, err := p.acquire(context.Background(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, failed := p.Handle(ctx, textCall('0'))
	if e := callError(t, failed); e.Reason() != "busy" || failed.Error() != "plugin empty: busy: none of its 1 instances was free before the event's time ended" {
		t.Errorf("got %v", failed)
	}
	p.giveBack(context.Background(), in, "shop", nil)
	if _, err := handle(p, textCall('0')); err != nil {
		t.Error(err)
	}
}

// TestCloseWaits: Close lets the calls under way end, and no other begin.
func TestCloseWaits(t *testing.T) {
	spec := watSpec(t, "empty", "")
	synctest.Test(t, func(t *testing.T) {
		p := load(t, newSandbox(t, Options{}), spec)
		in, failed := p.acquire(context.Background(), "shop")
		if failed != nil {
			t.Fatal(failed)
		}
		done := false
		go func() {
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
			done = true
		}()
		synctest.Wait()
		if err := p.Close(context.Background()); err != nil || done {
			t.Errorf("Close waited: %v; a second Close gave %v", !done, err)
		}
		if _, err := handle(p, textCall('0')); !errors.Is(err, ErrClosed) {
			t.Errorf("a call after Close: %v", err)
		}
		if _, err := in.handleEvent(context.Background(), textCall('0'), &Config{JSON: []byte("{}")}); err != nil {
			t.Errorf("the call under way: %v", err)
		}
		p.giveBack(context.Background(), in, "shop", nil)
		synctest.Wait()
		if !done {
			t.Error("Close still waits")
		}
	})
}

// TestCloseStops: a call that doesn't end is stopped when Close's time is up,
// and other plugins go on.
func TestCloseStops(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "endless", "")
	spec.Limits.Timeout = time.Hour
	p, neighbour := load(t, s, spec), load(t, s, watSpec(t, "done", ""))
	call := make(chan error)
	go func() {
		_, err := p.Handle(context.Background(), textCall('f'))
		call <- err
	}()
	for p.Stats().Idle != 0 { // until the call has its instance
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close gave %v", err)
	}
	if err := <-call; !errors.Is(err, ErrClosed) {
		t.Errorf("the call gave %v", err)
	}
	<-p.closed
	if _, err := handle(neighbour, textCall('0')); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
}

// TestSandboxCloseWaits: it waits for the calls of a plugin that somebody else
// is closing, and lets no call of another plugin in meanwhile.
func TestSandboxCloseWaits(t *testing.T) {
	spec := watSpec(t, "empty", "")
	synctest.Test(t, func(t *testing.T) {
		s := newSandbox(t, Options{})
		p := load(t, s, spec)
		spec.Name = "other"
		other := load(t, s, spec)
		in, failed := p.acquire(context.Background(), "shop")
		if failed != nil {
			t.Fatal(failed)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		done := false
		wg.Go(func() {
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
			done = true
		})
		synctest.Wait()
		if done {
			t.Error("the sandbox is closed, and a call is under way")
		}
		if _, err := handle(other, textCall('0')); !errors.Is(err, ErrClosed) {
			t.Errorf("a call of another plugin: %v", err)
		}
		p.giveBack(context.Background(), in, "shop", nil)
		wg.Wait()
	})
}

// TestCloseLate: where nothing runs, Close does its work and gives no error,
// also when its time is over.
func TestCloseLate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := newSandbox(t, Options{})
	for range 20 { // a select would take either way
		if err := load(t, s, watSpec(t, "empty", "")).Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSandboxClose: it closes its plugins, and loads no more.
func TestSandboxClose(t *testing.T) {
	s := newSandbox(t, Options{})
	p := load(t, s, watSpec(t, "empty", ""))
	for range 2 {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if _, err := handle(p, textCall('0')); !errors.Is(err, ErrClosed) {
		t.Errorf("a call after Close: %v", err)
	}
	if _, err := s.Load(context.Background(), watSpec(t, "empty", "")); err == nil {
		t.Error("loaded after Close")
	}
}

// TestSameModuleTwice: two plugins of one module don't share a fate.
func TestSameModuleTwice(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "trap", "")
	a := load(t, s, spec)
	spec.Name = "other"
	b := load(t, s, spec)
	if _, err := handle(a, textCall('f')); err == nil {
		t.Error("no trap")
	}
	if err := a.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := handle(b, textCall('0')); err != nil {
		t.Error(err)
	}
	if a.Digest() != b.Digest() {
		t.Error("digests differ")
	}
}

// TestHammer: many callers, events that trap among them, while configs change
// and the plugin is closed at the end.
func TestHammer(t *testing.T) {
	spec := watSpec(t, "trap", "")
	spec.Limits.Instances = 3
	p := load(t, newSandbox(t, Options{}), spec)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				id := byte('0')
				if (g+i)%10 == 0 {
					id = 'f'
				}
				call := textCall(id)
				call.Event.User = "" // is never skipped
				_, err := handle(p, call)
				if id == '0' && err != nil || id == 'f' && callError(t, err).Reason() != "trap" {
					t.Errorf("event %c: %v", id, err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			p.SetConfigs(context.Background(), map[string]Config{"shop": {JSON: fmt.Appendf(nil, "%d", i), ID: uint64(i)}})
		}
	})
	wg.Wait()
	s := p.Stats()
	if s.Instances > 3 || s.Idle != s.Instances || s.Calls != 1600 || s.Discards["trap"] != 160 {
		t.Errorf("stats %+v", s)
	}
}

// TestStatsReasons: the metric's labels are those of services.md.
func TestStatsReasons(t *testing.T) {
	var reasons []string
	for r := range reasonCount {
		reasons = append(reasons, r.String())
	}
	if want := []string{"error", "trap", "timeout", "fuel", "memory", "busy", "fused"}; !slices.Equal(reasons, want) {
		t.Errorf("reasons %q", reasons)
	}
}
