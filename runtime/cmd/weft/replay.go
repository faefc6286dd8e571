package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/server"
)

func replayCommand() command {
	return command{
		name: "replay", synopsis: "FILE… [-c pipeline.yaml] --against next.yaml [--fuel 10%] [--run REGEXP] [--json]",
		summary: "Gives recorded events to two configurations, and shows what differs",
		help: `FILE holds cases of an app, as weft test --record makes them; what they expect is not looked at. Each event goes to
pipeline.yaml and to next.yaml, with the same state before, the same clock and the same answers of upstreams. Nothing is
sent, and the host's store is left alone.

It prints each answer, effect (a value of state, an upstream that is asked, and what it is told), annotations and stage path that differ, side by
side, then fuel and time of both. Exit status 1 where an answer or an effect differs, or where next.yaml takes more fuel than
--fuel allows.

With --json it prints one object: config, against, cases, events, answers, effects, annotations, paths (how many differ),
fuel and time_us (config, against), fuel_over, differences (file, line, column, case, what, config, against) and problems (file, line,
column, text, advice). Later versions only add to it.`,
		run: runReplay,
	}
}

func runReplay(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	opt := server.ReplayOptions{Fuel: -1}
	file := configFlag(fs)
	fs.StringVar(&opt.Against, "against", "", "the other configuration, a `FILE`")
	fuel := fs.String("fuel", "", "how much more fuel it may take, a `PERCENT` such as 10%; left out: any")
	run := fs.String("run", "", "only cases whose name matches `REGEXP`")
	asJSON := fs.Bool("json", false, "print one object for programs")
	files, err := parse(fs, args)
	switch {
	case err != nil:
		return err
	case len(files) == 0:
		return usageError{"FILE is missing"}
	case opt.Against == "":
		return usageError{"--against is missing"}
	}
	opt.Config, opt.Files = *file, files
	if *fuel != "" {
		opt.Fuel, err = strconv.ParseFloat(strings.TrimSuffix(*fuel, "%"), 64)
		if err != nil || !(opt.Fuel >= 0 && opt.Fuel <= 1e6) { // NaN is neither
			return usageError{"--fuel is a percentage such as 10%"}
		}
	}
	if *run != "" {
		if opt.Run, err = regexp.Compile(*run); err != nil {
			return usageError{"--run: " + err.Error()}
		}
	}
	report, err := server.Replay(ctx, opt)
	if err != nil {
		return err
	}
	write := writeReplay
	if *asJSON {
		write = writeReplayJSON
	}
	if err := write(stdio, report); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if !report.OK() {
		return errPrinted
	}
	return nil
}

func writeReplayJSON(stdio Stdio, report *server.ReplayReport) error {
	enc := json.NewEncoder(stdio.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(report)
}

func writeReplay(stdio Stdio, r *server.ReplayReport) error {
	var b strings.Builder
	width := max(len(r.Config), len(r.Against))
	for _, d := range r.Differences {
		fmt.Fprintf(&b, "%s:%d:%d: %s\n", d.File, d.Line, d.Column, d.What)
		fmt.Fprintf(&b, "  %-*s  %s\n  %-*s  %s\n", width, r.Config, orNone(d.Config), width, r.Against, orNone(d.Against))
	}
	if n := r.Answers + r.Effects + r.Annotations + r.Paths - len(r.Differences); n > 0 {
		fmt.Fprintf(&b, "and %d more differences\n", n)
	}
	fmt.Fprintf(&b, "%d events of %d cases: %d answers differ, %d effects, %d annotations, %d paths\n", r.Events, r.Cases, r.Answers, r.Effects, r.Annotations, r.Paths)
	fmt.Fprintf(&b, "fuel  %-*d  %d (%s)\n", 14, r.Fuel.Config, r.Fuel.Against, r.Fuel.Percent())
	fmt.Fprintf(&b, "time  %-*s  %s (%s)\n", 14, micros(r.TimeUS.Config), micros(r.TimeUS.Against), r.TimeUS.Percent())
	if _, err := io.WriteString(stdio.Out, b.String()); err != nil {
		return err
	}
	for _, p := range r.Problems {
		fmt.Fprintln(stdio.Err, p)
	}
	if r.FuelOver {
		fmt.Fprintf(stdio.Err, "%s: takes more fuel than --fuel allows (%s)\n", r.Against, r.Fuel.Percent())
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return shownText(s)
}

func micros(n int64) string { return (time.Duration(n) * time.Microsecond).String() }
