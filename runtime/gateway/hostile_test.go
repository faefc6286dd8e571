package gateway

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// speak is a server that reads the header of a request and then does as it is
// told; each connection ends with the test at the latest.
func speak(t *testing.T, answer func(c net.Conn, asked []byte)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(t.Context(), func() { _ = c.Close() })
			wg.Go(func() {
				defer stop()
				defer c.Close()
				asked := make([]byte, 64<<10)
				n, err := c.Read(asked)
				if err == nil {
					answer(c, asked[:n])
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return "http://" + ln.Addr().String()
}

// forever writes s until the connection breaks.
func forever(c net.Conn, s string) {
	for {
		if _, err := io.WriteString(c, s); err != nil {
			return
		}
	}
}

// hold keeps the connection until the other side ends it.
func hold(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// says answers with a text, then goes on as it is told.
func says(text string, then func(c net.Conn)) func(net.Conn, []byte) {
	return func(c net.Conn, _ []byte) {
		if _, err := io.WriteString(c, text); err == nil {
			then(c)
		}
	}
}

func always(text string) func(net.Conn) { return func(c net.Conn) { forever(c, text) } }

func end(net.Conn) {}

// TestHostileAnswers: whatever is answered, the request ends with an error of
// this kind, which holds nothing that it was asked.
func TestHostileAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
	chunked, long := ok+"Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("x", 1<<10)
	for name, c := range map[string]struct {
		answer func(c net.Conn, asked []byte)
		want   result
	}{
		"nothing":                    {says("", hold), resultTimeout},
		"closed":                     {says("", end), resultFailed},
		"endless line":               {says("", always(long)), resultFailed},
		"endless header":             {says(ok, always("X-A: "+long+"\r\n")), resultFailed},
		"endless 100":                {says("", always("HTTP/1.1 100 Continue\r\n\r\n")), resultFailed},
		"endless 103":                {says("", always("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")), resultFailed},
		"endless body":               {says(ok+"\r\n", always(long)), resultUnusable},
		"endless chunks":             {says(chunked, always("400\r\n"+long+"\r\n")), resultUnusable},
		"endless chunk's extension":  {says(chunked+"1;", always(long)), resultFailed},
		"endless trailer":            {says(chunked+"0\r\n", always("X-A: "+long+"\r\n")), resultFailed},
		"body over its length":       {says(ok+"Content-Length: 400000\r\n\r\n", always(long)), resultUnusable},
		"body under its length":      {says(ok+"Content-Length: 10\r\n\r\nxml", end), resultFailed},
		"body that stops":            {says(ok+"Content-Length: 10\r\n\r\nxml", hold), resultTimeout},
		"two lengths":                {says(ok+"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", end), resultFailed},
		"length below zero":          {says(ok+"Content-Length: -1\r\n\r\nxx", end), resultFailed},
		"header of another sort":     {says("HTTP/1.1 200 OK\r\ns3cret\r\n\r\n", end), resultFailed},
		"another protocol":           {says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", hold), resultStatus},
		"refusal that stops":         {says("HTTP/1.1 403 Forbidden\r\n\r\n", hold), resultTimeout},
		"refusal that breaks":        {says("HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno", end), resultStatus},
		"compressed after all":       {says(ok+"Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", end), resultUnusable},
		"endless refusal":            {says("HTTP/1.1 403 Forbidden\r\n\r\n", always(long)), resultStatus},
		"what it was asked":          {func(c net.Conn, asked []byte) { _, _ = c.Write(asked) }, resultFailed},
		"what it was asked, chunked": {func(c net.Conn, asked []byte) { _, _ = io.WriteString(c, chunked+string(asked)) }, resultFailed},
		"HTTP/2":                     {says("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", end), resultFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := client(t, speak(t, c.answer)+"/?token=s3cret", func(u *UpstreamConfig) {
				u.Connections, u.Secret, u.Headers = 1, "s3cret", map[string]string{"Authorization": "s3cret"}
				if c.want == resultTimeout {
					u.Timeout = 100 * time.Millisecond
				}
			})
			_, err := u.Post(t.Context(), &Request{Query: "signature=s3cret", Body: []byte("s3cret")})
			var e *Error
			if !errors.As(err, &e) || e.result != c.want || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestErrorsOfTLS: what is wrong with a certificate, or that there is none, is
// told.
func TestErrorsOfTLS(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	fails(t, client(t, secure.URL, nil), new(Request), "upstream", "certificate")
	open := speak(t, says("HTTP/1.1 400 Bad Request\r\n\r\n", end))
	fails(t, client(t, strings.Replace(open, "http:", "https:", 1), nil), new(Request), "upstream", "does not look like a TLS handshake")
}

// TestRefusalsKeepTheConnection: a service that refuses many requests in a row
// isn't dialled for each.
func TestRefusalsKeepTheConnection(t *testing.T) {
	var from sync.Map
	var connections atomic.Int32
	u := client(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, known := from.LoadOrStore(r.RemoteAddr, true); !known {
			connections.Add(1)
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no")
	}), nil)
	for range 20 {
		fails(t, u, new(Request), "upstream", "it answered with status 403")
	}
	if n := connections.Load(); n > 10 { // one, but for pauses of over idleTime
		t.Errorf("%d connections for 20 requests", n)
	}
}
