package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestFetchSends compares what is asked for with what arrives.
func TestFetchSends(t *testing.T) {
	var got *http.Request
	var gotBody []byte
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		gotBody, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Add("X-Any", "1")
		w.Header().Add("X-Any", "2")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.WriteHeader(http.StatusNotFound)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, "{}")
		}
	})
	operators := func(c *UpstreamConfig) {
		c.Headers = map[string]string{"authorization": "Bearer x", "Accept": "application/json", "Host": "shop.acme.cn"}
		c.Secret = "s3cret"
	}
	for _, c := range []struct{ own, method, path, query, body, uri string }{
		{"/v1", "GET", "/orders/o6_bm-j", "a=1", "", "/v1/orders/o6_bm-j?a=1"},
		{"/v1/?k=1", "POST", "/orders", "a=1&k=2", "{}", "/v1/orders?k=1&a=1&k=2"},
		{"/v1/", "PUT", "/orders/", "", "{}", "/v1/orders/"},
		{"/a%2Fb", "PATCH", "/中/a b/x%20y/100%25/a:b@c", "", "{}", "/a%2Fb/%E4%B8%AD/a%20b/x%20y/100%25/a:b@c"},
		{"", "DELETE", "/...a/b..", "", "", "/...a/b.."},
		{"/v1?k", "HEAD", "", "", "", "/v1?k"},
		{"/v1", "GET", "/", "", "", "/v1/"},
	} {
		u := client(t, at+c.own, operators)
		answer, err := u.Fetch(t.Context(), &FetchRequest{
			Method: c.method, Path: c.path, Query: c.query, Body: []byte(c.body), EventID: "0af7", Attempt: 2,
			Header: http.Header{"accept": {"text/html"}, "Content-Type": {"application/json"}, "Idempotency-Key": {"k1"}, "X-Request-Id": {"r"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		answer.Header.Del("Date")
		answer.Header.Del("Content-Length")
		if want := (http.Header{"Content-Type": {"application/json"}, "X-Any": {"1", "2"}}); answer.Status != 404 || !reflect.DeepEqual(answer.Header, want) || string(answer.Body) != "{}" && c.method != "HEAD" {
			t.Errorf("%s: %+v", c.uri, answer)
		}
		if got.Method != c.method || got.RequestURI != c.uri || string(gotBody) != c.body || got.Host != "shop.acme.cn" {
			t.Errorf("got %s %s at %s: %q, want %s", got.Method, got.RequestURI, got.Host, gotBody, c.uri)
		}
		h := got.Header
		if h.Get("Authorization") != "Bearer x" || h.Get("Accept") != "application/json" || h.Get("Idempotency-Key") != "k1" || h.Get("X-Request-Id") != "r" ||
			h.Get("Weft-Event-Id") != "0af7" || h.Get("Weft-Attempt") != "2" || h.Get("Content-Type") != "application/json" {
			t.Errorf("header %v", h)
		}
		checkSignature(t, h.Get("Weft-Signature"), "s3cret", gotBody)
		if s := u.Stats(); s.Requests["status"] != 1 || s.Requests["ok"] != 0 || s.Circuit != Closed || s.Active != 0 {
			t.Errorf("stats %+v", s)
		}
	}
}

// TestFetchRefuses: nothing of this is sent.
func TestFetchRefuses(t *testing.T) {
	var reached atomic.Int32
	u := client(t, serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })+"/base", nil)
	for name, r := range map[string]FetchRequest{
		"method":        {Method: "CONNECT"},
		"no method":     {},
		"small letters": {Method: "get"},
		"long body":     {Method: "POST", Body: make([]byte, MaxFetchBody+1)},
		"no slash":      {Method: "GET", Path: "x"},
		"host":          {Method: "GET", Path: "@169.254.169.254/x"},
		"long path":     {Method: "GET", Path: "/" + strings.Repeat("x", maxFetchAddress)},
		"up":            {Method: "GET", Path: "/../x"},
		"up at the end": {Method: "GET", Path: "/x/.."},
		"here":          {Method: "GET", Path: "/./x"},
		"escaped up":    {Method: "GET", Path: "/%2e%2E/x"},
		"half escaped":  {Method: "GET", Path: "/.%2e/x"},
		"twice escaped": {Method: "GET", Path: "/%252e%252e/x"},
		"many times":    {Method: "GET", Path: "/%" + strings.Repeat("25", 100) + "2e/x"},
		"slash":         {Method: "GET", Path: "/a%2f..%2fx"},
		"two slashes":   {Method: "GET", Path: "//evil/x"},
		"backslash":     {Method: "GET", Path: `/a\..\x`},
		"escaped one":   {Method: "GET", Path: "/a%5c..%5cx"},
		"parameter":     {Method: "GET", Path: "/..;a=b/x"},
		"blank":         {Method: "GET", Path: "/.. /x"},
		"NUL":           {Method: "GET", Path: "/a%00"},
		"line":          {Method: "GET", Path: "/a\r\nX: y"},
		"no UTF-8":      {Method: "GET", Path: "/%c0%ae%c0%ae/x"},
		"no escape":     {Method: "GET", Path: "/%zz"},
		"query's line":  {Method: "GET", Query: "a\r\nX: y"},
		"query's blank": {Method: "GET", Query: "a b"},
		"fragment":      {Method: "GET", Query: "a#b"},
		"long query":    {Method: "GET", Query: strings.Repeat("x", maxFetchAddress+1)},
		"header":        {Method: "GET", Header: http.Header{"Authorization": {"x"}}},
		"host header":   {Method: "GET", Header: http.Header{"Host": {"x"}}},
		"part of one":   {Method: "GET", Header: http.Header{"Content-Type, Idempotency-Key": {"x"}}},
		"no header":     {Method: "GET", Header: http.Header{"": {"x"}}},
		"our own":       {Method: "GET", Header: http.Header{"Weft-Signature": {"x"}}},
		"two values":    {Method: "GET", Header: http.Header{"Accept": {"x", "y"}}},
		"value's line":  {Method: "GET", Header: http.Header{"Accept": {"x\r\nX: y"}}},
		"long header":   {Method: "GET", Header: http.Header{"Accept": {strings.Repeat("x", maxFetchHeader)}}},
	} {
		if _, err := u.Fetch(t.Context(), &r); !errors.Is(err, ErrFetch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if reached.Load() != 0 {
		t.Error("it was reached")
	}
}

// TestFetchIsFenced: what a plugin asks for leads nowhere else, by no redirect.
func TestFetchIsFenced(t *testing.T) {
	var elsewhere atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", other)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	answer, err := client(t, at, nil).Fetch(t.Context(), &FetchRequest{Method: "GET", Path: "/x"})
	if err != nil || answer.Status != 307 || elsewhere.Load() != 0 {
		t.Errorf("%+v, %v", answer, err)
	}
	server, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u := client(t, "http://localhost:"+server.Port(), func(c *UpstreamConfig) { c.Private = nil })
	_, err = u.Fetch(t.Context(), &FetchRequest{Method: "GET"})
	if !errors.Is(err, ErrFenced) {
		t.Errorf("got %v", err)
	}
}

// TestFetchBounds: size, time and compression, as of Post.
func TestFetchBounds(t *testing.T) {
	size, encoding := MaxAnswer, ""
	u := client(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		if r.URL.Path == "/hang" {
			hang(w, r)
		}
		_, _ = w.Write(make([]byte, size))
	}), func(c *UpstreamConfig) { c.Timeout = 5 * time.Second })
	get := func(path, text string) {
		t.Helper()
		answer, err := u.Fetch(t.Context(), &FetchRequest{Method: "GET", Path: path})
		if text == "" && (err != nil || len(answer.Body) != size) || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
			t.Errorf("%d bytes, %v", len(answer.Body), err)
		}
	}
	get("/", "")
	size++
	get("/", "over 262144 bytes")
	size, encoding = 1, "br"
	get("/", "compressed")
	encoding, u.timeout = "", 50*time.Millisecond
	get("/hang", "did not answer in time")
	if s := u.Stats(); s.Requests["ok"] != 1 || s.Requests["unusable"] != 2 || s.Requests["timeout"] != 1 {
		t.Errorf("stats %+v", s)
	}
	hostile := client(t, speak(t, func(c net.Conn, _ []byte) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		hold(c)
	}), nil)
	if _, err := hostile.Fetch(t.Context(), &FetchRequest{Method: "GET"}); err == nil || !strings.Contains(err.Error(), "status 101") {
		t.Errorf("got %v", err)
	}
}

// TestFetchCircuit: statuses are answers, and those that say that nothing is there
// open the circuit, which is Post's, too.
func TestFetchCircuit(t *testing.T) {
	code := 500
	u := client(t, serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }), nil)
	for _, code = range []int{500, 503} {
		for range inARow {
			if answer, err := u.Fetch(t.Context(), &FetchRequest{Method: "GET"}); err != nil || answer.Status != code {
				t.Fatalf("%+v, %v", answer, err)
			}
		}
	}
	if _, err := u.Fetch(t.Context(), &FetchRequest{Method: "GET"}); err == nil || u.Stats().Circuit != Open {
		t.Errorf("got %v", err)
	}
	fails(t, u, new(Request), "upstream", "it is away")
}

// FuzzCleanBelow: a path stays below, however it is decoded and by whom.
func FuzzCleanBelow(f *testing.F) {
	for _, s := range []string{"/a/b", "/../x", "/%2e%2e/x", "/%252e/x", "/a%2fb", "/..;/x", "/中/ /%25", "/a\\b", "//", "/"} {
		f.Add(s)
	}
	base, err := url.Parse("https://h/base")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if path == "" {
			return
		}
		below, err := cleanBelow(path)
		if err != nil {
			return
		}
		for text, i := below, 0; i < 4; i++ {
			u, err := url.Parse("https://h/base" + text)
			if err != nil {
				break
			}
			if joined := base.JoinPath(".", u.Path[len("/base"):]); !strings.HasPrefix(joined.Path+"/", "/base/") || u.Host != "h" || u.RawQuery != "" && i == 0 {
				t.Fatalf("%q leads to %q", path, joined)
			}
			if text, err = url.PathUnescape(text); err != nil {
				break
			}
		}
		if again, err := cleanBelow(below); err != nil || again != below {
			t.Fatalf("%q became %q became %q, %v", path, below, again, err)
		}
	})
}

// BenchmarkFetch is a plugin's request against a server in the same process.
func BenchmarkFetch(b *testing.B) {
	u := client(b, serve(b, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "{}") }), nil)
	r := &FetchRequest{Method: "GET", Path: "/orders/o1", Query: "a=1"}
	for b.Loop() {
		if _, err := u.Fetch(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
