package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/weft-dev/weft/runtime/server"
)

func doctorCommand() command {
	return command{
		name: "doctor", synopsis: "[-c pipeline.yaml] [--app NAME] [--admin URL] [--json]",
		summary: "Looks at what a host needs from WeChat, Redis and others",
		help: `It dials what check doesn't, from the machine that it runs on: run it where a host runs. Of each app it looks at

  secret        whether WeChat takes app_id and app_secret (a normal call of stable_token, which voids nothing)
  address       whether this machine is on the account's IP allow-list; if not, which address is to be added
  credentials   whether the other system has a token, with credentials.from http or redis; it is read once
  callback      whether WeChat finds the callback's address, and its pings get there
  callback_ip   where WeChat's callbacks come from
  quota         how many calls of a few paths are left today; a warning under 10 %
  clock         this machine's beside WeChat's: a warning over 30 s, wrong over max_skew

and of what the apps share at host (a running one), public (server.public, and how long its certificate is good) and
redis, sentinels, appendfsync, replicas, eviction and clock. The embedded store isn't opened. Of an app with
credentials.plain no token is fetched, because that voids the one in use: the running host is asked at server.admin, or
with --admin URL, whose token is then $WEFT_ADMIN_TOKEN.

It prints a line for each, and what to do. A check takes 10 s at most. Exit status 1 where something is wrong; warnings
are not.

With --json it prints one object: findings (app, check, state: fine, info, left_out, warning or wrong, text, advice,
errcode: code, class, meaning, meaning_zh, advice, advice_zh and rid of WeChat's answer; addresses of callback_ip), and how
many are wrong and warnings. Later versions only add to it.`,
		run: runDoctor,
	}
}

// doctorJSON is the output of doctor --json.
type doctorJSON struct {
	Findings []server.Finding `json:"findings"`
	Wrong    int              `json:"wrong"`
	Warnings int              `json:"warnings"`
}

func runDoctor(ctx context.Context, fs *flag.FlagSet, args []string, stdio Stdio) error {
	file := configFlag(fs)
	opt := server.DoctorOptions{AdminToken: os.Getenv("WEFT_ADMIN_TOKEN")}
	fs.StringVar(&opt.App, "app", "", "only this app, a `NAME`, and what all share")
	fs.StringVar(&opt.Admin, "admin", "", "the running host's admin address, a `URL`: http://HOST:PORT")
	asJSON := fs.Bool("json", false, "print one object for programs")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	findings, err := server.Doctor(ctx, *file, opt)
	if err != nil {
		return err
	}
	report := doctorJSON{Findings: findings}
	for _, f := range findings {
		switch f.State {
		case server.FindingWrong:
			report.Wrong++
		case server.FindingWarning:
			report.Warnings++
		}
	}
	if *asJSON {
		err = writeJSON(stdio.Out, report)
	} else {
		err = writeDoctor(stdio.Out, report)
	}
	if err != nil {
		return fmt.Errorf("writing what was found: %w", err)
	}
	if report.Wrong > 0 {
		return errPrinted
	}
	return nil
}

// writeDoctor writes a line for each finding, one for what to do about it, and one
// for all.
func writeDoctor(w io.Writer, report doctorJSON) error {
	for _, f := range report.Findings {
		whose := f.Check
		if f.App != "" {
			whose = "app " + f.App + ": " + f.Check
		}
		state := strings.ReplaceAll(string(f.State), "_", " ")
		if _, err := fmt.Fprintf(w, "%-9s %s: %s\n", state, shownText(whose), shownText(f.Text)); err != nil {
			return err
		}
		if f.Advice == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-9s   to do: %s\n", "", shownText(f.Advice)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d wrong, %d warnings\n", report.Wrong, report.Warnings)
	return err
}
