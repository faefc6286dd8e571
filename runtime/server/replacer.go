package server

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
)

// personal is a kind of personal data or secret.
type personal uint8

const (
	notPersonal personal = iota
	personOpenID
	personUnionID
	accountID // gh_…
	personName
	personPhone
	personDigits // of a card, of an identity, of an order
	personMail
	personPlace
	personCoordinate
	personIP
	personMedia
	personPicture
	secretValue
	messageID
	urlQuery
	kindsOfPersonal
)

// maxReplaced is how many different values one replacer knows; what comes after
// is replaced by the same word for all.
const maxReplaced = 20_000

// replacer puts made-up values in the place of personal data and secrets: the
// same for the same one, of the same form, and known again where it stands in
// another text. It is for one goroutine at a time, and keeps what it has seen.
type replacer struct {
	seen   map[seenValue]string
	made   map[string]bool // what it has put in place
	counts [kindsOfPersonal]int
	words  map[string]string // what was seen and is one word of ASCII
	loose  []looseValue      // what was seen and is not, the longest first
}

// maxLoose bounds what is looked for in every text.
const maxLoose = 1000

type looseValue struct{ text, made string }

type seenValue struct {
	kind personal
	text string
}

func newReplacer() *replacer {
	return &replacer{seen: map[seenValue]string{}, made: map[string]bool{}, words: map[string]string{}}
}

// value gives what stands for a value of a kind.
func (r *replacer) value(kind personal, text string) string {
	if text == "" || r.made[text] {
		return text
	}
	key := seenValue{kind, text}
	if made, ok := r.seen[key]; ok {
		return made
	}
	if len(r.seen) >= maxReplaced {
		return "replaced"
	}
	r.counts[kind]++
	made := invent(kind, text, r.counts[kind])
	r.seen[key], r.made[made] = made, true
	r.remember(kind, text, made)
	return made
}

// invent makes the nth value of a kind in the form of text.
func invent(kind personal, text string, n int) string {
	switch kind {
	case personOpenID:
		return "oPerson" + lettered(n, 21, 26)
	case personUnionID:
		return "oUnion" + lettered(n, 22, 26)
	case accountID:
		return "gh_" + lettered(n, 12, 6)
	case personName:
		return fmt.Sprintf("name%d", n)
	case personPhone:
		return shaped(text, fmt.Sprintf("139%08d", n))
	case personDigits:
		return shaped(text, fmt.Sprintf("9%011d", n))
	case personMail:
		return fmt.Sprintf("user%d@example.com", n)
	case personPlace:
		return fmt.Sprintf("place%d", n)
	case personCoordinate:
		return fmt.Sprintf("%d.000000", n%90)
	case personIP:
		return fmt.Sprintf("192.0.2.%d", n%256)
	case personMedia:
		return fmt.Sprintf("media%d", n)
	case personPicture:
		return fmt.Sprintf("https://example.com/picture%d", n)
	case messageID:
		return fmt.Sprintf("%d", 10_000_000_000+n)
	case urlQuery:
		return fmt.Sprintf("?replaced=%d", n)
	}
	return fmt.Sprintf("secret%d", n)
}

// lettered writes a number in letters from a on, so that it is taken for no number
// of a person.
func lettered(n, width, base int) string {
	out := bytes.Repeat([]byte("a"), width)
	for i := width - 1; i >= 0 && n > 0; i-- {
		out[i] += byte(n % base)
		n /= base
	}
	return string(out)
}

// shaped puts digits in the place of those of text, the last ones last; what is
// no digit stays.
func shaped(text, digits string) string {
	want := 0
	for _, c := range []byte(text) {
		if isDigit(c) {
			want++
		}
	}
	if want == 0 {
		return digits
	}
	if want > len(digits) {
		digits = digits[:1] + strings.Repeat("0", want-len(digits)) + digits[1:]
	}
	digits = digits[len(digits)-want:]
	out := []byte(text)
	for i, c := range out {
		if isDigit(c) {
			out[i], digits = digits[0], digits[1:]
		}
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// Forms of personal data in texts. They are never changed.
var (
	urlForm    = regexp.MustCompile(`https?://[^\s<>"'\x{3000}-\x{303f}\x{ff00}-\x{ffef}]+`)
	mailForm   = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
	openIDForm = regexp.MustCompile(`[A-Za-z0-9_-]{28,29}`)
	ghForm     = regexp.MustCompile(`gh_[0-9a-f]{12}`)
	phoneForm  = regexp.MustCompile(`1[3-9][0-9][- ]?[0-9]{4}[- ]?[0-9]{4}|0[0-9]{2,3}-[0-9]{7,8}`)
	digitsForm = regexp.MustCompile(`[0-9]{12,}[Xx]?`)
	ipForm     = regexp.MustCompile(`[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|[0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{0,4}){3,7}`)
)

// text replaces what looks like personal data in a text: what was seen before,
// queries of URLs, mail addresses, openids, phone numbers, 12 and more digits, IP
// addresses.
func (r *replacer) text(s string) string { return r.unless(s, nil) }

// unless is text but for what own tells to be nobody's.
func (r *replacer) unless(s string, own func(string) bool) string {
	if s == "" {
		return s
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
	s = mailForm.ReplaceAllStringFunc(s, replace(personMail))
	s = apart(s, openIDForm, isWord, func(found string) string {
		if found[0] != 'o' || strings.Trim(found, "0123456789") == "" {
			return found
		}
		return replace(personOpenID)(found)
	})
	s = apart(s, ghForm, isWord, replace(accountID))
	s = apart(s, ipForm, isAddress, replace(personIP))
	s = apart(s, phoneForm, isDigit, replace(personPhone))
	return apart(s, digitsForm, isDigit, replace(personDigits))
}

func isWord(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c == '-' }

func isAddress(c byte) bool { return isDigit(c) || c == '.' || c == ':' }

// apart replaces what form finds, where what stands before and behind is not of
// the same kind of character.
func apart(s string, form *regexp.Regexp, same func(byte) bool, replace func(string) string) string {
	var b strings.Builder
	last := 0
	for _, at := range form.FindAllStringIndex(s, -1) {
		if at[0] > 0 && same(s[at[0]-1]) || at[1] < len(s) && same(s[at[1]]) {
			continue
		}
		b.WriteString(s[last:at[0]] + replace(s[at[0]:at[1]]))
		last = at[1]
	}
	return b.String() + s[last:]
}

// url replaces the query, the fragment and the user of a URL.
func (r *replacer) url(s string) string {
	if strings.HasPrefix(s, "https://example.com/picture") && r.made[s] {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return r.value(personPicture, s)
	}
	tail := ""
	if u.RawQuery != "" || u.Fragment != "" {
		tail = "?" + u.RawQuery + "#" + u.Fragment
		if made := "?" + u.RawQuery; u.Fragment == "" && r.made[made] {
			tail = made
		} else {
			tail = r.value(urlQuery, tail)
		}
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment = nil, "", "", ""
	return u.String() + tail
}

// known replaces what was seen before, wherever it stands in a text as a word, or
// at all where it is more than one.
func (r *replacer) known(s string) string {
	var b strings.Builder
	last := 0
	for at := 0; at < len(s); {
		end := at
		for end < len(s) && isWord(s[end]) {
			end++
		}
		if made, ok := r.words[s[at:end]]; ok {
			b.WriteString(s[last:at] + made)
			last = end
		}
		at = max(end, at+1)
	}
	s = b.String() + s[last:]
	for _, l := range r.loose {
		s = strings.ReplaceAll(s, l.text, l.made)
	}
	return s
}

// remember makes a value one that known finds. Short ones and numbers that many
// have would be found where they are something else.
func (r *replacer) remember(kind personal, text, made string) {
	if len(text) < 5 || kind == personCoordinate || kind == messageID || kind == urlQuery {
		return
	}
	if strings.IndexFunc(text, func(c rune) bool { return c >= utf8.RuneSelf || !isWord(byte(c)) }) < 0 {
		if r.words[text] == "" {
			r.words[text] = made
		}
		return
	}
	if len(r.loose) < maxLoose {
		at, _ := slices.BinarySearchFunc(r.loose, len(text), func(l looseValue, n int) int { return cmp.Compare(n, len(l.text)) })
		r.loose = slices.Insert(r.loose, at, looseValue{text, made})
	}
}

// leaf replaces the value of a leaf by its name, which may say what it is.
func (r *replacer) leaf(name, value string) string {
	if kind := kindOfLeaf(name); kind != notPersonal {
		return r.value(kind, value)
	}
	return r.text(value)
}

// kindOfLeaf is what the name of a leaf says of its value.
func kindOfLeaf(name string) personal {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	name, _, _ = strings.Cut(name, "[")
	name = strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
	switch name {
	case "openid", "fromusername", "user", "userid", "fromuser", "touser":
		return personOpenID
	case "tousername":
		return accountID
	case "unionid":
		return personUnionID
	case "latitude", "longitude", "locationx", "locationy", "precision", "lat", "lng", "lon":
		return personCoordinate
	case "label", "poiname", "poiid", "street", "province", "city", "country", "birthday", "sex", "gender":
		return personPlace
	case "ip", "clientip", "spbillcreateip", "userip", "remoteip":
		return personIP
	case "picurl", "headimgurl", "avatar", "avatarurl":
		return personPicture
	case "msgid", "newmsgid":
		return messageID
	case "sign", "signature", "paysign", "sessionkey", "encrypteddata", "iv", "code", "authcode", "authorizationcode", "preauthcode", "verifycode", "picmd5sum":
		return secretValue
	}
	for _, part := range leafParts() {
		if strings.Contains(name, part.word) {
			return part.kind
		}
	}
	return notPersonal
}

// leafParts are words in names of leaves that say what the value is, the first
// that is there counts.
func leafParts() []struct {
	word string
	kind personal
} {
	return []struct {
		word string
		kind personal
	}{
		{"ticket", secretValue},
		{"token", secretValue},
		{"secret", secretValue},
		{"passw", secretValue},
		{"mediaid", personMedia},
		{"email", personMail},
		{"mailbox", personMail},
		{"phone", personPhone},
		{"mobile", personPhone},
		{"telnumber", personPhone},
		{"idcard", personDigits},
		{"idno", personDigits},
		{"certno", personDigits},
		{"bankcard", personDigits},
		{"cardno", personDigits},
		{"passport", personDigits},
		{"address", personPlace},
		{"nickname", personName},
		{"realname", personName},
		{"truename", personName},
		{"contactname", personName},
		{"receivername", personName},
		{"personname", personName},
		{"personaname", personName},
		{"personawechat", personName},
		{"cardholder", personName},
		{"username", personName},
	}
}

// event writes the callback of an event anew, in its format, with everything
// replaced. It is false where that can't be done.
func (r *replacer) event(ev *hostapi.Event) (doc []byte, ok bool) {
	var fields []leafValue
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, leafValue{name, value})
		}
	}
	add("ToUserName", r.value(accountID, ev.To))
	add("FromUserName", r.value(personOpenID, ev.From))
	if ev.Created != 0 {
		add("CreateTime", fmt.Sprint(ev.Created))
	}
	add("MsgType", ev.Type)
	if ev.Type == "" {
		add("InfoType", ev.Event)
	} else {
		add("Event", ev.Event)
	}
	add("EventKey", r.text(ev.Key))
	add("Content", r.text(ev.Content))
	add("MsgId", r.value(messageID, ev.MsgID))
	for _, f := range ev.Fields {
		if f.Name != "CreateTime" {
			fields = append(fields, leafValue{f.Name, r.leaf(f.Name, f.Value)})
		}
	}
	return writeDocument(fields, ev.Format)
}

// reply replaces what a reply has of what was seen, and what looks like personal
// data and is not the app's own.
func (r *replacer) reply(reply *hostapi.Reply, own func(string) bool) *hostapi.Reply {
	t := func(s string) string { return r.unless(s, own) }
	out := *reply
	media := func(m *hostapi.Media) *hostapi.Media {
		if m == nil {
			return nil
		}
		return &hostapi.Media{MediaID: r.known(m.MediaID)}
	}
	out.Image, out.Voice = media(reply.Image), media(reply.Voice)
	switch {
	case reply.Text != nil:
		out.Text = &hostapi.Text{Content: t(reply.Text.Content)}
	case reply.Video != nil:
		v := *reply.Video
		out.Video = &hostapi.Video{MediaID: r.known(v.MediaID), Title: t(v.Title), Description: t(v.Description)}
	case reply.Music != nil:
		m := *reply.Music
		out.Music = &hostapi.Music{Title: t(m.Title), Description: t(m.Description), URL: t(m.URL), HQURL: t(m.HQURL), ThumbMediaID: r.known(m.ThumbMediaID)}
	case reply.News != nil:
		news := &hostapi.News{}
		for _, a := range reply.News.Articles {
			news.Articles = append(news.Articles, hostapi.Article{Title: t(a.Title), Description: t(a.Description), PicURL: t(a.PicURL), URL: t(a.URL)})
		}
		out.News = news
	case reply.Transfer != nil:
		out.Transfer = &hostapi.Transfer{Account: t(reply.Transfer.Account)}
	case reply.Raw != nil:
		out.Raw = &hostapi.Raw{Body: []byte(t(string(reply.Raw.Body)))}
	}
	return &out
}
