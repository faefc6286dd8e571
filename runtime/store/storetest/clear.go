package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

func clearing(t *testing.T, open Open) {
	empty := func(f *fixture, bucket string, step int) (calls int) {
		f.Helper()
		for left := true; left; calls++ {
			var err error
			left, err = f.Clear(f.Context(), bucket, step)
			f.ok(err)
			if calls > 1000 {
				f.Fatal("it never ends")
			}
		}
		return calls
	}
	put := func(f *fixture, bucket string, i int) {
		f.Helper()
		op := store.Op{Kind: store.Set, Bucket: bucket, Key: fmt.Sprint("key", i), Value: []byte("value"), Quota: 1 << 20}
		switch i % 3 {
		case 1:
			op.TTL = time.Hour
		case 2:
			op.Once, op.OnceTTL = fmt.Sprint("once", i), time.Hour
		}
		f.apply(op)
	}
	gone := func(f *fixture, bucket string, n int) {
		f.Helper()
		for i := range n {
			_, err := f.Get(f.Context(), bucket, fmt.Sprint("key", i))
			f.is(err, store.ErrNotFound)
		}
	}
	t.Run("nothing of the bucket is left, of others all", func(t *testing.T) {
		f := start(t, open)
		others := []string{"a", "abc", "aa", "a\x00", "\x02ab", "b"}
		for i := range 100 {
			put(f, "ab", i)
		}
		for _, b := range others {
			put(f, b, 0)
			put(f, b, 2)
		}
		empty(f, "ab", 7)
		gone(f, "ab", 100)
		for _, b := range others {
			for _, i := range []int{0, 2} {
				v, err := f.Get(t.Context(), b, fmt.Sprint("key", i))
				f.ok(err)
				if string(v) != "value" {
					t.Fatalf("%q: %q", b, v)
				}
			}
			if r := f.apply(store.Op{Kind: store.Set, Bucket: b, Key: "x", Once: "once2", OnceTTL: time.Hour}); !r.Repeated {
				t.Fatalf("%q has lost its marks", b)
			}
		}
		f.reopen()
		gone(f, "ab", 100)
	})
	t.Run("a step is bounded", func(t *testing.T) {
		f := start(t, open)
		for i := range 30 {
			f.apply(store.Op{Kind: store.Set, Bucket: "b", Key: fmt.Sprint("key", i)})
		}
		left, err := f.Clear(t.Context(), "b", 10)
		f.ok(err)
		there := 0
		for i := range 30 {
			if _, err := f.Get(t.Context(), "b", fmt.Sprint("key", i)); err == nil {
				there++
			}
		}
		if !left || there != 20 {
			t.Fatalf("left %v, %d keys", left, there)
		}
		if n := empty(f, "b", 10); n > 3 {
			t.Fatalf("%d calls more", n)
		}
	})
	t.Run("quota, marks and expiry begin anew", func(t *testing.T) {
		f := start(t, open)
		full := store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: make([]byte, 99), Quota: 100, TTL: time.Hour, Once: "once", OnceTTL: time.Hour}
		f.apply(full)
		empty(f, "b", 1)
		f.clock.Advance(time.Minute)
		full.TTL = 0
		if r := f.apply(full); r.Repeated {
			t.Fatalf("%+v", r)
		}
		f.clock.Advance(2 * time.Hour)
		if v, err := f.Get(t.Context(), "b", "k"); err != nil || len(v) != 99 {
			t.Fatalf("%d bytes, %v", len(v), err)
		}
		full.Key, full.Once = "l", ""
		_, err := f.Apply(t.Context(), full)
		f.is(err, store.ErrQuota)
	})
	t.Run("an empty bucket", func(t *testing.T) {
		f := start(t, open)
		if n := empty(f, "none", 5); n != 1 {
			t.Fatalf("%d calls", n)
		}
	})
	t.Run("wrong arguments", func(t *testing.T) {
		f := start(t, open)
		_, err := f.Clear(t.Context(), "b", 0)
		f.is(err, store.ErrInvalid)
		_, err = f.Clear(t.Context(), "", 1)
		f.is(err, store.ErrInvalid)
	})
}
