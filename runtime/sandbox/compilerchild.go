package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
)

// maxRewritten bounds what a compiler's process reads: the rewriter's bound.
const maxRewritten = 128 << 20

// Compile is the other side of Load: the whole work of a process that a sandbox
// has started to compile modules, `weft compile`, or the program of a test that
// was started as such. It reads requests from stdin, writes native code to the
// folders that they name and reports to stdout, until stdin ends, which it also
// does when the sandbox is gone.
//
// It bounds the memory and the processor time of its process. When it returns
// early, because ctx or stdin ended, a compilation may still be going on: the
// process must end then. The error says that it was started by somebody else
// than a sandbox.
func Compile(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	requests := make(chan compileJob)
	failed := make(chan error, 1)
	go readJobs(ctx, bufio.NewReader(stdin), requests, failed)
	limited := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case job := <-requests:
			if !limited {
				if err := limitProcess(job.Memory, job.CPU); err != nil {
					return fmt.Errorf("limit the compiler: %w", err)
				}
				limited = true
			}
			done := make(chan compileReport, 1)
			go func() { done <- job.run(ctx) }()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-failed:
				return err
			case report := <-done:
				if err := json.NewEncoder(stdout).Encode(report); err != nil {
					return fmt.Errorf("report: %w", err)
				}
			}
		}
	}
}

// compileJob is a request with its module.
type compileJob struct {
	compileRequest
	wasm []byte
}

// readJobs reads until there is nothing more; then failed gets nil.
func readJobs(ctx context.Context, r *bufio.Reader, jobs chan<- compileJob, failed chan<- error) {
	for {
		job, err := readJob(r)
		if errors.Is(err, io.EOF) {
			failed <- nil
			return
		}
		if err != nil {
			failed <- fmt.Errorf("read a request: %w: this command is for weft itself", err)
			return
		}
		select {
		case jobs <- job:
		case <-ctx.Done():
			return
		}
	}
}

// readJob gives io.EOF where there are no more.
func readJob(r *bufio.Reader) (job compileJob, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return job, err
	}
	if err := json.Unmarshal(line, &job.compileRequest); err != nil {
		return job, err
	}
	if job.Size < 0 || job.Size > maxRewritten {
		return job, fmt.Errorf("a module of %d bytes", job.Size)
	}
	job.wasm = make([]byte, job.Size)
	if _, err := io.ReadFull(r, job.wasm); err != nil {
		return job, fmt.Errorf("the module: %w", io.ErrUnexpectedEOF)
	}
	return job, nil
}

func (j compileJob) run(ctx context.Context) compileReport {
	report := compileReport{Go: runtime.Version()}
	if err := compileInto(ctx, j.Dir, j.wasm); err != nil {
		report.Problem = firstLine(err)
		report.Memory = errors.Is(err, syscall.ENOMEM) || strings.Contains(err.Error(), syscall.ENOMEM.Error())
	}
	return report
}

// limitProcess lets this process take so many more bytes and so many seconds of
// processor time. The collector works harder before that is reached.
func limitProcess(memory, cpu int64) error {
	if memory <= 0 || cpu <= 0 {
		return errors.New("no limits were given")
	}
	debug.SetMemoryLimit(memory / 4 * 3)
	return limitResources(memory, cpu)
}

// isCompiler says whether this process was started as a compiler.
func isCompiler() bool { return os.Getenv(childVariable) != "" }
