package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/weft-dev/weft/runtime/server"
)

func serveCommand() command {
	return command{
		name: "serve", synopsis: "[-c pipeline.yaml]",
		summary: "Runs the host",
		help: `It logs to standard error, as JSON lines, as text on a terminal; the line "serving" has the addresses.
SIGTERM and SIGINT stop it: it takes no more callbacks, lets those in flight end, and exits 0.

It sees a change of a file that it was started with within 2 s, and reads all of them again; SIGHUP has it do so at once, and
so does POST /admin/v1/reload on the admin address, which answers when it is done: 200, or 422 with the problems. The new
configuration is started in full beside the one that serves, which goes on where anything is wrong. server and store can't
change without a restart.`,
		run: func(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
			file := configFlag(fs)
			if err := parseFlags(fs, args); err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			return server.Serve(ctx, *file, server.NewLogger(stdio.Err), hangup)
		},
	}
}

func versionCommand() command {
	return command{
		name: "version", summary: "Prints which build this is",
		run: func(_ context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
			if err := parseFlags(fs, args); err != nil {
				return err
			}
			_, err := fmt.Fprintf(stdio.Out, "weft %s\n", server.Version())
			return err
		},
	}
}
