package redis

import (
	"os"
	"testing"

	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

func TestSuiteSentinels(t *testing.T) {
	s := redistest.StartSentinels(t, 1)
	runSuite(t, sentinelOptions(s), transport()...)
}

func TestSuiteCluster(t *testing.T) {
	c := redistest.StartCluster(t)
	runSuite(t, Options{Mode: Cluster, Addrs: c.Addrs[:2]}, transport()...)
}

// transport is the parts of the suite by which set-ups may differ, all of them in full.
func transport() []string {
	if os.Getenv("WEFT_BARS") != "" {
		return nil
	}
	return []string{"KeyValue", "Once", "Clear", "Locks", "Messages", "Claim", "Settle", "Life"}
}

func sentinelOptions(s *redistest.Sentinels) Options {
	return Options{Mode: Sentinel, Addrs: s.Addrs, Master: s.Master}
}
