package config

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Forms of patterns of WeChat's paths, and of rates.
var (
	patternForm = regexp.MustCompile(`^((GET|HEAD|POST|PUT|PATCH|DELETE) )?(/[A-Za-z0-9._~*-]+)+$`)
	rateForm    = regexp.MustCompile(`^[1-9][0-9]{0,5}/[sm]$`)
)

const (
	maxPathPattern  = 512 // bytes
	maxPathPatterns = 256 // in a list or a mapping
	patternWhat     = `a path of WeChat's API, such as /cgi-bin/user/* or "POST /cgi-bin/message/**"`
)

// givesCredential tells whether what a path answers is a credential, which is open
// to nobody: gateway.NewTarget refuses the same ones, as a test of server holds.
// Letter case is not looked at.
func givesCredential(path string) bool {
	path = strings.ToLower(path)
	return slices.Contains([]string{
		"/cgi-bin/token", "/cgi-bin/stable_token", "/cgi-bin/gettoken", "/cgi-bin/ticket/getticket",
		"/wxa/resetusersessionkey", "/tcb/getqcloudtoken",
	}, path) || strings.HasPrefix(path, "/cgi-bin/component/") || strings.HasPrefix(path, "/sns/")
}

// pathPattern reads [METHOD ]/segment/…, where * is any part of a segment and **
// any number of segments.
func pathPattern() kind[string] {
	return single(shape{form: "string", what: patternWhat, pattern: patternForm.String()}, false, func(s string) (string, error) {
		return s, checkPattern(s)
	})
}

func checkPattern(s string) error {
	path := s[strings.LastIndexByte(s, ' ')+1:]
	segments := strings.Split(path, "/")
	dots := func(seg string) bool { return seg != "" && strings.Trim(seg, ".") == "" }
	mixed := func(seg string) bool { return strings.Contains(seg, "**") && seg != "**" }
	switch {
	case len(path) > maxPathPattern:
		return errors.New("has over " + strconv.Itoa(maxPathPattern) + " bytes")
	case slices.ContainsFunc(segments, mixed):
		return errors.New("holds ** beside other characters: it stands for whole segments")
	case !patternForm.MatchString(s):
		return notThat()
	case slices.ContainsFunc(segments, dots):
		return errors.New("holds a segment of dots")
	case givesCredential(path):
		return errors.New("answers with a credential, which is open to nobody: see credential of callers")
	}
	return nil
}

// patterns reads a list of patterns.
func patterns() kind[[]string] {
	return atMost(maxPathPatterns, "patterns", listOf("a list of paths of WeChat's API", pathPattern()))
}

// byPattern reads a mapping of patterns to values.
func byPattern[V any](what string, elem kind[V]) kind[map[string]V] {
	k := mapOf(what, elem)
	k.shape.keys = patternForm.String()
	plain := k.read
	k.read = func(d *decoder, n *node) (map[string]V, bool) {
		for _, e := range n.entries {
			var bad *badValue
			switch err := checkPattern(e.key); {
			case errors.As(err, &bad):
				d.add(e.pos, show(e.key)+" is not "+patternWhat, "")
			case err != nil:
				d.add(e.pos, show(e.key)+" "+err.Error(), "")
			}
		}
		return plain(d, n)
	}
	return atMost(maxPathPatterns, "patterns", k)
}

// rate reads calls per second or minute.
func rate() kind[Rate] {
	return single(shape{form: "string", what: "a rate such as 50/s or 100/m, at most 999999", pattern: rateForm.String()}, false, func(s string) (Rate, error) {
		if !rateForm.MatchString(s) {
			return Rate{}, notThat()
		}
		calls, unit, _ := strings.Cut(s, "/")
		n, err := strconv.Atoi(calls)
		if err != nil {
			return Rate{}, notThat()
		}
		return Rate{Calls: n, Per: map[string]time.Duration{"s": time.Second, "m": time.Minute}[unit]}, nil
	})
}
