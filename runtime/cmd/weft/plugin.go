package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

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

func pluginCheckCommand() command {
	return command{
		name: "plugin check", synopsis: "FILE [--json]",
		summary: "Checks a plugin's module as a host does that loads it",
		help: `FILE is a .wasm file with its plugin.yaml in it; no configuration is needed. It is compiled, and an instance of it
started. What plugin.yaml declares counts as granted, and what it asks for as allowed: notes say what pipeline.yaml needs
for that. It prints what the module is and the notes; problems go to standard error, one a line. Exit status 1 where there
is a problem; notes are none.

With --json it prints one object: file, ok, name, version, digest (SHA-256), size (bytes), capabilities (name, why,
optional), limits (memory in bytes, timeout_ms, fuel), isolation (what it can run with: shared, app, event), exports,
imports, problems and notes (lists of texts); limits are 0 and isolation is empty where there are problems. Later versions only add to it.`,
		run: runPluginCheck,
	}
}

func runPluginCheck(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	asJSON := fs.Bool("json", false, "print one object for programs")
	files, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return usageError{"one file is needed"}
	}
	report, err := server.CheckPlugin(ctx, files[0])
	if err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(stdio.Out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(report); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	} else if err := printReport(stdio, report); err != nil {
		return err
	}
	if !report.OK {
		return errPrinted
	}
	return nil
}

// printReport writes a report for people: problems to stdio.Err, a line each,
// the rest to stdio.Out.
func printReport(stdio Stdio, r *server.PluginReport) error {
	var b strings.Builder
	if r.Name != "" {
		fmt.Fprintf(&b, "%s %s\n", r.Name, r.Version)
	}
	line := func(what, text string) { fmt.Fprintf(&b, "  %-13s %s\n", what, text) }
	line("file", fmt.Sprintf("%s, %d bytes", r.File, r.Size))
	line("digest", "sha256:"+r.Digest)
	for _, c := range r.Capabilities {
		optional := ""
		if c.Optional {
			optional = ", optional"
		}
		line("capability", fmt.Sprintf("%s%s: %s", c.Name, optional, c.Why))
	}
	if len(r.Exports) > 0 {
		line("exports", strings.Join(r.Exports, " "))
	}
	for rest := r.Imports; len(rest) > 0; {
		module, _, _ := strings.Cut(rest[0], ".")
		n := slices.IndexFunc(rest, func(name string) bool { return !strings.HasPrefix(name, module+".") })
		if n < 0 {
			n = len(rest)
		}
		line("imports", module+":"+strings.ReplaceAll(" "+strings.Join(rest[:n], " "), " "+module+".", " "))
		rest = rest[n:]
	}
	if r.OK {
		l := r.Limits
		line("limits", fmt.Sprintf("memory %d bytes, timeout %s, fuel %d", l.Memory, time.Duration(l.TimeoutMS)*time.Millisecond, l.Fuel))
		line("isolation", strings.Trim(fmt.Sprint(r.Isolation), "[]"))
	}
	for _, note := range r.Notes {
		line("note", note)
	}
	if _, err := io.WriteString(stdio.Out, b.String()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	for _, p := range r.Problems {
		for text := range strings.Lines(p) {
			fmt.Fprintf(stdio.Err, "%s: %s\n", r.File, strings.TrimRight(text, "\n"))
		}
	}
	return nil
}
