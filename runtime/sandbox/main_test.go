package sandbox

import (
	"context"
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

// testProgram is this program; where it has the race detector, which makes
// compiling a Go guest ten times slower and takes memory by itself, the same
// without it.
var testProgram = sync.OnceValues(func() (string, error) {
	if !raceEnabled {
		return os.Executable()
	}
	bin := filepath.Join(testFolder, "sandbox.test")
	if out, err := exec.Command("go", "test", "-c", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c: %w: %s", err, out)
	}
	return bin, nil
})

// testCompiler is the command of TestMain's compiler, or of one that does a
// misdeed.
func testCompiler(t testing.TB, misdeed ...string) []string {
	t.Helper()
	program, err := testProgram()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{program, "compile"}, misdeed...)
}

// misbehave is a compiler that does not do its work.
func misbehave(how string, args []string) error {
	misdeed, ok := misdeeds[how]
	if !ok {
		return fmt.Errorf("no such misdeed: %s", how)
	}
	return misdeed(args)
}
