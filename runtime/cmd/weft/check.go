package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"github.com/weft-dev/weft/runtime/server"
)

func checkCommand() command {
	return command{
		name: "check", synopsis: "[-c pipeline.yaml] [--no-env] [--strict] [--json]",
		summary: "Checks a configuration and every plugin it names, and serves nothing",
		help: `It prints a line for each problem: file:line:column, what is wrong, what to do. Exit status 1 where one is an
error; warnings are none, but with --strict.`,
		run: runCheck,
	}
}

// problemJSON is one problem in the output of check --json.
type problemJSON struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Warning bool   `json:"warning"`
	Text    string `json:"text"`
	Advice  string `json:"advice,omitempty"`
}

func runCheck(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	file := configFlag(fs)
	noEnv := fs.Bool("no-env", false, "read no variable and no secret file: what has no default is left open and unchecked")
	strict := fs.Bool("strict", false, "take warnings for errors")
	asJSON := fs.Bool("json", false, `print {"problems":[…]} for programs`)
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	problems, err := server.Check(ctx, *file, *noEnv)
	if err != nil {
		return err
	}
	if *asJSON {
		list := make([]problemJSON, len(problems))
		for i, p := range problems {
			list[i] = problemJSON{p.Pos.File, p.Pos.Line, p.Pos.Col, p.Warning, p.Text, p.Advice}
		}
		enc := json.NewEncoder(stdio.Out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(map[string]any{"problems": list}); err != nil {
			return fmt.Errorf("writing the problems: %w", err)
		}
	} else {
		for _, p := range problems {
			fmt.Fprintln(stdio.Err, p)
		}
	}
	if problems.Err() != nil || *strict && len(problems) > 0 {
		return errPrinted
	}
	return nil
}
