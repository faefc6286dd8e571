package wechat

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// jsonScanner takes a JSON object apart in one pass, as strictly as
// encoding/json and a little more: the same key twice and broken UTF-8 are
// errors. An escaped half of a surrogate pair becomes U+FFFD, as there: a text
// cut in the middle of an emoji is no reason to lose the event.
type jsonScanner struct {
	*tree
	pos   int // next byte
	depth int // containers open
}

func (t *tree) scanJSON() error {
	s := jsonScanner{tree: t}
	_, root := s.grow()
	root.parent = -1
	s.blanks()
	if s.peek() != '{' {
		return s.fail("is not an object")
	}
	if err := s.object(0); err != nil {
		return err
	}
	s.blanks()
	if s.pos < len(s.body) {
		return s.fail("more after the object")
	}
	return nil
}

// value reads the value of a node. Leaves are text as it stands: of a number
// its digits, of true and false the word; null and what is empty is "".
func (s *jsonScanner) value(id int32) error {
	s.blanks()
	switch c := s.peek(); {
	case c == '"':
		text, err := s.str()
		if err != nil {
			return err
		}
		return s.leaf(id, text)
	case c == '{':
		return s.object(id)
	case c == '[':
		return s.array(id)
	case c == '-' || c >= '0' && c <= '9':
		from := s.pos
		if err := s.number(); err != nil {
			return err
		}
		return s.leaf(id, span{int32(from), int32(s.pos)})
	case c == 't':
		return s.word(id, "true")
	case c == 'f':
		return s.word(id, "false")
	case c == 'n':
		return s.word(id, "null")
	}
	return s.unexpected("a value")
}

func (s *jsonScanner) leaf(id int32, text span) error {
	if !s.setLeaf(s.at(id), text) {
		return s.fail("more than 4,096 leaves")
	}
	return nil
}

func (s *jsonScanner) word(id int32, word string) error {
	from := s.pos
	if len(s.body)-from < len(word) || string(s.body[from:from+len(word)]) != word {
		return s.fail("word that is none of true, false, null")
	}
	s.pos += len(word)
	if word == "null" {
		return s.leaf(id, span{})
	}
	return s.leaf(id, span{int32(from), int32(s.pos)})
}

func (s *jsonScanner) open() error {
	if s.depth == maxDepth {
		return s.fail("nested deeper than 32 objects and lists")
	}
	s.depth++
	s.pos++
	s.blanks()
	return nil
}

func (s *jsonScanner) object(id int32) error {
	if err := s.open(); err != nil {
		return err
	}
	if s.peek() == '}' {
		return s.shut(id, true)
	}
	for {
		if s.peek() != '"' {
			return s.unexpected("a key")
		}
		from := s.pos
		key, err := s.str()
		if err != nil {
			return err
		}
		if key.hi-key.lo > maxName {
			return s.failAt(from, "key longer than 256 bytes")
		}
		child := s.add(id, key)
		if s.at(child).index > 0 || s.twice != 0 {
			return s.failAt(from, "the same key twice")
		}
		s.blanks()
		if s.peek() != ':' {
			return s.unexpected("a colon")
		}
		s.pos++
		if err := s.value(child); err != nil {
			return err
		}
		s.blanks()
		switch s.peek() {
		case ',':
			s.pos++
			s.blanks()
		case '}':
			return s.shut(id, false)
		default:
			return s.unexpected("a comma or }")
		}
	}
}

func (s *jsonScanner) array(id int32) error {
	if err := s.open(); err != nil {
		return err
	}
	if s.peek() == ']' {
		return s.shut(id, true)
	}
	for i := int32(0); ; i++ {
		if err := s.value(s.addItem(id, i)); err != nil {
			return err
		}
		s.blanks()
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			return s.shut(id, false)
		default:
			return s.unexpected("a comma or ]")
		}
	}
}

// shut ends a container; an empty one is a leaf, the root apart.
func (s *jsonScanner) shut(id int32, empty bool) error {
	s.pos++
	s.depth--
	if !empty || id == 0 {
		return nil
	}
	return s.leaf(id, span{})
}

// str reads a string and returns its text, unescaped.
func (s *jsonScanner) str() (text span, err error) {
	s.pos++
	from, i := s.pos, s.pos
	b := s.body
	for {
		i = skipString(b, i)
		if i == len(b) {
			return text, s.failAt(i, "ends within a string")
		}
		switch c := b[i]; {
		case c == '"':
			text = s.run(text, from, i)
			s.pos = i + 1
			return text, nil
		case c == '\\':
			text = s.own(s.run(text, from, i))
			was := len(s.aux)
			s.pos = i
			if err := s.escape(); err != nil {
				return text, err
			}
			text.hi += int32(len(s.aux) - was)
			i = s.pos
			from = i
		case c >= utf8.RuneSelf:
			if common(b[i:]) {
				i += 3
				continue
			}
			n, _ := multibyte(b[i:])
			if n == 0 {
				return text, s.failAt(i, "broken UTF-8")
			}
			i += n
		default:
			return text, s.failAt(i, "control character in a string")
		}
	}
}

// escape reads one escape, '\' is next, and appends what it stands for to aux.
func (s *jsonScanner) escape() error {
	if s.pos+1 == len(s.body) {
		return s.failAt(len(s.body), "ends within a string")
	}
	c := s.body[s.pos+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return s.unicode()
	default:
		return s.fail("unknown escape")
	}
	s.aux = append(s.aux, c)
	s.pos += 2
	return nil
}

func (s *jsonScanner) unicode() error {
	r := hex4(s.body, s.pos)
	if r < 0 {
		return s.fail("escape without four hex digits")
	}
	s.pos += 6
	if r >= 0xd800 && r < 0xe000 {
		low := hex4(s.body, s.pos)
		if r < 0xdc00 && low >= 0xdc00 && low < 0xe000 {
			r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
			s.pos += 6
		} else {
			r = utf8.RuneError
		}
	}
	s.aux = utf8.AppendRune(s.aux, r)
	return nil
}

// hex4 reads \uXXXX at b[i:], -1 where there is none.
func hex4(b []byte, i int) rune {
	if len(b)-i < 6 || b[i] != '\\' || b[i+1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[i+2 : i+6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// number reads a number by the grammar of JSON.
func (s *jsonScanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if s.digits() == 0 {
		return s.fail("number without digits")
	}
	if s.peek() == '.' {
		s.pos++
		if s.digits() == 0 {
			return s.fail("number without digits after its point")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if s.digits() == 0 {
			return s.fail("number without digits in its exponent")
		}
	}
	return nil
}

func (s *jsonScanner) digits() int {
	from := s.pos
	for s.pos < len(s.body) && s.body[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos - from
}

// skipString returns the first place from i on whose byte does not stand for
// itself in a string, eight bytes at a time.
func skipString(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^onesBits*'"', x^onesBits*'\\'
		// The first high bit is that of a byte of 0x80 and more, below ' ', '"' or '\'.
		if x = (x | (x - onesBits*' ') | (quote - onesBits) | (slash - onesBits)) & highBits; x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	return skip(b, i, inString)
}

// peek returns the next byte, 0 at the end: no token begins with it.
func (s *jsonScanner) peek() byte {
	if s.pos == len(s.body) {
		return 0
	}
	return s.body[s.pos]
}

func (s *jsonScanner) blanks() {
	if s.pos < len(s.body) && classes[s.body[s.pos]]&blank != 0 {
		s.pos = skip(s.body, s.pos, blank)
	}
}

func (s *jsonScanner) unexpected(wanted string) error {
	if s.pos == len(s.body) {
		return s.fail("ends where " + wanted + " should be")
	}
	return s.fail("something else where " + wanted + " should be")
}

func (s *jsonScanner) fail(why string) error { return s.failAt(s.pos, why) }

func (s *jsonScanner) failAt(at int, why string) error {
	return &syntaxError{format: JSON, at: at, why: why}
}
