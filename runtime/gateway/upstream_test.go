package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// client makes an Upstream for a test's server. It has a minute, far over what
// any test takes.
func client(t testing.TB, at string, change func(*UpstreamConfig)) *Upstream {
	t.Helper()
	c := UpstreamConfig{Name: "legacy", URL: at, Private: prefixes("127.0.0.0/8"), Timeout: time.Minute, Connections: 64}
	if change != nil {
		change(&c)
	}
	u, err := NewUpstream(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// fails posts and returns the error, whose reason and text must be these.
func fails(t *testing.T, u *Upstream, r *Request, reason, text string) {
	t.Helper()
	_, err := u.Post(t.Context(), r)
	var e *Error
	if !errors.As(err, &e) || e.Reason() != reason || !strings.Contains(err.Error(), text) || !strings.HasPrefix(err.Error(), "upstream legacy: ") {
		t.Errorf("got %v", err)
	}
}

// TestPostIsUntouched compares what is sent with what arrives, byte for byte.
func TestPostIsUntouched(t *testing.T) {
	var got *http.Request
	var gotBody []byte
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		gotBody, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", `Application/XML;charset="x"`)
		_, _ = w.Write([]byte("<xml>\x00\xff\r\n</xml> "))
	})
	body := []byte("\xef\xbb\xbf<xml>\r\n\x00\xff</xml>\n ")
	for _, c := range []struct{ own, query, contentType, uri string }{
		{"/a//b/../%2F%e4?own=1&x=%zz", "b=2&a=1&a=%2b+&#;=&&", "text/xml", "/a//b/../%2F%e4?own=1&x=%zz&b=2&a=1&a=%2b+&#;=&&"},
		{"/p", "a=1", "", "/p?a=1"},
		{"?own", "", "x/y; z", "/?own"},
		{"", "", "text/plain", "/"},
	} {
		u := client(t, at+c.own, func(u *UpstreamConfig) {
			u.Headers = map[string]string{"authorization": "Bearer x", "Host": "wx.acme.cn"}
			u.Secret = "s3cret"
		})
		answer, err := u.Post(t.Context(), &Request{Query: c.query, ContentType: c.contentType, Body: body, EventID: "0af7", Attempt: 2})
		if err != nil {
			t.Fatal(err)
		}
		if string(answer.Body) != "<xml>\x00\xff\r\n</xml> " || answer.ContentType != `Application/XML;charset="x"` {
			t.Errorf("answer %q of type %q", answer.Body, answer.ContentType)
		}
		if got.Method != "POST" || got.RequestURI != c.uri || !bytes.Equal(gotBody, body) || got.Host != "wx.acme.cn" {
			t.Errorf("got %s %s at %s: %q, want %s", got.Method, got.RequestURI, got.Host, gotBody, c.uri)
		}
		h := got.Header
		if types := h.Values("Content-Type"); c.contentType != "" && (len(types) != 1 || types[0] != c.contentType) || c.contentType == "" && types != nil {
			t.Errorf("Content-Type %q", types)
		}
		if h.Get("Authorization") != "Bearer x" || h.Get("Weft-Event-Id") != "0af7" || h.Get("Weft-Attempt") != "2" || h.Get("Accept-Encoding") != "" {
			t.Errorf("header %v", h)
		}
		checkSignature(t, h.Get("Weft-Signature"), "s3cret", gotBody)
	}
}

func checkSignature(t *testing.T, header, secret string, body []byte) {
	t.Helper()
	var unix int64
	var sum string
	if _, err := fmt.Sscanf(header, "t=%d,v1=%64s", &unix, &sum); err != nil {
		t.Fatalf("signature %q: %v", header, err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", unix, body)
	if off := time.Since(time.Unix(unix, 0)); sum != hex.EncodeToString(mac.Sum(nil)) || off < -time.Minute || off > time.Minute {
		t.Errorf("signature %q is not that of the body", header)
	}
}

func TestPostUnsigned(t *testing.T) {
	u := client(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Values("Weft-Signature") != nil || r.Header.Get("User-Agent") != "Weft" {
			w.WriteHeader(http.StatusTeapot)
		}
		w.Header()["Content-Type"] = nil
	}), nil)
	answer, err := u.Post(t.Context(), &Request{})
	if err != nil || len(answer.Body) != 0 || answer.ContentType != "" {
		t.Errorf("got %+v, %v", answer, err)
	}
}

func TestPostStatus(t *testing.T) {
	var followed atomic.Int32
	status := 200
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			followed.Add(1)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	})
	u := client(t, at, nil)
	for _, status = range []int{201, 202, 204, 206, 301, 302, 303, 307, 308, 400, 403, 404, 500} {
		fails(t, u, new(Request), "upstream", fmt.Sprintf("it answered with status %d", status))
	}
	status = 204
	if answer, err := u.Post(t.Context(), &Request{NoContent: true}); err != nil || len(answer.Body) != 0 {
		t.Errorf("204: %+v, %v", answer, err)
	}
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
	if s := u.Stats(); s.Requests["status"] != 13 || s.Requests["ok"] != 1 || s.Circuit != Closed || s.Active != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestPostCaps(t *testing.T) {
	size := MaxAnswer
	header := 0
	encoding := ""
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", header))
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		_, _ = w.Write(make([]byte, size))
	})
	u := client(t, at, nil)
	if answer, err := u.Post(t.Context(), new(Request)); err != nil || len(answer.Body) != MaxAnswer {
		t.Errorf("the largest: %d bytes, %v", len(answer.Body), err)
	}
	size++
	fails(t, u, new(Request), "upstream", "over 262144 bytes")
	size = 1 << 30
	fails(t, u, new(Request), "upstream", "over 262144 bytes")
	size, encoding = 1, "gzip"
	fails(t, u, new(Request), "upstream", "compressed")
	encoding = "identity"
	if _, err := u.Post(t.Context(), new(Request)); err != nil {
		t.Error(err)
	}
	encoding, header = "", 80<<10
	fails(t, u, new(Request), "upstream", "")
}

// TestPostTimeout: no header, no end of the body.
func TestPostTimeout(t *testing.T) {
	release := make(chan struct{})
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = w.Write([]byte("<xml>"))
			_ = http.NewResponseController(w).Flush()
		}
		<-release
	})
	defer close(release)
	for _, path := range []string{"/header", "/body"} {
		u := client(t, at+path, func(c *UpstreamConfig) { c.Timeout = 50 * time.Millisecond })
		fails(t, u, new(Request), "timeout", "it did not answer in time")
		if s := u.Stats(); s.Requests["timeout"] != 1 || s.Active != 0 {
			t.Errorf("stats %+v", s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := u.Post(ctx, new(Request)); err == nil {
			t.Error("posted after its context had ended")
		}
	}
}

// TestConnections: never more than the limit, and those that wait go on.
func TestConnections(t *testing.T) {
	var now, most atomic.Int32
	release := make(chan struct{})
	at := serve(t, func(http.ResponseWriter, *http.Request) {
		if n := now.Add(1); n > 2 {
			most.Store(n)
		}
		<-release
		now.Add(-1)
	})
	u := client(t, at, func(c *UpstreamConfig) { c.Connections = 2 })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := u.Post(t.Context(), new(Request)); err != nil {
				t.Error(err)
			}
		})
	}
	for range 20 {
		release <- struct{}{}
	}
	wg.Wait()
	if most.Load() != 0 {
		t.Errorf("%d connections at once", most.Load())
	}
}

func TestBusy(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	at := serve(t, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-release })
	u := client(t, at, func(c *UpstreamConfig) { c.Connections = 1 })
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := u.Post(t.Context(), new(Request)); err != nil {
			t.Error(err)
		}
	})
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := u.Post(ctx, new(Request))
	var e *Error
	if !errors.As(err, &e) || e.Reason() != "busy" {
		t.Errorf("got %v", err)
	}
	close(release)
	wg.Wait()
}

// TestFencedAtDialTime: it is the resolved address that counts, whatever the
// name; the host's own listeners are known later than the client.
func TestFencedAtDialTime(t *testing.T) {
	var reached atomic.Int32
	at := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	server, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	byName := "http://localhost:" + server.Port()
	fails(t, client(t, byName, func(c *UpstreamConfig) { c.Private = nil }), new(Request), "upstream", "is not public: name its network under private")
	fails(t, client(t, byName, func(c *UpstreamConfig) { c.Private = prefixes("10.0.0.0/8") }), new(Request), "upstream", "is in none of the networks under private")
	var own atomic.Pointer[[]netip.AddrPort]
	own.Store(new([]netip.AddrPort))
	u := client(t, at, func(c *UpstreamConfig) { c.Own = func() []netip.AddrPort { return *own.Load() } })
	own.Store(&[]netip.AddrPort{netip.MustParseAddrPort(server.Host)})
	fails(t, u, new(Request), "upstream", "is a listener of this host")
	if s := u.Stats(); s.Requests["fenced"] != 1 {
		t.Errorf("stats %+v", s)
	}
	if reached.Load() != 0 {
		t.Error("it was reached")
	}
	own.Store(new([]netip.AddrPort))
	if _, err := u.Post(t.Context(), new(Request)); err != nil {
		t.Error(err)
	}
}

func TestNewUpstreamRefuses(t *testing.T) {
	for at, want := range map[string]string{
		"http://10.0.3.7/?token=s3cret":       "10.0.3.7 is not public",
		"https://[fe80::1]/s3cret":            "fe80::1 is link-local",
		"http://169.254.169.254:8080/s3cret":  "169.254.169.254 is link-local",
		"http://0.0.0.0/s3cret":               "0.0.0.0 is link-local or no host's",
		"file:///etc/s3cret":                  "url is no address of a service",
		"http://[::ffff:127.0.0.1]:99/s3cret": "127.0.0.1 is not public",
	} {
		_, err := NewUpstream(UpstreamConfig{Name: "x", URL: at, Timeout: time.Second, Connections: 1})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// TestErrorsHoldNoSecret: of an upstream that is not there, or speaks something
// else.
func TestErrorsHoldNoSecret(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = c.Read(make([]byte, 1<<10))
		_, _ = c.Write([]byte("SSH-2.0-" + strings.Repeat("x", 5000) + "\r\n\r\n"))
		_ = c.Close()
	})
	u := client(t, "http://"+ln.Addr().String()+"/s3cret?token=s3cret", func(c *UpstreamConfig) {
		c.Secret, c.Headers = "s3cret", map[string]string{"Authorization": "s3cret"}
	})
	for range 2 {
		_, err := u.Post(t.Context(), &Request{Query: "signature=s3cret", Body: []byte("s3cret")})
		if err == nil || strings.Contains(err.Error(), "s3cret") || len(err.Error()) > 400 {
			t.Errorf("got %v", err)
		}
		_ = ln.Close()
		wg.Wait()
	}
}

// BenchmarkPost is the client against a server in the same process; Bare is the
// standard library's.
func BenchmarkPost(b *testing.B) {
	at := serve(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write([]byte("success"))
	})
	body := make([]byte, 1<<10)
	b.Run("Post", func(b *testing.B) {
		u := client(b, at, nil)
		for b.Loop() {
			if _, err := u.Post(b.Context(), &Request{Body: body}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Bare", func(b *testing.B) {
		for b.Loop() {
			resp, err := http.Post(at, "text/xml", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}
