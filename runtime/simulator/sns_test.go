package simulator_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// person is what the answers about a user hold.
type person struct {
	Errcode     int
	AccessToken string `json:"access_token"`
	Refresh     string `json:"refresh_token"`
	OpenID      string
	UnionID     string
	Scope       string
	Nickname    string
	Snapshot    int    `json:"is_snapshotuser"`
	SessionKey  string `json:"session_key"`
	Phone       struct {
		Number    string `json:"purePhoneNumber"`
		Watermark struct{ AppID string }
	} `json:"phone_info"`
}

func (f *fake) ask(method, path, body string) person {
	f.t.Helper()
	answer, err := f.try(method, path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	var p person
	if err := json.Unmarshal(answer, &p); err != nil {
		f.t.Fatalf("%s: %v", answer, err)
	}
	return p
}

const byApp = "appid=" + appID + "&secret=" + secret + "&grant_type=authorization_code"

func TestWebAuthorization(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	f.SetUser(appID, simulator.User{OpenID: "o1", UnionID: "u1", Nickname: "张三"})
	f.SetUser(appID, simulator.User{OpenID: "o2", Snapshot: true})
	code := f.NewCode(appID, simulator.OAuthCode, "o1", simulator.ScopeUserInfo)
	exchange := "/sns/oauth2/access_token?" + byApp + "&code="
	got := f.ask("GET", exchange+code, "")
	if got.OpenID != "o1" || got.UnionID != "u1" || got.Scope != simulator.ScopeUserInfo || got.Snapshot != 0 {
		t.Fatalf("%+v", got)
	}
	info := "/sns/userinfo?openid=o1&lang=zh_CN&access_token="
	if p := f.ask("GET", info+got.AccessToken, ""); p.Nickname != "张三" {
		t.Errorf("%+v", p)
	}
	base := f.ask("GET", exchange+f.NewCode(appID, simulator.OAuthCode, "o2", simulator.ScopeBase), "")
	if base.Snapshot != 1 {
		t.Errorf("%+v", base)
	}
	late := f.NewCode(appID, simulator.OAuthCode, "o1", simulator.ScopeBase)
	login := f.NewCode(appID, simulator.LoginCode, "o1", "")
	f.pass(5 * time.Minute)
	for path, want := range map[string]int{
		exchange + code:    40163,
		exchange + "never": 40029,
		exchange + login:   40029,
		exchange + late:    42003,
		exchange:           41008,
		"/sns/oauth2/access_token?appid=" + appID + "&secret=wrong&grant_type=authorization_code&code=x": 40125,
		info + "never":         40001,
		info:                   41001,
		info + got.AccessToken: 0,
		"/sns/userinfo?openid=o2&access_token=" + got.AccessToken:                                             40003,
		"/sns/userinfo?openid=o2&access_token=" + base.AccessToken:                                            48001,
		"/sns/auth?openid=o1&access_token=" + got.AccessToken:                                                 0,
		"/sns/auth?openid=o9&access_token=" + got.AccessToken:                                                 40003,
		"/sns/oauth2/refresh_token?appid=" + appID + "&grant_type=refresh_token&refresh_token=never":          40030,
		"/sns/oauth2/refresh_token?appid=" + appID + "&grant_type=refresh_token":                              41003,
		"/sns/oauth2/refresh_token?appid=wx9&grant_type=refresh_token&refresh_token=" + got.Refresh:           40013,
		"/sns/oauth2/refresh_token?appid=" + appID + "&grant_type=refresh_token&refresh_token=" + got.Refresh: 0,
	} {
		if p := f.ask("GET", path, ""); p.Errcode != want {
			t.Errorf("%s: %+v", path, p)
		}
	}
	f.pass(2 * time.Hour)
	if p := f.ask("GET", info+got.AccessToken, ""); p.Errcode != 42001 {
		t.Errorf("%+v", p)
	}
	refresh := "/sns/oauth2/refresh_token?appid=" + appID + "&grant_type=refresh_token&refresh_token=" + got.Refresh
	if p := f.ask("GET", refresh, ""); f.ask("GET", info+p.AccessToken, "").Nickname != "张三" {
		t.Errorf("%+v", p)
	}
	f.pass(30 * 24 * time.Hour)
	if p := f.ask("GET", refresh, ""); p.Errcode != 42002 {
		t.Errorf("%+v", p)
	}
}

func TestLogin(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	exchange := "/sns/jscode2session?" + byApp + "&js_code="
	code := f.NewCode(appID, simulator.LoginCode, "o1", "")
	got := f.ask("GET", exchange+code, "")
	if key, err := base64.StdEncoding.DecodeString(got.SessionKey); err != nil || len(key) != 16 || f.SessionKey(appID, "o1") != got.SessionKey {
		t.Fatalf("%+v, %v", got, err)
	}
	if p := f.ask("GET", exchange+code, ""); p.Errcode != 40163 {
		t.Errorf("%+v", p)
	}
	session := func(path, key string) person {
		mac := hmac.New(sha256.New, []byte(key))
		return f.ask("GET", path+"?openid=o1&sig_method=hmac_sha256&signature="+hex.EncodeToString(mac.Sum(nil))+"&access_token="+token, "")
	}
	if a, b := session("/wxa/checksession", got.SessionKey), session("/wxa/checksession", "wrong"); a.Errcode != 0 || b.Errcode != 87009 {
		t.Errorf("%+v, %+v", a, b)
	}
	reset := session("/wxa/resetusersessionkey", got.SessionKey)
	if reset.SessionKey == got.SessionKey || session("/wxa/checksession", got.SessionKey).Errcode != 87009 || session("/wxa/checksession", reset.SessionKey).Errcode != 0 {
		t.Errorf("%+v", reset)
	}
	f.ForgetSession(appID, "o1")
	if p := session("/wxa/checksession", reset.SessionKey); p.Errcode != 87007 {
		t.Errorf("%+v", p)
	}
	for i := range 100 {
		p := f.ask("GET", exchange+f.NewCode(appID, simulator.LoginCode, "o1", ""), "")
		if want := map[bool]int{true: 45011}[i == 99]; p.Errcode != want {
			t.Errorf("login %d: %+v", i+2, p)
		}
	}
}

func TestPhone(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	f.SetUser(appID, simulator.User{OpenID: "o1", Phone: "13800138000"})
	path := "/wxa/business/getuserphonenumber?access_token=" + f.stable(false).AccessToken
	body := `{"code":"` + f.NewCode(appID, simulator.PhoneCode, "o1", "") + `"}`
	if p := f.ask("POST", path, body); p.Phone.Number != "13800138000" || p.Phone.Watermark.AppID != appID {
		t.Errorf("%+v", p)
	}
	if p := f.ask("POST", path, body); p.Errcode != 40163 {
		t.Errorf("%+v", p)
	}
	if p := f.ask("POST", path, `{"code":"never"}`); p.Errcode != 40029 {
		t.Errorf("%+v", p)
	}
}

// TestNothingSecretIsTold: what Received tells holds no credential, of apps or
// of users.
func TestNothingSecretIsTold(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(true).AccessToken
	f.plain()
	f.do("GET", "/cgi-bin/ticket/getticket?type=jsapi&access_token="+token, "")
	got := f.ask("GET", "/sns/oauth2/access_token?"+byApp+"&code="+f.NewCode(appID, simulator.OAuthCode, "o1", simulator.ScopeUserInfo), "")
	f.ask("GET", "/sns/oauth2/refresh_token?appid="+appID+"&grant_type=refresh_token&refresh_token="+got.Refresh, "")
	f.ask("GET", "/sns/userinfo?openid=o1&access_token="+got.AccessToken, "")
	f.ask("GET", "/sns/jscode2session?"+byApp+"&js_code="+f.NewCode(appID, simulator.LoginCode, "o1", ""), "")
	f.do("POST", "/cgi-bin/clear_quota/v2", `{"appid":"`+appID+`","appsecret":"`+secret+`"}`)
	all, err := json.Marshal(f.Received(simulator.Where{}))
	if err != nil {
		t.Fatal(err)
	}
	issued := f.Issued()
	for _, value := range []string{token, secret, got.AccessToken, got.Refresh, f.SessionKey(appID, "o1")} {
		if !slices.Contains(issued, value) {
			t.Errorf("%q isn't among what was issued", value)
		}
	}
	for _, value := range issued {
		// Bodies are in base64 in this JSON: what isn't kept is nil.
		if strings.Contains(string(all), value) {
			t.Errorf("%q is told", value)
		}
	}
	for _, one := range f.Received(simulator.Where{}) {
		if one.Body != nil || one.Answer != nil && one.Path != "/x" {
			t.Errorf("%s: %s, %s", one.Path, one.Body, one.Answer)
		}
	}
}
