package gateway

import (
	"errors"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store/storetest"
)

// globScope is a scope of one pattern, for tests.
type globScope string

func (g globScope) Allows(method, p string) bool {
	m, pattern, ok := strings.Cut(string(g), " ")
	if !ok {
		m, pattern = method, m
	}
	match, err := path.Match(pattern, p)
	return err == nil && match && m == method
}

func limitOf(pattern string, r Rate, daily int64) EndpointLimit {
	return EndpointLimit{Pattern: pattern, Paths: globScope(pattern), Rate: r, Daily: daily}
}

// takeAll takes until it is refused, at most 10,000 times, and returns the
// refusal.
func takeAll(l *Limiter, app, method, path string) (n int, refused *LimitError) {
	for n < 10_000 {
		err := l.Take(app, method, path)
		if err != nil {
			errors.As(err, &refused)
			return n, refused
		}
		n++
	}
	return n, nil
}

func TestLimiter(t *testing.T) {
	clock := storetest.NewClock()
	l := NewLimiter(LimiterOptions{Now: clock.Now})
	l.Set(map[string][]EndpointLimit{
		"shop": {limitOf("/cgi-bin/*", Rate{10, time.Second}, 0), limitOf("POST /cgi-bin/b", Rate{3, time.Second}, 0)},
		"club": {limitOf("/cgi-bin/*", Rate{5, time.Second}, 0)},
	})
	n, refused := takeAll(l, "shop", "POST", "/cgi-bin/b")
	if n != 3 || refused == nil || refused.Of != "POST /cgi-bin/b" || refused.Limit != "3/s" || refused.Wait <= 0 {
		t.Errorf("the narrower limit: %d, %v", n, refused)
	}
	if want := "over the limit of 3/s for POST /cgi-bin/b: the next goes through in 333ms"; refused.Error() != want {
		t.Errorf("got %q", refused.Error())
	}
	// What the narrower one refused has taken nothing of the wider one.
	if n, refused := takeAll(l, "shop", "GET", "/cgi-bin/b"); n != 7 || refused.Of != "/cgi-bin/*" {
		t.Errorf("the wider limit: %d, %v", n, refused)
	}
	if n, _ := takeAll(l, "club", "GET", "/cgi-bin/b"); n != 5 {
		t.Errorf("another app: %d", n)
	}
	if n, refused := takeAll(l, "shop", "GET", "/wxa/b"); refused != nil {
		t.Errorf("a path without a limit: %d, %v", n, refused)
	}
	if n, refused := takeAll(l, "none", "GET", "/cgi-bin/b"); refused != nil {
		t.Errorf("an app without limits: %d, %v", n, refused)
	}
	clock.Advance(time.Second)
	if n, _ := takeAll(l, "shop", "GET", "/cgi-bin/b"); n != 10 {
		t.Errorf("a second later: %d", n)
	}
}

// TestLimiterReload: what was used stays used, by app and pattern.
func TestLimiterReload(t *testing.T) {
	clock := storetest.NewClock()
	l := NewLimiter(LimiterOptions{Now: clock.Now})
	set := func(shop ...EndpointLimit) { l.Set(map[string][]EndpointLimit{"shop": shop}) }
	set(limitOf("/a", Rate{10, time.Second}, 0), limitOf("/b", Rate{10, time.Second}, 100))
	takeAll(l, "shop", "GET", "/a")
	set(limitOf("/b", Rate{20, time.Second}, 100), limitOf("/a", Rate{100, time.Second}, 0))
	if n, _ := takeAll(l, "shop", "GET", "/a"); n != 0 {
		t.Errorf("an empty bucket is empty under another rate, and gave %d", n)
	}
	if n, _ := takeAll(l, "shop", "GET", "/b"); n != 20 {
		t.Errorf("a full bucket is full under another rate, and gave %d", n)
	}
	set(limitOf("/b", Rate{}, 50))
	if n, refused := takeAll(l, "shop", "GET", "/b"); n != 30 || refused.Limit != "50 a day" {
		t.Errorf("the day's count goes on: %d, %v", n, refused)
	}
	if _, refused := takeAll(l, "shop", "GET", "/a"); refused != nil {
		t.Errorf("a limit that is gone: %v", refused)
	}
	set(limitOf("/b", Rate{}, 60))
	if n, _ := takeAll(l, "shop", "GET", "/b"); n != 10 {
		t.Errorf("a higher limit of the same day: %d", n)
	}
}

// TestLimiterHammer: reloads beside calls lose nothing of what was used.
func TestLimiterHammer(t *testing.T) {
	clock := storetest.NewClock()
	l := NewLimiter(LimiterOptions{Now: clock.Now})
	set := func() {
		l.Set(map[string][]EndpointLimit{"shop": {limitOf("/a", Rate{1000, time.Second}, 0), limitOf("/*", Rate{}, 700)}})
	}
	set()
	var taken [4]int
	var wg sync.WaitGroup
	for i := range taken {
		wg.Go(func() {
			for range 500 {
				if l.Take("shop", "GET", "/a") == nil {
					taken[i]++
				}
				if i == 0 {
					set()
				}
			}
		})
	}
	wg.Wait()
	if sum := taken[0] + taken[1] + taken[2] + taken[3]; sum != 700 {
		t.Errorf("%d of 700 went through", sum)
	}
	if n, _ := takeAll(l, "shop", "GET", "/a"); n != 0 {
		t.Errorf("%d more", n)
	}
}
