package sdk

import (
	"errors"
	"fmt"
)

// MaxReplyText is how long a text may be that WeChat shows, in bytes.
const MaxReplyText = 2048

// ReplyConfig is a reply in a plugin's config, written as in a reply stage of
// pipeline.yaml: one of text and news.
type ReplyConfig struct {
	Text string      `json:"text"`
	News *NewsConfig `json:"news"`
}

// NewsConfig is the news of a ReplyConfig.
type NewsConfig struct {
	Articles []struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		PicURL      string `json:"pic_url"`
		URL         string `json:"url"`
	} `json:"articles"`
}

// Reply makes the reply, a new one for each call. The error is for a check: it
// begins with the place below the ReplyConfig, such as .text.
func (rc *ReplyConfig) Reply() (*Reply, error) {
	switch {
	case len(rc.Text) > MaxReplyText:
		return nil, fmt.Errorf(".text: %d bytes, and WeChat shows %d; shorten it", len(rc.Text), MaxReplyText)
	case rc.Text != "":
		return &Reply{Text: &Text{Content: rc.Text}}, nil
	case rc.News == nil:
		return nil, errors.New(": neither a text nor news")
	}
	news := &News{}
	for _, a := range rc.News.Articles {
		news.Articles = append(news.Articles, Article(a))
	}
	return &Reply{News: news}, nil
}
