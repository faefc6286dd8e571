//go:build !(darwin || linux)

package sandbox

// addressSpace is of the Go heap; it moves as it grows.
type addressSpace struct {
	limit uint64
	buf   []byte
}

func reserve(limit uint64) (addressSpace, error) { return addressSpace{limit: limit}, nil }

// open gives the first size bytes, not over what was reserved, those that are
// new as zeros.
func (s *addressSpace) open(size uint64) ([]byte, error) {
	if size > uint64(cap(s.buf)) {
		// A quarter more than asked for, so that growing page by page copies
		// each byte a few times, not a few hundred.
		room := min(max(size, uint64(cap(s.buf))+uint64(cap(s.buf))/4), s.limit)
		grown := make([]byte, len(s.buf), room)
		copy(grown, s.buf)
		s.buf = grown
	}
	s.buf = s.buf[:size]
	return s.buf, nil
}

// release leaves the memory to the collector, once nothing that still runs can
// reach it.
func (s *addressSpace) release() error {
	s.buf = nil
	return nil
}
