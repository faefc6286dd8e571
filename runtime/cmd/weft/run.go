package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/server"
)

// Stdio is what a command reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exit statuses.
const (
	statusFine  = 0
	statusWrong = 1 // what the command looked at is wrong, or it failed
	statusUsage = 2
)

// command is one word of the command line.
type command struct {
	name     string // the words after weft
	synopsis string // its arguments
	summary  string // one line
	help     string // what follows the summary in its own help
	internal bool   // not for users: the overview leaves it out
	run      func(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error
}

func commands() []command {
	return []command{serveCommand(), checkCommand(), doctorCommand(), testCommand(), replayCommand(), graphCommand(), callbackCommand(), callerNewCommand(), queueListCommand(), queueRetryCommand(), queueDropCommand(), pluginBuildCommand(), pluginCheckCommand(), versionCommand(), compileCommand()}
}

// usageError is a mistake in the arguments.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// errPrinted ends a command that has already said what is wrong.
var errPrinted = errors.New("already printed")

// Run runs the command in args until it is done or ctx ends, and returns the
// exit status: 0 fine, 1 what it looked at is wrong, 2 usage. Errors go to
// stdio.Err, one a line.
func Run(ctx context.Context, args []string, stdio Stdio) int {
	cmd, rest, ok := find(args)
	if !ok {
		begin, help := args, false
		if n := len(args) - 1; n >= 0 && (args[n] == "--help" || args[n] == "-h" || args[n] == "help") {
			begin, help = args[:n], true
		}
		switch text := overview(begin); {
		case text != "" && help:
			fmt.Fprint(stdio.Out, text)
			return statusFine
		case text != "":
			fmt.Fprint(stdio.Err, text)
			return statusUsage
		}
		fmt.Fprintf(stdio.Err, "weft: there is no command %q: see weft --help\n", strings.Join(args[:min(2, len(args))], " "))
		return statusUsage
	}
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	err := cmd.run(ctx, fs, rest, stdio)
	var usage usageError
	switch {
	case err == nil:
		return statusFine
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdio.Out, helpOf(cmd, fs))
		return statusFine
	case errors.As(err, &usage):
		fmt.Fprintf(stdio.Err, "weft %s: %s: see weft %s --help\n", cmd.name, usage.text, cmd.name)
		return statusUsage
	case errors.Is(err, server.ErrAddress):
		fmt.Fprintf(stdio.Err, "weft %s: %s: see weft %s --help\n", cmd.name, err, cmd.name)
		return statusUsage
	case interrupted(ctx, err):
		fmt.Fprintf(stdio.Err, "weft %s: interrupted\n", cmd.name)
	case !errors.Is(err, errPrinted):
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stdio.Err, "weft %s: %s\n", cmd.name, strings.TrimRight(line, "\n"))
		}
	}
	return statusWrong
}

// interrupted tells whether err is nothing but the end of ctx, by a signal.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}

// find takes the command's words off args.
func find(args []string) (cmd command, rest []string, ok bool) {
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == c.name {
			return c, args[len(words):], true
		}
	}
	return command{}, nil, false
}

// parse reads flags and positional arguments in any order and returns the
// positional ones. Its errors are usageErrors or flag.ErrHelp.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var positional []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, flag.ErrHelp
			}
			return nil, usageError{err.Error()}
		}
		if fs.NArg() == 0 {
			return positional, nil
		}
		positional, args = append(positional, fs.Arg(0)), fs.Args()[1:]
	}
}

// parseFlags is parse for a command without positional arguments.
func parseFlags(fs *flag.FlagSet, args []string) error {
	positional, err := parse(fs, args)
	if err != nil || len(positional) == 0 {
		return err
	}
	if fs.Lookup("c") != nil {
		return usageError{fmt.Sprintf("%q is too much: a configuration is named with -c", positional[0])}
	}
	return usageError{fmt.Sprintf("%q is too much", positional[0])}
}

// configFlag adds -c.
func configFlag(fs *flag.FlagSet) *string {
	return fs.String("c", "pipeline.yaml", "the configuration, a `FILE`")
}

// overview lists the commands that begin with these words, "" where there is
// none.
func overview(words []string) string {
	var b strings.Builder
	b.WriteString("Weft runs sandboxed plugins behind WeChat callbacks.\n\n")
	found := false
	for _, c := range commands() {
		if all := strings.Fields(c.name); !c.internal && len(words) < len(all) && slices.Equal(words, all[:len(words)]) {
			found = true
			fmt.Fprintf(&b, "  weft %-14s %s\n", c.name, c.summary)
		}
	}
	if !found {
		return ""
	}
	b.WriteString("\nweft COMMAND --help says more. Exit status: 0 fine, 1 what it looked at is wrong, 2 usage.\n")
	return b.String()
}

func helpOf(c command, fs *flag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "weft %s", c.name)
	if c.synopsis != "" {
		b.WriteString(" " + c.synopsis)
	}
	fmt.Fprintf(&b, "\n\n%s.\n", c.summary)
	if c.help != "" {
		b.WriteString(c.help + "\n")
	}
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		fmt.Fprintf(&b, "\n  %-18s %s", strings.TrimRight(dashes+f.Name+" "+value, " "), usage)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(&b, " (default %s)", f.DefValue)
		}
	})
	return strings.TrimRight(b.String(), "\n") + "\n"
}
