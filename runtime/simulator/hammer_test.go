package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/weft-dev/weft/runtime/simulator"
)

// TestHammer: all settings may change while calls come in, and none is lost.
func TestHammer(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	const each, callers = 50, 8
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				token := f.stable(false).AccessToken
				f.works(token)
				f.do("POST", "/cgi-bin/message/custom/send?access_token="+token, `{"touser":"o1","msgtype":"text","text":{"content":"x"}}`)
			}
		})
	}
	all.Go(func() {
		for range each {
			f.Set(simulator.App{ID: appID, Secret: secret})
			f.Strike(simulator.Fault{Errcode: -1, Where: simulator.Where{Path: "/cgi-bin/anything"}, Times: 1})()
			f.SetAnswer(simulator.Where{Path: "/cgi-bin/anything"}, simulator.Answer{Body: []byte("{}")})
			f.SetQuota(simulator.Where{App: appID}, simulator.Quota{})
			f.SetUser(appID, simulator.User{OpenID: "o1"})
			f.FetchElsewhere(appID, simulator.StableToken)
			f.Received(simulator.Where{})
			f.Issued()
			f.Count(simulator.Where{})
		}
	})
	all.Wait()
	if n := f.Count(simulator.Where{}); n.Calls != 3*each*callers || n.Stale != 0 {
		t.Errorf("%+v", n)
	}
	if n := len(f.Fetches(appID, simulator.StableToken)); n != each*callers {
		t.Errorf("%d fetches", n)
	}
}

// TestBodiesAreBounded: what is too long is refused and not kept.
func TestBodiesAreBounded(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	for _, path := range []string{"/cgi-bin/stable_token", "/cgi-bin/message/custom/send?access_token=" + token} {
		if _, err := f.try("POST", path, `{"x":"`+strings.Repeat("x", simulator.MaxJSON)+`"}`); err == nil || !strings.Contains(err.Error(), "413") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if n := f.Count(simulator.Where{}); n.Executed != 1 || n.Outcomes["status"] != 2 {
		t.Errorf("%+v", n)
	}
}

// TestCountsAreBounded: callers that make up paths don't fill the memory.
func TestCountsAreBounded(t *testing.T) {
	w := simulator.New(simulator.Options{Keep: 10})
	for i := range 10_100 {
		r := httptest.NewRequest(http.MethodGet, "/made/up/"+strings.Repeat("x", i%7)+url.PathEscape(string(rune(i))), nil)
		w.ServeHTTP(httptest.NewRecorder(), r)
	}
	n := w.Count(simulator.Where{})
	if n.Calls != 10_100 || len(n.Paths) > 10_001 || n.Paths["(others)"] == 0 {
		t.Errorf("%d calls, %d paths", n.Calls, len(n.Paths))
	}
	if kept := len(w.Received(simulator.Where{})); kept != 10 {
		t.Errorf("%d are kept", kept)
	}
}

// FuzzCall: no call, whatever it is, makes it panic, is executed without a token
// or a secret, or is answered with what is no JSON.
func FuzzCall(f *testing.F) {
	for _, seed := range []struct{ method, target, body string }{
		{"GET", "/cgi-bin/token?grant_type=client_credential&appid=a&secret=b", ""},
		{"POST", "/cgi-bin/stable_token", `{"grant_type":"client_credential","appid":"a","secret":"b","force_refresh":true}`},
		{"GET", "/cgi-bin/ticket/getticket?type=jsapi&access_token=x", ""},
		{"POST", "/cgi-bin/clear_quota/v2?appid=a&appsecret=b", ""},
		{"POST", "/cgi-bin/message/custom/send?access_token=TOKEN", `{"touser":"o","msgtype":"text","text":{"content":"x"}}`},
		{"POST", "/cgi-bin/message/mass/send?access_token=TOKEN", `{"touser":["o"],"msgtype":"text","clientmsgid":"1"}`},
		{"POST", "/cgi-bin/openapi/quota/get?access_token=TOKEN", `{"cgi_path":"/cgi-bin/token"}`},
		{"POST", "/cgi-bin/openapi/rid/get?access_token=TOKEN", `{"rid":"00000000-00000000-00000000"}`},
		{"POST", "/cgi-bin/media/upload?type=image&access_token=TOKEN", "--b\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a\"\r\n\r\nx\r\n--b--\r\n"},
		{"GET", "/cgi-bin/media/get?media_id=m&access_token=TOKEN", ""},
		{"POST", "/cgi-bin/callback/check?access_token=TOKEN", `{"action":"all","check_operator":"DEFAULT"}`},
		{"POST", "/cgi-bin/user/info/batchget?access_token=TOKEN", `{"user_list":[{"openid":"o"}]}`},
		{"GET", "/cgi-bin/user/get?next_openid=o&access_token=TOKEN", ""},
		{"GET", "/sns/oauth2/access_token?appid=a&secret=b&code=c&grant_type=authorization_code", ""},
		{"GET", "/sns/userinfo?access_token=x&openid=o", ""},
		{"GET", "/wxa/checksession?openid=o&sig_method=hmac_sha256&signature=x&access_token=TOKEN", ""},
		{"POST", "/wxa/business/getuserphonenumber?access_token=TOKEN", `{"code":"c"}`},
		{"PUT", "/%2e%2e//?access_token=TOKEN;x=%zz", "\x00"},
	} {
		f.Add(seed.method, seed.target, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, target string, body []byte) {
		w := simulator.New(simulator.Options{Seed: 1})
		w.Set(simulator.App{ID: appID, Secret: secret})
		token := issue(t, w)
		knows := strings.Contains(target, "TOKEN")
		r, err := http.NewRequestWithContext(context.Background(), method, strings.ReplaceAll(target, "TOKEN", token), bytes.NewReader(body))
		if err != nil {
			return // no server hands it on
		}
		r.RemoteAddr = "192.0.2.1:1"
		r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, r)
		if kind := answer.Header().Get("Content-Type"); answer.Code == http.StatusOK && strings.HasPrefix(kind, "application/json") && !json.Valid(answer.Body.Bytes()) {
			t.Errorf("answers %q", answer.Body)
		}
		if n := w.Count(simulator.Where{}); n.Calls != 2 || n.Executed > 1 && !knows {
			t.Errorf("%+v", n)
		}
	})
}

// issue gets a token of the app.
func issue(t *testing.T, w *simulator.WeChat) string {
	t.Helper()
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret, nil))
	var got said
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || got.AccessToken == "" {
		t.Fatalf("%s, %v", answer.Body, err)
	}
	return got.AccessToken
}
