package sandbox

import (
	"strings"
	"testing"
)

// TestLinearMemory: it grows in place, with zeros, to its limit, and says when
// that was refused; what a memory begins with is there.
func TestLinearMemory(t *testing.T) {
	const limit = 5*pageSize + 1000 // not whole pages
	m, err := newLinearMemory(2*pageSize, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	if m.size() != 0 {
		t.Errorf("size %d before the first page", m.size())
	}
	for pages := uint64(0); pages <= 5; pages++ {
		b := m.Reallocate(pages * pageSize)
		if uint64(len(b)) != pages*pageSize || b == nil {
			t.Fatalf("%d bytes for %d pages", len(b), pages)
		}
		if m.size() != int64(len(b)) || m.refused {
			t.Errorf("%d pages: size %d, refused %v", pages, m.size(), m.refused)
		}
		for i := range b[max(0, len(b)-pageSize):] {
			if at := max(0, len(b)-pageSize) + i; b[at] != 0 {
				t.Fatalf("byte %d is %d", at, b[at])
			}
		}
		for i := range b {
			b[i] = byte(pages)
		}
	}
	for _, size := range []uint64{6 * pageSize, limit + 1, 1 << 40, 1<<64 - 1} {
		m.refused = false
		if b := m.Reallocate(size); b != nil || !m.refused {
			t.Errorf("%d bytes: got %d, refused %v", size, len(b), m.refused)
		}
	}
	if b := m.Reallocate(5 * pageSize); b[0] != 5 || b[5*pageSize-1] != 5 {
		t.Error("what was there is gone")
	}
	for range 2 {
		if err := m.free(); err != nil || m.size() != 0 {
			t.Errorf("free gave %v, size %d", err, m.size())
		}
	}
}

// TestLinearMemoryLimits: a limit below a page, and one that no system grants.
func TestLinearMemoryLimits(t *testing.T) {
	m, err := newLinearMemory(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if b := m.Reallocate(0); len(b) != 0 || m.Reallocate(pageSize) != nil {
		t.Error("a page for a limit of a byte")
	}
	m.Free()
	for _, limit := range []uint64{1 << 60, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		if m, err := newLinearMemory(0, limit); err == nil {
			t.Errorf("%d bytes were granted", limit)
			m.Free()
		}
	}
}

// TestInstanceMemoryGoes: whatever way an instance ends, its memory is given
// back, and the plugin's figure follows.
func TestInstanceMemoryGoes(t *testing.T) {
	p := load(t, newSandbox(t, Options{}), watSpec(t, "empty", ""))
	before := p.Stats().Memory
	if before <= 0 {
		t.Fatalf("%d bytes for one idle instance", before)
	}
	in, failed := p.acquire(t.Context(), "shop")
	if failed != nil {
		t.Fatal(failed)
	}
	p.giveBack(t.Context(), in, "shop", &CallError{broken: true})
	if n := in.linear.size(); n != 0 || in.linear.space.all != nil || p.pool.memory() != 0 {
		t.Errorf("%d bytes are left, %d in the pool", n, p.pool.memory())
	}
	if _, err := handle(p, textCall('0')); err != nil {
		t.Fatal(err)
	}
	if p.pool.memory() != before {
		t.Errorf("%d bytes, want %d", p.pool.memory(), before)
	}
	in = p.pool.shared.idle[0]
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if in.linear.size() != 0 || in.linear.space.all != nil {
		t.Error("an idle instance's memory outlives its plugin")
	}
}

// TestInstanceNoMemory: an instance that the system has no memory for is an
// error of its call, not the guest's fault.
func TestInstanceNoMemory(t *testing.T) {
	p := load(t, newSandbox(t, Options{}), watSpec(t, "empty", ""))
	in, failed := p.acquire(t.Context(), "shop") // takes the one that there is
	if failed != nil {
		t.Fatal(failed)
	}
	defer p.giveBack(t.Context(), in, "shop", nil)
	p.limits.Memory = 1 << 62
	_, err := p.Handle(t.Context(), textCall('0'))
	if e := callError(t, err); e.Reason() != "error" || !strings.HasPrefix(e.Text(), "no instance could be started: reserve 4294967296GiB of address space: ") {
		t.Errorf("got %v", err)
	}
	if s := p.Stats(); s.Instances != 1 {
		t.Errorf("%d instances", s.Instances)
	}
}
