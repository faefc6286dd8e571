package wechat

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-dev/weft/hostapi"
)

// maxArticles bounds what DecodeReply takes, far over what WeChat shows.
const maxArticles = 100

// DecodeReply is the way back of AppendReply: it reads the reply in an opened
// answer of a format, whoever made it; nil where the answer has nothing for the
// user. An answer of a MsgType that Reply doesn't have is a raw one; names that
// AppendReply doesn't write are left alone. What it returns are pieces of doc, which
// must not change from then on. Every error wraps ErrUndecodable.
func DecodeReply(doc []byte, f Format) (*hostapi.Reply, error) {
	if said := strings.TrimSpace(string(doc)); said == "" || said == Success {
		return nil, nil
	}
	var ev hostapi.Event // the header of an answer is that of a message
	if err := Decode("", Opened{Body: doc, Format: f}, &ev); err != nil {
		return nil, err
	}
	r := answer{ev.Fields}
	switch ev.Type {
	case "text":
		return &hostapi.Reply{Text: &hostapi.Text{Content: ev.Content}}, nil
	case "image":
		return &hostapi.Reply{Image: &hostapi.Media{MediaID: r.id("Image.MediaId")}}, nil
	case "voice":
		return &hostapi.Reply{Voice: &hostapi.Media{MediaID: r.id("Voice.MediaId")}}, nil
	case "video":
		return &hostapi.Reply{Video: &hostapi.Video{
			MediaID: r.id("Video.MediaId"), Title: r.get("Video.Title"), Description: r.get("Video.Description"),
		}}, nil
	case "music":
		return &hostapi.Reply{Music: &hostapi.Music{
			Title: r.get("Music.Title"), Description: r.get("Music.Description"), URL: r.id("Music.MusicUrl"),
			HQURL: r.id("Music.HQMusicUrl"), ThumbMediaID: r.id("Music.ThumbMediaId"),
		}}, nil
	case "news":
		articles, err := r.articles()
		if err != nil {
			return nil, err
		}
		return &hostapi.Reply{News: &hostapi.News{Articles: articles}}, nil
	case "transfer_customer_service":
		return &hostapi.Reply{Transfer: &hostapi.Transfer{Account: r.id("TransInfo.KfAccount")}}, nil
	}
	return &hostapi.Reply{Raw: &hostapi.Raw{Body: doc}}, nil
}

// answer has the leaves of an answer that are no header.
type answer struct{ leaves []hostapi.Field }

func (a answer) get(name string) string {
	for _, l := range a.leaves {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

func (a answer) id(name string) string { return trim(a.get(name)) }

// articles reads Articles.item.Title, Articles.item[1].Title and, of JSON,
// Articles[1].Title.
func (a answer) articles() ([]hostapi.Article, error) {
	var list []hostapi.Article
	for _, l := range a.leaves {
		rest, ok := strings.CutPrefix(l.Name, "Articles")
		if !ok {
			continue
		}
		place, name, ok := strings.Cut(strings.TrimPrefix(rest, ".item"), ".")
		if !ok {
			continue
		}
		at := 0
		if place != "" {
			n, err := strconv.Atoi(strings.Trim(place, "[]"))
			if err != nil {
				continue
			}
			at = n
		}
		if at >= maxArticles {
			return nil, fmt.Errorf("%w: over %d articles", ErrUndecodable, maxArticles)
		}
		for at >= len(list) {
			list = append(list, hostapi.Article{})
		}
		switch name {
		case "Title":
			list[at].Title = l.Value
		case "Description":
			list[at].Description = l.Value
		case "PicUrl":
			list[at].PicURL = trim(l.Value)
		case "Url":
			list[at].URL = trim(l.Value)
		}
	}
	return list, nil
}
