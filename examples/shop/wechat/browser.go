package main

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/simulator"
)

// agreement is what a user sees who is asked for more than the openid.
var agreement = template.Must(template.New("agreement").Parse(`<!doctype html>
<html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>微信登录（模拟）</title>
<style>body { font: 16px/1.6 system-ui, sans-serif; text-align: center; margin: 4rem 1rem } button { display: block; width: 14rem; margin: .75rem auto; padding: .5rem; font: inherit }</style>
<p>“小店”申请获取你的昵称、头像</p>
<form method="post">
{{range .}}<button name="user" value="{{.OpenID}}">以{{.Nickname}}的身份允许</button>
{{end}}<button name="user" value="">拒绝</button>
</form></html>
`))

// authorize is open.weixin.qq.com/connect/oauth2/authorize: the browser goes back
// with a code, at once or when its user has agreed, without one when not.
func (t *town) authorize(rw http.ResponseWriter, r *http.Request) {
	asked, why := readAuthorize(r.URL.RawQuery)
	switch {
	case why != "":
		http.Error(rw, why, http.StatusOK) // as WeChat does
	case asked.Get("scope") == simulator.ScopeBase:
		t.sendBack(rw, r, asked, ming)
	case r.Method == http.MethodPost:
		t.sendBack(rw, r, asked, r.PostFormValue("user"))
	default:
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = agreement.Execute(rw, []simulator.User{{OpenID: ming, Nickname: "小明"}, {OpenID: hong, Nickname: "小红"}}) // the browser may be gone
	}
}

// readAuthorize takes what WeChat takes: the parameters in their order, for an app
// that it knows, back to the app's domain.
func readAuthorize(query string) (asked url.Values, why string) {
	var names []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		names = append(names, name)
	}
	asked, err := url.ParseQuery(query)
	back, err2 := url.Parse(asked.Get("redirect_uri"))
	switch {
	case err != nil || err2 != nil || !slices.Equal(names, []string{"appid", "redirect_uri", "response_type", "scope", "state"}):
		return nil, "链接错误，请在微信客户端打开链接"
	case asked.Get("appid") != shopID:
		return nil, "AppID 参数错误"
	case back.Hostname() != ofDomain:
		return nil, "redirect_uri 域名与后台配置不一致，错误码:10003"
	case asked.Get("response_type") != "code" || asked.Get("scope") != simulator.ScopeBase && asked.Get("scope") != simulator.ScopeUserInfo:
		return nil, "Scope 参数错误或没有 Scope 权限"
	}
	return asked, ""
}

// sendBack leads the browser to redirect_uri, with a code of the user, if any.
func (t *town) sendBack(rw http.ResponseWriter, r *http.Request, asked url.Values, user string) {
	to, err := url.Parse(asked.Get("redirect_uri"))
	if err != nil {
		http.Error(rw, "redirect_uri", http.StatusBadRequest)
		return
	}
	q := to.Query()
	if user != "" {
		q.Set("code", t.wechat.NewCode(asked.Get("appid"), simulator.OAuthCode, user, asked.Get("scope")))
	}
	q.Set("state", asked.Get("state"))
	to.RawQuery = q.Encode()
	http.Redirect(rw, r, to.String(), http.StatusFound)
}

// script is WeChat's JavaScript for pages, as far as the page needs it: wx.config
// succeeds where the signature is right.
func script(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	fmt.Fprint(rw, `'use strict'
window.wx = ((at) => {
  let ready = () => {}
  let error = () => {}
  return {
    ready: (f) => { ready = f },
    error: (f) => { error = f },
    async config(c) {
      const answer = await fetch(new URL('/open/js/config', at), { method: 'POST', body: JSON.stringify({ ...c, url: location.href.split('#')[0] }) })
      const { errMsg } = await answer.json()
      if (errMsg === 'config:ok') ready()
      else error({ errMsg })
    },
  }
})(document.currentScript.src)
`)
}

// config is what the phone's WeChat decides about wx.config: the page's address is
// the browser's own, and the ticket is one that WeChat has given.
func (t *town) config(rw http.ResponseWriter, r *http.Request) {
	var c struct {
		AppID     string      `json:"appId"`
		Timestamp json.Number `json:"timestamp"`
		NonceStr  string      `json:"nonceStr"`
		Signature string      `json:"signature"`
		URL       string      `json:"url"`
	}
	said := "config:invalid signature"
	page := (*url.URL)(nil)
	err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, simulator.MaxJSON)).Decode(&c)
	if err == nil {
		page, err = url.Parse(c.URL)
	}
	switch {
	case err != nil || page.Hostname() != ofDomain || page.Scheme+"://"+page.Host != r.Header.Get("Origin"):
		said = "config:invalid url domain"
	case slices.ContainsFunc(t.wechat.Issued(), func(ticket string) bool {
		app, kind, state := t.wechat.TicketState(ticket)
		sum := sha1.Sum([]byte("jsapi_ticket=" + ticket + "&noncestr=" + c.NonceStr + "&timestamp=" + c.Timestamp.String() + "&url=" + c.URL))
		return app == c.AppID && kind == simulator.JSTicket && state == simulator.Current && hex.EncodeToString(sum[:]) == c.Signature
	}):
		said = "config:ok"
	}
	rw.Header().Set("Access-Control-Allow-Origin", "*")
	answer(rw, map[string]any{"errMsg": said})
}
