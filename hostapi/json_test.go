package hostapi_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weft-dev/weft/hostapi"
)

func TestEventJSON(t *testing.T) {
	e := full()
	e.Fields = append(e.Fields, hostapi.Field{Name: "<a>&", Value: "\u2028"})
	e.Created, e.DeadlineMS = 1<<53, 1<<53+1
	want := `{"id":"0123456789abcdef0123456789abcdef","app":"shop","app_id":"wx1234567890abcdef","type":"event","event":"SCAN","key":"qrscene_12",` +
		`"from":"oUser1","to":"gh_1","created":9007199254740992,"content":"你好","msg_id":"23238420918410",` +
		`"fields":[{"name":"Ticket","value":"t"},{"name":"List[0].A"},{},{"name":"<a>&","value":"\u2028"}],"attrs":[{"name":"tag","value":"vip"}],` +
		`"reply":{"news":{"articles":[{"title":"a","url":"u"},{"description":"d","pic_url":"p"}]}},` +
		`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","deadline_ms":"9007199254740993","raw":"PHhtbC8+",` +
		`"origin":"wechat","user":"oUser1","scene":"12","config_id":"9223372036854775808","attempt":2,"format":"xml","app_type":"official"}`
	if got := string(e.AppendJSON([]byte("x"))); got != "x"+want {
		t.Errorf("got  %s\nwant x%s", got, want)
	}
	if got := string((&hostapi.Event{Created: -1<<53 - 1}).AppendJSON(nil)); got != `{"created":"-9007199254740993"}` {
		t.Errorf("got %s", got)
	}
	if got := string((*hostapi.Reply)(nil).AppendJSON(nil)); got != "{}" {
		t.Errorf("no reply: got %s", got)
	}
}

// TestJSONOracle has protobuf-go read what AppendJSON wrote.
func TestJSONOracle(t *testing.T) {
	file := oracle(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		e := new(hostapi.Event)
		random(r, reflect.ValueOf(e).Elem())
		text := e.AppendJSON(nil)
		got, want := dynamicpb.NewMessage(file.Messages().ByName("Event")), dynamicpb.NewMessage(file.Messages().ByName("Event"))
		if err := protojson.Unmarshal(text, got); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		toProto(reflect.ValueOf(e).Elem(), want)
		if !proto.Equal(got, want) {
			t.Fatalf("%s: got %v, want %v", text, got, want)
		}
	}
}

// TestReplyJSONOracle reads what protobuf-go and AppendJSON write.
func TestReplyJSONOracle(t *testing.T) {
	md := oracle(t).Messages().ByName("Reply")
	for name, want := range replies() {
		m := dynamicpb.NewMessage(md)
		toProto(reflect.ValueOf(want).Elem(), m)
		texts := [][]byte{want.AppendJSON(nil)}
		for _, opt := range []protojson.MarshalOptions{{}, {UseProtoNames: true}, {EmitUnpopulated: true}, {Multiline: true}} {
			b, err := opt.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, b)
		}
		for _, text := range texts {
			got := &hostapi.Reply{Text: &hostapi.Text{Content: "before"}}
			if err := got.DecodeJSON(text); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s: got %+v, %v", name, text, got, err)
			}
		}
	}
}

func TestReplyJSONProblems(t *testing.T) {
	for text, want := range map[string]string{
		``:                                  "not JSON",
		`null`:                              "not an object",
		`[]`:                                "not an object",
		`{"text":{"content":"a"}} {}`:       "not JSON",
		"{\"text\":{\"content\":\"\xff\"}}": "not UTF-8",
		`{"text":"a"}`:                      "text: not an object",
		`{"text":{"content":1}}`:            "text: content: not a string",
		`{"Text":{"content":"a"}}`:          `unknown name "Text"`,
		`{"text":{"contents":"a"}}`:         `text: unknown name "contents"`,
		`{"text":{},"image":{}}`:            "has more than one body",
		`{"text":{},"text":{}}`:             `"text" stands there twice`,
		`{"image":{"media_id":"a","mediaId":"b"}}`:                     "image: media_id stands there twice",
		`{"news":{"articles":{}}}`:                                     "news: articles: not a list",
		`{"news":{"articles":[{},1]}}`:                                 "news: articles[1]: not an object",
		`{"news":{"articles":[{"x":1}]}}`:                              `news: articles[0]: unknown name "x"`,
		`{"news":{"articles":[{}` + strings.Repeat(",{}", 100) + `]}}`: "news: articles: over 100",
		`{"raw":{"body":"!"}}`:                                         "raw: body: not base64",
		`{"` + strings.Repeat("secret", 20) + `":1}`:                   `unknown name "secretsecretsecretsecretsecretsecretsecr…"`,
	} {
		r := &hostapi.Reply{Text: &hostapi.Text{Content: "before"}}
		err := r.DecodeJSON([]byte(text))
		if err == nil || !errors.Is(err, hostapi.ErrDecode) || !strings.HasSuffix(err.Error(), ": Reply: "+want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
		if *r != (hostapi.Reply{}) {
			t.Errorf("%s: left %+v", text, r)
		}
	}
	for _, text := range []string{`{}`, ` { "text" : null } `, `{"text":null,"image":{"mediaId":null}}`, `{"raw":{"body":"_-8"}}`, `{"raw":{"body":"/+8="}}`} {
		if err := new(hostapi.Reply).DecodeJSON([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzReplyJSON: what is taken, protobuf-go takes with the same values, and it
// is the same when it is written and read again.
func FuzzReplyJSON(f *testing.F) {
	for _, r := range replies() {
		f.Add(r.AppendJSON(nil))
	}
	f.Add([]byte(`{"image":{"mediaId":"a\ud83d\ude00"},"text":null}`))
	f.Add([]byte(`{"news":{"articles":[{"picUrl":null},{}]}}`))
	md := oracle(f).Messages().ByName("Reply")
	f.Fuzz(func(t *testing.T, b []byte) {
		got := new(hostapi.Reply)
		if err := got.DecodeJSON(b); err != nil {
			if !errors.Is(err, hostapi.ErrDecode) {
				t.Fatal(err)
			}
			return
		}
		agreeJSON(t, got, md, b)
		again := new(hostapi.Reply)
		if err := again.DecodeJSON(got.AppendJSON(nil)); err != nil || !reflect.DeepEqual(again.Append(nil), got.Append(nil)) {
			t.Fatalf("again: %v: got %+v, want %+v", err, again, got)
		}
	})
}

func agreeJSON(t *testing.T, got *hostapi.Reply, md protoreflect.MessageDescriptor, b []byte) {
	t.Helper()
	if strings.Contains(strings.ToLower(string(b)), `\ud`) {
		return // half a surrogate pair is U+FFFD for one and an error for the other
	}
	want := dynamicpb.NewMessage(md)
	if err := protojson.Unmarshal(b, want); err != nil {
		t.Fatalf("took what protobuf refuses with %v", err)
	}
	m := dynamicpb.NewMessage(md)
	if err := proto.Unmarshal(got.Append(nil), m); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(m, want) {
		t.Fatalf("got %v, want %v", m, want)
	}
	if !json.Valid(b) {
		t.Fatal("took what is not JSON")
	}
}
