package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// A primary that had replicas and has none any more may be one that was given up
// while it hung: its replicas follow another one, and what it says now is lost
// when it learns of that. So what it says isn't believed for as long as that may
// take it. Sentinels tell it within 8 s of their next look, which is every 10 s;
// the nodes of a cluster with their next messages.
const (
	sentinelGrace = 20 * time.Second
	clusterGrace  = 5 * time.Second
)

const (
	maxWait   = time.Second // for a replica to acknowledge
	lookAgain = time.Second // how old what is known of a primary may be
	maxSeen   = 256         // primaries that are remembered
)

var (
	errUnsettled = errors.New("it was made, but isn't known to be durable")
	errNoReplica = fmt.Errorf("%w: no replica acknowledged it in time", errUnsettled)
)

// trust decides whether what a primary has answered is durable: where it has
// replicas, one of them must have acknowledged it.
type trust struct {
	grace time.Duration
	now   func() time.Time

	mu    sync.Mutex
	nodes map[string]known     // by address of the node's client
	seen  map[string]time.Time // primaries that had replicas, by replication id: since when they have none; zero: they have some
}

// known is what was last seen at a node.
type known struct {
	replicas bool
	at       time.Time
}

func newTrust(m Mode) *trust {
	t := &trust{now: time.Now, nodes: map[string]known{}, seen: map[string]time.Time{}}
	switch m {
	case Sentinel:
		t.grace = sentinelGrace
	case Cluster:
		t.grace = clusterGrace
	}
	return t
}

// check is what is asked with a visit, in the same go: WAIT, INFO, or both.
type check struct {
	wait, info bool
}

func (t *trust) checkOf(node *goredis.Client) check {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.nodes[node.Options().Addr]
	return check{wait: k.replicas, info: !k.replicas || t.now().Sub(k.at) > lookAgain}
}

// commands returns those of c, for what was read or written at key: a hash, or
// nothing.
func (c check) commands(ctx context.Context, key string) (list [][]any) {
	if c.wait {
		list = append(list, touch(key), waitCommand(ctx))
	}
	if c.info {
		list = append(list, []any{"info", "replication"})
	}
	return list
}

// touchSource changes nothing, but goes to the replicas, which find nothing to
// remove. From Redis 7.2 on WAIT is about what its connection was the last to
// write; after this that is no older than what was read. The append-only file
// doesn't get it. No field of ours has an empty name.
const touchSource = `#!lua flags=allow-oom
redis.set_repl(redis.REPL_NONE)
redis.call('HSET', KEYS[1], '', '')
redis.set_repl(redis.REPL_REPLICA)
redis.call('HDEL', KEYS[1], '')`

func touch(key string) []any { return []any{"eval", touchSource, 1, key} }

// waitCommand waits for one replica, for as long as ctx leaves time for an answer.
func waitCommand(ctx context.Context) []any {
	wait := maxWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)*3/4)
	}
	return []any{"wait", 1, max(wait.Milliseconds(), 1)} // 0 would be for ever
}

// settle looks at the answers to the commands of a check, and asks on where they
// don't suffice. nil: what was sent before them, at key, is durable.
func (t *trust) settle(ctx context.Context, node *goredis.Client, conn *goredis.Conn, key string, c check, answers []*goredis.Cmd) error {
	acknowledged := false
	if c.wait {
		n, err := answers[1].Int()
		if err != nil {
			return fmt.Errorf("%w: %w", errUnsettled, err)
		}
		acknowledged = n >= 1
	}
	switch {
	case acknowledged && !c.info:
		return nil
	case !c.info: // the replicas may be gone
		answers = append(answers, conn.Do(ctx, "info", "replication"))
	}
	text, err := answers[len(answers)-1].Text()
	if err != nil {
		return fmt.Errorf("%w: %w", errUnsettled, err)
	}
	r, err := readReplication(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnsettled, err)
	}
	alone := t.look(node.Options().Addr, r)
	switch {
	case acknowledged:
		return nil
	case r.online == 0:
		return alone
	case c.wait:
		return errNoReplica
	}
	// Replicas have come since the last look.
	if err := conn.Do(ctx, touch(key)...).Err(); err != nil && !errors.Is(err, goredis.Nil) {
		return fmt.Errorf("%w: %w", errUnsettled, err)
	}
	n, err := conn.Do(ctx, waitCommand(ctx)...).Int()
	if err != nil {
		return fmt.Errorf("%w: %w", errUnsettled, err)
	}
	if n < 1 {
		return errNoReplica
	}
	return nil
}

// look takes in what a node says of its replicas. The error is for a primary that
// has none: why its own word doesn't do.
func (t *trust) look(addr string, r replication) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.nodes[addr] = known{replicas: r.online > 0, at: now}
	if r.online > 0 {
		if _, ok := t.seen[r.id]; !ok && len(t.seen) >= maxSeen {
			clear(t.seen)
		}
		t.seen[r.id] = time.Time{}
		return nil
	}
	if !r.primary {
		return fmt.Errorf("%w: the node became a replica", errUnsettled)
	}
	since, had := t.seen[r.id]
	if !had || t.grace == 0 {
		return nil
	}
	if since.IsZero() {
		since = now
		t.seen[r.id] = since
	}
	if gone := now.Sub(since); gone < t.grace {
		return fmt.Errorf("%w: the primary lost its last replica %v ago, and may have been given up itself: it is believed after %v",
			errUnsettled, gone.Round(time.Second), t.grace)
	}
	delete(t.seen, r.id)
	return nil
}

// replication is what INFO replication says.
type replication struct {
	primary bool
	id      string // changes when another node becomes the primary
	online  int    // replicas that follow
}

// readReplication reads the answer to INFO replication.
func readReplication(text string) (r replication, err error) {
	role := false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case key == "role":
			role, r.primary = value != "", value == "master"
		case key == "master_replid":
			r.id = value
		case isReplica(key) && strings.Contains(","+value+",", ",state=online,"):
			r.online++
		}
	}
	if !role || len(r.id) > 64 {
		return replication{}, errors.New("INFO replication was answered with something else")
	}
	return r, nil
}

// isReplica: slave0, slave1 …
func isReplica(key string) bool {
	rest, ok := strings.CutPrefix(key, "slave")
	return ok && rest != "" && rest[0] >= '0' && rest[0] <= '9'
}
