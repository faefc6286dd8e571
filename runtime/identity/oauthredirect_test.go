package identity

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func testRedirects(t testing.TB) Redirects {
	t.Helper()
	r, err := ParseRedirects([]string{"https://www.acme.cn/", "https://shop.acme.cn:8443/app", "http://127.0.0.1:8080/"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRedirects: what may be led to, comes back as it is.
func TestRedirects(t *testing.T) {
	r := testRedirects(t)
	for to, want := range map[string]string{
		"https://www.acme.cn":                      "https://www.acme.cn/",
		"https://www.acme.cn/":                     "",
		"https://www.acme.cn:443/a/b?c=d&e=f#g":    "",
		"https://www.acme.cn/%E5%95%86%E5%93%81":   "",
		"https://www.acme.cn/a%20b?to=https://x.y": "",
		"https://www.acme.cn/#/route?x=1":          "",
		"https://shop.acme.cn:8443/app":            "",
		"https://shop.acme.cn:8443/app?x=1":        "",
		"https://shop.acme.cn:8443/app/cart":       "",
		"http://127.0.0.1:8080/x":                  "",
	} {
		if want == "" {
			want = to
		}
		if got, err := r.Check(to); err != nil || got != want {
			t.Errorf("%s: %q %v", to, got, err)
		}
	}
}

// openRedirects are spellings that lead elsewhere in some browser or server.
var openRedirects = []string{
	"",
	"/",
	"//evil.example/",
	"///evil.example/",
	"https:evil.example",
	"https:/evil.example/",
	"https:///evil.example/",
	"https:www.acme.cn/",
	"https://evil.example/",
	"https://evil.example/https://www.acme.cn/",
	"https://evil.example/?https://www.acme.cn/",
	"https://evil.example#https://www.acme.cn/",
	"https://evil.example\\@www.acme.cn/",
	"https://www.acme.cn\\.evil.example/",
	"https://www.acme.cn\\@evil.example/",
	"\\\\evil.example/",
	"https:\\\\evil.example/",
	"https://www.acme.cn@evil.example/",
	"https://www.acme.cn:443@evil.example/",
	"https://user@www.acme.cn/",
	"https://www.acme.cn.evil.example/",
	"https://wwwxacme.cn/",
	"https://acme.cn/",
	"https://www.acme.cn./",
	"https://www.acme.cn:8443/",
	"https://www.acme.cn:/",
	"https://www.acme.cn:443:80/",
	"https://www.acme.cn%2eevil.example/",
	"https://www.acme.cn%2f@evil.example/",
	"https://www.acme.cn%00.evil.example/",
	"https://www.acme.cn?@evil.example/\t",
	"https://www.acme.cn/\r\nSet-Cookie: a=b",
	"https://www.acme.cn/\x00",
	"https://www.acme.cn //evil.example",
	" https://www.acme.cn/",
	"\thttps://www.acme.cn/",
	"https://www.\tacme.cn/",
	"https://ｗｗｗ.acme.cn/",
	"https://www.acme.cn。evil.example/",
	"HTTPS://WWW.ACME.CN@evil.example/",
	"http://www.acme.cn/",
	"javascript://www.acme.cn/%0aalert(1)",
	"javascript:alert(1)",
	"data:text/html,x",
	"ftp://www.acme.cn/",
	"https://[::1]/",
	"https://0/",
	"https://shop.acme.cn:8443/",
	"https://shop.acme.cn:8443/application",
	"https://shop.acme.cn:8443/app/../admin",
	"https://shop.acme.cn:8443/app/%2e%2e/admin",
	"https://shop.acme.cn:8443/app/%252e%252e/admin",
	"https://shop.acme.cn:8443/app/..;/admin",
	"https://shop.acme.cn:8443/app/..%2fadmin",
	"https://shop.acme.cn:8443/app/%5c..%5cadmin",
	"https://shop.acme.cn:8443//app",
	"https://www.acme.cn//evil.example",
	"https://www.acme.cn/?ticket=mine",
	"https://www.acme.cn/?a=1&tic%6bet=mine",
	"https://www.acme.cn/?error=x",
	"https://www.acme.cn/?a;ticket=mine",
	"https://www.acme.cn/?%zz",
	"https://www.acme.cn/" + strings.Repeat("a", maxRedirect),
}

// TestOpenRedirects: none of the spellings gets through.
func TestOpenRedirects(t *testing.T) {
	r := testRedirects(t)
	for _, to := range openRedirects {
		if got, err := r.Check(to); !errors.Is(err, ErrRedirect) {
			t.Errorf("%q leads to %q", to, got)
		}
	}
	if got, err := (Redirects{}).Check("https://www.acme.cn/"); !errors.Is(err, ErrRedirect) {
		t.Errorf("without entries it leads to %q", got)
	}
}

func TestRedirectEntries(t *testing.T) {
	for _, entry := range []string{"www.acme.cn", "https://", "https://www.acme.cn/?a=b", "https://www.acme.cn/#a", "https://a@www.acme.cn/", "ftp://www.acme.cn/", "https://www.acme.cn/../"} {
		if _, err := ParseRedirects([]string{entry}); err == nil {
			t.Errorf("%s was taken", entry)
		}
	}
}

func TestRedirectOrigins(t *testing.T) {
	r := testRedirects(t)
	for origin, want := range map[string]bool{
		"https://www.acme.cn": true, "https://shop.acme.cn:8443": true, "http://127.0.0.1:8080": true,
		"https://www.acme.cn:8443": false, "http://www.acme.cn": false, "https://evil.example": false, "null": false, "": false,
	} {
		if got := r.AllowsOrigin(origin); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
}

func TestRedirectParam(t *testing.T) {
	for to, want := range map[string]string{
		"https://www.acme.cn/":          "https://www.acme.cn/?ticket=t",
		"https://www.acme.cn/?a=b":      "https://www.acme.cn/?a=b&ticket=t",
		"https://www.acme.cn/?a=b#c?d":  "https://www.acme.cn/?a=b&ticket=t#c?d",
		"https://www.acme.cn/#/r?x=1#y": "https://www.acme.cn/?ticket=t#/r?x=1#y",
	} {
		if got := withParam(to, ticketParam, "t"); got != want {
			t.Errorf("%s: %s", to, got)
		}
	}
}

// FuzzRedirect: what gets through is at an allowed place, and stays there when it
// is read again.
func FuzzRedirect(f *testing.F) {
	for _, to := range openRedirects {
		f.Add(to)
	}
	f.Add("https://www.acme.cn/a?b=c#d")
	f.Add("https://shop.acme.cn:8443/app/x")
	r := testRedirects(f)
	f.Fuzz(func(t *testing.T, to string) {
		got, err := r.Check(to)
		if err != nil {
			return
		}
		u, err := url.Parse(withParam(got, ticketParam, "t"))
		if err != nil || !r.AllowsOrigin(originOf(u)) || u.Query().Get(ticketParam) != "t" || u.User != nil {
			t.Errorf("%q leads to %q", to, got)
		}
		if u.Host == "shop.acme.cn:8443" && u.Path != "/app" && !strings.HasPrefix(u.Path, "/app/") {
			t.Errorf("%q leads to %q", to, got)
		}
		if again, err := r.Check(got); err != nil || again != got {
			t.Errorf("%q is %q, and then %q %v", to, got, again, err)
		}
	})
}
