package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"
)

// CodeKind is what a code is exchanged for.
type CodeKind string

// The kinds of codes. Each is good once, for five minutes.
const (
	OAuthCode CodeKind = "oauth" // of web authorization: GET /sns/oauth2/access_token
	LoginCode CodeKind = "login" // of wx.login: GET /sns/jscode2session
	PhoneCode CodeKind = "phone" // of a phone button: POST /wxa/business/getuserphonenumber
)

// The scopes of web authorization.
const (
	ScopeBase     = "snsapi_base"
	ScopeUserInfo = "snsapi_userinfo"
)

const (
	codeLife         = 5 * time.Minute
	refreshTokenLife = 30 * 24 * time.Hour
	loginsPerMinute  = 100 // of one user: 45011
)

// code is one that was handed out to a user's browser or mini program.
type code struct {
	appID, openID string
	kind          CodeKind
	scope         string
	expires       time.Time
	used          bool
}

// grant is a user's token or refresh token.
type grant struct {
	appID, openID, scope string
	expires              time.Time
}

// NewCode makes up a code as a user's WeChat gets one who agreed. scope is that
// of an OAuthCode.
func (w *WeChat) NewCode(appID string, kind CodeKind, openID, scope string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.codes) >= remembered {
		w.codes = map[string]*code{}
	}
	value := w.value("0", 32)
	w.codes[value] = &code{appID: appID, openID: openID, kind: kind, scope: scope, expires: w.now().Add(codeLife)}
	return value
}

// SessionKey gives a mini program user's session_key, "" where the user has not
// logged in. It is what encryptedData and rawData are made with.
func (w *WeChat) SessionKey(appID, openID string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.apps[appID]; a != nil {
		return a.sessions[openID]
	}
	return ""
}

// ForgetSession ends a user's session_key, as WeChat does when it likes to.
func (w *WeChat) ForgetSession(appID, openID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.apps[appID]; a != nil {
		delete(a.sessions, openID)
	}
}

func snsEndpoints(to map[string]endpoint) {
	to["/sns/oauth2/access_token"] = endpoint{method: http.MethodGet, open: true, serve: (*WeChat).oauthToken}
	to["/sns/oauth2/refresh_token"] = endpoint{method: http.MethodGet, open: true, serve: (*WeChat).oauthRefresh}
	to["/sns/userinfo"] = endpoint{method: http.MethodGet, open: true, serve: (*WeChat).snsUserInfo}
	to["/sns/auth"] = endpoint{method: http.MethodGet, open: true, serve: (*WeChat).snsAuth}
	to["/sns/jscode2session"] = endpoint{method: http.MethodGet, open: true, serve: (*WeChat).login}
	to["/wxa/checksession"] = endpoint{method: http.MethodGet, serve: (*WeChat).checkSession}
	to["/wxa/resetusersessionkey"] = endpoint{method: http.MethodGet, private: true, serve: (*WeChat).resetSession}
	to["/wxa/business/getuserphonenumber"] = endpoint{method: http.MethodPost, private: true, serve: (*WeChat).phone}
}

// exchange takes a code in, once.
func (w *WeChat) exchange(c *call, kind CodeKind, value string) (*code, answer, bool) {
	one := w.codes[value]
	switch {
	case value == "":
		return nil, c.refuses(41008), false
	case one == nil || one.kind != kind || one.appID != c.appID:
		return nil, c.refuses(40029), false
	case one.used:
		return nil, c.refuses(40163), false
	case !c.now.Before(one.expires):
		return nil, c.refuses(42003), false
	}
	one.used = true
	return one, answer{}, true
}

// applies checks the app that a call of /sns/ names, with its secret.
func (w *WeChat) applies(c *call) (answer, bool) {
	if a, ok := c.known("authorization_code"); !ok {
		return a, false
	}
	return w.spend(c)
}

// oauthToken is GET /sns/oauth2/access_token.
func (w *WeChat) oauthToken(c *call) answer {
	if a, ok := w.applies(c); !ok {
		return a
	}
	one, a, ok := w.exchange(c, OAuthCode, c.query.Get("code"))
	if !ok {
		return a
	}
	refresh := w.value("8_", 106)
	w.granted(refresh, grant{one.appID, one.openID, one.scope, c.now.Add(refreshTokenLife)})
	return w.grants(c, one.openID, one.scope, refresh)
}

// oauthRefresh is GET /sns/oauth2/refresh_token.
func (w *WeChat) oauthRefresh(c *call) answer {
	value := c.query.Get("refresh_token")
	g, ok := w.refreshTokens[value]
	switch {
	case c.claim.GrantType != "refresh_token":
		return c.refuses(40002)
	case c.app == nil:
		return c.refuses(40013)
	case value == "":
		return c.refuses(41003)
	case !ok || g.appID != c.appID:
		return c.refuses(40030)
	case !c.now.Before(g.expires):
		return c.refuses(42002)
	}
	return w.grants(c, g.openID, g.scope, value)
}

func (w *WeChat) granted(value string, g grant) {
	if len(w.refreshTokens) >= remembered {
		w.refreshTokens = map[string]grant{}
	}
	w.refreshTokens[value] = g
}

// grants answers a new token of a user.
func (w *WeChat) grants(c *call, openID, scope, refresh string) answer {
	if len(w.userTokens) >= remembered {
		w.userTokens = map[string]grant{}
	}
	value := w.value("8_", 107)
	w.userTokens[value] = grant{c.appID, openID, scope, c.now.Add(c.app.Life)}
	told := map[string]any{
		"access_token": value, "expires_in": int(c.app.Life / time.Second), "refresh_token": refresh,
		"openid": openID, "scope": scope,
	}
	u := c.app.user(openID)
	if u.UnionID != "" {
		told["unionid"] = u.UnionID
	}
	if u.Snapshot {
		told["is_snapshotuser"] = 1
	}
	return says(told)
}

// showsGrant checks the user's token of a call, and whose it is.
func (w *WeChat) showsGrant(c *call) (grant, answer, bool) {
	g, ok := w.userTokens[c.query.Get("access_token")]
	switch {
	case c.query.Get("access_token") == "":
		return g, c.refuses(41001), false
	case !ok:
		return g, c.refuses(40001), false
	case !c.now.Before(g.expires):
		return g, c.refuses(42001), false
	case c.query.Get("openid") != g.openID:
		return g, c.refuses(40003), false
	}
	return g, answer{}, true
}

// snsUserInfo is GET /sns/userinfo.
func (w *WeChat) snsUserInfo(c *call) answer {
	g, a, ok := w.showsGrant(c)
	switch {
	case !ok:
		return a
	case g.scope != ScopeUserInfo:
		return c.refuses(48001)
	}
	u := w.apps[g.appID].user(g.openID)
	told := map[string]any{
		"openid": u.OpenID, "nickname": u.Nickname, "sex": 0, "language": "", "city": "", "province": "", "country": "",
		"headimgurl": "https://thirdwx.qlogo.cn/mmopen/vi_32/0/132", "privilege": []string{},
	}
	if u.UnionID != "" {
		told["unionid"] = u.UnionID
	}
	return says(told)
}

// snsAuth is GET /sns/auth.
func (w *WeChat) snsAuth(c *call) answer {
	if _, a, ok := w.showsGrant(c); !ok {
		return a
	}
	return fine()
}

// login is GET /sns/jscode2session.
func (w *WeChat) login(c *call) answer {
	if a, ok := w.applies(c); !ok {
		return a
	}
	one, a, ok := w.exchange(c, LoginCode, c.query.Get("js_code"))
	if !ok {
		return a
	}
	u := c.app.used("login of "+one.openID, c.now)
	if u.inMinute >= loginsPerMinute {
		return c.refuses(45011)
	}
	u.inMinute++
	told := map[string]any{"openid": one.openID, "session_key": w.session(c.app, one.openID)}
	if user := c.app.user(one.openID); user.UnionID != "" {
		told["unionid"] = user.UnionID
	}
	return says(told)
}

// session gives a user's session_key, a new one where there is none.
func (w *WeChat) session(a *app, openID string) string {
	if a.sessions[openID] == "" {
		if len(a.sessions) >= remembered {
			a.sessions = map[string]string{}
		}
		var key [16]byte
		for i := range key {
			key[i] = byte(w.random.UintN(256))
		}
		// The mark is base64, of 6 bytes.
		a.sessions[openID] = SessionKeyMark + base64.StdEncoding.EncodeToString(key[6:])
	}
	return a.sessions[openID]
}

// owns checks that the caller has the user's session_key: its signature is the
// HMAC-SHA-256 of nothing ("checkSessionKey").
func (c *call) owns() (answer, bool) {
	key := c.app.sessions[c.query.Get("openid")]
	mac := hmac.New(sha256.New, []byte(key))
	switch {
	case c.query.Get("sig_method") != "hmac_sha256":
		return c.refuses(87008), false
	case key == "":
		return c.refuses(87007), false
	case !hmac.Equal([]byte(c.query.Get("signature")), []byte(hex.EncodeToString(mac.Sum(nil)))):
		return c.refuses(87009), false
	}
	return answer{}, true
}

// checkSession is GET /wxa/checksession.
func (w *WeChat) checkSession(c *call) answer {
	if a, ok := c.owns(); !ok {
		return a
	}
	return fine()
}

// resetSession is GET /wxa/resetusersessionkey.
func (w *WeChat) resetSession(c *call) answer {
	if a, ok := c.owns(); !ok {
		return a
	}
	openID := c.query.Get("openid")
	delete(c.app.sessions, openID)
	return says(map[string]any{"errcode": 0, "errmsg": "ok", "openid": openID, "session_key": w.session(c.app, openID)})
}

// phone is POST /wxa/business/getuserphonenumber. The country's code is a string
// there, whatever the documentation says.
func (w *WeChat) phone(c *call) answer {
	var asked struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(c.body, &asked) != nil {
		return c.refuses(47001)
	}
	one, a, ok := w.exchange(c, PhoneCode, asked.Code)
	if !ok {
		return a
	}
	number := c.app.user(one.openID).Phone
	return says(map[string]any{"errcode": 0, "errmsg": "ok", "phone_info": map[string]any{
		"phoneNumber": number, "purePhoneNumber": number, "countryCode": "86",
		"watermark": map[string]any{"timestamp": c.now.Unix(), "appid": c.appID},
	}})
}

// personal lists what belongs to users and may stand nowhere.
func (w *WeChat) personal() []string {
	var all []string
	for value := range w.userTokens {
		all = append(all, value)
	}
	for value := range w.refreshTokens {
		all = append(all, value)
	}
	for _, a := range w.apps {
		for _, key := range a.sessions {
			all = append(all, key)
		}
	}
	return all
}
