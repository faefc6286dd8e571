package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain gives the tests a folder. A sandbox in this program starts it as its
// compiler, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "compile" {
		main()
	}
	dir, err := os.MkdirTemp("", "weft-command-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testFolder = dir
	if into := os.Getenv("WEFT_TEST_OUTPUT"); into != "" {
		if testOutput, err = os.CreateTemp(into, "weft-*.log"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// testFolder is of this run. testOutput takes all that its hosts write, for
// .ci/search; nil: nobody searches.
var (
	testFolder string
	testOutput *os.File
)

// TestScripts runs testdata/script: the commands as a user types them. They are
// the program as users have it: under the race detector it compiles a plugin ten
// times slower.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Dir(weftBinary(t)) + string(os.PathListSeparator) + os.Getenv("PATH")
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			env.Setenv("PATH", path)
			// The module cache and the build cache are the user's own.
			for _, name := range []string{"HOME", "GOPATH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN"} {
				if value, ok := os.LookupEnv(name); ok {
					env.Setenv(name, value)
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"waitlog": waitLog},
	})
}

// waitLog waits until a file has a text in it: waitlog FILE TEXT.
func waitLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitlog FILE TEXT")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(b), args[1]) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s has no %q", args[0], args[1])
		}
	}
}

// TestRunInterrupted holds that Ctrl-C is told as that.
func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("a signal"))
	file := filepath.Join(t.TempDir(), "pipeline.yaml")
	text := "weft: 1\nserver: { admin: \"127.0.0.1:1\" }\napps: { shop: { type: official, app_id: wx1, token: any, mode: plain } }\npipeline: { stages: [ { reply: { text: hello } } ] }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "-c", file}, {"callback", "-c", file, "--app", "shop", "--text", "x"}, {"queue", "list", "-c", file}} {
		var errs strings.Builder
		status := Run(ctx, args, Stdio{In: strings.NewReader(""), Out: &errs, Err: &errs})
		if want := "weft " + strings.Join(args[:slices.Index(args, "-c")], " ") + ": interrupted\n"; status != statusWrong || errs.String() != want {
			t.Errorf("%v: status %d, %q", args, status, errs.String())
		}
	}
}

// TestRunKeepsErrorsShort holds that an error is one line with the command's
// name.
func TestRunKeepsErrorsShort(t *testing.T) {
	for _, args := range [][]string{
		{"check", "-c", "nowhere.yaml"},
		{"serve", "-c", "nowhere.yaml"},
		{"doctor", "-c", "nowhere.yaml"},
		{"test", "-c", "nowhere.yaml"},
		{"callback", "-c", "nowhere.yaml", "--app", "shop", "--text", "x"},
		{"queue", "list", "-c", "nowhere.yaml"},
		{"queue", "drop", "-c", "nowhere.yaml", "--all"},
		{"plugin", "build", "nowhere"},
		{"plugin", "check", "nowhere.wasm"},
	} {
		var out, errs strings.Builder
		status := Run(t.Context(), args, Stdio{In: strings.NewReader(""), Out: &out, Err: &errs})
		if status != statusWrong || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 || !strings.HasPrefix(errs.String(), "weft ") {
			t.Errorf("%v: status %d, %q, %q", args, status, out.String(), errs.String())
		}
	}
}
