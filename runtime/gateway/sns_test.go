package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

func (f *fake) sns(base string) *SNS {
	return f.API.host.SNS(SNSConfig{App: "shop", AppID: "wx0", Secret: "app-s3cret", Base: base})
}

// TestSNS: a code is exchanged with the app's secret, once, whatever the caller has
// in the query.
func TestSNS(t *testing.T) {
	f := newFake(t)
	f.SetUser("wx0", simulator.User{OpenID: "o1", UnionID: "u1"})
	code := f.NewCode("wx0", simulator.LoginCode, "o1", "")
	query := url.Values{"js_code": {code}, "grant_type": {"authorization_code"}, "secret": {"mine"}, "appid": {"wx9"}}
	said, err := f.sns(f.source.base).Get(t.Context(), "/sns/jscode2session", query)
	var user struct{ OpenID, UnionID string }
	if err != nil || json.Unmarshal(said, &user) != nil || user.OpenID != "o1" || user.UnionID != "u1" {
		t.Fatalf("%v, %+v", err, user)
	}
	if query.Get("secret") != "mine" {
		t.Error("the caller's query was changed")
	}
	_, err = f.sns(f.source.base).Get(t.Context(), "/sns/jscode2session", query)
	var sns *SNSError
	if !errors.As(err, &sns) || sns.Errcode() != 40163 || !errors.Is(err, ErrCode) {
		t.Errorf("a code that was used: %v", err)
	}
}

// TestSNSFails: each failure has its kind, is sent once, and its text has neither
// secret nor code.
func TestSNSFails(t *testing.T) {
	f := newFake(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sns/redirect":
			http.Redirect(w, r, f.source.base+"/sns/jscode2session?"+r.URL.RawQuery, http.StatusFound)
		case "/sns/large":
			_, _ = w.Write([]byte(`{"openid":"` + strings.Repeat("o", maxTokenAnswer) + `"}`))
		case "/sns/list":
			_, _ = w.Write([]byte(`["s3cret"]`))
		case "/sns/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"openid":"o1`))
		}
	}))
	t.Cleanup(other.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, c := range []struct {
		name, base, path string
		errcode          int // of a fault
		want             error
	}{
		{"an unknown code", f.source.base, "/sns/jscode2session", 0, ErrCode},
		{"an expired one", f.source.base, "/sns/jscode2session", 42003, ErrCode},
		{"a user who may not", f.source.base, "/sns/jscode2session", 40226, ErrCode},
		{"busy", f.source.base, "/sns/jscode2session", -1, ErrSNSBusy},
		{"too often", f.source.base, "/sns/jscode2session", 45011, ErrSNSBusy},
		{"the day's quota", f.source.base, "/sns/jscode2session", 45009, ErrSNSBusy},
		{"a wrong secret", f.source.base, "/sns/jscode2session", 40125, ErrSNSRefused},
		{"an unknown address", f.source.base, "/sns/jscode2session", 40164, ErrSNSRefused},
		{"an errcode of another kind", f.source.base, "/sns/jscode2session", 47001, ErrSNS},
		{"a redirect", other.URL, "/sns/redirect", 0, ErrSNS},
		{"a large answer", other.URL, "/sns/large", 0, ErrSNS},
		{"no object", other.URL, "/sns/list", 0, ErrSNS},
		{"a cut answer", other.URL, "/sns/cut", 0, ErrSNS},
		{"nobody there", gone.URL, "/sns/jscode2session", 0, ErrSNS},
		{"no address", "http://%zz", "/sns/jscode2session", 0, ErrSNS},
	} {
		if c.errcode != 0 {
			f.Strike(simulator.Fault{Where: simulator.Where{Path: "/sns/**"}, Times: 1, Errcode: c.errcode})
		}
		before := f.Count(simulator.Where{Path: "/sns/**"}).Calls
		said, err := f.sns(c.base).Get(t.Context(), c.path, url.Values{"js_code": {"c0de"}, "grant_type": {"authorization_code"}})
		if !errors.Is(err, c.want) || said != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "c0de") {
			t.Errorf("%s: %v", c.name, err)
		}
		sent := f.Count(simulator.Where{Path: "/sns/**"}).Calls - before
		if want := map[bool]int{true: 1}[c.base == f.source.base]; int(sent) != want {
			t.Errorf("%s: %d calls, want %d", c.name, sent, want)
		}
	}
}

// TestSNSSentOnce: a connection that was used before and is cut when WeChat has the
// code doesn't have it sent again: WeChat would say that it was used.
func TestSNSSentOnce(t *testing.T) {
	var sent, connections atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 || r.ContentLength != 0 || r.TransferEncoding != nil || r.Header.Get("Content-Length") != "" {
			t.Errorf("a GET with a body: %s %v", r.Proto, r.Header)
		}
		if r.URL.Path == "/sns/cut" {
			sent.Add(1)
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte(`{"openid":"o1"}`))
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	apis := NewAPIs(APIsConfig{TLS: &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}})
	t.Cleanup(apis.Close)
	sns := apis.SNS(SNSConfig{App: "shop", AppID: "wx0", Secret: "s3cret", Base: srv.URL})
	for range 3 {
		if _, err := sns.Get(t.Context(), "/sns/fine", nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for calls one after another", n)
	}
	if _, err := sns.Get(t.Context(), "/sns/cut", nil); !errors.Is(err, ErrSNS) {
		t.Error(err)
	}
	if n := sent.Load(); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

// TestSNSAtOnce: of an app so many calls are under way and no more; who waits
// longer than it may is told to try later.
func TestSNSAtOnce(t *testing.T) {
	came, release := make(chan struct{}, 2*snsAtOnce), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		came <- struct{}{}
		<-release
		_, _ = w.Write([]byte(`{"openid":"o1"}`))
	}))
	t.Cleanup(slow.Close)
	apis := NewAPIs(APIsConfig{})
	t.Cleanup(apis.Close)
	sns := apis.SNS(SNSConfig{App: "shop", AppID: "wx0", Secret: "s3cret", Base: slow.URL})
	var all sync.WaitGroup
	for range snsAtOnce {
		all.Go(func() {
			if _, err := sns.Get(t.Context(), "/sns/jscode2session", nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range snsAtOnce {
		<-came
	}
	short, end := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer end()
	if _, err := sns.Get(short, "/sns/jscode2session", nil); !errors.Is(err, ErrSNSBusy) {
		t.Errorf("one too many: %v", err)
	}
	close(release)
	all.Wait()
	if _, err := sns.Get(t.Context(), "/sns/jscode2session", nil); err != nil {
		t.Errorf("after the others have ended: %v", err)
	}
	if n := len(came); n != 1 {
		t.Errorf("%d more calls came, want 1", n)
	}
}

// FuzzSNSAnswer: whatever WeChat's address answers, an error never shows it.
func FuzzSNSAnswer(f *testing.F) {
	f.Add([]byte(`{"openid":"o1","session_key":"k"}`), 200)
	f.Add([]byte("{\"errcode\":40029,\"errmsg\":\"invalid code rid: 12345678-12345678-12345678\"}\n"), 200)
	f.Add([]byte(`{"errcode":"x"}`), 200)
	f.Add([]byte("\x00[}"), 500)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if status < 200 || status > 599 {
			status = 200
		}
		apis := NewAPIs(APIsConfig{})
		t.Cleanup(apis.Close)
		apis.logins.RegisterProtocol("fake", oneAnswer{body, status})
		said, err := apis.SNS(SNSConfig{App: "shop", AppID: "wx0", Secret: "app-s3cret", Base: "fake://x"}).Get(t.Context(), "/sns/x", nil)
		if err == nil && !json.Valid(said) {
			t.Errorf("%q", said)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || len(err.Error()) > 1000) {
			t.Error(err)
		}
	})
}

// oneAnswer is a RoundTripper with one answer.
type oneAnswer struct {
	body   []byte
	status int
}

func (a oneAnswer) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Code = a.status
	_, _ = w.Body.Write(a.body)
	return w.Result(), nil
}
