package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// TestForeign: what another system leaves in Redis is read as it stands.
func TestForeign(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	n.Do("set", "wx:token", "a token", "px", "60000")
	n.Do("set", "kept", "for ever")
	n.Do("rpush", "list", "a token")
	n.Do("set", "long", strings.Repeat("x", maxForeign+1))
	value, ttl, err := s.LookForeign(t.Context(), "wx:token")
	if err != nil || string(value) != "a token" || ttl <= 50*time.Second || ttl > time.Minute {
		t.Errorf("%q for %v, %v", value, ttl, err)
	}
	if value, ttl, err := s.LookForeign(t.Context(), "kept"); err != nil || string(value) != "for ever" || ttl != 0 {
		t.Errorf("%q for %v, %v", value, ttl, err)
	}
	if _, _, err := s.LookForeign(t.Context(), "nothing"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nothing is there: %v", err)
	}
	for _, key := range []string{"list", "long"} {
		if _, _, err := s.LookForeign(t.Context(), key); !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "a token") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
