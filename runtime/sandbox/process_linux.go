package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// limitResources has the kernel refuse this process more memory than it has and
// what is given, and end it after so many seconds of processor time.
func limitResources(memory, cpu int64) error {
	size, err := ownAddressSpace()
	if err != nil {
		return err
	}
	// The Go runtime reserves address space at its start that it never uses.
	as := syscall.Rlimit{Cur: size + uint64(memory), Max: size + uint64(memory)}
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &as); err != nil {
		return fmt.Errorf("address space: %w", err)
	}
	seconds := syscall.Rlimit{Cur: uint64(cpu), Max: uint64(cpu)}
	if err := syscall.Setrlimit(syscall.RLIMIT_CPU, &seconds); err != nil {
		return fmt.Errorf("processor time: %w", err)
	}
	return nil
}

// ownAddressSpace is that of this process, in bytes.
func ownAddressSpace() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	first, _, _ := bytes.Cut(b, []byte(" "))
	pages, err := strconv.ParseUint(string(first), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/self/statm: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil
}
