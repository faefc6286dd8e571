//go:build darwin || linux

package sandbox

import (
	"math"
	"syscall"
)

// addressSpace is a private mapping of its own. What of it was not opened takes
// no memory and doesn't count against what the system promises.
type addressSpace struct {
	all    []byte
	opened uint64
}

// reserve takes room for limit bytes; none of them can be used yet.
func reserve(limit uint64) (addressSpace, error) {
	if limit > math.MaxInt-pageSize {
		return addressSpace{}, syscall.ENOMEM
	}
	// Whole pages: a shorter limit is kept by who opens.
	n := max(int(limit+pageSize-1)/pageSize*pageSize, pageSize)
	all, err := syscall.Mmap(-1, 0, n, syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	return addressSpace{all: all}, err
}

// open gives the first size bytes, whole pages and not over what was reserved,
// those that are new as zeros.
func (s *addressSpace) open(size uint64) ([]byte, error) {
	if size > s.opened {
		if err := syscall.Mprotect(s.all[s.opened:size], syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
			return nil, err
		}
		s.opened = size
	}
	return s.all[:size:size], nil
}

func (s *addressSpace) release() error {
	all := s.all
	s.all, s.opened = nil, 0
	return syscall.Munmap(all)
}
