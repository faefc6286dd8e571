package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

// TestRestart: a change of any key of server, or of the store, needs a restart,
// and is found where it stands; all else, and another place of the same, doesn't.
func TestRestart(t *testing.T) {
	parse := func(src string) *config.Config {
		t.Helper()
		cfg, problems := config.Parse("p.yaml", []byte(src), options())
		if cfg == nil {
			t.Fatal(problems)
		}
		return cfg
	}
	other := map[string]string{
		"listen": "127.0.0.1:1", "admin": "127.0.0.1:2", "admin_token": "${SHOP_TOKEN}", "data": "./elsewhere", "drain": "11s", "inflight": "7",
		"public": "https://wx.acme.cn", "key": "${SERVER_KEY}",
	}
	plain := parse("weft: 1\n")
	for _, s := range config.Reference() {
		if s.Name != "server" {
			continue
		}
		for _, k := range s.Keys {
			if other[k.Name] == "" && k.Name != "previous_keys" {
				t.Errorf("server.%s is not tried", k.Name)
			}
		}
	}
	for key, value := range other {
		changed := parse(fmt.Sprintf("weft: 1\nserver:\n  %s: %q\n", key, value))
		got := changed.Restart(plain)
		if len(got) != 1 || !strings.HasPrefix(got[0].String(), fmt.Sprintf("p.yaml:3:%d: server.%s is not", len(key)+5, key)) ||
			!strings.Contains(got[0].String(), "needs a restart") || strings.Contains(got[0].String(), "s3cret") {
			t.Errorf("%s: %v", key, got)
		}
		if got := plain.Restart(changed); len(got) != 1 || got[0].Pos.Line != 1 {
			t.Errorf("%s left out: %v", key, got)
		}
		if got := parse(fmt.Sprintf("weft: 1\n\nserver: { %s: %q }\n", key, value)).Restart(changed); len(got) != 0 {
			t.Errorf("%s in another place: %v", key, got)
		}
	}
	if got := parse("weft: 1\nserver: { previous_keys: [ \"${SERVER_KEY}\" ] }\n").Restart(plain); len(got) != 1 || !strings.Contains(got[0].Text, "server.previous_keys") {
		t.Errorf("previous_keys: %v", got)
	}
	stored := parse("weft: 1\nstore: { embedded: { dir: ./elsewhere } }\n")
	if got := stored.Restart(plain); len(got) != 1 || got[0].Pos.Line != 2 || !strings.Contains(got[0].Text, "store is not") {
		t.Errorf("another store: %v", got)
	}
	redis := func(more string) *config.Config {
		return parse("weft: 1\nserver: { key: \"${SERVER_KEY}\" }\nstore: { redis: { addrs: [ \"10.0.0.1:1\" ]" + more + " } }\n")
	}
	one := redis("")
	for what, c := range map[string][2]*config.Config{
		"another password": {redis(`, password: "${SHOP_TOKEN}"`), one}, "TLS": {redis(", tls: true"), one}, "another prefix": {one, redis(", prefix: x")},
		"Redis in place of the embedded store": {one, parse("weft: 1\nserver: { key: \"${SERVER_KEY}\" }\n")},
		"the embedded store in place of Redis": {parse("weft: 1\nserver: { key: \"${SERVER_KEY}\" }\n"), one},
	} {
		if got := c[0].Restart(c[1]); len(got) != 1 || !strings.HasPrefix(got[0].Text, "store is not") || strings.Contains(got[0].String(), "s3cret") {
			t.Errorf("%s: %v", what, got)
		}
	}
	if got := redis(", tls: false, mode: single, db: 0").Restart(one); len(got) != 0 {
		t.Errorf("the same Redis: %v", got)
	}
	if got := stored.Restart(stored); len(got) != 0 {
		t.Errorf("the same: %v", got)
	}
}
