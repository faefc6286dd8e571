package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/identity"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/wechat"
)

// leaf is an element of a callback's XML with what is in it: text, or elements.
type leaf struct {
	name, text string
	inner      []leaf
	index      int // in the list of its name; -1: it is in none
}

// xmlDocument writes a callback.
func xmlDocument(leaves []leaf) []byte {
	var b bytes.Buffer
	writeLeaves(&b, []leaf{{name: "xml", inner: leaves}})
	return b.Bytes()
}

func writeLeaves(b *bytes.Buffer, leaves []leaf) {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, l := range leaves {
		b.WriteString("<" + l.name + ">")
		switch {
		case l.inner != nil:
			writeLeaves(b, l.inner)
		case strings.ContainsAny(l.text, "\r") || strings.Contains(l.text, "]]>"):
			b.WriteString(strings.ReplaceAll(escape.Replace(l.text), "\r", "&#13;"))
		default:
			b.WriteString("<![CDATA[" + l.text + "]]>")
		}
		b.WriteString("</" + l.name + ">")
	}
}

// jsonDocument writes a callback in JSON, with every value as a text.
func jsonDocument(leaves []leaf) []byte {
	var b bytes.Buffer
	writeJSONLeaves(&b, leaves)
	return b.Bytes()
}

func writeJSONLeaves(b *bytes.Buffer, leaves []leaf) {
	b.WriteByte('{')
	for i := 0; i < len(leaves); {
		if i > 0 {
			b.WriteByte(',')
		}
		first := leaves[i]
		b.Write(jsonText(first.name))
		b.WriteByte(':')
		if first.index < 0 {
			writeJSONLeaf(b, first)
			i++
			continue
		}
		b.WriteByte('[')
		for n := i; i < len(leaves) && leaves[i].name == first.name; i++ {
			if i > n {
				b.WriteByte(',')
			}
			writeJSONLeaf(b, leaves[i])
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
}

func writeJSONLeaf(b *bytes.Buffer, l leaf) {
	if l.inner != nil {
		writeJSONLeaves(b, l.inner)
	} else {
		b.Write(jsonText(l.text))
	}
}

// jsonText is a text as JSON, and as YAML, too.
func jsonText(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return []byte(`""`) // no text has an error
	}
	return yamlSafe(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// yamlSafe escapes in JSON what no YAML file may hold.
func yamlSafe(json []byte) []byte {
	var b bytes.Buffer
	for _, c := range string(json) {
		if c == 0x7f || c >= 0x80 && c < 0xa0 || c == 0xfeff || c == 0xfffe || c == 0xffff {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.Bytes()
}

// leafValue is a leaf by its name in Fields, or a header's.
type leafValue struct{ name, value string }

// writeDocument writes a callback in a format, xml or json. It is false where the
// leaves can't be written so that they are read back as they are.
func writeDocument(values []leafValue, format string) (doc []byte, ok bool) {
	var leaves []leaf
	for _, v := range values {
		if !putLeaf(&leaves, v.name, v.value) {
			return nil, false
		}
	}
	if format == "json" {
		doc = jsonDocument(leaves)
	} else {
		doc = xmlDocument(leaves)
	}
	ev := new(hostapi.Event)
	if err := wechat.Decode("app", wechat.Opened{Body: doc}, ev); err != nil {
		return nil, false
	}
	for _, f := range ev.Fields {
		if !slices.Contains(values, leafValue{f.Name, f.Value}) {
			return nil, false
		}
	}
	return doc, true
}

// hostEvent is a short event that the host tells itself, without its id. The clock
// shows now. The error is a config.Problem where the host has no such event.
func hostEvent(e *config.ShortEvent, pos config.Pos, now int64) (*hostapi.Event, *config.Problem) {
	if e.Event != identity.EventLogin && e.Event != identity.EventPhone || e.Type != "event" {
		return nil, &config.Problem{Pos: pos, Text: "there is no such event of origin: identity", Advice: "its event is " + identity.EventLogin + " or " + identity.EventPhone}
	}
	for _, field := range []string{"key", "content", "to", "scene", "msg_id"} {
		if at, has := e.Has(field); has {
			return nil, &config.Problem{Pos: at, Text: "an event of origin: identity has no " + field, Advice: "it has user, created and fields: new_user, phone, unionid"}
		}
	}
	user := cmp.Or(e.User, e.From)
	if user == "" || e.From != "" && e.From != user {
		return nil, &config.Problem{Pos: pos, Text: "whose " + e.Event + " is it?", Advice: "user is the openid, and from is left out"}
	}
	if _, given := e.Has("created"); given {
		now = e.Created
	}
	ev := identityEvent(e.Event, user, now)
	ev.Fields = caseFields(e.Fields)
	return ev, nil
}

// shortDocument writes the callback of a short event of an app whose clock shows
// now. number is the event's in its case. The error is a config.Problem where the
// event is none that a callback can hold.
func shortDocument(e *config.ShortEvent, pos config.Pos, app string, now int64, number int) ([]byte, *config.Problem) {
	if e.User != "" && e.From != "" && e.User != e.From {
		at, _ := e.Has("from")
		return nil, &config.Problem{Pos: at, Text: "from is another than user", Advice: "give user; where a callback is about somebody else, fields: { openid: … } says so"}
	}
	created := now
	if _, given := e.Has("created"); given {
		created = e.Created
	}
	leaves := []leaf{
		{name: "ToUserName", text: cmp.Or(e.To, "gh_"+app)},
		{name: "FromUserName", text: cmp.Or(e.From, e.User)},
		{name: "CreateTime", text: strconv.FormatInt(created, 10)},
		{name: "MsgType", text: e.Type},
	}
	add := func(name, text string) {
		if text != "" {
			leaves = append(leaves, leaf{name: name, text: text})
		}
	}
	add("Event", e.Event)
	add("EventKey", cmp.Or(e.Key, sceneKey(e)))
	add("Content", e.Content)
	id := e.MsgID
	if id == "" && e.Type != "event" {
		id = strconv.Itoa(10_000_000_000 + number)
	}
	add("MsgId", id)
	for _, f := range e.Fields {
		if !putLeaf(&leaves, f.Name, f.Value) {
			return nil, &config.Problem{Pos: pos, Text: "field " + strconv.Quote(f.Name) + " is no name of a leaf", Advice: "give the callback as xml or json"}
		}
	}
	doc := xmlDocument(leaves)
	return doc, readsBack(e, pos, doc)
}

// sceneKey is the EventKey of a QR code's scene.
func sceneKey(e *config.ShortEvent) string {
	if e.Scene != "" && strings.EqualFold(e.Event, "subscribe") {
		return "qrscene_" + e.Scene
	}
	return e.Scene
}

// putLeaf adds a leaf by its name in Fields: names joined by dots, [N] behind a
// member of a list.
func putLeaf(leaves *[]leaf, name, text string) bool {
	for {
		part, rest, more := strings.Cut(name, ".")
		index := -1
		if bare, number, ok := strings.Cut(strings.TrimSuffix(part, "]"), "["); ok && strings.HasSuffix(part, "]") {
			n, err := strconv.Atoi(number)
			if err != nil || n < 0 {
				return false
			}
			part, index = bare, n
		}
		if part == "" || strings.ContainsAny(part, "<>&/ \t\r\n\"'=[]!?") {
			return false
		}
		if !more {
			*leaves = append(*leaves, leaf{name: part, text: text, index: index})
			return true
		}
		last := len(*leaves) - 1
		if last < 0 || (*leaves)[last].name != part || (*leaves)[last].index != index || (*leaves)[last].inner == nil {
			*leaves = append(*leaves, leaf{name: part, index: index, inner: []leaf{}})
			last++
		}
		leaves, name = &(*leaves)[last].inner, rest
	}
}

// readsBack makes sure that a callback that was written has what the event has.
func readsBack(e *config.ShortEvent, pos config.Pos, doc []byte) *config.Problem {
	ev := new(hostapi.Event)
	if err := wechat.Decode("app", wechat.Opened{Body: doc, Format: wechat.XML}, ev); err != nil {
		return &config.Problem{Pos: pos, Text: "the event makes no callback: " + err.Error(), Advice: "give the callback as xml or json"}
	}
	for _, f := range e.Fields {
		if got, ok := ev.Field(f.Name); !ok || got != f.Value {
			return &config.Problem{
				Pos: pos, Text: fmt.Sprintf("field %q can't be written as XML", f.Name),
				Advice: "a list with one member has no index; else give the callback as xml or json",
			}
		}
	}
	return nil
}

// pluginEvent makes the event that a plugin is given for a short one: what is
// left out is as a host would have it. The clock shows now.
func pluginEvent(e *config.ShortEvent, pos config.Pos, now int64) (ev *hostapi.Event, problem *config.Problem) {
	if e.Origin == config.OriginIdentity {
		if ev, problem = hostEvent(e, pos, now); problem != nil {
			return nil, problem
		}
	} else {
		ev = &hostapi.Event{
			Type: e.Type, Event: wechat.Documented(e.Event), Key: e.Key, Content: e.Content, Scene: e.Scene, MsgID: e.MsgID,
			User: cmp.Or(e.User, e.From), From: cmp.Or(e.From, e.User), To: cmp.Or(e.To, "gh_test"), Created: now,
			Fields: caseFields(e.Fields), Format: "xml", Origin: string(e.Origin),
		}
		if _, given := e.Has("created"); given {
			ev.Created = e.Created
		}
	}
	ev.ID, ev.Attempt, ev.Reply, ev.Attrs = e.ID, uint32(e.Attempt), pipeline.FixedReply(e.Reply), caseFields(e.Attrs)
	return ev, nil
}

func caseFields(list []config.NamedText) []hostapi.Field {
	var fields []hostapi.Field
	for _, f := range list {
		fields = append(fields, hostapi.Field(f))
	}
	return fields
}
