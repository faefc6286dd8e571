package storetest

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

func keyValue(t *testing.T, open Open) {
	t.Run("a value that was set is read", func(t *testing.T) {
		f := start(t, open)
		if r := f.apply(store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: []byte("v")}); !r.Applied || r.Found || r.Repeated {
			t.Fatalf("%+v", r)
		}
		f.has("k", "v")
		f.set("k", "w")
		f.has("k", "w")
	})
	t.Run("a key that is not there is ErrNotFound", func(t *testing.T) {
		f := start(t, open)
		f.absent("k")
		f.set("k", "v")
		_, err := f.Get(t.Context(), "other", "k")
		f.is(err, store.ErrNotFound)
		f.absent("kk")
	})
	t.Run("buckets and keys that run into each other are different", func(t *testing.T) {
		f := start(t, open)
		names := [][2]string{{"a", "bc"}, {"ab", "c"}, {"a\x00", "c"}, {"a", "\x00c"}, {"\x01a", "c"}, {"a", "\x01ac"}}
		for i, n := range names {
			f.apply(store.Op{Kind: store.Set, Bucket: n[0], Key: n[1], Value: []byte{byte(i)}})
		}
		for i, n := range names {
			v, err := f.Get(t.Context(), n[0], n[1])
			f.ok(err)
			if len(v) != 1 || v[0] != byte(i) {
				t.Fatalf("%q: %v", n, v)
			}
		}
	})
	t.Run("keys and values may hold any bytes", func(t *testing.T) {
		f := start(t, open)
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		for _, k := range []string{"\x00", "\xff", string(all), "微信", strings.Repeat("\xff", store.MaxKey)} {
			f.set(k, string(all))
			f.has(k, string(all))
		}
	})
	t.Run("a present empty value", func(t *testing.T) {
		f := start(t, open)
		f.apply(store.Op{Kind: store.Set, Bucket: "b", Key: "k"})
		f.has("k", "")
	})
	t.Run("the slices are the caller's", func(t *testing.T) {
		f := start(t, open)
		v := []byte("value")
		f.apply(store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: v})
		copy(v, "XXXXX")
		got, err := f.Get(t.Context(), "b", "k")
		f.ok(err)
		copy(got, "YYYYY")
		f.has("k", "value")
	})
	t.Run("delete removes the key and says whether there was one", func(t *testing.T) {
		f := start(t, open)
		del := store.Op{Kind: store.Delete, Bucket: "b", Key: "k"}
		if r := f.apply(del); !r.Applied || r.Found {
			t.Fatalf("of none: %+v", r)
		}
		f.set("k", "v")
		if r := f.apply(del); !r.Applied || !r.Found {
			t.Fatalf("of one: %+v", r)
		}
		f.absent("k")
	})
	t.Run("big values", func(t *testing.T) {
		f := start(t, open)
		for i := range 3 {
			v := string(bytes.Repeat([]byte{byte('a' + i)}, store.MaxValue))
			f.set("k", v)
			f.set("k"+strconv.Itoa(i), v)
			f.has("k", v)
		}
		f.reopen()
		f.has("k0", strings.Repeat("a", store.MaxValue))
	})
	t.Run("what was changed is there after Close and open", func(t *testing.T) {
		f := start(t, open)
		f.set("kept", "1")
		f.set("gone", "1")
		f.apply(store.Op{Kind: store.Delete, Bucket: "b", Key: "gone"})
		f.reopen()
		f.has("kept", "1")
		f.absent("gone")
	})
}

func counter(t *testing.T, open Open) {
	add := func(f *fixture, n int64) (int64, error) {
		r, err := f.Apply(f.Context(), store.Op{Kind: store.Add, Bucket: "b", Key: "n", Delta: n})
		return r.Number, err
	}
	t.Run("add counts from 0 and keeps decimal text", func(t *testing.T) {
		f := start(t, open)
		sum := int64(0)
		for _, d := range []int64{0, 5, -7, 1 << 40, -1} {
			sum += d
			got, err := add(f, d)
			f.ok(err)
			if got != sum {
				t.Fatalf("after %d: %d, want %d", d, got, sum)
			}
			f.has("n", strconv.FormatInt(sum, 10))
		}
	})
	t.Run("a value that is not a counter is ErrNotCounter and stays", func(t *testing.T) {
		for _, v := range []string{"", "x", "1x", " 1", "1 ", "+1", "01", "-0", "0x1", "1_0", "9223372036854775808", "1.0", "１"} {
			f := start(t, open)
			f.set("n", v)
			_, err := add(f, 1)
			f.is(err, store.ErrNotCounter)
			f.has("n", v)
		}
	})
	t.Run("a sum out of the range is ErrNotCounter and the value stays", func(t *testing.T) {
		f := start(t, open)
		for _, c := range []struct{ at, delta int64 }{
			{math.MaxInt64, 1}, {math.MinInt64, -1}, {1, math.MaxInt64}, {-1, math.MinInt64}, {math.MaxInt64, math.MaxInt64},
		} {
			f.set("n", strconv.FormatInt(c.at, 10))
			_, err := add(f, c.delta)
			f.is(err, store.ErrNotCounter)
			f.has("n", strconv.FormatInt(c.at, 10))
		}
		f.set("n", strconv.FormatInt(math.MinInt64, 10))
		n, err := add(f, math.MaxInt64)
		f.ok(err)
		if n != -1 {
			t.Fatal(n)
		}
	})
	t.Run("an add to a counter that exists leaves its expiry alone", func(t *testing.T) {
		f := start(t, open)
		op := store.Op{Kind: store.Add, Bucket: "b", Key: "n", Delta: 1, TTL: time.Minute}
		f.apply(op)
		f.clock.Advance(40 * time.Second)
		op.TTL = time.Hour
		if r := f.apply(op); r.Number != 2 {
			t.Fatalf("%+v", r)
		}
		f.clock.Advance(20 * time.Second)
		f.absent("n")
		if r := f.apply(op); r.Number != 1 {
			t.Fatalf("an expired counter is none: %+v", r)
		}
		f.clock.Advance(time.Hour - 1)
		f.has("n", "1")
		f.clock.Advance(1)
		f.absent("n")
	})
}

func compareAndSet(t *testing.T, open Open) {
	cas := func(f *fixture, expect, v []byte) store.Result {
		f.Helper()
		return f.apply(store.Op{Kind: store.CompareAndSet, Bucket: "b", Key: "k", Expect: expect, Value: v})
	}
	t.Run("it sets where the value is the expected one", func(t *testing.T) {
		f := start(t, open)
		f.set("k", "a")
		if r := cas(f, []byte("a"), []byte("b")); !r.Applied || r.Found || r.Value != nil {
			t.Fatalf("%+v", r)
		}
		f.has("k", "b")
	})
	t.Run("lost, it changes nothing and gives the value that was there", func(t *testing.T) {
		f := start(t, open)
		f.set("k", "a")
		for _, expect := range [][]byte{nil, {}, []byte("b"), []byte("aa")} {
			if r := cas(f, expect, []byte("c")); r.Applied || !r.Found || string(r.Value) != "a" {
				t.Fatalf("expect %q: %+v", expect, r)
			}
		}
		f.has("k", "a")
	})
	t.Run("nil expects that there is none", func(t *testing.T) {
		f := start(t, open)
		if r := cas(f, []byte("a"), []byte("b")); r.Applied || r.Found || r.Value != nil {
			t.Fatalf("%+v", r)
		}
		if r := cas(f, nil, []byte("b")); !r.Applied {
			t.Fatalf("%+v", r)
		}
		f.has("k", "b")
	})
	t.Run("an empty slice expects a present empty value", func(t *testing.T) {
		f := start(t, open)
		if r := cas(f, []byte{}, []byte("b")); r.Applied || r.Found {
			t.Fatalf("of none: %+v", r)
		}
		f.set("k", "")
		if r := cas(f, nil, []byte("b")); r.Applied || !r.Found || len(r.Value) != 0 {
			t.Fatalf("nil: %+v", r)
		}
		if r := cas(f, []byte{}, []byte("b")); !r.Applied {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("an expired value is none", func(t *testing.T) {
		f := start(t, open)
		f.apply(store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: []byte("a"), TTL: time.Second})
		f.clock.Advance(time.Second)
		if r := cas(f, []byte("a"), []byte("b")); r.Applied || r.Found {
			t.Fatalf("%+v", r)
		}
		if r := cas(f, nil, []byte("b")); !r.Applied {
			t.Fatalf("%+v", r)
		}
		f.clock.Advance(time.Hour)
		f.has("k", "b")
	})
}

func expiry(t *testing.T, open Open) {
	ttl := func(f *fixture, k string, d time.Duration) {
		f.Helper()
		f.apply(store.Op{Kind: store.Set, Bucket: "b", Key: k, Value: []byte("v"), TTL: d})
	}
	t.Run("a value is there until its time is over, and then absent at once", func(t *testing.T) {
		f := start(t, open)
		ttl(f, "k", time.Minute)
		f.clock.Advance(time.Minute - 1)
		f.has("k", "v")
		f.clock.Advance(1)
		f.absent("k")
		if r := f.apply(store.Op{Kind: store.Delete, Bucket: "b", Key: "k"}); r.Found {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("a set gives the value a new time, 0 for ever", func(t *testing.T) {
		f := start(t, open)
		ttl(f, "longer", time.Second)
		ttl(f, "longer", time.Hour)
		ttl(f, "shorter", time.Hour)
		ttl(f, "shorter", time.Second)
		ttl(f, "ever", time.Second)
		ttl(f, "ever", 0)
		f.clock.Advance(time.Minute)
		f.has("longer", "v")
		f.absent("shorter")
		f.has("ever", "v")
	})
	t.Run("the longest time there is does not turn over", func(t *testing.T) {
		f := start(t, open)
		ttl(f, "k", math.MaxInt64)
		f.clock.Advance(time.Hour)
		f.has("k", "v")
	})
	t.Run("times go on while the store is closed", func(t *testing.T) {
		f := start(t, open)
		ttl(f, "k", time.Minute)
		ttl(f, "l", time.Hour)
		f.ok(f.Close())
		f.clock.Advance(time.Minute)
		f.Store = f.open(t, f.dir, f.clock.Now)
		f.absent("k")
		f.has("l", "v")
	})
	t.Run("many at once", func(t *testing.T) {
		f := start(t, open)
		for i := range 200 {
			ttl(f, strconv.Itoa(i), time.Duration(1+i%3)*time.Second)
		}
		f.clock.Advance(2 * time.Second)
		for i := range 200 {
			if k := strconv.Itoa(i); i%3 == 2 {
				f.has(k, "v")
			} else {
				f.absent(k)
			}
		}
	})
}

func quota(t *testing.T, open Open) {
	set := func(f *fixture, k string, n int, q int64) error {
		_, err := f.Apply(f.Context(), store.Op{Kind: store.Set, Bucket: "b", Key: k, Value: make([]byte, n), Quota: q})
		return err
	}
	t.Run("keys and values count, to the byte", func(t *testing.T) {
		f := start(t, open)
		f.ok(set(f, "ab", 8, 10))
		f.is(set(f, "c", 0, 10), store.ErrQuota)
		f.is(set(f, "ab", 9, 10), store.ErrQuota)
		f.ok(set(f, "ab", 7, 10))
		f.ok(set(f, "c", 0, 10))
		f.absent("d")
		f.has("ab", strings.Repeat("\x00", 7))
	})
	t.Run("every kind that sets is bound by it, and one that is refused changes nothing", func(t *testing.T) {
		f := start(t, open)
		f.ok(set(f, "k", 9, 10))
		for _, op := range []store.Op{
			{Kind: store.Set, Key: "l"},
			{Kind: store.Add, Key: "l", Delta: 1},
			{Kind: store.CompareAndSet, Key: "l"},
			{Kind: store.CompareAndSet, Key: "k", Expect: make([]byte, 9), Value: make([]byte, 10)},
		} {
			op.Bucket, op.Quota = "b", 10
			_, err := f.Apply(t.Context(), op)
			f.is(err, store.ErrQuota)
			f.absent("l")
		}
		f.has("k", strings.Repeat("\x00", 9))
		f.apply(store.Op{Kind: store.Delete, Bucket: "b", Key: "k", Quota: 1})
		f.ok(set(f, "l", 9, 10))
	})
	t.Run("a change that leaves the bucket no larger is never refused", func(t *testing.T) {
		f := start(t, open)
		f.ok(set(f, "k", 99, 0))
		f.is(set(f, "k", 100, 10), store.ErrQuota)
		f.ok(set(f, "k", 99, 10))
		f.ok(set(f, "k", 50, 10))
		f.is(set(f, "k", 51, 10), store.ErrQuota)
	})
	t.Run("another bucket doesn't count", func(t *testing.T) {
		f := start(t, open)
		f.apply(store.Op{Kind: store.Set, Bucket: "c", Key: "k", Value: make([]byte, 100)})
		f.ok(set(f, "k", 9, 10))
	})
	t.Run("expired values don't count, though nobody removed them", func(t *testing.T) {
		f := start(t, open)
		for i := range 2000 {
			f.apply(store.Op{Kind: store.Set, Bucket: "b", Key: strconv.Itoa(10000 + i), TTL: time.Second, Quota: 10000})
		}
		f.is(set(f, "k", 0, 10000), store.ErrQuota)
		f.clock.Advance(time.Second)
		f.ok(set(f, "k", 9999, 10000))
		f.is(set(f, "l", 0, 10000), store.ErrQuota)
	})
	t.Run("an expired value that is set again counts once", func(t *testing.T) {
		f := start(t, open)
		op := store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: make([]byte, 9), TTL: time.Second, Quota: 10}
		for range 3 {
			f.apply(op)
			f.clock.Advance(time.Second)
		}
		f.apply(op)
		f.is(set(f, "l", 0, 10), store.ErrQuota)
	})
	t.Run("a lost compare-and-set over the quota is lost", func(t *testing.T) {
		f := start(t, open)
		f.ok(set(f, "k", 9, 10))
		if r := f.apply(store.Op{Kind: store.CompareAndSet, Bucket: "b", Key: "k", Value: make([]byte, 99), Quota: 10}); r.Applied || !r.Found {
			t.Fatalf("%+v", r)
		}
	})
}
