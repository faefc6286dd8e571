package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// redisUnderFire is a Redis of which nodes are killed.
type redisUnderFire struct {
	options redis.Options
	section string // of pipeline.yaml
	kill    func() // kills a primary, and returns when all is as it was
}

func singleUnderFire(t *testing.T) redisUnderFire {
	n := redistest.Start(t)
	return redisUnderFire{
		redis.Options{Addrs: []string{n.Addr}},
		fmt.Sprintf("redis: { addrs: [%q] }", n.Addr),
		func() { n.Kill(); n.Restart() },
	}
}

func sentinelsUnderFire(t *testing.T) redisUnderFire {
	set := redistest.StartSentinels(t, 1)
	return redisUnderFire{
		redis.Options{Mode: redis.Sentinel, Addrs: set.Addrs, Master: set.Master},
		fmt.Sprintf("redis: { mode: sentinel, master: %s, addrs: [ %q, %q, %q ] }", set.Master, set.Addrs[0], set.Addrs[1], set.Addrs[2]),
		func() {
			old := set.Primary()
			old.Kill()
			set.Failover(old)
			old.Rejoin()
		},
	}
}

func clusterUnderFire(t *testing.T) redisUnderFire {
	c := redistest.StartCluster(t)
	n := 0
	return redisUnderFire{
		redis.Options{Mode: redis.Cluster, Addrs: c.Addrs},
		fmt.Sprintf("redis: { mode: cluster, addrs: [ %q, %q, %q ] }", c.Addrs[0], c.Addrs[1], c.Addrs[3]),
		func() {
			n++
			key := fmt.Sprintf("any%d", n)
			old := c.Primary(key)
			old.Kill()
			c.Primary(key) // another one
			c.Whole()
			old.Rejoin()
			c.Whole()
		},
	}
}

// Hosts and the nodes of their Redis are killed at random moments of a load: each
// event that was answered, by whatever, is processed at least once in the end. The
// primaries of a Sentinel set-up and of a cluster have a replica that acknowledges
// every write, so that a failover loses nothing either.
func TestFleetKills(t *testing.T) {
	wasm, err := os.ReadFile(buildGuest(t, "testdata/ledger"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		start        func(*testing.T) redisUnderFire
		hosts, nodes int // how many are killed
	}{
		{"single", singleUnderFire, either(2, 17), either(1, 2)},
		{"sentinel", sentinelsUnderFire, either(0, 17), either(1, 2)},
		{"cluster", clusterUnderFire, either(0, 16), either(1, 2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.hosts == 0 {
				t.Skip("set WEFT_BARS for it")
			}
			fire := c.start(t)
			f := newFleet(t, 0, simulator.Rules{}, fire.section)
			f.files = map[string][]byte{"ledger.wasm": wasm}
			key := base64.StdEncoding.EncodeToString([]byte(fleetKey))
			config := strings.NewReplacer("store: { embedded: {} }", "store: { "+fire.section+" }", "data: ./data }", "data: ./data, key: \""+key+"\" }").Replace(killConfig())
			for range either(2, 4) {
				f.add(t, config)
			}
			l := &killLoad{kinds: map[string]string{}}
			f.fire(t, l, c.hosts, c.nodes, fire.kill)
			begun := time.Now()
			waitForQueue(t, f.host(0))
			t.Logf("the queue was empty after %v", time.Since(begun).Round(time.Millisecond))
			s, err := redis.Open(t.Context(), fire.options)
			if err != nil {
				t.Fatal(err)
			}
			l.count(t, s, c.hosts)
		})
	}
}

// fire kills so many hosts and nodes, in any order, under a load.
func (f *fleet) fire(t *testing.T, l *killLoad, hosts, nodes int, killNode func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	for user := range 16 {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if l.send(f.host(user+i), user, 0, i) != nil { // it was killed: the next one, in a while
					select {
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	targets := append(make([]bool, hosts), make([]bool, nodes)...)
	for i := range nodes {
		targets[i] = true
	}
	rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	for _, node := range targets {
		select {
		case <-time.After(time.Duration(50+rand.IntN(700)) * time.Millisecond):
		case <-ctx.Done():
			return
		}
		if node {
			killNode()
			continue
		}
		place := rand.IntN(len(f.hosts))
		f.host(place).kill()
		f.start(t, place)
	}
	cancel()
	load.Wait()
	t.Logf("%d hosts and %d nodes of Redis were killed", hosts, nodes)
}
