package simulator_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

func TestQuotas(t *testing.T) {
	f := newFake(t, simulator.Rules{ClearMonthly: 1})
	token := f.stable(false).AccessToken
	f.SetQuota(simulator.Where{App: appID, Path: "/cgi-bin/menu/**"}, simulator.Quota{Daily: 2})
	path, other := "/cgi-bin/menu/get?access_token="+token, "/cgi-bin/menu/create?access_token="+token
	for i, want := range []int{0, 0, 45009, 45009} {
		if got := f.do("GET", path, ""); got.Errcode != want {
			t.Errorf("call %d: %+v", i, got)
		}
	}
	if got := f.do("POST", other, "{}"); got.Errcode != 0 {
		t.Errorf("another path has a quota of its own: %+v", got)
	}
	clear := "/cgi-bin/clear_quota?access_token=" + token
	for i, c := range []struct {
		body string
		want int
	}{{`{"appid":"wx9"}`, 40013}, {`{"appid":"` + appID + `"}`, 0}, {`{"appid":"` + appID + `"}`, 48006}} {
		if got := f.do("POST", clear, c.body); got.Errcode != c.want {
			t.Errorf("clear %d: %+v", i, got)
		}
	}
	if got := f.do("POST", "/cgi-bin/clear_quota/v2?appid="+appID+"&appsecret="+secret, ""); got.Errcode != 48006 {
		t.Errorf("by the secret: %+v", got)
	}
	if got := f.do("GET", path, ""); got.Errcode != 0 {
		t.Errorf("after it was cleared: %+v", got)
	}
	f.do("GET", path, "")
	// The fake's day began at noon UTC, which is 20:00 in China.
	f.pass(4*time.Hour - time.Second)
	token = f.stable(true).AccessToken
	path = "/cgi-bin/menu/get?access_token=" + token
	if got := f.do("GET", path, ""); got.Errcode != 45009 {
		t.Errorf("a second before midnight, China: %+v", got)
	}
	f.pass(time.Second)
	if got := f.do("GET", path, ""); got.Errcode != 0 {
		t.Errorf("at midnight, China: %+v", got)
	}
}

func TestQuotaOfAMinute(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	f.SetQuota(simulator.Where{Path: "/cgi-bin/user/info"}, simulator.Quota{PerMinute: 1})
	path := "/cgi-bin/user/info?openid=o1&access_token=" + token
	if first, second := f.do("GET", path, ""), f.do("GET", path, ""); first.Errcode != 0 || second.Errcode != 45011 {
		t.Errorf("%+v, %+v", first, second)
	}
	f.pass(time.Minute)
	if got := f.do("GET", path, ""); got.Errcode != 0 {
		t.Errorf("in the next minute: %+v", got)
	}
	answer, err := f.try("POST", "/cgi-bin/openapi/quota/get?access_token="+token, `{"cgi_path":"/cgi-bin/user/info"}`)
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Quota struct {
			Limit  int `json:"daily_limit"`
			Used   int
			Remain int
		}
		Rate struct {
			Calls int `json:"call_count"`
		} `json:"rate_limit"`
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		t.Fatal(err)
	}
	if told.Quota.Used != 2 || told.Quota.Limit-told.Quota.Remain != 2 || told.Rate.Calls != 1 {
		t.Errorf("%s", answer)
	}
	for path, want := range map[string]int{"/sns/userinfo": 76022, "cgi-bin/user/info": 76021} {
		if got := f.do("POST", "/cgi-bin/openapi/quota/get?access_token="+token, `{"cgi_path":"`+path+`"}`); got.Errcode != want {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestTokenCallsHaveQuotas(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	f.SetQuota(simulator.Where{Path: "/cgi-bin/token"}, simulator.Quota{Daily: 1})
	if first, second := f.plain(), f.plain(); first.Errcode != 0 || second.Errcode != 45009 {
		t.Errorf("%+v, %+v", first, second)
	}
	if got := f.stable(false); got.Errcode != 0 {
		t.Errorf("stable_token: %+v", got)
	}
}
