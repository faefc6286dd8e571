package bolt

import (
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

func TestSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string, now func() time.Time) store.Store {
		s, err := Open(t.Context(), Options{Dir: dir, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
