package bolt

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// spoil puts b in place of a record of the file of an open store.
func spoil(t *testing.T, s *Store, bucket string, key, b []byte) {
	t.Helper()
	err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put(key, b) })
	if err != nil {
		t.Fatal(err)
	}
	s.durable.reach(s.durable.id.Load() + 1)
}

func TestDamagedRecordsAreErrors(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	for name, c := range map[string]struct {
		bucket string
		key    []byte
		call   func(key string) error
	}{
		"value, read": {valuesBucket, nameKey("b", "value, read"), func(k string) error {
			_, err := s.Get(t.Context(), "b", k)
			return err
		}},
		"value, changed": {valuesBucket, nameKey("b", "value, changed"), func(k string) error {
			_, err := s.Apply(t.Context(), setOp(k, "v"))
			return err
		}},
		"mark": {marksBucket, nameKey("b", "mark"), func(k string) error {
			op := setOp(k, "v")
			op.Once, op.OnceTTL = k, time.Hour
			_, err := s.Apply(t.Context(), op)
			return err
		}},
		"number of an entry": {keysBucket, nameKey("q", "number of an entry"), func(k string) error {
			return s.Drop(t.Context(), "q", k)
		}},
		"entry, listed": {entriesBucket, entryKey("r", 1000), func(string) error {
			return s.List(t.Context(), "r", 0, func(store.Info) bool { return true })
		}},
	} {
		for _, b := range [][]byte{{}, {recordFormat}, {recordFormat + 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
			spoil(t, s, c.bucket, c.key, b)
			if err := c.call(name); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, errRecord) {
				t.Errorf("%s, %x: %v", name, b, err)
			}
		}
	}
	put(t, s, "another", "v")
}

func TestDamagedSizeStopsChangesOfItsBucketOnly(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	spoil(t, s, sizesBucket, []byte("c"), []byte("?"))
	if _, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: "c", Key: "k"}); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	put(t, s, "k", "v")
}

func TestDamagedQueueIsAnErrorOfOpen(t *testing.T) {
	for name, key := range map[string][]byte{"entry": entryKey("q", 7), "key": {9, 9}, "number": nameKey("q", "xx")} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		update(t, path, func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(entriesBucket)).Put(key, []byte("?"))
		})
		if _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, errRecord) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClaimThatCannotBeReadIsGivenBack ends a Claim while it waits for a commit.
func TestClaimThatCannotBeReadIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, t.TempDir(), nil)
		if _, err := s.Append(t.Context(), "q", 0, store.Entry{Key: "1"}, store.Entry{Key: "2"}); err != nil {
			t.Fatal(err)
		}
		g := guard(s)
		set := start(1, func(int) error {
			_, err := s.Apply(t.Context(), setOp("k", "v"))
			return err
		})
		<-g.reached
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Claim(ctx, "q", "", 2, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		g.answer <- nil
		if err := <-set; err != nil {
			t.Fatal(err)
		}
		cs, err := s.Claim(t.Context(), "q", "", 2, time.Hour)
		if err != nil || len(cs) != 2 || cs[0].Key != "1" {
			t.Fatalf("%+v, %v", cs, err)
		}
	})
}

// nextOf is when the first entry of the only line of queue q can be claimed.
func nextOf(t *testing.T, s *Store) time.Time {
	t.Helper()
	lines, err := s.Lines(t.Context(), "q")
	if err != nil || len(lines) != 1 {
		t.Fatalf("%+v, %v", lines, err)
	}
	return lines[0].Next
}

// TestNextWhileAClaimSettles has no other entry than one whose Release is on its way.
func TestNextWhileAClaimSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, t.TempDir(), nil)
		claims, err := s.Append(t.Context(), "q", time.Minute, store.Entry{Key: "1"})
		if err != nil {
			t.Fatal(err)
		}
		g := guard(s)
		release := start(1, func(int) error { return s.Release(t.Context(), "q", claims[0], time.Hour) })
		<-g.reached
		if at := nextOf(t, s); !at.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("while it settles: %v", at)
		}
		if err := s.Extend(t.Context(), "q", claims[0], time.Hour); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("extended while it settles: %v", err)
		}
		g.answer <- nil
		if err := <-release; err != nil {
			t.Fatal(err)
		}
		if at := nextOf(t, s); !at.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("after: %v", at)
		}
	})
}
