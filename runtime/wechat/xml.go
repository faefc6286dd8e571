package wechat

import (
	"bytes"
	"unicode/utf8"
)

// xmlScanner takes a document of WeChat's flat XML apart in one pass: elements
// and their text. Attributes, comments, processing instructions and the
// declaration are checked and dropped; so is text beside elements. There is no
// DOCTYPE and there are no entities but the five of XML and numbers.
//
// Attributes of the same name, which XML forbids, pass: none is used.
type xmlScanner struct {
	*tree
	pos   int   // next byte
	cur   int32 // innermost open element
	depth int   // elements open
	text  span  // of the innermost element
	keep  bool  // that element has no child so far: its text counts
}

func (t *tree) scanXML() error {
	s := xmlScanner{tree: t, cur: -1}
	return s.document()
}

func (s *xmlScanner) document() error {
	if err := s.misc(true); err != nil {
		return err
	}
	if s.pos == len(s.body) {
		return s.fail("holds no element")
	}
	if err := s.start(); err != nil {
		return err
	}
	for s.depth > 0 {
		if err := s.content(); err != nil {
			return err
		}
	}
	if err := s.misc(false); err != nil {
		return err
	}
	if s.pos < len(s.body) {
		return s.fail("more than one root element")
	}
	return nil
}

// content reads what is within an element up to the next tag, and that.
func (s *xmlScanner) content() error {
	if !s.keep {
		s.blanks()
	}
	if s.pos == len(s.body) || s.body[s.pos] != '<' {
		if err := s.chars(); err != nil {
			return err
		}
	}
	rest := s.body[s.pos:]
	if len(rest) < 2 {
		return s.failAt(len(s.body), "ends within a tag")
	}
	switch rest[1] {
	case '/':
		return s.end()
	case '!':
		if !hasCDATA(rest) {
			return s.comment()
		}
		s.pos += len(cdataStart)
		return s.cdata()
	case '?':
		return s.instruction(false)
	}
	if s.simple() {
		return nil
	}
	return s.start()
}

// simple takes a whole leaf where it is as most are: <name>text</name>, the
// text without anything to be replaced and perhaps in one CDATA section. It
// answers false, and has done nothing, where the leaf is not like that.
func (s *xmlScanner) simple() bool {
	b := s.body
	from := s.pos + 1
	if classes[b[from]]&nameHead == 0 || s.depth == maxDepth || s.leaves == maxLeaves {
		return false
	}
	to := skipName(b, from+1)
	size := to - from
	if to == len(b) || b[to] != '>' || size > maxName {
		return false
	}
	lo, hi, end := to+1, 0, 0
	if hasCDATA(b[lo:]) {
		lo += len(cdataStart)
		hi = skipCDATA(b, lo)
		end = hi + len("]]>")
		if end > len(b) || string(b[hi:end]) != "]]>" {
			return false
		}
	} else {
		hi = skipText(b, lo)
		end = hi
	}
	if after := b[end:]; len(after) < size+3 || after[0] != '<' || after[1] != '/' || after[size+2] != '>' ||
		string(after[2:size+2]) != string(b[from:to]) {
		return false
	}
	s.at(s.cur).inner = true
	id := s.add(s.cur, span{int32(from), int32(to)})
	s.setLeaf(s.at(id), span{int32(lo), int32(hi)})
	s.pos = end + size + 3
	s.keep = false
	return true
}

const cdataStart = "<![CDATA["

func hasCDATA(b []byte) bool {
	return len(b) >= len(cdataStart) && string(b[:len(cdataStart)]) == cdataStart
}

var (
	commentEnd = []byte("--")
	instrEnd   = []byte("?>")
)

// chars takes character data up to the next '<'.
func (s *xmlScanner) chars() error {
	from := s.pos // of the run that is not taken yet
	for i := from; ; {
		i = skipText(s.body, i)
		if i == len(s.body) {
			return s.failAt(i, "ends within an element")
		}
		var err error
		switch c := s.body[i]; c {
		case '<':
			s.take(from, i)
			s.pos = i
			return nil
		case '&':
			s.take(from, i)
			var r rune
			if from, r, err = s.reference(s.body, i); err == nil && isChar(r) {
				s.rune(r)
			}
			i = from
		case '>':
			if i-s.pos >= 2 && s.body[i-1] == ']' && s.body[i-2] == ']' {
				return s.failAt(i, "]]> outside CDATA")
			}
			i++
		default:
			from, i, err = s.special(from, i)
		}
		if err != nil {
			return err
		}
	}
}

// cdata takes a CDATA section; its content is next.
func (s *xmlScanner) cdata() error {
	from := s.pos
	for i := from; ; {
		i = skipCDATA(s.body, i)
		if i == len(s.body) {
			return s.failAt(i, "ends within CDATA")
		}
		if s.body[i] == ']' {
			open := i
			for i++; i < len(s.body) && s.body[i] == ']'; i++ {
			}
			if i < len(s.body) && s.body[i] == '>' && i-open >= 2 {
				s.take(from, i-2)
				s.pos = i + 1
				return nil
			}
			continue
		}
		var err error
		if from, i, err = s.special(from, i); err != nil {
			return err
		}
	}
}

// special takes the character at i, which is of more than one byte, a carriage
// return or one that XML forbids; such are dropped here, for users can type
// them. It returns from and i as they are behind it, and behind more of its
// kind.
func (s *xmlScanner) special(from, i int) (int, int, error) {
	b := s.body
	if b[i] >= utf8.RuneSelf {
		n, keep := multibyte(b[i:])
		if n == 0 {
			return 0, 0, s.failAt(i, "broken UTF-8")
		}
		if keep {
			return from, i + n, nil
		}
		s.take(from, i)
		return i + n, i + n, nil
	}
	s.take(from, i)
	for ; i < len(b) && (b[i] == '\r' || classes[b[i]] == 0 && b[i] < ' '); i++ {
		if b[i] == '\r' && (i+1 == len(b) || b[i+1] != '\n') {
			s.rune('\n')
		}
	}
	return i, i, nil
}

// take appends body[from:to] to the text.
func (s *xmlScanner) take(from, to int) {
	if s.keep {
		s.text = s.run(s.text, from, to)
	}
}

// rune appends a character that doesn't stand in the body as it is.
func (s *xmlScanner) rune(r rune) {
	if !s.keep {
		return
	}
	s.text = s.own(s.text)
	was := len(s.aux)
	s.aux = utf8.AppendRune(s.aux, r)
	s.text.hi += int32(len(s.aux) - was)
}

// reference returns the place behind the reference b[i:], '&' at its front, and
// the character that it stands for, which may be one that XML forbids.
func (s *xmlScanner) reference(b []byte, i int) (int, rune, error) {
	const longest = 12 // more zeros than that nobody writes
	end := bytes.IndexByte(b[i:min(len(b), i+longest)], ';')
	if end < 0 {
		return 0, 0, s.failAt(i, "& without a reference")
	}
	var r rune
	switch name := b[i+1 : i+end]; string(name) {
	case "lt":
		r = '<'
	case "gt":
		r = '>'
	case "amp":
		r = '&'
	case "apos":
		r = '\''
	case "quot":
		r = '"'
	default:
		if len(name) == 0 || name[0] != '#' {
			return 0, 0, s.failAt(i, "entity that is not one of the five")
		}
		if r = number(name[1:]); r < 0 {
			return 0, 0, s.failAt(i, "reference to no character")
		}
	}
	return i + end + 1, r, nil
}

// number reads the digits of a numeric reference, -1 where they are none or
// beyond Unicode.
func number(b []byte) rune {
	base := rune(10)
	if len(b) > 0 && b[0] == 'x' {
		base, b = 16, b[1:]
	}
	if len(b) == 0 {
		return -1
	}
	var r rune
	for _, c := range b {
		var d rune
		switch {
		case c >= '0' && c <= '9':
			d = rune(c - '0')
		case base == 16 && c|0x20 >= 'a' && c|0x20 <= 'f':
			d = rune(c|0x20-'a') + 10
		default:
			return -1
		}
		if r = r*base + d; r > utf8.MaxRune {
			return -1
		}
	}
	return r
}

// start reads a start tag, or that of an empty element; '<' is next.
func (s *xmlScanner) start() error {
	if s.depth == maxDepth {
		return s.fail("nested deeper than 32 elements")
	}
	s.pos++
	name, err := s.name()
	if err != nil {
		return err
	}
	if s.cur < 0 {
		id, root := s.grow()
		root.name, root.parent = name, -1
		s.cur = id
	} else {
		s.at(s.cur).inner = true
		s.cur = s.add(s.cur, name)
	}
	s.depth++
	empty := false
	if s.pos < len(s.body) && s.body[s.pos] == '>' {
		s.pos++
	} else {
		s.keep = false // of what is in the tag
		if empty, err = s.attributes(); err != nil {
			return err
		}
	}
	s.text, s.keep = span{}, s.cur > 0 // the root is no leaf
	if empty {
		return s.close()
	}
	return nil
}

// attributes reads the rest of a start tag and tells whether it ends the
// element, too.
func (s *xmlScanner) attributes() (empty bool, err error) {
	for {
		from := s.pos
		s.blanks()
		if s.pos == len(s.body) {
			return false, s.fail("ends within a tag")
		}
		switch s.body[s.pos] {
		case '>':
			s.pos++
			return false, nil
		case '/':
			if s.pos+1 == len(s.body) || s.body[s.pos+1] != '>' {
				return false, s.fail("/ within a tag")
			}
			s.pos += 2
			return true, nil
		}
		if s.pos == from {
			return false, s.fail("character that can't be in a name")
		}
		if err := s.attribute(); err != nil {
			return false, err
		}
	}
}

func (s *xmlScanner) attribute() error {
	if _, err := s.name(); err != nil {
		return err
	}
	s.blanks()
	if s.pos == len(s.body) || s.body[s.pos] != '=' {
		return s.fail("attribute without a value")
	}
	s.pos++
	s.blanks()
	if s.pos == len(s.body) || s.body[s.pos] != '"' && s.body[s.pos] != '\'' {
		return s.fail("attribute value without quotes")
	}
	quote := s.body[s.pos]
	s.pos++
	n := bytes.IndexByte(s.body[s.pos:], quote)
	if n < 0 {
		return s.failAt(len(s.body), "ends within an attribute value")
	}
	value := s.body[s.pos : s.pos+n]
	if i := bytes.IndexByte(value, '<'); i >= 0 {
		return s.failAt(s.pos+i, "< in an attribute value")
	}
	if err := s.allowed(s.pos + n); err != nil {
		return err
	}
	for i, c := range value {
		if c == '&' {
			_, r, err := s.reference(s.body[:s.pos+n], s.pos+i)
			if err != nil {
				return err
			}
			if !isChar(r) {
				return s.failAt(s.pos+i, "character that XML forbids")
			}
		}
	}
	s.pos += n + 1
	return nil
}

// end reads an end tag; '</' is next.
func (s *xmlScanner) end() error {
	name := s.at(s.cur).name
	from := s.pos + 2
	s.pos = from + int(name.hi-name.lo)
	if s.pos > len(s.body) || string(s.body[from:s.pos]) != string(s.body[name.lo:name.hi]) {
		return s.failAt(from, "end tag of another element")
	}
	if s.pos < len(s.body) && s.body[s.pos] == '>' {
		s.pos++
		return s.close()
	}
	s.blanks()
	if s.pos == len(s.body) {
		return s.fail("ends within a tag")
	}
	if s.body[s.pos] != '>' {
		return s.failAt(from, "end tag of another element")
	}
	s.pos++
	return s.close()
}

// close ends the innermost element. Without children it is a leaf, the root
// apart.
func (s *xmlScanner) close() error {
	n := s.at(s.cur)
	if !n.inner && s.cur != 0 && !s.setLeaf(n, s.text) {
		return s.fail("more than 4,096 leaves")
	}
	s.cur = n.parent
	s.keep = false
	s.depth--
	return nil
}

// name reads a name. Names are not unescaped: they are pieces of the body.
func (s *xmlScanner) name() (span, error) {
	b := s.body
	from := s.pos
	if from < len(b) && classes[b[from]]&nameHead != 0 {
		s.pos = skipName(b, from+1)
	}
	for s.pos < len(b) && b[s.pos] >= utf8.RuneSelf {
		r, n := utf8.DecodeRune(b[s.pos:])
		if r == utf8.RuneError && n == 1 {
			return span{}, s.fail("broken UTF-8")
		}
		if !isNameHead(r) && (s.pos == from || !isName(r)) {
			break
		}
		s.pos = skipName(b, s.pos+n)
	}
	switch {
	case s.pos == from && s.pos == len(b):
		return span{}, s.fail("ends within a tag")
	case s.pos == from:
		return span{}, s.fail("character that can't begin a name")
	case s.pos-from > maxName:
		return span{}, s.failAt(from, "name longer than 256 bytes")
	}
	return span{int32(from), int32(s.pos)}, nil
}

// misc skips what may stand before and after the root element: white space,
// comments and instructions.
func (s *xmlScanner) misc(first bool) error {
	for {
		s.blanks()
		rest := s.body[s.pos:]
		switch {
		case len(rest) == 0:
			return nil
		case rest[0] != '<':
			return s.fail("text outside the root element")
		case len(rest) == 1:
			return s.fail("ends within a tag")
		case rest[1] == '?':
			if err := s.instruction(first); err != nil {
				return err
			}
			first = false
		case rest[1] == '!':
			if err := s.comment(); err != nil {
				return err
			}
			first = false
		default:
			return nil
		}
	}
}

// comment skips a comment; '<!' is next.
func (s *xmlScanner) comment() error {
	const open = "<!--"
	if !bytes.HasPrefix(s.body[s.pos:], []byte(open)) {
		return s.fail("DOCTYPE or another declaration")
	}
	s.pos += len(open)
	n := bytes.Index(s.body[s.pos:], commentEnd)
	if n < 0 {
		return s.failAt(len(s.body), "ends within a comment")
	}
	if err := s.allowed(s.pos + n); err != nil {
		return err
	}
	s.pos += n + len(commentEnd)
	if s.pos == len(s.body) || s.body[s.pos] != '>' {
		return s.fail("-- within a comment")
	}
	s.pos++
	return nil
}

// instruction skips a processing instruction, or the declaration where that
// may stand; '<?' is next.
func (s *xmlScanner) instruction(declaration bool) error {
	start := s.pos
	s.pos += 2
	target, err := s.name()
	if err != nil {
		return err
	}
	if bytes.EqualFold(s.tree.bytes(target), []byte("xml")) && !declaration {
		return s.failAt(start, "XML declaration that isn't at the front")
	}
	n := bytes.Index(s.body[s.pos:], instrEnd)
	if n < 0 {
		return s.failAt(len(s.body), "ends within an instruction")
	}
	if n > 0 && classes[s.body[s.pos]]&blank == 0 {
		return s.fail("character that can't be in a name")
	}
	if err := s.allowed(s.pos + n); err != nil {
		return err
	}
	s.pos += n + len(instrEnd)
	return nil
}

// allowed checks the characters up to end where nothing is dropped.
func (s *xmlScanner) allowed(end int) error {
	b := s.body[:end]
	for i := s.pos; ; {
		i = skipCDATA(b, i)
		if i == end {
			return nil
		}
		n, ok := 1, b[i] == ']' || b[i] == '\r'
		if b[i] >= utf8.RuneSelf {
			if n, ok = multibyte(b[i:]); n == 0 {
				return s.failAt(i, "broken UTF-8")
			}
		}
		if !ok {
			return s.failAt(i, "character that XML forbids")
		}
		i += n
	}
}

func (s *xmlScanner) blanks() {
	if s.pos < len(s.body) && classes[s.body[s.pos]]&blank != 0 {
		s.pos = skip(s.body, s.pos, blank)
	}
}

func (s *xmlScanner) fail(why string) error { return s.failAt(s.pos, why) }

func (s *xmlScanner) failAt(at int, why string) error {
	return &syntaxError{format: XML, at: at, why: why}
}
