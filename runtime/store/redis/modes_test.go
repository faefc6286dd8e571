package redis

import (
	"testing"

	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

func TestSuiteSentinels(t *testing.T) {
	s := redistest.StartSentinels(t, 1)
	runSuite(t, sentinelOptions(s))
}

func TestSuiteCluster(t *testing.T) {
	c := redistest.StartCluster(t)
	runSuite(t, Options{Mode: Cluster, Addrs: c.Addrs[:2]})
}

func sentinelOptions(s *redistest.Sentinels) Options {
	return Options{Mode: Sentinel, Addrs: s.Addrs, Master: s.Master}
}
