package gateway

import (
	"cmp"
	"slices"
	"time"
)

// CredentialStats is what is known of one credential of an app.
type CredentialStats struct {
	App    string
	Kind   CredentialKind
	Source CredentialSource
	// Fetches counts the attempts of this host by what became of them: ok,
	// unchanged (the known one was given again), busy, refused (the app, its
	// secret, or the request), address (the host's is not on the IP allow-list),
	// limited (the day's quota), errcode (another one), timeout, failed, unusable,
	// none, rationed (too many were refused of late).
	Fetches map[string]uint64
	// LocksLost counts refreshes whose lock was lost before they ended.
	LocksLost uint64
	Fetched   time.Time // zero: there is none; by whichever host
	Expires   time.Time
	// Error is why the last attempt failed, "": it didn't; Result is its class and
	// Errcode WeChat's, 0: none. Since is when the first of those in a row failed,
	// and Paused until when nothing is asked, zero: it may be.
	Error, Result string
	Errcode       int
	Since, Paused time.Time
}

// Stats reads what is known of the credentials that somebody wanted so far, sorted
// by app and kind. Of an app that is open twice it is what was opened last.
func (c *Credentials) Stats() []CredentialStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []CredentialStats
	for _, list := range c.apps {
		for _, s := range list[len(list)-1].app.slots {
			if s == nil {
				continue
			}
			if one, wanted := s.stats(); wanted {
				all = append(all, one)
			}
		}
	}
	slices.SortFunc(all, func(a, b CredentialStats) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Kind, b.Kind))
	})
	return all
}

// stats reads what is known; wanted: somebody has asked for it.
func (s *slot) stats() (one CredentialStats, wanted bool) {
	one = CredentialStats{
		App: s.app.config.App, Kind: s.kind, Source: s.app.config.Source,
		Fetches: make(map[string]uint64, fetchResults), LocksLost: s.counts.lost.Load(),
	}
	for r := range fetchResults {
		one.Fetches[r.String()] = s.counts.fetches[r].Load()
	}
	if h := s.current.Load(); h != nil {
		one.Fetched, one.Expires = h.fetched, h.Expires
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.report.last; f != nil {
		one.Error, one.Result, one.Errcode, one.Since, one.Paused = f.Error(), f.result.String(), f.errcode, s.report.since, s.report.paused
	}
	return one, s.started
}
