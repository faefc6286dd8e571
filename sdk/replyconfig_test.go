package sdk_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-dev/weft/sdk"
)

func TestReplyConfig(t *testing.T) {
	article := sdk.Article{Title: "T", Description: "D", PicURL: "P", URL: "U"}
	for name, c := range map[string]struct {
		config string
		want   *sdk.Reply
		wrong  string
	}{
		"text":      {config: `{"text":"你好"}`, want: &sdk.Reply{Text: &sdk.Text{Content: "你好"}}},
		"news":      {config: `{"news":{"articles":[{"title":"T","description":"D","pic_url":"P","url":"U"}]}}`, want: &sdk.Reply{News: &sdk.News{Articles: []sdk.Article{article}}}},
		"longest":   {config: `{"text":"` + strings.Repeat("a", sdk.MaxReplyText) + `"}`, want: &sdk.Reply{Text: &sdk.Text{Content: strings.Repeat("a", sdk.MaxReplyText)}}},
		"too long":  {config: `{"text":"` + strings.Repeat("a", sdk.MaxReplyText+1) + `"}`, wrong: ".text: 2049 bytes"},
		"neither":   {config: `{}`, wrong: ": neither"},
		"text wins": {config: `{"text":"a","news":{"articles":[]}}`, want: &sdk.Reply{Text: &sdk.Text{Content: "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var rc sdk.ReplyConfig
			if err := json.Unmarshal([]byte(c.config), &rc); err != nil {
				t.Fatal(err)
			}
			got, err := rc.Reply()
			if c.wrong != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.wrong) {
					t.Errorf("error %v, want %s…", err, c.wrong)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}
