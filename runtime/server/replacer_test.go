package server

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/wechat"
)

func TestReplaceTexts(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"价格 100 元，2026 年", "价格 100 元，2026 年"},
		{"打13812345678，或 138-1234-5678", "打13900000001，或 139-0000-0002"},
		{"+86 13812345678 12345", "+86 13900000001 12345"},
		{"座机 010-12345678", "座机 139-00000001"},
		{"身份证 11010119900307123X。", "身份证 90000000000000001X。"},
		{"单号 4008072001201701105817415015", "单号 9000000000000000000000000001"},
		{"写信 a.b+c@mail.corp.cn。", "写信 user1@example.com。"},
		{"见 https://x.cn/p?id=7#top，谢谢", "见 https://x.cn/p?replaced=1，谢谢"},
		{"见 https://x.cn/p 就行", "见 https://x.cn/p 就行"},
		{"https://me:pw@x.cn/", "https://x.cn/"},
		{"我是 oAbcdefghijklmnopqrstuvwx-_1", "我是 oPersonaaaaaaaaaaaaaaaaaaaab"},
		{"abcdefghijklmnopqrstuvwxyz12", "abcdefghijklmnopqrstuvwxyz12"},
		{"从 10.0.0.7 来，版本 1.2.3", "从 192.0.2.1 来，版本 1.2.3"},
		{"号 gh_0123456789ab", "号 gh_aaaaaaaaaaab"},
		{"13812345678 13812345678", "13900000001 13900000001"},
	} {
		if got := newReplacer().text(c.text); got != c.want {
			t.Errorf("%s: got %s, want %s", c.text, got, c.want)
		}
	}
}

// The same person is the same one everywhere, and twice replaced is replaced once.
func TestReplaceIsConsistent(t *testing.T) {
	r := newReplacer()
	ev := &hostapi.Event{
		To: "gh_1", From: "oUser1", Type: "text", Content: "call 13812345678", MsgID: "9", Format: "xml",
		Fields: []hostapi.Field{{Name: "NickName", Value: "Alice"}, {Name: "A.Phone", Value: "13812345678"}, {Name: "Remark", Value: "of Alice, oUser1"}},
	}
	doc, ok := r.event(ev)
	if !ok {
		t.Fatal("not written")
	}
	var again hostapi.Event
	if err := wechat.Decode("shop", wechat.Opened{Body: doc}, &again); err != nil {
		t.Fatal(err)
	}
	person := r.value(personOpenID, "oUser1")
	remark, _ := again.Field("Remark")
	phone, _ := again.Field("A.Phone")
	if again.From != person || remark != "of name1, "+person || again.Content != "call "+phone || phone == "13812345678" {
		t.Errorf("%s", doc)
	}
	if twice, ok := r.event(&again); !ok || !bytes.Equal(stripped(twice), stripped(doc)) {
		t.Errorf("replaced twice:\n%s\n%s", doc, twice)
	}
}

// stripped is a document without its MsgId, which is another each time.
func stripped(doc []byte) []byte {
	before, _, _ := bytes.Cut(doc, []byte("<MsgId>"))
	return before
}

// A JSON callback stays one, with its lists.
func TestReplaceJSON(t *testing.T) {
	ev := new(hostapi.Event)
	src := `{"ToUserName":"gh","FromUserName":"oU","CreateTime":5,"MsgType":"event","Event":"x","List":[{"Id":"1","Openid":"oV"},{"Id":"2"}],"One":["a"]}`
	if err := wechat.Decode("shop", wechat.Opened{Body: []byte(src), Format: wechat.JSON}, ev); err != nil {
		t.Fatal(err)
	}
	doc, ok := newReplacer().event(ev)
	if !ok || !strings.Contains(string(doc), `"List":[{"Id":"1","Openid":"oPerson`) || !strings.Contains(string(doc), `"One":["a"]`) {
		t.Errorf("%v %s", ok, doc)
	}
}

// FuzzReplace: whatever the callback, what is written is one, has nothing of the
// header's ids, and comes out the same for the same person.
func FuzzReplace(f *testing.F) {
	f.Add([]byte(`<xml><ToUserName>gh_abc</ToUserName><FromUserName>oPersonalUser</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>13812345678 https://a.cn/?q=1</Content><MsgId>1</MsgId></xml>`))
	f.Add([]byte(`{"ToUserName":"gh_abc","FromUserName":"oPersonalUser","MsgType":"event","Event":"e","List":[{"a.b":"1"},2],"phone":13812345678}`))
	f.Add([]byte(`<xml><InfoType>x</InfoType><L><A>1</A></L><L><A>2</A></L><ComponentVerifyTicket>ticket@@@x</ComponentVerifyTicket></xml>`))
	f.Fuzz(func(t *testing.T, src []byte) {
		ev := new(hostapi.Event)
		if wechat.Decode("shop", wechat.Opened{Body: src}, ev) != nil {
			return
		}
		r := newReplacer()
		doc, ok := r.event(ev)
		if !ok {
			return
		}
		again := new(hostapi.Event)
		if err := wechat.Decode("shop", wechat.Opened{Body: doc}, again); err != nil {
			t.Fatalf("what was written is no callback: %v\n%s", err, doc)
		}
		if !utf8.Valid(yamlSafe(jsonText(string(doc)))) {
			t.Fatalf("no text for a file: %q", doc)
		}
		if again.Type != ev.Type && !strings.ContainsAny(ev.Type, "\r") || ev.From != "" && again.From != r.value(personOpenID, ev.From) && again.From != ev.From {
			t.Fatalf("%q became %q", src, doc)
		}
	})
}
