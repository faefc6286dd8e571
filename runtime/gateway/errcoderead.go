package gateway

import (
	"bytes"
	"strconv"
	"strings"
)

// said is what the beginning of an answer says of an errcode.
type said struct {
	code  int
	found bool   // there is an errcode, be it 0
	text  string // errmsg, as it stands between its quotes
}

// readErrcode looks for the errcode of an answer in its beginning, which may be
// cut anywhere. It takes what WeChat sends and a strict reader refuses: control
// characters and broken UTF-8 in strings, the code as a string, and the base_resp
// that the device APIs wrap it in.
func readErrcode(b []byte) said {
	var top, inner said
	s := lenient{b: bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))}
	if !s.take('{') {
		return top
	}
	s.object(&top, &inner)
	if !top.found && inner.found {
		return inner
	}
	return top
}

// lenient walks over JSON that may be cut or have odd bytes in its strings. Each
// of its methods leaves pos at the end where there is nothing more.
type lenient struct {
	b   []byte
	pos int
}

// object reads the members of an object, from after its brace to after the one
// that closes it. inner gets what base_resp says; nil: it isn't looked at.
func (s *lenient) object(into, inner *said) {
	for !s.take('}') {
		s.take(',')
		key, ok := s.text()
		if !ok || !s.take(':') {
			s.pos = len(s.b)
			return
		}
		switch {
		case strings.EqualFold(key, "errcode"):
			if code, err := strconv.Atoi(s.scalar()); err == nil {
				into.code, into.found = code, true
			}
		case key == "errmsg" && s.at('"'):
			into.text, _ = s.text()
		case key == "base_resp" && inner != nil && s.take('{'):
			s.object(inner, nil)
		default:
			s.skip()
		}
	}
}

// at tells whether c comes next, blanks and control characters not counted.
func (s *lenient) at(c byte) bool {
	for s.pos < len(s.b) && s.b[s.pos] <= ' ' {
		s.pos++
	}
	return s.pos < len(s.b) && s.b[s.pos] == c
}

func (s *lenient) take(c byte) bool {
	if !s.at(c) {
		return false
	}
	s.pos++
	return true
}

// text reads a string, escapes left as they are; false: it is none, or cut.
func (s *lenient) text() (string, bool) {
	if !s.take('"') {
		return "", false
	}
	for from := s.pos; s.pos < len(s.b); s.pos++ {
		switch s.b[s.pos] {
		case '\\':
			s.pos++
		case '"':
			s.pos++
			return string(s.b[from : s.pos-1]), true
		}
	}
	s.pos = len(s.b)
	return "", false
}

// scalar reads a number, a word or a string; "": it is none of them, or cut.
func (s *lenient) scalar() string {
	if s.at('"') {
		text, _ := s.text()
		return text
	}
	from := s.pos
	for ; s.pos < len(s.b); s.pos++ {
		if c := s.b[s.pos]; c <= ' ' || c == ',' || c == '}' || c == ']' {
			return string(s.b[from:s.pos])
		}
		if c := s.b[s.pos]; c == '{' || c == '[' {
			s.skip()
			return ""
		}
	}
	return ""
}

// skip passes over a value.
func (s *lenient) skip() {
	if s.at('"') {
		s.text()
		return
	}
	for depth := 0; s.pos < len(s.b); {
		switch s.b[s.pos] {
		case '"':
			s.text()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return
			}
			if depth--; depth == 0 {
				s.pos++
				return
			}
		case ',':
			if depth == 0 {
				return
			}
		}
		s.pos++
	}
}
