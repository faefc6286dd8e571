package wechat

import (
	"cmp"
	"net/url"
	"strings"
)

// The scopes of Authorize.
const (
	ScopeBase     = "snsapi_base"     // the openid, without asking the user
	ScopeUserInfo = "snsapi_userinfo" // the user agrees: unionid and profile, too
	ScopeLogin    = "snsapi_login"    // of a website outside of WeChat: a QR code to scan
)

// Authorize is what a browser asks WeChat for when a user is to log in.
type Authorize struct {
	Base        string // of the address, without a / at its end; "": https://open.weixin.qq.com
	AppID       string
	RedirectURI string // where WeChat sends the browser, with code and state
	Scope       string
	State       string // letters and digits, at most 128 bytes; "": none
	Component   string // app id of the third-party platform that acts for the app; "": none does
}

// Link is the page that the browser is sent to. WeChat matches it by a strict
// pattern: in another order of parameters it can't be reached.
func (a Authorize) Link() string {
	page := "/connect/oauth2/authorize"
	if a.Scope == ScopeLogin {
		page = "/connect/qrconnect"
	}
	l := newLink(cmp.Or(a.Base, "https://open.weixin.qq.com") + page)
	l.add("appid", a.AppID)
	l.add("redirect_uri", a.RedirectURI)
	l.add("response_type", "code")
	l.add("scope", a.Scope)
	l.addIf("state", a.State)
	l.addIf("component_appid", a.Component)
	return l.String() + redirectMark
}

// Subscribe is what a user is asked for before a one-time message ("一次性订阅消息").
type Subscribe struct {
	AppID       string
	Scene       string // 0 to 10000, given back
	TemplateID  string
	RedirectURL string // where the browser goes afterwards
	Reserved    string // given back; "": none
}

// Link is the page that asks.
func (s Subscribe) Link() string {
	l := newLink("https://mp.weixin.qq.com/mp/subscribemsg")
	l.add("action", "get_confirm")
	l.add("appid", s.AppID)
	l.add("scene", s.Scene)
	l.add("template_id", s.TemplateID)
	l.add("redirect_url", s.RedirectURL)
	l.addIf("reserved", s.Reserved)
	return l.String() + redirectMark
}

// QRCodeLink is the image of the QR code that a ticket of qrcode/create stands for.
func QRCodeLink(ticket string) string {
	l := newLink("https://mp.weixin.qq.com/cgi-bin/showqrcode")
	l.add("ticket", ticket)
	return l.String()
}

// redirectMark ends the links that only WeChat's own browser follows.
const redirectMark = "#wechat_redirect"

// link is an address whose parameters stay in the order in which they came.
type link struct {
	strings.Builder
	next byte
}

func newLink(at string) *link {
	l := &link{next: '?'}
	l.WriteString(at)
	return l
}

func (l *link) add(name, value string) {
	l.WriteByte(l.next)
	l.WriteString(name + "=" + url.QueryEscape(value))
	l.next = '&'
}

func (l *link) addIf(name, value string) {
	if value != "" {
		l.add(name, value)
	}
}
