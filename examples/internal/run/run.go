// Package run is for the tests of examples: it runs one as its README says, in a
// copy, with the command as users have it.
package run

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Example is a copy of an example, its addresses with free ports.
type Example struct {
	root  string // in the place of the repository: what the README's commands start from
	dir   string // of the example below it
	ports *strings.Replacer
}

var address = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// New copies the example whose folder the test runs in, beside the project's
// compiled plugins, and builds the command.
func New(t testing.TB) *Example {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	repository := filepath.Join(here, "..", "..")
	e := &Example{root: t.TempDir(), dir: filepath.Join("examples", filepath.Base(here))}
	e.copyFiles(t, here)
	e.Build(t, "weft", "./runtime/cmd/weft")
	modules, err := filepath.Glob(filepath.Join(repository, "plugins", "*", "plugin.yaml"))
	if err != nil || len(modules) == 0 {
		t.Fatalf("the project's plugins: %v, %v", modules, err)
	}
	for _, m := range modules {
		name := filepath.Base(filepath.Dir(m))
		source := filepath.Join(repository, "plugins", name, name+".wasm")
		if _, err := os.Stat(source); err != nil {
			e.Command(t, "bin/weft", "plugin", "build", filepath.Dir(source))
		}
		e.write(t, filepath.Join("plugins", name, name+".wasm"), read(t, source))
	}
	return e
}

// copyFiles copies the example, but for its tests.
func (e *Example) copyFiles(t testing.TB, here string) {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(here, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".go") {
			return err
		}
		name, err := filepath.Rel(here, path)
		files[name] = read(t, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	e.choosePorts(t, files)
	for name, content := range files {
		e.write(t, filepath.Join(e.dir, name), []byte(e.ports.Replace(string(content))))
	}
}

// choosePorts gives each address in the files a free port, below those that
// systems give out by themselves, so that no other test gets one meanwhile.
func (e *Example) choosePorts(t testing.TB, files map[string][]byte) {
	t.Helper()
	var pairs []string
	chosen := map[string]bool{}
	for _, content := range files {
		for _, found := range address.FindAllString(string(content), -1) {
			for tries := 0; !chosen[found]; tries++ {
				ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
				if err != nil && tries == 100 {
					t.Fatalf("no port is free: %v", err)
				}
				if err == nil {
					defer func() { _ = ln.Close() }() // all at the end, so that no two are the same
					chosen[found] = true
					pairs = append(pairs, found, ln.Addr().String())
				}
			}
		}
	}
	e.ports = strings.NewReplacer(pairs...)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (e *Example) write(t testing.TB, name string, content []byte) {
	t.Helper()
	path := filepath.Join(e.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Read returns a file of the copy.
func (e *Example) Read(t testing.TB, name string) string {
	t.Helper()
	return string(read(t, filepath.Join(e.root, e.dir, name)))
}

// Write puts a file of the copy in its place.
func (e *Example) Write(t testing.TB, name, content string) {
	t.Helper()
	e.write(t, filepath.Join(e.dir, name), []byte(content))
}

// Edit replaces what stands once in a file of the copy.
func (e *Example) Edit(t testing.TB, name, from, to string) {
	t.Helper()
	text := e.Read(t, name)
	if n := strings.Count(text, from); n != 1 {
		t.Fatalf("%s has %q %d times", name, from, n)
	}
	e.Write(t, name, strings.Replace(text, from, to, 1))
}

// Command runs a program to its end, where the README's commands start, and
// returns what it printed. It must succeed, and complain of nothing.
func (e *Example) Command(t testing.TB, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	to := searched(t)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = e.root, io.MultiWriter(&out, to), io.MultiWriter(&errs, to)
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("%q: %v: %s%s", argv, err, out.String(), errs.String())
	}
	return out.String()
}

// searched takes what a program of the test writes to where .ci/search looks for
// secrets.
func searched(t testing.TB) io.Writer {
	t.Helper()
	into := os.Getenv("WEFT_TEST_OUTPUT")
	if into == "" { // nobody searches
		return io.Discard
	}
	f, err := os.CreateTemp(into, "example-*.log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Build compiles a program of the repository into the copy's bin.
func (e *Example) Build(t testing.TB, name, pkg string) {
	t.Helper()
	out := filepath.Join(e.root, "bin", name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, pkg)
	cmd.Dir = filepath.Join("..", "..") // of the folder of the test
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v: %s", pkg, err, said)
	}
}

// Config is the path of the copy's pipeline.yaml for commands.
func (e *Example) Config() string { return filepath.Join(e.dir, "pipeline.yaml") }

// Ask sends a callback with weft callback and returns what it prints, without the
// end of the line.
func (e *Example) Ask(t testing.TB, app string, flags ...string) string {
	t.Helper()
	argv := append([]string{"bin/weft", "callback", "-c", e.Config(), "--app", app}, flags...)
	return strings.TrimSuffix(e.Command(t, argv...), "\n")
}

// HTTP sends a request to an address as the README has it and returns status and
// body.
func (e *Example) HTTP(t testing.TB, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.ports.Replace(url), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Address is the one that the copy has in the place of an address of the README.
func (e *Example) Address(shown string) string { return e.ports.Replace(shown) }

// Serve starts the host and waits until it serves.
func (e *Example) Serve(t testing.TB) *Program {
	t.Helper()
	return e.Start(t, `"msg":"serving"`, "bin/weft", "serve", "-c", e.Config())
}

// Program is one that was left running.
type Program struct {
	cmd  *exec.Cmd
	over chan struct{} // closed when it has ended

	mu  sync.Mutex
	log bytes.Buffer // of its standard error
	err error        // after over
}

// Start starts a program and waits until a line of its standard error has ready.
// It ends with the test.
func (e *Example) Start(t testing.TB, ready string, argv ...string) *Program {
	t.Helper()
	p := &Program{cmd: exec.Command(argv[0], argv[1:]...), over: make(chan struct{})}
	to := searched(t)
	p.cmd.Dir, p.cmd.SysProcAttr, p.cmd.Stdout = e.root, &syscall.SysProcAttr{Setpgid: true}, to
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	up := make(chan struct{})
	go p.follow(io.TeeReader(stderr, to), ready, up)
	select {
	case <-up:
	case <-p.over:
		t.Fatalf("%q ended: %v: %s", argv, p.err, p.Log())
	case <-time.After(3 * time.Minute):
		t.Fatalf("%q never said %q: %s", argv, ready, p.Log())
	}
	return p
}

// follow keeps what the program says until it ends.
func (p *Program) follow(stderr io.Reader, ready string, up chan<- struct{}) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.log.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		if up != nil && strings.Contains(lines.Text(), ready) {
			close(up)
			up = nil
		}
	}
	p.err = p.cmd.Wait()
	close(p.over)
}

// Log is what the program has said on standard error.
func (p *Program) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// signal reaches what the program has started, too.
func (p *Program) signal(s syscall.Signal) error { return syscall.Kill(-p.cmd.Process.Pid, s) }

// Kill ends the program at once, with what it has started, and waits for its end.
func (p *Program) Kill() {
	_ = p.signal(syscall.SIGKILL) // it may be gone
	<-p.over
}

// Stop ends the program as Ctrl-C does, waits, and fails the test unless it ended
// well.
func (p *Program) Stop(t testing.TB) {
	t.Helper()
	if err := p.signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.over:
	case <-time.After(time.Minute):
		t.Fatalf("it goes on: %s", p.Log())
	}
	if p.err != nil {
		t.Errorf("it ended with %v: %s", p.err, p.Log())
	}
}

// Until repeats what until says until that is true. What it waits for must come:
// the test's own time is the limit.
func Until(t testing.TB, what string, until func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !until() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("never: %s", what)
		}
	}
}
