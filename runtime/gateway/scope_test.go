package gateway

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func scope(t testing.TB, patterns ...string) Scope {
	t.Helper()
	s, err := ParseScope(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewTarget(t *testing.T) {
	for _, c := range []struct{ method, path, query, wantPath, wantQuery string }{
		{"GET", "/cgi-bin/user/get", "", "/cgi-bin/user/get", ""},
		{"POST", "/cgi-bin/%75ser/%67et", "next_openid=", "/cgi-bin/user/get", "next_openid="},
		{"GET", "/a.b/c-d_e~f/1", "b=2&a=1&&a=%2b+x&n", "/a.b/c-d_e~f/1", "b=2&a=1&a=%2B+x&n="},
		{"POST", "/cgi-bin/tokens", "token=x&access=1", "/cgi-bin/tokens", "token=x&access=1"},
	} {
		got, err := NewTarget(c.method, c.path, c.query)
		if err != nil || got.Method() != c.method || got.Path() != c.wantPath || got.Query() != c.wantQuery {
			t.Errorf("%s %s?%s: %+v, %v", c.method, c.path, c.query, got, err)
		}
	}
}

func TestNewTargetRefuses(t *testing.T) {
	for _, path := range []string{
		"", "/", "//", "user/get", "/cgi-bin//user", "//cgi-bin/user", "/cgi-bin/user/", "/cgi-bin/./user", "/cgi-bin/../user", "/cgi-bin/..",
		"/.../x", "/cgi-bin/%2e%2e/user", "/cgi-bin/%2E/x", "/a%2eb", "/cgi-bin/.%2e/x", "/cgi-bin%2fuser", "/cgi-bin%2Fuser", "/cgi-bin%5cuser", `/cgi-bin\user`,
		"/cgi-bin/%252e%252e/x", "/a%00", "/a\x00", "/a%0ab", "/a\nb", "/a%7f", "/a b", "/a%20b", "/a;x=1", "/a%3b", "/a?b", "/a%3fb", "/a#b", "/a%23",
		"/ä", "/%c3%a4", "/%c0%ae", "/a%", "/a%2", "/a%zz", "/a:b", "/a@b", "/a*b", "/" + strings.Repeat("a", maxPath),
		// Credentials, in any spelling.
		"/cgi-bin/token", "/cgi-bin/stable_token", "/CGI-BIN/Token", "/cgi-bin/%74oken", "/cgi-bin/stable%5ftoken", "/cgi-bin/ticket/getticket",
		"/cgi-bin/component/api_component_token", "/cgi-bin/component/api_authorizer_token", "/cgi-bin/Component/api_query_auth", "/sns/jscode2session",
		"/sns/oauth2/access_token", "/sns/component/jscode2session", "/wxa/resetusersessionkey", "/tcb/getqcloudtoken", "/cgi-bin/gettoken",
	} {
		if got, err := NewTarget("GET", path, ""); !errors.Is(err, ErrTarget) {
			t.Errorf("path %q: %+v, %v", path, got, err)
		}
	}
	for _, query := range []string{
		"access_token=x", "a=1&access_token=", "access_token", "%61ccess_token=x", "ACCESS_TOKEN=x", "access%5Ftoken=x", "access.token=x", "access+token=x",
		"+access_token=x", "access_token%00=x", "access_token[]=x", "x[access_token]=1", "component_access_token=x", "a=1;access_token=x", "a;b=1", "a=%zz", "%zz=1",
		strings.Repeat("a", maxQuery+1), strings.Repeat("%00", maxQuery/3) + strings.Repeat("!", 3), strings.Repeat("!", maxQuery/2) + "=",
	} {
		if got, err := NewTarget("GET", "/cgi-bin/user/get", query); !errors.Is(err, ErrTarget) || strings.Contains(err.Error(), "=x") {
			t.Errorf("query %.80q: %+v, %v", query, got, err)
		}
	}
	for _, method := range []string{"", "get", "CONNECT", "TRACE", "OPTIONS", "GET ", "PROPFIND"} {
		if _, err := NewTarget(method, "/cgi-bin/user/get", ""); !errors.Is(err, ErrTarget) {
			t.Errorf("method %q: %v", method, err)
		}
	}
}

func TestScope(t *testing.T) {
	for _, c := range []struct {
		pattern, method, path string
		want                  bool
	}{
		{"/cgi-bin/user/get", "GET", "/cgi-bin/user/get", true},
		{"/cgi-bin/user/get", "GET", "/cgi-bin/user/getx", false},
		{"/cgi-bin/user/get", "GET", "/cgi-bin/user", false},
		{"/cgi-bin/user/get", "GET", "/cgi-bin/User/get", false},
		{"GET /cgi-bin/user/get", "GET", "/cgi-bin/user/get", true},
		{"GET /cgi-bin/user/get", "POST", "/cgi-bin/user/get", false},
		{"/cgi-bin/user/*", "POST", "/cgi-bin/user/get", true},
		{"/cgi-bin/user/*", "POST", "/cgi-bin/user/info/batchget", false},
		{"/cgi-bin/user/*", "POST", "/cgi-bin/user", false},
		{"/cgi-bin/*/get", "GET", "/cgi-bin/menu/get", true},
		{"/cgi-bin/*/get", "GET", "/cgi-bin/a/b/get", false},
		{"/cgi-bin/get*", "GET", "/cgi-bin/getcallbackip", true},
		{"/cgi-bin/get*ip", "GET", "/cgi-bin/get_api_domain_ip", true},
		{"/cgi-bin/get*ip", "GET", "/cgi-bin/get_api_domain_ips", false},
		{"/cgi-bin/get*ip", "GET", "/cgi-bin/get/ip", false},
		{"/**", "GET", "/x", true},
		{"/**", "GET", "/x/y/z", true},
		{"/wxa/**", "GET", "/wxa", false},
		{"/wxa/**", "GET", "/wxa/business/gamematch", true},
		{"/wxa/**", "GET", "/wxab/business", false},
		{"/a/**/z", "GET", "/a/z", true},
		{"/a/**/z", "GET", "/a/b/z/c/z", true},
		{"/a/**/z", "GET", "/a/b/z/c", false},
		{"/**/z/*", "GET", "/z/z/z", true},
		// Not clean: in no scope.
		{"/**", "GET", "/x/../y", false},
		{"/**", "GET", "/x/%2e%2e/y", false},
		{"/**", "GET", "/x/%79", false},
		{"/**", "GET", "x", false},
		{"/**", "GET", "/", false},
		{"/**", "GET", "", false},
	} {
		if got := scope(t, "POST /never", c.pattern).Allows(c.method, c.path); got != c.want {
			t.Errorf("%s allows %s %s: %v", c.pattern, c.method, c.path, got)
		}
	}
	if (Scope{}).Allows("GET", "/x") {
		t.Error("no pattern allows something")
	}
	for _, p := range []string{"", "x", "get /x", "GET/x", "GET  /x", "GET", "GET x", " /x", "/", "/x/", "//x", "/x/../y", "/.", "/a***", "/a**", "/**b", "/x y", "/%41", "/x?y", "/ä", "/" + strings.Repeat("a", maxPath)} {
		if _, err := ParseScope([]string{"/x", p}); err == nil {
			t.Errorf("%q is a pattern", p)
		}
	}
}

// FuzzTarget: what is allowed reads the same to whoever decodes it, is matched
// as it is sent, and never asks for a credential.
func FuzzTarget(f *testing.F) {
	for _, s := range [][2]string{
		{"/cgi-bin/user/get", "a=1"},
		{"/cgi-bin/%74oken", ""},
		{"/a/../b", "access_token=1"},
		{"/a%2fb", "%61ccess_token"},
		{"/a/%2e%2e/token", ";"},
		{"//x", "&&"},
		{"/a\\b", "a=%"},
		{"/sns/x", "a=b=c"},
		{"/.a/..b", "\x00"},
	} {
		f.Add(s[0], s[1])
	}
	plain := regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)
	all := scope(f, "/**")
	f.Fuzz(func(t *testing.T, path, query string) {
		got, err := NewTarget("GET", path, query)
		if err != nil {
			return
		}
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded != got.Path() || !plain.MatchString(got.Path()) {
			t.Fatalf("%q became %q", path, got.Path())
		}
		again, err := NewTarget("GET", got.Path(), got.Query())
		if err != nil || again != got || !all.Allows("GET", got.Path()) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
		u := url.URL{Scheme: "https", Host: "h", Path: got.Path(), RawQuery: got.Query()}
		sent, err := url.Parse(u.String())
		if err != nil || sent.EscapedPath() != got.Path() || sent.JoinPath().Path != got.Path() {
			t.Fatalf("%q is sent as %q, %v", got.Path(), sent, err)
		}
		for name := range sent.Query() {
			if strings.Contains(strings.ToLower(name), "access_token") {
				t.Fatalf("%q carries a token", got.Query())
			}
		}
		if low := strings.ToLower(got.Path()); strings.HasSuffix(low, "/cgi-bin/token") && strings.Count(low, "/") == 2 || strings.HasPrefix(low, "/sns/") {
			t.Fatalf("%q hands out a credential", low)
		}
	})
}

// FuzzScope: a pattern allows what its regular expression matches, of paths that
// are clean.
func FuzzScope(f *testing.F) {
	for _, s := range [][2]string{
		{"/cgi-bin/user/*", "/cgi-bin/user/get"},
		{"/**", "/a/b"},
		{"/a/**/z", "/a/z/b/z"},
		{"/**/a*b*c/**/x", "/a/abbc/x/abc/x"},
		{"/*a*a*a", "/aaaa"},
		{"/a/**", "/a"},
		{"/a", "/a/../b"},
		{"/**", "/a/.../b."},
		{"/**/**", "/a"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		if len(text) > 60 || len(path) > 200 {
			return
		}
		s, err := ParseScope([]string{text})
		if err != nil || text[0] != '/' {
			return
		}
		segments := strings.Split(text[1:], "/")
		var form strings.Builder
		for i, segment := range segments {
			switch {
			case segment == "**" && i == len(segments)-1:
				form.WriteString(`(/[^/]+)+`)
			case segment == "**":
				form.WriteString(`(/[^/]+)*`)
			default:
				form.WriteString("/" + strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, `[^/]*`))
			}
		}
		clean, err := cleanPath(path)
		want := err == nil && clean == path && regexp.MustCompile("^"+form.String()+"$").MatchString(path)
		if got := s.Allows("GET", path); got != want {
			t.Fatalf("%q allows %q: %v, want %v", text, path, got, want)
		}
	})
}
