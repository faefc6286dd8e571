package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSearched: what programs write, on both outputs, is where .ci/search looks.
func TestSearched(t *testing.T) {
	into := t.TempDir()
	t.Setenv("WEFT_TEST_OUTPUT", into)
	e := &Example{root: t.TempDir()}
	if got := e.Command(t, "echo", "of a command"); got != "of a command\n" {
		t.Errorf("got %q", got)
	}
	p := e.Start(t, "ready", "sh", "-c", "echo of a program; echo ready >&2; exec sleep 60")
	p.Kill()
	if p.Log() != "ready\n" {
		t.Errorf("the log is %q", p.Log())
	}
	files, err := filepath.Glob(filepath.Join(into, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	for _, want := range []string{"of a command\n", "of a program\n", "ready\n"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("%q is not in %q", want, all.String())
		}
	}
}
