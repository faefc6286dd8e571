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
		help: `It prints a line for each problem to standard error: file:line:column, what is wrong, what to do. Exit status 1
where one is an error; warnings are none, but with --strict. Warnings tell of stages and branches that no event reaches, of
a when that is true for no event, or for none that its plugin takes, and of times that can't be kept.

A plugin with a timeout over 1s may wait for something, and an upstream always does. For each of these it prints to
standard output how many calls a second its instances, or requests a second its connections, can do where each takes its
timeout.

With --json it prints one object: problems (file, line, column, warning, text, advice) and ceilings (file, line, column,
plugin and instances or upstream and connections, each_app, timeout_ms, per_second). Later versions only add to it.

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

// ceilingJSON is one ceiling in the output of check --json.
type ceilingJSON struct {
	File        string  `json:"file"`
	Line        int     `json:"line"`
	Column      int     `json:"column"`
	Plugin      string  `json:"plugin,omitempty"`
	Instances   int     `json:"instances,omitempty"`
	Upstream    string  `json:"upstream,omitempty"`
	Connections int     `json:"connections,omitempty"`
	EachApp     bool    `json:"each_app"`
	TimeoutMS   int64   `json:"timeout_ms"`
	PerSecond   float64 `json:"per_second"`
}

func runCheck(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	file := configFlag(fs)
	noEnv := fs.Bool("no-env", false, "read no variable and no secret file: what has no default is left open and unchecked")
	strict := fs.Bool("strict", false, "take warnings for errors")
	asJSON := fs.Bool("json", false, "print one object for programs")
	schema := fs.Bool("schema", false, "print the JSON Schema of pipeline.yaml")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if *schema {
		if fs.NFlag() > 1 {
			return usageError{"--schema goes alone"}
		}
		return printSchema(stdio, server.Schema)
	}
	report, err := server.Check(ctx, *file, *noEnv)
	if err != nil {
		return err
	}
	write := writeCheck
	if *asJSON {
		write = writeCheckJSON
	}
	if err := write(stdio, report); err != nil {
		return fmt.Errorf("writing the problems: %w", err)
	}
	if report.Problems.Err() != nil || *strict && len(report.Problems) > 0 {
		return errPrinted
	}
	return nil
}

func writeCheck(stdio Stdio, report *server.CheckReport) error {
	for _, p := range report.Problems {
		fmt.Fprintln(stdio.Err, p)
	}
	for _, c := range report.Ceilings {
		who, what, each, of := "plugin "+c.Plugin, "calls", "", "instances"
		if c.Upstream != "" {
			who, what, of = "upstream "+c.Upstream, "requests", "connections"
		}
		if c.EachApp {
			each = " in each app"
		}
		_, err := fmt.Fprintf(stdio.Out, "%s: %s: at most %.3g %s a second%s where each takes its timeout (%d %s, %s)\n",
			c.Pos, who, c.PerSecond(), what, each, c.AtOnce, of, c.Timeout)
		if err != nil {
			return err
		}
	}
	return nil
}

func writeCheckJSON(stdio Stdio, report *server.CheckReport) error {
	problems, ceilings := make([]problemJSON, len(report.Problems)), make([]ceilingJSON, len(report.Ceilings))
	for i, p := range report.Problems {
		problems[i] = problemJSON{p.Pos.File, p.Pos.Line, p.Pos.Col, p.Warning, p.Text, p.Advice}
	}
	for i, c := range report.Ceilings {
		ceilings[i] = ceilingJSON{
			File: c.Pos.File, Line: c.Pos.Line, Column: c.Pos.Col, Plugin: c.Plugin, Upstream: c.Upstream,
			EachApp: c.EachApp, TimeoutMS: c.Timeout.Milliseconds(), PerSecond: c.PerSecond(),
		}
		if c.Upstream != "" {
			ceilings[i].Connections = c.AtOnce
		} else {
			ceilings[i].Instances = c.AtOnce
		}
	}
	enc := json.NewEncoder(stdio.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Problems []problemJSON `json:"problems"`
		Ceilings []ceilingJSON `json:"ceilings"`
	}{problems, ceilings})
}

func printSchema(stdio Stdio, of func() ([]byte, error)) error {
	schema, err := of()
	if err != nil {
		return err
	}
	if _, err := stdio.Out.Write(schema); err != nil {
		return fmt.Errorf("writing the schema: %w", err)
	}
	return nil
}
