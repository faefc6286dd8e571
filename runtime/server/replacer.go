package server

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
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
	accountID     // gh_…
	personAccount // wxid_…
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

// full tells whether there may be values that known doesn't find any more.
func (r *replacer) full() bool { return len(r.seen) >= maxReplaced || len(r.loose) >= maxLoose }

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
	case personAccount:
		return "wxid_" + lettered(n, 14, 26)
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
	text, want := narrow(text), 0
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
	digits = digits[:1] + digits[len(digits)-want+1:]
	out := []byte(text)
	for i, c := range out {
		if isDigit(c) {
			out[i], digits = digits[0], digits[1:]
		}
	}
	return string(out)
}

// narrow writes the full-width digits of a text in ASCII.
func narrow(text string) string {
	return strings.Map(func(c rune) rune {
		if c >= '０' && c <= '９' {
			return c - '０' + '0'
		}
		return c
	}, text)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

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
	least := 5 // bytes
	if kind == personName {
		least = 2
	}
	if len(text) < least || utf8.RuneCountInString(text) < 2 || kind == personCoordinate || kind == messageID || kind == urlQuery {
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
	id := func(s string) string {
		if made, ok := r.seen[seenValue{personMedia, s}]; ok {
			return made
		}
		return r.known(s)
	}
	out := *reply
	media := func(m *hostapi.Media) *hostapi.Media {
		if m == nil {
			return nil
		}
		return &hostapi.Media{MediaID: id(m.MediaID)}
	}
	out.Image, out.Voice = media(reply.Image), media(reply.Voice)
	switch {
	case reply.Text != nil:
		out.Text = &hostapi.Text{Content: t(reply.Text.Content)}
	case reply.Video != nil:
		v := *reply.Video
		out.Video = &hostapi.Video{MediaID: id(v.MediaID), Title: t(v.Title), Description: t(v.Description)}
	case reply.Music != nil:
		m := *reply.Music
		out.Music = &hostapi.Music{Title: t(m.Title), Description: t(m.Description), URL: t(m.URL), HQURL: t(m.HQURL), ThumbMediaID: id(m.ThumbMediaID)}
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
