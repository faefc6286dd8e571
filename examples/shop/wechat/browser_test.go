package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	goodBack  = "http%3A%2F%2F127.0.0.1%3A1%2Fcallback"
	goodQuery = "appid=" + shopID + "&redirect_uri=" + goodBack + "&response_type=code&scope=snsapi_base&state=s1"
)

// TestAuthorize: a browser is led back with a code where all is as WeChat wants it,
// else nowhere.
func TestAuthorize(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"as it is to be":  {"", "", "http://127.0.0.1:1/callback?code="},
		"another order":   {"&scope=snsapi_base&state=s1", "&state=s1&scope=snsapi_base", ""},
		"one too many":    {"&state=s1", "&state=s1&x=1", ""},
		"no state":        {"&state=s1", "", ""},
		"another app":     {shopID, "wx0", ""},
		"another domain":  {"127.0.0.1", "127.0.0.2", ""},
		"another kind":    {"=code", "=token", ""},
		"another scope":   {"snsapi_base", "snsapi_login", ""},
		"a user is asked": {"snsapi_base", "snsapi_userinfo", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/connect/oauth2/authorize?"+strings.Replace(goodQuery, c.from, c.to, 1), nil)
			newTown(time.Now).handler().ServeHTTP(w, r)
			got := w.Header().Get("Location")
			if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("status %d, the browser is led to %q", w.Code, got)
			}
		})
	}
}

// TestRefusal: who refuses comes back with the state alone.
func TestRefusal(t *testing.T) {
	w := httptest.NewRecorder()
	query := strings.Replace(goodQuery, "snsapi_base", "snsapi_userinfo", 1)
	r := httptest.NewRequest(http.MethodPost, "/connect/oauth2/authorize?"+query, strings.NewReader(url.Values{"user": {""}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	newTown(time.Now).handler().ServeHTTP(w, r)
	if got := w.Header().Get("Location"); got != "http://127.0.0.1:1/callback?state=s1" {
		t.Errorf("the browser is led to %q", got)
	}
}
