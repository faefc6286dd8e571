package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/manifest"
)

// fiveGoPlugins writes a pipeline.yaml with an empty data folder that names the
// three first-party plugins and a variant of two of them.
func fiveGoPlugins(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	configs := map[string]string{
		"welcome": "greeting: hello",
		"menu":    "items: { menu_hours: { reply: { text: all day } } }",
		"keyword": "rules: [ { match: exact, words: [help], reply: { text: ask } } ]",
	}
	grants := map[string]string{"welcome": "state: true", "menu": "state: true"}
	var plugins, stages strings.Builder
	for _, name := range []string{"welcome", "menu", "keyword", "welcome-2", "keyword-2"} {
		source := strings.TrimSuffix(name, "-2")
		folder := filepath.Join("..", "..", "plugins", source)
		module := filepath.Join(dir, name+".wasm")
		var out bytes.Buffer
		if err := compileGo(t.Context(), folder, module, &out); err != nil {
			t.Fatalf("%v: %s", err, &out)
		}
		yaml, err := os.ReadFile(filepath.Join(folder, "plugin.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		code, err := os.ReadFile(module)
		if err != nil {
			t.Fatal(err)
		}
		code, err = manifest.Embed(code, fmt.Appendf(yaml, "# Here it is %s.\n", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(module, code, 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&plugins, "  %s: { source: %q, grants: { %s }, config: { %s } }\n", name, module, grants[source], configs[source])
		fmt.Fprintf(&stages, "    - plugin: %s\n", name)
	}
	text := "weft: 1\nserver: { listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", data: ./data }\n" +
		"apps:\n" + appYAML("shop", "encrypted", "") + "plugins:\n" + plugins.String() + "pipeline:\n  stages:\n" + stages.String()
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serveOnce runs `weft serve` until it serves, and ends it. It gives the time
// from the start of the process until then, and the processor time of all of it.
func serveOnce(t *testing.T, weft, file string) (took, processor time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), weft, "serve", "-c", file)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		if took == 0 && strings.Contains(lines.Text(), `"serving"`) {
			took = time.Since(began)
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || took == 0 {
		t.Fatalf("weft serve: %v\n%s", err, &all)
	}
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// TestWarmStart holds the start of a host with five Go plugins to 400 ms, from
// the start of its process until it accepts callbacks, where the compile cache
// has them. It is part of `make bars`.
func TestWarmStart(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" {
		t.Skip("set WEFT_BARS to measure, without -race")
	}
	weft, err := plainWeft()
	if err != nil {
		t.Fatal(err)
	}
	file := fiveGoPlugins(t)
	took, processor := serveOnce(t, weft, file)
	t.Logf("cold: %v, processor time %v", took.Round(time.Millisecond), processor.Round(time.Millisecond))
	var starts []time.Duration
	for range 9 {
		took, processor := serveOnce(t, weft, file)
		t.Logf("warm: %v, processor time %v", took.Round(time.Millisecond), processor.Round(time.Millisecond))
		starts = append(starts, took)
	}
	// The shortest is the host's own time: whatever else runs on the machine makes
	// it longer.
	if m := slices.Min(starts); m > 400*time.Millisecond {
		t.Errorf("a warm start takes %v, want 400ms at most", m)
	}
}

// BenchmarkWarmStart starts a host with five Go plugins, which its compile cache
// has, and stops it.
func BenchmarkWarmStart(b *testing.B) {
	file := fiveGoPlugins(b)
	once := func() {
		h, err := Start(b.Context(), file, discard())
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := h.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	once()
	for b.Loop() {
		once()
	}
}
