package server

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Forms of personal data in texts. They are never changed.
var (
	urlForm    = regexp.MustCompile(`https?://[^\s<>"'\x{3000}-\x{303f}\x{ff00}-\x{ffef}]+`)
	queryForm  = regexp.MustCompile(`\?[A-Za-z_][A-Za-z0-9_.-]*=[^\s<>"'\x{3000}-\x{303f}\x{ff00}-\x{ffef}]*`)
	pairForm   = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_-]*)=([^\s&;,<>"'\x{3000}-\x{303f}\x{ff00}-\x{ffef}]+)`)
	mailForm   = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
	wordForm   = regexp.MustCompile(`[A-Za-z0-9_-]{28,}`)
	wxidForm   = regexp.MustCompile(`wxid_[A-Za-z0-9]{8,}`)
	ghForm     = regexp.MustCompile(`gh_[0-9a-f]{12}`)
	phoneForm  = regexp.MustCompile(`\+([1-79]|8[0-57-9])([ .-]?[0-9]){7,12}|(?:(?:\+|00)?86[ .-]{0,2})?[1１][ .-]?[3-9３-９]([ .-]?[0-9０-９]){9}|\(?0[0-9]{2,3}[ )）-]{0,2}[0-9]{7,8}`)
	chinaForm  = regexp.MustCompile(`^(?:\+|00)?86[ .-]{0,2}`)
	digitsForm = regexp.MustCompile(`([0-9]{4}[ -]){2,}[0-9]{4,}|[0-9]{12,}[Xx]?|[0-9]{6} [0-9]{8} [0-9]{3}[0-9Xx]`)
	ipForm     = regexp.MustCompile(`[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|[0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{0,4}){3,7}`)
	// What people write into forms: 姓名：张三, 微信号 zhang_san.
	namedForm = regexp.MustCompile(`((?:姓名|名字|联系人|收件人|收货人|我叫|我的名字叫)[:：是为叫 ]*)([\p{Han}·]{2,6})`)
	chatForm  = regexp.MustCompile(`((?:微信号|我的?微信)[:：是为 ]{0,3}|微信[:：是] ?|\b(?i:weixin|wechat|vx|qq号?)[:：是 ]{1,3})([A-Za-z0-9_-]{5,20})|(\b[Qq]{2})([0-9]{5,12})`)
	placeForm = regexp.MustCompile(`((?:地址|住址|我住在|我家在)[:：是为在 ]*)([^\s<>"'\x{3000}-\x{303f}\x{ff00}-\x{ffef}]{3,})`)
)

// text replaces what looks like personal data in a text: what was seen before,
// queries of URLs, mail addresses, openids, phone numbers, 12 and more digits, IP
// addresses, what names, places or accounts of WeChat and QQ are written behind; in
// JSON by its names, too.
func (r *replacer) text(s string) string { return r.unless(s, nil) }

// unless is text but for what own tells to be nobody's.
func (r *replacer) unless(s string, own func(string) bool) string {
	if s == "" {
		return s
	}
	if out, ok := r.jsonText(s, own); ok {
		return out
	}
	s = r.known(s)
	replace := func(kind personal) func(string) string {
		return func(found string) string {
			if own != nil && own(found) {
				return found
			}
			return r.value(kind, found)
		}
	}
	s = urlForm.ReplaceAllStringFunc(s, func(found string) string {
		if own != nil && own(found) {
			return found
		}
		return r.url(found)
	})
	s = queryForm.ReplaceAllStringFunc(s, func(found string) string {
		if strings.HasPrefix(found, "?replaced=") {
			return found
		}
		return replace(urlQuery)(found)
	})
	s = groups(s, pairForm, func(name, value string) string {
		kind := kindOfLeaf(name)
		if kind == notPersonal {
			return value
		}
		return replace(kind)(value)
	})
	s = mailForm.ReplaceAllStringFunc(s, replace(personMail))
	s = wordForm.ReplaceAllStringFunc(s, func(word string) string { return openIDs(word, replace(personOpenID)) })
	s = wxidForm.ReplaceAllStringFunc(s, replace(personAccount))
	s = apart(s, ghForm, isWord, replace(accountID))
	s = apart(s, ipForm, isAddress, replace(personIP))
	s = apart(s, phoneForm, isDigit, func(found string) string {
		number := strings.TrimPrefix(found, chinaForm.FindString(found))
		return strings.TrimSuffix(found, number) + replace(personPhone)(number)
	})
	s = apart(s, digitsForm, isDigit, replace(personDigits))
	behind := func(kind personal) func(string, string) string {
		return func(_, value string) string { return replace(kind)(value) }
	}
	return groups(groups(groups(s, namedForm, behind(personName)), placeForm, behind(personPlace)), chatForm, behind(personAccount))
}

// openIDs replaces what may be an openid or a unionid in a word of letters, digits,
// _ and -: 28 or 29 of them from an o on, which are all of the word or stand behind
// a _ or - of it, as in qrscene_oAbc….
func openIDs(word string, replace func(string) string) string {
	var b strings.Builder
	last := 0
	for at := 0; at+28 <= len(word); {
		if word[at] != 'o' || at > last && isLetterOrDigit(word[at-1]) {
			at++
			continue
		}
		end := at + 28
		if rest := len(word) - end; rest == 1 || rest > 1 && isLetterOrDigit(word[end]) && !isLetterOrDigit(word[end+1]) {
			end++
		}
		id := word[at:end]
		if !strings.ContainsAny(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") && len(id) < len(word) {
			at++
			continue
		}
		b.WriteString(word[last:at] + replace(id))
		last, at = end, end
	}
	return b.String() + word[last:]
}

// groups replaces the second of two groups of what form finds by both, or the second
// of the two after them.
func groups(s string, form *regexp.Regexp, replace func(first, second string) string) string {
	var b strings.Builder
	last := 0
	for _, at := range form.FindAllStringSubmatchIndex(s, -1) {
		if at[4] < 0 {
			at = at[4:]
		}
		b.WriteString(s[last:at[4]] + replace(s[at[2]:at[3]], s[at[4]:at[5]]))
		last = at[5]
	}
	return b.String() + s[last:]
}

func isLetterOrDigit(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }

func isWord(c byte) bool { return isLetterOrDigit(c) || c == '_' || c == '-' }

func isAddress(c byte) bool { return isDigit(c) || c == '.' || c == ':' }

// apart replaces what form finds, where what stands before and behind is not of
// the same kind of character. What is found in the wrong place may hide another
// that begins in it.
func apart(s string, form *regexp.Regexp, same func(byte) bool, replace func(string) string) string {
	var b strings.Builder
	last := 0
	for from := 0; ; {
		at := form.FindStringIndex(s[from:])
		if at == nil {
			return b.String() + s[last:]
		}
		begin, end := from+at[0], from+at[1]
		if begin > 0 && same(s[begin-1]) || end < len(s) && same(s[end]) {
			_, size := utf8.DecodeRuneInString(s[begin:])
			from = begin + size
			continue
		}
		b.WriteString(s[last:begin] + replace(s[begin:end]))
		last, from = end, end
	}
}

// jsonText replaces in a text that is an object or a list of JSON, by the names in
// it and in its texts, however they are escaped. It is false where s is none; one
// in which nothing is replaced stays as it is.
func (r *replacer) jsonText(s string, own func(string) bool) (string, bool) {
	trimmed := strings.TrimSpace(s)
	if trimmed == "" || trimmed[0] != '{' && trimmed[0] != '[' || !json.Valid([]byte(trimmed)) {
		return "", false
	}
	w := jsonReplacer{r: r, own: own, in: json.NewDecoder(strings.NewReader(trimmed))}
	w.in.UseNumber()
	if w.value("") != nil {
		return "", false
	}
	if !w.changed {
		return s, true
	}
	return w.out.String(), true
}

// jsonReplacer writes a value of JSON anew.
type jsonReplacer struct {
	r       *replacer
	own     func(string) bool
	in      *json.Decoder
	out     bytes.Buffer
	changed bool
}

// value writes the next value, which has that name.
func (w *jsonReplacer) value(name string) error {
	token, err := w.in.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		return w.members(name, v)
	case string:
		w.text(v, w.leaf(name, v))
	case json.Number:
		w.number(name, v.String())
	case bool:
		if v {
			w.out.WriteString("true")
		} else {
			w.out.WriteString("false")
		}
	case nil:
		w.out.WriteString("null")
	}
	return nil
}

// members writes an object or a list whose first sign was read.
func (w *jsonReplacer) members(name string, first json.Delim) error {
	w.out.WriteByte(byte(first))
	for n := 0; w.in.More(); n++ {
		if n > 0 {
			w.out.WriteByte(',')
		}
		if first == '{' {
			token, err := w.in.Token()
			if err != nil {
				return err
			}
			key, ok := token.(string)
			if !ok {
				return io.ErrUnexpectedEOF
			}
			name = key
			w.text(key, w.r.unless(key, w.own))
			w.out.WriteByte(':')
		}
		if err := w.value(name); err != nil {
			return err
		}
	}
	last, err := w.in.Token()
	if err != nil {
		return err
	}
	w.out.WriteString(last.(json.Delim).String()) // More was false: nothing else can come
	return nil
}

func (w *jsonReplacer) text(before, after string) {
	w.changed = w.changed || before != after
	w.out.Write(jsonText(after))
}

// leastSecret is how long a secret is in a text of JSON, in bytes: shorter ones
// are words, such as a "code" of OK.
const leastSecret = 8

func (w *jsonReplacer) leaf(name, value string) string {
	kind := kindOfLeaf(name)
	if kind == notPersonal || kind == secretValue && len(value) < leastSecret || w.own != nil && w.own(value) {
		return w.r.unless(value, w.own)
	}
	return w.r.value(kind, value)
}

// number writes a number, and again one where it is replaced. Short ones are
// no one's, but for coordinates.
func (w *jsonReplacer) number(name, value string) {
	kind := kindOfLeaf(name)
	made := value
	switch {
	case kind == personCoordinate:
		made = w.r.value(kind, value)
	case kind == notPersonal || len(value) < 5:
		made = w.r.unless(value, w.own)
	case kind == personPhone:
		made = w.r.value(kind, value)
	default:
		made = w.r.value(personDigits, value)
	}
	if w.changed = w.changed || made != value; json.Valid([]byte(made)) {
		w.out.WriteString(made)
	} else {
		w.out.Write(jsonText(made))
	}
}
