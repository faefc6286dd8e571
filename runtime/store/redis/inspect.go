package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// maxInspected is how many primaries and Sentinels are looked at.
	maxInspected = 100
	// maxSaid is the most of a word of a server's that is kept, in bytes.
	maxSaid = 64
)

// Inspection is what the servers say of themselves.
type Inspection struct {
	Primaries []Server // by address; of a Single or of Sentinels it is one
	Sentinels []Guard  // in the order of Options.Addrs
}

// Server is a server that writes go to. Its texts are the server's own, of letters,
// digits and . _ - only.
type Server struct {
	Addr     string // of Sentinels' primary, where none of them says it: its name
	Err      error  // why nothing is known of it, nothing that it said; nil: what follows is
	Role     string // master; else writes fail
	Version  string // 7.2.4
	AOF      bool   // it has an append-only file
	AOFFails bool   // the last write to it failed
	Fsync    string // appendfsync: always, everysec or no; "": it doesn't tell
	Replicas int    // that follow it
	Behind   int    // that are connected and don't follow yet
	Eviction string // maxmemory-policy
	Cluster  bool   // it is a node of a Cluster
	Broken   bool   // and the Cluster doesn't serve all slots
	// Ahead is by how much its clock is before ours; it is as exact as half of Took,
	// which is how long it took to ask.
	Ahead, Took time.Duration
}

// Guard is a Sentinel.
type Guard struct {
	Addr    string
	Err     error
	Primary string // whom it names
}

// Inspect asks the primaries, and the Sentinels, how they are set up. It reads, and
// changes nothing; a server that is away doesn't take the others' time. The error
// is one of finding the primaries; what is known of the Sentinels stands beside it.
func (b *base) Inspect(ctx context.Context) (Inspection, error) {
	if err := b.enter(); err != nil {
		return Inspection{}, err
	}
	defer b.calls.Done()
	var all Inspection
	var asked sync.WaitGroup
	if b.o.Mode == Sentinel {
		all.Sentinels = make([]Guard, min(len(b.o.Addrs), maxInspected))
		for i := range all.Sentinels {
			asked.Go(func() { all.Sentinels[i] = b.guard(ctx, b.o.Addrs[i]) })
		}
	}
	var err error
	if b.cluster == nil {
		all.Primaries = []Server{inspect(ctx, b.one)}
	} else {
		all.Primaries, err = b.inspectCluster(ctx)
	}
	asked.Wait()
	for _, g := range all.Sentinels {
		all.Primaries[0].Addr = b.o.Master
		if g.Err == nil {
			all.Primaries[0].Addr = g.Primary
			break
		}
	}
	return all, err
}

// inspectCluster asks all primaries side by side.
func (b *base) inspectCluster(ctx context.Context) ([]Server, error) {
	var mu sync.Mutex
	var found []Server
	err := b.cluster.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error {
		mu.Lock()
		more := len(found) < maxInspected
		mu.Unlock()
		if !more {
			return nil
		}
		s := inspect(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		found = append(found, s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the primaries of the Cluster: %w", explained(err))
	}
	slices.SortFunc(found, func(a, b Server) int { return cmp.Compare(a.Addr, b.Addr) })
	return found, nil
}

// inspect asks one server.
func inspect(ctx context.Context, c *goredis.Client) Server {
	s := Server{Addr: c.Options().Addr}
	conn := c.Conn()
	defer func() { _ = conn.Close() }() // gives it back to the pool: nothing can be done about a failure
	// No INFO of more than one section: they are a version's.
	for _, section := range []string{"server", "replication", "persistence", "memory", "cluster"} {
		text, err := conn.Info(ctx, section).Result()
		if err != nil {
			s.Err = explained(err)
			return s
		}
		s.take(text)
	}
	asked := time.Now()
	now, err := conn.Time(ctx).Result()
	if err != nil {
		s.Err = explained(err)
		return s
	}
	s.Took = time.Since(asked)
	s.Ahead = now.Sub(asked.Add(s.Took / 2))
	// Who rents a Redis may not ask for this.
	if said, err := conn.ConfigGet(ctx, "appendfsync").Result(); err == nil {
		s.Fsync = plainWord(said["appendfsync"])
	}
	if s.Cluster {
		if text, err := conn.ClusterInfo(ctx).Result(); err == nil {
			s.Broken = !strings.Contains(text, "cluster_state:ok")
		}
	}
	return s
}

// take keeps what is of use of an INFO.
func (s *Server) take(text string) {
	connected := 0
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "redis_version":
			s.Version = plainWord(value)
		case "role":
			s.Role = plainWord(value)
		case "aof_enabled":
			s.AOF = value == "1"
		case "aof_last_write_status":
			s.AOFFails = value != "ok"
		case "maxmemory_policy":
			s.Eviction = plainWord(value)
		case "cluster_enabled":
			s.Cluster = value == "1"
		case "connected_slaves":
			connected, _ = strconv.Atoi(value) // 0 where it is no number
		}
	}
	if r, err := readReplication(text); err == nil {
		s.Replicas, s.Behind = r.online, max(connected-r.online, 0)
	}
}

// plainWord is a word of a server's, without anything that no such word has.
func plainWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, s[:min(len(s), maxSaid)])
}

// ErrRefused is what a server says to a user or a password that it doesn't take.
var ErrRefused = errors.New("it refuses the user or the password, or what the user may do")

// explained is err without what a server says in it, but for the first word: some
// servers repeat what they were sent, passwords among it.
func explained(err error) error {
	var reply goredis.Error
	var network *net.OpError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &reply):
		word, rest, _ := strings.Cut(reply.Error(), " ")
		switch {
		case word == "NOAUTH", word == "WRONGPASS", word == "NOPERM", strings.Contains(rest, "AUTH"), strings.Contains(rest, "password"):
			return ErrRefused
		}
		if strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			word = "without a name"
		}
		return fmt.Errorf("it answered with the error %s", word[:min(len(word), maxSaid)])
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("it didn't answer in time")
	case errors.As(err, &network):
		return network
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &record):
		return errors.New("it doesn't speak TLS")
	}
	return errors.New("the connection broke, or what answered is no Redis")
}

var errNoPrimary = errors.New("it knows no primary of that name")

// guard asks one Sentinel for the primary.
func (b *base) guard(ctx context.Context, addr string) Guard {
	c := goredis.NewSentinelClient(&goredis.Options{
		Addr: addr, Username: b.o.SentinelUsername, Password: b.o.SentinelPassword, TLSConfig: b.o.TLS,
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		MaxRetries: noRetries, DialerRetries: 1, DialTimeout: b.o.Timeout / 2, ReadTimeout: b.o.Timeout, WriteTimeout: b.o.Timeout,
	})
	g := Guard{Addr: addr}
	said, err := c.GetMasterAddrByName(ctx, b.o.Master).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		g.Err = errNoPrimary
	case err != nil:
		g.Err = explained(err)
	case len(said) != 2:
		g.Err = errNoPrimary
	default:
		host := plainWord(said[0])
		if ip, err := netip.ParseAddr(said[0]); err == nil {
			host = ip.WithZone("").String()
		}
		g.Primary = net.JoinHostPort(host, plainWord(said[1]))
	}
	_ = c.Close() // nothing was written
	return g
}
