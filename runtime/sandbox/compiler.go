package sandbox

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Bounds of one compilation. What it takes hangs on the module: 224 KB of a
// hostile one took 31 s.
const (
	compileTime   = time.Minute
	compileMemory = 2 << 30
)

// Bounds of what a compiler's process says.
const (
	maxReport   = 64 << 10
	maxLastWord = 8 << 10
)

// childVariable is the only variable of a compiler's environment. New refuses
// to work where it is set: a program that doesn't call Compile when it is
// started as a compiler would else start itself for ever.
const childVariable = "WEFT_COMPILER"

// compileRequest asks a compiler's process for one module. It is a line of
// JSON on its standard input; the module follows.
type compileRequest struct {
	Dir    string // where the native code goes
	Size   int    // of the module
	Memory int64  // bytes that the process may take more than at its start
	CPU    int64  // seconds of processor time
}

// compileReport is the answer, a line of JSON.
type compileReport struct {
	Go      string // the version that the compiler was built with
	Problem string // why there is no native code; one line
	Memory  bool   // it was out of memory
}

var (
	errCompileTime = errors.New("the time for compiling is over")
	errNoReport    = errors.New("it gave no report")
	errBadReport   = errors.New("its report can't be read")
)

// compilerCommand is the command of a compiler's process: this very program,
// also where its file was replaced since.
func compilerCommand(given []string) ([]string, error) {
	if len(given) > 0 {
		return given, nil
	}
	const self = "/proc/self/exe"
	if _, err := os.Readlink(self); err == nil {
		return []string{self, "compile"}, nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it as a compiler: %w", err)
	}
	return []string{program, "compile"}, nil
}

// runCompiler has native code of a module written into dir, by a process that
// has nothing of this one but the module. Its error is a text for a LoadError.
func (s *Sandbox) runCompiler(ctx context.Context, dir string, wasm []byte) error {
	limited, cancel := context.WithTimeoutCause(ctx, s.compileTime, errCompileTime)
	defer cancel()
	p, err := startCompiler(limited, s.compiler, dir)
	if err != nil {
		return fmt.Errorf("start its compiler: %w", err)
	}
	report, err := p.compile(compileRequest{Dir: dir, Size: len(wasm), Memory: s.compileMemory, CPU: s.compileCPU}, wasm)
	ended := p.end()
	if said := p.stderr.String(); said != "" {
		s.opt.Logger.Debug("compiler", slog.String("text", cleanText([]byte(said))))
	}
	failed := cmp.Or(ended, err)
	if errors.Is(err, errBadReport) {
		failed = err // it was killed for that
	}
	switch {
	case err == nil && ended == nil && report.Problem == "":
		if report.Go != runtime.Version() {
			return fmt.Errorf("its compiler is of %s, this program of %s: start the host again", cleanText([]byte(report.Go)), runtime.Version())
		}
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("compiling it was given up: %w", ctx.Err())
	case context.Cause(limited) == errCompileTime:
		return fmt.Errorf("compiling it took longer than %gs", s.compileTime.Seconds())
	case report.Memory || outOfMemory(p.stderr.String()):
		return fmt.Errorf("compiling it needs more than %s", sizeText(s.compileMemory))
	case report.Problem != "":
		return fmt.Errorf("the module can't be compiled: %s", cleanText([]byte(report.Problem)))
	default:
		return fmt.Errorf("the module can't be compiled: its compiler failed: %s", lastWords(failed, p.stderr.String()))
	}
}

// outOfMemory says whether a Go program ended so, by its last words.
func outOfMemory(said string) bool {
	for _, words := range []string{"out of memory", "cannot allocate memory", "failed to create new OS thread"} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// lastWords says in one line how a process failed.
func lastWords(err error, said string) string {
	text := firstLine(err)
	if said = strings.TrimSpace(said); said != "" {
		said, _, _ = strings.Cut(said, "\n")
		text += ": " + cleanText([]byte(said))
	}
	return text
}

// compilerProcess is a compiler at work.
type compilerProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *head
}

// startCompiler starts one that is killed, with all that it started, when ctx
// ends. end must follow.
func startCompiler(ctx context.Context, command []string, dir string) (*compilerProcess, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{childVariable + "=1"}
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	// Its pipes close then, even where a grandchild holds them.
	cmd.WaitDelay = time.Second
	p := &compilerProcess{cmd: cmd, stderr: &head{max: maxLastWord}}
	cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdout = bufio.NewReader(io.LimitReader(stdout, maxReport))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// compile sends a module and waits for the report. It ends early when the
// process does. One that answers nonsense is killed.
func (p *compilerProcess) compile(req compileRequest, wasm []byte) (report compileReport, err error) {
	head, err := json.Marshal(req)
	if err != nil {
		return report, err
	}
	for _, part := range [][]byte{head, []byte("\n"), wasm} {
		if _, err := p.stdin.Write(part); err != nil {
			return report, errNoReport // how the process ended says why
		}
	}
	line, err := p.stdout.ReadBytes('\n')
	if err != nil && len(line) == 0 {
		return report, errNoReport
	}
	if err == nil {
		err = json.Unmarshal(line, &report)
	}
	if err != nil {
		return compileReport{}, errors.Join(errBadReport, killGroup(p.cmd.Process))
	}
	return report, nil
}

// end lets the process end, and waits for it.
func (p *compilerProcess) end() error {
	// It ends by itself when it has nothing more to read.
	errIn := p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		return err
	}
	if errIn != nil && !errors.Is(errIn, os.ErrClosed) {
		return errIn
	}
	return nil
}

// head keeps the first bytes that are written to it.
type head struct {
	max int
	b   bytes.Buffer
}

func (h *head) Write(b []byte) (int, error) {
	h.b.Write(b[:min(len(b), h.max-h.b.Len())])
	return len(b), nil
}

func (h *head) String() string { return h.b.String() }
