package wechat

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
)

// seeds are documents that between them have everything a scanner must know.
var seeds = []string{
	benchMessage,
	`<xml/>`, `<xml></xml>`, `<xml><a/></xml>`, `<xml><a></a><b> x </b></xml>`,
	`<?xml version="1.0" encoding="utf-8"?>` + "\n<!-- c --><xml a='1' b=\"&lt;2\"><A>x<!-- y -->z</A></xml>\n<?p q?>",
	`<xml><L><i>1</i><i>2</i></L><L><i>3</i></L><E/></xml>`,
	"<xml><A>a&amp;b&#65;&#x4f60;<![CDATA[<&]]]]><![CDATA[>\r\n]]>\r</A><B>\x01\ufffe好</B></xml>",
	`<xml><a:b c:d="e">f</a:b><中>文</中></xml>`,
	`<!DOCTYPE x [<!ENTITY e "f">]><xml><a>&e;</a></xml>`,
	`<xml><a>]]></a></xml>`, `<xml><a></b></xml>`, `<xml><a>&#0;&#xd83d;&#x110000;</a></xml>`,
	`{"ToUserName":"gh","FromUserName":"o","CreateTime":1,"MsgType":"event","Event":"debug_demo","debug_str":"x"}`,
	` { "a" : [ 1, -2.5e+3, "x", { "b" : null }, [], {}, [ [ true ] ] ], "c" : false } `,
	`{"a":"\"\\\/\b\f\n\r\t\u4f60\ud83d\ude00\ud83d\ude0","A":""}`,
	`{"a":"\ud83d","b":"\ude00\ud83dx"}`, `{"a":1,"a":2}`, `{"":{"":""}}`, `{"a":01}`, `{"a":"` + "\x01" + `"}`,
	`{`, `[]`, `"x"`, ``, ` `, "\xff", `{"a":tru}`, `{"a":1}x`,
}

type leaf struct{ name, value string }

// scanned returns the leaves of a document as this package sees them.
func scanned(f Format, body []byte) ([]leaf, error) {
	var d decoded
	if err := d.scan(f, body); err != nil {
		return nil, err
	}
	if err := d.paths(); err != nil {
		return nil, err
	}
	var list []leaf
	for i := range d.size {
		if n := d.at(i); n.leaf {
			list = append(list, leaf{string(d.bytes(n.name)), string(d.bytes(n.value))})
		}
	}
	return list, nil
}

// element is a document as an oracle sees it.
type element struct {
	name     string
	index    int // -1: has a name
	text     string
	children []*element
}

func (e *element) leaves() []leaf { return e.below("", true, nil) }

func (e *element) below(path string, top bool, to []leaf) []leaf {
	count := make(map[string]int)
	for _, c := range e.children {
		count[c.name]++
	}
	seen := make(map[string]int)
	for _, c := range e.children {
		name := c.name
		if !top && c.index < 0 {
			name = path + "." + name
		}
		switch {
		case c.index >= 0:
			name = fmt.Sprintf("%s[%d]", path, c.index)
		case count[c.name] > 1:
			name = fmt.Sprintf("%s[%d]", name, seen[c.name])
		}
		seen[c.name]++
		if len(c.children) == 0 {
			to = append(to, leaf{name, c.text})
		} else {
			to = c.below(name, false, to)
		}
	}
	return to
}

// oracleXML reads a document with encoding/xml.
func oracleXML(body []byte) (*element, error) {
	for d := xml.NewDecoder(bytes.NewReader(body)); ; { // checks that tags match
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	root := &element{}
	stack := []*element{root}
	for d := xml.NewDecoder(bytes.NewReader(body)); ; { // leaves prefixes alone
		token, err := d.RawToken()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local, index: -1}
			if token.Name.Space != "" {
				e.name = token.Name.Space + ":" + e.name
			}
			top.children = append(top.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(token)
		}
	}
	if len(root.children) != 1 {
		return nil, errors.New("not one root")
	}
	return root.children[0], nil
}

// What we refuse and encoding/xml takes, and the other way round.
var (
	xmlStricter = []string{
		"DOCTYPE", "not one of the five", "deeper than 32", "4,096 leaves", "longer than 256", "outside the root",
		"isn't at the front", "that XML forbids", "broken UTF-8", "within a comment", "can't be in a name",
		"without a reference", "reference to no character",
	}
	xmlLaxer = []string{
		"illegal character code", "invalid character entity", // dropped from text
		"declared but", "unsupported version", // the declaration isn't read
		"invalid XML name", "expected element name", "expected attribute name", "expected target name", // colons, newer names
	}
)

func says(err error, any []string) bool {
	return slices.ContainsFunc(any, func(s string) bool { return strings.Contains(err.Error(), s) })
}

func FuzzXML(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := scanned(XML, body)
		root, oracleErr := oracleXML(body)
		switch {
		case err != nil && oracleErr == nil:
			if !says(err, xmlStricter) {
				t.Errorf("refused: %v", err)
			}
			return
		case err == nil && oracleErr != nil:
			if !says(oracleErr, xmlLaxer) {
				t.Errorf("taken, and encoding/xml says %v", oracleErr)
			}
			return
		case err != nil:
			return
		}
		want := root.leaves()
		if bytes.Contains(body, []byte("&#")) {
			// A reference to half a character is dropped like others that XML
			// forbids; encoding/xml puts U+FFFD in its place.
			got, want = withoutReplacement(got), withoutReplacement(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("leaves %q, encoding/xml has %q", got, want)
		}
	})
}

// withoutReplacement removes U+FFFD from all values.
func withoutReplacement(leaves []leaf) []leaf {
	for i := range leaves {
		leaves[i].value = strings.ReplaceAll(leaves[i].value, "\uFFFD", "")
	}
	return leaves
}

// oracleJSON reads a value with the token stream of encoding/json.
func oracleJSON(d *json.Decoder, e *element) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			c := &element{name: key.(string), index: -1}
			e.children = append(e.children, c)
			if err := oracleJSON(d, c); err != nil {
				return err
			}
		}
		_, err = d.Token()
	case json.Delim('['):
		for i := 0; d.More(); i++ {
			c := &element{name: fmt.Sprint(i), index: i}
			e.children = append(e.children, c)
			if err := oracleJSON(d, c); err != nil {
				return err
			}
		}
		_, err = d.Token()
	case nil:
	default:
		e.text = fmt.Sprint(token)
	}
	return err
}

func FuzzJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	// What we refuse and encoding/json takes.
	stricter := []string{"is not an object", "twice", "broken UTF-8", "longer than 256", "deeper than 32", "4,096 leaves"}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := scanned(JSON, body)
		valid := json.Valid(body)
		if err != nil {
			if valid && !says(err, stricter) {
				t.Errorf("refused: %v", err)
			}
			return
		}
		if !valid {
			t.Fatal("taken, and encoding/json refuses it")
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		root := &element{}
		if err := oracleJSON(d, root); err != nil {
			t.Fatal(err)
		}
		if want := root.leaves(); !slices.Equal(got, want) {
			t.Errorf("leaves %q, encoding/json has %q", got, want)
		}
	})
}

func FuzzOpen(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), "gh_1", "nonce", uint16(3), uint8(1))
	}
	f.Add([]byte(`<xml><Encrypt>x</Encrypt></xml>`), "]]>", "<>&\"\x00]]>", uint16(70), uint8(0x55))
	f.Add([]byte("x"), "gh", "\x01", uint16(0), uint8(0))
	now := time.Unix(1700000000, 0)
	f.Fuzz(func(t *testing.T, msg []byte, to, nonce string, at uint16, flip uint8) {
		for m := Encrypted; m <= Plain; m++ {
			a := testAccount(t, m)
			for f := XML; f <= JSON; f++ {
				body, q := a.AppendCallback(nil, msg, f, to, now.Unix(), nonce, [16]byte{1, 2, 3})
				o, err := a.Open(q, body, now)
				switch {
				case nonce == "":
					if err != ErrNotAuthentic {
						t.Fatalf("%v without a nonce: %v", m, err)
					}
				case m == Plain && err == ErrMode && isEnvelope(msg):
				case err != nil || !bytes.Equal(o.Body, msg):
					t.Fatalf("%v %v: %q, %v", m, f, o.Body, err)
				default:
					testAnswer(t, a, o, msg)
				}
				if len(body) > 0 && m != Plain {
					body[int(at)%len(body)] ^= flip
					if o, err := a.Open(q, body, now); err == nil && !bytes.Equal(o.Body, msg) {
						t.Fatalf("opened %q from a changed body", o.Body)
					}
				}
			}
			// As it came: no panic, and nothing opened that we did not seal.
			q := Query{Signature: nonce, MsgSignature: to, Timestamp: "1700000000", Nonce: "n"}
			if o, err := a.Open(q, msg, now); err == nil {
				t.Fatalf("opened %q", o.Body)
			}
			_, _, _ = a.OpenReply(msg)
		}
	})
}

func testAnswer(t *testing.T, a *Account, o Opened, msg []byte) {
	t.Helper()
	var ev hostapi.Event
	if err := Decode("shop", o, &ev); err != nil && !errors.Is(err, ErrUndecodable) {
		t.Fatal(err)
	}
	answer := a.AppendSealed(nil, msg, o, 1700000001, [16]byte{4})
	plain, _, err := a.OpenReply(answer)
	if !o.Sealed && err == ErrMode {
		return // a plain message that looks like an envelope
	}
	if !bytes.Equal(plain, msg) || err != nil {
		t.Fatalf("answer %q opened as %q, %v", answer, plain, err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add(uint8(0), "o1", "gh_1", "你好 ]]> <&> \x01\xff", "", int64(1700000000))
	for k := range uint8(8) {
		f.Add(k, "o", "gh", "a]]\x02>b]]]>", "\"\\\u2028\r\n", int64(-1))
	}
	f.Fuzz(func(t *testing.T, kind uint8, from, to, a, b string, created int64) {
		ev := &hostapi.Event{From: from, To: to}
		r, want := fuzzReply(kind%7, a, b)
		want = append([]leaf{{"ToUserName", from}, {"FromUserName", to}, {"CreateTime", fmt.Sprint(created)}}, want...)
		for f := XML; f <= JSON; f++ {
			doc, err := AppendReply(nil, r, ev, created, f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := scanned(f, doc)
			if err != nil {
				t.Fatalf("%v in %s", err, doc)
			}
			if len(got) != len(want) {
				t.Fatalf("%d leaves in %s, want %d", len(got), doc, len(want))
			}
			for i := range got {
				value := cleaned(want[i].value, f)
				name := want[i].name
				if f == JSON {
					name = strings.ReplaceAll(strings.ReplaceAll(name, ".item[", "["), ".item.", "[0].")
				}
				if got[i] != (leaf{name, value}) {
					t.Errorf("%v leaf %q, want %q = %q", f, got[i], name, value)
				}
			}
			if f == JSON {
				if !json.Valid(doc) {
					t.Errorf("encoding/json refuses %s", doc)
				}
				continue
			}
			root, err := oracleXML(doc)
			if err != nil {
				t.Fatalf("encoding/xml: %v in %s", err, doc)
			}
			if !slices.Equal(root.leaves(), got) {
				t.Errorf("encoding/xml reads %q, we read %q", root.leaves(), got)
			}
		}
	})
}

func fuzzReply(kind uint8, a, b string) (*hostapi.Reply, []leaf) {
	optional := func(list []leaf, name, value string) []leaf {
		if value != "" {
			list = append(list, leaf{name, value})
		}
		return list
	}
	switch kind {
	case 0:
		return &hostapi.Reply{Text: &hostapi.Text{Content: a}}, []leaf{{"MsgType", "text"}, {"Content", a}}
	case 1:
		return &hostapi.Reply{Image: &hostapi.Media{MediaID: a}}, []leaf{{"MsgType", "image"}, {"Image.MediaId", a}}
	case 2:
		return &hostapi.Reply{Voice: &hostapi.Media{MediaID: a}}, []leaf{{"MsgType", "voice"}, {"Voice.MediaId", a}}
	case 3:
		list := []leaf{{"MsgType", "video"}, {"Video.MediaId", a}}
		list = optional(optional(list, "Video.Title", b), "Video.Description", a)
		return &hostapi.Reply{Video: &hostapi.Video{MediaID: a, Title: b, Description: a}}, list
	case 4:
		list := optional([]leaf{{"MsgType", "music"}, {"Music.Title", "t"}}, "Music.Description", a)
		list = optional(optional(list, "Music.MusicUrl", b), "Music.HQMusicUrl", a)
		list = optional(list, "Music.ThumbMediaId", b)
		return &hostapi.Reply{Music: &hostapi.Music{Title: "t", Description: a, URL: b, HQURL: a, ThumbMediaID: b}}, list
	case 5:
		r := &hostapi.Reply{News: &hostapi.News{Articles: []hostapi.Article{{Title: a, URL: b}, {Description: b, PicURL: a}}}}
		return r, []leaf{
			{"MsgType", "news"},
			{"ArticleCount", "2"},
			{"Articles.item[0].Title", a},
			{"Articles.item[0].Description", ""},
			{"Articles.item[0].PicUrl", ""},
			{"Articles.item[0].Url", b},
			{"Articles.item[1].Title", ""},
			{"Articles.item[1].Description", b},
			{"Articles.item[1].PicUrl", a},
			{"Articles.item[1].Url", ""},
		}
	}
	list := optional([]leaf{{"MsgType", "transfer_customer_service"}}, "TransInfo.KfAccount", a)
	return &hostapi.Reply{Transfer: &hostapi.Transfer{Account: a}}, list
}

// cleaned is what must be read of a text that was written.
func cleaned(s string, f Format) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		if f == JSON || isChar(r) {
			b.WriteRune(r)
		}
	}
	s = b.String()
	if f == XML {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return s
}

func FuzzQuery(f *testing.F) {
	f.Add("signature=a&timestamp=1&nonce=2&openid=o&encrypt_type=aes&msg_signature=b")
	f.Add("nonce=%20+%zz&nonce=2&nonce=3&%6eonce=4&echostr=%e4%bd%a0&&=&timestamp")
	f.Fuzz(func(t *testing.T, raw string) {
		q := ParseQuery(raw)
		if got := ParseQuery(q.Encode()); got != q {
			t.Errorf("encoded and parsed: %q, want %q", got, q)
		}
		if strings.Contains(raw, ";") {
			return // net/url leaves such pairs out
		}
		v, _ := url.ParseQuery(raw)
		want := Query{
			Signature: v.Get("signature"), MsgSignature: v.Get("msg_signature"), Timestamp: v.Get("timestamp"),
			Nonce: v.Get("nonce"), EchoStr: v.Get("echostr"), EncryptType: v.Get("encrypt_type"),
		}
		if q != want {
			t.Errorf("%q, net/url has %q", q, want)
		}
	})
}

const (
	testAppID = "wx1234567890abcdef"
	testToken = "test-token"
	testKey   = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
)

func testAccount(tb testing.TB, m Mode) *Account {
	tb.Helper()
	a, err := NewAccount(AccountConfig{AppID: testAppID, Mode: m, Token: testToken, AESKey: testKey})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}
