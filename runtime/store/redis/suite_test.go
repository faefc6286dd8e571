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

// runSuite runs the suite with a prefix for each folder.
func runSuite(t *testing.T, o Options) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, dir string, now func() time.Time) store.Store {
		sum := sha256.Sum256([]byte(dir))
		o.Prefix, o.Now = hex.EncodeToString(sum[:8]), now
		return openTest(t, o)
	})
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
