package sandbox

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

const pageSize = 64 << 10

// linearMemory is the memory of one instance, outside the Go heap where the
// system allows it. It never moves. It bounds its growth here rather than by
// wazero's page limit, because that refuses in silence: a call that fails after
// it was refused memory is then told apart from any other.
//
// Once freed its addresses are nobody's, or somebody else's: no guest code runs
// and no host code holds a slice of it after that. wazero calls Free as the
// module closes, and nothing may be in the module then.
type linearMemory struct {
	limit   uint64 // bytes
	space   addressSpace
	used    atomic.Int64 // bytes that the guest has
	refused bool         // a growth was refused since it was last set to false

	freeing sync.Once
	freeErr error
}

// newLinearMemory gives a memory that may grow to limit, and whose first size
// bytes are there: Reallocate of so many doesn't fail, which wazero would answer
// with a panic. The error is the system's, which has no memory.
func newLinearMemory(size, limit uint64) (*linearMemory, error) {
	space, err := reserve(limit)
	if err != nil {
		return nil, fmt.Errorf("reserve %s of address space: %w", sizeText(int64(limit)), err)
	}
	m := &linearMemory{limit: limit, space: space}
	if _, err := m.space.open(size); err != nil {
		return nil, errors.Join(fmt.Errorf("take %s of memory: %w", sizeText(int64(size)), err), m.free())
	}
	return m, nil
}

// Allocate implements experimental.MemoryAllocator. It is called once.
func (m *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate implements experimental.LinearMemory: nil where size is over the
// limit or the system has no memory, which memory.grow answers with -1.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > m.limit {
		m.refused = true
		return nil
	}
	b, err := m.space.open(size)
	if err != nil {
		m.refused = true
		return nil
	}
	m.used.Store(int64(size))
	return b
}

// size is how many bytes the guest has; it may be asked at any time.
func (m *linearMemory) size() int64 { return m.used.Load() }

// Free implements experimental.LinearMemory. Whoever closes the module asks
// free what came of it.
func (m *linearMemory) Free() { _ = m.free() }

// free gives the memory back to the system, once, and tells each caller what
// came of that.
func (m *linearMemory) free() error {
	m.freeing.Do(func() {
		m.used.Store(0)
		if err := m.space.release(); err != nil {
			m.freeErr = fmt.Errorf("free its memory: %w", err)
		}
	})
	return m.freeErr
}
