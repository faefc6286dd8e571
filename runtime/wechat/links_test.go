package wechat

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestVectorsLinks: browsers are sent to WeChat's pages as public SDKs send them.
func TestVectorsLinks(t *testing.T) {
	var cases []struct {
		Name, Expect string
		Input        struct {
			AppID       string `json:"appid"`
			Component   string `json:"component_appid"`
			RedirectURI string `json:"redirect_uri"`
			RedirectURL string `json:"redirect_url"`
			Scope       string
			State       string
			Scene       json.Number
			TemplateID  string `json:"template_id"`
			Reserved    string
			Ticket      string
		}
	}
	vectors(t, "oauth_urls.json", &cases)
	if len(cases) == 0 {
		t.Fatal("there are no cases")
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			in, got := c.Input, ""
			switch {
			case in.Scope != "":
				got = Authorize{AppID: in.AppID, RedirectURI: in.RedirectURI, Scope: in.Scope, State: in.State, Component: in.Component}.Link()
			case in.TemplateID != "":
				got = Subscribe{AppID: in.AppID, Scene: in.Scene.String(), TemplateID: in.TemplateID, RedirectURL: in.RedirectURL, Reserved: in.Reserved}.Link()
			default:
				got = QRCodeLink(in.Ticket)
			}
			if got != c.Expect {
				t.Errorf("%s\nwant %s", got, c.Expect)
			}
		})
	}
}

// TestAuthorizeOrder: state stands behind scope and before a component, and what
// is given can't add parameters of its own.
func TestAuthorizeOrder(t *testing.T) {
	got := Authorize{AppID: "wx1", RedirectURI: "https://wx.acme.cn/cb?a=1&b=2#x", Scope: ScopeUserInfo, State: "abc123", Component: "wx2"}.Link()
	want := "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1&redirect_uri=https%3A%2F%2Fwx.acme.cn%2Fcb%3Fa%3D1%26b%3D2%23x" +
		"&response_type=code&scope=snsapi_userinfo&state=abc123&component_appid=wx2#wechat_redirect"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := (Authorize{Base: "http://127.0.0.1:8096", AppID: "wx1", Scope: ScopeBase}).Link(); !strings.HasPrefix(got, "http://127.0.0.1:8096/connect/oauth2/authorize?appid=wx1&") {
		t.Errorf("at a fake WeChat: %s", got)
	}
	if n := strings.Count(QRCodeLink("a&b=c#d"), "&"); n != 0 {
		t.Errorf("a ticket adds %d parameters", n)
	}
}
