package hostapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxArticles is how many articles a reply in JSON may have, far over what WeChat
// shows.
const maxArticles = 100

// DecodeJSON replaces r by the reply in b, proto3 JSON: names as in weft.proto or
// in lowerCamelCase, each once and in its letter case, null for what is not
// there, bytes in either base64. A name that weft.proto doesn't have is an error,
// so that a slip is not read as nothing; so is more than one body. A reply
// without a body, {}, decodes; one with over 100 articles doesn't. After an error,
// which is an ErrDecode and holds no value, r is empty.
func (r *Reply) DecodeJSON(b []byte) error {
	*r = Reply{}
	if err := r.decodeJSON(b); err != nil {
		*r = Reply{}
		return fmt.Errorf("%w: Reply: %w", ErrDecode, err)
	}
	return nil
}

func (r *Reply) decodeJSON(b []byte) error {
	switch {
	case !utf8.Valid(b):
		return errors.New("not UTF-8")
	case !json.Valid(b):
		return errors.New("not JSON")
	}
	o, err := readObject(b)
	if err != nil {
		return err
	}
	bodies := 0
	for _, name := range []string{"text", "image", "voice", "video", "music", "news", "transfer", "raw"} {
		value, there, err := o.take(name)
		if err == nil && there {
			bodies++
			err = r.bodyJSON(name, value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if bodies > 1 {
		return errors.New("has more than one body")
	}
	return o.rest()
}

// bodyJSON reads the body of that name.
func (r *Reply) bodyJSON(name string, value []byte) error {
	o, err := readObject(value)
	if err != nil {
		return err
	}
	switch name {
	case "text":
		r.Text = new(Text)
		err = o.text("content", &r.Text.Content)
	case "image":
		r.Image = new(Media)
		err = o.text("media_id", &r.Image.MediaID)
	case "voice":
		r.Voice = new(Media)
		err = o.text("media_id", &r.Voice.MediaID)
	case "video":
		r.Video = new(Video)
		err = o.texts("media_id", &r.Video.MediaID, "title", &r.Video.Title, "description", &r.Video.Description)
	case "music":
		m := new(Music)
		r.Music = m
		err = o.texts("title", &m.Title, "description", &m.Description, "url", &m.URL, "hq_url", &m.HQURL, "thumb_media_id", &m.ThumbMediaID)
	case "news":
		r.News = new(News)
		err = r.News.articlesJSON(o)
	case "transfer":
		r.Transfer = new(Transfer)
		err = o.text("account", &r.Transfer.Account)
	case "raw":
		r.Raw = new(Raw)
		err = o.bytes("body", &r.Raw.Body)
	}
	if err != nil {
		return err
	}
	return o.rest()
}

func (n *News) articlesJSON(o object) error {
	value, there, err := o.take("articles")
	if err != nil || !there {
		return err
	}
	var items []json.RawMessage
	if value[0] != '[' || json.Unmarshal(value, &items) != nil {
		return errors.New("articles: not a list")
	}
	if len(items) > maxArticles {
		return fmt.Errorf("articles: over %d", maxArticles)
	}
	if len(items) > 0 {
		n.Articles = make([]Article, len(items))
	}
	for i, item := range items {
		a := &n.Articles[i]
		io, err := readObject(item)
		if err == nil {
			err = io.texts("title", &a.Title, "description", &a.Description, "pic_url", &a.PicURL, "url", &a.URL)
		}
		if err == nil {
			err = io.rest()
		}
		if err != nil {
			return fmt.Errorf("articles[%d]: %w", i, err)
		}
	}
	return nil
}

// object is a JSON object, less what was taken from it.
type object map[string]json.RawMessage

// readObject reads an object of valid JSON.
func readObject(b []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	o := object{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return nil, errors.New("not an object")
		}
		if _, double := o[name]; double {
			return nil, fmt.Errorf("%s stands there twice", shown(name))
		}
		o[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("not an object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows it")
	}
	return o, nil
}

// take returns the value of a name of weft.proto, in either of its spellings,
// and removes it. null is not there.
func (o object) take(name string) (value json.RawMessage, there bool, err error) {
	value, there = o[name]
	delete(o, name)
	if other := camel(name); other != name {
		if v, double := o[other]; double {
			if there {
				return nil, false, fmt.Errorf("%s stands there twice", name)
			}
			value, there = v, true
			delete(o, other)
		}
	}
	if string(value) == "null" {
		there = false
	}
	return value, there, nil
}

// rest is an error where something was not taken.
func (o object) rest() error {
	if len(o) == 0 {
		return nil
	}
	return fmt.Errorf("unknown name %s", shown(slices.Min(slices.Collect(maps.Keys(o)))))
}

func (o object) text(name string, dst *string) error {
	value, there, err := o.take(name)
	if err != nil || !there {
		return err
	}
	if value[0] != '"' || json.Unmarshal(value, dst) != nil {
		return fmt.Errorf("%s: not a string", name)
	}
	return nil
}

// texts takes pairs of a name and a *string.
func (o object) texts(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := o.text(pairs[i].(string), pairs[i+1].(*string)); err != nil {
			return err
		}
	}
	return nil
}

func (o object) bytes(name string, dst *[]byte) error {
	var s string
	if err := o.text(name, &s); err != nil {
		return err
	}
	enc := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.URLEncoding
	}
	if len(s)%4 != 0 {
		enc = enc.WithPadding(base64.NoPadding)
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return fmt.Errorf("%s: not base64", name)
	}
	*dst = b
	return nil
}

// camel is a name of weft.proto in lowerCamelCase.
func camel(name string) string {
	first, rest, _ := strings.Cut(name, "_")
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "_")
		first += strings.ToUpper(part[:1]) + part[1:]
	}
	return first
}

// shown is a name from outside, for errors.
func shown(name string) string {
	const most = 40
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return fmt.Sprintf("%q", name)
}
