package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// after answers after a while, where the client is still there.
func after(d time.Duration, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // the kit's is 5 s
		select {
		case <-time.After(d):
			then(w, r)
		case <-r.Context().Done():
		}
	}
}

// TestSecondOfAGet: a GET that WeChat leaves without an answer for half of its time
// is sent once more, and the first one may still be answered.
func TestSecondOfAGet(t *testing.T) {
	first, second := answers(`{"errcode":0,"n":1}`), answers(`{"errcode":0,"n":2}`)
	large := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		steps    []http.HandlerFunc
		spare    int64
		text     string
		err      error
		took     time.Duration
		requests int
	}{
		"quick":                       {[]http.HandlerFunc{after(4900*time.Millisecond, first)}, maxSpare, `{"errcode":0,"n":1}`, nil, 4900 * time.Millisecond, 1},
		"always slow":                 {[]http.HandlerFunc{after(7*time.Second, first), after(7*time.Second, second)}, maxSpare, `{"errcode":0,"n":1}`, nil, 7 * time.Second, 2},
		"the first is lost":           {[]http.HandlerFunc{hang, after(time.Second, second)}, maxSpare, `{"errcode":0,"n":2}`, nil, 6 * time.Second, 2},
		"the first breaks later":      {[]http.HandlerFunc{after(6*time.Second, cut), after(3*time.Second, second)}, maxSpare, `{"errcode":0,"n":2}`, nil, 8 * time.Second, 2},
		"the second breaks":           {[]http.HandlerFunc{after(8*time.Second, first), cut}, maxSpare, `{"errcode":0,"n":1}`, nil, 8 * time.Second, 2},
		"both at once":                {[]http.HandlerFunc{after(7*time.Second, first), after(2*time.Second, first)}, maxSpare, `{"errcode":0,"n":1}`, nil, 7 * time.Second, 2},
		"both at once, large":         {[]http.HandlerFunc{after(7*time.Second, answers(large)), after(2*time.Second, answers(large))}, maxSpare, large, nil, 7 * time.Second, 2},
		"the second is busy":          {[]http.HandlerFunc{after(8*time.Second, first), errcode(-1), hang}, maxSpare, `{"errcode":0,"n":1}`, nil, 8 * time.Second, 3},
		"one lost, one busy":          {[]http.HandlerFunc{hang, errcode(-1), second}, maxSpare, `{"errcode":0,"n":2}`, nil, 5 * time.Second, 3},
		"one lost, one failed":        {[]http.HandlerFunc{hang, status(502)}, maxSpare, "<html>", nil, 10 * time.Second, 2},
		"the second fails":            {[]http.HandlerFunc{after(8*time.Second, first), status(502)}, maxSpare, `{"errcode":0,"n":1}`, nil, 8 * time.Second, 2},
		"the second's is large":       {[]http.HandlerFunc{hang, answers(large)}, maxSpare, large, nil, 5 * time.Second, 2},
		"both are lost":               {[]http.HandlerFunc{hang}, maxSpare, "", ErrTimeout, 10 * time.Second, 2},
		"no repeat is left":           {[]http.HandlerFunc{after(7*time.Second, first)}, -1, `{"errcode":0,"n":1}`, nil, 7 * time.Second, 1},
		"the first is busy, and late": {[]http.HandlerFunc{after(6*time.Second, errcode(-1)), hang, second}, maxSpare, `{"errcode":0,"n":2}`, nil, 6 * time.Second, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: c.steps}
				k := inMemory(t, s, nil, nil)
				k.state.spare.Store(c.spare)
				began := time.Now()
				_, text, err := k.call(t, "GET", "/cgi-bin/x", "")
				took := time.Since(began)
				if text != c.text || !errors.Is(err, c.err) || took < c.took || took > c.took+longestPause/4 {
					t.Errorf("%d bytes, %v after %v", len(text), err, took)
				}
				if n := len(s.requests()); n != c.requests {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// TestSlowIsNotSick: a WeChat that takes its time, and answers each call in the end,
// opens no circuit; nor does one of whose answers the first half is lost.
func TestSlowIsNotSick(t *testing.T) {
	for name, step := range map[string]func(n int64) http.HandlerFunc{
		"slow": func(int64) http.HandlerFunc { return after(7*time.Second, answers(`{}`)) },
		"every other one is lost": func(n int64) http.HandlerFunc {
			if n%2 == 1 {
				return hang
			}
			return answers(`{}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int64
				k := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { step(n.Add(1))(w, r) }), nil, nil)
				for range 3 * atLeast {
					if _, _, err := k.call(t, "GET", "/cgi-bin/x", ""); err != nil {
						t.Fatal(err)
					}
				}
				if s := k.state.endpoint("/cgi-bin/x", time.Second).breaker.State(); s != gobreaker.StateClosed || n.Load() != 6*atLeast {
					t.Errorf("circuit %v after %d requests", s, n.Load())
				}
			})
		})
	}
}

// TestExecutedBefore: what may have been executed by one try isn't told to be
// unexecuted because the next one found no connection.
func TestExecutedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := inMemory(t, http.HandlerFunc(cut), nil, nil)
		dial := k.host.transport.DialContext
		var dials atomic.Int64
		k.host.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
			}
			return dial(ctx, network, addr)
		}
		if _, _, err := k.call(t, "GET", "/cgi-bin/menu/delete", ""); !errors.Is(err, ErrBroken) || dials.Load() < 2 {
			t.Errorf("%v after %d dials", err, dials.Load())
		}
		if _, _, err := k.call(t, "GET", "/cgi-bin/menu/get", ""); !errors.Is(err, ErrUnreachable) {
			t.Errorf("without any: %v", err)
		}
	})
}

// TestSecondIsLimited: a second request that a limit forbids leaves the first one
// alone.
func TestSecondIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{after(7*time.Second, answers(`{}`))}}
		var asked atomic.Int64
		k := inMemory(t, s, nil, func(c *APIConfig) {
			c.Admit = func(string, string) error {
				if asked.Add(1) > 1 {
					return io.ErrShortWrite
				}
				return nil
			}
		})
		if _, text, err := k.call(t, "GET", "/cgi-bin/x", ""); err != nil || text != "{}" || len(s.requests()) != 1 {
			t.Errorf("%q, %v, %d requests", text, err, len(s.requests()))
		}
		if asked.Load() != 2 {
			t.Errorf("the limit was asked %d times", asked.Load())
		}
	})
}

// TestSecondPanics: a panic beside the first try is the call's, as one in it is: it
// doesn't end the host, and leaves no place taken.
func TestSecondPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		k := inMemory(t, &script{steps: []http.HandlerFunc{after(7*time.Second, answers(`{}`))}}, nil, func(c *APIConfig) {
			c.Admit = func(string, string) error {
				if asked.Add(1) > 1 {
					panic("by mistake")
				}
				return nil
			}
		})
		defer func() {
			if v := recover(); v != "by mistake" {
				t.Errorf("recovered %v", v)
			}
		}()
		_, _, _ = k.call(t, "GET", "/cgi-bin/x", "")
	})
}

// TestNoTimeForASecond: where little is left of the time a second request is worth
// nothing.
func TestNoTimeForASecond(t *testing.T) {
	for timeout, requests := range map[time.Duration]int{2*leastTime - time.Millisecond: 1, 2*leastTime + 10*time.Millisecond: 2} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []http.HandlerFunc{hang}}
			k := inMemory(t, s, nil, func(c *APIConfig) { c.Timeout = timeout })
			if _, _, err := k.call(t, "GET", "/cgi-bin/x", ""); !errors.Is(err, ErrTimeout) || len(s.requests()) != requests {
				t.Errorf("%v: %v, %d requests", timeout, err, len(s.requests()))
			}
		})
	}
}
