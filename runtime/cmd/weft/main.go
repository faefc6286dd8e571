// Command weft runs and checks Weft hosts, sends them callbacks and builds
// plugins. Package server does the work; what stands here reads arguments and
// prints.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// patience is what a command has to end after a signal. One that reads from a pipe
// or from standard input sees no signal; a host takes the time of its drain.
const patience = 2 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal finds the default in place, and ends the process at once.
	context.AfterFunc(ctx, stop)
	args, status := os.Args[1:], make(chan int, 1)
	go func() { status <- Run(ctx, args, Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}) }()
	var late <-chan time.Time // never, for a host
	select {
	case code := <-status:
		os.Exit(code)
	case <-ctx.Done():
		if len(args) > 0 && args[0] != "serve" {
			late = time.After(patience)
		}
	}
	select {
	case code := <-status:
		os.Exit(code)
	case <-late:
		fmt.Fprintf(os.Stderr, "weft %s: interrupted\n", args[0])
		os.Exit(statusWrong)
	}
}
