package identity

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// maxRedirect is the most of an address that a browser is sent to, in bytes: it
// goes into a cookie.
const maxRedirect = 1024

// ErrRedirect says that a browser may not be sent to an address after its login.
var ErrRedirect = errors.New("the address is none that a login may lead to")

// Names of the parameters that the redirect gets.
const (
	ticketParam = "ticket"
	errorParam  = "error"
)

// Redirects are the addresses that a login may lead to. The zero value has none.
type Redirects struct{ allowed []allowed }

// allowed is an origin, with the beginning of a path.
type allowed struct {
	origin string // as originOf gives it
	path   string // whole segments
}

// ParseRedirects reads entries such as https://www.acme.cn/app: scheme, host, port
// and the beginning of the path, of which it is whole segments.
func ParseRedirects(entries []string) (Redirects, error) {
	var r Redirects
	for _, entry := range entries {
		u, err := parseRedirect(entry)
		if err != nil || u.RawQuery != "" || u.Fragment != "" {
			return Redirects{}, fmt.Errorf("redirect %q is no http or https address without a query", entry)
		}
		r.allowed = append(r.allowed, allowed{originOf(u), strings.TrimSuffix(u.Path, "/")})
	}
	return r, nil
}

// Check returns the address as browsers are sent to it. ErrRedirect: it may not be
// one, or could be read in another way than we read it.
func (r Redirects) Check(to string) (string, error) {
	u, err := parseRedirect(to)
	if err != nil {
		return "", err
	}
	for name := range u.Query() {
		if name == ticketParam || name == errorParam { // the page would take them for ours
			return "", ErrRedirect
		}
	}
	origin := originOf(u)
	for _, a := range r.allowed {
		rest, ok := strings.CutPrefix(u.Path, a.path)
		if ok && origin == a.origin && (rest == "" || rest[0] == '/') {
			return bounded(u.String())
		}
	}
	return "", ErrRedirect
}

// bounded refuses what grew too large when it was written anew.
func bounded(to string) (string, error) {
	if len(to) > maxRedirect {
		return "", ErrRedirect
	}
	return to, nil
}

// AllowsOrigin tells whether pages of an origin, as browsers write it, are among
// those that a login may lead to.
func (r Redirects) AllowsOrigin(origin string) bool {
	return slices.ContainsFunc(r.allowed, func(a allowed) bool { return a.origin == origin })
}

// parseRedirect reads an absolute address that every browser reads alike.
func parseRedirect(to string) (*url.URL, error) {
	if len(to) > maxRedirect || !plainAddress(to) {
		return nil, ErrRedirect
	}
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || u.User != nil || !plainHost(u) {
		return nil, ErrRedirect
	}
	// What is between the slashes must be what url.Parse took for it.
	if rest, ok := strings.CutPrefix(to[len(u.Scheme):], "://"); !ok || !strings.HasPrefix(rest, u.Host) {
		return nil, ErrRedirect
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil || !plainPath(u) {
		return nil, ErrRedirect
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// plainAddress tells whether all of an address is what RFC 3986 has in one:
// browsers take tabs out, and read a backslash as a slash.
func plainAddress(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\\\"<>^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

// plainHost tells whether the host is a name or an address as they are compared:
// small letters, no escapes.
func plainHost(u *url.URL) bool {
	if u.Hostname() == "" || strings.HasSuffix(u.Host, ":") {
		return false
	}
	for i := range len(u.Host) {
		c := u.Host[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("-.:[]", c) < 0 {
			return false
		}
	}
	return true
}

// plainPath tells whether a path stays where it is, however often somebody decodes
// it or takes parameters off.
func plainPath(u *url.URL) bool {
	for path, n := u.EscapedPath(), 0; ; n++ {
		for i, seg := range strings.Split(path, "/") {
			name, _, _ := strings.Cut(seg, ";")
			if name == "." || name == ".." || strings.ContainsAny(seg, "\\\x00") || i == 1 && seg == "" && path != "/" {
				return false
			}
		}
		decoded, err := url.PathUnescape(path)
		switch {
		case err != nil && n == 0 || n == 4:
			return false
		case err != nil || decoded == path:
			return true
		case strings.Count(decoded, "/") != strings.Count(path, "/"):
			return false
		}
		path = decoded
	}
}

// originOf is scheme, host and port, without the port of the scheme.
func originOf(u *url.URL) string {
	host := u.Host
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + host
}

// withParam adds a parameter to an address that Check gave, before its fragment.
func withParam(to, name, value string) string {
	to, fragment, has := strings.Cut(to, "#")
	sep := "?"
	if strings.Contains(to, "?") {
		sep = "&"
	}
	to += sep + name + "=" + url.QueryEscape(value)
	if has {
		to += "#" + fragment
	}
	return to
}
