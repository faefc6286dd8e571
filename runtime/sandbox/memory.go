package sandbox

import "github.com/tetratelabs/wazero/experimental"

const pageSize = 64 << 10

// linearMemory is the memory of one instance. It bounds its growth here rather
// than by wazero's page limit, because that refuses in silence: a call that
// fails after it was refused memory is then told apart from any other.
type linearMemory struct {
	max     uint64 // bytes
	buf     []byte
	refused bool // a growth was refused since it was last set to false
}

// Allocate implements experimental.MemoryAllocator. It is called once.
func (m *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate implements experimental.LinearMemory: nil where size is over the
// limit, which memory.grow answers with -1.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > m.max {
		m.refused = true
		return nil
	}
	if size > uint64(cap(m.buf)) {
		// A quarter more than asked for, so that growing page by page copies
		// each byte a few times, not a few hundred.
		room := min(max(size, uint64(cap(m.buf))+uint64(cap(m.buf))/4), m.max)
		grown := make([]byte, len(m.buf), room)
		copy(grown, m.buf)
		m.buf = grown
	}
	m.buf = m.buf[:size]
	return m.buf
}

// Free implements experimental.LinearMemory. The collector takes the memory,
// once nothing that still runs can reach it.
func (m *linearMemory) Free() {}
