package sandbox

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/weft-dev/weft/hostapi"
)

// keeperPlugin loads the guest keeper for two apps, each with a config that it
// checks.
func keeperPlugin(t *testing.T, isolation Isolation) *Plugin {
	t.Helper()
	spec := watSpec(t, "keeper", "")
	spec.Isolation = isolation
	spec.Limits.Instances = 1
	p := load(t, newSandbox(t, Options{}), spec)
	configs := map[string]Config{"shop": {JSON: []byte("{}")}, "bank": {JSON: []byte(`{"a":1}`)}}
	if failed := p.SetConfigs(t.Context(), configs); failed != nil {
		t.Fatal(failed)
	}
	return p
}

// saw gives the keeper an event and says what it saw of the one before.
func saw(t *testing.T, p *Plugin, app string, first byte) string {
	t.Helper()
	return sawIn(t, p, appCall(app, first))
}

// appCall is a call of no user's: else it would soon be fused.
func appCall(app string, first byte) *Call {
	call := textCall(first)
	call.Event.App, call.Event.User = app, ""
	return call
}

func sawIn(t *testing.T, p *Plugin, call *Call) string {
	t.Helper()
	_, err := handle(p, call)
	e := callError(t, err)
	if e.Reason() != "error" || len(e.Text()) != 8 || strings.Trim(e.Text(), e.Text()[:1]) != "" {
		t.Fatalf("got %v", err)
	}
	return e.Text()[:1]
}

// TestIsolation: what of the calls before a guest sees.
func TestIsolation(t *testing.T) {
	for _, c := range []struct {
		isolation Isolation
		want      string
	}{
		{IsolationShared, "c0123456"}, // c: of the checks
		{IsolationApp, "cc021346"},
		{IsolationEvent, "........"},
	} {
		t.Run(c.isolation.String(), func(t *testing.T) {
			p := keeperPlugin(t, c.isolation)
			got := ""
			for i, app := range []string{"shop", "bank", "shop", "shop", "bank", "shop", "bank", "bank"} {
				got += saw(t, p, app, byte('0'+i))
			}
			if got != c.want {
				t.Errorf("saw %s, want %s", got, c.want)
			}
		})
	}
}

// TestIsolationEventGrown: an instance whose memory grew is not used again, and
// is counted.
func TestIsolationEventGrown(t *testing.T) {
	p := keeperPlugin(t, IsolationEvent)
	for range 3 {
		in := p.pool.shared.idle[0]
		saw(t, p, "shop", '1')
		if p.pool.shared.idle[0] != in {
			t.Error("another instance, without need")
		}
		saw(t, p, "shop", 'f')
		if s := p.Stats(); s.Instances != 0 {
			t.Errorf("%d instances", s.Instances)
		}
		if got := saw(t, p, "shop", '2'); got != "." {
			t.Errorf("saw %q", got)
		}
	}
	if s := p.Stats(); s.Discards["grown"] != 3 || s.Instances != 1 {
		t.Errorf("%d were discarded, %d are there", s.Discards["grown"], s.Instances)
	}
	shared := keeperPlugin(t, IsolationShared)
	saw(t, shared, "shop", 'f')
	if s := shared.Stats(); s.Discards["grown"] != 0 || s.Instances != 1 {
		t.Errorf("shared: %d were discarded, %d are there", s.Discards["grown"], s.Instances)
	}
}

// TestIsolationEventBuffer: a buffer that the guest gave for one large event
// isn't its own after it.
func TestIsolationEventBuffer(t *testing.T) {
	p := keeperPlugin(t, IsolationEvent)
	call := textCall('1')
	call.Event.Content = strings.Repeat("x", 2*hostapi.InitialBuffer)
	in := p.pool.shared.idle[0]
	if _, err := handle(p, call); callError(t, err).Text() != "........" {
		t.Error(err)
	}
	if p.pool.shared.idle[0] != in || in.bufferLen != hostapi.InitialBuffer {
		t.Errorf("the buffer has %d bytes", in.bufferLen)
	}
	memory, _ := in.memory.Read(0, in.memory.Size())
	if bytes.Contains(memory, []byte("xxx")) {
		t.Error("the event's content is still there")
	}
}

// TestIsolationEventGo: after each event every byte of a Go guest is as after
// its start, and the guest works on.
func TestIsolationEventGo(t *testing.T) {
	spec := Spec{
		Name: "guest", Wasm: withManifest(t, goModule(t), goManifest),
		Grants: Grants{State: true}, State: visits{}, Isolation: IsolationEvent,
	}
	spec.Limits.Instances = 1
	p := load(t, newSandbox(t, Options{}), spec)
	in := p.pool.shared.idle[0]
	memory, _ := in.memory.Read(0, in.memory.Size())
	started := bytes.Clone(memory)
	for i := range 200 {
		call := textCall('0')
		call.Event.Content = []string{"hello", "error", "print"}[i%3]
		call.Event.User = "" // no user's: else it would soon be fused
		result, err := handle(p, call)
		if call.Event.Content == "error" {
			if callError(t, err).Text() != "not today" {
				t.Fatal(err)
			}
		} else if err != nil || result.Outcome != hostapi.Done {
			t.Fatalf("%v, %v", result, err)
		}
		if p.pool.shared.idle[0] != in || !bytes.Equal(memory, started) {
			t.Fatalf("event %d left something behind", i)
		}
	}
}

// TestIsolationRefused: what can't be put back is refused with isolation event
// alone, all of it at once.
func TestIsolationRefused(t *testing.T) {
	spec := watSpec(t, "keeps-tables", "")
	s := newSandbox(t, Options{})
	load(t, s, spec)
	spec.Isolation = IsolationApp
	load(t, s, spec)
	spec.Isolation = IsolationEvent
	_, err := s.Load(t.Context(), spec)
	if err == nil {
		t.Fatal("it was loaded")
	}
	problems := err.(*LoadError).Problems
	for _, want := range []string{"table.set in function 1", "data.drop in function 2", "global 0, which is mutable, of type v128"} {
		text := "it can't run with isolation: event, because of " + want + ", which can't be put back after an event; in pipeline.yaml set plugins.keeps-tables.isolation: app"
		if !slices.Contains(problems, text) {
			t.Errorf("no problem %q", text)
		}
	}
	if len(problems) != 3 {
		t.Errorf("%q", problems)
	}
}

// BenchmarkIsolation is an event of a Go guest.
func BenchmarkIsolation(b *testing.B) {
	wasm := withManifest(b, goModule(b), goManifest)
	s := newSandbox(b, Options{})
	for _, isolation := range []Isolation{IsolationShared, IsolationApp, IsolationEvent} {
		b.Run(isolation.String(), func(b *testing.B) {
			benchmarkHandle(b, load(b, s, Spec{
				Name: "guest", Wasm: wasm, Grants: Grants{State: true}, State: visits{}, Isolation: isolation,
			}))
		})
	}
	b.Run("start with event", func(b *testing.B) {
		p := load(b, s, Spec{Name: "guest", Wasm: wasm, Grants: Grants{State: true}, State: visits{}, Isolation: IsolationEvent})
		for b.Loop() {
			in, err := p.newInstance(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			if err := in.close(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
