package wechat

import (
	"testing"

	"github.com/weft-dev/weft/hostapi"
)

func TestAppendReply(t *testing.T) {
	const (
		head = "<xml><ToUserName><![CDATA[o1]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName>" +
			"<CreateTime>5</CreateTime><MsgType><![CDATA["
		jsonHead = `{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":5,"MsgType":"`
	)
	for _, c := range []struct {
		name      string
		r         hostapi.Reply
		xml, json string
	}{
		{
			"text",
			hostapi.Reply{Text: &hostapi.Text{Content: "a]]>b\x01<你>\n\"\\"}},
			head + "text]]></MsgType><Content><![CDATA[a]]]]><![CDATA[>b<你>\n\"\\]]></Content></xml>",
			jsonHead + `text","Content":"a]]>b\u0001<你>\n\"\\"}`,
		},
		{
			"a terminator made by dropping",
			hostapi.Reply{Text: &hostapi.Text{Content: "]]\x00>]\xff]>"}},
			head + "text]]></MsgType><Content><![CDATA[]]]]><![CDATA[>]\ufffd]>]]></Content></xml>",
			jsonHead + "text\",\"Content\":\"]]\\u0000>]\ufffd]>\"}",
		},
		{
			"image",
			hostapi.Reply{Image: &hostapi.Media{MediaID: "m"}},
			head + "image]]></MsgType><Image><MediaId><![CDATA[m]]></MediaId></Image></xml>",
			jsonHead + `image","Image":{"MediaId":"m"}}`,
		},
		{
			"voice",
			hostapi.Reply{Voice: &hostapi.Media{MediaID: "m"}},
			head + "voice]]></MsgType><Voice><MediaId><![CDATA[m]]></MediaId></Voice></xml>",
			jsonHead + `voice","Voice":{"MediaId":"m"}}`,
		},
		{
			"video without a title",
			hostapi.Reply{Video: &hostapi.Video{MediaID: "m", Description: "d"}},
			head + "video]]></MsgType><Video><MediaId><![CDATA[m]]></MediaId><Description><![CDATA[d]]></Description></Video></xml>",
			jsonHead + `video","Video":{"MediaId":"m","Description":"d"}}`,
		},
		{
			"music",
			hostapi.Reply{Music: &hostapi.Music{Title: "t", URL: "u", HQURL: "h", ThumbMediaID: "m"}},
			head + "music]]></MsgType><Music><Title><![CDATA[t]]></Title><MusicUrl><![CDATA[u]]></MusicUrl>" +
				"<HQMusicUrl><![CDATA[h]]></HQMusicUrl><ThumbMediaId><![CDATA[m]]></ThumbMediaId></Music></xml>",
			jsonHead + `music","Music":{"Title":"t","MusicUrl":"u","HQMusicUrl":"h","ThumbMediaId":"m"}}`,
		},
		{
			"empty music",
			hostapi.Reply{Music: &hostapi.Music{}},
			head + "music]]></MsgType><Music></Music></xml>",
			jsonHead + `music","Music":{}}`,
		},
		{
			"news",
			hostapi.Reply{News: &hostapi.News{Articles: []hostapi.Article{{Title: "1", URL: "u"}, {Title: "2", PicURL: "p"}}}},
			head + "news]]></MsgType><ArticleCount>2</ArticleCount><Articles>" +
				"<item><Title><![CDATA[1]]></Title><Description><![CDATA[]]></Description><PicUrl><![CDATA[]]></PicUrl><Url><![CDATA[u]]></Url></item>" +
				"<item><Title><![CDATA[2]]></Title><Description><![CDATA[]]></Description><PicUrl><![CDATA[p]]></PicUrl><Url><![CDATA[]]></Url></item>" +
				"</Articles></xml>",
			jsonHead + `news","ArticleCount":2,"Articles":[{"Title":"1","Description":"","PicUrl":"","Url":"u"},{"Title":"2","Description":"","PicUrl":"p","Url":""}]}`,
		},
		{
			"transfer",
			hostapi.Reply{Transfer: &hostapi.Transfer{}},
			head + "transfer_customer_service]]></MsgType></xml>",
			jsonHead + `transfer_customer_service"}`,
		},
		{
			"transfer to one",
			hostapi.Reply{Transfer: &hostapi.Transfer{Account: "kf@gh"}},
			head + "transfer_customer_service]]></MsgType><TransInfo><KfAccount><![CDATA[kf@gh]]></KfAccount></TransInfo></xml>",
			jsonHead + `transfer_customer_service","TransInfo":{"KfAccount":"kf@gh"}}`,
		},
		{"raw", hostapi.Reply{Raw: &hostapi.Raw{Body: []byte("<x>")}}, "<x>", "<x>"},
		{"empty raw", hostapi.Reply{Raw: &hostapi.Raw{}}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for f, want := range map[Format]string{XML: c.xml, JSON: c.json, 0: c.xml} {
				ev := &hostapi.Event{From: "o1", To: "gh_1", AppType: "official"}
				got, err := AppendReply([]byte("before"), &c.r, ev, 5, f)
				if err != nil || string(got) != "before"+want {
					t.Errorf("%v: %v\n%s\nwant\n%s", f, err, got, want)
				}
				ev.AppType = "miniprogram"
				got, err = AppendReply(nil, &c.r, ev, 5, f)
				if c.r.Transfer == nil && c.r.Raw == nil {
					if err != ErrNotPassive || got != nil {
						t.Errorf("mini program: %q, %v", got, err)
					}
				} else if err != nil || string(got) != want {
					t.Errorf("mini program: %q, %v", got, err)
				}
			}
		})
	}
}

func TestAppendReplyRefuses(t *testing.T) {
	for name, r := range map[string]*hostapi.Reply{
		"nil":        nil,
		"none":       {},
		"two":        {Text: &hostapi.Text{}, Raw: &hostapi.Raw{}},
		"empty news": {News: &hostapi.News{}},
	} {
		if got, err := AppendReply([]byte("x"), r, &hostapi.Event{}, 1, XML); err != ErrNoReply || string(got) != "x" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestSealedNonce seals with nonces that only a hostile sender has; what is
// sealed can be read and checked all the same.
func TestSealedNonce(t *testing.T) {
	a := testAccount(t, Encrypted)
	for _, nonce := range []string{"n1", "]]>", `"},{"`, "</Nonce><x>", "a\x00b\n", "\x01", "\xff\xfe", "你", " a "} {
		for f := XML; f <= JSON; f++ {
			body, q := a.AppendCallback(nil, []byte(testMessage), f, nonce, testNow.Unix(), nonce, [16]byte{})
			o, err := a.Open(q, body, testNow)
			if err != nil {
				t.Fatalf("%q: %v", nonce, err)
			}
			answer := a.AppendSealed(nil, []byte("answer"), o, 7, [16]byte{})
			if plain, _, err := a.OpenReply(answer); err != nil || string(plain) != "answer" {
				t.Errorf("%q: %q, %v in %s", nonce, plain, err, answer)
			}
			if list, err := scanned(f, answer); err != nil || len(list) != 4 {
				t.Errorf("%q: %v, %v", nonce, list, err)
			}
		}
	}
}

func TestParseQueryAllocations(t *testing.T) {
	const raw = "signature=0123456789012345678901234567890123456789&timestamp=1700000000&nonce=1320562132" +
		"&openid=oABC&encrypt_type=aes&msg_signature=9876543210987654321098765432109876543210"
	if n := testing.AllocsPerRun(100, func() { ParseQuery(raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	q := ParseQuery(raw)
	if q.EncryptType != "aes" || q.Nonce != "1320562132" || q.MsgSignature[0] != '9' || q.Signature[0] != '0' || q.Timestamp != "1700000000" {
		t.Errorf("%+v", q)
	}
}
