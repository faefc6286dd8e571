package hostapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// maxJSONNumber is the largest whole number that every reader of JSON keeps
// exact.
const maxJSONNumber = 1 << 53

// AppendJSON adds the event as proto3 JSON with the names of weft.proto and
// returns the longer slice: empty fields are left out, 64-bit numbers are numbers
// up to 2^53 and strings above, config_id is always a string. Bytes that are not
// UTF-8 become U+FFFD.
func (e *Event) AppendJSON(b []byte) []byte {
	return appendJSON(b, &eventJSON{
		ID: e.ID, App: e.App, AppID: e.AppID, Type: e.Type, Event: e.Event, Key: e.Key, From: e.From, To: e.To,
		Created: jsonInt(e.Created), Content: e.Content, MsgID: e.MsgID, Fields: jsonFields(e.Fields), Attrs: jsonFields(e.Attrs),
		Reply: e.Reply.json(), TraceParent: e.TraceParent, DeadlineMS: jsonInt(e.DeadlineMS), Raw: e.Raw, Origin: e.Origin,
		User: e.User, Scene: e.Scene, ConfigID: e.ConfigID, Attempt: e.Attempt, Format: e.Format, AppType: e.AppType,
	})
}

// AppendJSON adds the reply as proto3 JSON, as Event.AppendJSON does. A reply
// without a body is {}.
func (r *Reply) AppendJSON(b []byte) []byte {
	if r == nil {
		r = new(Reply)
	}
	return appendJSON(b, r.json())
}

// appendJSON encodes what has no value that JSON lacks.
func appendJSON(b []byte, v any) []byte {
	out := bytes.NewBuffer(b)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("hostapi: encoding %T: %v", v, err)) // the types below hold nothing that fails
	}
	return out.Bytes()[:out.Len()-1] // without the line end
}

// jsonInt is an int64 in JSON.
type jsonInt int64

// MarshalJSON implements json.Marshaler.
func (n jsonInt) MarshalJSON() ([]byte, error) {
	if n < -maxJSONNumber || n > maxJSONNumber {
		return strconv.AppendQuote(nil, strconv.FormatInt(int64(n), 10)), nil
	}
	return strconv.AppendInt(nil, int64(n), 10), nil
}

// eventJSON is Event as JSON has it.
type eventJSON struct {
	ID          string      `json:"id,omitempty"`
	App         string      `json:"app,omitempty"`
	AppID       string      `json:"app_id,omitempty"`
	Type        string      `json:"type,omitempty"`
	Event       string      `json:"event,omitempty"`
	Key         string      `json:"key,omitempty"`
	From        string      `json:"from,omitempty"`
	To          string      `json:"to,omitempty"`
	Created     jsonInt     `json:"created,omitempty"`
	Content     string      `json:"content,omitempty"`
	MsgID       string      `json:"msg_id,omitempty"`
	Fields      []fieldJSON `json:"fields,omitempty"`
	Attrs       []fieldJSON `json:"attrs,omitempty"`
	Reply       *replyJSON  `json:"reply,omitempty"`
	TraceParent string      `json:"traceparent,omitempty"`
	DeadlineMS  jsonInt     `json:"deadline_ms,omitempty"`
	Raw         []byte      `json:"raw,omitempty"`
	Origin      string      `json:"origin,omitempty"`
	User        string      `json:"user,omitempty"`
	Scene       string      `json:"scene,omitempty"`
	ConfigID    uint64      `json:"config_id,omitempty,string"`
	Attempt     uint32      `json:"attempt,omitempty"`
	Format      string      `json:"format,omitempty"`
	AppType     string      `json:"app_type,omitempty"`
}

// fieldJSON is Field as JSON has it.
type fieldJSON struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

func jsonFields(fields []Field) []fieldJSON {
	out := make([]fieldJSON, len(fields))
	for i, f := range fields {
		out[i] = fieldJSON(f)
	}
	return out
}

// replyJSON is Reply as JSON has it.
type replyJSON struct {
	Text     *textJSON     `json:"text,omitempty"`
	Image    *mediaJSON    `json:"image,omitempty"`
	Voice    *mediaJSON    `json:"voice,omitempty"`
	Video    *videoJSON    `json:"video,omitempty"`
	Music    *musicJSON    `json:"music,omitempty"`
	News     *newsJSON     `json:"news,omitempty"`
	Transfer *transferJSON `json:"transfer,omitempty"`
	Raw      *rawJSON      `json:"raw,omitempty"`
}

// The bodies of a reply as JSON has them.
type (
	textJSON struct {
		Content string `json:"content,omitempty"`
	}
	mediaJSON struct {
		MediaID string `json:"media_id,omitempty"`
	}
	videoJSON struct {
		MediaID     string `json:"media_id,omitempty"`
		Title       string `json:"title,omitempty"`
		Description string `json:"description,omitempty"`
	}
	musicJSON struct {
		Title        string `json:"title,omitempty"`
		Description  string `json:"description,omitempty"`
		URL          string `json:"url,omitempty"`
		HQURL        string `json:"hq_url,omitempty"`
		ThumbMediaID string `json:"thumb_media_id,omitempty"`
	}
	newsJSON struct {
		Articles []articleJSON `json:"articles,omitempty"`
	}
	articleJSON struct {
		Title       string `json:"title,omitempty"`
		Description string `json:"description,omitempty"`
		PicURL      string `json:"pic_url,omitempty"`
		URL         string `json:"url,omitempty"`
	}
	transferJSON struct {
		Account string `json:"account,omitempty"`
	}
	rawJSON struct {
		Body []byte `json:"body,omitempty"`
	}
)

func (r *Reply) json() *replyJSON {
	if r == nil {
		return nil
	}
	out := &replyJSON{
		Text: (*textJSON)(r.Text), Image: (*mediaJSON)(r.Image), Voice: (*mediaJSON)(r.Voice), Video: (*videoJSON)(r.Video),
		Music: (*musicJSON)(r.Music), Transfer: (*transferJSON)(r.Transfer), Raw: (*rawJSON)(r.Raw),
	}
	if r.News != nil {
		out.News = &newsJSON{Articles: make([]articleJSON, len(r.News.Articles))}
		for i, a := range r.News.Articles {
			out.News.Articles[i] = articleJSON(a)
		}
	}
	return out
}
