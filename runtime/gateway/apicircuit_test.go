package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestCircuitOfEndpoint: what says that WeChat is sick stops one path of one app
// for a while; what shows that it is there doesn't.
func TestCircuitOfEndpoint(t *testing.T) {
	stalls := func(r *APIRequest) { r.Body, r.Length = stalled{}, maxKept+2 }
	for name, c := range map[string]struct {
		step   http.HandlerFunc
		change func(*APIRequest)
		opens  bool
	}{
		"502":             {status(502), nil, true},
		"500":             {status(500), nil, true},
		"cut":             {cut, nil, true},
		"hangs":           {hang, nil, true},
		"404":             {status(404), nil, false},
		"-1":              {errcode(-1), nil, false},
		"40164":           {errcode(40164), nil, false},
		"caller's errors": {answers(`{}`), stalls, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sick atomic.Bool
				sick.Store(true)
				s := &script{steps: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
					if sick.Load() && strings.Contains(r.URL.Path, "/x") {
						c.step(w, r)
					}
				}}}
				k := inMemory(t, s, nil, nil)
				post := func(path string) error {
					_, _, err := k.call(t, "POST", path, "{}", func(r *APIRequest) {
						if c.change != nil && sick.Load() {
							c.change(r)
						}
					})
					return err
				}
				for range apiInARow {
					err := post("/cgi-bin/x")
					if errors.Is(err, ErrCircuit) || c.change != nil && !errors.Is(err, ErrBody) {
						t.Fatalf("open too soon, or %v", err)
					}
				}
				sick.Store(false)
				if err := post("/cgi-bin/x"); errors.Is(err, ErrCircuit) != c.opens {
					t.Errorf("then: %v", err)
				}
				if err := post("/cgi-bin/y"); err != nil {
					t.Errorf("another path: %v", err)
				}
				time.Sleep(openFor + time.Second)
				if err := post("/cgi-bin/x"); err != nil {
					t.Errorf("a trial: %v", err)
				}
				if err := post("/cgi-bin/x"); err != nil {
					t.Errorf("after it: %v", err)
				}
			})
		})
	}
}

// stalled is a body that a caller doesn't send, until its server gives up.
type stalled struct{}

func (stalled) Read([]byte) (int, error) {
	time.Sleep(10*time.Second + time.Millisecond)
	return 0, errors.New("deadline")
}

// TestRepeatsAreBounded: a WeChat that refuses everything gets at most twice the
// calls, and what is spare.
func TestRepeatsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{errcode(-1)}}
		k := inMemory(t, s, nil, nil)
		const calls = 300
		for i := range calls {
			_, _, _ = k.call(t, "GET", fmt.Sprintf("/cgi-bin/x%d", i%3), "")
		}
		if n := len(s.requests()); n < calls+maxSpare || n > 2*calls+maxSpare {
			t.Errorf("%d requests for %d calls", n, calls)
		}
	})
}

// TestEndpointsAreBounded: whoever calls any path has neither circuits nor labels
// without end, and what WeChat doesn't know has no label.
func TestEndpointsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasPrefix(r.URL.Path, "/no/"):
				w.WriteHeader(http.StatusNotFound)
			case strings.HasPrefix(r.URL.Path, "/none/"):
				errcode(40066)(w, r)
			}
		}}}
		k := inMemory(t, s, nil, nil)
		for i := range maxEndpoints + 50 {
			for _, path := range []string{"/no/", "/none/"} {
				if _, _, err := k.call(t, "GET", fmt.Sprintf("%s%d", path, i), ""); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(k.counter.calls) != 3 || k.counter.of("shop other http") == 0 || k.counter.of("errcode shop other other") == 0 {
			t.Errorf("counted %v", k.counter.calls)
		}
		for i := range maxEndpoints + 50 {
			if _, _, err := k.call(t, "GET", fmt.Sprintf("/yes/%d", i), ""); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(k.counter.calls); n != 3+maxLabels+1 || k.state.recent.Len() != maxEndpoints || len(k.state.byPath) != maxEndpoints {
			t.Errorf("%d labels, %d endpoints", n, k.state.recent.Len())
		}
		if _, _, err := k.call(t, "GET", "/yes/0", ""); err != nil || k.counter.of("shop /yes/0 ok") != 2 {
			t.Errorf("a label was lost with its endpoint: %v", err)
		}
	})
}

// TestCallsAtOnce: no more than maxAtOnce; one that waits too long was not executed.
func TestCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{hang}}
		k := inMemory(t, s, nil, nil)
		var wg sync.WaitGroup
		for i := range maxAtOnce {
			wg.Go(func() {
				if _, _, err := k.call(t, "POST", fmt.Sprintf("/cgi-bin/x%d", i), ""); !errors.Is(err, ErrTimeout) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(time.Second)
		k.config.Timeout = 2 * time.Second
		if _, _, err := k.call(t, "POST", "/cgi-bin/y", ""); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v", err)
		}
		wg.Wait()
		if len(s.requests()) != maxAtOnce {
			t.Errorf("%d requests", len(s.requests()))
		}
	})
}

// TestAdmit: nothing goes out that a limit forbids, repeats included.
func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{errcode(-1)}}
		left := 2
		k := inMemory(t, s, nil, func(c *APIConfig) {
			c.Admit = func(method, path string) error {
				if left--; left < 0 || method != "GET" || path != "/cgi-bin/x" {
					return errors.New("5 a second")
				}
				return nil
			}
		})
		answer, _, err := k.call(t, "GET", "/cgi-bin/x", "")
		if err != nil || answer.Errcode != -1 || len(s.requests()) != 2 {
			t.Errorf("%+v, %v, %d requests", answer, err, len(s.requests()))
		}
		if _, _, err = k.call(t, "GET", "/cgi-bin/x", ""); !errors.Is(err, ErrLimited) || !strings.Contains(err.Error(), "5 a second") || len(s.requests()) != 2 {
			t.Errorf("%v, %d requests", err, len(s.requests()))
		}
	})
}

// TestAlert: what an operator should see is logged, not for each call.
func TestAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{errcode(48001)}}
		k := inMemory(t, s, nil, nil)
		for range 5 {
			if answer, _, err := k.call(t, "GET", "/cgi-bin/x", ""); err != nil || answer.Rid != "5f8a-48001" {
				t.Errorf("%+v, %v", answer, err)
			}
		}
		if log := k.log.String(); strings.Count(log, "errcode=48001") != 1 || !strings.Contains(log, "app=shop path=/cgi-bin/x") || !strings.Contains(log, "rid=5f8a-48001") {
			t.Errorf("logged %s", log)
		}
	})
}

// TestReopen: over a change of settings circuits stay, and another base is
// another WeChat.
func TestReopen(t *testing.T) {
	apis := NewAPIs(APIsConfig{})
	defer apis.Close()
	open := func(c APIConfig) *API {
		t.Helper()
		c.App, c.Tokens = "shop", new(tokens)
		a, err := apis.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := open(APIConfig{Base: "https://a", Timeout: time.Second})
	second := open(APIConfig{Base: "https://a/", Timeout: time.Minute})
	third := open(APIConfig{Base: "https://b", Timeout: time.Second})
	if first.state != second.state || first.state == third.state || first.state.quota != third.state.quota {
		t.Error("state is shared wrongly")
	}
	first.Close()
	if fourth := open(APIConfig{Base: "https://a"}); fourth.state != second.state {
		t.Error("the state went with the first")
	} else {
		fourth.Close()
	}
	second.Close()
	third.Close()
	if len(apis.apps) != 0 || len(apis.quotas.apps) != 0 {
		t.Errorf("left: %v", apis.apps)
	}
	for _, base := range []string{"", "ftp://a", "https://", "https://u:p@a", "https://a?s3cret=1", "::"} {
		if _, err := apis.Open(APIConfig{App: "shop", Base: base}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", base, err)
		}
	}
}
