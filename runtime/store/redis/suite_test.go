package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

func TestSuite(t *testing.T) {
	n := redistest.Start(t)
	runSuite(t, Options{Addrs: []string{n.Addr}})
}

// runSuite runs the suite, or parts of it, with a prefix for each folder.
func runSuite(t *testing.T, o Options, parts ...string) {
	t.Helper()
	o.Timeout = 20 * time.Second // what takes time on a busy machine isn't looked at here
	storetest.Run(t, func(t *testing.T, dir string, now func() time.Time) store.Store {
		sum := sha256.Sum256([]byte(dir))
		o.Prefix, o.Now = hex.EncodeToString(sum[:8]), now
		return openTest(t, o)
	}, parts...)
}

// openTest opens a store and closes it at the end of the test.
func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}
