package wechat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// The two sides of each pair work on the same bytes in one run: bare is what
// the standard library can't be spared, one SHA-1 over what is signed, base64
// and AES-CBC with the account's cipher.

const benchMessage = `<xml><ToUserName><![CDATA[gh_7f083739789a]]></ToUserName>
<FromUserName><![CDATA[oia2TjuEGTNoeX76QEjQNrcURxG8]]></FromUserName>
<CreateTime>1395658920</CreateTime>
<MsgType><![CDATA[text]]></MsgType>
<Content><![CDATA[你好，我上周在你们店里买的那双鞋尺码小了一点，请问还可以换大一码吗？需要带小票吗？]]></Content>
<MsgId>6054768590064713728</MsgId>
</xml>`

const benchReply = "您好，我们今天营业到晚上九点半，最后一桌在八点半之前就座。需要订位请回复“订位”。"

func benchAccount(tb testing.TB) *Account {
	a, err := NewAccount(AccountConfig{
		AppID: "wxb11529c136998cb6", Mode: Encrypted, Token: "pamtest",
		AESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func benchCallback(tb testing.TB) (a *Account, q Query, body []byte, now time.Time) {
	a = benchAccount(tb)
	now = time.Unix(1395658921, 0)
	body, q = a.AppendCallback(nil, []byte(benchMessage), XML, "gh_7f083739789a", 1395658920, "1320562132", [16]byte{7})
	return a, q, body, now
}

func BenchmarkOpen(b *testing.B) {
	a, q, body, now := benchCallback(b)
	b.ReportAllocs()
	for b.Loop() {
		o, err := a.Open(q, body, now)
		if err != nil {
			b.Fatal(err)
		}
		var ev hostapi.Event
		if err := Decode("shop", o, &ev); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenBare(b *testing.B) {
	a, q, body, _ := benchCallback(b)
	var t tree
	if err := t.scan(XML, body); err != nil {
		b.Fatal(err)
	}
	text, _ := t.only("Encrypt")
	signed := []byte(q.Timestamp + q.Nonce + "pamtest" + string(text))
	block, err := aes.NewCipher(a.keyBytes())
	if err != nil {
		b.Fatal(err)
	}
	iv := a.keyBytes()[:16]
	var sum [20]byte
	b.ReportAllocs()
	for b.Loop() {
		sum = sha1.Sum(signed)
		buf := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(buf, text)
		if err != nil {
			b.Fatal(err)
		}
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(buf[:n], buf[:n])
	}
	_ = sum
}

func BenchmarkSeal(b *testing.B) {
	a, q, body, now := benchCallback(b)
	o, err := a.Open(q, body, now)
	if err != nil {
		b.Fatal(err)
	}
	var ev hostapi.Event
	if err := Decode("shop", o, &ev); err != nil {
		b.Fatal(err)
	}
	r := &hostapi.Reply{Text: &hostapi.Text{Content: benchReply}}
	msg, err := AppendReply(nil, r, &ev, 1395658922, XML)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		a.AppendSealed(nil, msg, o, 1395658922, [16]byte{9})
	}
}

func BenchmarkSealBare(b *testing.B) {
	a := benchAccount(b)
	ev := &hostapi.Event{To: "gh_7f083739789a", From: "oia2TjuEGTNoeX76QEjQNrcURxG8"}
	r := &hostapi.Reply{Text: &hostapi.Text{Content: benchReply}}
	msg, err := AppendReply(nil, r, ev, 1395658922, XML)
	if err != nil {
		b.Fatal(err)
	}
	block, err := aes.NewCipher(a.keyBytes())
	if err != nil {
		b.Fatal(err)
	}
	iv := a.keyBytes()[:16]
	padded := make([]byte, sealedLen(len(msg), a.appID))
	signed := make([]byte, base64.StdEncoding.EncodedLen(len(padded))+len("1395658922"+"1320562132"+"pamtest"))
	var sum [20]byte
	b.ReportAllocs()
	for b.Loop() {
		out := make([]byte, len(padded)+base64.StdEncoding.EncodedLen(len(padded)))
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(out[:len(padded)], padded)
		base64.StdEncoding.Encode(out[len(padded):], out[:len(padded)])
		sum = sha1.Sum(signed)
	}
	_ = sum
}

func (a *Account) keyBytes() []byte {
	k, err := ParseAESKey("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
	if err != nil {
		panic(err)
	}
	return k.b[:]
}
