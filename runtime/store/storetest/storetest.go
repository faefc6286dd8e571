// Package storetest is the suite that every driver of package store passes, and
// what a durability test needs: a reader of strace's output that rebuilds a file
// as it was on the disk at each sync.
package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// Open opens the store of dir, an empty folder at first; opened again after
// Close it has the same data. A driver without a folder takes dir for a name.
// The store goes by now. Run closes it.
type Open func(t *testing.T, dir string, now func() time.Time) store.Store

// Run runs the suite, or only the parts that are named.
func Run(t *testing.T, open Open, parts ...string) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"KeyValue", keyValue},
		{"Counter", counter},
		{"CompareAndSet", compareAndSet},
		{"Expiry", expiry},
		{"Quota", quota},
		{"Once", once},
		{"Clear", clearing},
		{"Locks", locking},
		{"Board", board},
		{"Messages", messages},
		{"Arguments", arguments},
		{"Append", appending},
		{"Claim", claiming},
		{"Lines", standing},
		{"Settle", settling},
		{"Dead", deadLetters},
		{"Look", looking},
		{"Life", life},
		{"Hammer", hammer},
		{"Model", model},
		{"QueueModel", queueModel},
	} {
		if len(parts) == 0 || slices.Contains(parts, part.name) {
			t.Run(part.name, func(t *testing.T) { part.run(t, open) })
		}
	}
}

// Clock is a clock that goes when it is told to.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock returns a clock that stands somewhere in 2026.
func NewClock() *Clock { return &Clock{at: time.Unix(1_780_000_000, 0)} }

// Now is the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// fixture is a store with its clock; its methods fail the test where an error
// was not expected.
type fixture struct {
	*testing.T
	store.Store
	clock *Clock
	dir   string
	open  Open
}

func start(t *testing.T, open Open) *fixture {
	t.Helper()
	f := &fixture{T: t, clock: NewClock(), dir: t.TempDir(), open: open}
	f.Store = open(t, f.dir, f.clock.Now)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

// reopen closes the store and opens it again.
func (f *fixture) reopen() {
	f.Helper()
	f.ok(f.Close())
	f.Store = f.open(f.T, f.dir, f.clock.Now)
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) is(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("error %v, want %v", err, want)
	}
}

// apply makes a change that must not fail.
func (f *fixture) apply(op store.Op) store.Result {
	f.Helper()
	r, err := f.Apply(f.Context(), op)
	f.ok(err)
	return r
}

// set sets b/k to v.
func (f *fixture) set(k, v string) {
	f.Helper()
	f.apply(store.Op{Kind: store.Set, Bucket: "b", Key: k, Value: []byte(v)})
}

// has checks that b/k is v.
func (f *fixture) has(k, v string) {
	f.Helper()
	got, err := f.Get(f.Context(), "b", k)
	f.ok(err)
	if string(got) != v {
		f.Fatalf("%s is %q, want %q", k, short(got), short([]byte(v)))
	}
}

// absent checks that there is no b/k.
func (f *fixture) absent(k string) {
	f.Helper()
	got, err := f.Get(f.Context(), "b", k)
	if err == nil {
		f.Fatalf("%s is %q, want none", k, short(got))
	}
	f.is(err, store.ErrNotFound)
}

func short(b []byte) []byte { return b[:min(len(b), 40)] }

// put appends entries of the keys, the value of each its key, to queue q.
func (f *fixture) put(keys ...string) {
	f.Helper()
	_, err := f.Append(f.Context(), "q", 0, entries(keys...)...)
	f.ok(err)
}

func entries(keys ...string) []store.Entry {
	es := make([]store.Entry, len(keys))
	for i, k := range keys {
		es[i] = store.Entry{Key: k, Value: []byte(k)}
	}
	return es
}

// claim claims up to n of queue q for hold.
func (f *fixture) claim(n int, hold time.Duration) []store.Claim {
	f.Helper()
	cs, err := f.Claim(f.Context(), "q", "", n, hold)
	f.ok(err)
	return cs
}

// claims checks which entries of q can be claimed now, in order, and returns the claims, of a minute.
func (f *fixture) claims(keys ...string) []store.Claim {
	f.Helper()
	cs := f.claim(len(keys)+1, time.Minute)
	f.keys(cs, keys...)
	return cs
}

func (f *fixture) keys(cs []store.Claim, keys ...string) {
	f.Helper()
	var got []string
	for _, c := range cs {
		got = append(got, c.Key)
	}
	if len(got) != len(keys) {
		f.Fatalf("claimed %q, want %q", got, keys)
	}
	for i := range got {
		if got[i] != keys[i] {
			f.Fatalf("claimed %q, want %q", got, keys)
		}
	}
}

// depth checks how many entries q has; Oldest, of which want says nothing, is
// there where one is ready.
func (f *fixture) depth(want store.Depth) {
	f.Helper()
	got, err := f.Depth(f.Context(), "q")
	f.ok(err)
	if got.Oldest.IsZero() != (got.Ready == 0) {
		f.Fatalf("depth %+v", got)
	}
	if got.Oldest = want.Oldest; got != want {
		f.Fatalf("depth %+v, want %+v", got, want)
	}
}

// next is when the first entry of q can be claimed.
func (f *fixture) next() (at time.Time) {
	f.Helper()
	lines, err := f.Lines(f.Context(), "q")
	f.ok(err)
	for _, l := range lines {
		if !l.Next.IsZero() && (at.IsZero() || l.Next.Before(at)) {
			at = l.Next
		}
	}
	return at
}

// list lists q.
func (f *fixture) list() []store.Info {
	f.Helper()
	var all []store.Info
	f.ok(f.List(f.Context(), "q", 0, func(i store.Info) bool {
		all = append(all, i)
		return true
	}))
	return all
}
