package redistest

import (
	"testing"
	"time"
)

func TestSingle(t *testing.T) {
	n := Start(t)
	n.Do("set", "k", "v")
	n.Kill()
	n.Restart()
	if got := n.Do("get", "k"); got != "v" {
		t.Fatalf("after a kill: %q", got)
	}
	n.Pause()
	n.Resume()
	n.Stop()
	n.Restart()
	if got := n.Do("get", "k"); got != "v" {
		t.Fatalf("after a stop: %q", got)
	}
}

func TestSentinels(t *testing.T) {
	began := time.Now()
	s := StartSentinels(t, 1)
	t.Logf("started in %v", time.Since(began))
	old := s.Primary()
	if old != s.Nodes[0] {
		t.Fatalf("%s is the primary", old.Addr)
	}
	old.Do("set", "k", "v")
	old.Do("wait", 1, 0)
	old.Kill()
	began = time.Now()
	if got := s.Failover(old).Do("get", "k"); got != "v" {
		t.Fatalf("after a failover: %q", got)
	}
	t.Logf("failover in %v", time.Since(began))
}

func TestCluster(t *testing.T) {
	began := time.Now()
	c := StartCluster(t)
	t.Logf("started in %v", time.Since(began))
	old := c.Primary("k")
	old.Do("set", "k", "v")
	old.Do("wait", 1, 0)
	old.Kill()
	began = time.Now()
	now := c.Primary("k")
	c.Whole()
	if got := now.Do("get", "k"); got != "v" {
		t.Fatalf("after a failover: %q", got)
	}
	t.Logf("failover in %v", time.Since(began))
}
