package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// scarce names the limit that TestMemoryScarce's child sets itself.
const scarce = "WEFT_TEST_SCARCE"

// TestMemoryScarce: where the system grants no memory, an instance doesn't start
// with an error that says so, or memory.grow gives -1; the host goes on. The
// limits are set in a child process, because they can't be taken back.
func TestMemoryScarce(t *testing.T) {
	switch os.Getenv(scarce) {
	case "address space":
		scarceAddressSpace(t)
	case "memory":
		scarceMemory(t)
	default:
		for _, what := range []string{"address space", "memory"} {
			cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryScarce$", "-test.v")
			cmd.Env = append(os.Environ(), scarce+"="+what)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestMemoryScarce") {
				t.Errorf("scarce %s: %v\n%s", what, err, out)
			}
		}
	}
}

// inUse is what the process uses of memory in bytes, by a name of
// /proc/self/status.
func inUse(t *testing.T, name string) uint64 {
	t.Helper()
	for line := range strings.Lines(string(readFile(t, "/proc/self/status"))) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no line %s", name)
	return 0
}

// keepBelow lets the process use so much.
func keepBelow(t *testing.T, resource int, bytes uint64) {
	t.Helper()
	if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: bytes, Max: bytes}); err != nil {
		t.Fatal(err)
	}
}

func scarceAddressSpace(t *testing.T) {
	keepBelow(t, syscall.RLIMIT_AS, inUse(t, "VmSize")+512<<20)
	if _, err := newLinearMemory(pageSize, 1<<30); !errors.Is(err, syscall.ENOMEM) || !strings.Contains(err.Error(), "reserve 1GiB of address space: ") {
		t.Errorf("got %v", err)
	}
	// What is left is enough for others, and comes back.
	for range 100 {
		m, err := newLinearMemory(pageSize, 100<<20)
		if err != nil {
			t.Fatal(err)
		}
		m.Reallocate(2 * pageSize)[pageSize] = 1
		m.Free()
	}
}

func scarceMemory(t *testing.T) {
	keepBelow(t, syscall.RLIMIT_DATA, inUse(t, "VmData")+256<<20)
	m, err := newLinearMemory(pageSize, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	m.Reallocate(pageSize)[0] = 1
	if b := m.Reallocate(512 << 20); b != nil || !m.refused {
		t.Fatalf("got %d bytes, refused %v", len(b), m.refused)
	}
	m.refused = false
	if b := m.Reallocate(64 << 20); b == nil || b[0] != 1 || m.refused || m.size() != 64<<20 {
		t.Errorf("got %d bytes, refused %v, size %d", len(b), m.refused, m.size())
	}
	if _, err := newLinearMemory(512<<20, 1<<30); !errors.Is(err, syscall.ENOMEM) || !strings.Contains(err.Error(), "take 512MiB of memory: ") {
		t.Errorf("got %v", err)
	}
}

// TestInstantiateFails: of modules that can't be instantiated nothing is left;
// wazero doesn't free their memory.
func TestInstantiateFails(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "data-outside", "")
	spec.Limits.Memory = 1 << 30
	before := inUse(t, "VmSize")
	for range 30 {
		if _, err := s.Load(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "out of bounds memory access") {
			t.Fatalf("got %v", err)
		}
	}
	if after := inUse(t, "VmSize"); after > before+10<<30 {
		t.Errorf("%d bytes of addresses before, %d after", before, after)
	}
}
