package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// limitResources has the kernel refuse this process more memory than it has and
// what is given, and end it after so many seconds of processor time. Where the
// system runs out of memory before, it is to end this process, not the host.
func limitResources(memory, cpu int64) error {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		fmt.Fprintln(os.Stderr, "go first when memory is short:", err) // for the host's log: the work is done without
	}
	size, err := ownAddressSpace()
	if err != nil {
		return err
	}
	// The Go runtime reserves address space at its start that it never uses.
	if err := lowerLimit(syscall.RLIMIT_AS, size+uint64(memory)); err != nil {
		return fmt.Errorf("address space: %w", err)
	}
	if err := lowerLimit(syscall.RLIMIT_CPU, uint64(cpu)); err != nil {
		return fmt.Errorf("processor time: %w", err)
	}
	return nil
}

// lowerLimit sets a limit of this process, for good. A lower one that it was
// started with stays: only a privileged process could raise that.
func lowerLimit(resource int, limit uint64) error {
	var was syscall.Rlimit
	if err := syscall.Getrlimit(resource, &was); err != nil {
		return err
	}
	limit = min(limit, was.Max)
	return syscall.Setrlimit(resource, &syscall.Rlimit{Cur: min(limit, was.Cur), Max: limit})
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
