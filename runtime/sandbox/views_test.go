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

// unequal is a State that can't be compared.
type unequal struct{ _ []int }

func (unequal) State(context.Context, StateCall, *hostapi.StateRequest, *hostapi.StateResponse) hostapi.Status {
	return hostapi.OK
}

// TestViewsShare: Plugins that are the same in all that is in force have one
// module, with its warm instance and its counters.
func TestViewsShare(t *testing.T) {
	s := newSandbox(t, Options{})
	const capability = "capabilities: { state: { why: tries, optional: true } }\n"
	base := watSpec(t, "empty", capability)
	base.Grants, base.State = Grants{State: true}, &fakeState{}
	first := load(t, s, base)
	if _, err := handle(first, textCall('0')); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Spec)
		shares bool
	}{
		"all the same":         {func(*Spec) {}, true},
		"limits in force":      {func(spec *Spec) { spec.Limits = first.Limits() }, true},
		"its own name's state": {func(spec *Spec) { spec.StateOf = spec.Name }, true},
		"name":                 {func(spec *Spec) { spec.Name = "other" }, false},
		"module":               {func(spec *Spec) { spec.Wasm = watSpec(t, "done", capability).Wasm }, false},
		"manifest":             {func(spec *Spec) { spec.Wasm = watSpec(t, "empty", capability+"raw: true").Wasm }, false},
		"grants":               {func(spec *Spec) { spec.Grants = Grants{} }, false},
		"limits":               {func(spec *Spec) { spec.Limits.Fuel = 7_000_000 }, false},
		"isolation":            {func(spec *Spec) { spec.Isolation = IsolationApp }, false},
		"state":                {func(spec *Spec) { spec.State = &fakeState{value: []byte("x")} }, false},
		"uncomparable state":   {func(spec *Spec) { spec.State = unequal{} }, false},
		"another's state":      {func(spec *Spec) { spec.StateOf = "faq" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			spec := base
			tc.change(&spec)
			p := load(t, s, spec)
			defer closePlugin(t, p)
			if p.loaded == first.loaded != tc.shares {
				t.Errorf("shares the module: %v, want %v", !tc.shares, tc.shares)
			}
			if stats := p.Stats(); stats.Calls == 1 != tc.shares || stats.Instances != 1 {
				t.Errorf("%d calls, %d instances", stats.Calls, stats.Instances)
			}
		})
	}
}

// TestViewsOwnConfigs: each view has configs of its own, and what the module
// accepted once it isn't asked again.
func TestViewsOwnConfigs(t *testing.T) {
	var logs logLines
	s := newSandbox(t, Options{Logger: logs.logger()})
	spec := watSpec(t, "config", "")
	one := load(t, s, spec) // has {}
	two, err := s.Load(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handle(two, textCall('0')); !errors.Is(err, ErrNoConfig) {
		t.Errorf("a view without configs: %v", err)
	}
	checks := func() (n int) {
		for _, text := range logs.texts(t) {
			if strings.HasPrefix(text, "DEBUG ") {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		json   string
		checks int // so far
		fine   bool
	}{
		{"{}", 1, true},
		{`{"two":1}`, 2, true},
		{`{"two":1}`, 2, true},
		{"!broken", 3, false},
		{"!broken", 4, false},
		{`{"two":1}`, 5, true}, // no view has it any more
	} {
		failed := two.SetConfigs(t.Context(), map[string]Config{"shop": {JSON: []byte(step.json)}})
		if failed == nil != step.fine || checks() != step.checks {
			t.Errorf("%s: %v, %d checks, want %d", step.json, failed, checks(), step.checks)
		}
	}
	for _, view := range []struct {
		*Plugin
		config string
	}{{one, "{}"}, {two, `{"two":1}`}} {
		if _, err := handle(view.Plugin, textCall('0')); err != nil {
			t.Fatal(err)
		}
		if got := logs.lines(t, "plugin log"); got[len(got)-1].Line != view.config {
			t.Errorf("the guest saw %q, want %q", got[len(got)-1].Line, view.config)
		}
	}
}

// TestViewsClose: each is closed by itself, and the module with the last one. A
// call under way goes on meanwhile.
func TestViewsClose(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "empty", "")
	one, two := load(t, s, spec), load(t, s, spec)
	if one.loaded != two.loaded {
		t.Fatal("they don't share a module")
	}
	in, failed := one.acquire(t.Context(), "shop")
	if failed != nil {
		t.Fatal(failed)
	}
	for range 2 { // the second time it does nothing
		closePlugin(t, one)
	}
	if _, err := handle(one, textCall('0')); !errors.Is(err, ErrClosed) {
		t.Errorf("a call of a closed view: %v", err)
	}
	if failed := one.SetConfigs(t.Context(), map[string]Config{"shop": {JSON: []byte("{}")}}); !errors.Is(failed["shop"], ErrClosed) {
		t.Errorf("a config of a closed view: %v", failed)
	}
	if _, failed := in.handleEvent(t.Context(), textCall('0'), &Config{}); failed != nil {
		t.Errorf("the call under way: %v", failed)
	}
	one.giveBack(t.Context(), in, "shop", nil)
	if _, err := handle(two, textCall('0')); err != nil {
		t.Errorf("the other view: %v", err)
	}
	three := load(t, s, spec)
	closePlugin(t, two)
	if stats := three.Stats(); stats.Calls != 3 || stats.Instances != 1 {
		t.Errorf("the third view finds %d calls, %d instances", stats.Calls, stats.Instances)
	}
	closePlugin(t, three)
	wantNothingLoaded(t, s)
	if stats := load(t, s, spec).Stats(); stats.Calls != 0 || stats.Instances != 1 {
		t.Errorf("loaded anew: %d calls, %d instances", stats.Calls, stats.Instances)
	}
}

// wantNothingLoaded wants nothing of a plugin to run any more.
func wantNothingLoaded(t *testing.T, s *Sandbox) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.modules) > 0 || len(s.live) > 0 || len(s.loads.flying) > 0 || s.loading > 0 {
		t.Errorf("%d modules run, %d have views, %d are on their way, %d loads", len(s.modules), len(s.live), len(s.loads.flying), s.loading)
	}
}

// TestViewOfGivenUpLoad: where the load that another waits for ends with its own
// context, the other loads; a module that is bad is bad for both.
func TestViewOfGivenUpLoad(t *testing.T) {
	s := newSandbox(t, Options{})
	for _, gaveUp := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			goOn := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := s.share(ctx, moduleKey{name: "p"}, func() (*Plugin, []string) {
					<-goOn
					return nil, []string{"no"}
				})
				if refused := (*LoadError)(nil); !errors.As(err, &refused) || errors.Is(err, context.Canceled) != gaveUp {
					t.Errorf("the first got %v", err)
				}
			})
			synctest.Wait()
			runs := 0
			wg.Go(func() {
				p, err := s.share(t.Context(), moduleKey{name: "p"}, func() (*Plugin, []string) {
					runs++
					return &Plugin{}, nil
				})
				if gaveUp == (err != nil) || gaveUp == (p == nil) {
					t.Errorf("the second got %v, %v", p, err)
				}
			})
			synctest.Wait()
			if gaveUp {
				cancel()
			}
			close(goOn)
			wg.Wait()
			if gaveUp != (runs == 1) {
				t.Errorf("the second loaded %d times", runs)
			}
		})
	}
}

// TestLoadsAtOnce: those that wait for the same compiler get the same module.
func TestLoadsAtOnce(t *testing.T) {
	s := newSandbox(t, Options{CacheDir: t.TempDir()})
	spec := watSpec(t, "empty", "")
	views := make([]*Plugin, 8)
	var wg sync.WaitGroup
	for i := range views {
		wg.Go(func() {
			p, err := s.Load(t.Context(), spec)
			if err != nil {
				t.Error(err)
				return
			}
			views[i] = p
		})
	}
	wg.Wait()
	for _, p := range views {
		if p == nil || p.loaded != views[0].loaded {
			t.Fatal("one has a module of its own")
		}
	}
	if n := len(views[0].views); n != len(views) {
		t.Errorf("%d views, want %d", n, len(views))
	}
}

// TestViewsHammer loads, calls and closes at once. A view that Load gives works
// until it is closed, whatever is closed beside it, and a call that meets its
// Close is made or not. Nothing is left when all are closed.
func TestViewsHammer(t *testing.T) {
	s := newSandbox(t, Options{})
	specs := []Spec{watSpec(t, "config", ""), watSpec(t, "empty", "")}
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				if err := useView(s, specs[(g+i)%len(specs)], g); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantNothingLoaded(t, s)
	// One that has said all that it had to say may still be on its way out.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, before it %d", runtime.NumGoroutine(), before)
		}
	}
}

// useView loads, calls and closes a plugin, which must work all the while.
func useView(s *Sandbox, spec Spec, n int) error {
	p, err := s.Load(context.Background(), spec)
	if err != nil {
		return err
	}
	if failed := p.SetConfigs(context.Background(), map[string]Config{"shop": {JSON: fmt.Appendf(nil, "%d", n%3)}}); failed != nil {
		return failed["shop"]
	}
	for range 3 {
		if _, err := handle(p, textCall('0')); err != nil {
			return err
		}
	}
	late := make(chan error)
	go func() {
		_, err := handle(p, textCall('0'))
		late <- err
	}()
	err = p.Close(context.Background())
	if met := <-late; met != nil && !errors.Is(met, ErrClosed) {
		err = errors.Join(err, fmt.Errorf("a call beside Close: %w", met))
	}
	if _, after := handle(p, textCall('0')); !errors.Is(after, ErrClosed) {
		err = errors.Join(err, fmt.Errorf("a call after Close: %w", after))
	}
	return err
}

// TestStateOfAnother: the plugin's own State serves under the name of another,
// and a call's State in its place, both only where it is granted.
func TestStateOfAnother(t *testing.T) {
	own, layer := &fakeState{}, &fakeState{}
	for _, granted := range []bool{true, false} {
		spec := watSpec(t, "state-call", "capabilities: { state: { why: tries, optional: true } }")
		spec.Grants, spec.State, spec.StateOf = Grants{State: granted}, own, "faq"
		p := load(t, newSandbox(t, Options{}), spec)
		for _, state := range []State{nil, layer} {
			call := textCall('0')
			call.State = state
			if _, err := handle(p, call); err == nil != granted { // DENIED is no outcome
				t.Fatalf("granted %v: %v", granted, err)
			}
		}
	}
	if own.calls != 1 || layer.calls != 1 {
		t.Errorf("its own State had %d calls, the call's %d", own.calls, layer.calls)
	}
	if plugins := []string{own.scope.Plugin, layer.scope.Plugin}; !slices.Equal(plugins, []string{"faq", "faq"}) {
		t.Errorf("called for the plugins %q", plugins)
	}
}
