package sandbox

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// misdeeds are what TestMain's compiler does in place of its work.
var misdeeds = map[string]func(args []string) error{
	"fail": func([]string) error { return errors.New("this compiler fails") },
	"wait": func([]string) error {
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	},
	"allocate": func([]string) error {
		if _, err := limitedJob(); err != nil {
			return err
		}
		var all [][]byte
		for len(all) < 1000 { // 16 GB
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		return fmt.Errorf("it got all its %d pieces", len(all))
	},
	"spin": func([]string) error {
		if _, err := limitedJob(); err != nil {
			return err
		}
		for n := uint64(1); n != 0; n |= 1 {
		}
		return nil
	},
	"recurse": func([]string) error {
		if _, err := limitedJob(); err != nil {
			return err
		}
		debug.SetMaxStack(64 << 20)
		return fmt.Errorf("%d deep", recurse(1))
	},
	"die": func([]string) error {
		if _, err := io.CopyN(io.Discard, os.Stdin, 10); err != nil {
			return err
		}
		p, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		return p.Kill()
	},
	"nothing": func([]string) error { return nil },
	"chatter": func([]string) error {
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 1<<16)); err != nil {
				return err
			}
			if _, err := os.Stderr.WriteString(strings.Repeat("y", 1<<16)); err != nil {
				return err
			}
		}
	},
	"junk": func([]string) error { return answer("{}]\n") },
	"fill": func([]string) error {
		return answer(report(compileReport{Problem: "write /x/y.tmp: " + syscall.ENOSPC.Error()}))
	},
	"tell": func([]string) error { // what it has from its parent
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return err
		}
		var open []string
		for _, f := range files {
			target, err := os.Readlink("/proc/self/fd/" + f.Name())
			if err == nil && filepath.Base(target) == hostFile { // others are of the Go runtime
				open = append(open, target)
			}
		}
		return answer(report(compileReport{Problem: fmt.Sprint(os.Environ(), open)}))
	},
	"lie": func([]string) error { return answer(report(compileReport{Go: runtime.Version()})) },
	"fall": func([]string) error { // after a good report
		job, err := limitedJob()
		if err != nil {
			return err
		}
		if err := answer(report(job.run(context.Background()))); err != nil {
			return err
		}
		return errors.New("it fell")
	},
	"old": func([]string) error {
		if _, err := limitedJob(); err != nil {
			return err
		}
		return answer(report(compileReport{Go: "go1.2"}))
	},
	"shout": func([]string) error {
		return answer(report(compileReport{Problem: "one\x1b[31m\ntwo" + strings.Repeat("!", 10_000)}))
	},
}

func limitedJob() (compileJob, error) {
	job, err := readJob(bufio.NewReader(os.Stdin))
	if err != nil {
		return job, err
	}
	return job, limitProcess(job.Memory, job.CPU)
}

func recurse(n int) int {
	if n == 0 {
		return 0
	}
	return recurse(n+1) + 1
}

func report(r compileReport) string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b) + "\n"
}

func answer(text string) error {
	if _, err := os.Stdout.WriteString(text); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// misbehavingSandbox has a compiler that does a misdeed, and a cache of its own.
func misbehavingSandbox(t testing.TB, misdeed string) *Sandbox {
	t.Helper()
	return newSandbox(t, Options{CacheDir: t.TempDir(), Compiler: testCompiler(t, misdeed)})
}

// prepared prepares a module and gives the only problem, "" where there
// is none.
func prepared(t testing.TB, ctx context.Context, s *Sandbox, wasm []byte) string {
	t.Helper()
	m, problems := s.prepare(ctx, wasm, sha256.Sum256(wasm), fuel.Options{Module: moduleFuel, Name: nameRefuel})
	if (m == nil) != (len(problems) == 1) {
		t.Errorf("got %v and %q", m, problems)
	}
	return strings.Join(problems, "")
}

// TestCompilerFails: however a compiler's process ends, the sandbox says so in a
// line, has nothing of it in its cache and leaves nothing behind.
func TestCompilerFails(t *testing.T) {
	wasm := watModule(t, "empty")
	for _, test := range []struct{ misdeed, problem string }{
		{"fail", "the module can't be compiled: its compiler failed: exit status 1: this compiler fails"},
		{"allocate", "compiling it needs more than 256MiB"},
		{"spin", "the module can't be compiled: its compiler failed: signal: killed"},
		{"recurse", "the module can't be compiled: its compiler failed: exit status 2: runtime: goroutine stack exceeds"},
		{"die", "the module can't be compiled: its compiler failed: signal: killed"},
		{"nothing", "the module can't be compiled: its compiler failed: it gave no report"},
		{"chatter", "the module can't be compiled: its compiler failed: its report can't be read"},
		{"junk", "the module can't be compiled: its compiler failed: its report can't be read"},
		{"fill", "the module can't be compiled: write /x/y.tmp: no space left on device: make room on the disk of "},
		{"lie", "the compile cache can't be written: the compiler is of another version than this program"},
		{"fall", "the module can't be compiled: its compiler failed: exit status 1: it fell"},
		{"old", "its compiler is of go1.2, this program of go"},
		{"shout", `the module can't be compiled: one\x1b[31m\ntwo!!!`},
	} {
		t.Run(test.misdeed, func(t *testing.T) {
			s := misbehavingSandbox(t, test.misdeed)
			s.compileMemory = 256 << 20
			if test.misdeed == "spin" {
				s.compileCPU = 1
			}
			got := prepared(t, t.Context(), s, wasm)
			if !strings.HasPrefix(got, test.problem) || strings.Contains(got, "\n") || len(got) > 5000 {
				t.Errorf("got %q, want %q", got, test.problem)
			}
			if found := glob(t, s.cache.dir, "*", "*"); len(found) > 0 {
				t.Errorf("in the cache is %q", found)
			}
			if found := glob(t, s.cache.dir, tmpPrefix+"*"); len(found) > 0 {
				t.Errorf("%q was left behind", found)
			}
		})
	}
}

// TestCompilerStart: a program that isn't there is a problem.
func TestCompilerStart(t *testing.T) {
	s := newSandbox(t, Options{CacheDir: t.TempDir(), Compiler: []string{"/nowhere/weft", "compile"}})
	if got := prepared(t, t.Context(), s, watModule(t, "empty")); !strings.HasPrefix(got, "start its compiler: ") {
		t.Errorf("got %q", got)
	}
}

// hostFile is what the program that tests has open for TestCompilerIsAlone.
const hostFile = "main_test.go"

// TestCompilerIsAlone: a compiler has no variable and no file of the host.
func TestCompilerIsAlone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("its files are looked for in /proc")
	}
	t.Setenv("WEFT_TEST_SECRET", "hunter2")
	file, err := os.Open(hostFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got := prepared(t, t.Context(), misbehavingSandbox(t, "tell"), watModule(t, "empty"))
	if want := "the module can't be compiled: [WEFT_COMPILER=1] []"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCompilerTime: a compiler is killed when its time is over, and when the
// load's is. Those that it started are killed with it.
func TestCompilerTime(t *testing.T) {
	wasm := watModule(t, "empty")
	s := misbehavingSandbox(t, "wait")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, want := prepared(t, ctx, s, wasm), "compiling it was given up: context deadline exceeded"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.compileTime = 100 * time.Millisecond
	if got, want := prepared(t, t.Context(), s, wasm), "compiling it took longer than 0.1s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	// The inner shell holds the pipes: were it alive, no end of them would be read.
	s.compiler = []string{sh, "-c", "sh -c 'while :; do sleep 100; done' & wait"}
	if got, want := prepared(t, t.Context(), s, wasm), "compiling it took longer than 0.1s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCompilerQueue: a load that waits for its turn ends with its context.
func TestCompilerQueue(t *testing.T) {
	s := misbehavingSandbox(t, "wait")
	for range cap(s.compilers) {
		s.compilers <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, want := prepared(t, ctx, s, watModule(t, "empty")), "waiting for a compiler: context canceled"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range cap(s.compilers) {
		<-s.compilers
	}
}

// TestCompileBomb: a module that takes half a minute to compile is stopped in
// the middle, were it ever to come past the rewriter, which refuses it.
func TestCompileBomb(t *testing.T) {
	s := newSandbox(t, Options{CacheDir: t.TempDir()})
	s.compileTime = 500 * time.Millisecond
	err := s.runCompiler(t.Context(), t.TempDir(), attackerModule(t, "attackers/compile-bomb"))
	if err == nil || err.Error() != "compiling it took longer than 0.5s" {
		t.Errorf("got %v", err)
	}
}

// TestCompilerOrphan: a compiler ends in the middle of its work when its sandbox
// is gone.
func TestCompilerOrphan(t *testing.T) {
	p, err := startCompiler(t.Context(), testCompiler(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	wasm := attackerModule(t, "attackers/compile-bomb")
	head := fmt.Sprintf(`{"Dir":%q,"Size":%d,"Memory":%d,"CPU":600}`, t.TempDir(), len(wasm), compileMemory)
	if _, err := p.stdin.Write(append([]byte(head+"\n"), wasm...)); err != nil {
		t.Fatal(err)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(p.stdout); err != nil || len(said) > 0 {
		t.Errorf("it reported %q, %v", said, err)
	}
	if err := p.end(); err != nil || p.stderr.String() != "" {
		t.Errorf("it ended with %v and said %q", err, p.stderr)
	}
}

// TestPrepareOnce: loads of one module at the same time compile once.
func TestPrepareOnce(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	count := filepath.Join(t.TempDir(), "count")
	counting := append([]string{sh, "-c", `echo compiled >>"$0"; exec "$@"`, count}, testCompiler(t)...)
	s := newSandbox(t, Options{CacheDir: t.TempDir(), Compiler: counting})
	wasm := watModule(t, "empty")
	var loads sync.WaitGroup
	for range 8 {
		loads.Go(func() {
			if problem := prepared(t, t.Context(), s, wasm); problem != "" {
				t.Error(problem)
			}
		})
	}
	loads.Wait()
	if got := string(readFile(t, count)); got != "compiled\n" {
		t.Errorf("it was %q, want once", got)
	}
}

// TestCompileStrangers: what nobody but a sandbox starts says so.
func TestCompileStrangers(t *testing.T) {
	for _, in := range []string{"help\n", "{}", `{"Size":-1}` + "\n", `{"Size":1000000000000}` + "\n", `{"Size":5}` + "\nxx", strings.Repeat("x", 1<<20), "{}\n"} {
		err := Compile(t.Context(), strings.NewReader(in), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "this command is for weft itself") && !strings.Contains(err.Error(), "no limits were given") {
			t.Errorf("%.20q: %v", in, err)
		}
	}
	if err := Compile(t.Context(), strings.NewReader(""), io.Discard); err != nil {
		t.Errorf("without a request: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, out := io.Pipe()
	defer out.Close()
	if err := Compile(ctx, in, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context: %v", err)
	}
}

// TestNoSandboxInCompiler: a program that forgets to call Compile doesn't start
// itself again and again.
func TestNoSandboxInCompiler(t *testing.T) {
	t.Setenv(childVariable, "1")
	if _, err := New(t.Context(), Options{}); err == nil {
		t.Error("a compiler's process has a sandbox")
	}
}
