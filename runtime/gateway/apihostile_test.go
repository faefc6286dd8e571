package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestHostileAPI: whatever answers in WeChat's place, a call ends, with an error
// of this kind or an answer, and neither they nor the log hold the token.
func TestHostileAPI(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	chunked, long := ok+"Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("x", 1<<10)
	echo := func(before, after string) func(net.Conn, []byte) {
		return func(c net.Conn, asked []byte) {
			line, _, _ := strings.Cut(string(asked), "\r\n")
			_, _ = io.WriteString(c, before+line+after)
		}
	}
	for name, c := range map[string]struct {
		answer func(c net.Conn, asked []byte)
		want   error // nil: an answer, whose body ends well or in ErrBroken, ErrTimeout
	}{
		"nothing":                   {says("", hold), ErrTimeout},
		"closed":                    {says("", end), ErrBroken},
		"endless line":              {says("", always(long)), ErrBroken},
		"endless header":            {says(ok, always("X-A: "+long+"\r\n")), ErrBroken},
		"endless 100":               {says("", always("HTTP/1.1 100 Continue\r\n\r\n")), ErrBroken},
		"endless blanks":            {says(ok+"\r\n", always("  \n\t")), nil},
		"endless JSON":              {says(ok+"\r\n{", always(`"a":1,`)), nil},
		"endless string":            {says(ok+"\r\n{\"errmsg\":\"", always(long)), nil},
		"endless depth":             {says(ok+"\r\n", always(`{"a":`)), nil},
		"endless extension":         {says(chunked+"1;", always(long)), ErrBroken},
		"endless trailer":           {says(chunked+"0\r\n", always("X-A: "+long+"\r\n")), ErrBroken},
		"under its length":          {says(ok+"Content-Length: 100\r\n\r\n{\"errcode\":0", end), ErrBroken},
		"stops":                     {says(ok+"Content-Length: 100\r\n\r\n{\"errcode\":0", hold), ErrTimeout},
		"stops before JSON":         {says(ok+"Content-Length: 100\r\n\r\n ", hold), ErrTimeout},
		"another protocol":          {says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", hold), ErrBroken},
		"a status that is none":     {says("HTTP/1.1 042 Odd\r\nContent-Length: 0\r\n\r\n", end), ErrBroken},
		"two lengths":               {says(ok+"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", end), ErrBroken},
		"what it was asked":         {func(c net.Conn, asked []byte) { _, _ = c.Write(asked) }, ErrBroken},
		"the token in its header":   {echo(ok+"X-Wechat-A: ", "\r\nContent-Length: 2\r\n\r\n{}"), nil},
		"the token in its reason":   {echo("HTTP/1.1 400 ", "\r\nContent-Length: 0\r\n\r\n"), nil},
		"the token in its errmsg":   {echo(ok+"\r\n{\"errcode\":1,\"errmsg\":\"", "\"}"), nil},
		"the token in its text":     {echo(ok+"\r\n<html>", ""), nil},
		"the token in its chunks":   {echo(chunked, ""), ErrBroken},
		"the token where to go":     {echo("HTTP/1.1 302 Found\r\nLocation: https://x/", "\r\nContent-Length: 0\r\n\r\n"), nil},
		"HTTP/2":                    {says("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", end), ErrBroken},
		"an errcode with much text": {says(ok+"\r\n{\"errcode\":-1,\"errmsg\":\"rid: "+strings.Repeat("a", 1000)+"\"}", end), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, speak(t, c.answer), nil, func(a *APIConfig) { a.Timeout = time.Minute })
			if c.want == ErrTimeout {
				k.config.Timeout = 100 * time.Millisecond
			}
			answer, err := k.Call(t.Context(), &APIRequest{Target: target(t, "POST", "/cgi-bin/x"), Body: strings.NewReader("{}"), Length: 2})
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err != nil && strings.Contains(err.Error(), secretToken) {
				t.Errorf("got %v", err)
			}
			if err != nil {
				return
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
			if err != nil && !errors.Is(err, ErrBroken) && !errors.Is(err, ErrTimeout) {
				t.Errorf("body: %v", err)
			}
			for _, values := range answer.Header {
				text = append(text, strings.Join(values, " ")...)
			}
			if strings.Contains(string(text), secretToken) || len(answer.Rid) > 64 {
				t.Errorf("the token, or too much, is in %.200q", text)
			}
		})
	}
}

// TestRequestsShownAgain: what openapi/rid/get tells of an earlier call has its
// token taken out, whichever it was, and nothing else.
func TestRequestsShownAgain(t *testing.T) {
	text := `{"errcode":0,"request":{"request_url":"a=1&access_token=50_Im7-x%3D&b=2","again":"access_token\u003d50_Im7","response_body":"{}","access_token":1},"x":"` + strings.Repeat("x", 2*maxHead) + `"}`
	k := newKit(t, serve(t, answers(text)), nil, nil)
	want := strings.NewReplacer("50_Im7-x%3D", strings.Repeat("*", 11), "50_Im7", "******").Replace(text)
	for _, path := range []string{"/cgi-bin/openapi/rid/get", "/CGI-bin/openapi/rid/Get"} {
		if _, got, err := k.call(t, "POST", path, `{"rid":"x"}`); err != nil || got != want {
			t.Errorf("%s: %v: %.200s", path, err, got)
		}
	}
	if _, got, err := k.call(t, "POST", "/cgi-bin/x", `{}`); err != nil || got != text {
		t.Errorf("another call: %v: %.200s", err, got)
	}
}

// TestUnreachable: what can't be reached was not executed, and says why.
func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	k := newKit(t, "http://"+ln.Addr().String(), nil, nil)
	if _, _, err := k.call(t, "POST", "/cgi-bin/x", "{}"); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	k = newKit(t, secure.URL, nil, nil)
	if _, _, err := k.call(t, "POST", "/cgi-bin/x", "{}"); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	k.tokens.err = errors.New("40164: the address is not allowed")
	if _, _, err := k.call(t, "POST", "/cgi-bin/x", "{}"); !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), "40164") {
		t.Errorf("got %v", err)
	}
}

// TestHTTP2: to https calls go over HTTP/2, bodies both ways.
func TestHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("over %s", r.Proto)
		}
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "4194304")
		w.Header().Set("Content-Type", "video/mp4")
		if _, err := io.Copy(w, &endless{n}); err != nil {
			t.Error(err)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	apis := NewAPIs(APIsConfig{TLS: &tls.Config{RootCAs: roots}})
	t.Cleanup(apis.Close)
	api, err := apis.Open(APIConfig{App: "shop", Base: s.URL, Timeout: 10 * time.Second, Tokens: new(tokens)})
	if err != nil {
		t.Fatal(err)
	}
	k := kit{API: api}
	t.Cleanup(api.Close)
	_, text, err := k.call(t, "POST", "/cgi-bin/x", "", func(r *APIRequest) { r.Body, r.Length = &endless{4 << 20}, 4<<20 })
	if err != nil || len(text) != 4<<20 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
