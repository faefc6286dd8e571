package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// Nodes is a Redis Cluster: three primaries with a replica each.
type Nodes struct {
	Addrs []string
	Nodes []*Node // the first three are the primaries at first, the others their replicas in the same order
}

const (
	slots     = 16384
	primaries = 3
)

// StartCluster starts a Cluster of six with a cluster-node-timeout of 1 s, and waits
// until it takes writes and every primary has its replica.
func StartCluster(t testing.TB, options ...string) *Nodes {
	t.Helper()
	c := &Nodes{}
	for range 2 * primaries {
		n := newNode(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000",
			"--cluster-port", strconv.Itoa(freePort(t)),
		}, options...)...)
		c.Nodes = append(c.Nodes, n)
		c.Addrs = append(c.Addrs, n.Addr)
	}
	launch(c.Nodes)
	for i, n := range c.Nodes {
		n.Do("cluster", "set-config-epoch", i+1)
		if i < primaries {
			n.Do("cluster", "addslotsrange", i*slots/primaries, (i+1)*slots/primaries-1)
		}
	}
	for _, n := range c.Nodes[1:] {
		host, port, _ := net.SplitHostPort(n.Addr)
		bus := n.args[len(n.args)-1-len(options)]
		c.Nodes[0].Do("cluster", "meet", host, port, bus)
	}
	c.whole(len(c.Nodes))
	for i, n := range c.Nodes[primaries:] {
		id := c.Nodes[i].Do("cluster", "myid")
		n.Until("it follows its primary", func(client *goredis.Client) (bool, error) {
			err := client.Do(context.Background(), "cluster", "replicate", id).Err()
			return err == nil, err
		})
	}
	for i, n := range c.Nodes[primaries:] {
		n.Info("replication", "master_link_status:up")
		c.Nodes[i].Info("replication", "connected_slaves:1", "state=online")
	}
	c.whole(len(c.Nodes))
	return c
}

// whole waits until every running node knows so many nodes and says that all
// slots are served.
func (c *Nodes) whole(known int) {
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		n.t.Helper()
		n.Until("the cluster is whole", func(client *goredis.Client) (bool, error) {
			text, err := client.ClusterInfo(context.Background()).Result()
			return strings.Contains(text, "cluster_state:ok") && strings.Contains(text, fmt.Sprintf("cluster_known_nodes:%d\r", known)), err
		})
	}
}

// Whole waits until every running node says that all slots are served.
func (c *Nodes) Whole() { c.whole(len(c.Nodes)) }

// Primary is the running node that has the slot of key.
func (c *Nodes) Primary(key string) *Node {
	var found *Node
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		n.t.Helper()
		n.Until("it names the primary of a key", func(client *goredis.Client) (bool, error) {
			addr, err := primaryOf(client, key)
			for _, other := range c.Nodes {
				if other.Addr == addr && other.Running() {
					found = other
				}
			}
			return found != nil, err
		})
		return found
	}
	return nil
}

// primaryOf asks a node who has the slot of key.
func primaryOf(client *goredis.Client, key string) (addr string, err error) {
	ctx := context.Background()
	slot, err := client.ClusterKeySlot(ctx, key).Result()
	if err != nil {
		return "", err
	}
	shards, err := client.ClusterShards(ctx).Result()
	for _, s := range shards {
		for _, r := range s.Slots {
			if slot < r.Start || r.End < slot {
				continue
			}
			for _, n := range s.Nodes {
				if n.Role == "master" && n.Health == "online" {
					return net.JoinHostPort(n.IP, strconv.FormatInt(n.Port, 10)), nil
				}
			}
		}
	}
	return "", errors.Join(err, errors.New("nobody has the slot"))
}
