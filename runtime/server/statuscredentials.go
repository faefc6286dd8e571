package server

import (
	"time"

	"github.com/weft-dev/weft/runtime/gateway"
)

// credentialStatus is a credential in the status, as far as somebody wanted it. It
// has nothing of its value.
type credentialStatus struct {
	App     string                   `json:"app"`
	Kind    gateway.CredentialKind   `json:"kind"`
	Source  gateway.CredentialSource `json:"source"`
	State   credentialState          `json:"state"`
	Fetched *time.Time               `json:"fetched,omitempty"` // by whichever host
	Expires *time.Time               `json:"expires,omitempty"`
	// What is wrong with the last attempt, if anything.
	Error   string            `json:"error,omitempty"`
	Errcode int               `json:"errcode,omitempty"`
	Since   *time.Time        `json:"since,omitempty"`        // that attempts fail
	Paused  *time.Time        `json:"paused_until,omitempty"` // nothing is asked before
	Fetches map[string]uint64 `json:"fetches"`                // of this host, by what became of them
}

// credentialState is how a credential is.
type credentialState string

// The states of credentials.
const (
	credentialValid   credentialState = "valid"
	credentialFailing credentialState = "failing" // it is valid, and can't be refreshed
	credentialMissing credentialState = "missing" // there is none
)

// credentialStatuses are those of the apps that the host serves, by app and kind.
func credentialStatuses(stats []gateway.CredentialStats, now time.Time) []credentialStatus {
	all := []credentialStatus{}
	for _, s := range stats {
		one := credentialStatus{
			App: s.App, Kind: s.Kind, Source: s.Source, State: credentialValid, Error: s.Error, Errcode: s.Errcode, Fetches: s.Fetches,
			Fetched: known(s.Fetched), Expires: known(s.Expires), Since: known(s.Since), Paused: known(s.Paused),
		}
		switch {
		case !s.Expires.After(now):
			one.State = credentialMissing
		case s.Error != "":
			one.State = credentialFailing
		}
		all = append(all, one)
	}
	return all
}

// known is a time in UTC, nil where there is none.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
