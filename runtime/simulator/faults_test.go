package simulator_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// get makes a call and reads what comes of it.
func (f *fake) get(ctx context.Context, path string) (*http.Response, []byte, error) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

func TestEnds(t *testing.T) {
	const sendPath = "/cgi-bin/message/custom/send"
	message := `{"touser":"o1","msgtype":"text","text":{"content":"` + strings.Repeat("x", 5000) + `"}}`
	for _, c := range []struct {
		fault    simulator.Fault
		executed bool
		fails    bool
	}{
		{simulator.Fault{Ends: simulator.CutBefore}, false, true},
		{simulator.Fault{Ends: simulator.CutAfter}, true, true},
		{simulator.Fault{Ends: simulator.Truncated, Size: 5}, true, true},
		{simulator.Fault{Ends: simulator.Truncated}, true, true},
		{simulator.Fault{Ends: simulator.BadGateway}, false, true},
		{simulator.Fault{Ends: simulator.Garbage}, false, false},
		{simulator.Fault{Ends: simulator.Huge, Size: 1 << 20}, true, false},
		{simulator.Fault{Ends: simulator.Slow, Size: 4, Pause: time.Microsecond}, true, false},
		{simulator.Fault{Errcode: -1}, false, false},
		{simulator.Fault{Errcode: -1, Ends: simulator.CutAfter}, false, true},
	} {
		f := newFake(t, simulator.Rules{})
		token := f.stable(false).AccessToken
		c.fault.Path, c.fault.Times = sendPath, 1
		f.Strike(c.fault)
		answer, err := f.try("POST", sendPath+"?access_token="+token, message)
		if (err != nil) != c.fails {
			t.Errorf("%s: %.50q, %v", c.fault.Ends, answer, err)
		}
		switch c.fault.Ends {
		case simulator.Huge:
			if len(answer) != 1<<20 {
				t.Errorf("huge: %d bytes", len(answer))
			}
		case simulator.Slow:
			if !bytes.Contains(answer, []byte(`"errcode":0`)) {
				t.Errorf("slow: %q", answer)
			}
		}
		n := f.Count(simulator.Where{Path: sendPath})
		if n.Calls != 1 || (n.Executed == 1) != c.executed {
			t.Errorf("%s %d: %+v", c.fault.Ends, c.fault.Errcode, n)
		}
		if got := f.do("POST", sendPath+"?access_token="+token, message); got.Errcode != 0 {
			t.Errorf("after %s: %+v", c.fault.Ends, got)
		}
	}
}

func TestHang(t *testing.T) {
	for _, end := range []simulator.End{simulator.HangBefore, simulator.HangAfter} {
		f := newFake(t, simulator.Rules{})
		token := f.stable(false).AccessToken
		f.Strike(simulator.Fault{Ends: end, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, err := f.get(ctx, "/cgi-bin/user/get?access_token="+token)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", end, err)
		}
		if n := f.Count(simulator.Where{Path: "/cgi-bin/user/get"}); n.Calls != 1 || (n.Executed == 1) != (end == simulator.HangAfter) {
			t.Errorf("%s: %+v", end, n)
		}
	}
}

// TestCloseEndsWhatHangs: a server over a closed simulator can be closed.
func TestCloseEndsWhatHangs(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	f.Strike(simulator.Fault{Ends: simulator.HangAfter, Where: simulator.Where{Path: "/hang"}})
	f.Strike(simulator.Fault{Delay: time.Hour, Where: simulator.Where{Path: "/delay"}})
	ends := make(chan error, 2)
	for _, path := range []string{"/hang", "/delay"} {
		go func() {
			_, _, err := f.get(t.Context(), path+"?access_token="+token)
			ends <- err
		}()
	}
	f.until(func() bool { return f.Count(simulator.Where{Path: "/hang"}).Calls == 1 })
	f.Close()
	f.Close()
	for range 2 {
		if err := <-ends; err == nil {
			t.Error("a call that hung was answered")
		}
	}
}

// until waits for what another goroutine does.
func (f *fake) until(done func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatal("it doesn't come")
		}
	}
}

// TestTokenEndsDuringADelay: a token is looked at when the call is executed.
func TestTokenEndsDuringADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(simulator.Options{})
		w.Set(simulator.App{ID: appID, Secret: secret})
		token := issue(t, w)
		w.Strike(simulator.Fault{Delay: 2 * time.Hour, Times: 1})
		if code, _ := took(w, token); code != "42001" {
			t.Error(code)
		}
	})
}

// took makes a call without a network, in a bubble, and says what it was
// answered, and after what time.
func took(w *simulator.WeChat, token string) (errcode string, d time.Duration) {
	start, answer := time.Now(), httptest.NewRecorder()
	w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/cgi-bin/x?access_token="+token, nil))
	errcode, _, _ = strings.Cut(strings.TrimPrefix(answer.Body.String(), `{"errcode":`), ",")
	return errcode, time.Since(start)
}

func TestDown(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	f.SetDown(true)
	if _, _, err := f.get(t.Context(), "/cgi-bin/token?appid="+appID); err == nil {
		t.Error("it answers")
	}
	f.SetDown(false)
	if f.works(token) != 0 || len(f.Fetches(appID, simulator.PlainToken)) != 0 {
		t.Error("it isn't up again, or saw a fetch while it was down")
	}
}

// TestFetchWhoseAnswerIsLost: WeChat gave a token that nobody has.
func TestFetchWhoseAnswerIsLost(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	lost := f.Strike(simulator.Fault{Where: simulator.Where{App: appID, Path: "/cgi-bin/stable_token"}, Ends: simulator.CutAfter})
	if _, err := f.try("POST", "/cgi-bin/stable_token", `{"grant_type":"client_credential","appid":"`+appID+`","secret":"`+secret+`"}`); err == nil {
		t.Fatal("it was answered")
	}
	lost()
	if one := f.lastFetch(simulator.StableToken); !one.New || !one.Executed || one.Outcome != "cut_after" {
		t.Errorf("%+v", one)
	}
	f.stable(false)
	if one := f.lastFetch(simulator.StableToken); one.New {
		t.Errorf("%+v", one)
	}
}

// TestShare: 30 % answer -1, and of the rest 10 % are cut.
func TestShare(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	f.Strike(simulator.Fault{Share: 0.3, Errcode: -1})
	f.Strike(simulator.Fault{Share: 0.1, Ends: simulator.CutBefore})
	const calls = 2000
	for range calls {
		f.try("POST", "/cgi-bin/x?access_token="+token, "{}")
	}
	n := f.Count(simulator.Where{Path: "/cgi-bin/x"})
	if busy := n.Outcomes["errcode"]; busy < 520 || busy > 680 {
		t.Errorf("%d of %d answer -1", busy, calls)
	}
	if cut := n.Outcomes["cut_before"]; cut < 90 || cut > 190 {
		t.Errorf("%d of %d were cut", cut, calls)
	}
	if n.Calls != calls || n.Executed != n.Outcomes["ok"] {
		t.Errorf("%+v", n)
	}
	f.LiftAll()
	if f.works(token) != 0 {
		t.Error("a fault is left")
	}
}

// TestDelaysAddUp: a call has the delays of its faults up to the first that ends
// it, and that end.
func TestDelaysAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(simulator.Options{})
		w.Set(simulator.App{ID: appID, Secret: secret})
		token := issue(t, w)
		w.Strike(simulator.Fault{Delay: time.Second})
		w.Strike(simulator.Fault{Delay: 2 * time.Second, Errcode: -1, Times: 1})
		w.Strike(simulator.Fault{Delay: 4 * time.Second, Errcode: 45011, Times: 1})
		w.Strike(simulator.Fault{Delay: 8 * time.Second})
		for i, want := range []struct {
			errcode string
			d       time.Duration
		}{{"-1", 11 * time.Second}, {"45011", 13 * time.Second}, {"0", 9 * time.Second}} {
			if errcode, d := took(w, token); errcode != want.errcode || d != want.d {
				t.Errorf("call %d: %s after %v", i, errcode, d)
			}
		}
	})
}
