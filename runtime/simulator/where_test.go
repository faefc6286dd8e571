package simulator

import (
	"strings"
	"testing"
)

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"/cgi-bin/token", "/cgi-bin/token", true},
		{"/cgi-bin/token", "/cgi-bin/tokens", false},
		{"/cgi-bin/token", "/cgi-bin/token/x", false},
		{"/cgi-bin/*/get", "/cgi-bin/user/get", true},
		{"/cgi-bin/*/get", "/cgi-bin/user/info/get", false},
		{"/cgi-bin/*", "/cgi-bin", false},
		{"/cgi-bin/**", "/cgi-bin", true},
		{"/cgi-bin/**", "/cgi-bin/user/info/get", true},
		{"/cgi-bin/**/get", "/cgi-bin/get", true},
		{"/cgi-bin/**/get", "/cgi-bin/user/info/get", true},
		{"/cgi-bin/**/get", "/cgi-bin/user/info", false},
		{"**", "/wxa/getwxacode", true},
		{"/wxa/get*", "/wxa/getwxacode", true},
		{"/wxa/[", "/wxa/[", false},
	} {
		if got := like(strings.Split(c.pattern, "/"), strings.Split(c.name, "/")); got != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.name, got)
		}
	}
}

func TestLastSettingWins(t *testing.T) {
	var sets []set[int]
	sets = put(sets, Where{}, 1)
	sets = put(sets, Where{App: "wx1"}, 2)
	sets = put(sets, Where{App: "wx1"}, 3)
	if len(sets) != 2 {
		t.Errorf("%+v", sets)
	}
	for app, want := range map[string]int{"wx1": 3, "wx2": 1} {
		if got, ok := find(sets, app, "GET", "/"); !ok || got != want {
			t.Errorf("%s: %d", app, got)
		}
	}
}
