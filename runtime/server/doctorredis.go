package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/store/redis"
)

const (
	// doctorSkew is how far clocks may be apart.
	doctorSkew = 30 * time.Second
	// minRedis is the oldest Redis that the driver is written for.
	minRedis = 7
)

// lookAtStore asks the Redis. The embedded store is a running host's alone.
func (d *doctor) lookAtStore(ctx context.Context) []Finding {
	if d.cfg.Store.Redis == nil {
		return []Finding{{Check: "store", State: FindingLeftOut, Text: "the embedded store isn't opened: a host has it to itself while it runs"}}
	}
	if d.redis == nil {
		return []Finding{{Check: "redis", State: FindingWrong, Text: cut(d.redisErr.Error(), 300), Advice: "correct store.redis"}}
	}
	return within(ctx, func(ctx context.Context) []Finding {
		seen, err := d.redis.Inspect(ctx)
		found := guardFindings(seen.Sentinels)
		if err != nil {
			return append(found, redisAway("Redis", err))
		}
		for _, s := range seen.Primaries {
			found = append(found, serverFindings(s)...)
		}
		return found
	})
}

func redisAway(who string, err error) Finding {
	f := Finding{
		Check: "redis", State: FindingWrong, Text: who + ": " + cut(err.Error(), 300),
		Advice: "see that it runs, that this machine may connect to it, and that store.redis has its address and says tls as it does",
	}
	if errors.Is(err, redis.ErrRefused) {
		f.Advice = "correct username and password in store.redis; the user needs all commands on the keys and channels of its prefix, INFO, TIME and WAIT"
	}
	return f
}

// guardFindings are those of the Sentinels.
func guardFindings(guards []redis.Guard) []Finding {
	var found []Finding
	names := map[string]bool{}
	for _, g := range guards {
		if g.Err != nil {
			f := redisAway("Sentinel "+g.Addr, g.Err)
			f.Check, f.State = "sentinels", FindingWarning
			found = append(found, f)
			continue
		}
		names[g.Primary] = true
	}
	switch answered := len(guards) - len(found); {
	case len(guards) == 0:
	case answered == 0:
		found = append(found, Finding{
			Check: "sentinels", State: FindingWrong, Text: "no Sentinel names a primary",
			Advice: "correct addrs and master in store.redis, or start the Sentinels",
		})
	case len(names) > 1:
		found = append(found, Finding{
			Check: "sentinels", State: FindingWarning, Text: "the Sentinels name different primaries",
			Advice: "where it stays so, see that they reach each other",
		})
	case answered == len(guards):
		found = append(found, Finding{Check: "sentinels", State: FindingFine, Text: fmt.Sprintf("%d Sentinels name the same primary", answered)})
	}
	return found
}

// serverFindings are those of a primary.
func serverFindings(s redis.Server) []Finding {
	who := "Redis at " + s.Addr
	if s.Err != nil {
		return []Finding{redisAway(who, s.Err)}
	}
	if s.Role != "master" {
		return []Finding{{
			Check: "redis", State: FindingWrong, Text: who + " is a replica: it takes no writes",
			Advice: "give store.redis the primary's address, or mode: sentinel or mode: cluster, which find it",
		}}
	}
	found := []Finding{versionFinding(who, s), syncFinding(who, s), replicaFinding(who, s), evictionFinding(who, s)}
	if s.Broken {
		found = append(found, Finding{
			Check: "redis", State: FindingWrong, Text: who + ": the Cluster doesn't serve all slots",
			Advice: "see CLUSTER INFO and CLUSTER NODES for the nodes that are away",
		})
	}
	if ahead := s.Ahead.Abs(); ahead > doctorSkew+s.Took/2 {
		found = append(found, Finding{
			Check: "clock", State: FindingWarning, Text: fmt.Sprintf("the clock of %s is %v %s this machine's", who, ahead.Round(time.Second), beforeOrBehind(s.Ahead)),
			Advice: "have both set by NTP: what expires, and who holds a lock, goes by the clock of Redis",
		})
	}
	return found
}

func beforeOrBehind(ahead time.Duration) string {
	if ahead < 0 {
		return "behind"
	}
	return "ahead of"
}

func versionFinding(who string, s redis.Server) Finding {
	first, _, _ := strings.Cut(s.Version, ".")
	n, err := strconv.Atoi(first)
	if err != nil || n < minRedis {
		return Finding{
			Check: "redis", State: FindingWrong, Text: fmt.Sprintf("%s has version %s", who, cmp.Or(s.Version, "unknown")),
			Advice: fmt.Sprintf("the store needs Redis %d or newer", minRedis),
		}
	}
	return Finding{Check: "redis", State: FindingFine, Text: fmt.Sprintf("%s answers, version %s", who, s.Version)}
}

// syncFinding says what a crash of the server loses of what was acknowledged.
func syncFinding(who string, s redis.Server) Finding {
	f := Finding{Check: "appendfsync", State: FindingWarning}
	const set = "set appendonly yes and appendfsync always; with a replica in reach, everysec does"
	switch {
	case !s.AOF:
		f.Text, f.Advice = who+" keeps no append-only file: what was written since its last snapshot is lost when it ends", set
	case s.AOFFails:
		f.State, f.Text, f.Advice = FindingWrong, who+" can't write its append-only file", "look at its log and at its disk"
	case s.Fsync == "always":
		f.State, f.Text = FindingFine, who+" syncs each write: a crash loses nothing that was acknowledged"
	case s.Fsync == "everysec" && s.Replicas > 0:
		f.State, f.Text = FindingFine, who+" syncs every second, and a replica has each write before it is acknowledged"
	case s.Fsync == "everysec":
		f.Text, f.Advice = who+" syncs every second and has no replica: a crash of its machine loses up to a second of what was acknowledged", set
	case s.Fsync == "no":
		f.Text, f.Advice = who+" leaves syncing to its system: a crash of its machine loses what was acknowledged in half a minute, about", set
	default:
		f.State, f.Text = FindingInfo, who+" has an append-only file; how often it is synced isn't told to this user (CONFIG GET appendfsync)"
	}
	return f
}

func replicaFinding(who string, s redis.Server) Finding {
	switch {
	case s.Behind > 0:
		return Finding{
			Check: "replicas", State: FindingWarning, Text: fmt.Sprintf("%s: %d replicas follow it, %d are connected and don't yet", who, s.Replicas, s.Behind),
			Advice: "where it stays so, look at the log of the replica",
		}
	case s.Replicas > 0:
		return Finding{Check: "replicas", State: FindingFine, Text: fmt.Sprintf("%s: %d replicas follow it", who, s.Replicas)}
	case s.Cluster:
		return Finding{
			Check: "replicas", State: FindingWarning, Text: who + " has no replica: when it is away, its part of the apps and users is",
			Advice: "add a replica of it to the Cluster",
		}
	}
	return Finding{Check: "replicas", State: FindingInfo, Text: who + " has no replica: when it is away, state, queue and leases are"}
}

func evictionFinding(who string, s redis.Server) Finding {
	if s.Eviction == "noeviction" {
		return Finding{Check: "eviction", State: FindingFine, Text: who + " throws nothing away when its memory is full"}
	}
	return Finding{
		Check: "eviction", State: FindingWrong, Text: fmt.Sprintf("%s has maxmemory-policy %s: with its memory full it throws away state and queued events", who, cmp.Or(s.Eviction, "unknown")),
		Advice: "set maxmemory-policy noeviction, and watch its memory",
	}
}
