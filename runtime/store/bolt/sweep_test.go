package bolt

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// counts says how many keys each bucket of the file has.
func counts(t *testing.T, s *Store) map[string]int {
	t.Helper()
	n := map[string]int{}
	err := s.view(t.Context(), func(tx *bbolt.Tx) error {
		for _, name := range dataBuckets() {
			n[name] = tx.Bucket([]byte(name)).Stats().KeyN
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSweeperRemovesWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, t.TempDir(), nil)
		put(t, s, "kept", "v")
		for i := range 2*sweepBatch + 10 {
			op := setOp(strconv.Itoa(i), "v")
			op.TTL = time.Minute
			if i < 10 {
				op.Once, op.OnceTTL = strconv.Itoa(i), time.Hour
			}
			if _, err := s.Apply(t.Context(), op); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute + 2*sweepEvery)
		synctest.Wait()
		if n := counts(t, s); n[valuesBucket] != 1 || n[expiryBucket] != 10 || n[marksBucket] != 10 || n[sizesBucket] != 1 {
			t.Fatalf("after the values: %v", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := counts(t, s); n[valuesBucket] != 1 || n[expiryBucket] != 0 || n[marksBucket] != 0 {
			t.Fatalf("after the marks: %v", n)
		}
		if _, err := s.Apply(t.Context(), store.Op{Kind: store.Delete, Bucket: "b", Key: "kept"}); err != nil {
			t.Fatal(err)
		}
		if n := counts(t, s); n[valuesBucket]+n[sizesBucket] != 0 {
			t.Fatalf("of nothing: %v", n)
		}
	})
}

// TestSomethingAlwaysExpires has a value expire whenever somebody looks: neither
// a change over the quota nor the sweeper goes on for as long as that lasts.
func TestSomethingAlwaysExpires(t *testing.T) {
	const n = 200
	var ticks atomic.Int64
	start := time.Now()
	s := openTest(t, t.TempDir(), func() time.Time { return start.Add(time.Duration(ticks.Load()) * time.Minute) })
	s.stopSweep()
	<-s.swept
	put(t, s, "full", "v")
	for i := range n {
		op := setOp("k", "v")
		op.Bucket, op.TTL = strconv.Itoa(i), time.Duration(i+1)*time.Minute
		if _, err := s.Apply(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	commits := 0
	s.commitFile = func(tx *bbolt.Tx) error {
		commits++
		ticks.Add(1)
		return tx.Commit()
	}
	ticks.Add(1)
	op := setOp("more", "v")
	op.Quota = 5
	if _, err := s.Apply(t.Context(), op); !errors.Is(err, store.ErrQuota) || commits > 2 {
		t.Errorf("over the quota: %v after %d commits", err, commits)
	}
	commits = 0
	if err := s.sweep(t.Context()); err != nil || commits > 2 {
		t.Errorf("sweep: %v, %d commits", err, commits)
	}
}

// TestIndexFollowsTheValue changes a value in every way and looks that the index
// has a key for it where it expires, and none else.
func TestIndexFollowsTheValue(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	for i, c := range []struct {
		op    store.Op
		index int
	}{
		{store.Op{Kind: store.Set, TTL: time.Hour}, 1},
		{store.Op{Kind: store.Set, TTL: 2 * time.Hour}, 1},
		{store.Op{Kind: store.Set}, 0},
		{store.Op{Kind: store.CompareAndSet, Expect: []byte{}, TTL: time.Hour}, 1},
		{store.Op{Kind: store.Delete}, 0},
		{store.Op{Kind: store.Add, TTL: time.Hour}, 1},
		{store.Op{Kind: store.Add, Delta: 1}, 1},
		{store.Op{Kind: store.Set, Once: "x", OnceTTL: time.Hour}, 1},
		{store.Op{Kind: store.Set, Once: "x", OnceTTL: 2 * time.Hour}, 1},
	} {
		c.op.Bucket, c.op.Key = "b", "k"
		if _, err := s.Apply(t.Context(), c.op); err != nil {
			t.Fatal(err)
		}
		if n := counts(t, s)[expiryBucket]; n != c.index {
			t.Fatalf("change %d: %d keys in the index, want %d", i, n, c.index)
		}
	}
}

// TestSweepLeavesWhatTheIndexIsWrongAbout has keys in the index that point to nothing,
// or to a value with another time, or are none.
func TestSweepLeavesWhatTheIndexIsWrongAbout(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	put(t, s, "k", "v")
	err := s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(expiryBucket))
		for _, k := range [][]byte{
			indexKey(1, valueIndex, nameKey("b", "k")), indexKey(1, valueIndex, nameKey("b", "none")),
			indexKey(1, markIndex, nameKey("b", "none")), indexKey(1, valueIndex, nil),
			{7},
		} {
			if err := b.Put(k, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.durable.reach(s.durable.id.Load() + 1)
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := counts(t, s); n[expiryBucket] != 0 || n[valuesBucket] != 1 {
		t.Fatalf("%v", n)
	}
	if v, err := s.Get(t.Context(), "b", "k"); err != nil || string(v) != "v" {
		t.Fatalf("%q, %v", v, err)
	}
}

// TestSizesAreExact adds up the keys and values of the file after many changes.
func TestSizesAreExact(t *testing.T) {
	now := time.Unix(1_780_000_000, 0)
	s := openTest(t, t.TempDir(), func() time.Time { return now })
	for i := range 500 {
		op := store.Op{
			Kind: store.Kind(1 + i*7%4), Bucket: "b" + strconv.Itoa(i%3), Key: strconv.Itoa(i * 31 % 40),
			Value: make([]byte, i%90), TTL: time.Duration(i%5) * time.Second, Quota: int64(i%2) * 900,
		}
		_, err := s.Apply(t.Context(), op)
		if err != nil && !errors.Is(err, store.ErrQuota) && !errors.Is(err, store.ErrNotCounter) {
			t.Fatal(err)
		}
		if i%100 == 99 {
			now = now.Add(time.Second)
		}
	}
	want := map[string]int64{}
	got := map[string]int64{}
	err := s.view(t.Context(), func(tx *bbolt.Tx) error {
		err := tx.Bucket([]byte(valuesBucket)).ForEach(func(k, b []byte) error {
			name, key, err := splitName(k)
			if err != nil {
				return err
			}
			v, err := decodeValue(b)
			want[string(name)] += int64(len(key) + len(v.data))
			return err
		})
		if err != nil {
			return err
		}
		return tx.Bucket([]byte(sizesBucket)).ForEach(func(k, b []byte) error {
			n, err := decodeNumber(b)
			got[string(k)] = int64(n)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 {
		t.Fatal("nothing is there")
	}
	for bucket, n := range want {
		if got[bucket] != n {
			t.Errorf("bucket %s has %d bytes, the counter says %d", bucket, n, got[bucket])
		}
	}
}
