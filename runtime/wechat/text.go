package wechat

import "unicode/utf8"

// appendCDATA appends s as a CDATA section. Characters that XML forbids are
// left out, broken UTF-8 becomes U+FFFD, and ]]> is split over two sections.
func appendCDATA(dst []byte, s string) []byte {
	dst = append(dst, "<![CDATA["...)
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '>':
				dst = append(dst, s[from:i]...)
				from = i
				if n := len(dst); dst[n-1] == ']' && dst[n-2] == ']' {
					dst = append(dst, "]]><![CDATA["...)
				}
			case c != '\r' && classes[c]&inCDATA == 0:
				dst = append(dst, s[from:i]...)
				from = i + 1
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		broken := r == utf8.RuneError && n == 1
		if broken || !isChar(r) {
			dst = append(dst, s[from:i]...)
			from = i + n
			if broken {
				dst = append(dst, "\uFFFD"...)
			}
		}
		i += n
	}
	dst = append(dst, s[from:]...)
	return append(dst, "]]>"...)
}

// appendJSON appends s as a JSON string, in raw UTF-8 without escapes but for
// what JSON demands. Broken UTF-8 becomes U+FFFD.
func appendJSON(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[from:i]...)
				dst = append(dst, "\uFFFD"...)
				from = i + n
			}
			i += n
			continue
		}
		if classes[c]&inString != 0 {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		}
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
