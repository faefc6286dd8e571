package simulator_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/simulator"
)

func TestMessages(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	f.SetUser(appID, simulator.User{OpenID: "refused", Refuses: 43101})
	f.SetUser(appID, simulator.User{OpenID: "late", Refuses: 45015})
	f.SetUser(appID, simulator.User{OpenID: "gone", Unsubscribed: true})
	const custom, template, subscribe, mass = "custom/send", "template/send", "subscribe/send", "mass/sendall"
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{custom, `{"touser":"o1","msgtype":"text","text":{"content":"你好 & <b>"}}`, 0},
		{custom, `{"touser":"o1","msgtype":"text","text":{"content":"\u4f60"}}`, 40033},
		{custom, `{"touser":"o1","msgtype":"text"}`, 44004},
		{custom, `{"touser":"o1","msgtype":"smoke"}`, 40008},
		{custom, `{"msgtype":"text","text":{"content":"x"}}`, 40003},
		{custom, `{"touser":["o1"],"msgtype":"text","text":{"content":"x"}}`, 40003},
		{custom, `{"touser":"late","msgtype":"text","text":{"content":"x"}}`, 45015},
		{custom, `{"touser":1,"text":"x"}`, 47001},
		{custom, ``, 44002},
		{template, `{"touser":"o1","template_id":"t","data":{}}`, 0},
		{template, `{"touser":"o1","data":{}}`, 40037},
		{template, `{"touser":"gone","template_id":"t","data":{}}`, 43004},
		{subscribe, `{"touser":"o1","template_id":"t","data":{"thing1":{"value":"x"}}}`, 0},
		{subscribe, `{"touser":"refused","template_id":"t","data":{}}`, 43101},
		{subscribe, `{"touser":"o1","template_id":"t"}`, 47003},
		{mass, `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`, 0},
		{mass, `{"filter":{"is_to_all":true}}`, 40008},
	} {
		if got := f.do("POST", "/cgi-bin/message/"+c.path+"?access_token="+token, c.body); got.Errcode != c.want {
			t.Errorf("%s %s: %+v", c.path, c.body, got)
		}
	}
	if got := f.do("GET", "/cgi-bin/message/custom/send?access_token="+token, ""); got.Errcode != 43002 {
		t.Errorf("by GET: %+v", got)
	}
	first := f.Received(simulator.Where{Path: "/cgi-bin/message/custom/*"})[0]
	if !first.Executed || !strings.Contains(string(first.Body), "你好") || first.Query.Has("access_token") || first.Header.Get("User-Agent") == "" {
		t.Errorf("%+v", first)
	}
}

// TestMessageOfAName: what the caller calls a message isn't sent twice.
func TestMessageOfAName(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	send := func(name string) (errcode, id int) {
		answer, err := f.try("POST", "/cgi-bin/message/mass/send?access_token="+token, `{"touser":["o1","o2"],"msgtype":"text","text":{"content":"x"},"clientmsgid":"`+name+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Errcode int
			ID      int `json:"msg_id"`
		}
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatal(err)
		}
		return got.Errcode, got.ID
	}
	_, first := send("a")
	_, second := send("b")
	if code, id := send("a"); code != 45065 || id != first || first == second || first == 0 {
		t.Errorf("%d, %d after %d and %d", code, id, first, second)
	}
	if code, _ := send(strings.Repeat("x", 65)); code != 45067 {
		t.Errorf("%d", code)
	}
}

func TestUsers(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	f.SetUser(appID, simulator.User{OpenID: "gone", Unsubscribed: true, UnionID: "u9"})
	for i := range 10_001 {
		f.SetUser(appID, simulator.User{OpenID: fmt.Sprintf("o%05d", i)})
	}
	type page struct {
		Total, Count int
		Data         struct{ OpenID []string }
		Next         string `json:"next_openid"`
	}
	pages := make([]page, 3)
	next := ""
	for i := range pages {
		answer, err := f.try("GET", "/cgi-bin/user/get?next_openid="+next+"&access_token="+token, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(answer, &pages[i]); err != nil {
			t.Fatal(err)
		}
		if next = pages[i].Next; next == "" {
			break
		}
	}
	if pages[0].Total != 10_001 || pages[0].Count != 10_000 || !slices.Equal(pages[1].Data.OpenID, []string{"o10000"}) || pages[2].Count != 0 {
		t.Errorf("%d, %d, %+v, %+v", pages[0].Total, pages[0].Count, pages[1], pages[2])
	}
	for path, want := range map[string]string{
		"info?openid=gone": `"unionid":"u9"`, "info?openid=stranger": `"subscribe":1`, "info?openid=": `"errcode":40003`,
		"get?next_openid=nobody": `"errcode":40003`,
	} {
		if answer, err := f.try("GET", "/cgi-bin/user/"+path+"&access_token="+token, ""); err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%s: %s, %v", path, answer, err)
		}
	}
	answer, err := f.try("POST", "/cgi-bin/user/info/batchget?access_token="+token, `{"user_list":[{"openid":"gone"},{"openid":"o1"}]}`)
	if err != nil || strings.Count(string(answer), `"openid"`) != 2 || !strings.Contains(string(answer), `"subscribe":0`) {
		t.Errorf("%s, %v", answer, err)
	}
	if got := f.do("POST", "/cgi-bin/user/info/batchget?access_token="+token, `{"user_list":[`+strings.Repeat(`{"openid":"o"},`, 100)+`{"openid":"o"}]}`); got.Errcode != 40097 {
		t.Errorf("101 users: %+v", got)
	}
}

func TestOps(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	for _, path := range []string{"/cgi-bin/getcallbackip", "/cgi-bin/get_api_domain_ip"} {
		if answer, err := f.try("GET", path+"?access_token="+token, ""); err != nil || !strings.Contains(string(answer), `"ip_list":["127.0.0.1"`) {
			t.Errorf("%s, %v", answer, err)
		}
	}
	check := "/cgi-bin/callback/check?access_token=" + token
	for body, want := range map[string]string{
		`{"action":"all","check_operator":"DEFAULT"}`:  `"package_loss":"0%"`,
		`{"action":"dns","check_operator":"CHINANET"}`: `"real_operator"`,
		`{"action":"run","check_operator":"DEFAULT"}`:  `"errcode":40097`,
		`{"action":"dns","check_operator":"ME"}`:       `"errcode":40097`,
	} {
		if answer, err := f.try("POST", check, body); err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%s: %s, %v", body, answer, err)
		}
	}
	f.SetAnswer(simulator.Where{Path: "/cgi-bin/callback/check"}, simulator.Answer{Body: []byte(`{"errcode":-1}`)})
	if got := f.do("POST", check, "{}"); got.Errcode != -1 || f.Count(simulator.Where{Path: "/cgi-bin/callback/check"}).Executed != 2 {
		t.Errorf("%+v", got)
	}
}

func TestRID(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	f.Set(simulator.App{ID: "wx2", Secret: "two"})
	token := f.stable(false).AccessToken
	theirs := f.do("GET", "/cgi-bin/token?grant_type=client_credential&appid=wx2&secret=two", "").AccessToken
	failed := f.do("POST", "/cgi-bin/message/custom/send?lang=zh&access_token="+token, `{"touser":""}`)
	_, rid, ok := strings.Cut(failed.Errmsg, " rid: ")
	if !ok {
		t.Fatalf("%+v", failed)
	}
	ask := func(token, rid string) string {
		answer, err := f.try("POST", "/cgi-bin/openapi/rid/get?access_token="+token, `{"rid":"`+rid+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	if told := ask(token, rid); !strings.Contains(told, `"request_url":"lang=zh"`) || !strings.Contains(told, "40003") || strings.Contains(told, token) {
		t.Error(told)
	}
	for told, want := range map[string]string{ask(theirs, rid): "76003", ask(token, "nonsense"): "76002", ask(token, "00000000-00000000-00000000"): "76001"} {
		if !strings.Contains(told, want) {
			t.Errorf("%s isn't %s", told, want)
		}
	}
}
