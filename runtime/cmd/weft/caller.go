package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/weft-dev/weft/runtime/server"
)

func callerNewCommand() command {
	return command{
		name: "caller new", synopsis: "NAME [--apps shop,club] [--paths '/cgi-bin/user/*'] [--credential access_token] [--rate 50/s] [--json]",
		summary: "Makes a key for a system that calls the host",
		help: `It prints the key, which nothing keeps and nobody can print again, and the line for callers in pipeline.yaml, which has the
key's SHA-256. The system shows the key with each request: Authorization: Bearer KEY.

With --json it prints one object: name, key, hash and line. Later versions only add to it.`,
		run: runCallerNew,
	}
}

func runCallerNew(_ context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	apps := fs.String("apps", "", "the `APPS` that it may call for, with commas between, or all")
	paths := fs.String("paths", "", "`PATHS` of WeChat's API that it may call, with commas between")
	credential := fs.String("credential", "", "the `KINDS` of credentials that it may read, with commas between")
	rate := fs.String("rate", "", "requests that go through, such as 50/s or 100/m; a `RATE`")
	asJSON := fs.Bool("json", false, "print one object for programs")
	names, err := parse(fs, args)
	switch {
	case err != nil:
		return err
	case len(names) != 1:
		return usageError{"it takes one NAME"}
	}
	scope := server.CallerScope{Apps: commas(*apps), Paths: commas(*paths), Credential: commas(*credential), Rate: *rate}
	k, err := server.NewCallerKey(names[0], scope)
	if err != nil {
		return usageError{err.Error()}
	}
	if len(scope.Apps) == 0 || len(scope.Paths)+len(scope.Credential) == 0 {
		fmt.Fprintln(stdio.Err, "weft caller new: the caller may do nothing yet: that takes --apps, and --paths or --credential")
	}
	if *asJSON {
		err = writeJSON(stdio.Out, struct {
			Name string `json:"name"`
			Key  string `json:"key"`
			Hash string `json:"hash"`
			Line string `json:"line"`
		}{names[0], k.Key, k.Hash, k.Line})
	} else {
		_, err = fmt.Fprintf(stdio.Out, "The key of %s, which is shown this once:\n\n  %s\n\nUnder callers in pipeline.yaml:\n\n  %s\n", names[0], k.Key, k.Line)
	}
	if err != nil {
		return fmt.Errorf("printing the key: %w", err)
	}
	return nil
}

// commas are the parts of a list with commas between, without blanks around.
func commas(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
