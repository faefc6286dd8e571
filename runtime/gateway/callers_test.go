package gateway

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store/storetest"
)

// shows is a request's header with a key.
func shows(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }

func crm(change func(*CallerConfig)) CallerConfig {
	c := CallerConfig{
		Name: "crm", Hash: sha256.Sum256([]byte("wk_crm")), Apps: []string{"shop"},
		Paths: globScope("/cgi-bin/*"), Kinds: []string{"jsapi_ticket"}, Rate: Rate{10, time.Second},
	}
	if change != nil {
		change(&c)
	}
	return c
}

func TestCallersAdmit(t *testing.T) {
	c := NewCallers(storetest.NewClock().Now)
	for _, h := range []http.Header{nil, shows("wk_crm")} {
		if _, err := c.Admit(h); err == nil {
			t.Errorf("%v is admitted where there are no callers", h)
		}
	}
	c.Set([]CallerConfig{crm(nil)})
	for _, ok := range []http.Header{
		shows("wk_crm"), {"Authorization": {"bearer wk_crm"}}, {"Authorization": {"BEARER   wk_crm "}},
	} {
		if caller, err := c.Admit(ok); err != nil || caller.Name() != "crm" {
			t.Errorf("%v: %v", ok, err)
		}
	}
	for name, bad := range map[string]struct {
		h    http.Header
		want error
	}{
		"no header":       {http.Header{}, ErrNoKey},
		"an empty one":    {http.Header{"Authorization": {""}}, ErrNoKey},
		"no key":          {http.Header{"Authorization": {"Bearer "}}, ErrNoKey},
		"the key alone":   {http.Header{"Authorization": {"wk_crm"}}, ErrNoKey},
		"Basic":           {http.Header{"Authorization": {"Basic wk_crm"}}, ErrNoKey},
		"two headers":     {http.Header{"Authorization": {"Bearer wk_crm", "Bearer wk_crm"}}, ErrNoKey},
		"over-long":       {shows(strings.Repeat("x", 513)), ErrNoKey},
		"another key":     {shows("wk_crn"), ErrUnknownKey},
		"a longer key":    {shows("wk_crm0"), ErrUnknownKey},
		"a shorter key":   {shows("wk_cr"), ErrUnknownKey},
		"two keys":        {shows("wk_crm wk_crm"), ErrUnknownKey},
		"another case":    {shows("WK_CRM"), ErrUnknownKey},
		"the hash itself": {shows("sha256:" + strings.Repeat("0", 64)), ErrUnknownKey},
		"a tab":           {shows("wk_crm\t"), ErrUnknownKey},
	} {
		caller, err := c.Admit(bad.h)
		if caller != nil || !errors.Is(err, bad.want) {
			t.Errorf("%s: %v, want %v", name, err, bad.want)
		}
		if err != nil && strings.Contains(err.Error(), "wk_") {
			t.Errorf("%s: the error shows a key: %v", name, err)
		}
	}
}

func TestCallerScope(t *testing.T) {
	c := NewCallers(nil)
	c.Set([]CallerConfig{
		crm(nil),
		crm(func(c *CallerConfig) {
			c.Name, c.Hash, c.Apps, c.AllApps, c.Kinds = "all", sha256.Sum256([]byte("all")), nil, true, []string{"access_token", "jsapi_ticket"}
		}),
		crm(func(c *CallerConfig) { *c = CallerConfig{Name: "none", Hash: sha256.Sum256([]byte("none"))} }),
	})
	get := func(key string) *Caller {
		caller, err := c.Admit(shows(key))
		if err != nil {
			t.Fatal(err)
		}
		return caller
	}
	for _, try := range []struct {
		key, app, kind  string
		forApp, readApp bool
	}{
		{"wk_crm", "shop", "jsapi_ticket", true, true},
		{"wk_crm", "shop", "access_token", true, false},
		{"wk_crm", "club", "jsapi_ticket", false, false},
		{"wk_crm", "", "jsapi_ticket", false, false},
		{"wk_crm", "Shop", "jsapi_ticket", false, false},
		{"wk_crm", "shop", "", true, false},
		{"all", "club", "access_token", true, true},
		{"all", "no such app", "wx_card_ticket", true, false},
		{"none", "shop", "access_token", false, false},
	} {
		caller := get(try.key)
		if err := caller.For(try.app); (err == nil) != try.forApp || err != nil && !errors.Is(err, ErrScope) {
			t.Errorf("%+v: for the app: %v", try, err)
		}
		if err := caller.Read(try.app, try.kind); (err == nil) != try.readApp || err != nil && !errors.Is(err, ErrScope) {
			t.Errorf("%+v: the credential: %v", try, err)
		}
	}
	if !get("wk_crm").Allows("GET", "/cgi-bin/user") || get("wk_crm").Allows("GET", "/wxa/user") || get("none").Allows("GET", "/cgi-bin/user") {
		t.Error("paths")
	}
}

func TestCallersReload(t *testing.T) {
	clock := storetest.NewClock()
	c := NewCallers(clock.Now)
	use := func(key string) (n int) {
		for range 100 {
			_, err := c.Admit(shows(key))
			var limit *LimitError
			switch {
			case err == nil:
				n++
			case !errors.As(err, &limit) || limit.Of != "caller crm" || limit.Wait <= 0:
				t.Fatal(err)
			default:
				return n
			}
		}
		return n
	}
	c.Set([]CallerConfig{crm(nil)})
	held, err := c.Admit(shows("wk_crm"))
	if err != nil {
		t.Fatal(err)
	}
	if n := use("wk_crm"); n != 9 {
		t.Errorf("%d of 9 that are left", n)
	}
	c.Set([]CallerConfig{crm(func(c *CallerConfig) {
		c.Hash, c.Rate, c.Apps = sha256.Sum256([]byte("new")), Rate{50, time.Second}, []string{"club"}
	})})
	if _, err := c.Admit(shows("wk_crm")); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the old key: %v", err)
	}
	if n := use("new"); n != 0 {
		t.Errorf("the bucket of a caller with another key and rate was empty, and gave %d", n)
	}
	if held.For("shop") != nil || held.For("club") == nil {
		t.Error("a request that is under way has the scope that it began with")
	}
	clock.Advance(time.Second)
	if n := use("new"); n != 50 {
		t.Errorf("%d of 50 a second later", n)
	}
	c.Set([]CallerConfig{crm(func(c *CallerConfig) { c.Rate = Rate{} })})
	if n := use("wk_crm"); n != 100 {
		t.Errorf("%d of 100 without a rate", n)
	}
	c.Set(nil)
	if _, err := c.Admit(shows("wk_crm")); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a caller that is gone: %v", err)
	}
}

// TestCallersHammer: requests beside reloads find one of the two sets.
func TestCallersHammer(t *testing.T) {
	c := NewCallers(storetest.NewClock().Now)
	sets := [][]CallerConfig{{crm(nil)}, {crm(func(c *CallerConfig) { c.Apps = []string{"club"} })}}
	c.Set(sets[0])
	var admitted [4]int
	var wg sync.WaitGroup
	for i := range admitted {
		wg.Go(func() {
			for range 200 {
				caller, err := c.Admit(shows("wk_crm"))
				if err == nil {
					admitted[i]++
					if (caller.For("shop") == nil) == (caller.For("club") == nil) {
						t.Error("a mixture of two sets")
					}
				}
				if i == 0 {
					c.Set(sets[admitted[0]%2])
				}
			}
		})
	}
	wg.Wait()
	if sum := admitted[0] + admitted[1] + admitted[2] + admitted[3]; sum != 10 {
		t.Errorf("%d of 10 were admitted", sum)
	}
}

// FuzzAdmit: no header but the one with the key is admitted, and no error repeats
// what was shown.
func FuzzAdmit(f *testing.F) {
	for _, s := range []string{"Bearer wk_crm", "bearer  wk_crm", "Basic d2s6", "Bearer", "", "Bearer wk_crm,Bearer x", "Bearer\twk_crm", "Bearer \xff\x00"} {
		f.Add(s)
	}
	c := NewCallers(nil)
	c.Set([]CallerConfig{crm(func(c *CallerConfig) { c.Rate = Rate{} })})
	f.Fuzz(func(t *testing.T, field string) {
		caller, err := c.Admit(http.Header{"Authorization": {field}})
		if (caller == nil) == (err == nil) {
			t.Fatalf("%v and %v", caller, err)
		}
		if caller != nil && (!strings.EqualFold(field[:7], "Bearer ") || strings.Trim(field[7:], " ") != "wk_crm") {
			t.Fatalf("%q is admitted", field)
		}
		if err != nil && len(field) > 40 && strings.Contains(err.Error(), field) {
			t.Fatalf("%v shows what came", err)
		}
	})
}
