package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

func appending(t *testing.T, open Open) {
	t.Run("an entry that was appended can be claimed", func(t *testing.T) {
		f := start(t, open)
		claims, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "k", Value: []byte("v")})
		f.ok(err)
		if len(claims) != 0 {
			t.Fatalf("claims without a hold: %v", claims)
		}
		c := f.claims("k")[0]
		if string(c.Value) != "v" || c.Tries != 0 || !c.Appended.Equal(f.clock.Now()) || c.Token == 0 {
			t.Fatalf("%+v", c)
		}
	})
	t.Run("a key that is there, in whatever state, is left as it is", func(t *testing.T) {
		f := start(t, open)
		f.put("ready", "claimed", "dead")
		f.ok(f.Bury(t.Context(), "q", f.claims("ready", "claimed", "dead")[2], "why"))
		f.clock.Advance(2 * time.Minute)
		f.claim(2, time.Hour)
		_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "delayed", Delay: time.Hour})
		f.ok(err)
		f.ok(f.List(t.Context(), "q", 0, func(i store.Info) bool {
			_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: i.Key, Value: []byte("new")})
			f.ok(err)
			return true
		}))
		f.depth(store.Depth{Claimed: 2, Delayed: 1, Dead: 1})
		for _, i := range f.list() {
			if string(i.Value) == "new" {
				t.Errorf("%s was changed", i.Key)
			}
		}
	})
	t.Run("a key is unique in its queue, and in no other", func(t *testing.T) {
		f := start(t, open)
		f.put("k")
		_, err := f.Append(t.Context(), "r", 0, entries("k")...)
		f.ok(err)
		f.put("k")
		f.claims("k")
		cs, err := f.Claim(t.Context(), "r", "", 9, time.Minute)
		f.ok(err)
		f.keys(cs, "k")
	})
	t.Run("a key twice in one call is there once", func(t *testing.T) {
		f := start(t, open)
		claims, err := f.Append(t.Context(), "q", time.Minute,
			store.Entry{Key: "k", Value: []byte("1")}, store.Entry{Key: "k", Value: []byte("2")})
		f.ok(err)
		if len(claims) != 2 || string(claims[0].Value) != "1" || claims[1].Token != 0 {
			t.Fatalf("%+v", claims)
		}
		f.depth(store.Depth{Claimed: 1})
	})
	t.Run("with a hold the new entries are claimed at once", func(t *testing.T) {
		f := start(t, open)
		f.put("b")
		claims, err := f.Append(t.Context(), "q", time.Minute, entries("a", "b", "c")...)
		f.ok(err)
		if len(claims) != 3 || claims[0].Key != "a" || claims[0].Token == 0 || claims[2].Key != "c" || string(claims[2].Value) != "c" {
			t.Fatalf("%+v", claims)
		}
		if z := claims[1]; z.Key != "" || z.Token != 0 || z.Value != nil {
			t.Fatalf("there already: %+v", z)
		}
		f.claims("b")
		f.ok(f.Ack(t.Context(), "q", claims[0]))
		f.clock.Advance(time.Minute)
		f.claims("b", "c")
		f.is(f.Ack(t.Context(), "q", claims[2]), store.ErrNotFound)
	})
	t.Run("with a hold the delay is not looked at", func(t *testing.T) {
		f := start(t, open)
		_, err := f.Append(t.Context(), "q", time.Second, store.Entry{Key: "k", Delay: time.Hour})
		f.ok(err)
		f.clock.Advance(time.Second)
		f.claims("k")
	})
	t.Run("a delayed entry is ready after its delay", func(t *testing.T) {
		f := start(t, open)
		_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "late", Delay: time.Minute}, store.Entry{Key: "now", Delay: -time.Hour})
		f.ok(err)
		f.depth(store.Depth{Ready: 1, Delayed: 1})
		f.claim(1, time.Hour)
		f.clock.Advance(time.Minute - 1)
		f.claims()
		f.clock.Advance(1)
		f.claims("late")
	})
	t.Run("none is none", func(t *testing.T) {
		f := start(t, open)
		f.put()
		f.depth(store.Depth{})
	})
	t.Run("many and large ones, all or none", func(t *testing.T) {
		f := start(t, open)
		var es []store.Entry
		for i := range 20 {
			es = append(es, store.Entry{Key: fmt.Sprint(i), Value: bytes.Repeat([]byte{byte(i)}, 1<<20)})
		}
		_, err := f.Append(t.Context(), "q", 0, es...)
		f.ok(err)
		bad := append([]store.Entry{{Key: "x"}}, store.Entry{Key: strings.Repeat("x", 300)})
		_, err = f.Append(t.Context(), "q", 0, bad...)
		f.is(err, store.ErrInvalid)
		cs := f.claim(100, time.Minute)
		if len(cs) != 20 {
			t.Fatal(len(cs))
		}
		for i, c := range cs {
			if !bytes.Equal(c.Value, es[i].Value) {
				t.Fatalf("value %d differs", i)
			}
		}
	})
	t.Run("keys may hold any bytes", func(t *testing.T) {
		f := start(t, open)
		keys := []string{"\x00", "\xff", "a\x00b", strings.Repeat("\xff", store.MaxName)}
		f.put(keys...)
		for _, c := range f.claims(keys...) {
			f.ok(f.Ack(t.Context(), "q", c))
		}
		f.depth(store.Depth{})
	})
	t.Run("the slice is the caller's", func(t *testing.T) {
		f := start(t, open)
		v := []byte("value")
		_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "k", Value: v})
		f.ok(err)
		copy(v, "XXXXX")
		if c := f.claims("k")[0]; string(c.Value) != "value" {
			t.Fatalf("%q", c.Value)
		}
	})
}

func claiming(t *testing.T, open Open) {
	t.Run("the oldest first, whenever they became ready", func(t *testing.T) {
		f := start(t, open)
		_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "1", Delay: 2 * time.Second}, store.Entry{Key: "2", Delay: time.Second}, store.Entry{Key: "3"})
		f.ok(err)
		f.put("4")
		f.clock.Advance(2 * time.Second)
		f.put("5")
		f.claims("1", "2", "3", "4", "5")
	})
	t.Run("up to max", func(t *testing.T) {
		f := start(t, open)
		f.put("1", "2", "3", "4")
		f.keys(f.claim(3, time.Minute), "1", "2", "3")
		f.keys(f.claim(3, time.Minute), "4")
	})
	t.Run("it does not wait: none ready is an empty result", func(t *testing.T) {
		f := start(t, open)
		f.claims()
		f.put("1")
		f.claims("1")
		f.claims()
	})
	t.Run("a claimed entry is ready again after the hold", func(t *testing.T) {
		f := start(t, open)
		f.put("1")
		first := f.claim(1, time.Minute)[0]
		f.clock.Advance(time.Minute - 1)
		f.claims()
		f.clock.Advance(1)
		f.depth(store.Depth{Ready: 1})
		second := f.claims("1")[0]
		if first.Token == second.Token || !second.Appended.Equal(first.Appended) {
			t.Fatalf("%+v, then %+v", first, second)
		}
		for what, err := range map[string]error{
			"Ack": f.Ack(t.Context(), "q", first), "Release": f.Release(t.Context(), "q", first, 0),
			"Bury": f.Bury(t.Context(), "q", first, ""), "Extend": f.Extend(t.Context(), "q", first, time.Hour),
		} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of a lost claim: %v", what, err)
			}
		}
		f.ok(f.Ack(t.Context(), "q", second))
	})
	t.Run("a claim is lost when its time is over, though nobody took the entry", func(t *testing.T) {
		f := start(t, open)
		f.put("1")
		c := f.claims("1")[0]
		f.clock.Advance(time.Minute)
		f.is(f.Ack(t.Context(), "q", c), store.ErrNotFound)
		f.depth(store.Depth{Ready: 1})
	})
	t.Run("extend makes it last from now, longer or shorter", func(t *testing.T) {
		f := start(t, open)
		f.put("1", "2")
		cs := f.claims("1", "2")
		f.clock.Advance(50 * time.Second)
		f.ok(f.Extend(t.Context(), "q", cs[0], time.Minute))
		f.ok(f.Extend(t.Context(), "q", cs[1], time.Second))
		f.clock.Advance(time.Second)
		f.keys(f.claim(9, time.Second), "2")
		f.clock.Advance(58 * time.Second)
		f.ok(f.Extend(t.Context(), "q", cs[0], 2*time.Second))
		f.clock.Advance(2 * time.Second)
		f.claims("1", "2")
		f.is(f.Extend(t.Context(), "q", cs[0], time.Hour), store.ErrNotFound)
	})
	t.Run("a claim is good for its queue, key and token only", func(t *testing.T) {
		f := start(t, open)
		f.put("1", "2")
		cs := f.claims("1", "2")
		mixed := cs[0]
		mixed.Key = "2"
		f.is(f.Ack(t.Context(), "q", mixed), store.ErrNotFound)
		f.is(f.Ack(t.Context(), "r", cs[0]), store.ErrNotFound)
		f.is(f.Ack(t.Context(), "q", store.Claim{Key: "1"}), store.ErrNotFound)
		f.depth(store.Depth{Claimed: 2})
	})
	t.Run("the slice is the caller's", func(t *testing.T) {
		f := start(t, open)
		f.put("1")
		copy(f.claims("1")[0].Value, "X")
		f.clock.Advance(time.Minute)
		if c := f.claims("1")[0]; string(c.Value) != "1" {
			t.Fatalf("%q", c.Value)
		}
	})
}

func settling(t *testing.T, open Open) {
	t.Run("ack removes for good, and the key is free", func(t *testing.T) {
		f := start(t, open)
		f.put("1")
		c := f.claims("1")[0]
		f.ok(f.Ack(t.Context(), "q", c))
		f.is(f.Ack(t.Context(), "q", c), store.ErrNotFound)
		f.depth(store.Depth{})
		f.clock.Advance(time.Hour)
		f.claims()
		f.reopen()
		f.claims()
		f.put("1")
		f.claims("1")
	})
	t.Run("release stores value and tries, and it is ready after the delay", func(t *testing.T) {
		f := start(t, open)
		f.put("1", "2")
		c := f.claim(1, time.Minute)[0]
		c.Value, c.Tries = []byte("new"), 7
		f.ok(f.Release(t.Context(), "q", c, time.Hour))
		f.is(f.Ack(t.Context(), "q", c), store.ErrNotFound)
		f.depth(store.Depth{Ready: 1, Delayed: 1})
		copy(c.Value, "XXX")
		f.clock.Advance(time.Hour - 1)
		f.ok(f.Ack(t.Context(), "q", f.claims("2")[0]))
		f.clock.Advance(1)
		got := f.claims("1")[0]
		if string(got.Value) != "new" || got.Tries != 7 || !got.Appended.Equal(c.Appended) {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("released without a delay it is ready at once, in its place", func(t *testing.T) {
		f := start(t, open)
		f.put("1", "2")
		c := f.claim(1, time.Minute)[0]
		c.Value = nil
		f.ok(f.Release(t.Context(), "q", c, -time.Second))
		got := f.claims("1", "2")
		if len(got[0].Value) != 0 {
			t.Fatalf("%+v", got[0])
		}
	})
	t.Run("a release outlives the store", func(t *testing.T) {
		f := start(t, open)
		f.put("1")
		c := f.claims("1")[0]
		c.Value, c.Tries = []byte("new"), 2
		f.ok(f.Release(t.Context(), "q", c, time.Minute))
		f.reopen()
		f.depth(store.Depth{Delayed: 1})
		f.clock.Advance(time.Minute)
		if got := f.claims("1")[0]; string(got.Value) != "new" || got.Tries != 2 || !got.Appended.Equal(c.Appended) {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("queues don't mix", func(t *testing.T) {
		f := start(t, open)
		for _, q := range []string{"q", "qq", "\x01q", "p"} {
			_, err := f.Append(t.Context(), q, 0, entries(q)...)
			f.ok(err)
		}
		f.claims("q")
		if l := f.list(); len(l) != 1 {
			t.Fatalf("%+v", l)
		}
	})
}

func deadLetters(t *testing.T, open Open) {
	bury := func(f *fixture, reason string) store.Claim {
		f.Helper()
		f.put("1", "2")
		c := f.claim(1, time.Minute)[0]
		c.Tries = 3
		f.ok(f.Release(f.Context(), "q", c, 0))
		c = f.claim(1, time.Minute)[0]
		f.ok(f.Bury(f.Context(), "q", c, reason))
		return c
	}
	t.Run("a buried entry is dead, with its reason, until Retry or Drop", func(t *testing.T) {
		f := start(t, open)
		c := bury(f, "no such stage")
		f.is(f.Ack(t.Context(), "q", c), store.ErrNotFound)
		f.depth(store.Depth{Ready: 1, Dead: 1})
		f.clock.Advance(1000 * time.Hour)
		f.claims("2")
		f.reopen()
		f.clock.Advance(time.Minute) // a claim may have outlived the store
		i := f.list()[0]
		if !i.Dead || i.Reason != "no such stage" || i.Key != "1" || i.Tries != 3 || string(i.Value) != "1" || !i.Ready.IsZero() {
			t.Fatalf("%+v", i)
		}
		f.depth(store.Depth{Ready: 1, Dead: 1})
	})
	t.Run("retry makes it ready, its tries 0, in its place", func(t *testing.T) {
		f := start(t, open)
		bury(f, "why")
		f.ok(f.Retry(t.Context(), "q", "1"))
		f.is(f.Retry(t.Context(), "q", "1"), store.ErrNotFound)
		if c := f.claims("1", "2")[0]; c.Tries != 0 {
			t.Fatalf("%+v", c)
		}
		if i := f.list()[0]; i.Dead || i.Reason != "" {
			t.Fatalf("%+v", i)
		}
	})
	t.Run("drop removes it, and the key is free", func(t *testing.T) {
		f := start(t, open)
		bury(f, "why")
		f.ok(f.Drop(t.Context(), "q", "1"))
		f.is(f.Drop(t.Context(), "q", "1"), store.ErrNotFound)
		f.depth(store.Depth{Ready: 1})
		f.put("1")
		f.claims("2", "1")
	})
	t.Run("of an entry that is not dead they are ErrNotFound", func(t *testing.T) {
		f := start(t, open)
		f.put("ready")
		_, err := f.Append(t.Context(), "q", time.Minute, entries("claimed")...)
		f.ok(err)
		for _, k := range []string{"ready", "claimed", "none"} {
			f.is(f.Retry(t.Context(), "q", k), store.ErrNotFound)
			f.is(f.Drop(t.Context(), "q", k), store.ErrNotFound)
		}
		f.depth(store.Depth{Ready: 1, Claimed: 1})
	})
	t.Run("a long reason is cut, not within a character", func(t *testing.T) {
		f := start(t, open)
		bury(f, "x"+strings.Repeat("错", store.MaxReason))
		r := f.list()[0].Reason
		if len(r) > store.MaxReason || len(r) < store.MaxReason-4 || strings.Trim(r[1:], "错") != "" {
			t.Fatalf("%d bytes", len(r))
		}
	})
}

func looking(t *testing.T, open Open) {
	t.Run("next is zero where there is none that is not dead", func(t *testing.T) {
		f := start(t, open)
		if at := f.next(); !at.IsZero() {
			t.Fatal(at)
		}
		f.put("1")
		f.ok(f.Bury(t.Context(), "q", f.claims("1")[0], ""))
		if at := f.next(); !at.IsZero() {
			t.Fatal(at)
		}
	})
	t.Run("next is not after now where one is ready", func(t *testing.T) {
		f := start(t, open)
		f.put("1")
		if at := f.next(); at.IsZero() || at.After(f.clock.Now()) {
			t.Fatal(at)
		}
	})
	t.Run("next is the earliest end of a delay or a claim", func(t *testing.T) {
		f := start(t, open)
		_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "1", Delay: time.Hour})
		f.ok(err)
		if at := f.next(); !at.Equal(f.clock.Now().Add(time.Hour)) {
			t.Fatal(at)
		}
		claims, err := f.Append(t.Context(), "q", time.Minute, entries("2")...)
		f.ok(err)
		if at := f.next(); !at.Equal(f.clock.Now().Add(time.Minute)) {
			t.Fatal(at)
		}
		f.ok(f.Ack(t.Context(), "q", claims[0]))
		if at := f.next(); !at.Equal(f.clock.Now().Add(time.Hour)) {
			t.Fatal(at)
		}
		f.clock.Advance(2 * time.Hour)
		if at := f.next(); at.After(f.clock.Now()) || at.IsZero() {
			t.Fatal(at)
		}
	})
	t.Run("depth counts by state", func(t *testing.T) {
		f := start(t, open)
		_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "d", Delay: time.Hour})
		f.ok(err)
		f.put("x", "c", "r", "s")
		cs := f.claim(2, time.Minute)
		f.ok(f.Bury(t.Context(), "q", cs[0], ""))
		f.depth(store.Depth{Ready: 2, Delayed: 1, Claimed: 1, Dead: 1})
		f.clock.Advance(time.Hour)
		f.depth(store.Depth{Ready: 4, Dead: 1})
	})
	t.Run("list shows every entry in the order of appending", func(t *testing.T) {
		f := start(t, open)
		var keys []string
		for i := range 700 {
			keys = append(keys, fmt.Sprintf("%d", (i*7919)%1000))
		}
		f.put(keys...)
		_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "delayed", Delay: time.Hour})
		f.ok(err)
		f.claim(1, time.Minute)
		l := f.list()
		if len(l) != 701 {
			t.Fatal(len(l))
		}
		for i, k := range keys {
			if l[i].Key != k || string(l[i].Value) != k {
				t.Fatalf("entry %d: %q, want %q", i, l[i].Key, k)
			}
		}
		now := f.clock.Now()
		if !l[0].Ready.Equal(now.Add(time.Minute)) || !l[1].Ready.Equal(now) || !l[700].Ready.Equal(now.Add(time.Hour)) {
			t.Fatalf("ready at %v, %v and %v", l[0].Ready, l[1].Ready, l[700].Ready)
		}
	})
	t.Run("list goes on after an entry, though it is gone", func(t *testing.T) {
		f := start(t, open)
		var keys []string
		for i := range 600 {
			keys = append(keys, fmt.Sprint(i))
		}
		f.put(keys...)
		all := f.list()
		if all[0].Seq == 0 {
			t.Fatal("an entry has no number")
		}
		f.ok(f.Ack(t.Context(), "q", f.claim(1, time.Minute)[0]))
		for at, i := range all {
			var got []string
			f.ok(f.List(t.Context(), "q", i.Seq, func(i store.Info) bool {
				got = append(got, i.Key)
				return len(got) < 3
			}))
			if want := keys[at+1 : min(at+4, len(keys))]; !slices.Equal(got, want) {
				t.Fatalf("after %s: %q, want %q", i.Key, got, want)
			}
		}
		f.ok(f.List(t.Context(), "q", math.MaxUint64, func(i store.Info) bool {
			t.Errorf("%s after the last number there is", i.Key)
			return true
		}))
	})
	t.Run("list says which entries are claimed", func(t *testing.T) {
		f := start(t, open)
		f.put("dead", "claimed", "lost", "ready")
		cs := f.claim(2, time.Hour)
		f.ok(f.Bury(t.Context(), "q", cs[0], ""))
		f.claim(1, time.Minute)
		f.clock.Advance(time.Minute)
		for _, i := range f.list() {
			if i.Claimed != (i.Key == "claimed") || i.Dead != (i.Key == "dead") {
				t.Errorf("%+v", i)
			}
		}
	})
	t.Run("depth tells of the oldest entry that is ready", func(t *testing.T) {
		f := start(t, open)
		began := f.clock.Now()
		f.put("a")
		f.clock.Advance(time.Second)
		_, err := f.Append(t.Context(), "q", 0, store.Entry{Key: "delayed", Delay: time.Hour})
		f.ok(err)
		f.put("b")
		oldest := func(want time.Time) {
			t.Helper()
			d, err := f.Depth(t.Context(), "q")
			f.ok(err)
			if !d.Oldest.Equal(want) {
				t.Errorf("the oldest is of %v, want %v", d.Oldest, want)
			}
		}
		oldest(began)
		c := f.claim(1, time.Minute)[0]
		oldest(began.Add(time.Second))
		f.ok(f.Ack(t.Context(), "q", f.claims("b")[0]))
		oldest(time.Time{})
		f.ok(f.Release(t.Context(), "q", c, 0))
		oldest(began)
	})
	t.Run("list ends where f says so, and its slices are f's", func(t *testing.T) {
		f := start(t, open)
		f.put("1", "2", "3")
		n := 0
		f.ok(f.List(t.Context(), "q", 0, func(i store.Info) bool {
			n++
			copy(i.Value, "X")
			return n < 2
		}))
		if n != 2 {
			t.Fatal(n)
		}
		if l := f.list(); string(l[0].Value) != "1" {
			t.Fatalf("%q", l[0].Value)
		}
	})
	t.Run("f may call the store", func(t *testing.T) {
		f := start(t, open)
		for i := range 600 {
			f.put(fmt.Sprint(i))
		}
		cs := f.claim(600, time.Minute)
		f.ok(f.List(t.Context(), "q", 0, func(i store.Info) bool {
			f.ok(f.Ack(t.Context(), "q", cs[0]))
			cs = cs[1:]
			return true
		}))
		f.depth(store.Depth{})
	})
}
