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

// TestKill kills a server that syncs each write, under load.
func TestKill(t *testing.T) {
	n := redistest.Start(t)
	underLoad(t, Options{Addrs: []string{n.Addr}}, rounds(1, 5), func() {
		n.Kill()
		n.Restart()
	})
}

// TestKillWithSentinels kills the primary under load: its replica goes on.
func TestKillWithSentinels(t *testing.T) { killWithSentinels(t, 1) }

// TestKillWithTwoReplicas has one of them go on, and the other one follow it.
func TestKillWithTwoReplicas(t *testing.T) { killWithSentinels(t, 2) }

func killWithSentinels(t *testing.T, replicas int) {
	s := redistest.StartSentinels(t, replicas)
	underLoad(t, sentinelOptions(s), rounds(1, 3), func() {
		old := s.Primary()
		old.Kill()
		now := s.Failover(old)
		old.Restart()
		host, port, _ := net.SplitHostPort(now.Addr)
		old.Do("replicaof", host, port) // as the Sentinels do later
		now.Info("replication", fmt.Sprintf("connected_slaves:%d", replicas), "state=online")
		for _, g := range s.Guards { // none is still at work on this failover
			g.Info("sentinel", fmt.Sprintf("status=ok,address=%s,slaves=%d", now.Addr, replicas))
		}
	})
}

// TestKillInCluster kills a primary of a cluster under load: its replica goes on.
func TestKillInCluster(t *testing.T) {
	c := redistest.StartCluster(t)
	o := Options{Mode: Cluster, Addrs: c.Addrs, Prefix: "load"}
	key := (&base{o: o}).bucketKeys("b0").values
	underLoad(t, o, rounds(1, 3), func() {
		old := c.Primary(key)
		old.Kill()
		now := c.Primary(key)
		c.Whole()
		old.Restart()
		now.Info("replication", "state=online")
	})
}

// load writes by several goroutines, each in a bucket of its own, until its
// context ends.
type load struct {
	s *Store

	mu     sync.Mutex
	grown  *sync.Cond
	acked  int
	failed int
	keys   map[string][]string // acknowledged, by bucket
	counts map[string]int64    // changes of the bucket's counter that were acknowledged
	fences map[string]uint64   // the last one of the bucket's lock
}

const loaders = 8

func newLoad(s *Store) *load {
	l := &load{s: s, keys: map[string][]string{}, counts: map[string]int64{}, fences: map[string]uint64{}}
	l.grown = sync.NewCond(&l.mu)
	return l
}

// underLoad has crash happen so many times under load, and checks that what was
// acknowledged is there, and was done once.
func underLoad(t *testing.T, o Options, crashes int, crash func()) {
	t.Helper()
	o.Prefix = "load"
	l := newLoad(openTest(t, o))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for g := range loaders {
		wg.Go(func() { l.write(ctx, t, fmt.Sprint("b", g)) })
	}
	l.more(200)
	for range crashes {
		began := time.Now()
		crash()
		back := time.Since(began)
		l.more(200)
		t.Logf("the crash took %v, writing went on after %v", back, time.Since(began))
	}
	stop()
	wg.Wait()
	t.Logf("%d acknowledged, %d failed", l.acked, l.failed)
	l.check(t)
}

// more waits until n more writes were acknowledged.
func (l *load) more(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for want := l.acked + n; l.acked < want; {
		l.grown.Wait()
	}
}

// did counts a write by its outcome.
func (l *load) did(t *testing.T, err error, acked func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.acked++
		acked()
		l.grown.Broadcast()
	case errors.Is(err, store.ErrUnavailable):
		l.failed++
	case !errors.Is(err, context.Canceled):
		t.Error(err)
	}
}

// write sets keys, counts, each change repeated until it was acknowledged, and
// takes and gives back a lock.
func (l *load) write(ctx context.Context, t *testing.T, bucket string) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprint("k", i)
		_, err := l.s.Apply(ctx, store.Op{Kind: store.Set, Bucket: bucket, Key: key, Value: []byte(bucket + key)})
		l.did(t, err, func() { l.keys[bucket] = append(l.keys[bucket], key) })
		for tried := false; ctx.Err() == nil; tried = true {
			r, err := l.s.Apply(ctx, store.Op{Kind: store.Add, Bucket: bucket, Key: "n", Delta: 1, Once: key, OnceTTL: time.Hour})
			l.did(t, err, func() {
				l.counts[bucket]++
				if r.Number != l.counts[bucket] || r.Repeated && !tried {
					t.Errorf("change %d of %s: %+v", i, bucket, r)
				}
			})
			if err == nil {
				break
			}
		}
		held, err := l.s.Lock(ctx, bucket, 50*time.Millisecond)
		if errors.Is(err, store.ErrHeld) {
			continue
		}
		l.did(t, err, func() {
			if held.Fence <= l.fences[bucket] {
				t.Errorf("fence %d after %d", held.Fence, l.fences[bucket])
			}
			l.fences[bucket] = held.Fence
		})
		if err == nil {
			if err := l.s.Unlock(ctx, held); !errors.Is(err, store.ErrLost) {
				l.did(t, err, func() {})
			}
		}
	}
}

// check reads what was acknowledged.
func (l *load) check(t *testing.T) {
	t.Helper()
	for bucket, keys := range l.keys {
		lost := 0
		for _, key := range keys {
			v, err := l.s.Get(t.Context(), bucket, key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			if string(v) != bucket+key {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("%d of %d acknowledged writes of %s are lost", lost, len(keys), bucket)
		}
		r, err := l.s.Apply(t.Context(), store.Op{Kind: store.Add, Bucket: bucket, Key: "n"})
		if err != nil {
			t.Fatal(err)
		}
		// One more may be there: the last one, whose answer the end cut off.
		if over := r.Number - l.counts[bucket]; over < 0 || over > 1 {
			t.Errorf("%s has counted %d, %d were acknowledged", bucket, r.Number, l.counts[bucket])
		}
	}
}
