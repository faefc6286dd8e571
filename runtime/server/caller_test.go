package server

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

// TestNewCallerKey: the line is one that pipeline.yaml takes, for the key that was
// made.
func TestNewCallerKey(t *testing.T) {
	scope := CallerScope{
		Apps: []string{"shop", "null"}, Paths: []string{"GET /cgi-bin/user/*", "/cgi-bin/message/**"},
		Credential: []string{"access_token"}, Rate: "50/s",
	}
	first, err := NewCallerKey("crm", scope)
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewCallerKey("crm", scope)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^wk_[0-9a-f]{64}$`).MatchString(first.Key) || first.Key == second.Key {
		t.Errorf("keys of another form, or the same twice, of %d bytes", len(first.Key))
	}
	want := `crm: { key: "` + first.Hash + `", apps: [ shop, "null" ], paths: [ "GET /cgi-bin/user/*", "/cgi-bin/message/**" ], credential: [ access_token ], rate: 50/s }`
	if first.Line != want {
		t.Errorf("got  %s\nwant %s", first.Line, want)
	}
	cfg, problems := config.Parse("p.yaml", []byte("weft: 1\ncallers:\n  "+first.Line+"\n"), config.Options{})
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	c := cfg.Callers[0]
	if sum := sha256.Sum256([]byte(first.Key)); c.Hash != sum || first.Hash != fmt.Sprintf("sha256:%x", sum) {
		t.Error("the hash is not the key's")
	}
	if fmt.Sprint(c.Apps, c.Paths, c.Credentials, c.Rate.Calls) != "[shop null] [GET /cgi-bin/user/* /cgi-bin/message/**] [access_token] 50" {
		t.Errorf("got %+v", c)
	}
	if all, err := NewCallerKey("crm", CallerScope{Apps: []string{"all"}}); err != nil || !strings.HasSuffix(all.Line, `", apps: all }`) {
		t.Errorf("for all apps: %s, %v", all.Line, err)
	}
}

// TestNewCallerKeyRefuses: what pipeline.yaml would refuse gets no key, nor what
// would say something else there.
func TestNewCallerKeyRefuses(t *testing.T) {
	for name, scope := range map[string]CallerScope{
		"": {}, "CRM": {}, "a b": {}, "crm: {}\n  x": {}, "\"": {}, "{": {}, "~": {}, "null\x00": {},
		"a": {Apps: []string{"Shop"}}, "b": {Paths: []string{"cgi-bin"}}, "c": {Credential: []string{"token"}}, "d": {Rate: "5"},
		"e": {Apps: []string{"x ], paths: [ /**"}}, "f": {Rate: "5/s }\n  g: {"}, "h": {Paths: []string{"/cgi-bin/token"}},
	} {
		if k, err := NewCallerKey(name, scope); err == nil {
			t.Errorf("%q: got %s", name, k.Line)
		} else if strings.Contains(err.Error(), "wk_") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
