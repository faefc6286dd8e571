package gateway

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func testPool(t testing.TB) *Pool {
	p := NewPool(nil, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if n := len(p.clients); n > 0 {
			t.Errorf("%d clients are left", n)
		}
	})
	return p
}

func open(t testing.TB, p *Pool, c UpstreamConfig) *Upstream {
	t.Helper()
	u, err := p.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// The same settings are one client; whatever differs makes another one.
func TestPoolKeepsClients(t *testing.T) {
	p := testPool(t)
	settings := func() UpstreamConfig {
		return UpstreamConfig{
			Name: "legacy", URL: "http://127.0.0.1:1/p?a=b", Private: prefixes("127.0.0.0/8", "10.0.0.0/8"),
			Headers: map[string]string{"A": "b"}, Timeout: time.Second, Secret: "x", Connections: 4,
		}
	}
	first := open(t, p, settings())
	again := open(t, p, settings())
	if first != again {
		t.Error("the same settings made another client")
	}
	for name, change := range map[string]func(*UpstreamConfig){
		"name":          func(c *UpstreamConfig) { c.Name = "other" },
		"url":           func(c *UpstreamConfig) { c.URL += "c" },
		"private":       func(c *UpstreamConfig) { c.Private = c.Private[:1] },
		"a header":      func(c *UpstreamConfig) { c.Headers["A"] = "c" },
		"fewer headers": func(c *UpstreamConfig) { c.Headers = nil },
		"timeout":       func(c *UpstreamConfig) { c.Timeout++ },
		"secret":        func(c *UpstreamConfig) { c.Secret = "y" },
		"connections":   func(c *UpstreamConfig) { c.Connections++ },
	} {
		c := settings()
		change(&c)
		if u := open(t, p, c); u == first {
			t.Errorf("%s: another one got the same client", name)
		} else {
			p.Close(u)
		}
	}
	p.Close(again)
	if u := open(t, p, settings()); u != first {
		t.Error("it was closed while somebody held it")
	}
	p.Close(first)
	p.Close(first)
	p.Close(first) // more often than it was opened: nothing
	if u := open(t, p, settings()); u == first {
		t.Error("a closed client was given out")
	} else {
		p.Close(u)
	}
	if _, err := p.Open(UpstreamConfig{Name: "bad", URL: "ftp://x", Connections: 1}); err == nil || len(p.Stats()) != 0 {
		t.Errorf("err %v, stats %v", err, p.Stats())
	}
}

// An open circuit stays open for who opens the same upstream later, and is
// another's business no more once the settings change. What is counted goes on.
func TestPoolKeepsCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(t)
		c := UpstreamConfig{Name: "legacy", URL: "http://127.0.0.1:1", Private: prefixes("127.0.0.0/8"), Timeout: 4 * time.Second, Connections: 4}
		post := func(u *Upstream, status, n int) {
			u.transport = &sick{status: status}
			for range n {
				_, _ = u.Post(t.Context(), new(Request))
			}
		}
		first := open(t, p, c)
		began := time.Now()
		post(first, 0, inARow+1)
		second := open(t, p, c)
		p.Close(first)
		time.Sleep(time.Second)
		if s := p.Stats()["legacy"]; s.Circuit != Open || !s.Since.Equal(began) || s.Requests["failed"] != inARow || s.Requests["open"] != 1 {
			t.Errorf("held on: %+v", s)
		}
		time.Sleep(openFor)
		if s := p.Stats()["legacy"]; s.Circuit != Trying || !s.Since.Equal(began) {
			t.Errorf("after %v: %+v", openFor, s)
		}
		c.Timeout++
		third := open(t, p, c)
		post(third, 200, 3)
		if s := p.Stats()["legacy"]; s.Circuit != Closed || !s.Since.IsZero() || s.Requests["failed"] != inARow || s.Requests["ok"] != 3 {
			t.Errorf("changed: %+v", s)
		}
		p.Close(second)
		if s := p.Stats()["legacy"]; s.Requests["failed"] != inARow || s.Requests["ok"] != 3 {
			t.Errorf("after the old one was closed: %+v", s)
		}
		p.Close(third)
	})
}

// The circuit that is told is that of the client that was opened last, also where
// that was there before.
func TestPoolStatsAreOfTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(t)
		a := UpstreamConfig{Name: "legacy", URL: "http://127.0.0.1:1", Private: prefixes("127.0.0.0/8"), Timeout: 4 * time.Second, Connections: 2}
		b := a
		b.Connections = 1
		first, second := open(t, p, a), open(t, p, b)
		hang := &sick{status: -1}
		first.transport, second.transport = hang, hang
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _, _ = first.Post(t.Context(), new(Request)) })
			wg.Go(func() { _, _ = second.Post(t.Context(), new(Request)) })
		}
		synctest.Wait()
		if s := p.Stats()["legacy"]; s.Active != 3 || s.Waiting != 3 || s.Connections != 1 {
			t.Errorf("got %+v", s)
		}
		open(t, p, a)
		if s := p.Stats()["legacy"]; s.Active != 3 || s.Waiting != 3 || s.Connections != 2 {
			t.Errorf("back to the first: %+v", s)
		}
		wg.Wait()
		p.Close(first)
		p.Close(first)
		p.Close(second)
	})
}

// A client that nobody holds any more leaves no connection, and one that is held
// keeps its own.
func TestPoolClosesConnections(t *testing.T) {
	var made atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
	closed := make(chan net.Conn, 4)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			made.Add(1)
		case http.StateClosed:
			closed <- c
		case http.StateActive, http.StateIdle, http.StateHijacked:
		}
	}
	s.Start()
	defer s.Close()
	p := NewPool(func() []netip.AddrPort { return nil }, nil)
	c := UpstreamConfig{Name: "legacy", URL: s.URL, Private: prefixes("127.0.0.0/8"), Timeout: time.Minute, Connections: 4}
	u := open(t, p, c)
	u.transport.(*http.Transport).IdleConnTimeout = time.Minute
	post := func(u *Upstream) {
		if _, err := u.Post(t.Context(), new(Request)); err != nil {
			t.Error(err)
		}
	}
	post(u)
	again := open(t, p, c)
	p.Close(u)
	post(again)
	if n := made.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	p.Close(again)
	select {
	case <-closed:
	case <-t.Context().Done():
		t.Error("the connection stays")
	}
}

// Many generations open and close at once.
func TestPoolHammer(t *testing.T) {
	p := testPool(t)
	at := serve(t, func(http.ResponseWriter, *http.Request) {})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				c := UpstreamConfig{Name: "legacy", URL: at, Private: prefixes("127.0.0.0/8"), Timeout: time.Minute, Connections: 1 + (i+j)%3}
				u, err := p.Open(c)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := u.Post(t.Context(), new(Request)); err != nil {
					t.Error(err)
				}
				p.Stats()
				p.Close(u)
			}
		})
	}
	wg.Wait()
}
