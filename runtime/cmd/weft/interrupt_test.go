package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterruptWhileItReads presses Ctrl-C while a command waits for a pipe, as one
// that reads from a terminal does.
func TestInterruptWhileItReads(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipeline.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var errs strings.Builder
	cmd := exec.CommandContext(ctx, weftBinary(t), "check", "-c", pipe)
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer := openedByReader(ctx, t, pipe)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != statusWrong || errs.String() != "weft check: interrupted\n" {
		t.Errorf("%v, %q", err, errs.String())
	}
	if err := writer.Close(); err != nil {
		t.Error(err)
	}
}

// openedByReader opens a pipe for writing, once somebody reads from it.
func openedByReader(ctx context.Context, t *testing.T, pipe string) *os.File {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			return f
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}
