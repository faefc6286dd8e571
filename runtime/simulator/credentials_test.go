package simulator_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

func TestForcedRefresh(t *testing.T) {
	f := newFake(t, simulator.Rules{ForceDaily: 2})
	first := f.stable(false).AccessToken
	second := f.stable(true).AccessToken
	if second == first || f.works(first) != 0 {
		t.Fatal("forced: the same token, or the old one doesn't work in the overlap")
	}
	if third := f.stable(true).AccessToken; third != second {
		t.Error("within 30 s it was refreshed again")
	}
	f.pass(30 * time.Second)
	third := f.stable(true).AccessToken
	if third == second || f.works(second) != 0 || f.works(third) != 0 {
		t.Error("after 30 s: the same token, or one of the last two doesn't work")
	}
	if code := f.works(first); code != 40001 {
		t.Errorf("the token before the last one: %d", code)
	}
	f.pass(30 * time.Second)
	if got := f.stable(true); got.Errcode != 45009 {
		t.Errorf("more than the daily number: %+v", got)
	}
	if got := f.stable(false); got.AccessToken != third {
		t.Errorf("the normal call after that: %+v", got)
	}
	f.pass(24 * time.Hour)
	if got := f.stable(true); got.Errcode != 0 || !f.lastFetch(simulator.StableToken).Forced {
		t.Errorf("the day after: %+v", got)
	}
}

func (f *fake) lastFetch(kind simulator.Kind) simulator.Fetch {
	f.t.Helper()
	all := f.Fetches(appID, kind)
	if len(all) == 0 {
		f.t.Fatal("no fetch")
	}
	return all[len(all)-1]
}

func TestInvalidate(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	plain, stable := f.plain().AccessToken, f.stable(false).AccessToken
	f.Invalidate(appID)
	if a, b := f.works(plain), f.works(stable); a != 40001 || b != 40001 {
		t.Errorf("%d, %d", a, b)
	}
	next := f.stable(false).AccessToken
	if next == stable || f.works(next) != 0 {
		t.Error("stable_token doesn't give another one that works")
	}
	if n := len(f.Fetches(appID, "")); n != 3 {
		t.Errorf("%d fetches: somebody else's is among them", n)
	}
	f.FetchElsewhere(appID, simulator.StableToken)
	if f.works(next) != 0 || f.stable(false).AccessToken == next {
		t.Error("the token doesn't overlap with somebody else's, or is still the newest")
	}
	f.pass(5 * time.Minute)
	if code := f.works(next); code != 40001 {
		t.Errorf("after the overlap: %d", code)
	}
}

func TestSpoil(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	first := f.stable(false).AccessToken
	f.Spoil(appID)
	if code := f.works(first); code != 40001 {
		t.Errorf("%d", code)
	}
	if again := f.stable(false).AccessToken; again != first {
		t.Error("the normal call doesn't give the spoilt token")
	}
	if next := f.stable(true).AccessToken; next == first || f.works(next) != 0 || f.works(first) != 40001 {
		t.Error("the forced call doesn't heal it")
	}
}

func TestTokenIsRefused(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	for query, want := range map[string]int{
		"": 41001, "access_token=": 41001, "access_token=short": 40014,
		"access_token=" + strings.Repeat("x", 136): 40001, "access_token=" + token: 0,
	} {
		got := f.do("GET", "/cgi-bin/menu/get?"+query, "")
		if got.Errcode != want || want != 0 && !strings.Contains(got.Errmsg, " rid: ") {
			t.Errorf("%.30s: %+v", query, got)
		}
	}
	n := f.Count(simulator.Where{Path: "/cgi-bin/menu/get"})
	if n.Calls != 5 || n.Executed != 1 || n.Tokens[simulator.Unknown] != 2 || n.Tokens[""] != 2 || n.Tokens[simulator.Current] != 1 {
		t.Errorf("%+v", n)
	}
}

func TestAppIsRefused(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	for _, c := range []struct {
		grant, app, secret string
		want               int
	}{
		{"", appID, secret, 40002},
		{"client_credential", "", secret, 41002},
		{"client_credential", appID, "", 41004},
		{"client_credential", "wx9", secret, 40013},
		{"client_credential", appID, "wrong", 40125},
	} {
		q := url.Values{"grant_type": {c.grant}, "appid": {c.app}, "secret": {c.secret}}
		if got := f.do("GET", "/cgi-bin/token?"+q.Encode(), ""); got.Errcode != c.want || got.AccessToken != "" {
			t.Errorf("%v: %+v", c, got)
		}
		body := `{"grant_type":"` + c.grant + `","appid":"` + c.app + `","secret":"` + c.secret + `"}`
		if got := f.do("POST", "/cgi-bin/stable_token", body); got.Errcode != c.want || got.AccessToken != "" {
			t.Errorf("%v: %+v", c, got)
		}
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/cgi-bin/stable_token", "", 43002},
		{"POST", "/cgi-bin/token", "{}", 43001},
		{"POST", "/cgi-bin/stable_token", "", 44002},
		{"POST", "/cgi-bin/stable_token", "appid=" + appID, 47001},
		{"POST", "/cgi-bin/stable_token", "[]", 47001},
		{"POST", "/cgi-bin/stable_token", `{"appid":`, 47001},
	} {
		if got := f.do(c.method, c.path, c.body); got.Errcode != c.want {
			t.Errorf("%v: %+v", c, got)
		}
	}
}

func TestAllowList(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	app := simulator.App{ID: appID, Secret: secret, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	f.Set(app)
	want := "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "
	for _, got := range []said{f.stable(false), f.plain(), f.do("GET", "/cgi-bin/menu/get?access_token="+token, "")} {
		if got.Errcode != 40164 || !strings.HasPrefix(got.Errmsg, want) {
			t.Errorf("%+v", got)
		}
	}
	app.Allow = append(app.Allow, netip.MustParsePrefix("127.0.0.1/32"))
	f.Set(app)
	if got := f.stable(false); got.AccessToken != token {
		t.Errorf("allowed, with the tokens kept: %+v", got)
	}
}

func TestAppsAreApart(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	f.Set(simulator.App{ID: "wx2", Secret: "two"})
	mine := f.stable(false).AccessToken
	theirs := f.do("GET", "/cgi-bin/token?grant_type=client_credential&appid=wx2&secret=two", "").AccessToken
	f.Invalidate("wx2")
	if f.works(mine) != 0 || f.works(theirs) != 40001 {
		t.Error("one app's tokens are voided with the other's")
	}
	if app, state := f.TokenState(theirs); app != "wx2" || state != simulator.Voided {
		t.Error(app, state)
	}
	for _, value := range []string{mine, theirs, secret, "two"} {
		if !slices.Contains(f.Issued(), value) {
			t.Errorf("%q isn't among what was issued", value)
		}
	}
}

func TestTicketsLiveOn(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	path := "/cgi-bin/ticket/getticket?type=jsapi&access_token="
	first := f.do("GET", path+token, "").Ticket
	f.Invalidate(appID)
	if got := f.do("GET", path+token, ""); got.Errcode != 40001 {
		t.Errorf("with a void token: %+v", got)
	}
	second := f.do("GET", path+f.stable(false).AccessToken, "").Ticket
	for _, value := range []string{first, second} {
		if _, kind, state := f.TicketState(value); kind != simulator.JSTicket || state != simulator.Current {
			t.Error(kind, state)
		}
	}
	if got := f.do("GET", "/cgi-bin/ticket/getticket?type=x&access_token="+f.stable(false).AccessToken, ""); got.Errcode != 40097 {
		t.Errorf("%+v", got)
	}
	if all := f.Fetches(appID, simulator.JSTicket); len(all) != 4 || !all[0].New || all[1].Executed || all[1].Errcode != 40001 {
		t.Errorf("%+v", all)
	}
}

func TestTokenEnds(t *testing.T) {
	f := newFake(t, simulator.Rules{Life: time.Hour, Overlap: time.Minute})
	if !f.TokenEnds("none").IsZero() {
		t.Error("a value that was never given has an end")
	}
	first := f.stable(false).AccessToken
	whole := f.TokenEnds(first)
	f.pass(time.Minute)
	f.FetchElsewhere(appID, simulator.StableToken)
	early := f.TokenEnds(first)
	if got := whole.Sub(early); got != time.Hour-2*time.Minute {
		t.Errorf("a newer token ends it %v earlier", got)
	}
	f.pass(time.Minute - 1)
	if f.works(first) != 0 {
		t.Error("it does not work until its end")
	}
	f.pass(1)
	if f.works(first) == 0 {
		t.Error("it works after its end")
	}
}
