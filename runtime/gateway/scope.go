package gateway

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Bounds of a Target, in bytes.
const (
	maxPath  = 512
	maxQuery = 16 << 10
)

// ErrTarget is wrapped by every error of a call that is made for nobody, whatever
// the scope: its path or query is not plain, or it asks for a credential.
var ErrTarget = errors.New("the call is not allowed")

// Target is a call of WeChat's API that may be made where a scope allows it. It
// is sent as it was matched: decoded once, and with nothing left to decode.
type Target struct {
	method, path, query string
}

// NewTarget looks at a method, a path as it came (escaped, from the slash on
// after the app's name) and a query (raw, without '?'). Every error wraps
// ErrTarget and repeats nothing of what came.
//
// Refused are, beside what no call of WeChat's has (segments of dots, empty
// ones, escaped slashes and dots, whatever is no letter, digit or one of -._~),
// a query with an access_token and the calls that hand out credentials.
func NewTarget(method, escapedPath, rawQuery string) (Target, error) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE":
	default:
		return Target{}, fmt.Errorf("%w: WeChat has no such method", ErrTarget)
	}
	path, err := cleanPath(escapedPath)
	if err != nil {
		return Target{}, err
	}
	if handsOut(path) {
		return Target{}, fmt.Errorf("%w: its answer is a credential, which the host keeps: see /credential", ErrTarget)
	}
	query, err := cleanQuery(rawQuery)
	if err != nil {
		return Target{}, err
	}
	return Target{method: method, path: path, query: query}, nil
}

// Method is the HTTP method.
func (t Target) Method() string { return t.method }

// Path is what scopes, limits and quotas know the call by. It begins with a slash.
func (t Target) Path() string { return t.path }

// Query is what goes out beside the token, encoded.
func (t Target) Query() string { return t.query }

// cleanPath decodes a path. What it returns is its own clean path.
func cleanPath(escaped string) (string, error) {
	if len(escaped) < 2 || escaped[0] != '/' || len(escaped) > maxPath {
		return "", fmt.Errorf("%w: the path is empty or has over %d bytes", ErrTarget, maxPath)
	}
	clean := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c == '%' {
			if i+2 >= len(escaped) {
				return "", fmt.Errorf("%w: the path's escapes are wrong", ErrTarget)
			}
			high, low := unhex(escaped[i+1]), unhex(escaped[i+2])
			if c = high<<4 | low; high > 15 || low > 15 || c == '.' || !unreserved(c) {
				return "", fmt.Errorf("%w: the path escapes what is no letter, digit or one of -_~", ErrTarget)
			}
			i += 2
		} else if c != '/' && !unreserved(c) {
			return "", fmt.Errorf("%w: the path holds what is no letter, digit or one of -._~", ErrTarget)
		}
		clean = append(clean, c)
	}
	path := string(clean)
	if !namesOnly(path) {
		return "", fmt.Errorf("%w: the path has a segment that is empty or of dots", ErrTarget)
	}
	return path, nil
}

// isClean tells whether a path is what cleanPath returns.
func isClean(path string) bool {
	if len(path) < 2 || path[0] != '/' || len(path) > maxPath {
		return false
	}
	for i := range len(path) {
		if path[i] != '/' && !unreserved(path[i]) {
			return false
		}
	}
	return namesOnly(path)
}

// namesOnly tells whether each segment of a path is a name: not empty, and not of
// dots.
func namesOnly(path string) bool {
	name := false
	for i := 1; i < len(path); i++ {
		switch path[i] {
		case '/':
			if !name {
				return false
			}
			name = false
		case '.':
		default:
			name = true
		}
	}
	return name
}

// unhex is the value of a hexadecimal digit; over 15 where it is none.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// unreserved is RFC 3986's word for what means the same escaped or not.
func unreserved(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("-._~", c) >= 0
}

// cleanQuery encodes a query anew, so that nobody reads another name in it than
// was looked at here. Names and values stay in order.
func cleanQuery(raw string) (string, error) {
	if len(raw) > maxQuery {
		return "", fmt.Errorf("%w: the query has over %d bytes", ErrTarget, maxQuery)
	}
	var clean strings.Builder
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || strings.Contains(part, ";") {
			return "", fmt.Errorf("%w: the query can't be read", ErrTarget)
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return "", fmt.Errorf("%w: the query can't be read", ErrTarget)
		}
		if namesToken(name) {
			return "", fmt.Errorf("%w: the query has an access_token, which is the host's to add", ErrTarget)
		}
		if clean.Len() > 0 {
			clean.WriteByte('&')
		}
		clean.WriteString(url.QueryEscape(name))
		clean.WriteByte('=')
		clean.WriteString(url.QueryEscape(value))
	}
	if clean.Len() > maxQuery {
		return "", fmt.Errorf("%w: the query has over %d bytes", ErrTarget, maxQuery)
	}
	return clean.String(), nil
}

// namesToken tells whether some server may take a query's name for access_token:
// letter case, blanks, brackets and what frameworks make of dots are not looked at.
func namesToken(name string) bool {
	letters := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return -1
	}, name)
	return strings.Contains(letters, "accesstoken")
}

// handsOut tells whether the answer to a call is a credential: tokens, tickets,
// session keys. Letter case is not looked at.
func handsOut(path string) bool {
	path = strings.ToLower(path)
	if slices.Contains([]string{
		"/cgi-bin/token", "/cgi-bin/stable_token", "/cgi-bin/gettoken", "/cgi-bin/ticket/getticket",
		"/wxa/resetusersessionkey", "/tcb/getqcloudtoken",
	}, path) {
		return true
	}
	// The tokens of third-party platforms, and what takes a user's token or the
	// app's secret instead of the app's token.
	return strings.HasPrefix(path, "/cgi-bin/component/") || strings.HasPrefix(path, "/sns/")
}

// Scope is a list of patterns of paths, each `[METHOD ]/seg/*/**`: an upper-case
// method and a blank, or neither for all methods; `*` stands for any part of a
// segment, `**`, a segment of its own, for any number of segments, and at the end
// for one and more. Its zero value allows nothing. It never changes.
type Scope struct{ patterns []pattern }

type pattern struct {
	method string // "": all
	path   string // without the slash before it
}

// ParseScope reads patterns. The error names the first that is none.
func ParseScope(patterns []string) (Scope, error) {
	var s Scope
	for _, text := range patterns {
		p, err := parsePattern(text)
		if err != nil {
			return Scope{}, fmt.Errorf("pattern %q: %w", text, err)
		}
		s.patterns = append(s.patterns, p)
	}
	return s, nil
}

func parsePattern(text string) (pattern, error) {
	var p pattern
	path := text
	if !strings.HasPrefix(text, "/") {
		var blank bool
		p.method, path, blank = strings.Cut(text, " ")
		if !blank || p.method == "" || strings.Trim(p.method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return p, errors.New("it begins with no upper-case method and a blank, and with no slash")
		}
	}
	if !strings.HasPrefix(path, "/") || len(path) > maxPath {
		return p, fmt.Errorf("its path doesn't begin with a slash, or has over %d bytes", maxPath)
	}
	segments := strings.Split(path[1:], "/")
	for _, s := range segments {
		plain := strings.ReplaceAll(s, "*", "")
		switch {
		case s == "**":
		case strings.Contains(s, "**"):
			return p, errors.New("** stands in a segment that has more")
		case strings.Trim(s, ".") == "":
			return p, errors.New("a segment is empty or of dots")
		case slices.ContainsFunc([]byte(plain), func(c byte) bool { return !unreserved(c) }):
			return p, errors.New("it has something else than letters, digits, -._~ and *")
		}
	}
	if last := len(segments) - 1; segments[last] == "**" {
		segments = slices.Insert(segments, last, "*")
	}
	p.path = strings.Join(segments, "/")
	return p, nil
}

// Allows tells whether a call is within the scope. The path is a Target's; one
// that is not clean is in no scope. It allocates nothing.
func (s Scope) Allows(method, path string) bool {
	if !isClean(path) {
		return false
	}
	for _, p := range s.patterns {
		if (p.method == "" || p.method == method) && glob(p.path, path[1:], "**", nextSegment, matchSegment) {
			return true
		}
	}
	return false
}

// matchSegment tells whether a segment is that of a pattern.
func matchSegment(pattern, segment string) bool {
	return glob(pattern, segment, "*", nextByte, func(p, c string) bool { return p == c })
}

// nextSegment and nextByte cut the first part off a text that has one.
func nextSegment(s string) (first, rest string) {
	first, rest, _ = strings.Cut(s, "/")
	return first, rest
}

func nextByte(s string) (first, rest string) { return s[:1], s[1:] }

// glob matches a text with a pattern part by part. Each part of the pattern that
// is many stands for any number of parts of the text; no part is empty. It takes
// at most the product of the lengths.
func glob(pattern, text, many string, next func(string) (first, rest string), one func(pattern, part string) bool) bool {
	var back, from string // behind the last many, and what it has not taken
	passed := false       // a many
	for text != "" {
		if pattern != "" {
			p, behind := next(pattern)
			if p == many {
				back, from, passed = behind, text, true
				pattern = behind
				continue
			}
			if part, rest := next(text); one(p, part) {
				pattern, text = behind, rest
				continue
			}
		}
		if !passed {
			return false
		}
		_, from = next(from) // it takes one more
		pattern, text = back, from
	}
	for pattern != "" {
		p, behind := next(pattern)
		if p != many {
			return false
		}
		pattern = behind
	}
	return true
}
