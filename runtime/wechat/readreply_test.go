package wechat

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-dev/weft/hostapi"
)

// answers are replies of every kind.
func answers() []hostapi.Reply {
	return []hostapi.Reply{
		{Text: &hostapi.Text{Content: " a]]>b<你>\n\"\\ "}},
		{Text: &hostapi.Text{}},
		{Image: &hostapi.Media{MediaID: "m"}},
		{Voice: &hostapi.Media{MediaID: "m"}},
		{Video: &hostapi.Video{MediaID: "m", Description: "d"}},
		{Music: &hostapi.Music{Title: "t", Description: "d", URL: "u", HQURL: "h", ThumbMediaID: "m"}},
		{Music: &hostapi.Music{}},
		{News: &hostapi.News{Articles: []hostapi.Article{{Title: "1", Description: "d", PicURL: "p", URL: "u"}}}},
		{News: &hostapi.News{Articles: []hostapi.Article{{Title: "1", URL: "u"}, {}, {Title: "2", PicURL: "p"}}}},
		{Transfer: &hostapi.Transfer{}},
		{Transfer: &hostapi.Transfer{Account: "kf@gh"}},
	}
}

// What AppendReply writes, DecodeReply reads.
func TestDecodeReply(t *testing.T) {
	for _, want := range answers() {
		for _, f := range []Format{XML, JSON} {
			doc, err := AppendReply(nil, &want, &hostapi.Event{From: "o1", To: "gh_1"}, 5, f)
			if err != nil {
				t.Fatal(err)
			}
			for _, given := range []Format{f, 0} {
				got, err := DecodeReply(doc, given)
				if err != nil || !reflect.DeepEqual(*got, want) {
					t.Errorf("%s: %v, %+v", doc, err, got)
				}
			}
		}
	}
}

// Answers as others write them.
func TestDecodeReplyOfOthers(t *testing.T) {
	for doc, want := range map[string]*hostapi.Reply{
		"": nil, "success": nil, " success\r\n": nil, "\n": nil,
		"<xml>\n <MsgType><![CDATA[text]]></MsgType>\n <Content>a &lt; b</Content>\n</xml>\n":      {Text: &hostapi.Text{Content: "a < b"}},
		"<xml><MsgType>image</MsgType><Image>\n<MediaId>\n<![CDATA[m]]>\n</MediaId></Image></xml>": {Image: &hostapi.Media{MediaID: "m"}},
		"<xml><MsgType>news</MsgType><ArticleCount>1</ArticleCount></xml>":                         {News: &hostapi.News{}},
		`{"MsgType":"news","Articles":{"item":[{"Title":"a"},{"Url":"b","Other":"c"}]}}`:           {News: &hostapi.News{Articles: []hostapi.Article{{Title: "a"}, {URL: "b"}}}},
		`{"MsgType":"text"}`: {Text: &hostapi.Text{}},
		`<xml><MsgType>hardware</MsgType><HardWare><MessageView>x</MessageView></HardWare></xml>`: {Raw: &hostapi.Raw{
			Body: []byte(`<xml><MsgType>hardware</MsgType><HardWare><MessageView>x</MessageView></HardWare></xml>`),
		}},
	} {
		if got, err := DecodeReply([]byte(doc), 0); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %+v", doc, err, got)
		}
	}
	for _, doc := range []string{
		"no", "<xml>", "<xml/>", "[]", "{}", `{"MsgType":1,"MsgType":2}`, "<xml><MsgType>text</MsgType><Content><b/></Content></xml>",
		"<xml><MsgType>news</MsgType><Articles>" + strings.Repeat("<item><Title>a</Title></item>", maxArticles+1) + "</Articles></xml>",
	} {
		if got, err := DecodeReply([]byte(doc), 0); !errors.Is(err, ErrUndecodable) || got != nil {
			t.Errorf("%.60s: %v, %+v", doc, err, got)
		}
	}
}

// FuzzDecodeReply: nothing panics, and what is read can be written and is read
// again as the same.
func FuzzDecodeReply(f *testing.F) {
	for _, r := range answers() {
		for _, format := range []Format{XML, JSON} {
			doc, err := AppendReply(nil, &r, &hostapi.Event{From: "o1", To: "gh_1"}, 5, format)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(doc)
		}
	}
	for _, doc := range append(seeds, "success", `{"MsgType":"news","Articles":[{"Title":"a"},[{"Url":"b"}],"c"]}`) {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		r, err := DecodeReply(doc, 0)
		if err != nil || r == nil || r.Raw != nil || r.News != nil && len(r.News.Articles) == 0 {
			if err != nil && (!errors.Is(err, ErrUndecodable) || r != nil) {
				t.Errorf("%v, %+v", err, r)
			}
			return
		}
		format := Sniff(doc)
		written, err := AppendReply(nil, r, &hostapi.Event{From: "o1", To: "gh_1"}, 5, format)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeReply(written, format)
		if err != nil || fmt.Sprintf("%q", again.Append(nil)) != fmt.Sprintf("%q", r.Append(nil)) {
			t.Errorf("%q: %v, %q, first %q", doc, err, again.Append(nil), r.Append(nil))
		}
	})
}
