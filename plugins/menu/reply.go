package main

import (
	"errors"
	"fmt"

	"github.com/weft-dev/weft/sdk"
)

// replyConfig is a reply in the config: one of the two, as in a reply stage of
// pipeline.yaml.
type replyConfig struct {
	Text string      `json:"text"`
	News *newsConfig `json:"news"`
}

type newsConfig struct {
	Articles []struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		PicURL      string `json:"pic_url"`
		URL         string `json:"url"`
	} `json:"articles"`
}

// reply makes the reply. Its error begins with the place in the config.
func (rc *replyConfig) reply() (*sdk.Reply, error) {
	switch {
	case len(rc.Text) > maxText:
		return nil, fmt.Errorf(".text: %d bytes, and WeChat shows %d; shorten it", len(rc.Text), maxText)
	case rc.Text != "":
		return &sdk.Reply{Text: &sdk.Text{Content: rc.Text}}, nil
	case rc.News == nil:
		return nil, errors.New(": neither a text nor news")
	}
	news := &sdk.News{}
	for _, a := range rc.News.Articles {
		news.Articles = append(news.Articles, sdk.Article(a))
	}
	return &sdk.Reply{News: news}, nil
}
