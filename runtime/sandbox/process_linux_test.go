package sandbox

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestLimitResources: limits that the process was started with are not raised,
// which only a privileged one could do. It runs in a child process, because
// limits can't be taken back.
func TestLimitResources(t *testing.T) {
	const child = "WEFT_TEST_LIMITS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLimitResources$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestLimitResources") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	size, err := ownAddressSpace()
	if err != nil {
		t.Fatal(err)
	}
	limit := func(resource int) uint64 {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(resource, &l); err != nil {
			t.Fatal(err)
		}
		if l.Cur != l.Max {
			t.Errorf("resource %d: the process could raise its %d to %d", resource, l.Cur, l.Max)
		}
		return l.Max
	}
	for _, step := range []struct{ memory, cpu, wantMemory, wantCPU int64 }{
		{4 << 30, 2000, 4 << 30, 2000},
		{2 << 30, 1000, 2 << 30, 1000},
		{3 << 30, 3000, 2 << 30, 1000},
	} {
		if err := limitResources(step.memory, step.cpu); err != nil {
			t.Fatal(err)
		}
		// Since size was read the process may have grown.
		if got := int64(limit(syscall.RLIMIT_AS) - size); got < step.wantMemory || got >= step.wantMemory+1<<29 {
			t.Errorf("%d bytes of memory: got %d, want %d", step.memory, got, step.wantMemory)
		}
		if got := strings.TrimSpace(string(readFile(t, "/proc/self/oom_score_adj"))); got != "1000" {
			t.Errorf("oom_score_adj is %s", got)
		}
		if got := limit(syscall.RLIMIT_CPU); got != uint64(step.wantCPU) {
			t.Errorf("%d s: got %d, want %d", step.cpu, got, step.wantCPU)
		}
	}
}
