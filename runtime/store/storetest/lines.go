package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// standing is about the lines of a queue.
func standing(t *testing.T, open Open) {
	in := func(f *fixture, line string, quota int, keys ...string) error {
		f.Helper()
		es := entries(keys...)
		for i := range es {
			es[i].Line, es[i].Quota = line, quota
		}
		_, err := f.Append(f.Context(), "q", 0, es...)
		return err
	}
	from := func(f *fixture, line string, n int, keys ...string) []store.Claim {
		f.Helper()
		cs, err := f.Claim(f.Context(), "q", line, n, time.Minute)
		f.ok(err)
		f.keys(cs, keys...)
		return cs
	}
	t.Run("a claim is from one line, however long another is", func(t *testing.T) {
		f := start(t, open)
		for i := range 20 {
			var keys []string
			for j := range 50 {
				keys = append(keys, fmt.Sprintf("%d.%d", i, j))
			}
			f.ok(in(f, "long", 0, keys...))
		}
		f.ok(in(f, "short", 0, "x", "y"))
		from(f, "none", 9)
		from(f, "", 9)
		if c := from(f, "short", 9, "x", "y")[0]; c.Line != "short" {
			t.Errorf("%+v", c)
		}
		from(f, "long", 1, "0.0")
	})
	t.Run("an entry keeps its line", func(t *testing.T) {
		f := start(t, open)
		f.ok(in(f, "\x00\xff", 0, "1", "2"))
		c := from(f, "\x00\xff", 1, "1")[0]
		f.ok(f.Release(t.Context(), "q", c, 0))
		f.ok(f.Bury(t.Context(), "q", from(f, "\x00\xff", 1, "1")[0], "why"))
		f.reopen()
		f.ok(f.Retry(t.Context(), "q", "1"))
		f.claims()
		for _, c := range from(f, "\x00\xff", 9, "1", "2") {
			f.ok(f.Ack(t.Context(), "q", c))
		}
		if lines, err := f.Lines(t.Context(), "q"); err != nil || len(lines) != 0 {
			t.Errorf("%+v, %v", lines, err)
		}
	})
	t.Run("a key is unique in the queue, whatever its line", func(t *testing.T) {
		f := start(t, open)
		f.ok(in(f, "a", 0, "k"))
		f.ok(in(f, "b", 1, "k"))
		from(f, "b", 1)
		from(f, "a", 1, "k")
	})
	t.Run("over its quota nothing is appended", func(t *testing.T) {
		f := start(t, open)
		f.ok(in(f, "a", 3, "1", "2"))
		f.is(in(f, "a", 3, "3", "4"), store.ErrQuota)
		f.depth(store.Depth{Ready: 2})
		f.ok(in(f, "a", 2, "1", "2"))
		f.ok(in(f, "a", 3, "3", "3"))
		f.ok(in(f, "b", 1, "4"))
		f.is(in(f, "b", 1, "5"), store.ErrQuota)
		f.ok(in(f, "b", 0, "5"))
	})
	t.Run("what is claimed or delayed counts for the quota, what is dead doesn't", func(t *testing.T) {
		f := start(t, open)
		f.ok(in(f, "a", 0, "1", "2"))
		cs := from(f, "a", 9, "1", "2")
		f.is(in(f, "a", 2, "3"), store.ErrQuota)
		f.ok(f.Release(t.Context(), "q", cs[0], time.Hour))
		f.is(in(f, "a", 2, "3"), store.ErrQuota)
		f.reopen()
		f.clock.Advance(time.Minute) // a claim may have outlived the store
		f.is(in(f, "a", 2, "3"), store.ErrQuota)
		f.ok(f.Bury(t.Context(), "q", from(f, "a", 9, "2")[0], "why"))
		f.ok(in(f, "a", 2, "3"))
		f.is(in(f, "a", 2, "4"), store.ErrQuota)
	})
}
