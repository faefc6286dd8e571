package hostapi_test

import (
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weft-dev/weft/hostapi"
)

// full is an event with every field set.
func full() *hostapi.Event {
	return &hostapi.Event{
		ID: "0123456789abcdef0123456789abcdef", App: "shop", AppID: "wx1234567890abcdef", Type: "event", Event: "SCAN",
		Key: "qrscene_12", From: "oUser1", To: "gh_1", Created: 1_700_000_000, Content: "你好", MsgID: "23238420918410",
		Fields:      []hostapi.Field{{Name: "Ticket", Value: "t"}, {Name: "List[0].A", Value: ""}, {}},
		Attrs:       []hostapi.Field{{Name: "tag", Value: "vip"}},
		Reply:       &hostapi.Reply{News: &hostapi.News{Articles: []hostapi.Article{{Title: "a", URL: "u"}, {PicURL: "p", Description: "d"}}}},
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", DeadlineMS: 4500, Raw: []byte("<xml/>"),
		Origin: "wechat", User: "oUser1", Scene: "12", ConfigID: 1 << 63, Attempt: 2, Format: "xml", AppType: "official",
	}
}

// samples are encoded messages with all kinds of content, by message.
func samples() map[string][][]byte {
	s := map[string][][]byte{
		"Event": {
			full().Append(nil),
			(&hostapi.Event{Content: "hi", From: "oUser1", Reply: &hostapi.Reply{}}).Append(nil),
		},
		"StateRequest": {
			(&hostapi.StateRequest{
				Op: hostapi.StateCompareAndSet, Scope: hostapi.ScopeUser, Key: "k", Value: []byte("v"), TTLMS: 1000,
				Delta: -1, Expect: []byte{0xff}, ExpectAbsent: true, Once: "o",
			}).Append(nil),
		},
		"StateResponse": {(&hostapi.StateResponse{Value: []byte{0, 0xff}, Number: -5, Found: true, Error: "e"}).Append(nil)},
		"ApiRequest": {(&hostapi.APIRequest{
			Method: "POST", Path: "/cgi-bin/a", Query: []hostapi.Field{{Name: "q", Value: "1"}, {}}, Body: []byte(`{"a":1}`), IdempotencyKey: "k",
		}).Append(nil)},
		"ApiResponse": {(&hostapi.APIResponse{
			Status: 200, Body: []byte{0, 0xff}, Errcode: -1, Class: "backoff", Rid: "r", ContentType: "c", Error: "e", MaybeExecuted: true,
		}).Append(nil)},
		"FetchRequest": {(&hostapi.FetchRequest{
			Upstream: "orders", Method: "PUT", Path: "/a", Query: []hostapi.Field{{Name: "q"}}, Headers: []hostapi.Field{{Name: "Accept", Value: "*/*"}},
			Body: []byte("b"), IdempotencyKey: "k",
		}).Append(nil)},
		"FetchResponse": {(&hostapi.FetchResponse{
			Status: 404, Headers: []hostapi.Field{{Name: "Etag", Value: "1"}, {}}, Body: []byte("b"), Error: "e", MaybeExecuted: true,
		}).Append(nil)},
	}
	for _, r := range replies() {
		s["Reply"] = append(s["Reply"], r.Append(nil))
	}
	return s
}

// replies has one of each kind.
func replies() map[string]*hostapi.Reply {
	return map[string]*hostapi.Reply{
		"":         {},
		"text":     {Text: &hostapi.Text{Content: "你好"}},
		"image":    {Image: &hostapi.Media{MediaID: "m"}},
		"voice":    {Voice: &hostapi.Media{MediaID: "m"}},
		"video":    {Video: &hostapi.Video{MediaID: "m", Title: "t", Description: "d"}},
		"music":    {Music: &hostapi.Music{Title: "t", Description: "d", URL: "u", HQURL: "h", ThumbMediaID: "m"}},
		"news":     {News: &hostapi.News{Articles: []hostapi.Article{{Title: "t", Description: "d", PicURL: "p", URL: "u"}, {}}}},
		"transfer": {Transfer: &hostapi.Transfer{Account: "a@b"}},
		"raw":      {Raw: &hostapi.Raw{Body: []byte{0, 0xff}}},
	}
}

// malformed are messages by hand: what is wrong, or odd and right.
var malformed = []struct {
	name, message, hex string
	err                string // "" where it decodes
}{
	{"empty", "Event", "", ""},
	{"tag cut", "Event", "92", "Event: truncated"},
	{"length cut", "Event", "0a", "Event field 1: truncated"},
	{"string cut", "Event", "0a0241", "Event field 1: truncated"},
	{"length over everything", "Event", "0affffffffffffffffff01", "Event field 1: truncated"},
	{"varint cut", "Event", "4880", "Event field 9: truncated"},
	{"varint of ten bytes", "Event", "48ffffffffffffffffff01", ""},
	{"varint over 64 bits", "Event", "48ffffffffffffffffff02", "Event field 9: varint over 64 bits"},
	{"varint of eleven bytes", "Event", "4880808080808080808080800100", "Event field 9: varint over 64 bits"},
	{"varint with empty bytes", "Event", "48818000", ""},
	{"tag with an empty byte", "Event", "8a000141", ""},
	{"field number 0", "Event", "0000", "Event: field number out of range"},
	{"field number over the largest", "Event", "808080801000", "Event: field number out of range"},
	{"largest field number", "Event", "f8ffffff0f00", ""},
	{"group", "Event", "fb06fc06", "Event field 111: group, which proto3 does not have"},
	{"end of a group", "Event", "fc06", "Event field 111: group, which proto3 does not have"},
	{"wire type 6", "Event", "0e", "Event field 1: reserved wire type"},
	{"wire type 7", "Event", "0f", "Event field 1: reserved wire type"},
	{"string as a number", "Event", "0801", "Event field 1: wrong wire type"},
	{"number as a string", "Event", "4a0141", "Event field 9: wrong wire type"},
	{"number as fixed64", "Event", "490000000000000000", "Event field 9: wrong wire type"},
	{"bytes as a number", "Event", "880101", "Event field 17: wrong wire type"},
	{"message as a number", "Event", "7001", "Event field 14: wrong wire type"},
	{"leaf as a number", "Event", "6001", "Event field 12: wrong wire type"},
	{"bool as a string", "StateRequest", "420101", "StateRequest field 8: wrong wire type"},
	{"bool over one", "StateRequest", "4002", ""},
	{"enum over 32 bits", "StateRequest", "088280808010", ""},
	{"uint32 over 32 bits", "Event", "b001818080801000", "Event: field number out of range"},
	{"query as a number", "ApiRequest", "1801", "ApiRequest field 3: wrong wire type"},
	{"query that is not UTF-8", "ApiRequest", "1a030a01ff", "ApiRequest field 3: Field field 1: string is not UTF-8"},
	{"errcode of -1", "ApiResponse", "18ffffffffffffffffff01", ""},
	{"errcode over 32 bits", "ApiResponse", "188280808010", ""},
	{"header cut", "FetchRequest", "2a030a0241", "FetchRequest field 5: Field field 1: truncated"},
	{"status as a string", "FetchResponse", "0a0141", "FetchResponse field 1: wrong wire type"},
	{"unknown varint", "Event", "f80601", ""},
	{"unknown fixed64", "Event", "f9060102030405060708", ""},
	{"unknown fixed64 cut", "Event", "f90601020304050607", "Event field 111: truncated"},
	{"unknown string", "Event", "fa0602fffe", ""},
	{"unknown fixed32", "Event", "fd0601020304", ""},
	{"unknown fixed32 cut", "Event", "fd06010203", "Event field 111: truncated"},
	{"not UTF-8", "Event", "0a01ff", "Event field 1: string is not UTF-8"},
	{"surrogate", "Event", "0a03eda080", "Event field 1: string is not UTF-8"},
	{"overlong NUL", "Event", "0a02c080", "Event field 1: string is not UTF-8"},
	{"NUL", "Event", "0a0100", ""},
	{"bytes that are not UTF-8", "Event", "8a0101ff", ""},
	{"leaf that is not UTF-8", "Event", "62030a01ff", "Event field 12: Field field 1: string is not UTF-8"},
	{"last string counts", "Event", "0a01410a0142", ""},
	{"empty string after one", "Event", "0a01410a00", ""},
	{"empty bytes after some", "Event", "8a0101418a0100", ""},
	{"leaves apart", "Event", "62000a014162006a0062030a0142", ""},
	{"two replies are merged", "Event", "72050a030a0141720232007205320312014d", ""},
	{"text and image", "Reply", "0a030a014112030a0142", ""},
	{"image and text", "Reply", "12030a01420a030a0141", ""},
	{"text twice, the second empty", "Reply", "0a030a01410a00", ""},
	{"video twice, merged", "Reply", "22030a01412203120142", ""},
	{"news twice, joined", "Reply", "32050a030a014132050a030a0142", ""},
	{"text, image, text", "Reply", "0a030a014112000a00", ""},
	{"no body that is known", "Reply", "fa0600", ""},
	{"body cut", "Reply", "0a030a0241", "Reply field 1: Text field 1: truncated"},
	{"overwritten body is bad", "Reply", "0a030a01ff12030a0142", "Reply field 1: Text field 1: string is not UTF-8"},
}

func TestMalformed(t *testing.T) {
	file := oracle(t)
	for _, tt := range malformed {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			m := messages()[tt.message]
			agree(t, m, file.Messages().ByName(protoreflect.Name(tt.message)), b)
			text := ""
			if err := m.Decode(b); err != nil {
				text = err.Error()
			}
			if text != tt.err {
				t.Fatalf("error %q, want %q", text, tt.err)
			}
		})
	}
}

// TestCut cuts every sample at every byte and turns every bit.
func TestCut(t *testing.T) {
	file := oracle(t)
	for name, list := range samples() {
		md := file.Messages().ByName(protoreflect.Name(name))
		for _, b := range list {
			for i := range b {
				agree(t, messages()[name], md, b[:i])
				for bit := range 8 {
					b[i] ^= 1 << bit
					agree(t, messages()[name], md, b)
					b[i] ^= 1 << bit
				}
			}
		}
	}
}

func TestDecodeCopies(t *testing.T) {
	b := full().Append(nil)
	var ev hostapi.Event
	if err := ev.Decode(b); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !reflect.DeepEqual(&ev, full()) {
		t.Fatalf("after its bytes were cleared: %+v", ev)
	}
	if err := ev.Decode(nil); err != nil || !reflect.DeepEqual(ev, hostapi.Event{}) {
		t.Fatalf("decoded from nothing: %+v, %v", ev, err)
	}
}

// TestDecodeMemory holds Decode to what it promises to allocate for hostile
// input: empty leaves and articles, alone and apart, and bodies in turn.
func TestDecodeMemory(t *testing.T) {
	const size = 1 << 16
	news := func(unit string) string { // Reply.news, of size bytes in all
		return "\x32\x80\x80\x04" + strings.Repeat(unit, size/len(unit))
	}
	tests := []struct {
		name string
		m    codec
		b    string
	}{
		{"leaves", new(hostapi.Event), strings.Repeat("\x62\x00", size/2)},
		{"leaves and annotations in turn", new(hostapi.Event), strings.Repeat("\x62\x00\x6a\x00", size/4)},
		{"articles", new(hostapi.Reply), news("\x0a\x00")},
		{"articles apart", new(hostapi.Reply), news("\x0a\x00\x10\x00")},
		{"bodies in turn", new(hostapi.Reply), strings.Repeat("\x22\x00\x2a\x00", size/4)},
		{"query and headers in turn", new(hostapi.FetchRequest), strings.Repeat("\x22\x00\x2a\x00", size/4)},
		{"values", new(hostapi.StateRequest), strings.Repeat("\x22\x06abcdef", size/8)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := tt.m.Decode([]byte(tt.b))
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > uint64(100*len(tt.b)) {
				t.Errorf("%d bytes allocated for %d", n, len(tt.b))
			} else {
				t.Logf("%d bytes allocated for %d", n, len(tt.b))
			}
		})
	}
}

func TestKind(t *testing.T) {
	for want, r := range replies() {
		if got := r.Kind(); got != want {
			t.Errorf("%+v: kind %q, want %q", r, got, want)
		}
	}
	var none *hostapi.Reply
	if none.Kind() != "" {
		t.Error("a nil reply has a kind")
	}
	both := &hostapi.Reply{Text: &hostapi.Text{Content: "t"}, Image: &hostapi.Media{MediaID: "m"}}
	var got hostapi.Reply
	if err := got.Decode(both.Append(nil)); err != nil || got.Kind() != both.Kind() || got.Text != nil {
		t.Errorf("two bodies: %+v, %v", got, err)
	}
}

func TestErrDecode(t *testing.T) {
	var ev hostapi.Event
	if err := ev.Decode([]byte{0x62, 3, 0x0a, 1, 0xff}); !errors.Is(err, hostapi.ErrDecode) {
		t.Fatalf("%v is not an ErrDecode", err)
	}
}

func TestField(t *testing.T) {
	ev := hostapi.Event{Fields: []hostapi.Field{
		{Name: "A", Value: "a"},
		{Name: "B[0]", Value: "b0"},
		{Name: "B[1]", Value: "b1"},
		{Name: "C[0].D[0]", Value: "cd"},
		{Name: "C.D", Value: "exact"},
		{Name: "E[0][1].F", Value: "ef"},
		{Name: "G[0]x", Value: "g"},
		{Name: "H", Value: "h1"},
		{Name: "H", Value: "h2"},
		{Name: "I[0][0].J", Value: "ij"},
	}}
	tests := []struct {
		name, want string
		ok         bool
	}{
		{"A", "a", true},
		{"A[0]", "a", true},
		{"A[1]", "", false},
		{"a", "", false},
		{"B", "b0", true},
		{"B[0]", "b0", true},
		{"B[1]", "b1", true},
		{"C.D", "exact", true},
		{"C[0].D[0]", "cd", true},
		{"C[0].D", "cd", true},
		{"E[0][1].F", "ef", true},
		{"E[1].F[0]", "ef", true},
		{"Gx", "", false},
		{"G[0]x", "g", true},
		{"H", "h1", true},
		{"I.J", "ij", true},
		{"I[0].J[0]", "ij", true},
		{"", "", false},
	}
	for _, tt := range tests {
		if got, ok := ev.Field(tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("Field(%q) = %q, %t; want %q, %t", tt.name, got, ok, tt.want, tt.ok)
		}
	}
	ev.Attrs = []hostapi.Field{{Name: "x", Value: "1"}}
	if v, ok := ev.Attr("x"); v != "1" || !ok {
		t.Errorf("Attr: %q, %t", v, ok)
	}
}

func TestStatusString(t *testing.T) {
	for s, want := range map[hostapi.Status]string{0: "OK", 1: "NOT_FOUND", 9: "UPSTREAM", 10: "10", -1: "-1"} {
		if s.String() != want {
			t.Errorf("%d: %q, want %q", s, s, want)
		}
	}
}
