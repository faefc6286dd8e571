package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gateway serves k at /api/shop/, as the host does, and returns its address.
func (k kit) gateway(t testing.TB, patterns ...string) string {
	t.Helper()
	server := httptest.NewUnstartedServer(k.handler(t, patterns...))
	server.Config.WriteTimeout = 5 * time.Second // as the host's: streams take longer
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

func (k kit) handler(t testing.TB, patterns ...string) http.HandlerFunc {
	t.Helper()
	s := scope(t, patterns...)
	return func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/shop")
		if !ok {
			t.Errorf("path %s", r.URL.EscapedPath())
		}
		k.Serve(w, r, Incoming{Path: path, Scope: s, Trace: "0af7"})
	}
}

// gatewayInMemory is a client of k served in memory, in a bubble.
func (k kit) gatewayInMemory(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: servePipes(t, k.handler(t, "/**"))}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask sends a request whose target is written as it stands.
func ask(t testing.TB, method, at, target, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = strings.TrimPrefix(at, "http:") + target
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if strings.Contains(string(text), secretToken) {
		t.Error("a token in the answer")
	}
	return resp, string(text)
}

// TestServe: WeChat's answer as it came, with the errcode translated.
func TestServe(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("header %v", r.Header)
			}
			w.Header().Set("X-Wechat-TraceID", "t1")
			answers(`{"errcode":43101,"errmsg":"user refuse rid: 5f8a-1"}`)(w, r)
		},
		answers(`{"errcode":0,"msgid":1}`),
		status(http.StatusTeapot),
		answers(``),
	}}
	k := newKit(t, serve(t, s.ServeHTTP), nil, nil)
	at := k.gateway(t, "POST /cgi-bin/message/**", "HEAD /cgi-bin/x")
	resp, text := ask(t, "POST", at, "/api/shop/cgi-bin/message/custom/send?a=1", `{"touser":"o"}`,
		"Authorization", "Bearer wk_x", "Cookie", "a=b", "Content-Type", "application/json")
	advice, err := url.PathUnescape(resp.Header.Get("Weft-Error-Advice-Zh"))
	if resp.StatusCode != 200 || text != `{"errcode":43101,"errmsg":"user refuse rid: 5f8a-1"}` || resp.Header.Get("X-Wechat-TraceID") != "t1" ||
		resp.Header.Get("Weft-Error-Class") != "user_state" || resp.Header.Get("Weft-Error-Rid") != "5f8a-1" || err != nil || advice != LookupErrcode(43101).Advice.Chinese {
		t.Errorf("%d %s %v", resp.StatusCode, text, resp.Header)
	}
	resp, text = ask(t, "POST", at, "/api/shop/cgi-bin/message/custom/send", `{}`)
	if resp.StatusCode != 200 || text != `{"errcode":0,"msgid":1}` || resp.Header.Get("Weft-Error-Class") != "" || resp.ContentLength != int64(len(text)) {
		t.Errorf("%d %s %v", resp.StatusCode, text, resp.Header)
	}
	if resp, text = ask(t, "POST", at, "/api/shop/cgi-bin/message/x", ``); resp.StatusCode != http.StatusTeapot || text != "<html>" {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if resp, text = ask(t, "HEAD", at, "/api/shop/cgi-bin/x", ``); resp.StatusCode != 200 || text != "" {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if want := `POST /cgi-bin/message/custom/send?access_token=s3cret-t0ken-0&a=1 {"touser":"o"}`; s.requests()[0] != want {
		t.Errorf("sent %s", s.requests()[0])
	}
}

// TestServeRefuses: outside of the scope nothing goes to WeChat, however the path
// is written.
func TestServeRefuses(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{answers(`{}`)}}
	k := newKit(t, serve(t, s.ServeHTTP), nil, nil)
	at := k.gateway(t, "GET /cgi-bin/user/*")
	for _, target := range []string{
		"/api/shop/cgi-bin/menu/get", "/api/shop/cgi-bin/user/info/batchget", "/api/shop", "/api/shop/", "/api/shop//cgi-bin/user/get", "/api/shop/cgi-bin//user/get",
		"/api/shop/cgi-bin/user/../menu/get", "/api/shop/cgi-bin/user/%2e%2e/menu", "/api/shop/cgi-bin/user/..%2fmenu", "/api/shop/cgi-bin/user/%2E%2E%2Ftoken",
		"/api/shop/cgi-bin/user/get%00", "/api/shop/cgi-bin/user/get%0d%0aX:%20y", "/api/shop/cgi-bin/user/%252e%252e", `/api/shop/cgi-bin/user/..\token`,
		"/api/shop/cgi-bin/token", "/api/shop/cgi-bin/user/get?access_token=x", "/api/shop/cgi-bin/user/get?a=1&%61ccess_token=x", "/api/shop/cgi-bin/User/get",
		"/api/shop/../news/cgi-bin/user/get", "/api/shop/cgi-bin/user/get;x", "/api/shop/cgi-bin/user/./get",
	} {
		resp, text := ask(t, "GET", at, target, "", "Authorization", "Bearer wk_x")
		var body struct {
			Error struct{ Code, Message, Trace string }
		}
		if err := json.Unmarshal([]byte(text), &body); err != nil || resp.StatusCode != 403 || body.Error.Trace != "0af7" || body.Error.Message == "" ||
			body.Error.Code != "outside_scope" && body.Error.Code != "not_allowed" || strings.Contains(text, "wk_x") {
			t.Errorf("%s: %d %s", target, resp.StatusCode, text)
		}
	}
	for _, method := range []string{"POST", "DELETE", "OPTIONS", "PROPFIND", "TRACE"} {
		if resp, text := ask(t, method, at, "/api/shop/cgi-bin/user/get", ""); resp.StatusCode != 403 {
			t.Errorf("%s: %d %s", method, resp.StatusCode, text)
		}
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests went out", n)
	}
	if resp, _ := ask(t, "GET", at, "/api/shop/cgi-bin/user/%67et?next_openid=", ""); resp.StatusCode != 200 || len(s.requests()) != 1 {
		t.Errorf("what is allowed: %d", resp.StatusCode)
	}
}

// TestWriteError: every error has a status, a code and a text of its own, and
// tells nothing of its cause.
func TestWriteError(t *testing.T) {
	codes := map[string]bool{}
	for err, status := range map[error]int{
		ErrTimeout: 504, ErrBroken: 502, ErrUnreachable: 502, ErrCircuit: 503, ErrQuota: 429, ErrLimited: 429, ErrBusy: 503, ErrToken: 503, ErrBody: 400, ErrCanceled: 499,
		ErrTarget: 403, ErrScope: 403, errors.New("s3cret"): 500,
	} {
		w := httptest.NewRecorder()
		WriteError(w, &CallError{App: "shop", Path: "/x", Kind: err, Until: time.Now().Add(90 * time.Second), cause: errors.New("s3cret")}, "0af7")
		var body struct {
			Error struct{ Code, Message, Trace string }
		}
		if e := json.Unmarshal(w.Body.Bytes(), &body); e != nil || w.Code != status || body.Error.Code == "" || body.Error.Message == "" || body.Error.Trace != "0af7" ||
			codes[body.Error.Code] || err != ErrTarget && strings.Contains(w.Body.String(), "s3cret") {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
		codes[body.Error.Code] = true
		if after := w.Header().Get("Retry-After"); err == ErrQuota && (after < "89" || after > "91" || w.Header().Get("Weft-Error-Class") != "quota_stop") {
			t.Errorf("%v: %v", err, w.Header())
		}
	}
}

// endless reads like a file of a size.
type endless struct{ left int64 }

func (e *endless) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := int(min(e.left, int64(len(b))))
	for i := range b[:n] {
		b[i] = byte(e.left - int64(i))
	}
	e.left -= int64(n)
	return n, nil
}

// allocated runs f and returns what was allocated meanwhile, by all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestLargeBodiesStream: 200 MB up and down, memory flat: all that is allocated on
// the way, by both sides of the test, is a small part of it.
func TestLargeBodiesStream(t *testing.T) {
	const size, most = 200 << 20, 16 << 20
	sum := func(r io.Reader) string {
		h := sha256.New()
		n, err := io.Copy(h, r)
		if err != nil || n != size {
			t.Errorf("%d bytes, %v", n, err)
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	want := sum(&endless{size})
	var received string
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cgi-bin/media/upload" {
			received = sum(r.Body)
			answers(`{"media_id":"m"}`)(w, r)
			return
		}
		w.Header().Set("Content-Type", "video/mp4")
		if r.URL.Query().Get("length") == "" {
			w.Header().Set("Content-Length", "209715200")
		}
		_, _ = io.Copy(w, &endless{size})
	})
	k := newKit(t, at, nil, nil)
	edge := k.gateway(t, "/**")
	for _, length := range []int64{size, -1} {
		bytes := allocated(func() {
			req, err := http.NewRequestWithContext(t.Context(), "POST", edge+"/api/shop/cgi-bin/media/upload?type=video", &endless{size})
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = length
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, _ := io.ReadAll(resp.Body); string(text) != `{"media_id":"m"}` || received != want {
				t.Errorf("%s, received %s, want %s", text, received, want)
			}
		})
		if bytes > most {
			t.Errorf("upload of length %d: %d MiB allocated", length, bytes>>20)
		}
		t.Logf("upload of length %d: %d KiB allocated", length, bytes>>10)
	}
	for _, query := range []string{"", "&length=none"} {
		bytes := allocated(func() {
			req, err := http.NewRequestWithContext(t.Context(), "GET", edge+"/api/shop/cgi-bin/media/get?media_id=m"+query, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := sum(resp.Body); got != want || (resp.ContentLength == size) != (query == "") {
				t.Errorf("got %s of length %d", got, resp.ContentLength)
			}
		})
		if bytes > most {
			t.Errorf("download: %d MiB allocated", bytes>>20)
		}
		t.Logf("download %s: %d KiB allocated", query, bytes>>10)
	}
}

// TestBrokenAnswersBreak: a part never passes for the whole, whether its length
// was told or not.
func TestBrokenAnswersBreak(t *testing.T) {
	for _, length := range []string{"", "1000000"} {
		k := newKit(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write(bytes.Repeat([]byte("x"), 100_000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}), nil, nil)
		resp, err := http.Get(k.gateway(t, "/**") + "/api/shop/cgi-bin/media/get")
		if err != nil {
			continue // before its header went out
		}
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			t.Errorf("length %q: %d bytes passed for the whole", length, n)
		}
	}
}

// TestStreamsThatStop: each side that stops in the middle is given up after the
// time between two pieces, and only WeChat's silence counts against WeChat.
func TestStreamsThatStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/cgi-bin/up" {
				_, _ = io.Copy(io.Discard, r.Body)
				return
			}
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		}), nil, nil)
		began := time.Now()
		answer, text, err := k.call(t, "GET", "/cgi-bin/down", "")
		if answer == nil || text != "x" || !errors.Is(err, ErrTimeout) || time.Since(began) != 10*time.Second {
			t.Errorf("down: %+v %q %v after %v", answer, text, err, time.Since(began))
		}
		client := k.gatewayInMemory(t)
		for _, first := range []int{1, maxKept * 2} {
			r, w := io.Pipe()
			go func() { _, _ = w.Write(make([]byte, first)) }() // and then nothing
			began := time.Now()
			resp, err := client.Post("http://host/api/shop/cgi-bin/up", "video/mp4", r)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			_, _ = w.Close(), resp.Body.Close()
			if took := time.Since(began); resp.StatusCode != 400 || !strings.Contains(string(text), "bad_body") || took < 10*time.Second || took > 11*time.Second {
				t.Errorf("up after %d: %d %s after %v", first, resp.StatusCode, text, took)
			}
		}
		if n := k.counter.of("shop other bad_body") + k.counter.of("shop /cgi-bin/up bad_body"); n != 2 {
			t.Errorf("counted %v", k.counter.calls)
		}
	})
}

// TestSlowStreamsGoOn: a stream may take longer than the time between its pieces,
// than the server's time to write, and than the client's to ask.
func TestSlowStreamsGoOn(t *testing.T) {
	const pieces, pause = 8, 6 * time.Second
	synctest.Test(t, func(t *testing.T) {
		k := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_ = control.SetWriteDeadline(time.Time{})
			if r.URL.Path == "/cgi-bin/up" {
				n, _ := io.Copy(io.Discard, r.Body)
				_ = json.NewEncoder(w).Encode(map[string]int64{"size": n})
				return
			}
			w.Header().Set("Content-Type", "image/png")
			for range pieces {
				_, _ = w.Write([]byte("x"))
				_ = control.Flush()
				time.Sleep(pause)
			}
		}), nil, nil)
		client := k.gatewayInMemory(t)
		for method, body := range map[string]string{"GET": "", "POST": "{}"} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://host/api/shop/cgi-bin/down", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			if _ = resp.Body.Close(); err != nil || string(text) != strings.Repeat("x", pieces) {
				t.Errorf("%s: %q, %v", method, text, err)
			}
		}
		r, w := io.Pipe()
		go func() {
			for range pieces {
				_, _ = w.Write(make([]byte, maxKept/2))
				time.Sleep(pause)
			}
			_ = w.Close()
		}()
		resp, err := client.Post("http://host/api/shop/cgi-bin/up", "video/mp4", r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(text) != "{\"size\":4194304}\n" {
			t.Errorf("up: %d %s", resp.StatusCode, text)
		}
	})
}

// TestLimitTellsWhen: who is over a limit of the app learns when to come again.
func TestLimitTellsWhen(t *testing.T) {
	w := httptest.NewRecorder()
	limit := &LimitError{Limit: "5/m", Of: "/cgi-bin/**", Wait: 11500 * time.Millisecond}
	WriteError(w, &CallError{App: "shop", Path: "/cgi-bin/x", Kind: ErrLimited, cause: limit}, "")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "12" {
		t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}

// deadlines is a ResponseWriter that tells of the read deadlines that are set.
type deadlines struct {
	*httptest.ResponseRecorder
	set chan struct{}
}

func (d *deadlines) SetReadDeadline(time.Time) error {
	d.set <- struct{}{}
	return nil
}

// TestEarlyAnswers: what still reads the body when WeChat has answered leaves the
// connection's deadlines to the next request.
func TestEarlyAnswers(t *testing.T) {
	blocked, release, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	k := newKit(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-blocked
		answers(`{"errcode":40004}`)(w, r)
	}), nil, nil)
	w := &deadlines{httptest.NewRecorder(), make(chan struct{}, 100)}
	read := 0
	r := httptest.NewRequest("POST", "/", readerFunc(func(b []byte) (int, error) {
		if read += len(b); read < 64<<10 { // so much goes out, header and all
			return len(b), nil
		}
		close(blocked)
		<-release
		defer close(returned)
		return 0, errors.New("gone")
	}))
	r.ContentLength = maxKept + 1
	k.Serve(w, r, Incoming{Path: "/cgi-bin/media/upload", Scope: scope(t, "/**")})
	if w.Code != 200 || !strings.Contains(w.Body.String(), "40004") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for before := len(w.set); before > 0; before-- {
		<-w.set
	}
	close(release)
	<-returned
	select {
	case <-w.set:
		t.Error("a deadline was set after the request")
	case <-time.After(50 * time.Millisecond):
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
