package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/telemetry"
)

const (
	// maxPEM is the most that is read of a file of certificates, in bytes.
	maxPEM = 1 << 20
	// reachEvery is how often a start tries to reach the store, and reachLog how
	// often it says that it could not.
	reachEvery, reachLog = 500 * time.Millisecond, 10 * time.Second
)

// openStoreOf opens the store of a configuration. foreign reads what other systems
// leave in it; nil: the store is this host's alone. A Redis that is away is waited
// for until ctx ends.
func openStoreOf(ctx context.Context, cfg *config.Store, log *slog.Logger) (s store.Store, foreign gateway.ForeignKeys, err error) {
	if cfg.Redis == nil {
		s, err = bolt.Open(ctx, bolt.Options{Dir: cfg.Dir, Logger: log})
		if err != nil {
			return nil, nil, fmt.Errorf("opening the store: %w", err)
		}
		return s, nil, nil
	}
	opt, err := redisOptions(cfg.Redis, log)
	if err != nil {
		return nil, nil, err
	}
	shared, err := redis.Open(ctx, opt)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the store: %w", err)
	}
	if err := reach(ctx, shared, log); err != nil {
		return nil, nil, errors.Join(err, shared.Close())
	}
	return shared, shared, nil
}

// reach waits until a store that other hosts share answers: what a host must know
// before it serves is there.
func reach(ctx context.Context, s store.Store, log *slog.Logger) error {
	ticker := time.NewTicker(reachEvery)
	defer ticker.Stop()
	var logged telemetry.Seldom
	for {
		_, err := s.Get(ctx, "weft/probe", "ready")
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if _, ok := logged.Pass(time.Now(), reachLog); ok && ctx.Err() == nil {
			log.LogAttrs(ctx, slog.LevelError, "the store can't be reached: the start waits for it", slog.String("error", err.Error()),
				slog.String("advice", "see store.redis; `weft doctor` looks at it more closely"))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("reaching the store: %w", ctx.Err())
		}
	}
}

// redisOptions are the driver's for a section store.redis.
func redisOptions(c *config.Redis, log *slog.Logger) (redis.Options, error) {
	opt := redis.Options{
		Addrs: c.Addrs, Master: c.Master, DB: c.DB, Prefix: c.Prefix, Logger: log,
		Username: c.Username, Password: c.Password, SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword,
	}
	switch c.Mode {
	case config.RedisSentinel:
		opt.Mode = redis.Sentinel
	case config.RedisCluster:
		opt.Mode = redis.Cluster
	}
	var err error
	if c.TLS != nil {
		if opt.TLS, err = tlsConfig(c.TLS); err != nil {
			return redis.Options{}, fmt.Errorf("store.redis.tls: %w", err)
		}
	}
	return opt, nil
}

// tlsConfig reads the files of a section tls.
func tlsConfig(c *config.TLS) (*tls.Config, error) {
	t := &tls.Config{ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := readAtMost(c.CA, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca: there is no certificate in it")
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
