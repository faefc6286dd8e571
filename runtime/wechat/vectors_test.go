package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// vectors reads the cases of one file of the folder that WEFT_VECTORS names:
// public facts about the protocol with their sources, which are not part of
// the project.
func vectors(t *testing.T, name string, cases any) {
	t.Helper()
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS is not set: the public protocol vectors are not here")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&struct{ Cases any }{cases}); err != nil {
		t.Fatal(err)
	}
}

func unix(t *testing.T, s string) time.Time {
	t.Helper()
	n, ok := digits(s)
	if !ok {
		t.Fatalf("timestamp %q", s)
	}
	return time.Unix(n, 0)
}

type cryptoCase struct {
	Name, Op, Token, AppID, Timestamp, Nonce, Encrypt, Random, Plaintext, Envelope string
	Key                                                                            string `json:"encoding_aes_key"`
	Signature                                                                      string
	MsgSignature                                                                   string `json:"msg_signature"`
	Valid                                                                          bool
	Fields                                                                         map[string]string `json:"expect_fields"`
}

func TestVectorsMsgCrypto(t *testing.T) {
	var cases []cryptoCase
	vectors(t, "msg_crypto.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if c.Op == "msg_signature" {
				if got := sign(c.Token, c.Timestamp, c.Nonce, []byte(c.Encrypt)); string(got[:]) != c.MsgSignature {
					t.Errorf("msg_signature %s, want %s", got[:], c.MsgSignature)
				}
				return
			}
			a, err := NewAccount(AccountConfig{AppID: c.AppID, Mode: Encrypted, Token: c.Token, AESKey: c.Key})
			if err != nil {
				t.Fatal(err)
			}
			if c.Op == "encrypt" {
				testSealVector(t, a, c)
			} else {
				testOpenVector(t, a, c)
			}
		})
	}
}

func testOpenVector(t *testing.T, a *Account, c cryptoCase) {
	q := Query{MsgSignature: c.MsgSignature, Timestamp: c.Timestamp, Nonce: c.Nonce}
	bodies := []string{
		"<xml><ToUserName>x</ToUserName><Encrypt><![CDATA[" + c.Encrypt + "]]></Encrypt></xml>",
		`{"ToUserName":"x","Encrypt":"` + c.Encrypt + `"}`,
		`{"Encrypt":"` + strings.ReplaceAll(c.Encrypt, "/", `\/`) + `"}`,
	}
	if c.Envelope != "" {
		bodies = append(bodies, c.Envelope)
	}
	for _, body := range bodies {
		o, err := a.Open(q, []byte(body), unix(t, c.Timestamp))
		if !c.Valid {
			if err != ErrNotAuthentic {
				t.Errorf("error %v, want ErrNotAuthentic", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v for %s", err, body)
			continue
		}
		if string(o.Body) != c.Plaintext || !o.Sealed || o.EnvelopeFormat != Sniff([]byte(body)) {
			t.Errorf("opened %q (sealed %v, envelope %v), want %q", o.Body, o.Sealed, o.EnvelopeFormat, c.Plaintext)
		}
		if len(c.Fields) > 0 {
			var ev hostapi.Event
			if err := Decode("app", o, &ev); err != nil {
				t.Fatal(err)
			}
			for name, want := range c.Fields {
				if got := leafOf(&ev, name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		}
	}
	if c.Signature != "" {
		if err := a.Verify(Query{Signature: c.Signature, Timestamp: c.Timestamp, Nonce: c.Nonce}, unix(t, c.Timestamp)); err != nil {
			t.Errorf("signature: %v", err)
		}
	}
}

func testSealVector(t *testing.T, a *Account, c cryptoCase) {
	o := Opened{
		Sealed: true, EnvelopeFormat: Sniff([]byte(c.Envelope)), Nonce: c.Nonce,
		token: a.now.tokens[0], key: a.now.keys[0],
	}
	got := a.AppendSealed([]byte("before"), []byte(c.Plaintext), o, unix(t, c.Timestamp).Unix(), [16]byte([]byte(c.Random)))
	if string(got) != "before"+c.Envelope {
		t.Errorf("sealed\n%s\nwant\n%s", got, c.Envelope)
	}
	msg, f, err := a.OpenReply([]byte(c.Envelope))
	if err != nil || string(msg) != c.Plaintext || f != Sniff([]byte(c.Plaintext)) {
		t.Errorf("opened the answer: %q, %v, %v", msg, f, err)
	}
}

func TestVectorsSignatures(t *testing.T) {
	var cases []struct {
		Name, Token, Timestamp, Nonce, Signature, Body string
		Parts                                          []string
		Valid                                          bool
	}
	vectors(t, "signatures.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if len(c.Parts) == 3 {
				if got := sign(c.Parts[0], c.Parts[1], c.Parts[2], nil); string(got[:]) != c.Signature {
					t.Errorf("signature %s, want %s", got[:], c.Signature)
				}
				return
			}
			a, err := NewAccount(AccountConfig{AppID: "wx", Mode: Plain, Token: c.Token})
			if err != nil {
				t.Fatal(err)
			}
			q := Query{Signature: c.Signature, Timestamp: c.Timestamp, Nonce: c.Nonce}
			now := unix(t, c.Timestamp)
			var want error
			if !c.Valid {
				want = ErrNotAuthentic
			}
			if err := a.Verify(q, now); err != want {
				t.Errorf("Verify: %v, want %v", err, want)
			}
			o, err := a.Open(q, []byte(c.Body), now)
			if err != want || string(o.Body) != map[bool]string{true: c.Body}[c.Valid] || o.Sealed {
				t.Errorf("Open: %q, %v", o.Body, err)
			}
		})
	}
}

// leafOf returns what the event has of a leaf of the callback.
func leafOf(ev *hostapi.Event, name string) string {
	for _, f := range ev.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	switch name {
	case "ToUserName":
		return ev.To
	case "FromUserName":
		return ev.From
	case "CreateTime":
		return fmt.Sprint(ev.Created)
	case "MsgType":
		return ev.Type
	case "Event", "InfoType":
		return ev.Event
	case "EventKey":
		return ev.Key
	case "Content":
		return ev.Content
	case "MsgId", "MsgID":
		return ev.MsgID
	}
	return ""
}

// flatten turns a parse tree into leaves by the rules of hostapi.md.
func flatten(name string, tree any, to map[string]string) {
	switch v := tree.(type) {
	case map[string]any:
		if len(v) == 0 {
			to[name] = ""
		}
		for k, child := range v {
			if name != "" {
				k = name + "." + k
			}
			flatten(k, child, to)
		}
	case []any:
		if len(v) == 0 {
			to[name] = ""
		}
		for i, child := range v {
			flatten(fmt.Sprintf("%s[%d]", name, i), child, to)
		}
	case nil:
		to[name] = ""
	default:
		to[name] = fmt.Sprint(v)
	}
}

// checkLeaves holds an event against all leaves of a parse tree.
func checkLeaves(t *testing.T, ev *hostapi.Event, tree any) {
	t.Helper()
	want := make(map[string]string)
	flatten("", tree, want)
	fields := 0
	for name, value := range want {
		h := headerOf([]byte(name))
		if h < 0 {
			fields++
		} else if h != content {
			value = strings.TrimSpace(value)
		}
		got := leafOf(ev, name)
		if name == "Event" && !strings.EqualFold(got, value) || name != "Event" && got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if len(ev.Fields) != fields {
		t.Errorf("%d fields, want %d: %v", len(ev.Fields), fields, ev.Fields)
	}
}

func decode(body string) (*hostapi.Event, error) {
	ev := new(hostapi.Event)
	err := Decode("shop", Opened{Body: []byte(body)}, ev)
	return ev, err
}

func TestVectorsMessages(t *testing.T) {
	for _, file := range []string{"xml_messages.json", "xml_events.json", "json_callbacks.json"} {
		t.Run(file, func(t *testing.T) {
			var cases []struct {
				Name, XML, JSON string
				MsgType, Event  string
				Expect          any
			}
			vectors(t, file, &cases)
			for _, c := range cases {
				t.Run(c.Name, func(t *testing.T) {
					ev, err := decode(c.XML + c.JSON)
					if err != nil {
						t.Fatal(err)
					}
					checkLeaves(t, ev, c.Expect)
					if ev.Type != c.MsgType || ev.Origin != "wechat" || len(ev.ID) != 32 {
						t.Errorf("type %q origin %q id %q", ev.Type, ev.Origin, ev.ID)
					}
					if c.Event != "" && !strings.EqualFold(ev.Event, c.Event) {
						t.Errorf("event %q, want %q", ev.Event, c.Event)
					}
					if format := map[bool]string{true: "json", false: "xml"}[c.JSON != ""]; ev.Format != format {
						t.Errorf("format %q, want %q", ev.Format, format)
					}
				})
			}
		})
	}
}

func TestVectorsParsing(t *testing.T) {
	var cases []struct {
		Name, Body, XML, Content, Generator string
		Expect                              any
	}
	vectors(t, "xml_and_json_parsing.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			switch c.Name {
			case "cdata-terminator-in-reply":
				got := string(appendCDATA(nil, c.Content))
				if want := "<![CDATA[a]]]]><![CDATA[>b]]>"; got != want {
					t.Errorf("%s, want %s", got, want)
				}
				return
			case "control-char-content": // our policy: dropped from text
				c.Expect = map[string]any{"Content": ""}
			case "deep-nesting":
				c.XML = "<xml>" + strings.Repeat("<a>", 100000) + strings.Repeat("</a>", 100000) + "</xml>"
			}
			ev, err := decode(c.Body + c.XML)
			if s, ok := c.Expect.(string); ok && strings.HasPrefix(s, "reject") {
				if !errors.Is(err, ErrUndecodable) {
					t.Errorf("error %v, want ErrUndecodable", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkLeaves(t, ev, c.Expect)
		})
	}
}

func TestVectorsFieldQuirks(t *testing.T) {
	var cases []struct {
		Name   string
		Sample string
		Tree   any
		Expect any
	}
	vectors(t, "field_quirks.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if c.Sample == "" {
				return // a statement without a sample; the samples of xml_events and json_callbacks hold it
			}
			ev, err := decode(c.Sample)
			if err != nil {
				t.Fatal(err)
			}
			checkLeaves(t, ev, c.Tree)
			expect, _ := c.Expect.(map[string]any)
			for name, want := range expect {
				var got string
				switch name {
				case "scene":
					got = ev.Scene
				case "event":
					got, want = strings.ToLower(ev.Event), strings.ToLower(fmt.Sprint(want))
				case "event_key":
					got = ev.Key
				case "event_key_parts":
					got, want = fmt.Sprint(strings.Split(ev.Key, "|")), fmt.Sprint(want)
				case "msg_id":
					got = ev.MsgID
				case "msg_type":
					got = ev.Type
				case "create_time":
					got = fmt.Sprint(ev.Created)
				default:
					continue // a name of the upstream's own; the tree has the leaf
				}
				if want == nil {
					want = ""
				}
				if got != fmt.Sprint(want) {
					t.Errorf("%s is %q, want %v", name, got, want)
				}
			}
		})
	}
}

func TestVectorsDedup(t *testing.T) {
	var cases []struct {
		Name       string
		Enabled    *bool
		Deliveries []map[string]any
		Keys       []string
		Duplicate  []bool
	}
	vectors(t, "dedup.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			for i := range c.Keys { // ids of different keys differ; times are the pipeline's
				c.Deliveries = append(c.Deliveries, map[string]any{"MsgId": c.Keys[i], "FromUserName": "u", "MsgType": "text"})
				c.Duplicate = append(c.Duplicate, false)
			}
			for _, f := range []Format{JSON, XML} {
				seen := make(map[string]bool)
				for i, d := range c.Deliveries {
					delete(d, "query")
					ev, err := decode(document(t, f, d))
					if err != nil {
						t.Fatal(err)
					}
					want := c.Duplicate[i] || c.Enabled != nil && i > 0 // off is not the id's doing
					if seen[ev.ID] != want {
						t.Errorf("%v delivery %d: seen %v, want %v", f, i, seen[ev.ID], want)
					}
					seen[ev.ID] = true
				}
			}
		})
	}
}

// document writes a flat message, its names in an order that is always the
// same.
func document(t *testing.T, f Format, leaves map[string]any) string {
	t.Helper()
	b, err := json.Marshal(leaves)
	if err != nil {
		t.Fatal(err)
	}
	if f == JSON {
		return string(b)
	}
	w := writer{}
	w.open("")
	var tr tree
	if err := tr.scan(JSON, b); err != nil {
		t.Fatal(err)
	}
	for i := int32(1); i < tr.size; i++ {
		w.text(string(tr.bytes(tr.at(i).name)), string(tr.bytes(tr.at(i).value)))
	}
	w.shut("")
	return string(w.b)
}

func TestVectorsReplies(t *testing.T) {
	replies := map[string]*hostapi.Reply{
		"ImageMessageReply": {Image: &hostapi.Media{MediaID: "media_id"}},
		"VoiceMessageReply": {Voice: &hostapi.Media{MediaID: "media_id"}},
		"TextMessageReply":  {Text: &hostapi.Text{Content: "你好"}},
		"VideoMessageReply": {Video: &hostapi.Video{MediaID: "media_id", Title: "title", Description: "description"}},
		"MusicMessageReply": {Music: &hostapi.Music{
			Title: "TITLE", Description: "DESCRIPTION", URL: "MUSIC_Url", HQURL: "HQ_MUSIC_Url", ThumbMediaID: "media_id",
		}},
		"NewsMessageReply": {News: &hostapi.News{Articles: []hostapi.Article{
			{Title: "title1", Description: "description1", PicURL: "picurl", URL: "url"},
		}}},
	}
	var cases []struct {
		Name, XML string
		Expect    any
	}
	vectors(t, "replies_xml.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			r := replies[c.Name]
			if r == nil {
				r = &hostapi.Reply{Raw: &hostapi.Raw{Body: []byte(c.XML)}}
			}
			got, err := AppendReply(nil, r, &hostapi.Event{From: "toUser", To: "fromUser"}, 12345678, XML)
			if err != nil {
				t.Fatal(err)
			}
			ev, err := decode(string(got))
			if err != nil {
				t.Fatal(err)
			}
			checkLeaves(t, ev, c.Expect)
		})
	}
}

func TestVectorsCatalogue(t *testing.T) {
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS is not set: the public protocol vectors are not here")
	}
	b, err := os.ReadFile(filepath.Join(dir, "event_catalog.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Entries []struct {
			Event, Group string
			Spellings    []string
		}
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	words := Catalogue()
	for _, e := range list.Entries {
		t.Run(e.Event, func(t *testing.T) {
			in := map[string][]string{"message": words.MsgTypes, "event": words.Events, "component InfoType": words.InfoTypes}[e.Group]
			found := false
			for _, w := range in {
				found = found || w == e.Event
			}
			if !found {
				t.Errorf("%s %q is not in the catalogue", e.Group, e.Event)
			}
			if e.Group == "message" {
				return
			}
			for _, s := range append(e.Spellings, strings.ToUpper(e.Event), strings.ToLower(e.Event)) {
				if got := Documented(s); got != e.Event {
					t.Errorf("%q is documented as %q, want %q", s, got, e.Event)
				}
			}
		})
	}
}
