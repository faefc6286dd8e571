package wechat

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// both are the two forms of one callback.
func both(t *testing.T, xml, json string, check func(t *testing.T, ev *hostapi.Event)) {
	t.Helper()
	for _, body := range []string{xml, json} {
		ev, err := decode(body)
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		check(t, ev)
	}
}

func TestDecodeHeader(t *testing.T) {
	both(t,
		"<xml><ToUserName> gh_1\n</ToUserName><FromUserName>\to1 </FromUserName><CreateTime> 12 </CreateTime>"+
			"<MsgType> text </MsgType><Event> x </Event><EventKey> k </EventKey><Content> c </Content>"+
			"<MsgId> 9007199254740993 </MsgId><A> a </A></xml>",
		`{"ToUserName":" gh_1\n","FromUserName":"\to1 ","CreateTime":12,"MsgType":" text ","Event":" x ",
		"EventKey":" k ","Content":" c ","MsgId":9007199254740993,"A":" a "}`,
		func(t *testing.T, ev *hostapi.Event) {
			want := hostapi.Event{
				ID: ev.ID, App: "shop", To: "gh_1", From: "o1", User: "o1", Created: 12, Type: "text", Event: "x", Key: "k",
				Content: " c ", MsgID: "9007199254740993", Fields: []hostapi.Field{{Name: "A", Value: " a "}},
				Origin: "wechat", Format: ev.Format, Raw: ev.Raw,
			}
			if got := fmt.Sprintf("%+v", *ev); got != fmt.Sprintf("%+v", want) {
				t.Errorf("%s\nwant %+v", got, want)
			}
		})
}

func TestDecodeNames(t *testing.T) {
	names := func(ev *hostapi.Event) (list []string) {
		for _, f := range ev.Fields {
			list = append(list, f.Name+"="+f.Value)
		}
		return list
	}
	for _, c := range []struct{ body, want string }{
		{`<xml><A><B>1</B><B><C>2</C></B></A><A/></xml>`, "A[0].B[0]=1 A[0].B[1].C=2 A[1]="},
		{`<xml><A>1</A><b>2</b><A>3</A></xml>`, "A[0]=1 b=2 A[1]=3"},
		{`<xml><A>x<B/>y</A></xml>`, "A.B="},
		{`<xml a="b"><A c='d'/><!-- <Z>1</Z> --><?p <Z>1</Z>?></xml>`, "A="},
		{`<xml><A.B>1</A.B><A><B>2</B></A></xml>`, "A.B=1 A.B=2"},
		{`{"A":{"B":[1,{"C":2}],"D":[]},"E":[[],[[3]]],"F":{},"G":null}`, "A.B[0]=1 A.B[1].C=2 A.D= E[0]= E[1][0][0]=3 F= G="},
		{`{"A.B":1,"A":{"B":2},"a":3,"A[0]":4}`, "A.B=1 A.B=2 a=3 A[0]=4"},
		{`{"a":-0.0e+10,"b":true,"c":false,"d":"null","e":12345678901234567890}`, "a=-0.0e+10 b=true c=false d=null e=12345678901234567890"},
		{`{"openid":"o","OpenID":"p","Open_Id":"q"}`, "openid=o OpenID=p Open_Id=q"},
	} {
		ev, err := decode(c.body)
		if err != nil {
			t.Errorf("%v: %s", err, c.body)
			continue
		}
		if got := strings.Join(names(ev), " "); got != c.want {
			t.Errorf("%s\n has %s\nwant %s", c.body, got, c.want)
		}
	}
}

func TestDecodeRules(t *testing.T) {
	for _, c := range []struct {
		name, body string
		get        func(ev *hostapi.Event) string
		want       string
	}{
		{"subscribe with a scene", `{"Event":"SUBSCRIBE","EventKey":"qrscene_5"}`, scenes, "subscribe 5"},
		{"subscribe with a scene of letters", `{"Event":"subscribe","EventKey":"qrscene_qrscene_a"}`, scenes, "subscribe qrscene_a"},
		{"subscribe without", `{"Event":"subscribe","EventKey":""}`, scenes, "subscribe "},
		{"subscribe after a payment", `{"Event":"subscribe","EventKey":"last_trade_no_4"}`, scenes, "subscribe "},
		{"scan", `{"Event":"scan","EventKey":" 5 "}`, scenes, "SCAN 5"},
		{"click", `{"Event":"Click","EventKey":"qrscene_5"}`, scenes, "CLICK "},
		{"unknown event", `{"Event":" New_Thing "}`, scenes, "New_Thing "},
		{"event with a blank", `{"Event":"Complaint Callback"}`, scenes, "complaint callback "},
		{"push without MsgType", `{"InfoType":"Component_Verify_Ticket","Event":"x"}`, names, "/component_verify_ticket Event=x"},
		{"push with MsgType", `{"InfoType":"authorized","MsgType":"event","Event":"x"}`, names, "event/x InfoType=authorized"},
		{"empty InfoType", `{"InfoType":" ","Event":"x"}`, names, "/x InfoType= "},
		{"MsgID", `{"MsgID":" 7 "}`, ids, "7 "},
		{"MsgId and MsgID", `{"MsgID":8,"MsgId":7}`, ids, "7 MsgID=8"},
		{"empty MsgId and MsgID", `{"MsgID":8,"MsgId":""}`, ids, " MsgID=8"},
		{"CreateTime of words", `{"CreateTime":" soon "}`, times, "0 CreateTime= soon "},
		{"CreateTime with a point", `{"CreateTime":1.5}`, times, "0 CreateTime=1.5"},
		{"negative CreateTime", `{"CreateTime":-5}`, times, "-5 "},
		{"CreateTime beyond 64 bits", `{"CreateTime":9223372036854775808}`, times, "0 CreateTime=9223372036854775808"},
		{"largest CreateTime", `{"CreateTime":9223372036854775807}`, times, "9223372036854775807 "},
		{"no CreateTime", `{"MsgType":"x"}`, times, "0 "},
		{"user is the sender", `{"FromUserName":"o1","x":"y"}`, users, "o1"},
		{"user is named", `{"FromUserName":"sys","OpenId":" o2 "}`, users, "o2"},
		{"first name that isn't empty", `{"FromUserName":"sys","open_id":" ","OPENID":"o2","openid":"o3"}`, users, "o2"},
		{"named further down", `{"FromUserName":"o1","a":{"openid":"o2"},"openids":"o3","openid":["o4"]}`, users, "o1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev, err := decode(c.body)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.get(ev); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func scenes(ev *hostapi.Event) string { return ev.Event + " " + ev.Scene }
func users(ev *hostapi.Event) string  { return ev.User }
func ids(ev *hostapi.Event) string    { return ev.MsgID + " " + rest(ev) }
func times(ev *hostapi.Event) string  { return fmt.Sprint(ev.Created, " ") + rest(ev) }
func names(ev *hostapi.Event) string  { return ev.Type + "/" + ev.Event + " " + rest(ev) }

func rest(ev *hostapi.Event) string {
	s := ""
	for _, f := range ev.Fields {
		s += f.Name + "=" + f.Value
	}
	return s
}

func TestDecodeIdentity(t *testing.T) {
	id := func(parts ...string) string {
		var b []byte
		for _, p := range parts {
			b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
			b = append(b, p...)
		}
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:16])
	}
	for _, c := range []struct{ name, body, want string }{
		{
			"message", `<xml><ToUserName>g</ToUserName><FromUserName> o </FromUserName><CreateTime>5</CreateTime>` +
				`<MsgType>text</MsgType><Content>c</Content><MsgId>77</MsgId></xml>`,
			id("shop", "g", "text", "", "77", "o", "5"),
		},
		{
			"MsgID", `{"MsgID":77,"MsgType":"event","Event":"masssendjobfinish","CreateTime":"x","FromUserName":"o"}`,
			id("shop", "", "event", "MASSSENDJOBFINISH", "77", "o", "x"),
		},
		{
			"empty MsgId and MsgID", `{"MsgId":"","MsgID":"8"}`,
			id("shop", "", "", "", "8", "", ""),
		},
		{
			"event", `<xml><FromUserName> o </FromUserName><Event>click</Event><A>1</A><A><B/></A></xml>`,
			id("shop", "FromUserName", " o ", "Event", "click", "A[0]", "1", "A[1].B", ""),
		},
		{"empty MsgId", `{"MsgId":" ","a":{"b":[]}}`, id("shop", "MsgId", " ", "a.b", "")},
		{"MsgId further down", `{"List":[{"MsgID":"1"}]}`, id("shop", "List[0].MsgID", "1")},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev, err := decode(c.body)
			if err != nil {
				t.Fatal(err)
			}
			if ev.ID != c.want {
				t.Errorf("id %s, want %s", ev.ID, c.want)
			}
		})
	}
	t.Run("of another app", func(t *testing.T) {
		var a, b hostapi.Event
		o := Opened{Body: []byte(benchMessage)}
		if err := errors.Join(Decode("a", o, &a), Decode("b", o, &b)); err != nil {
			t.Fatal(err)
		}
		if a.ID == b.ID {
			t.Error("the same")
		}
	})
}

// TestDecodeRefuses are documents that are no callback, and why.
func TestDecodeRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	lists := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	long := strings.Repeat("n", 257)
	for _, c := range []struct{ name, body, why string }{
		{"nothing", "", "neither XML nor"},
		{"blanks", " \n", "neither XML nor"},
		{"words", "hello", "neither XML nor"},
		{"list", "[1]", "neither XML nor"},
		{"byte order mark", "\ufeff<xml><a/></xml>", "neither XML nor"},
		{"no element", "<!-- -->", "no element"},
		{"no leaf", "<xml>text</xml>", "holds nothing"},
		{"no leaf in JSON", "{}", "holds nothing"},
		{"header twice", "<xml><MsgType>a</MsgType><MsgType>a</MsgType></xml>", "MsgType is there twice"},
		{"header with children", "<xml><Event><a/></Event></xml>", "Event is not a plain value"},
		{"header of an object", `{"Content":{"a":1}}`, "Content is not a plain value"},
		{"header of a list", `{"MsgId":[1]}`, "MsgId is not a plain value"},
		{"DOCTYPE", `<!DOCTYPE x><xml><a/></xml>`, "DOCTYPE"},
		{"DOCTYPE within", `<xml><!DOCTYPE x><a/></xml>`, "DOCTYPE"},
		{"XML bomb", `<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><xml><a>&b;</a></xml>`, "DOCTYPE"},
		{"entity", `<xml><a>&nbsp;</a></xml>`, "not one of the five"},
		{"entity in an attribute", `<xml a="&b;"><a/></xml>`, "not one of the five"},
		{"bare ampersand", `<xml><a>a & b</a></xml>`, "without a reference"},
		{"reference beyond Unicode", `<xml><a>&#1114112;</a></xml>`, "no character"},
		{"reference without digits", `<xml><a>&#x;</a></xml>`, "no character"},
		{"reference with a sign", `<xml><a>&#-1;</a></xml>`, "no character"},
		{"two roots", "<xml><a/></xml><xml/>", "more than one root"},
		{"text behind", "<xml><a/></xml>x", "outside the root"},
		{"CDATA behind", "<xml><a/></xml><![CDATA[]]>", "DOCTYPE or another"},
		{"declaration behind", "<xml><a/></xml><?xml version='1.0'?>", "isn't at the front"},
		{"declaration within", "<xml><?XML version='1.0'?><a/></xml>", "isn't at the front"},
		{"other end tag", "<xml><a></b></xml>", "end tag of another"},
		{"longer end tag", "<xml><a></ab></xml>", "end tag of another"},
		{"end tag too many", "<xml></xml></xml>", "more than one root"},
		{"]]> in text", "<xml><a>]]></a></xml>", "]]>"},
		{"-- in a comment", "<xml><!-- a -- b --><a/></xml>", "--"},
		{"blank before a name", "<xml>< a/></xml>", "can't begin a name"},
		{"digit before a name", "<xml><1a/></xml>", "can't begin a name"},
		{"slash in a tag", "<xml><a/ ></xml>", "/ within"},
		{"attributes not apart", `<xml><a b="c"d="e"/></xml>`, "can't be in a name"},
		{"attribute without a value", `<xml><a b/></xml>`, "without a value"},
		{"attribute without quotes", `<xml><a b=c/></xml>`, "without quotes"},
		{"< in an attribute", `<xml><a b="<"/></xml>`, "< in an attribute"},
		{"NUL in a name", "<xml><a\x00/></xml>", "can't be in a name"},
		{"NUL in an attribute", "<xml><a b='\x00'/></xml>", "forbids"},
		{"reference to NUL in an attribute", "<xml><a b='&#0;'/></xml>", "forbids"},
		{"reference to half a character in an attribute", "<xml a='&lt;&#xd83d;'><a/></xml>", "forbids"},
		{"NUL in a comment", "<xml><!--\x00--><a/></xml>", "forbids"},
		{"NUL in an instruction", "<xml><?p \x00?><a/></xml>", "forbids"},
		{"NUL outside", "<xml><a/></xml>\x00", "outside the root"},
		{"U+FFFF in a comment", "<xml><!--\uffff--><a/></xml>", "forbids"},
		{"broken UTF-8 in text", "<xml><a>\xff</a></xml>", "broken UTF-8"},
		{"broken UTF-8 in CDATA", "<xml><a><![CDATA[\xe4\xbd]]></a></xml>", "broken UTF-8"},
		{"broken UTF-8 beside elements", "<xml>\xc0\x80<a/></xml>", "broken UTF-8"},
		{"broken UTF-8 in a name", "<xml><a\xff/></xml>", "broken UTF-8"},
		{"broken UTF-8 in a comment", "<xml><!--\xed\xa0\x80--><a/></xml>", "broken UTF-8"},
		{"33 elements deep", deep(33), "deeper than 32"},
		{"100,000 elements deep", deep(100000), "deeper than 32"},
		{"33 lists deep", lists(32), "deeper than 32"},
		{"100,000 lists deep", lists(100000), "deeper than 32"},
		{"4,097 leaves", "<xml>" + strings.Repeat("<a/>", 4097) + "</xml>", "4,096 leaves"},
		{"4,097 items", `{"a":[` + strings.Repeat("1,", 4096) + "1]}", "4,096 leaves"},
		{"10,000 fields", "<xml>" + fields(10000) + "</xml>", "4,096 leaves"},
		{"long name", "<xml><" + long + "/></xml>", "longer than 256"},
		{"long key", `{"` + long + `":1}`, "longer than 256"},
		{"long joined name", "<xml><" + long[:200] + "><" + long[:56] + "/></" + long[:200] + "></xml>", "longer than 256"},
		{"key twice", `{"a":1,"a":1}`, "same key twice"},
		{"escaped key twice", `{"a":1,"\u0061":1}`, "same key twice"},
		{"key twice further down", `{"a":[{"b":1,"c":2,"b":1}]}`, "same key twice"},
		{"key twice among many", `{` + keys(100) + `,"k7":1}`, "same key twice"},
		{"broken UTF-8 in JSON", "{\"a\":\"\xff\"}", "broken UTF-8"},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "broken UTF-8"},
		{"control character", "{\"a\":\"\n\"}", "control character"},
		{"NUL between", "{\"a\":\x001}", "something else"},
		{"unknown escape", `{"a":"\x"}`, "unknown escape"},
		{"short escape", `{"a":"\u12"}`, "four hex digits"},
		{"leading zero", `{"a":01}`, "a comma or }"},
		{"plus sign", `{"a":+1}`, "a value"},
		{"number cut", `{"a":1.}`, "after its point"},
		{"exponent cut", `{"a":1e}`, "exponent"},
		{"minus only", `{"a":-}`, "without digits"},
		{"comma at the end", `{"a":1,}`, "a key"},
		{"comma at the end of a list", `{"a":[1,]}`, "a value"},
		{"no colon", `{"a" 1}`, "a colon"},
		{"word", `{"a":nul}`, "none of true"},
		{"more behind", `{"a":1}{}`, "more after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := hostapi.Event{App: "untouched"}
			err := Decode("shop", Opened{Body: []byte(c.body)}, &ev)
			if !errors.Is(err, ErrUndecodable) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("error %v, want %q", err, c.why)
			}
			if ev.App != "untouched" || ev.ID != "" {
				t.Errorf("the event was changed: %+v", ev)
			}
		})
	}
}

func fields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<f%d>%d</f%d>", i, i, i)
	}
	return b.String()
}

func keys(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return strings.Join(list, ",")
}

// TestDecodeTakes are documents at the bounds and with odd but right forms.
func TestDecodeTakes(t *testing.T) {
	name := strings.Repeat("n", 256)
	for _, c := range []struct{ name, body, field, want string }{
		{"declaration", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<xml><a>1</a></xml>", "a", "1"},
		{"instructions and comments", "<!--x--><?p?><xml><!----><a>1<!--y-->2<?p q?>3</a></xml> <!--z--> ", "a", "123"},
		{"blanks in tags", "<xml ><a\n b = '1'\tc=\">\" >1</a ></xml\r\n>", "a", "1"},
		{"references", "<xml><a>&lt;&gt;&amp;&apos;&quot;&#60;&#x3C;&#x4F60;&#128512;</a></xml>", "a", "<>&'\"<<你😀"},
		{"nothing unescaped twice", "<xml><a>&amp;lt;<![CDATA[&lt;<br>]]></a></xml>", "a", "&lt;&lt;<br>"},
		{"CDATA in pieces", "<xml><a>x<![CDATA[]]]]><![CDATA[>]]>y</a></xml>", "a", "x]]>y"},
		{"brackets in CDATA", "<xml><a><![CDATA[]]]]]]></a></xml>", "a", "]]]]"},
		{"control characters dropped", "<xml><a>\x001\x1f2<![CDATA[\x0b3\ufffe\uffff]]>&#1;&#xd83d;&#xde00;&#xffff;</a></xml>", "a", "123"},
		{"line ends", "<xml><a>1\r\n2\r3\n<![CDATA[4\r\n5\r]]>&#13;</a></xml>", "a", "1\n2\n3\n4\n5\n\r"},
		{"exact value", "<xml><a> \t1 </a></xml>", "a", " \t1 "},
		{"names of other letters", "<xml><中-文·1:_>1</中-文·1:_></xml>", "中-文·1:_", "1"},
		{"text of a parent dropped", "<xml><b>x<a>1</a>y</b></xml>", "b.a", "1"},
		{"emoji", "<xml><a><![CDATA[😀，好…é]]></a></xml>", "a", "😀，好…é"},
		{"32 elements deep", "<xml>" + strings.Repeat("<a>", 31) + "1" + strings.Repeat("</a>", 31) + "</xml>", strings.Repeat(".a", 31)[1:], "1"},
		{"32 lists deep", `{"a":` + strings.Repeat("[", 31) + "1" + strings.Repeat("]", 31) + "}", "a" + strings.Repeat("[0]", 31), "1"},
		{"4,096 leaves", "<xml>" + strings.Repeat("<a/>", 4095) + "<a>1</a></xml>", "a[4095]", "1"},
		{"4,096 different leaves", "<xml>" + fields(4096) + "</xml>", "f4095", "4095"},
		{"many, one of them twice", "<xml>" + fields(40) + "<f3>x</f3></xml>", "f3[1]", "x"},
		{"long name", "<xml><" + name + ">1</" + name + "></xml>", name, "1"},
		{"long key", `{"` + name + `":1}`, name, "1"},
		{"escapes", `{"a":"\"\\\/\b\f\n\r\t\u4f60\ud83d\ude00\u0000"}`, "a", "\"\\/\b\f\n\r\t你😀\x00"},
		{"halves of surrogate pairs", `{"a":"x\ud83dy\ude00\ud83d\ud83d\ude00"}`, "a", "x\ufffdy\ufffd\ufffd😀"},
		{"escaped key", `{"\u4f60\n":1}`, "你\n", "1"},
		{"keys of other case", `{"A":1,"a":2}`, "a", "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev, err := decode(c.body)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(ev.Fields, func(f hostapi.Field) bool { return f.Name == c.field })
			if i < 0 || ev.Fields[i].Value != c.want {
				t.Errorf("%d of %.200q, want %s=%q", i, ev.Fields, c.field, c.want)
			}
		})
	}
}

func TestDecodeCutAnywhere(t *testing.T) {
	for _, s := range seeds {
		if _, err := decode(s); err != nil {
			continue
		}
		whole := strings.TrimRight(s, " \n")
		whole = strings.TrimSuffix(whole, "<?p q?>")
		whole = strings.TrimRight(whole, " \n")
		for i := range whole {
			if _, err := decode(whole[:i]); !errors.Is(err, ErrUndecodable) {
				t.Errorf("%q, cut at %d, gives %v", whole[:i], i, err)
			}
		}
	}
}

// A sealed callback is opened into memory of its own, so that the event does
// not depend on the request.
func TestEventOutlivesTheRequest(t *testing.T) {
	a, q, body, now := benchCallback(t)
	o, err := a.Open(q, body, now)
	if err != nil {
		t.Fatal(err)
	}
	var ev hostapi.Event
	if err := Decode("shop", o, &ev); err != nil {
		t.Fatal(err)
	}
	before := strings.Clone(ev.Content)
	clear(body)
	if ev.Content != before {
		t.Error("the event's strings share the request's memory")
	}
}

// TestEventIsLeftAlone decodes a callback whose strings are pieces of the body
// and of what was unescaped and joined beside it, opened with the second of two
// keys, and then does all that is done with a callback afterwards.
func TestEventIsLeftAlone(t *testing.T) {
	const msg = `<xml><ToUserName>gh_1</ToUserName><FromUserName> o1 </FromUserName><MsgType>event</MsgType>` +
		`<Event>new&amp;thing</Event><EventKey>a<![CDATA[b]]>c</EventKey><Content>1&lt;2</Content>` +
		`<L><i>x</i><i>y&#65;</i></L><openid>&#111;2</openid></xml>`
	sent := AccountConfig{Mode: Encrypted, Token: "old-token", AESKey: otherKey}
	q, body := callback(t, sent, XML, msg)
	a := newAccount(t, AccountConfig{Mode: Encrypted, Previous: &PreviousConfig{
		Token: sent.Token, AESKey: sent.AESKey, Until: testNow.Add(time.Minute),
	}})
	o, err := a.Open(q, body, testNow)
	if err != nil {
		t.Fatal(err)
	}
	var ev, second hostapi.Event
	if err := Decode("shop", o, &ev); err != nil {
		t.Fatal(err)
	}
	clear(body)
	var want hostapi.Event
	if err := want.Decode(ev.Append(nil)); err != nil { // copies
		t.Fatal(err)
	}
	if want.Event != "new&thing" || want.Key != "abc" || want.User != "o2" || len(want.Fields) != 3 ||
		want.Fields[1] != (hostapi.Field{Name: "L.i[1]", Value: "yA"}) {
		t.Fatalf("%+v", want)
	}
	doc, err := AppendReply(nil, &hostapi.Reply{Text: &hostapi.Text{Content: ev.Content}}, &ev, 1, o.Format)
	if err != nil {
		t.Fatal(err)
	}
	a.AppendSealed(nil, doc, o, 1, [16]byte{})
	a.AppendCallback(nil, o.Body, o.Format, ev.To, 1, o.Nonce, [16]byte{})
	if _, err := a.Open(q, body, testNow); err == nil {
		t.Error("opened a cleared body")
	}
	if err := Decode("another", o, &second); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if got := fmt.Sprintf("%+v", ev); got != fmt.Sprintf("%+v", want) {
		t.Errorf("%s\nwas %+v", got, want)
	}
}

func TestCatalogue(t *testing.T) {
	if !slices.IsSortedFunc(catalogue[:], func(a, b catalogued) int { return compareFold(a.word, b.word) }) {
		t.Error("catalogue is not sorted")
	}
	w := Catalogue()
	for _, s := range append(w.Events, w.InfoTypes...) {
		for _, sent := range []string{s, strings.ToUpper(s), strings.ToLower(s)} {
			if got := Documented(sent); got != s {
				t.Errorf("%q is documented as %q, want %q", sent, got, s)
			}
		}
	}
	for _, s := range []string{"", "text", "CLIC", "CLICKS", "点击", "\xff"} {
		if got := Documented(s); got != s {
			t.Errorf("%q is documented as %q", s, got)
		}
	}
	for _, s := range w.Answered {
		if !slices.Contains(w.Events, s) {
			t.Errorf("%s is answered with business data, and is no event", s)
		}
	}
	if !slices.Contains(w.MsgTypes, "location") || !slices.Contains(w.Events, "LOCATION") {
		t.Error("the message location and the event LOCATION are two words")
	}
}
