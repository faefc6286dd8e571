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
		name: "check", synopsis: "[-c pipeline.yaml] [--no-env] [--strict] [--json] | --schema",
		summary: "Checks a configuration and every plugin it names, and serves nothing",
		help: `It prints a line for each problem: file:line:column, what is wrong, what to do. Exit status 1 where one is an
error; warnings are none, but with --strict.

With --schema it reads nothing and prints the JSON Schema (2020-12) of pipeline.yaml, with which an editor completes and
checks one. Save it, and name it in the first line: # yaml-language-server: $schema=weft.schema.json`,
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
	schema := fs.Bool("schema", false, "print the JSON Schema of pipeline.yaml")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if *schema {
		if fs.NFlag() > 1 {
			return usageError{"--schema goes alone"}
		}
		return printSchema(stdio)
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

func printSchema(stdio Stdio) error {
	schema, err := server.Schema()
	if err != nil {
		return err
	}
	if _, err := stdio.Out.Write(schema); err != nil {
		return fmt.Errorf("writing the schema: %w", err)
	}
	return nil
}
