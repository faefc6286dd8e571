package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
)

// watModule compiles testdata/NAME.wat. Invalid modules are let through: some
// of the guests are.
func watModule(t testing.TB, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), name+".wasm")
	compileGuest(t, "wat2wasm", "--no-check", filepath.Join("testdata", name+".wat"), "-o", out)
	return readFile(t, out)
}

// compileGuest runs a compiler; without it the test is skipped.
func compileGuest(t testing.TB, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// manifestYAML is a manifest that asks for nothing, and what more says.
func manifestYAML(more string) []byte {
	return []byte(`name: guest
version: 1.0.0
abi: 1
title: { en: A guest }
description: { en: A guest of the tests }
vendor: weft
license: Apache-2.0
` + more)
}

// withManifest embeds a manifest in a module.
func withManifest(t testing.TB, wasm []byte, more string) []byte {
	t.Helper()
	b, err := manifest.Embed(wasm, manifestYAML(more))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// watSpec is the guest testdata/NAME.wat under its own name, with a manifest.
func watSpec(t testing.TB, name, more string) Spec {
	t.Helper()
	return Spec{Name: name, Wasm: withManifest(t, watModule(t, name), more)}
}

// newSandbox gives one that ends with the test. What it compiles is kept for
// other tests, but where opt says something else.
func newSandbox(t testing.TB, opt Options) *Sandbox {
	t.Helper()
	if opt.CacheDir == "" {
		opt.CacheDir = filepath.Join(testFolder, "cache")
	}
	if opt.Compiler == nil {
		opt.Compiler = testCompiler(t)
	}
	s, err := New(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error("close the sandbox:", err)
		}
	})
	return s
}

// load loads a plugin and gives app shop the config {}.
func load(t testing.TB, s *Sandbox, spec Spec) *Plugin {
	t.Helper()
	p, err := s.Load(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if failed := p.SetConfigs(context.Background(), map[string]Config{"shop": {JSON: []byte("{}"), ID: 1}}); failed != nil {
		t.Fatal(failed)
	}
	return p
}

// event is one of app shop. Guests look at the first digit of its id: with f
// the misbehaving ones misbehave.
func event(first byte) *hostapi.Event {
	return &hostapi.Event{
		ID: string(first) + strings.Repeat("0", 31), App: "shop", AppID: "wx0123456789abcdef", AppType: "official",
		Type: "text", From: "oFrom", User: "oFrom", To: "gh_1", Content: "hello", Attempt: 1, Format: "xml",
	}
}

func textCall(first byte) *Call { return &Call{Event: event(first), Passive: true} }

// handle calls a plugin with time to spare, also on a busy machine.
func handle(p *Plugin, call *Call) (Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return p.Handle(ctx, call)
}

// callError is err as a *CallError.
func callError(t testing.TB, err error) *CallError {
	t.Helper()
	var e *CallError
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want a *CallError", err)
	}
	return e
}

// logLines collects a logger's lines.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logLines) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logged struct {
	Level, Msg, Plugin, App, Line, Reason, Text, Trace string

	EventID string `json:"event_id"`
}

// lines gives what was logged under a message.
func (l *logLines) lines(t testing.TB, msg string) []logged {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []logged
	for line := range bytes.Lines(l.buf.Bytes()) {
		var one logged
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if one.Msg == msg {
			all = append(all, one)
		}
	}
	return all
}

// texts gives the guests' lines, each with its level.
func (l *logLines) texts(t testing.TB) []string {
	t.Helper()
	var texts []string
	for _, one := range l.lines(t, "plugin log") {
		texts = append(texts, fmt.Sprintf("%s %s", one.Level, one.Line))
	}
	return texts
}

// TestGuestsSayWhatTheyDo: each text module begins with what it is for.
func TestGuestsSayWhatTheyDo(t *testing.T) {
	guests, err := filepath.Glob(filepath.Join("testdata", "*.wat"))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range guests {
		b, err := os.ReadFile(g)
		if err != nil || !strings.HasPrefix(string(b), ";; ") {
			t.Errorf("%s begins without a comment, %v", g, err)
		}
	}
}
