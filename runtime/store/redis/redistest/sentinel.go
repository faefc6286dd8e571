package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// Sentinels is a primary with replicas that three Sentinels watch.
type Sentinels struct {
	Addrs  []string // of the Sentinels
	Master string   // the name that they have for the primary
	Nodes  []*Node  // the first is the primary at first
	Guards []*Node  // the Sentinels
}

// downAfter is how long a primary is away, in milliseconds, until it is given up:
// less, and a busy machine is taken for one.
const downAfter = 2000

// StartSentinels starts a primary, so many replicas and three Sentinels, and waits
// until all know each other. options are for primary and replicas.
func StartSentinels(t testing.TB, replicas int, options ...string) *Sentinels {
	t.Helper()
	s := &Sentinels{Master: "main", Nodes: []*Node{newNode(t, options...)}}
	host, port, _ := net.SplitHostPort(s.Nodes[0].Addr)
	for range replicas {
		s.Nodes = append(s.Nodes, newNode(t, append([]string{"--replicaof", host + " " + port}, options...)...))
	}
	launch(s.Nodes)
	for _, n := range s.Nodes[1:] {
		n.Info("replication", "master_link_status:up")
	}
	s.Nodes[0].Info("replication", fmt.Sprintf("connected_slaves:%d", replicas))
	for range 3 {
		s.Guards = append(s.Guards, newGuard(t, s.Master, host, port))
	}
	launch(s.Guards)
	for _, g := range s.Guards {
		s.Addrs = append(s.Addrs, g.Addr)
		g.Info("sentinel", fmt.Sprintf("slaves=%d,sentinels=3", replicas))
	}
	return s
}

// launch starts nodes side by side and waits until all answer.
func launch(nodes []*Node) {
	for _, n := range nodes {
		n.t.Helper()
		n.launch()
	}
	for _, n := range nodes {
		n.ready()
	}
}

// StartSentinel starts one Sentinel that watches the primary at addr under the name
// main, with further lines in its configuration.
func StartSentinel(t testing.TB, addr string, lines ...string) *Node {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	g := newGuard(t, "main", host, port, lines...)
	g.Restart()
	return g
}

// newGuard is a Sentinel that doesn't run yet.
func newGuard(t testing.TB, master, host, port string, lines ...string) *Node {
	t.Helper()
	dir := t.TempDir()
	n := &Node{t: t, log: filepath.Join(dir, "log")}
	own := freePort(t)
	n.Addr = fmt.Sprintf("127.0.0.1:%d", own)
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %s %s %s 2\n", own, dir, master, host, port) +
		fmt.Sprintf("sentinel down-after-milliseconds %s %d\nsentinel failover-timeout %s 10000\n", master, downAfter, master) +
		strings.Join(lines, "\n")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.args = []string{conf, "--sentinel"}
	t.Cleanup(n.Kill)
	return n
}

// Primary is the node that the Sentinels name.
func (s *Sentinels) Primary() *Node {
	g := s.Guards[0]
	g.t.Helper()
	var found *Node
	g.Until("it names a primary", func(c *goredis.Client) (bool, error) {
		reply, err := c.Do(context.Background(), "sentinel", "get-master-addr-by-name", s.Master).StringSlice()
		if err != nil {
			return false, err
		}
		addr := strings.Join(reply, ":")
		for _, n := range s.Nodes {
			if n.Addr == addr {
				found = n
			}
		}
		return found != nil, nil
	})
	return found
}

// Failover waits until another node than old is the primary and takes writes.
func (s *Sentinels) Failover(old *Node) *Node {
	g := s.Guards[0]
	g.t.Helper()
	g.Until("another one is the primary", func(*goredis.Client) (bool, error) { return s.Primary() != old, nil })
	n := s.Primary()
	n.Info("replication", "role:master")
	return n
}
