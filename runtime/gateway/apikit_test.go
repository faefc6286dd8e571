package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// secretToken begins every token of a test.
const secretToken = "s3cret-t0ken-"

// tokens is a Tokens that counts.
type tokens struct {
	mu      sync.Mutex
	current int
	renewed int
	err     error
}

func (f *tokens) value() string { return fmt.Sprintf("%s%d", secretToken, f.current) }

func (f *tokens) Token(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.value(), f.err
}

func (f *tokens) Renew(_ context.Context, refused string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewed++
	if refused == f.value() {
		f.current++
	}
	return f.value(), f.err
}

// counter is an APICounter that remembers.
type counter struct {
	mu    sync.Mutex
	calls map[string]int // "app endpoint result", and with "errcode " before it
}

func (c *counter) APICall(app, endpoint, result string) { c.add(app + " " + endpoint + " " + result) }

func (c *counter) APIErrcode(app, endpoint, errcode string) {
	c.add("errcode " + app + " " + endpoint + " " + errcode)
}

func (c *counter) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = make(map[string]int)
	}
	c.calls[what]++
}

func (c *counter) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[what]
}

// kit is an app's API before a server.
type kit struct {
	*API
	tokens  *tokens
	counter *counter
	log     *lockedBuffer
}

// lockedBuffer keeps what was logged by many goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newKit makes an app's API. What it logs must not hold a token.
func newKit(t testing.TB, base string, quota QuotaStore, change func(*APIConfig)) kit {
	t.Helper()
	k := kit{tokens: new(tokens), counter: new(counter), log: new(lockedBuffer)}
	apis := NewAPIs(APIsConfig{Quota: quota, Counter: k.counter, Logger: slog.New(slog.NewTextHandler(k.log, nil))})
	c := APIConfig{App: "shop", Base: base, Timeout: 10 * time.Second, Tokens: k.tokens}
	if change != nil {
		change(&c)
	}
	api, err := apis.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	k.API = api
	t.Cleanup(func() {
		api.Close()
		apis.Close()
		if len(apis.apps) != 0 || len(api.state.slots) != 0 {
			t.Errorf("%d apps, %d calls are left", len(apis.apps), len(api.state.slots))
		}
		if strings.Contains(k.log.String(), secretToken) {
			t.Error("a token was logged")
		}
	})
	return k
}

// target is one that must be allowed.
func target(t testing.TB, method, path string) Target {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	got, err := NewTarget(method, path, query)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// call calls, reads the answer to its end and closes it.
func (k kit) call(t testing.TB, method, path, body string, change ...func(*APIRequest)) (answer *APIResponse, text string, err error) {
	t.Helper()
	r := &APIRequest{Target: target(t, method, path)}
	if body != "" {
		r.Body, r.Length = strings.NewReader(body), int64(len(body))
	}
	for _, f := range change {
		f(r)
	}
	answer, err = k.Call(t.Context(), r)
	if err != nil {
		var failed *CallError
		if !errors.As(err, &failed) || answer != nil || strings.Contains(err.Error(), secretToken) {
			t.Errorf("error %v", err)
		}
		return nil, "", err
	}
	all, err := io.ReadAll(answer.Body)
	if cerr := answer.Body.Close(); cerr != nil {
		t.Error(cerr)
	}
	if _ = answer.Body.Close(); strings.Contains(string(all), secretToken) {
		t.Error("the answer holds a token")
	}
	return answer, string(all), err
}

// script is a server that answers as its steps say, one a request, and the last
// one for all further ones.
type script struct {
	mu    sync.Mutex
	steps []http.HandlerFunc
	seen  []string // "METHOD uri body"
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 2<<20))
	s.mu.Lock()
	step := s.steps[min(len(s.seen), len(s.steps)-1)]
	if len(body) > 100 {
		body = fmt.Appendf(nil, "%d bytes", len(body))
	}
	s.seen = append(s.seen, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body)))
	s.mu.Unlock()
	step(w, r)
}

func (s *script) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// errcode answers with a code.
func errcode(code int) http.HandlerFunc {
	return answers(fmt.Sprintf(`{"errcode":%d,"errmsg":"said rid: 5f8a-%d"}`, code, code))
}

func answers(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; encoding=utf-8")
		_, _ = io.WriteString(w, text)
	}
}

// cut breaks the connection.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hang answers nothing until the client leaves.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "<html>")
	}
}

// pipes is a listener whose connections are in memory, for tests in a bubble of
// testing/synctest.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inMemory makes a kit whose server is in memory, in a bubble.
func inMemory(t testing.TB, h http.Handler, quota QuotaStore, change func(*APIConfig)) kit {
	t.Helper()
	dial := servePipes(t, h)
	k := newKit(t, "http://wechat", quota, change)
	k.host.transport.DialContext = dial
	return k
}

// servePipes serves in memory and returns how it is dialled.
func servePipes(t testing.TB, h http.Handler) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	p := newPipes()
	server := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), WriteTimeout: 5 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(p) })
	t.Cleanup(func() {
		_ = server.Close()
		wg.Wait()
	})
	return p.dial
}
