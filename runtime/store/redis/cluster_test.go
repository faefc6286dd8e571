package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// moving moves a slot of c to another primary: middle is called while it is on
// its way, with its keys moved.
func moving(c *redistest.Nodes, key string, parts []string, middle func()) (to *redistest.Node) {
	from := c.Primary(key)
	to = c.Nodes[0]
	if to == from {
		to = c.Nodes[1]
	}
	fromID, toID, slot := from.Do("cluster", "myid"), to.Do("cluster", "myid"), from.Do("cluster", "keyslot", key)
	to.Do("cluster", "setslot", slot, "importing", fromID)
	from.Do("cluster", "setslot", slot, "migrating", toID)
	host, port, _ := net.SplitHostPort(to.Addr)
	for _, part := range parts {
		from.Do("migrate", host, port, part, 0, 5000)
	}
	middle()
	to.Do("cluster", "setslot", slot, "node", toID)
	from.Do("cluster", "setslot", slot, "node", toID)
	return to
}

// TestSlotsMove moves the slot of a bucket to another primary under load: calls
// follow it. While it is on its way Redis refuses scripts of which some keys
// aren't there, so that calls may be unavailable.
func TestSlotsMove(t *testing.T) {
	c := redistest.StartCluster(t)
	s := openTest(t, Options{Mode: Cluster, Addrs: c.Addrs[:1], Prefix: "load"})
	k := s.bucketKeys("b0")
	l := newLoad(s)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.write(ctx, t, "b0") })
	l.more(50)
	to := moving(c, k.values, []string{k.values, k.expiry, k.marks, k.markExpiry, k.size, k.scratch}, func() {})
	l.more(50)
	stop()
	wg.Wait()
	l.check(t)
	if now := c.Primary(k.values); now != to {
		t.Errorf("%s has the slot", now.Addr)
	}

	// One key is asked for at its old place and found at the new one, all the while.
	held, err := s.Lock(t.Context(), "l", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	moving(c, s.lockKey("l"), []string{s.lockKey("l")}, func() {
		if err := s.Renew(t.Context(), held, time.Minute); err != nil {
			t.Errorf("while its slot moves: %v", err)
		}
	})
	if err := s.Unlock(t.Context(), held); err != nil {
		t.Errorf("after its slot has moved: %v", err)
	}
}

// TestOneSlot: what belongs together is in one slot, whatever the names are.
func TestOneSlot(t *testing.T) {
	b := &base{o: Options{Prefix: "weft"}}
	n := redistest.Start(t, "--cluster-enabled", "yes")
	seen := map[string]string{}
	for _, name := range []string{"a", "}", "{", "{}", "a}b", "{a}", "}:v", "\x00\xff", "a}:v", "a}:s"} {
		k := b.bucketKeys(name)
		slot := n.Do("cluster", "keyslot", k.values)
		for _, key := range []string{k.values, k.expiry, k.marks, k.markExpiry, k.size, k.scratch} {
			if got := n.Do("cluster", "keyslot", key); got != slot {
				t.Errorf("%q is in slot %s, not %s", key, got, slot)
			}
			if other, ok := seen[key]; ok {
				t.Errorf("%q is of %q and of %q", key, name, other)
			}
			seen[key] = name
		}
		if a, b := n.Do("cluster", "keyslot", b.queueKey(name, 'a')), n.Do("cluster", "keyslot", b.queueKey(name, 'b')); a != b {
			t.Errorf("queue %q is in slots %s and %s", name, a, b)
		}
	}
}

// TestPartOfClusterIsAway: without the replica of a primary only what is there
// fails.
func TestPartOfClusterIsAway(t *testing.T) {
	c := redistest.StartCluster(t, "--cluster-require-full-coverage", "no", "--cluster-replica-no-failover", "yes")
	s := openTest(t, Options{Mode: Cluster, Addrs: c.Addrs, Timeout: 400 * time.Millisecond})
	gone := c.Primary(s.bucketKeys("b").values)
	gone.Kill()
	began := time.Now()
	if err := set(s, "k"); !errors.Is(err, store.ErrUnavailable) || time.Since(began) > 600*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	worked := 0
	for i := range 20 {
		bucket := fmt.Sprint("b", i)
		_, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: bucket, Key: "k"})
		if err == nil {
			worked++
		} else if !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
	}
	if worked < 5 || worked == 20 {
		t.Errorf("%d of 20 buckets work", worked)
	}
}

func TestSurvey(t *testing.T) {
	c := redistest.StartCluster(t)
	found, err := openTest(t, Options{Mode: Cluster, Addrs: c.Addrs[:1]}).Survey(t.Context())
	if err != nil || len(found) != 3 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, one := range found {
		if !one.Primary || one.Replicas != 1 || !one.AppendOnly || one.Fsync != "always" || one.Eviction != "noeviction" || one.MaxMemory != "0" || one.MinReplicas != "0" || one.Version == "" {
			t.Errorf("%+v", one)
		}
	}
	n := redistest.Start(t, "--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
	found, err = openTest(t, Options{Addrs: []string{n.Addr}}).Survey(t.Context())
	if err != nil || len(found) != 1 || found[0].AppendOnly || found[0].Eviction != "allkeys-lru" || found[0].Replicas != 0 || found[0].Addr != n.Addr {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestHungNodeIsLeft: calls go to the replica that took the place of a primary
// that hangs, though its connections stay open. Half of the nodes that could tell
// of it hang, too.
func TestHungNodeIsLeft(t *testing.T) {
	c := redistest.StartCluster(t)
	s := openTest(t, Options{Mode: Cluster, Addrs: c.Addrs, Timeout: 500 * time.Millisecond})
	bucket := ""
	for i := 0; bucket == ""; i++ {
		if name := fmt.Sprint("b", i); c.Primary(s.bucketKeys(name).values) == c.Nodes[0] {
			bucket = name
		}
	}
	put := func() error {
		_, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: bucket, Key: "k"})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 4, 5} {
		c.Nodes[i].Pause()
	}
	c.Nodes[3].Info("replication", "role:master")
	began := time.Now()
	for err := put(); err != nil; err = put() {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		if time.Since(began) > 5*time.Second {
			t.Fatalf("%v after another node took over: %v", time.Since(began), err)
		}
	}
}
