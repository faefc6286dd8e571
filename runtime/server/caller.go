package server

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-dev/weft/runtime/config"
)

// CallerScope is what a caller may do, in the words of pipeline.yaml.
type CallerScope struct {
	Apps       []string // names; the one word all stands for all of them
	Paths      []string
	Credential []string
	Rate       string // "": no bound
}

// CallerKey is a key for a caller. Nothing keeps it: it can't be had again.
type CallerKey struct {
	Key  string // a secret: what the caller shows
	Hash string // sha256: and the key's SHA-256 in hex
	Line string // of callers in pipeline.yaml
}

// NewCallerKey makes a key for a caller of this name, from 32 random bytes. The
// error says what of the name or the scope pipeline.yaml would refuse.
func NewCallerKey(name string, scope CallerScope) (CallerKey, error) {
	appName := regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	for _, app := range scope.Apps {
		if !appName.MatchString(app) {
			return CallerKey{}, fmt.Errorf("%q is not the name of an app", app)
		}
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	key := "wk_" + hex.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(key))
	k := CallerKey{Key: key, Hash: "sha256:" + hex.EncodeToString(sum[:])}
	k.Line = callerLine(name, k.Hash, scope)
	cfg, problems := config.Parse("", []byte("weft: 1\ncallers:\n  "+k.Line+"\n"), config.Options{})
	for _, p := range problems {
		if !p.Warning {
			p.Text = strings.TrimPrefix(p.Text, "callers: ")
			if p.Advice != "" {
				p.Text += " (" + p.Advice + ")"
			}
			return CallerKey{}, errors.New(p.Text)
		}
	}
	if len(cfg.Callers) != 1 || cfg.Callers[0].Name != name {
		return CallerKey{}, errors.New("the name of a caller is small letters, digits and -")
	}
	return k, nil
}

// callerLine is the caller as it stands under callers.
func callerLine(name, hash string, s CallerScope) string {
	parts := []string{"key: " + strconv.Quote(hash)}
	if slices.Equal(s.Apps, []string{"all"}) {
		parts = append(parts, "apps: all")
	} else {
		parts = append(parts, "apps: "+flowList(s.Apps))
	}
	if len(s.Paths) > 0 {
		parts = append(parts, "paths: "+flowList(s.Paths))
	}
	if len(s.Credential) > 0 {
		parts = append(parts, "credential: "+flowList(s.Credential))
	}
	if s.Rate != "" {
		parts = append(parts, "rate: "+flowText(s.Rate))
	}
	return flowText(name) + ": { " + strings.Join(parts, ", ") + " }"
}

// flowList writes a list of texts in YAML's flow style.
func flowList(texts []string) string {
	if len(texts) == 0 {
		return "[]"
	}
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = flowText(t)
	}
	return "[ " + strings.Join(quoted, ", ") + " ]"
}

// flowText writes a text in YAML's flow style, without quotes where it is a word
// that YAML reads as nothing else.
func flowText(s string) string {
	plain := regexp.MustCompile(`^([a-z][a-z0-9_-]*|[1-9][0-9]*/[sm])$`)
	if plain.MatchString(s) && !slices.Contains([]string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}, s) {
		return s
	}
	return strconv.Quote(s)
}
