package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/weft-dev/weft/runtime/server"
)

func callbackCommand() command {
	return command{
		name:     "callback",
		synopsis: "--app shop [--text … | --event subscribe [--key …] | --xml FILE] [--user …] [--url …] [--raw]",
		summary:  "Sends a callback as WeChat would, and prints the answer",
		help: `The callback is sealed and signed with the app's secrets from the configuration; the answer is verified and
opened. A text answer is printed as its text, any other as its document.`,
		run: runCallback,
	}
}

func runCallback(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	var c server.Callback
	file := configFlag(fs)
	fs.StringVar(&c.App, "app", "", "the app, its `NAME` in the configuration")
	fs.StringVar(&c.Text, "text", "", "send a text message with this `TEXT`")
	fs.StringVar(&c.Event, "event", "", "send an event by its `NAME`: subscribe, SCAN, CLICK …")
	fs.StringVar(&c.Key, "key", "", "the event's `KEY` (EventKey)")
	document := fs.String("xml", "", "send the document in `FILE` as it stands, XML or JSON; - is standard input")
	fs.StringVar(&c.User, "user", "oSampleUser0000000000000001", "from whom, an `OPENID`")
	fs.StringVar(&c.URL, "url", "", "where to, a `URL`; else /wx/APP at server.listen")
	raw := fs.Bool("raw", false, "print the answer's document, a text's too")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if err := checkCallback(fs, c); err != nil {
		return err
	}
	if *document != "" {
		var err error
		if c.Document, err = readDocument(*document, stdio.In); err != nil {
			return err
		}
		if len(bytes.TrimSpace(c.Document)) == 0 {
			return errors.New("the document is empty: give a callback's XML or JSON with --xml")
		}
	}
	answer, err := server.SendCallback(ctx, *file, c)
	if err != nil {
		return err
	}
	out := string(answer.Document)
	if answer.Text != "" && !*raw {
		out = answer.Text
	}
	_, err = fmt.Fprintln(stdio.Out, out)
	return err
}

// checkCallback refuses flags that contradict each other.
func checkCallback(fs *flag.FlagSet, c server.Callback) error {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	kinds := 0
	for _, name := range []string{"text", "event", "xml"} {
		if set[name] {
			kinds++
		}
	}
	switch {
	case !set["app"]:
		return usageError{"--app is missing"}
	case kinds != 1:
		return usageError{"one of --text, --event and --xml is needed"}
	case set["event"] && c.Event == "":
		return usageError{"--event has no name"}
	case set["key"] && !set["event"]:
		return usageError{"--key goes with --event"}
	case set["xml"] && set["user"]:
		return usageError{"--user does not go with --xml: the document names its sender"}
	}
	return nil
}

func readDocument(file string, in io.Reader) ([]byte, error) {
	if file == "-" {
		doc, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("reading the document from standard input: %w", err)
		}
		return doc, nil
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	return doc, nil
}
