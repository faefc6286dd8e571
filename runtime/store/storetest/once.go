package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

func once(t *testing.T, open Open) {
	op := func(k store.Kind, key string) store.Op {
		return store.Op{Kind: k, Bucket: "b", Key: key, Value: []byte("v"), Delta: 1, Once: "e/1", OnceTTL: time.Hour}
	}
	t.Run("a repeat changes nothing and gets the first result", func(t *testing.T) {
		for _, kind := range []store.Kind{store.Set, store.Delete, store.Add, store.CompareAndSet} {
			f := start(t, open)
			if kind == store.Delete {
				f.set("k", "1")
			}
			first := f.apply(op(kind, "k"))
			if first.Repeated || !first.Applied {
				t.Fatalf("kind %d, first: %+v", kind, first)
			}
			f.set("k", "41")
			again := f.apply(op(kind, "k"))
			f.has("k", "41")
			if !again.Repeated {
				t.Fatalf("kind %d, again: %+v", kind, again)
			}
			again.Repeated = false
			if again.Applied != first.Applied || again.Found != first.Found || again.Number != first.Number {
				t.Fatalf("kind %d: first %+v, again %+v", kind, first, again)
			}
		}
	})
	t.Run("the mark is the name's, whatever the second change is", func(t *testing.T) {
		f := start(t, open)
		f.apply(op(store.Set, "k"))
		if r := f.apply(op(store.Set, "l")); !r.Repeated {
			t.Fatalf("%+v", r)
		}
		f.absent("l")
	})
	t.Run("another name or bucket is another change", func(t *testing.T) {
		f := start(t, open)
		f.apply(op(store.Add, "n"))
		o := op(store.Add, "n")
		o.Once = "e/2"
		if r := f.apply(o); r.Repeated || r.Number != 2 {
			t.Fatalf("%+v", r)
		}
		o = op(store.Add, "n")
		o.Bucket = "c"
		if r := f.apply(o); r.Repeated || r.Number != 1 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("after its time the change happens again", func(t *testing.T) {
		f := start(t, open)
		f.apply(op(store.Add, "n"))
		f.clock.Advance(time.Hour - 1)
		if r := f.apply(op(store.Add, "n")); !r.Repeated || r.Number != 1 {
			t.Fatalf("before: %+v", r)
		}
		f.clock.Advance(1)
		if r := f.apply(op(store.Add, "n")); r.Repeated || r.Number != 2 {
			t.Fatalf("after: %+v", r)
		}
		f.clock.Advance(time.Hour - 1)
		if r := f.apply(op(store.Add, "n")); !r.Repeated || r.Number != 2 {
			t.Fatalf("a repeat of the second: %+v", r)
		}
	})
	t.Run("a compare-and-set that lost leaves no mark", func(t *testing.T) {
		f := start(t, open)
		f.set("k", "other")
		if r := f.apply(op(store.CompareAndSet, "k")); r.Applied {
			t.Fatalf("%+v", r)
		}
		f.apply(store.Op{Kind: store.Delete, Bucket: "b", Key: "k"})
		if r := f.apply(op(store.CompareAndSet, "k")); !r.Applied || r.Repeated {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("an error leaves no mark", func(t *testing.T) {
		f := start(t, open)
		f.set("k", "x")
		_, err := f.Apply(t.Context(), op(store.Add, "k"))
		f.is(err, store.ErrNotCounter)
		o := op(store.Set, "k")
		o.Quota = 1
		o.Value = []byte("xx")
		_, err = f.Apply(t.Context(), o)
		f.is(err, store.ErrQuota)
		if r := f.apply(op(store.Set, "k")); r.Repeated {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("marks outlive the store and don't count for the quota", func(t *testing.T) {
		f := start(t, open)
		o := op(store.Set, "k")
		o.Quota = 2
		f.apply(o)
		f.reopen()
		if r := f.apply(o); !r.Repeated {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("a repeat is no error where the first would be one now", func(t *testing.T) {
		f := start(t, open)
		f.apply(op(store.Add, "n"))
		f.set("n", "x")
		if r := f.apply(op(store.Add, "n")); !r.Repeated || r.Number != 1 {
			t.Fatalf("%+v", r)
		}
	})
}

func arguments(t *testing.T, open Open) {
	long := strings.Repeat("x", store.MaxKey+1)
	name := strings.Repeat("x", store.MaxName+1)
	big := make([]byte, store.MaxValue+1)
	good := store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: []byte("v")}
	t.Run("an Op out of bounds is ErrInvalid", func(t *testing.T) {
		f := start(t, open)
		for what, change := range map[string]func(*store.Op){
			"no kind":             func(o *store.Op) { o.Kind = 0 },
			"unknown kind":        func(o *store.Op) { o.Kind = 9 },
			"no bucket":           func(o *store.Op) { o.Bucket = "" },
			"long bucket":         func(o *store.Op) { o.Bucket = name },
			"no key":              func(o *store.Op) { o.Key = "" },
			"long key":            func(o *store.Op) { o.Key = long },
			"big value":           func(o *store.Op) { o.Value = big },
			"big expect":          func(o *store.Op) { o.Expect = big },
			"negative TTL":        func(o *store.Op) { o.TTL = -1 },
			"negative quota":      func(o *store.Op) { o.Quota = -1 },
			"long once":           func(o *store.Op) { o.Once, o.OnceTTL = name, 1 },
			"once without a time": func(o *store.Op) { o.Once = "x" },
		} {
			o := good
			change(&o)
			if _, err := f.Apply(t.Context(), o); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		f.absent("k")
		_, err := f.Get(t.Context(), "", "k")
		f.is(err, store.ErrInvalid)
		_, err = f.Get(t.Context(), "b", long)
		f.is(err, store.ErrInvalid)
	})
	t.Run("a call of the queue out of bounds is ErrInvalid", func(t *testing.T) {
		f := start(t, open)
		ctx := t.Context()
		f.put("k")
		c := f.claims("k")[0]
		bigClaim := c
		bigClaim.Value = big
		_, noQueue := f.Append(ctx, "", 0, entries("a")...)
		_, badHold := f.Append(ctx, "q", -1, entries("a")...)
		_, noKey := f.Append(ctx, "q", 0, entries("a", "")...)
		_, longKey := f.Append(ctx, "q", 0, entries("a", name)...)
		_, bigValue := f.Append(ctx, "q", 0, store.Entry{Key: "a"}, store.Entry{Key: "b", Value: big})
		_, claimNone := f.Claim(ctx, "q", "", 0, time.Second)
		_, claimNoTime := f.Claim(ctx, "q", "", 1, 0)
		_, claimNoQueue := f.Claim(ctx, "", "", 1, 1)
		_, longLine := f.Append(ctx, "q", 0, store.Entry{Key: "a", Line: name})
		_, badQuota := f.Append(ctx, "q", 0, store.Entry{Key: "a", Quota: -1})
		_, claimLongLine := f.Claim(ctx, "q", name, 1, 1)
		_, depthNoQueue := f.Depth(ctx, name)
		_, linesNoQueue := f.Lines(ctx, "")
		for what, err := range map[string]error{
			"append to no queue": noQueue, "append with a hold below 0": badHold, "append without a key": noKey,
			"append with a long key": longKey, "append of a big value": bigValue,
			"claim of 0": claimNone, "claim for 0": claimNoTime, "claim of no queue": claimNoQueue,
			"extend for 0": f.Extend(ctx, "q", c, 0), "release with a big value": f.Release(ctx, "q", bigClaim, 0),
			"depth of a long name": depthNoQueue, "lines of no queue": linesNoQueue,
			"append to a long line": longLine, "append with a quota below 0": badQuota, "claim of a long line": claimLongLine,
			"list of no queue":    f.List(ctx, "", 0, func(store.Info) bool { return true }),
			"retry without a key": f.Retry(ctx, "q", ""), "drop of no queue": f.Drop(ctx, "", "k"),
		} {
			if !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		f.depth(store.Depth{Claimed: 1})
	})
	t.Run("the largest of everything is allowed", func(t *testing.T) {
		f := start(t, open)
		f.apply(store.Op{
			Kind: store.CompareAndSet, Bucket: name[1:], Key: long[1:], Value: big[1:],
			Once: name[1:], OnceTTL: time.Hour, TTL: time.Hour,
		})
		claims, err := f.Append(t.Context(), name[1:], time.Minute, store.Entry{Key: name[1:], Value: big[1:]})
		f.ok(err)
		f.ok(f.Release(t.Context(), name[1:], claims[0], 0))
	})
	t.Run("no error holds a key or a value", func(t *testing.T) {
		f := start(t, open)
		o := store.Op{Kind: store.Set, Bucket: "b", Key: "oSecret", Value: []byte("oSecret")}
		f.apply(o)
		o.Kind = store.Add
		_, notCounter := f.Apply(t.Context(), o)
		o.Kind, o.Key, o.Quota = store.Set, "oSecret2", 1
		_, overQuota := f.Apply(t.Context(), o)
		_, notFound := f.Get(t.Context(), "b", "oSecret3")
		for _, err := range []error{notCounter, overQuota, notFound} {
			if err == nil || strings.Contains(err.Error(), "oSecret") {
				t.Errorf("error %v", err)
			}
		}
	})
}
