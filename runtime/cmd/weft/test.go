package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/server"
)

func testCommand() command {
	return command{
		name: "test", synopsis: "[-c pipeline.yaml] [--run REGEXP] [--json] [FILES] | --record OUT.yaml [--app shop] [--count N] [--for 1m] | --schema",
		summary: "Runs cases against a pipeline or a plugin, with a fake WeChat",
		help: `FILES are files of cases, or folders with a cases.yaml or *.cases.yaml; left out: those beside pipeline.yaml and beside
the modules of its plugins. A file with an app at the top holds cases of that app's pipeline, any other one cases of the
plugin beside it, for which no pipeline.yaml is needed. Each case begins with its own state and its own clock, so that it comes
out the same each time. Nothing is sent: upstreams answer what the case says. The host's store is left alone.

It prints a line for each case, and to standard error one for each thing that is not as expected: file:line:column, what,
what to do. Exit status 1 where a case fails.

With --json it prints one object: passed, failed, cases (file, line, name, app or plugin, events, fuel, ok, failures: file, line,
column, what, expected, got, advice; log) and problems (file, line, column, text, advice). Later versions only add to it.

With --record it makes a file of cases of what the running host at server.admin of the configuration answers from now on: up
to --count callbacks of --app, or of all apps, for the time of --for. The host replaces personal data before it tells
anything: the same person is the same one all through the file. README.md says what is replaced, and what is not. With
--admin URL the host is that one; the token is then $WEFT_ADMIN_TOKEN.

With --schema it reads nothing and prints the JSON Schema (2020-12) of files of cases, for editors.`,
		run: runTest,
	}
}

func runTest(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	opt := server.TestOptions{}
	file := configFlag(fs)
	run := fs.String("run", "", "only cases whose name matches `REGEXP`")
	asJSON := fs.Bool("json", false, "print one object for programs")
	var rec server.RecordOptions
	fs.StringVar(&rec.Out, "record", "", "make `OUT.yaml` of what a running host answers")
	fs.StringVar(&rec.App, "app", "", "with --record: only callbacks of this app, a `NAME`")
	fs.IntVar(&rec.Count, "count", 100, fmt.Sprintf("with --record: callbacks at most, a `NUMBER` up to %d", server.MaxRecord))
	fs.DurationVar(&rec.For, "for", time.Minute, "with --record: for how long, a `DURATION`")
	fs.StringVar(&rec.Admin, "admin", "", "with --record: the host's admin address, a `URL`: http://HOST:PORT")
	schema := fs.Bool("schema", false, "print the JSON Schema of files of cases")
	files, err := parse(fs, args)
	if err != nil {
		return err
	}
	if *schema {
		if fs.NFlag() > 1 || len(files) > 0 {
			return usageError{"--schema goes alone"}
		}
		return printSchema(stdio, server.CaseSchema)
	}
	if rec.Out != "" {
		rec.Config = *file
		return runRecord(ctx, rec, files, *run != "" || *asJSON, stdio)
	}
	alone := ""
	fs.Visit(func(f *flag.Flag) {
		if slices.Contains([]string{"app", "count", "for", "admin"}, f.Name) {
			alone = f.Name
		}
	})
	if alone != "" {
		return usageError{"--" + alone + " goes with --record"}
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

// runRecord makes a file of cases of what a host answers.
func runRecord(ctx context.Context, opt server.RecordOptions, files []string, others bool, stdio Stdio) error {
	switch {
	case len(files) > 0 || others:
		return usageError{"--record goes without FILES, --run and --json"}
	case opt.Count < 1 || opt.Count > server.MaxRecord:
		return usageError{fmt.Sprintf("--count is 1 to %d", server.MaxRecord)}
	case opt.For <= 0 || opt.For > server.MaxRecordTime:
		return usageError{fmt.Sprintf("--for is over 0 and up to %s", server.MaxRecordTime)}
	}
	opt.Token = os.Getenv("WEFT_ADMIN_TOKEN")
	report, err := server.Record(ctx, opt, func() { fmt.Fprintln(stdio.Err, "recording") })
	if err != nil {
		return err
	}
	left := ""
	if report.LeftOut > 0 {
		left = fmt.Sprintf(", %d left out", report.LeftOut)
	}
	_, err = fmt.Fprintf(stdio.Out, "%s: %d callbacks%s\n", opt.Out, report.Events, left)
	return err
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
		fmt.Fprintf(&b, "%s  %s: %s (%d events)\n", word, c.File, shownText(c.Name), c.Events)
		if c.OK {
			continue
		}
		for _, line := range c.Log {
			fmt.Fprintf(&b, "      %s\n", shownText(line))
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
