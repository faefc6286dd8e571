package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// Guests are compiled from source, each by the compiler of its language.

func goModule(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/go")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, b)
	}
	return readFile(t, out)
}

func cModule(t testing.TB) []byte { return cFile(t, "guest") }

// cFile compiles testdata/c/NAME.c.
func cFile(t testing.TB, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	compileGuest(t, "clang", "--target=wasm32", "-nostdlib", "-O2", "-Wl,--no-entry", "-o", out, "testdata/c/"+name+".c")
	return readFile(t, out)
}

// rustModule uses the first rustc that knows wasm32-wasi.
func rustModule(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	for _, rustc := range []string{"rustc", "/usr/bin/rustc"} {
		dir, err := exec.Command(rustc, "--target", "wasm32-wasi", "--print", "target-libdir").Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(strings.TrimSpace(string(dir))); err != nil {
			continue
		}
		compileGuest(t, rustc, "--target", "wasm32-wasi", "--crate-type", "cdylib", "-O", "-o", out, "testdata/rust/guest.rs")
		return readFile(t, out)
	}
	t.Skip("there is no rustc with the target wasm32-wasi")
	return nil
}

const goManifest = "capabilities: { state: { why: counts visits } }"

func goPlugin(t testing.TB, opt Options, state State) *Plugin {
	t.Helper()
	s := newSandbox(t, opt)
	p, err := s.Load(context.Background(), Spec{
		Name: "go", Wasm: withManifest(t, goModule(t), goManifest), Grants: Grants{State: true}, State: state,
	})
	if err != nil {
		t.Fatal(err)
	}
	failed := p.SetConfigs(context.Background(), map[string]Config{
		"shop": {JSON: []byte(`{"greeting":"hi"}`), ID: 7},
		"rude": {JSON: []byte(`{"greeting":"rude"}`), ID: 8},
	})
	if len(failed) != 1 || !strings.Contains(failed["rude"].Error(), "greeting: be polite") {
		t.Errorf("configs that failed: %v", failed)
	}
	return p
}

func sayCall(content string) *Call {
	call := textCall('0')
	call.Event.Content = content
	return call
}

// TestGo: a guest on the SDK starts, answers, fails in every way that it can,
// and goes on.
func TestGo(t *testing.T) {
	var logs logLines
	p := goPlugin(t, Options{Logger: logs.logger()}, visits{})
	fine := func(t *testing.T) {
		t.Helper()
		got, err := handle(p, sayCall("there"))
		if err != nil || got.Outcome != hostapi.Done || got.Reply.Text.Content != "hi, there" ||
			!slices.Equal(got.Annotations, []hostapi.Field{{Name: "greeted", Value: "oFrom"}}) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	fine(t)
	for _, tc := range []struct{ content, reason, text string }{
		{"panic", "trap", "index out of range"},
		{"exit", "trap", "it ended itself with proc_exit(4)"},
		{"error", "error", "not today"},
		{"sleep", "timeout", "no answer within 1s"},
		{"memory", "memory", "it was refused memory over its limit of 16MiB and gave up"},
	} {
		t.Run(tc.content, func(t *testing.T) {
			call := sayCall(tc.content)
			call.Event.User = tc.content // so that none is skipped
			_, err := handle(p, call)
			if e := callError(t, err); e.Reason() != tc.reason || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v; want %s: %s", err, tc.reason, tc.text)
			}
			fine(t)
		})
	}
	if got, err := handle(p, sayCall("count")); err != nil || got.Reply.Text.Content != "visit 42" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := handle(p, sayCall("print")); err != nil {
		t.Error(err)
	}
	lines := logs.texts(t)
	for _, want := range []string{"INFO to standard output", "WARN to standard error", "WARN to the log: 0 files"} {
		if !slices.Contains(lines, want) {
			t.Errorf("not logged: %s", want)
		}
	}
}

// visits is a state that holds a counter.
type visits struct{}

func (visits) State(_ context.Context, scope StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status {
	if req.Op != hostapi.StateAdd || req.Key != "visits" || req.Once != "visit" || req.Scope != hostapi.ScopeUser || scope.User != "oFrom" {
		resp.Error = fmt.Sprintf("asked %+v for %+v", req, scope)
		return hostapi.Invalid
	}
	resp.Number = 41 + req.Delta
	return hostapi.OK
}

// TestGoCollects: a Go guest that handles many events doesn't grow without an
// end, although its collector never runs by itself.
func TestGoCollects(t *testing.T) {
	p := goPlugin(t, Options{}, visits{})
	call := sayCall(strings.Repeat("long ", 2000))
	for range 2000 { // some 60 MB
		if _, err := handle(p, call); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.Stats(); s.Discards["memory"] != 0 || s.Instances != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestGoLargeEvents: the largest events that a callback can become find room in
// a Go guest, with raw in the memory that sdk/README.md says.
func TestGoLargeEvents(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := Spec{Name: "go", Wasm: withManifest(t, goModule(t), goManifest+"\nraw: true"), Grants: Grants{State: true}, State: visits{}}
	for raw, memory := range map[int]int64{0: 16 << 20, 1 << 20: 32 << 20} {
		spec.Limits = Limits{Memory: memory, Timeout: 10 * time.Second, Instances: 1}
		p := load(t, s, spec)
		for _, n := range []int{50, 250, 100, 450, 450, 50, 450} {
			call := textCall('0')
			call.Event.Raw = make([]byte, raw)
			for i := range 4096 {
				call.Event.Fields = append(call.Event.Fields, hostapi.Field{Name: fmt.Sprintf("%0256d", i), Value: strings.Repeat("v", n)})
			}
			if _, err := handle(p, call); err != nil {
				t.Errorf("an event of %d bytes, %d of them raw: %v", call.Event.Size(), raw, err)
			}
		}
	}
}

func TestC(t *testing.T)    { checkReplies(t, cModule(t), "C", "DEBUG from C") }
func TestRust(t *testing.T) { checkReplies(t, rustModule(t), "Rust", "INFO from Rust: 1 lengths") }

func checkReplies(t *testing.T, wasm []byte, want, line string) {
	t.Helper()
	var logs logLines
	p := load(t, newSandbox(t, Options{Logger: logs.logger()}), Spec{Name: "guest", Wasm: withManifest(t, wasm, "")})
	for _, n := range []int{10, 10, 100_000} {
		got, err := handle(p, sayCall(strings.Repeat("x", n)))
		if err != nil || got.Outcome != hostapi.Done || got.Reply.Text.Content != want {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if lines := logs.texts(t); !slices.Contains(lines, line) {
		t.Errorf("logged %q", lines)
	}
}

func benchmarkGuest(b *testing.B, p *Plugin) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	call := sayCall("there")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Handle(ctx, call); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHandleGo is an event through a Go guest on the SDK that reads its
// config, annotates and replies; BenchmarkHandleC one through a C guest that
// logs and replies.
func BenchmarkHandleGo(b *testing.B) { benchmarkGuest(b, goPlugin(b, Options{}, visits{})) }

func BenchmarkHandleC(b *testing.B) {
	benchmarkGuest(b, load(b, newSandbox(b, Options{}), Spec{Name: "c", Wasm: withManifest(b, cModule(b), "")}))
}
