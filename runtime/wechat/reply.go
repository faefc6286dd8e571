package wechat

import (
	"strconv"

	"github.com/weft-dev/weft/hostapi"
)

// AppendReply appends the answer document of r to ev, in format f, XML where f
// is unknown: from ev.To to ev.From, made at created, in Unix seconds. Optional
// parts that are empty are left out. A raw reply is appended as it stands.
// The document is not sealed: that is AppendSealed.
//
// The error is ErrNoReply or ErrNotPassive, and dst is unchanged then.
//
// The forms are those of the document 回复用户消息 (passive replies); in JSON
// those of 消息推送回复.
func AppendReply(dst []byte, r *hostapi.Reply, ev *hostapi.Event, created int64, f Format) ([]byte, error) {
	if r == nil || bodies(r) != 1 || r.News != nil && len(r.News.Articles) == 0 {
		return dst, ErrNoReply
	}
	if ev.AppType == "miniprogram" && r.Transfer == nil && r.Raw == nil {
		return dst, ErrNotPassive
	}
	if r.Raw != nil {
		return append(dst, r.Raw.Body...), nil
	}
	w := writer{b: dst, json: f == JSON}
	w.open("")
	w.text("ToUserName", ev.From)
	w.text("FromUserName", ev.To)
	w.number("CreateTime", created)
	w.reply(r)
	w.shut("")
	return w.b, nil
}

func bodies(r *hostapi.Reply) int {
	n := 0
	for _, set := range [...]bool{
		r.Text != nil, r.Image != nil, r.Voice != nil, r.Video != nil,
		r.Music != nil, r.News != nil, r.Transfer != nil, r.Raw != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// reply writes MsgType and the body.
func (w *writer) reply(r *hostapi.Reply) {
	switch {
	case r.Text != nil:
		w.text("MsgType", "text")
		w.text("Content", r.Text.Content)
	case r.Image != nil:
		w.text("MsgType", "image")
		w.media("Image", r.Image)
	case r.Voice != nil:
		w.text("MsgType", "voice")
		w.media("Voice", r.Voice)
	case r.Video != nil:
		w.text("MsgType", "video")
		w.open("Video")
		w.text("MediaId", r.Video.MediaID)
		w.optional("Title", r.Video.Title)
		w.optional("Description", r.Video.Description)
		w.shut("Video")
	case r.Music != nil:
		w.text("MsgType", "music")
		w.open("Music")
		w.optional("Title", r.Music.Title)
		w.optional("Description", r.Music.Description)
		w.optional("MusicUrl", r.Music.URL)
		w.optional("HQMusicUrl", r.Music.HQURL)
		w.optional("ThumbMediaId", r.Music.ThumbMediaID)
		w.shut("Music")
	case r.News != nil:
		w.text("MsgType", "news")
		w.number("ArticleCount", int64(len(r.News.Articles)))
		w.articles(r.News.Articles)
	case r.Transfer != nil:
		w.text("MsgType", "transfer_customer_service")
		if r.Transfer.Account != "" {
			w.open("TransInfo")
			w.text("KfAccount", r.Transfer.Account)
			w.shut("TransInfo")
		}
	}
}

func (w *writer) media(name string, m *hostapi.Media) {
	w.open(name)
	w.text("MediaId", m.MediaID)
	w.shut(name)
}

func (w *writer) articles(list []hostapi.Article) {
	w.openList("Articles")
	for _, a := range list {
		w.openItem()
		w.text("Title", a.Title)
		w.text("Description", a.Description)
		w.text("PicUrl", a.PicURL)
		w.text("Url", a.URL)
		w.shutItem()
	}
	w.shutList("Articles")
}

// writer writes one document in either format. The root's name is "".
type writer struct {
	b    []byte
	json bool
}

// comma separates a member of JSON from the one before.
func (w *writer) comma() {
	if c := w.b[len(w.b)-1]; c != '{' && c != '[' {
		w.b = append(w.b, ',')
	}
}

// name begins the element or member of that name.
func (w *writer) name(name string) {
	if w.json {
		w.comma()
		w.b = append(w.b, '"')
		w.b = append(w.b, name...)
		w.b = append(w.b, `":`...)
		return
	}
	w.b = append(w.b, '<')
	w.b = append(w.b, name...)
	w.b = append(w.b, '>')
}

// end ends the element of that name.
func (w *writer) end(name string) {
	if !w.json {
		w.b = append(w.b, "</"...)
		w.b = append(w.b, name...)
		w.b = append(w.b, '>')
	}
}

func (w *writer) text(name, value string) {
	w.name(name)
	if w.json {
		w.b = appendJSON(w.b, value)
	} else {
		w.b = appendCDATA(w.b, value)
	}
	w.end(name)
}

func (w *writer) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *writer) number(name string, n int64) {
	w.name(name)
	w.b = strconv.AppendInt(w.b, n, 10)
	w.end(name)
}

func (w *writer) open(name string) {
	switch {
	case name != "":
		w.name(name)
	case !w.json:
		w.name("xml")
	}
	if w.json {
		w.b = append(w.b, '{')
	}
}

func (w *writer) shut(name string) {
	if w.json {
		w.b = append(w.b, '}')
	}
	if name == "" {
		name = "xml"
	}
	w.end(name)
}

func (w *writer) openList(name string) {
	w.name(name)
	if w.json {
		w.b = append(w.b, '[')
	}
}

func (w *writer) shutList(name string) {
	if w.json {
		w.b = append(w.b, ']')
	}
	w.end(name)
}

func (w *writer) openItem() {
	if w.json {
		w.comma()
		w.b = append(w.b, '{')
		return
	}
	w.b = append(w.b, "<item>"...)
}

func (w *writer) shutItem() {
	if w.json {
		w.b = append(w.b, '}')
		return
	}
	w.b = append(w.b, "</item>"...)
}
