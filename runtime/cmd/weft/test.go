package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/weft-dev/weft/runtime/server"
)

func testCommand() command {
	return command{
		name: "test", synopsis: "[-c pipeline.yaml] [--run REGEXP] [--json] [FILES]",
		summary: "Runs cases against a pipeline or a plugin, with a fake WeChat",
		help: `FILES are files of cases, or folders with a cases.yaml or *.cases.yaml; left out: those beside pipeline.yaml and beside
the modules of its plugins. A file with an app at the top holds cases of that app's pipeline, any other one cases of the
plugin beside it, for which no pipeline.yaml is needed. Each case begins with its own state and its own clock, so that it comes
out the same each time. Nothing is sent: upstreams answer what the case says. The host's store is left alone.

It prints a line for each case, and to standard error one for each thing that is not as expected: file:line:column, what,
what to do. Exit status 1 where a case fails.

With --json it prints one object: passed, failed, cases (file, line, name, app or plugin, events, fuel, ok, failures: file, line,
column, what, expected, got, advice; log) and problems (file, line, column, text, advice). Later versions only add to it.`,
		run: runTest,
	}
}

func runTest(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	opt := server.TestOptions{}
	file := configFlag(fs)
	run := fs.String("run", "", "only cases whose name matches `REGEXP`")
	asJSON := fs.Bool("json", false, "print one object for programs")
	files, err := parse(fs, args)
	if err != nil {
		return err
	}
	opt.Config, opt.Files = *file, files
	if *run != "" {
		if opt.Run, err = regexp.Compile(*run); err != nil {
			return usageError{"--run: " + err.Error()}
		}
	}
	report, err := server.Test(ctx, opt)
	if err != nil {
		return err
	}
	write := writeTest
	if *asJSON {
		write = writeTestJSON
	}
	if err := write(stdio, report); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if !report.OK() {
		return errPrinted
	}
	return nil
}

func writeTestJSON(stdio Stdio, report *server.TestReport) error {
	enc := json.NewEncoder(stdio.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(report)
}

func writeTest(stdio Stdio, report *server.TestReport) error {
	var b strings.Builder
	for _, c := range report.Cases {
		word := "ok  "
		if !c.OK {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %s: %s (%d events)\n", word, c.File, c.Name, c.Events)
		if c.OK {
			continue
		}
		for _, line := range c.Log {
			fmt.Fprintf(&b, "      %s\n", line)
		}
	}
	fmt.Fprintf(&b, "%d passed, %d failed\n", report.Passed, report.Failed)
	if _, err := io.WriteString(stdio.Out, b.String()); err != nil {
		return err
	}
	for _, p := range report.Problems {
		fmt.Fprintln(stdio.Err, p)
	}
	for _, c := range report.Cases {
		for _, f := range c.Failures {
			fmt.Fprintln(stdio.Err, f)
		}
	}
	return nil
}
