package bolt

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// gate holds up commits of a store: each waits for a word.
type gate struct {
	reached chan struct{} // a commit was made in the file, and its caller doesn't know yet
	answer  chan error    // what the commit is to say
}

// guard puts a gate in front of s, which must be idle.
func guard(s *Store) *gate {
	g := &gate{reached: make(chan struct{}), answer: make(chan error)}
	s.commitFile = func(tx *bbolt.Tx) error {
		if err := tx.Commit(); err != nil {
			return err
		}
		g.reached <- struct{}{}
		return <-g.answer
	}
	return g
}

// start makes calls in goroutines of its own, one outcome each, in no order.
func start(n int, call func(i int) error) <-chan error {
	out := make(chan error, n)
	for i := range n {
		go func() { out <- call(i) }()
	}
	return out
}

func TestCallsOfACommitUnderWayShareTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, t.TempDir(), nil)
		g := guard(s)
		set := func(i int) error {
			_, err := s.Apply(t.Context(), setOp(strconv.Itoa(i), "v"))
			return err
		}
		first := start(1, set)
		<-g.reached
		rest := start(50, set)
		synctest.Wait() // all 50 wait
		g.answer <- nil
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		<-g.reached
		g.answer <- nil
		for range 50 {
			if err := <-rest; err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestReadersSeeOnlyWhatIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, t.TempDir(), nil)
		put(t, s, "k", "old")
		if _, err := s.Append(t.Context(), "q", 0, store.Entry{Key: "old"}); err != nil {
			t.Fatal(err)
		}
		g := guard(s)
		set := start(1, func(int) error {
			_, err := s.Apply(t.Context(), setOp("k", "new"))
			return err
		})
		<-g.reached // the meta page is written: a transaction of bbolt sees "new"

		ctx, cancel := context.WithCancel(t.Context())
		canceled := start(1, func(int) error {
			_, err := s.Get(ctx, "b", "k")
			return err
		})
		var got []byte
		get := start(1, func(int) (err error) {
			got, err = s.Get(t.Context(), "b", "k")
			return err
		})
		claim := start(1, func(int) error {
			_, err := s.Claim(t.Context(), "q", "", 1, time.Minute)
			return err
		})
		synctest.Wait()
		if len(get)+len(claim)+len(canceled) > 0 {
			t.Fatal("a reader did not wait for the commit")
		}
		cancel()
		if err := <-canceled; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		g.answer <- nil
		if err := errors.Join(<-set, <-get, <-claim); err != nil {
			t.Fatal(err)
		}
		if string(got) != "new" {
			t.Fatalf("got %q", got)
		}
	})
}

func TestQueueChangesWhenTheyAreDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, t.TempDir(), nil)
		claims, err := s.Append(t.Context(), "q", time.Minute, store.Entry{Key: "held"})
		if err != nil {
			t.Fatal(err)
		}
		g := guard(s)
		appended := start(1, func(int) error {
			_, err := s.Append(t.Context(), "q", 0, store.Entry{Key: "new"})
			return err
		})
		<-g.reached
		if d, err := s.Depth(t.Context(), "q"); err != nil || d != (store.Depth{Claimed: 1}) {
			t.Fatalf("before the append is durable: %+v, %v", d, err)
		}
		acks := start(2, func(int) error { return s.Ack(t.Context(), "q", claims[0]) })
		synctest.Wait()
		g.answer <- nil
		<-g.reached // the first Ack; the second one waits for its outcome
		time.Sleep(2 * time.Minute)
		if d, err := s.Depth(t.Context(), "q"); err != nil || d != (store.Depth{Ready: 1, Claimed: 1, Oldest: d.Oldest}) {
			t.Fatalf("while the Ack is on its way, after the hold: %+v, %v", d, err)
		}
		if at := nextOf(t, s); at.After(time.Now()) {
			t.Fatalf("next: %v", at)
		}
		g.answer <- nil
		got := []error{<-appended, <-acks, <-acks}
		lost := 0
		for _, err := range got {
			if errors.Is(err, store.ErrNotFound) {
				lost++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if lost != 1 {
			t.Fatalf("%d of two Acks of one claim were lost", lost)
		}
		if d, err := s.Depth(t.Context(), "q"); err != nil || d != (store.Depth{Ready: 1, Oldest: d.Oldest}) {
			t.Fatalf("%+v, %v", d, err)
		}
	})
}

// TestFailedCommit has bbolt itself fail, before the meta page: nothing happened,
// all callers hear it, and the store goes on.
func TestFailedCommit(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	put(t, s, "k", "old")
	claims, err := s.Append(t.Context(), "q", time.Hour, store.Entry{Key: "e"})
	if err != nil {
		t.Fatal(err)
	}
	s.db.MaxSize = 1 // no page more
	c := claims[0]
	c.Value = make([]byte, store.MaxValue)
	errs := start(3, func(i int) error {
		if i == 0 {
			return s.Release(t.Context(), "q", c, 0)
		}
		_, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: make([]byte, store.MaxValue), Once: "x", OnceTTL: time.Hour})
		return err
	})
	for range 3 {
		if err := <-errs; !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "commit") {
			t.Errorf("error %v", err)
		}
	}
	s.db.MaxSize = 0
	if v, err := s.Get(t.Context(), "b", "k"); err != nil || string(v) != "old" {
		t.Errorf("%q, %v", v, err)
	}
	if d, err := s.Depth(t.Context(), "q"); err != nil || d != (store.Depth{Claimed: 1}) {
		t.Errorf("%+v, %v", d, err)
	}
	if err := s.Ack(t.Context(), "q", c); err != nil {
		t.Errorf("the claim is still good: %v", err)
	}
	put(t, s, "k", "new")
}

// TestDoubtfulCommit has the last sync of a commit fail: what is on the disk can't be told.
func TestDoubtfulCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, "k", "old")
		g := guard(s)
		set := start(1, func(int) error {
			_, err := s.Apply(t.Context(), setOp("k", "new"))
			return err
		})
		<-g.reached
		get := start(1, func(int) error {
			_, err := s.Get(t.Context(), "b", "k")
			return err
		})
		synctest.Wait()
		g.answer <- errors.New("input/output error")
		written, read := <-set, <-get
		_, depth := s.Depth(t.Context(), "q")
		_, apply := s.Apply(t.Context(), setOp("k", "x"))
		_, claim := s.Claim(t.Context(), "q", "", 1, time.Minute)
		for what, err := range map[string]error{"the write": written, "a reader of it": read, "Depth": depth, "Apply": apply, "Claim": claim} {
			if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "input/output error") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if v, err := openTest(t, dir, nil).Get(t.Context(), "b", "k"); err != nil || string(v) != "new" {
			t.Errorf("opened again: %q, %v", v, err)
		}
	})
}

func TestPanicInCommitStopsTheStore(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	s.commitFile = func(*bbolt.Tx) error { panic("page 7 is broken") }
	for range 2 {
		if _, err := s.Apply(t.Context(), setOp("k", "v")); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "page 7") {
			t.Fatal(err)
		}
	}
}

// TestBrokenCallIsUndone puts calls that write a part and then fail between good ones.
func TestBrokenCallIsUndone(t *testing.T) {
	for name, breaks := range map[string]func(*txn){
		"panic":          func(*txn) { panic("at the second step") },
		"error of bbolt": func(tx *txn) { tx.put(tx.values, nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openTest(t, t.TempDir(), nil)
				claims, err := s.Append(t.Context(), "q", time.Hour, store.Entry{Key: "e"})
				if err != nil {
					t.Fatal(err)
				}
				g := guard(s)
				first := start(1, func(int) error {
					_, err := s.Apply(t.Context(), setOp("first", "v"))
					return err
				})
				<-g.reached
				var wg sync.WaitGroup
				wg.Go(func() {
					if r, err := s.Apply(t.Context(), store.Op{Kind: store.Add, Bucket: "b", Key: "n", Delta: 1}); err != nil || r.Number != 1 {
						t.Errorf("a neighbour: %+v, %v", r, err)
					}
				})
				wg.Go(func() {
					if err := s.Ack(t.Context(), "q", claims[0]); err != nil {
						t.Errorf("a neighbour's Ack: %v", err)
					}
				})
				synctest.Wait()
				wg.Go(func() {
					err := s.submit(&call{ctx: t.Context(), what: "break", run: func(tx *txn) error {
						tx.put(tx.values, nameKey("b", "half"), appendValue(nil, value{}))
						breaks(tx)
						return nil
					}})
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("the broken one: %v", err)
					}
				})
				synctest.Wait()
				g.answer <- nil
				if err := <-first; err != nil {
					t.Error(err)
				}
				<-g.reached
				g.answer <- nil
				wg.Wait()
				if _, err := s.Get(t.Context(), "b", "half"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("half an operation is there: %v", err)
				}
				if d, err := s.Depth(t.Context(), "q"); err != nil || d != (store.Depth{}) {
					t.Errorf("%+v, %v", d, err)
				}
			})
		})
	}
}

func TestCallThatWasGivenUpBeforeItsTurnIsNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, t.TempDir(), nil)
		g := guard(s)
		first := start(1, func(int) error {
			_, err := s.Apply(t.Context(), setOp("first", "v"))
			return err
		})
		<-g.reached
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		value := []byte("v")
		op := setOp("given up", "")
		op.Value = value
		if _, err := s.Apply(ctx, op); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		copy(value, "X") // it is ours again
		g.answer <- nil
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "b", "given up"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	})
}

func TestRefusalsNeedNoCommit(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	put(t, s, "k", "v")
	s.commitFile = func(tx *bbolt.Tx) error {
		t.Error("something was committed")
		return tx.Commit()
	}
	if r, err := s.Apply(t.Context(), store.Op{Kind: store.CompareAndSet, Bucket: "b", Key: "k"}); err != nil || r.Applied {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.Apply(t.Context(), store.Op{Kind: store.Delete, Bucket: "b", Key: "none"}); err != nil {
		t.Error(err)
	}
	if err := s.Drop(t.Context(), "q", "k"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	s := &Store{pending: make([]*call, 3*maxCalls)}
	for i := range s.pending {
		s.pending[i] = &call{size: 1}
	}
	s.pending[0].size = maxBytes + 1
	for _, want := range []int{1, maxCalls, maxCalls, maxCalls - 1} {
		if batch, ok := s.take(); !ok || len(batch) != want {
			t.Fatalf("%d calls, want %d", len(batch), want)
		}
	}
	s.closed = true
	if _, ok := s.take(); ok {
		t.Fatal("calls of an empty, closed store")
	}
}
