package sandbox

import (
	"context"
	"syscall"
	"testing"
)

// TestCompilerMemory: the bound is what the kernel holds, and leaves room for a
// large guest.
func TestCompilerMemory(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p, err := startCompiler(ctx, testCompiler(t, "allocate"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.compile(compileRequest{Memory: compileMemory, CPU: 60}, nil)
	if ended := p.end(); err == nil || ended == nil || !outOfMemory(p.stderr.String()) {
		t.Errorf("it ended with %v, %v and said %q", err, ended, p.stderr)
	}
	if most := p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; most < compileMemory/2 || most > compileMemory+100<<20 {
		t.Errorf("it had %d MiB, want 2 GiB at most", most>>20)
	}
}
