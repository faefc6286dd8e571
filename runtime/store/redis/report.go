package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// Survey is what a primary says of how it keeps data, for operators. What the
// user may not ask for is empty.
type Survey struct {
	Addr        string // "" where Sentinels name it
	Version     string
	Primary     bool
	Replicas    int    // that follow
	AppendOnly  bool   // it keeps an append-only file: without, a crash loses what it had
	Fsync       string // appendfsync: always, everysec, no
	Eviction    string // maxmemory-policy: other than noeviction it throws data away when it is full
	MaxMemory   string // in bytes, "0": no bound
	MinReplicas string // min-replicas-to-write
}

// Survey asks the primaries (of a cluster all, sorted by address) how they keep data.
func (b *base) Survey(ctx context.Context) ([]Survey, error) {
	found, err := inTime(ctx, b, b.o.Timeout, b.survey)
	if err != nil {
		return nil, fmt.Errorf("survey Redis: %w", err)
	}
	return found, nil
}

func (b *base) survey(ctx context.Context) ([]Survey, error) {
	if b.cluster == nil {
		one, err := surveyOf(ctx, b.one)
		if b.o.Mode == Sentinel {
			one.Addr = ""
		}
		return []Survey{one}, err
	}
	var mu sync.Mutex
	var all []Survey
	err := b.cluster.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error {
		one, err := surveyOf(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, one)
		return err
	})
	slices.SortFunc(all, func(a, b Survey) int { return strings.Compare(a.Addr, b.Addr) })
	return all, err
}

func surveyOf(ctx context.Context, c *goredis.Client) (Survey, error) {
	s := Survey{Addr: c.Options().Addr}
	text, err := c.Info(ctx).Result()
	if err != nil {
		return s, err
	}
	r, err := readReplication(text)
	if err != nil {
		return s, err
	}
	s.Primary, s.Replicas = r.primary, r.online
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = value[:min(len(value), 64)]
		switch key {
		case "redis_version":
			s.Version = value
		case "aof_enabled":
			s.AppendOnly = value == "1"
		case "maxmemory":
			s.MaxMemory = value
		case "maxmemory_policy":
			s.Eviction = value
		}
	}
	for name, to := range map[string]*string{"appendfsync": &s.Fsync, "min-replicas-to-write": &s.MinReplicas} {
		got, err := c.ConfigGet(ctx, name).Result()
		var refused goredis.Error
		if err != nil && !errors.As(err, &refused) {
			return s, err
		}
		*to = got[name][:min(len(got[name]), 64)]
	}
	return s, nil
}
