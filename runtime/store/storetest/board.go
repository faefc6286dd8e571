package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// looks checks what the board has under key; nil: nothing.
func (f *fixture) looks(key string, want []byte) {
	f.Helper()
	got, err := f.Look(f.Context(), key)
	if want == nil {
		f.is(err, store.ErrNotFound)
		return
	}
	f.ok(err)
	if string(got) != string(want) {
		f.Fatalf("%q is %q, want %q", key, short(got), short(want))
	}
}

func board(t *testing.T, open Open) {
	t.Run("a value is there until its time is over", func(t *testing.T) {
		f := start(t, open)
		f.looks("k", nil)
		f.ok(f.Put(t.Context(), "k", []byte("a"), 10*time.Second))
		f.looks("k", []byte("a"))
		f.clock.Advance(9 * time.Second)
		f.ok(f.Put(t.Context(), "k", []byte("b"), 10*time.Second))
		f.clock.Advance(9 * time.Second)
		f.looks("k", []byte("b"))
		f.clock.Advance(time.Second)
		f.looks("k", nil)
	})
	t.Run("keys and values are of any bytes, and apart", func(t *testing.T) {
		f := start(t, open)
		keys := []string{"k", "k\x00", "{k}", "}", "k}:k", strings.Repeat("\xff", store.MaxKey)}
		for i, k := range keys {
			f.ok(f.Put(t.Context(), k, fmt.Appendf(nil, "\x00%d\xff", i), time.Minute))
		}
		for i, k := range keys {
			f.looks(k, fmt.Appendf(nil, "\x00%d\xff", i))
		}
		f.ok(f.Put(t.Context(), "empty", nil, time.Minute))
		f.looks("empty", []byte{})
		f.ok(f.Put(t.Context(), "large", make([]byte, store.MaxMessage), time.Minute))
		f.looks("large", make([]byte, store.MaxMessage))
	})
	t.Run("what was given and got is the caller's", func(t *testing.T) {
		f := start(t, open)
		v := []byte("abc")
		f.ok(f.Put(t.Context(), "k", v, time.Minute))
		v[0] = 'x'
		got, err := f.Look(t.Context(), "k")
		f.ok(err)
		got[1] = 'x'
		f.looks("k", []byte("abc"))
	})
	t.Run("an exchange needs what it expects", func(t *testing.T) { f := start(t, open); f.exchanges() })
	t.Run("exchanges of 8 sum up", func(t *testing.T) { f := start(t, open); f.count() })
	t.Run("wrong arguments", func(t *testing.T) {
		f := start(t, open)
		for _, key := range []string{"", strings.Repeat("k", store.MaxKey+1)} {
			_, err := f.Look(t.Context(), key)
			f.is(err, store.ErrInvalid)
			f.is(f.Put(t.Context(), key, nil, time.Minute), store.ErrInvalid)
			_, _, err = f.Exchange(t.Context(), key, nil, []byte{}, time.Minute)
			f.is(err, store.ErrInvalid)
		}
		f.is(f.Put(t.Context(), "k", nil, 0), store.ErrInvalid)
		f.is(f.Put(t.Context(), "k", make([]byte, store.MaxMessage+1), time.Minute), store.ErrInvalid)
		_, _, err := f.Exchange(t.Context(), "k", nil, []byte{}, 0)
		f.is(err, store.ErrInvalid)
		f.looks("k", nil)
	})
}

func (f *fixture) exchanges() {
	for i, c := range []struct {
		expect, value []byte
		ok            bool
		there         []byte // before, where it was refused
	}{
		{[]byte("a"), []byte("b"), false, nil},
		{[]byte{}, []byte("b"), false, nil},
		{nil, nil, true, nil},
		{nil, []byte("a"), true, nil},
		{nil, []byte("b"), false, []byte("a")},
		{[]byte("b"), nil, false, []byte("a")},
		{[]byte("a"), []byte{}, true, nil},
		{nil, []byte("c"), false, []byte{}},
		{[]byte{}, []byte("c"), true, nil},
		{[]byte("c"), nil, true, nil},
		{nil, []byte("d"), true, nil},
	} {
		there, ok, err := f.Exchange(f.Context(), "k", c.expect, c.value, 10*time.Second)
		f.ok(err)
		if ok != c.ok || string(there) != string(c.there) || (there == nil) != (c.there == nil) {
			f.Fatalf("exchange %d: %q, %v, want %q, %v", i, there, ok, c.there, c.ok)
		}
		if ok {
			f.looks("k", c.value)
		}
	}
	f.clock.Advance(10 * time.Second)
	f.looks("k", nil)
	_, ok, err := f.Exchange(f.Context(), "k", nil, []byte("e"), time.Minute)
	f.ok(err)
	if !ok {
		f.Fatal("a value whose time is over was in the way")
	}
}

func (f *fixture) count() {
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			var have []byte
			for done := 0; done < each; {
				n := 0
				if have != nil {
					n, _ = strconv.Atoi(string(have))
				}
				next := fmt.Append(nil, n+1)
				there, ok, err := f.Exchange(f.Context(), "n", have, next, time.Hour)
				if err != nil {
					f.Error(err)
					return
				}
				have = there
				if ok {
					have = next
					done++
				}
			}
		})
	}
	wg.Wait()
	f.looks("n", fmt.Append(nil, workers*each))
}

// heard is what a listener was told.
type heard chan string

func (h heard) next(t *testing.T) string {
	t.Helper()
	select {
	case m := <-h:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was heard for 10 s")
		return ""
	}
}

// listen subscribes until the end of the test, or of stop, which waits.
func (f *fixture) listen(topic string) (h heard, stop func()) {
	f.Helper()
	h = make(heard, 2000)
	ctx, cancel := context.WithCancel(f.Context())
	wait, err := f.Subscribe(ctx, topic, func(m []byte) { h <- string(m) })
	f.ok(err)
	return h, func() { cancel(); wait() }
}

func messages(t *testing.T, open Open) {
	t.Run("every listener of a topic hears it, in order", func(t *testing.T) {
		f := start(t, open)
		a, stopA := f.listen("t")
		b, stopB := f.listen("t")
		other, stopOther := f.listen("t\x00{")
		for i := range 100 {
			f.ok(f.Publish(t.Context(), "t", fmt.Appendf(nil, "\x00%d\xff", i)))
		}
		f.ok(f.Publish(t.Context(), "t\x00{", nil))
		for i := range 100 {
			for _, h := range []heard{a, b} {
				if got := h.next(t); got != fmt.Sprintf("\x00%d\xff", i) {
					t.Fatalf("message %d is %q", i, got)
				}
			}
		}
		if got := other.next(t); got != "" {
			t.Fatalf("another topic got %q", got)
		}
		stopA()
		stopB()
		stopOther()
		f.ok(f.Publish(t.Context(), "t", []byte("late")))
		c, stopC := f.listen("t")
		f.ok(f.Publish(t.Context(), "t", []byte("later")))
		if got := c.next(t); got != "later" || len(a) > 0 || len(b) > 0 || len(other) > 0 {
			t.Fatalf("%q, and %d after the end", got, len(a)+len(b)+len(other))
		}
		stopC()
	})
	t.Run("an empty message isn't nil, and the slice is the listener's", func(t *testing.T) {
		f := start(t, open)
		got := make(chan []byte, 2)
		ctx, cancel := context.WithCancel(t.Context())
		wait, err := f.Subscribe(ctx, "t", func(m []byte) { got <- m })
		f.ok(err)
		m := []byte("abc")
		f.ok(f.Publish(t.Context(), "t", m))
		m[0] = 'x'
		f.ok(f.Publish(t.Context(), "t", nil))
		if a, b := <-got, <-got; string(a) != "abc" || b == nil || len(b) > 0 {
			t.Fatalf("%q, %v", a, b)
		}
		cancel()
		wait()
	})
	t.Run("a large one, and none that is too large", func(t *testing.T) {
		f := start(t, open)
		h, stop := f.listen("t")
		f.is(f.Publish(t.Context(), "t", make([]byte, store.MaxMessage+1)), store.ErrInvalid)
		f.is(f.Publish(t.Context(), "", nil), store.ErrInvalid)
		_, err := f.Subscribe(t.Context(), strings.Repeat("t", store.MaxName+1), func([]byte) {})
		f.is(err, store.ErrInvalid)
		f.ok(f.Publish(t.Context(), "t", make([]byte, store.MaxMessage)))
		if got := h.next(t); len(got) != store.MaxMessage {
			t.Fatalf("%d bytes", len(got))
		}
		stop()
	})
	t.Run("a listener ends with the store", func(t *testing.T) {
		f := start(t, open)
		wait, err := f.Subscribe(t.Context(), "t", func([]byte) {})
		f.ok(err)
		f.ok(f.Close())
		wait()
	})
	t.Run("a listener that is too slow is told so", func(t *testing.T) {
		f := start(t, open)
		free, missed, all := make(chan struct{}), make(chan struct{}), make(chan struct{})
		var once, last sync.Once
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		wait, err := f.Subscribe(ctx, "t", func(m []byte) {
			<-free
			if n++; m == nil {
				once.Do(func() { close(missed) })
			}
			if n == 3000 {
				last.Do(func() { close(all) })
			}
		})
		f.ok(err)
		for range 3000 {
			f.ok(f.Publish(t.Context(), "t", nil))
		}
		close(free)
		select {
		case <-missed:
		case <-all: // all found room
		case <-time.After(10 * time.Second):
			t.Error("some are missing, and it wasn't told")
		}
		cancel()
		wait()
	})
	t.Run("the error of the context", func(t *testing.T) {
		f := start(t, open)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Subscribe(ctx, "t", func([]byte) {}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}
