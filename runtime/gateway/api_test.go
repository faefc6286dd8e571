package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestCallSends: what arrives, and what comes back.
func TestCallSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *http.Request
		s := &script{steps: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			got = r
			w.Header().Set("X-Wechat-TraceID", "trace")
			w.Header().Set("Set-Cookie", "a=b")
			w.Header().Set("X-Wechat-Echo", r.URL.Query().Get("access_token"))
			w.Header().Set("Location", "https://elsewhere/?"+r.URL.RawQuery)
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusFound)
			_, _ = w.Write([]byte("\x00 <any>"))
		}}}
		k := inMemory(t, s, nil, func(c *APIConfig) { c.Base += "/base/" })
		in := http.Header{}
		for _, name := range []string{"Authorization", "Cookie", "Idempotency-Key", "X-Forwarded-For", "Te", "Trailer", "Upgrade", "Accept-Encoding", "User-Agent"} {
			in.Set(name, "x")
		}
		in.Set("Content-Type", "application/json")
		in.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		in.Set("tracestate", "a=1")
		answer, text, err := k.call(t, "POST", "/cgi-bin/%6denu/create?b=2&a=%26x+y", `{"a":"中"}`, func(r *APIRequest) { r.Header = in })
		if err != nil || text != "\x00 <any>" || answer.Status != http.StatusFound || answer.Length != 7 || answer.Errcode != 0 {
			t.Fatalf("%+v %q %v", answer, text, err)
		}
		if want := `POST /base/cgi-bin/menu/create?access_token=s3cret-t0ken-0&b=2&a=%26x+y {"a":"中"}`; s.requests()[0] != want {
			t.Errorf("sent %s", s.requests()[0])
		}
		want := http.Header{
			"Content-Type": {"application/json"}, "Traceparent": {in.Get("traceparent")}, "Tracestate": {"a=1"}, "User-Agent": {"Weft"}, "Content-Length": {"11"},
		}
		if !reflect.DeepEqual(got.Header, want) {
			t.Errorf("header %v", got.Header)
		}
		answer.Header.Del("Date")
		if want := (http.Header{"Content-Type": {"text/plain"}, "X-Wechat-Traceid": {"trace"}}); !reflect.DeepEqual(answer.Header, want) {
			t.Errorf("header back %v", answer.Header)
		}
		if n := k.counter.of("shop /cgi-bin/menu/create ok"); n != 1 {
			t.Errorf("counted %v", k.counter.calls)
		}
	})
}

// TestRepeats: who is asked how often, with which token, after what, and what the
// caller gets.
func TestRepeats(t *testing.T) {
	ok := answers(`{"errcode":0}`)
	repeatable := func(r *APIRequest) { r.Repeatable = true }
	big := func(r *APIRequest) {
		r.Body, r.Length = strings.NewReader(strings.Repeat("x", maxKept+1)), -1
	}
	largest := func(r *APIRequest) {
		r.Body, r.Length = strings.NewReader(strings.Repeat("x", maxKept)), -1
	}
	for name, c := range map[string]struct {
		method  string
		change  func(*APIRequest)
		steps   []http.HandlerFunc
		tokens  []int // of the requests
		want    int   // errcode
		err     error
		renewed int
		least   time.Duration // that it takes
	}{
		"fine":                  {"POST", nil, []http.HandlerFunc{ok}, []int{0}, 0, nil, 0, 0},
		"40001":                 {"POST", nil, []http.HandlerFunc{errcode(40001), ok}, []int{0, 1}, 0, nil, 1, 0},
		"40014":                 {"GET", nil, []http.HandlerFunc{errcode(40014), ok}, []int{0, 1}, 0, nil, 1, 0},
		"42001":                 {"DELETE", nil, []http.HandlerFunc{errcode(42001), ok}, []int{0, 1}, 0, nil, 1, 0},
		"40001, twice":          {"GET", nil, []http.HandlerFunc{errcode(40001), errcode(42001), ok}, []int{0, 1}, 42001, nil, 1, 0},
		"40001, large":          {"POST", big, []http.HandlerFunc{errcode(40001), ok}, []int{0}, 40001, nil, 1, 0},
		"40001, not too large":  {"POST", largest, []http.HandlerFunc{errcode(40001), ok}, []int{0, 1}, 0, nil, 1, 0},
		"40001, then busy":      {"GET", nil, []http.HandlerFunc{errcode(40001), errcode(-1), ok}, []int{0, 1, 1}, 0, nil, 1, firstPause / 2},
		"42006":                 {"GET", nil, []http.HandlerFunc{errcode(42006), ok}, []int{0}, 42006, nil, 0, 0},
		"45011":                 {"POST", nil, []http.HandlerFunc{errcode(45011), errcode(45011), ok}, []int{0, 0, 0}, 0, nil, 0, firstLimited},
		"45011, large":          {"POST", big, []http.HandlerFunc{errcode(45011), ok}, []int{0}, 45011, nil, 0, 0},
		"45011, for ever":       {"POST", nil, []http.HandlerFunc{errcode(45011)}, slices.Repeat([]int{0}, 10), 45011, nil, 0, 6 * time.Second},
		"-1, GET":               {"GET", nil, []http.HandlerFunc{errcode(-1), errcode(-1), ok}, []int{0, 0, 0}, 0, nil, 0, firstPause},
		"-1, POST":              {"POST", nil, []http.HandlerFunc{errcode(-1), ok}, []int{0}, -1, nil, 0, 0},
		"-1, DELETE":            {"DELETE", nil, []http.HandlerFunc{errcode(-1), ok}, []int{0}, -1, nil, 0, 0},
		"-1, idempotent":        {"POST", repeatable, []http.HandlerFunc{errcode(-1), ok}, []int{0, 0}, 0, nil, 0, firstPause / 2},
		"-1000":                 {"GET", nil, []http.HandlerFunc{errcode(-1000), ok}, []int{0}, -1000, nil, 0, 0},
		"cut, GET":              {"GET", nil, []http.HandlerFunc{cut, cut, ok}, []int{0, 0, 0}, 0, nil, 0, firstPause},
		"cut, POST":             {"POST", nil, []http.HandlerFunc{cut, ok}, []int{0}, 0, ErrBroken, 0, 0},
		"cut, idempotent":       {"POST", repeatable, []http.HandlerFunc{cut, ok}, []int{0}, 0, ErrBroken, 0, 0},
		"cut, HEAD":             {"HEAD", nil, []http.HandlerFunc{cut, ok}, []int{0}, 0, ErrBroken, 0, 0},
		"hangs, GET":            {"GET", nil, []http.HandlerFunc{hang, ok}, []int{0, 0}, 0, nil, 0, 5 * time.Second},
		"hangs, for ever":       {"GET", nil, []http.HandlerFunc{hang}, []int{0, 0}, 0, ErrTimeout, 0, 10 * time.Second},
		"hangs, POST":           {"POST", nil, []http.HandlerFunc{hang, ok}, []int{0}, 0, ErrTimeout, 0, 10 * time.Second},
		"hangs, idempotent":     {"POST", repeatable, []http.HandlerFunc{hang, ok}, []int{0}, 0, ErrTimeout, 0, 10 * time.Second},
		"502":                   {"GET", nil, []http.HandlerFunc{status(502), ok}, []int{0}, 0, nil, 0, 0},
		"43101":                 {"POST", repeatable, []http.HandlerFunc{errcode(43101), ok}, []int{0}, 43101, nil, 0, 0},
		"-1, then cut, POST":    {"POST", repeatable, []http.HandlerFunc{errcode(-1), cut, ok}, []int{0, 0}, 0, ErrBroken, 0, 0},
		"45011, then quota":     {"POST", nil, []http.HandlerFunc{errcode(45011), errcode(45009), ok}, []int{0, 0}, 45009, nil, 0, 0},
		"cut, then 40001":       {"GET", nil, []http.HandlerFunc{cut, errcode(40001), ok}, []int{0, 0, 1}, 0, nil, 1, 0},
		"an errcode in a large": {"GET", nil, []http.HandlerFunc{answers(`{"errcode":-1,"x":"` + strings.Repeat("x", maxHead) + `"}`), ok}, []int{0}, -1, nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: c.steps}
				k := inMemory(t, s, nil, nil)
				change := c.change
				if change == nil {
					change = func(*APIRequest) {}
				}
				body := ""
				if c.method == "POST" {
					body = "{}"
				}
				began := time.Now()
				answer, _, err := k.call(t, c.method, "/cgi-bin/x", body, change)
				took := time.Since(began)
				if !errors.Is(err, c.err) || c.err == nil && answer.Errcode != c.want || took < c.least || took > 10*time.Second {
					t.Errorf("answer %+v, error %v after %v", answer, err, took)
				}
				var used []int
				for _, r := range s.requests() {
					var n int
					if _, err := fmt.Sscanf(r[strings.Index(r, secretToken):], secretToken+"%d", &n); err != nil {
						t.Fatal(err)
					}
					used = append(used, n)
				}
				if name == "45011, for ever" && len(used) > 7 && len(used) <= maxTries {
					used = c.tokens // the pauses are random
				}
				if !slices.Equal(used, c.tokens) || k.tokens.renewed != c.renewed {
					t.Errorf("tokens %v, %d renewed", used, k.tokens.renewed)
				}
			})
		})
	}
}
