package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/weft-dev/weft/runtime/store"
)

// Mode is how Redis is set up.
type Mode uint8

// The modes.
const (
	Single   Mode = iota // one primary at one address, with or without replicas
	Sentinel             // Sentinels at the addresses say who is the primary
	Cluster              // some nodes of a Redis Cluster at the addresses
)

const (
	defaultPrefix  = "weft"
	defaultTimeout = 2 * time.Second
	defaultPool    = 64
	maxPrefix      = 64
)

// Options say how a Store is opened. Printing them shows no password.
type Options struct {
	Mode                               Mode
	Addrs                              []string // host:port, at least one; exactly one of a Single
	Master                             string   // the name of the primary that Sentinels watch
	Username, Password                 string
	SentinelUsername, SentinelPassword string
	TLS                                *tls.Config   // nil: none; a server's name that isn't set is its host
	DB                                 int           // 0 in a cluster
	Prefix                             string        // of all keys and channels, 1 to 64 of A-Z a-z 0-9 . _ : -; empty: weft
	Timeout                            time.Duration // after which a call is ErrUnavailable, one that sends much later; 0: 2 s
	Pool                               int           // connections to one node at most; 0: 64
	// Now is for tests: the time that expiry and claims go by. nil: the Redis
	// server's. With it keys in Redis get no expiry of their own.
	Now    func() time.Time
	Logger *slog.Logger // nil: none
}

// String shows o without its secrets.
func (o Options) String() string {
	return fmt.Sprintf("Redis at %s, prefix %q", strings.Join(o.Addrs, ", "), o.Prefix)
}

// GoString is String: %#v shows no secret either.
func (o Options) GoString() string { return o.String() }

// LogValue is String for slog.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// complete checks o and fills in what was left out.
func (o *Options) complete() error {
	o.Addrs = slices.Clone(o.Addrs) // the library appends to what it gets
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Pool == 0 {
		o.Pool = defaultPool
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Mode > Cluster:
		return fmt.Errorf("%w: no mode %d", store.ErrInvalid, o.Mode)
	case len(o.Addrs) == 0 || o.Mode == Single && len(o.Addrs) > 1:
		return fmt.Errorf("%w: %d addresses, one is needed (Sentinels and nodes of a cluster may be more)", store.ErrInvalid, len(o.Addrs))
	case (o.Mode == Sentinel) != (o.Master != ""):
		return fmt.Errorf("%w: the name of the primary is for Sentinels, which need it", store.ErrInvalid)
	case o.DB < 0 || o.Mode == Cluster && o.DB != 0:
		return fmt.Errorf("%w: no database %d; a cluster has 0 only", store.ErrInvalid, o.DB)
	case o.Timeout < 0 || o.Pool < 0:
		return fmt.Errorf("%w: a timeout or pool below 0", store.ErrInvalid)
	}
	for _, a := range o.Addrs {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("%w: address %q is no host:port", store.ErrInvalid, a)
		}
	}
	return checkPrefix(o.Prefix)
}

// checkPrefix refuses what would move the hash tag of keys or hide in a listing.
func checkPrefix(p string) error {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:-", r)
	}
	if len(p) > maxPrefix || strings.ContainsFunc(p, odd) {
		return fmt.Errorf("%w: prefix %q, 1 to %d of A-Z a-z 0-9 . _ : - are allowed", store.ErrInvalid, p, maxPrefix)
	}
	return nil
}

// errNotSent says that a connection could not be made, so that nothing went to
// Redis.
var errNotSent = errors.New("no connection")

// notSent marks failures to connect.
type notSent struct{}

func (notSent) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotSent, err)
		}
		return conn, nil
	}
}

func (notSent) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

func (notSent) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// The library repeats nothing: it can't know what may be done twice.
const noRetries = -1

// newClient is the client of a Single or of Sentinels.
func (o *Options) newClient() *goredis.Client {
	dial := o.Timeout / 2
	var c *goredis.Client
	if o.Mode == Sentinel {
		c = goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: o.Master, SentinelAddrs: o.Addrs,
			SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
			Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLS,
			Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
			MaxRetries: noRetries, DialerRetries: 1, DialTimeout: dial, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout,
			PoolSize: o.Pool, PoolTimeout: o.Timeout, PipelinePoolSize: -1,
		})
	} else {
		c = goredis.NewClient(&goredis.Options{
			Addr:     o.Addrs[0],
			Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLS,
			Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
			MaxRetries: noRetries, DialerRetries: 1, DialTimeout: dial, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout,
			PoolSize: o.Pool, PoolTimeout: o.Timeout, PipelinePoolSize: -1,
		})
	}
	c.AddHook(notSent{})
	return c
}

// ofCluster is for the client of a Cluster.
func (o *Options) ofCluster() *goredis.ClusterOptions {
	return &goredis.ClusterOptions{
		Addrs:    o.Addrs,
		Username: o.Username, Password: o.Password, TLSConfig: o.TLS,
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		MaxRetries: noRetries, DialerRetries: 1, DialTimeout: o.Timeout / 2, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout,
		PoolSize: o.Pool, PoolTimeout: o.Timeout, PipelinePoolSize: -1,
		NewClient: func(opt *goredis.Options) *goredis.Client {
			c := goredis.NewClient(opt)
			c.AddHook(notSent{})
			return c
		},
	}
}
