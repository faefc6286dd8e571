package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// TestWhatAnotherHostWroteIsNotReadBeforeTheReplicaHasIt: the connection of the
// reader has written nothing itself, and servers from 7.2 on make WAIT wait for a
// connection's own writes only.
func TestWhatAnotherHostWroteIsNotReadBeforeTheReplicaHasIt(t *testing.T) {
	primary, replica := replicated(t)
	const timeout = 600 * time.Millisecond
	writer := openTest(t, Options{Addrs: []string{primary.Addr}, Timeout: timeout})
	reader := openTest(t, Options{Addrs: []string{primary.Addr}, Timeout: timeout})
	primary.Until("the replica acknowledges", func(*goredis.Client) (bool, error) {
		err := set(writer, "before")
		return err == nil, err
	})
	if err := writer.Bury(t.Context(), "q", claimOne(t, writer), "because"); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Get(t.Context(), "b", "before"); err != nil { // knows that there is a replica
		t.Fatal(err)
	}
	replica.Pause()
	const bound = 1200 * time.Millisecond
	unavailableWithin(t, bound, func() error { return set(writer, "k") })
	for name, call := range map[string]func() error{
		"Get":                   func() error { _, err := reader.Get(t.Context(), "b", "k"); return err },
		"Get of nothing":        func() error { _, err := reader.Get(t.Context(), "b", "none"); return err },
		"Get of another bucket": func() error { _, err := reader.Get(t.Context(), "b2", "none"); return err },
		"a change that lost": func() error {
			_, err := reader.Apply(t.Context(), store.Op{Kind: store.CompareAndSet, Bucket: "b", Key: "k"})
			return err
		},
		"a lock that isn't held": func() error { return reader.Renew(t.Context(), store.Lock{Name: "l", Fence: 1}, time.Minute) },
		"Claim of nothing":       func() error { _, err := reader.Claim(t.Context(), "q", "", 1, time.Minute); return err },
		"Lines":                  func() error { _, err := reader.Lines(t.Context(), "q"); return err },
		"List":                   func() error { return reader.List(t.Context(), "q", 0, func(store.Info) bool { return true }) },
	} {
		t.Run(name, func(t *testing.T) { unavailableWithin(t, bound, call) })
	}
	replica.Resume()
	if v, err := reader.Get(t.Context(), "b", "k"); err != nil || string(v) != "v" {
		t.Errorf("the replica is back: %q, %v", v, err)
	}
}

// claimOne appends an entry and claims it.
func claimOne(t *testing.T, s *Store) store.Claim {
	t.Helper()
	claims, err := s.Append(t.Context(), "q", time.Minute, store.Entry{Key: "e"})
	if err != nil {
		t.Fatal(err)
	}
	return claims[0]
}

// TestReadsGiveWaitSomethingToWaitFor: a read goes to the replica, and leaves
// nothing, neither a key nor in the append-only file.
func TestReadsGiveWaitSomethingToWaitFor(t *testing.T) {
	primary, replica := replicated(t)
	s := openTest(t, Options{Addrs: []string{primary.Addr}})
	for range 2 { // the second one knows that there is a replica
		replica.Info("replication", "master_link_status:up")
		offset, size := numberOf(t, primary, "replication", "master_repl_offset"), numberOf(t, primary, "persistence", "aof_current_size")
		if _, err := s.Get(t.Context(), "b", "k"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if now := numberOf(t, primary, "replication", "master_repl_offset"); now == offset {
			t.Error("the replica was sent nothing")
		}
		if now := numberOf(t, primary, "persistence", "aof_current_size"); now != size {
			t.Errorf("the append-only file has grown from %s to %s", size, now)
		}
	}
	if a, b := primary.Do("dbsize"), replica.Do("dbsize"); a != "0" || b != "0" {
		t.Errorf("%s and %s keys are left", a, b)
	}
}

// numberOf is a line of INFO section.
func numberOf(t *testing.T, n *redistest.Node, section, name string) string {
	t.Helper()
	for line := range strings.Lines(n.Do("info", section)) {
		if number, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(number)
		}
	}
	t.Fatalf("INFO %s has no %s", section, name)
	return ""
}
