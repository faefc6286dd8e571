package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// TestMain is also the compiler that the tests' sandboxes start: with further
// arguments it is one that misbehaves. For the tests it keeps what is compiled.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "compile" {
		if err := compilerOfTests(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	dir, err := os.MkdirTemp("", "weft-sandbox-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testFolder = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// testFolder is of this run; in it is the cache of newSandbox.
var testFolder string

func compilerOfTests(args []string) error {
	if len(args) == 0 {
		return Compile(context.Background(), os.Stdin, os.Stdout)
	}
	return misbehave(args[0], args[1:])
}

// plainCompiler is `weft compile`, built without the race detector, which makes
// compiling a Go guest ten times slower.
var plainCompiler = sync.OnceValues(func() ([]string, error) {
	bin := filepath.Join(testFolder, "weft")
	// wazero keeps what it compiled by its version, which tests don't have.
	const version = "-X=github.com/tetratelabs/wazero/internal/version.version=dev"
	if out, err := exec.Command("go", "build", "-ldflags", version, "-o", bin, "../cmd/weft").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	return []string{bin, "compile"}, nil
})

// misbehave is a compiler that does not do its work.
func misbehave(how string, args []string) error {
	switch how {
	case "fail":
		return errors.New("this compiler fails")
	default:
		return fmt.Errorf("no such way to misbehave: %s %q", how, args)
	}
}
