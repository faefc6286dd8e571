package main

import (
	"context"
	"flag"

	"github.com/weft-dev/weft/runtime/server"
)

func compileCommand() command {
	return command{
		name: "compile", internal: true,
		summary: "Compiles modules for the host that started it",
		help: `Weft starts this command by itself, so that a module that takes too long or too much memory to compile harms
nothing else. It reads requests and modules from standard input.`,
		run: func(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
			if err := parseFlags(fs, args); err != nil {
				return err
			}
			return server.Compile(ctx, stdio.In, stdio.Out)
		},
	}
}
