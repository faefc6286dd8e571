package redis

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// quietFor is over when so much time has gone by.
func quietFor(d time.Duration) func(*goredis.Client) (bool, error) {
	end := time.Now().Add(d)
	return func(*goredis.Client) (bool, error) { return time.Now().After(end), nil }
}

// TestServersTime: without a clock of its own a store goes by the server's, and
// what is over leaves the server.
func TestServersTime(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	began := time.Now()
	const ttl = 300 * time.Millisecond
	op := store.Op{Kind: store.Set, Bucket: "b", Key: "k", Value: []byte("v"), TTL: ttl, Once: "o", OnceTTL: ttl}
	if _, err := s.Apply(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "k", []byte("v"), ttl); err != nil {
		t.Fatal(err)
	}
	l, err := s.Lock(t.Context(), "l", ttl)
	if err != nil || l.Fence < uint64(began.UnixMicro())-60_000_000 {
		t.Fatalf("%+v, %v", l, err)
	}
	if _, err := s.Get(t.Context(), "b", "k"); err != nil {
		t.Error(err)
	}
	if _, err := s.Look(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	var again store.Lock
	n.Until("the value, the note and the lock are over", func(*goredis.Client) (bool, error) {
		_, value := s.Get(context.Background(), "b", "k")
		_, note := s.Look(context.Background(), "k")
		if !errors.Is(value, store.ErrNotFound) || !errors.Is(note, store.ErrNotFound) {
			return false, nil
		}
		var held error
		again, held = s.Lock(context.Background(), "l", ttl)
		return held == nil, held
	})
	if took := time.Since(began); took < ttl-10*time.Millisecond {
		t.Errorf("they were over after %v", took)
	}
	if err := s.Renew(t.Context(), l, ttl); !errors.Is(err, store.ErrLost) || again.Fence <= l.Fence {
		t.Errorf("%+v after %+v, %v", again, l, err)
	}
	// Somebody else's write takes away what is over.
	if err := set(s, "other"); err != nil {
		t.Fatal(err)
	}
	k := s.bucketKeys("b")
	if v, m := n.Do("hlen", k.values), n.Do("hlen", k.marks); v != "1" || m != "0" {
		t.Errorf("%s values and %s marks are left", v, m)
	}
	if size := n.Do("get", k.size); size != "6" {
		t.Errorf("the size is %s", size)
	}
	if left, err := strconv.Atoi(n.Do("pttl", s.lockKey("l"))); err != nil || left < 86_000_000 || left > 87_000_000 {
		t.Errorf("the lock's key is kept for %d ms", left)
	}
}

// TestFencesOutliveTheData: a server that has lost all gives larger fences still.
func TestFencesOutliveTheData(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	before, err := s.Lock(t.Context(), "l", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	n.Do("flushall")
	after, err := s.Lock(t.Context(), "l", time.Minute)
	if err != nil || after.Fence <= before.Fence {
		t.Errorf("%d after %d, %v", after.Fence, before.Fence, err)
	}
}

// TestHoldOnRedis: a lock is renewed while the server is there, and its holder is
// told when it can't be.
func TestHoldOnRedis(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	lost := make(chan error, 1)
	h, err := store.Hold(t.Context(), s, "l", time.Second, func(err error) { lost <- err })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(t.Context(), "l", time.Second); !errors.Is(err, store.ErrHeld) {
		t.Error(err)
	}
	n.Until("it was renewed for twice its time", quietFor(2*time.Second))
	if h.Context().Err() != nil {
		t.Fatalf("lost while the server was there: %v", context.Cause(h.Context()))
	}
	n.Kill()
	<-h.Context().Done()
	if !errors.Is(context.Cause(h.Context()), store.ErrLost) || !errors.Is(<-lost, store.ErrLost) {
		t.Errorf("the cause is %v", context.Cause(h.Context()))
	}
	if err := h.Release(t.Context()); !errors.Is(err, store.ErrLost) {
		t.Error(err)
	}
}
