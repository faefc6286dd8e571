package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/config"
)

const (
	// maxCheckFile is how much is read of a domain check file, in bytes.
	maxCheckFile = 1 << 10
	// maxDomains is how many of an app's domains are looked at.
	maxDomains = 16
)

// domain is one that WeChat is told to be the account's, and the host's own.
type domain struct {
	origin string
	own    bool // it is server.public
}

// lookAtDomains looks for an app's domain check files where WeChat does: at the
// host's public address, and of those that name a domain of pages, where the pages
// are.
func (d *doctor) lookAtDomains(ctx context.Context, app *config.App) []Finding {
	if len(app.DomainFiles) == 0 {
		return nil
	}
	var all []domain
	if d.cfg.Server.Public != "" {
		all = append(all, domain{d.cfg.Server.Public, true})
	}
	if app.JSAPI != nil {
		for _, origin := range app.JSAPI.Hosts {
			if origin != d.cfg.Server.Public && len(all) < maxDomains {
				all = append(all, domain{origin, false})
			}
		}
	}
	if len(all) == 0 {
		return []Finding{{Check: "domain_files", State: FindingLeftOut, Text: "neither server.public nor jsapi.hosts says where WeChat looks for the check files"}}
	}
	return within(ctx, func(ctx context.Context) (found []Finding) {
		for _, at := range all {
			found = append(found, d.filesAt(ctx, app, at)...)
		}
		return found
	})
}

// filesAt looks for the check files at one domain, and tells of the first that isn't
// there.
func (d *doctor) filesAt(ctx context.Context, app *config.App, at domain) []Finding {
	seen := 0
	for _, name := range slices.Sorted(maps.Keys(app.DomainFiles)) {
		if !at.own && !strings.HasPrefix(name, "MP_verify_") {
			continue
		}
		seen++
		why := d.fileAt(ctx, at.origin+"/"+name, app.DomainFiles[name])
		if why == "" {
			continue
		}
		f := Finding{
			Check: "domain_files", State: FindingWarning, Text: at.origin + "/" + name + " " + why,
			Advice: "have " + at.origin + " answer that path with the file, or hand it on to the host: WeChat takes the domain only where it finds it",
		}
		if at.own {
			f.Advice = "server.public leads to the host only where what stands before it hands every path on; start the host with this configuration"
		}
		return []Finding{f}
	}
	if seen == 0 {
		return nil
	}
	return []Finding{{Check: "domain_files", State: FindingFine, Text: "WeChat finds the check files at " + at.origin}}
}

// fileAt reads a check file and says what is wrong with it; "": nothing is. None of
// what is answered is told.
func (d *doctor) fileAt(ctx context.Context, address, content string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "is no address"
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return "isn't reached from this machine: " + broken(ctx, err)
	}
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxCheckFile))
	switch err := errors.Join(err, resp.Body.Close()); {
	case err != nil:
		return "isn't reached from this machine: " + broken(ctx, err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Sprintf("answers with status %d", resp.StatusCode)
	case strings.TrimSpace(string(got)) != content:
		return "answers with something else than domain_files has"
	}
	return ""
}
