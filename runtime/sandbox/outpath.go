package sandbox

import (
	"net/url"
	"slices"
	"strings"

	"github.com/weft-dev/weft/hostapi"
)

// fetchHeaders are those that a fetch may set, in lower case. Others are the
// operator's or the connection's, or make some servers take the request for
// another one.
func fetchHeaders() []string {
	return []string{
		"accept", "accept-language", "content-language", "content-type", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "prefer",
		"x-correlation-id", "x-request-id",
	}
}

// wrongHeaders says what is wrong with the headers of a fetch; "": nothing.
func wrongHeaders(headers []hostapi.Field) string {
	allowed := fetchHeaders()
	for i := range headers {
		h := &headers[i]
		at := slices.IndexFunc(allowed, func(name string) bool { return strings.EqualFold(name, h.Name) })
		switch {
		case at < 0:
			return "a header is none of " + strings.Join(fetchHeaders(), ", ") + ", or stands there twice"
		case !visible(strings.ReplaceAll(h.Value, " ", "")):
			return "header " + allowed[at] + ": its value has something else than blanks and visible ASCII"
		}
		allowed = slices.Delete(allowed, at, at+1)
	}
	return ""
}

// wrongPath says why a path could leave the url that it goes behind, or be read in
// two ways; "": it can't.
func wrongPath(path string) string {
	if path == "" {
		return ""
	}
	if path[0] != '/' {
		return "the path doesn't begin with a slash"
	}
	for i := range len(path) {
		if c := path[i]; !pathByte(c) {
			return "the path has a character that has to be escaped"
		}
	}
	// Some servers decode twice, take a backslash for a slash, or cut a segment at
	// a semicolon before they look at its dots.
	for text, rounds := path, 0; ; rounds++ {
		if dots(text) || rounds > 3 {
			return "the path has a segment of dots"
		}
		decoded, err := url.PathUnescape(text)
		if err != nil && rounds == 0 {
			return "the path's escapes are wrong"
		}
		if strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "the path escapes a control character"
		}
		if err != nil || decoded == text {
			return ""
		}
		text = decoded
	}
}

// dots tells whether a segment is one that means another folder.
func dots(path string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }), func(segment string) bool {
		segment, _, _ = strings.Cut(segment, ";")
		segment = strings.TrimSpace(segment)
		return segment == "." || segment == ".."
	})
}

// pathByte tells whether RFC 3986 lets a byte stand in a path.
func pathByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("-._~!$&'()*+,;=:@%/", c) >= 0
}
