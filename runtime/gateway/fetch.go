package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a FetchRequest, in bytes.
const (
	MaxFetchBody    = 256 << 10
	maxFetchHeader  = 8 << 10 // names and values together
	maxFetchAddress = 8 << 10 // path and query, each
)

// ErrFetch is wrapped by the error of a FetchRequest that is never sent, because
// of what it asks for.
var ErrFetch = errors.New("the request is not allowed")

// FetchRequest is a plugin's request to an upstream.
type FetchRequest struct {
	Method string // GET, HEAD, POST, PUT, PATCH, DELETE
	// Path is below the upstream's URL and begins with a slash; "": the URL itself.
	// Escapes are decoded once; it never leads out of the URL's own path.
	Path  string
	Query string // raw, without '?'; behind the URL's own
	// Header has only names of fetchHeaders. The operator's go before them.
	Header  http.Header
	Body    []byte // not changed
	EventID string
	Attempt uint32
}

// FetchAnswer is what an upstream answered, with whatever status.
type FetchAnswer struct {
	Status int
	Header http.Header // without those of the connection, and without cookies
	Body   []byte      // at most MaxAnswer bytes; the caller's
}

// Fetch sends a plugin's request, signed where there is a secret, and returns the
// answer. Redirects are not followed. Nothing is sent twice but a GET or HEAD, and
// what has an Idempotency-Key, on a kept connection that turns out to be closed.
// Time, connections, circuit and counts are those of Post. The error wraps
// ErrFetch where the request is at fault, and is an *Error else.
func (u *Upstream) Fetch(ctx context.Context, r *FetchRequest) (FetchAnswer, error) {
	req, err := u.fetchRequest(r)
	if err != nil {
		return FetchAnswer{}, err
	}
	var answer FetchAnswer
	failed := u.guard(ctx, func(limited context.Context) (failed *Error, verdict error) {
		answer, failed = u.fetch(limited, req)
		if failed == nil && away(answer.Status) {
			return nil, errSick
		}
		return failed, judge(ctx, failed)
	})
	outcome := resultOK
	switch {
	case failed != nil:
		outcome = failed.result
	case answer.Status < 200 || answer.Status > 299:
		outcome = resultStatus
	}
	u.counts[outcome].Add(1)
	if failed != nil {
		return FetchAnswer{}, failed
	}
	return answer, nil
}

// fetchRequest makes the request, without a context.
func (u *Upstream) fetchRequest(r *FetchRequest) (*http.Request, error) {
	switch r.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE":
	default:
		return nil, fmt.Errorf("%w: the method is none of GET, HEAD, POST, PUT, PATCH, DELETE", ErrFetch)
	}
	if len(r.Body) > MaxFetchBody {
		return nil, fmt.Errorf("%w: its body has over %d bytes", ErrFetch, MaxFetchBody)
	}
	at := u.url
	if r.Path != "" {
		below, err := cleanBelow(r.Path)
		if err != nil {
			return nil, err
		}
		at.RawPath = strings.TrimRight(u.url.EscapedPath(), "/") + below
		if at.Path, err = url.PathUnescape(at.RawPath); err != nil {
			return nil, fmt.Errorf("%w: the path can't be read", ErrFetch)
		}
	}
	if len(r.Query) > maxFetchAddress || strings.ContainsFunc(r.Query, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }) {
		return nil, fmt.Errorf("%w: the query is not encoded, or has over %d bytes", ErrFetch, maxFetchAddress)
	}
	at.RawQuery = joinQuery(at.RawQuery, r.Query)
	req := u.outgoing(r.Method, &at, r.Body, r.EventID, r.Attempt)
	if len(r.Body) == 0 && (r.Method == "GET" || r.Method == "HEAD") {
		req.Body, req.GetBody = http.NoBody, nil
	}
	return req, u.addHeader(req.Header, r.Header)
}

// addHeader puts a plugin's headers beside the operator's.
func (u *Upstream) addHeader(to, from http.Header) error {
	size := 0
	for name, values := range from {
		name = http.CanonicalHeaderKey(name)
		if !fetchHeader(name) || len(values) != 1 {
			return fmt.Errorf("%w: a plugin may set the headers %s, once each", ErrFetch, fetchHeaders)
		}
		value := values[0]
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c >= 0x7f }) {
			return fmt.Errorf("%w: the value of %s is no plain text", ErrFetch, name)
		}
		if size += len(name) + len(value); size > maxFetchHeader {
			return fmt.Errorf("%w: its headers have over %d bytes", ErrFetch, maxFetchHeader)
		}
		if _, operators := u.header[name]; !operators {
			to.Set(name, value)
		}
	}
	return nil
}

// fetchHeaders are those that a plugin may set: they say what is asked, never who
// asks or where.
const fetchHeaders = "Accept, Accept-Language, Content-Language, Content-Type, Idempotency-Key, If-Match, If-Modified-Since, If-None-Match, If-Unmodified-Since, Prefer, X-Correlation-Id, X-Request-Id"

func fetchHeader(name string) bool {
	return slices.Contains(strings.Split(fetchHeaders, ", "), name)
}

// fetch sends a request and reads the answer.
func (u *Upstream) fetch(ctx context.Context, req *http.Request) (FetchAnswer, *Error) {
	resp, err := u.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return FetchAnswer{}, u.failed(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // what could be read was
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return FetchAnswer{}, u.refused(ctx, resp)
	}
	body, failed := u.body(ctx, resp)
	if failed != nil {
		return FetchAnswer{}, failed
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Set-Cookie", "Set-Cookie2",
	} {
		resp.Header.Del(name)
	}
	return FetchAnswer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// cleanBelow escapes a path anew, of which no segment leads up, whoever decodes it
// how often.
func cleanBelow(path string) (string, error) {
	if path[0] != '/' || len(path) > maxFetchAddress {
		return "", fmt.Errorf("%w: the path begins with no slash, or has over %d bytes", ErrFetch, maxFetchAddress)
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil || !utf8.ValidString(decoded) {
			return "", fmt.Errorf("%w: the path can't be read", ErrFetch)
		}
		if decoded == "" && i < len(segments)-1 || leadsAway(decoded) {
			return "", fmt.Errorf("%w: the path has a segment that is empty or of dots, or escapes a slash or a control character", ErrFetch)
		}
		segments[i] = url.PathEscape(decoded)
	}
	return "/" + strings.Join(segments, "/"), nil
}

// leadsAway tells whether some server may take a segment for more than a name,
// decoded again or not.
func leadsAway(segment string) bool {
	const most = 4
	for range most {
		name, _, _ := strings.Cut(segment, ";") // a parameter, to some
		if name != "" && strings.Trim(name, ". ") == "" || strings.ContainsAny(segment, "/\\") ||
			strings.ContainsFunc(segment, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return true
		}
		again, err := url.PathUnescape(segment)
		if err != nil || again == segment {
			return false
		}
		segment = again
	}
	return true
}
