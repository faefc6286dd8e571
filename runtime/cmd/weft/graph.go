package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/weft-dev/weft/runtime/server"
)

func graphCommand() command {
	return command{
		name: "graph", synopsis: "[-c pipeline.yaml]",
		summary: "Draws the pipelines as a Mermaid flowchart",
		help: `It prints the chart for a Markdown file, in a block that begins with ~~~mermaid, or for https://mermaid.live: stages from
the top, the branches of switches with their when, shadows, what canaries get, and with dotted lines where an error leads. Any
plugin may also end the stages. Variables and secret files are not read: what hangs on them is drawn as …`,
		run: func(_ context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
			file := configFlag(fs)
			if err := parseFlags(fs, args); err != nil {
				return err
			}
			chart, err := server.Graph(*file)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(stdio.Out, chart); err != nil {
				return fmt.Errorf("writing the chart: %w", err)
			}
			return nil
		},
	}
}
