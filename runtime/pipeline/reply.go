package pipeline

import (
	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// FixedReply turns a reply of a file into the one that is answered; nil stays nil.
func FixedReply(r *config.Reply) *hostapi.Reply {
	if r == nil {
		return nil
	}
	out := &hostapi.Reply{Image: fixedMedia(r.Image), Voice: fixedMedia(r.Voice)}
	switch {
	case r.Text != nil:
		out.Text = &hostapi.Text{Content: r.Text.Content}
	case r.Video != nil:
		out.Video = &hostapi.Video{MediaID: r.Video.MediaID, Title: r.Video.Title, Description: r.Video.Description}
	case r.Music != nil:
		out.Music = &hostapi.Music{
			Title: r.Music.Title, Description: r.Music.Description,
			URL: r.Music.URL, HQURL: r.Music.HQURL, ThumbMediaID: r.Music.ThumbMediaID,
		}
	case r.News != nil:
		out.News = &hostapi.News{Articles: make([]hostapi.Article, len(r.News.Articles))}
		for i, a := range r.News.Articles {
			out.News.Articles[i] = hostapi.Article{Title: a.Title, Description: a.Description, PicURL: a.PicURL, URL: a.URL}
		}
	case r.Transfer != nil:
		out.Transfer = &hostapi.Transfer{Account: r.Transfer.Account}
	case r.Raw != nil:
		out.Raw = &hostapi.Raw{Body: r.Raw.Body}
	}
	return out
}

func fixedMedia(m *config.Media) *hostapi.Media {
	if m == nil {
		return nil
	}
	return &hostapi.Media{MediaID: m.MediaID}
}

// passive says whether a reply can be the answer to a callback of such an app:
// in a mini program only transfer and raw can.
func passive(typ config.AppType, r *hostapi.Reply) bool {
	return typ != config.MiniProgram || r.Transfer != nil || r.Raw != nil
}
