package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/weft-dev/weft/runtime/server"
)

func pluginBuildCommand() command {
	return command{
		name: "plugin build", synopsis: "DIR",
		summary: "Compiles a Go plugin to WebAssembly and embeds its plugin.yaml",
		help:    "DIR holds the source and plugin.yaml. It writes DIR/NAME.wasm and prints that path.",
		run: func(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
			dirs, err := parse(fs, args)
			if err != nil {
				return err
			}
			if len(dirs) != 1 {
				return usageError{"one folder is needed"}
			}
			module, err := server.BuildPlugin(ctx, dirs[0], stdio.Err)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(stdio.Out, module)
			return err
		},
	}
}
