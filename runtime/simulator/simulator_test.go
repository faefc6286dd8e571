package simulator_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

const (
	appID  = "wx0123456789abcdef"
	secret = "0123456789abcdef0123456789abcdef"
)

// fake is a simulator that listens, with one app and a clock that is set by
// hand.
type fake struct {
	*simulator.WeChat
	t   *testing.T
	url string

	mu  sync.Mutex
	now time.Time
}

func newFake(t *testing.T, rules simulator.Rules) *fake {
	t.Helper()
	f := &fake{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	f.WeChat = simulator.New(simulator.Options{Now: f.clock, Seed: 7})
	f.Set(simulator.App{ID: appID, Secret: secret, Rules: rules})
	server := httptest.NewServer(f.WeChat)
	f.url = server.URL
	t.Cleanup(server.Close)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fake) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

// said is what an answer may hold.
type said struct {
	Errcode     int
	Errmsg      string
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	Ticket      string
	MediaID     string `json:"media_id"`
	Type        string
}

// do makes a call that is answered.
func (f *fake) do(method, path, body string) said {
	f.t.Helper()
	answer, err := f.try(method, path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	var got said
	if err := json.Unmarshal(answer, &got); err != nil {
		f.t.Fatalf("%s %s answers %q: %v", method, path, answer, err)
	}
	return got
}

func (f *fake) try(method, path, body string) ([]byte, error) {
	f.t.Helper()
	var from io.Reader // none: the server is to see a length of 0
	if body != "" {
		from = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, from)
	if err != nil {
		f.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(answer.Status)
	}
	return io.ReadAll(answer.Body)
}

func (f *fake) plain() said {
	f.t.Helper()
	return f.do("GET", "/cgi-bin/token?"+url.Values{"grant_type": {"client_credential"}, "appid": {appID}, "secret": {secret}}.Encode(), "")
}

func (f *fake) stable(force bool) said {
	f.t.Helper()
	body, err := json.Marshal(map[string]any{"grant_type": "client_credential", "appid": appID, "secret": secret, "force_refresh": force})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.do("POST", "/cgi-bin/stable_token", string(body))
}

// works says what errcode a call with a token is answered with.
func (f *fake) works(token string) int {
	f.t.Helper()
	return f.do("GET", "/cgi-bin/anything?access_token="+token, "").Errcode
}

func TestPlainTokensVoidEachOther(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	first := f.plain()
	if first.ExpiresIn != 7200 || f.works(first.AccessToken) != 0 {
		t.Fatalf("%+v", first)
	}
	second := f.plain()
	if second.AccessToken == first.AccessToken || f.works(first.AccessToken) != 0 || f.works(second.AccessToken) != 0 {
		t.Fatal("the second token is the first one, or one of them doesn't work in the overlap")
	}
	f.pass(5 * time.Minute)
	if code := f.works(first.AccessToken); code != 40001 {
		t.Errorf("after the overlap: %d", code)
	}
	f.pass(2 * time.Hour)
	if code := f.works(second.AccessToken); code != 42001 {
		t.Errorf("after its life: %d", code)
	}
}

func TestRulesOfATest(t *testing.T) {
	f := newFake(t, simulator.Rules{Life: 2 * time.Second, Overlap: -1})
	first := f.plain()
	if second := f.plain(); f.works(first.AccessToken) != 40001 || f.works(second.AccessToken) != 0 {
		t.Error("without an overlap the first token works on")
	}
	stable := f.stable(false)
	f.pass(1799 * time.Millisecond)
	if again := f.stable(false); again.AccessToken != stable.AccessToken || again.ExpiresIn != 0 {
		t.Errorf("before the last tenth: %+v", again)
	}
	f.pass(time.Millisecond)
	if next := f.stable(false); next.AccessToken == stable.AccessToken || next.ExpiresIn != 2 {
		t.Errorf("in the last tenth: %+v", next)
	}
}

func TestStableTokenStays(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	first := f.stable(false)
	f.pass(time.Hour)
	again := f.stable(false)
	if again.AccessToken != first.AccessToken || again.ExpiresIn != 3600 {
		t.Fatalf("%+v", again)
	}
	plain := f.plain()
	if f.works(first.AccessToken) != 0 || f.works(plain.AccessToken) != 0 {
		t.Fatal("the plain call voids the stable token")
	}
	f.pass(55 * time.Minute)
	next := f.stable(false)
	if next.AccessToken == first.AccessToken || next.ExpiresIn != 7200 || f.works(first.AccessToken) != 0 {
		t.Fatalf("5 minutes before its end: %+v", next)
	}
	f.pass(5 * time.Minute)
	if code := f.works(first.AccessToken); code != 42001 {
		t.Errorf("after its life: %d", code)
	}
	fetches := f.Fetches(appID, simulator.StableToken)
	if len(fetches) != 3 || !fetches[0].New || fetches[1].New || !fetches[2].New || !fetches[1].Executed {
		t.Errorf("%+v", fetches)
	}
}

func TestTickets(t *testing.T) {
	f := newFake(t, simulator.Rules{Life: 2 * time.Second})
	token := f.stable(false).AccessToken
	got := f.do("GET", "/cgi-bin/ticket/getticket?type=wx_card&access_token="+token, "")
	if got.Errcode != 0 || got.ExpiresIn != 2 {
		t.Fatalf("%+v", got)
	}
	if app, kind, state := f.TicketState(got.Ticket); app != appID || kind != simulator.CardTicket || state != simulator.Current {
		t.Error(app, kind, state)
	}
	f.pass(2 * time.Second)
	if _, _, state := f.TicketState(got.Ticket); state != simulator.Expired {
		t.Error(state)
	}
}

func TestFaults(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	path := "/cgi-bin/menu/get?access_token=" + token
	f.Strike(simulator.Fault{Where: simulator.Where{App: appID, Path: "/cgi-bin/*/get"}, Times: 2, Errcode: -1})
	for i, want := range []int{-1, -1, 0} {
		if got := f.do("GET", path, ""); got.Errcode != want {
			t.Errorf("call %d: %+v", i, got)
		}
	}
	f.Strike(simulator.Fault{Times: 1, Ends: simulator.CutAfter})
	if _, err := f.try("POST", path, "{}"); err == nil {
		t.Error("the connection wasn't cut")
	}
	n := f.Count(simulator.Where{Path: "/cgi-bin/menu/get"})
	if n.Calls != 4 || n.Executed != 2 || n.Errcodes[-1] != 2 || n.Outcomes["cut_after"] != 1 || n.Stale != 0 {
		t.Errorf("%+v", n)
	}
}
