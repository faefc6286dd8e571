package wechat

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// What a byte may be. Bytes of 0x80 and more are in no class; they are part of
// characters that are looked at one by one.
const (
	inName   = 1 << iota // of an ASCII name
	inCDATA              // stands for itself in CDATA, comments and the like
	inText               // the same in text and in attribute values
	nameHead             // may begin one
	inString             // stands for itself in a JSON string
	blank                // white space of XML and JSON
)

// classes maps each byte to what it may be.
var classes = [256]uint8{
	'\t': inCDATA | inText | blank, '\n': inCDATA | inText | blank,
	'\r': blank, // becomes a line feed in text, as XML 1.0, 2.11 says
	' ':  inCDATA | inText | inString | blank, '!': plain, '"': inCDATA | inText, '#': plain,
	'$': plain, '%': plain, '&': inCDATA | inString, '\'': plain, '(': plain, ')': plain, '*': plain,
	'+': plain, ',': plain, '-': plain | inName, '.': plain | inName, '/': plain,
	'0': digit, '1': digit, '2': digit, '3': digit, '4': digit,
	'5': digit, '6': digit, '7': digit, '8': digit, '9': digit,
	':': letter, ';': plain, '<': inCDATA | inString, '=': plain, '>': inCDATA | inString,
	'?': plain, '@': plain,
	'A': letter, 'B': letter, 'C': letter, 'D': letter, 'E': letter, 'F': letter, 'G': letter,
	'H': letter, 'I': letter, 'J': letter, 'K': letter, 'L': letter, 'M': letter, 'N': letter,
	'O': letter, 'P': letter, 'Q': letter, 'R': letter, 'S': letter, 'T': letter, 'U': letter,
	'V': letter, 'W': letter, 'X': letter, 'Y': letter, 'Z': letter,
	'[': plain, '\\': inCDATA | inText, ']': plain, '^': plain, '_': letter, '`': plain,
	'a': letter, 'b': letter, 'c': letter, 'd': letter, 'e': letter, 'f': letter, 'g': letter,
	'h': letter, 'i': letter, 'j': letter, 'k': letter, 'l': letter, 'm': letter, 'n': letter,
	'o': letter, 'p': letter, 'q': letter, 'r': letter, 's': letter, 't': letter, 'u': letter,
	'v': letter, 'w': letter, 'x': letter, 'y': letter, 'z': letter,
	'{': plain, '|': plain, '}': plain, '~': plain, 0x7f: plain,
}

const (
	plain  = inCDATA | inText | inString
	digit  = plain | inName
	letter = plain | inName | nameHead
)

// skip returns the first place from i on whose byte is not in class, len(b)
// where all are.
func skip(b []byte, i int, class uint8) int {
	for i < len(b) && classes[b[i]]&class != 0 {
		i++
	}
	return i
}

// skipName is skip for inName, eight bytes at a time and without a branch for
// each.
func skipName(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		w := b[i : i+8]
		m := classes[w[0]]&inName | classes[w[1]]&inName<<1 | classes[w[2]]&inName<<2 | classes[w[3]]&inName<<3
		n := classes[w[4]]&inName | classes[w[5]]&inName<<1 | classes[w[6]]&inName<<2 | classes[w[7]]&inName<<3
		if both := m | n<<4; both != 0xff {
			return i + bits.TrailingZeros8(^both)
		}
	}
	return skip(b, i, inName)
}

// skipText returns the first place from i on whose character is neither in
// inText nor a common one of three bytes; len(b) where there is none. It goes
// eight bytes at a time.
func skipText(b []byte, i int) int {
	for len(b)-i >= 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		// The first high bit is that of a byte of 0x80 and more, below ' ', '&', '<' or '>'.
		x = (x | (x - onesBits*' ') | ((x ^ onesBits*'&') - onesBits) | ((x | onesBits*2 ^ onesBits*'>') - onesBits)) & highBits
		if x == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(x) / 8
		if classes[b[i]]&inText != 0 {
			i++
			continue
		}
		if !common(b[i:]) {
			return i
		}
		for i += 3; common(b[i:]); i += 3 {
		}
	}
	return skip(b, i, inText)
}

// skipCDATA returns the first place from i on whose character is neither in
// inCDATA nor a common one of three bytes, or is ']'; len(b) where there is
// none. It goes eight bytes at a time.
func skipCDATA(b []byte, i int) int {
	for len(b)-i >= 8 {
		x := oddCDATA(b[i:]) & highBits
		if x == 0 {
			for i += 8; len(b)-i >= 32; i += 32 {
				w := (*[32]byte)(b[i:])
				if (oddCDATA(w[:8])|oddCDATA(w[8:16])|oddCDATA(w[16:24])|oddCDATA(w[24:]))&highBits != 0 {
					break
				}
			}
			continue
		}
		i += bits.TrailingZeros64(x) / 8
		if c := b[i]; c < utf8.RuneSelf && c != ']' && classes[c]&inCDATA != 0 {
			i++
			continue
		}
		if !common(b[i:]) {
			return i
		}
		for i += 3; common(b[i:]); i += 3 {
		}
	}
	for i < len(b) && b[i] != ']' && classes[b[i]]&inCDATA != 0 {
		i++
	}
	return i
}

const (
	onesBits = 0x0101010101010101
	highBits = 0x8080808080808080
)

// oddCDATA sets the high bit of the first of eight bytes that is 0x80 or more,
// below ' ', or ']'. It may set others behind that one, and none before.
func oddCDATA(b []byte) uint64 {
	x := binary.LittleEndian.Uint64(b)
	return x | (x - onesBits*' ') | ((x ^ onesBits*']') - onesBits)
}

// common tells whether a character of three bytes is at the front of b that
// needs no closer look: U+1000 to U+CFFF and U+F000 to U+FFBF, so Chinese and
// its punctuation. The last three bytes of b are never taken for one.
func common(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	x := binary.LittleEndian.Uint32(b)
	return x&0xc0c0f0 == 0x8080e0 && (byte(x)-0xe1 <= 0xec-0xe1 || byte(x) == 0xef && byte(x>>8) != 0xbf)
}

// multibyte returns the length of the character of more than one byte at the
// front of b and whether XML allows it; length 0 for broken UTF-8.
func multibyte(b []byte) (n int, allowed bool) {
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n <= 1 {
		return 0, false
	}
	return n, isChar(r)
}

// isChar tells whether XML 1.0 allows the character (production 2, Char).
func isChar(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xd800:
		return true
	case r < 0xe000:
		return false
	}
	return r != 0xfffe && r != 0xffff && r <= utf8.MaxRune
}

// isNameHead and isName tell whether a character outside ASCII may begin, or
// be in, a name (XML 1.0, productions 4 and 4a).
func isNameHead(r rune) bool {
	switch {
	case r >= 0xc0 && r <= 0x2ff:
		return r != 0xd7 && r != 0xf7
	case r >= 0x370 && r <= 0x1fff:
		return r != 0x37e
	case r >= 0x200c && r <= 0x200d, r >= 0x2070 && r <= 0x218f, r >= 0x2c00 && r <= 0x2fef,
		r >= 0x3001 && r <= 0xd7ff, r >= 0xf900 && r <= 0xfdcf, r >= 0xfdf0 && r <= 0xfffd,
		r >= 0x10000 && r <= 0xeffff:
		return true
	}
	return false
}

func isName(r rune) bool {
	return isNameHead(r) || r == 0xb7 || r >= 0x300 && r <= 0x36f || r == 0x203f || r == 0x2040
}
