package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// probed is a probe before a fake WeChat with one app.
func probed(t *testing.T, app simulator.App) (Probe, CredentialConfig, *simulator.WeChat) {
	t.Helper()
	w := simulator.New(simulator.Options{})
	w.Set(app)
	srv := httptest.NewServer(w)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() { client.CloseIdleConnections(); w.Close(); srv.Close() })
	config := CredentialConfig{Source: FromWeChat, AppID: testAppID, Secret: testAppSecret, Base: srv.URL}
	return Probe{Client: client, Base: srv.URL}, config, w
}

// TestProbe: two probes get the token that is in use, and call with it.
func TestProbe(t *testing.T) {
	p, c, w := probed(t, simulator.App{ID: testAppID, Secret: testAppSecret})
	first, said, err := p.Token(t.Context(), c, nil)
	if err != nil || said.Errcode.Code != 0 || time.Since(said.Date).Abs() > time.Minute {
		t.Fatalf("%+v, %v", said.Errcode, err)
	}
	again, _, err := p.Token(t.Context(), c, nil)
	if err != nil || again != first {
		t.Errorf("another token, or none: %v", err)
	}
	if _, state := w.TokenState(first); state != simulator.Current {
		t.Errorf("the token is %s", state)
	}
	said, err = p.Call(t.Context(), "/cgi-bin/callback/check", first, map[string]string{"action": "all", "check_operator": "DEFAULT"})
	var told struct{ DNS []struct{ IP string } }
	if err != nil || said.Decode(&told) != nil || len(told.DNS) != 1 || told.DNS[0].IP != "192.0.2.10" {
		t.Errorf("%+v, %s, %v", told, said.Body, err)
	}
	if said, err = p.Call(t.Context(), "/cgi-bin/getcallbackip", "", nil); err != nil || said.Errcode.Code != 41001 || said.Date.IsZero() {
		t.Errorf("without a token: %+v, %v", said.Errcode, err)
	}
	for _, f := range w.Fetches(testAppID, simulator.StableToken) {
		if f.Forced {
			t.Error("a probe forced another token")
		}
	}
	c.Plain = true
	if _, _, err := p.Token(t.Context(), c, nil); err == nil || len(w.Fetches(testAppID, simulator.PlainToken)) > 0 {
		t.Errorf("a plain source was asked: %v", err)
	}
}

// TestProbeRefused: what WeChat says, and the address that it doesn't know.
func TestProbeRefused(t *testing.T) {
	p, c, w := probed(t, simulator.App{ID: testAppID, Secret: testAppSecret, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	_, said, err := p.Token(t.Context(), c, nil)
	if err != nil || said.Errcode.Code != 40164 || said.Address != netip.MustParseAddr("127.0.0.1") || said.Rid == "" {
		t.Errorf("%+v, %v", said, err)
	}
	c.Secret = "another"
	if _, said, err = p.Token(t.Context(), c, nil); err != nil || said.Errcode.Code != 40125 || said.Address.IsValid() {
		t.Errorf("%+v, %v", said, err)
	}
	w.Strike(simulator.Fault{Ends: simulator.Garbage})
	if _, _, err = p.Token(t.Context(), c, nil); err == nil {
		t.Error("garbage was taken for an answer")
	}
	w.SetDown(true)
	if _, _, err = p.Token(t.Context(), c, nil); err == nil {
		t.Error("a cut connection was taken for an answer")
	} else if text := err.Error(); strings.Contains(text, "another") || strings.Contains(text, "http") {
		t.Errorf("the error has what was sent: %s", text)
	}
}

// TestProbeOthers: another system's token is read once; the error of an upstream
// that is fenced in says so.
func TestProbeOthers(t *testing.T) {
	var p Probe
	keys := &foreign{value: "theirs"}
	token, _, err := p.Token(t.Context(), CredentialConfig{Source: FromRedis, Keys: map[CredentialKind]string{AccessToken: "wx:token"}}, keys)
	if err != nil || token != "theirs" {
		t.Errorf("%v", err)
	}
	fenced := &Error{upstream: "tokens", result: resultFenced, err: ErrFenced}
	_, _, err = p.Token(t.Context(), CredentialConfig{Source: FromHTTP, Service: failing{fenced}}, nil)
	if err == nil || !strings.Contains(err.Error(), fenced.Error()) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Exchange(context.Context, string, string, []byte) (int, []byte, error) {
	return 0, nil, f.err
}

// answering answers every request.
type answering string

func (a answering) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

// FuzzProbed: whatever WeChat answers, what is kept of it to be shown is harmless.
func FuzzProbed(f *testing.F) {
	f.Add(`{"errcode":40164,"errmsg":"invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist rid: 5f8a3b1c-12345678-12345678"}`)
	f.Add(`{"access_token":"x","expires_in":7200}`)
	f.Add("{\"errcode\":\"40013\",\"errmsg\":\"\x07 rid: \x1b[2J\"}")
	f.Add(`[1]`)
	f.Fuzz(func(t *testing.T, answer string) {
		p := Probe{Base: "http://127.0.0.1", Client: answering(answer)}
		said, err := p.Call(t.Context(), "/", "", nil)
		if err == nil && !json.Valid(readable(said.Body)) {
			t.Errorf("%q was taken for an answer", answer)
		}
		for _, r := range fmt.Sprint(said.Rid, said.Address) {
			if r < ' ' || r > '~' {
				t.Errorf("%q is kept of %q", r, answer)
			}
		}
	})
}
