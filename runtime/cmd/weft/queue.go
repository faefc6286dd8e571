package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/weft-dev/weft/runtime/server"
)

// queueHelp is the end of the help of each queue command.
const queueHelp = `

It asks the running host at server.admin of the configuration, of which it reads nothing but the section server. With
--admin URL it reads none; the token is then $WEFT_ADMIN_TOKEN.`

func queueListCommand() command {
	return command{
		name: "queue list", synopsis: "[-c pipeline.yaml] [--state dead] [--app shop] [--pipeline main] [--stage score] [--json]",
		summary: "Lists the durable queue, with its dead entries",
		help: `A line for each entry, in the order in which they came: its key, ready, delayed, claimed (being run) or dead, the app, the
stages that it goes on from (- is from the top), the event, failed tries, when it came, when it is run, and why it is dead.
The user and what was written are not shown.

With --json it prints one object: entries (key, state, app, pipeline, stages, async, type, event, attempt, tries,
appended, next, reason) and next, where there is more: the --after of the next page. Later versions only add to it.` + queueHelp,
		run: runQueueList,
	}
}

func queueRetryCommand() command {
	return command{
		name: "queue retry", synopsis: "[-c pipeline.yaml] KEY… | --all [--app shop] [--pipeline main] [--stage score]",
		summary: "Has dead entries of the durable queue run again",
		help: `They are run at once, as if they had not been tried, and are given up again after an hour of failed tries. Exit status 1
where there is no dead entry of a KEY. --json prints one object: changed (how many) and missing (keys).` + queueHelp,
		run: func(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
			return runQueueChange(ctx, fs, args, stdio, queueAction{"retried", (*server.QueueClient).Retry, (*server.QueueClient).RetryAll})
		},
	}
}

func queueDropCommand() command {
	return command{
		name: "queue drop", synopsis: "[-c pipeline.yaml] KEY… | --all [--app shop] [--pipeline main] [--stage score]",
		summary: "Removes dead entries of the durable queue for good",
		help: `Exit status 1 where there is no dead entry of a KEY. --json prints one object: changed (how many) and missing
(keys).` + queueHelp,
		run: func(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
			return runQueueChange(ctx, fs, args, stdio, queueAction{"dropped", (*server.QueueClient).Drop, (*server.QueueClient).DropAll})
		},
	}
}

// queueFlags are the flags of all queue commands.
type queueFlags struct {
	file, admin *string
	asJSON      *bool
	query       server.QueueQuery
}

func newQueueFlags(fs *flag.FlagSet) *queueFlags {
	q := &queueFlags{
		file:   configFlag(fs),
		admin:  fs.String("admin", "", "the host's admin address, a `URL`: http://HOST:PORT"),
		asJSON: fs.Bool("json", false, "print one object for programs"),
	}
	fs.StringVar(&q.query.App, "app", "", "only entries of this app, a `NAME`")
	fs.StringVar(&q.query.Pipeline, "pipeline", "", "only entries of this pipeline, a `NAME`")
	fs.StringVar(&q.query.Stage, "stage", "", "only entries that go on from this stage, a `NAME`")
	return q
}

func (q *queueFlags) client() (*server.QueueClient, error) {
	return server.NewQueueClient(*q.file, *q.admin, os.Getenv("WEFT_ADMIN_TOKEN"))
}

func runQueueList(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	q := newQueueFlags(fs)
	fs.StringVar(&q.query.State, "state", "", "only entries in this `STATE`: ready, delayed, claimed, dead")
	after := fs.String("after", "", "go on after a list that said `NEXT`")
	limit := fs.Int("limit", 100, "entries at most, a `NUMBER`")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	switch q.query.State {
	case "", "ready", "delayed", "claimed", "dead":
	default:
		return usageError{"--state is ready, delayed, claimed or dead"}
	}
	if *limit < 1 {
		return usageError{"--limit is at least 1"}
	}
	client, err := q.client()
	if err != nil {
		return err
	}
	list, err := client.List(ctx, q.query, *after, *limit)
	if err != nil {
		return err
	}
	if *q.asJSON {
		err = writeJSON(stdio.Out, list)
	} else {
		err = writeQueue(stdio.Out, list)
	}
	if err != nil {
		return fmt.Errorf("writing the list: %w", err)
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func writeQueue(w io.Writer, list server.QueueList) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(list.Entries) > 0 {
		fmt.Fprintln(table, "KEY\tSTATE\tAPP\tSTAGE\tEVENT\tTRIES\tCAME\tNEXT\tREASON")
	}
	for _, en := range list.Entries {
		event := en.Event
		if event == "" {
			event = en.Type
		}
		next := "-"
		if en.Next != nil {
			next = shownTime(*en.Next)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", cell(en.Key), cell(en.State), cell(en.App), cell(strings.Join(en.Stages, ",")),
			cell(event), en.Tries, shownTime(en.Appended), next, cell(en.Reason))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if list.Next == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "There is more: --after %s goes on, --limit shows more at once.\n", list.Next)
	return err
}

// shownTime is a time as the operator's clock has it.
func shownTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// cell is a text for a table: - for none.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return shownText(s)
}

// shownText is a text without anything that moves the cursor.
func shownText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// queueAction is retry or drop.
type queueAction struct {
	done string
	keys func(*server.QueueClient, context.Context, []string) (server.QueueChange, error)
	all  func(*server.QueueClient, context.Context, server.QueueQuery) (server.QueueChange, error)
}

func runQueueChange(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio, action queueAction) error {
	q := newQueueFlags(fs)
	all := fs.Bool("all", false, "all dead entries, or all that --app, --pipeline and --stage leave")
	keys, err := parse(fs, args)
	switch {
	case err != nil:
		return err
	case *all == (len(keys) > 0):
		return usageError{"give KEYs, or --all"}
	case !*all && q.query != server.QueueQuery{}:
		return usageError{"--app, --pipeline and --stage go with --all"}
	}
	client, err := q.client()
	if err != nil {
		return err
	}
	var change server.QueueChange
	if *all {
		change, err = action.all(client, ctx, q.query)
	} else {
		change, err = action.keys(client, ctx, keys)
	}
	if err != nil {
		if change.Changed > 0 {
			err = fmt.Errorf("%w: %d entries were %s before", err, change.Changed, action.done)
		}
		return err
	}
	if *q.asJSON {
		err = writeJSON(stdio.Out, change)
	} else {
		_, err = fmt.Fprintf(stdio.Out, "%s: %d\n", action.done, change.Changed)
	}
	if err != nil {
		return fmt.Errorf("writing what was done: %w", err)
	}
	for _, key := range change.Missing {
		fmt.Fprintf(stdio.Err, "weft %s: there is no dead entry %s: see weft queue list --state dead\n", fs.Name(), cell(key))
	}
	if len(change.Missing) > 0 {
		return errPrinted
	}
	return nil
}
