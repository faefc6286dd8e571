package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

func set(s *Store, key string) error {
	_, err := s.Apply(noDeadline, store.Op{Kind: store.Set, Bucket: "b", Key: key, Value: []byte("v")})
	return err
}

// replicated starts a primary with a replica.
func replicated(t *testing.T) (primary, replica *redistest.Node) {
	t.Helper()
	primary = redistest.Start(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica = redistest.Start(t, "--replicaof", host+" "+port)
	primary.Info("replication", "state=online")
	return primary, replica
}

// unavailableWithin checks that call is ErrUnavailable, in time.
func unavailableWithin(t *testing.T, bound time.Duration, call func() error) {
	t.Helper()
	began := time.Now()
	err := call()
	if took := time.Since(began); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || took > bound {
		t.Errorf("after %v: %v; want %v within %v", took, err, store.ErrUnavailable, bound)
	}
}

// settles writes a key as often as a busy machine's replica needs to be in time.
func settles(t *testing.T, s *Store, key string) {
	t.Helper()
	var err error
	for range 20 {
		if err = set(s, key); err == nil {
			return
		}
	}
	t.Fatalf("%s is not acknowledged: %v", key, err)
}

// TestNothingIsAcknowledgedWithoutTheReplica: a replica that hangs makes every call
// unavailable that would tell, or depend on, what it doesn't have.
func TestNothingIsAcknowledgedWithoutTheReplica(t *testing.T) {
	primary, replica := replicated(t)
	s := openTest(t, Options{Addrs: []string{primary.Addr}, Timeout: 600 * time.Millisecond})
	settles(t, s, "before")
	replica.Pause()
	const bound = 1200 * time.Millisecond
	unavailableWithin(t, bound, func() error { return set(s, "k") })
	unavailableWithin(t, bound, func() error { _, err := s.Get(t.Context(), "b", "k"); return err })
	unavailableWithin(t, bound, func() error { _, err := s.Lock(t.Context(), "l", time.Minute); return err })
	unavailableWithin(t, bound, func() error {
		_, err := s.Apply(t.Context(), store.Op{Kind: store.CompareAndSet, Bucket: "b", Key: "k", Value: []byte("w")})
		return err // refused because of something that isn't durable
	})
	unavailableWithin(t, bound, func() error { _, err := s.Clear(t.Context(), "b", 1); return err })
	if err := s.Put(t.Context(), "k", nil, time.Minute); err != nil {
		t.Errorf("the board waits for the replica, too: %v", err)
	}
	replica.Resume()
	settles(t, s, "after")

	// A replica that is no more isn't waited for, where nothing takes over by itself.
	replica.Kill()
	primary.Info("replication", "connected_slaves:0")
	if err := set(s, "alone"); err != nil {
		t.Errorf("the replica is no more: %v", err)
	}
	// One that has come is.
	replica.Restart()
	primary.Info("replication", "state=online")
	replica.Pause()
	unavailableWithin(t, bound, func() error { return set(s, "k2") })
	replica.Resume()
}

// TestOldPrimaryIsNotBelieved: one that lost its replicas may have been given up.
func TestOldPrimaryIsNotBelieved(t *testing.T) {
	for mode, grace := range map[Mode]time.Duration{Single: 0, Sentinel: sentinelGrace, Cluster: clusterGrace} {
		now := time.Unix(1e9, 0)
		w := newTrust(mode)
		w.now = func() time.Time { return now }
		alone := replication{primary: true, id: "old"}
		if err := w.look("a", alone); err != nil {
			t.Errorf("mode %d: one that never had a replica: %v", mode, err)
		}
		if err := w.look("a", replication{primary: true, id: "old", online: 2}); err != nil {
			t.Error(err)
		}
		now = now.Add(time.Hour)
		for _, at := range []time.Duration{0, grace / 2, grace} {
			now = time.Unix(1e9, 0).Add(time.Hour + at)
			if err := w.look("a", alone); (err == nil) != (at >= grace) || err != nil && !errors.Is(err, errUnsettled) {
				t.Errorf("mode %d: %v after it lost its replicas: %v", mode, at, err)
			}
		}
		if err := w.look("a", replication{primary: true, id: "new"}); err != nil {
			t.Errorf("mode %d: the replica that took over: %v", mode, err)
		}
		if err := w.look("a", replication{id: "new"}); !errors.Is(err, errUnsettled) {
			t.Errorf("mode %d: a replica was believed: %v", mode, err)
		}
		for i := range 3 * maxSeen {
			_ = w.look("a", replication{primary: true, id: fmt.Sprint(i), online: 1})
		}
		if len(w.seen) > maxSeen {
			t.Errorf("%d primaries are remembered", len(w.seen))
		}
	}
}

// TestHungPrimaryIsNotBelieved: a primary hangs until its replica has taken its
// place, and what it then answers to those who still talk to it counts for nothing.
func TestHungPrimaryIsNotBelieved(t *testing.T) {
	s := redistest.StartSentinels(t, 1)
	old := s.Primary()
	// It talks to the old primary, whatever the Sentinels say, and goes by their grace.
	straight := openTest(t, Options{Addrs: []string{old.Addr}})
	straight.trust.grace = sentinelGrace
	through := openTest(t, sentinelOptions(s))
	for _, st := range []*Store{straight, through} {
		if err := set(st, "before"); err != nil {
			t.Fatal(err)
		}
	}
	old.Pause()
	s.Failover(old)
	old.Resume()
	if err := set(straight, "lost"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("what the old primary took was acknowledged: %v", err)
	}
	if err := set(through, "kept"); err != nil {
		t.Errorf("the new primary: %v", err)
	}
}

func TestReadReplication(t *testing.T) {
	primary, replica := replicated(t)
	r, err := readReplication(primary.Do("info", "replication"))
	if err != nil || !r.primary || r.online != 1 || len(r.id) != 40 {
		t.Errorf("%+v, %v", r, err)
	}
	same, err := readReplication(replica.Do("info", "replication"))
	if err != nil || same.primary || same.online != 0 || same.id != r.id {
		t.Errorf("%+v, %v", same, err)
	}
	for _, text := range []string{"", "role", "rule:master", "role:master\r\nmaster_replid:" + strings.Repeat("a", 100)} {
		if r, err := readReplication(text); err == nil {
			t.Errorf("%.40q is read as %+v", text, r)
		}
	}
}
