// Package redis is the driver of package store on Redis 7 or newer, which many
// hosts share: one server, a primary that Sentinels watch, or a Cluster.
//
// A change is one Lua script, so that it is whole or not at all. It is durable
// when the primary has it in its append-only file (appendfsync is the server's)
// and, where the primary has replicas, one of them has it, too; a call that is
// not told so in time is store.ErrUnavailable. Times are those of the Redis
// server, so that the clocks of hosts don't matter.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/weft-dev/weft/runtime/store"
)

// Store is a store.Store on Redis. Open makes it.
type Store struct {
	*base
	*values
	*queue
	*locks
	*board
}

var _ store.Store = (*Store)(nil)

// base is what all parts of a Store stand on: the connections, the key space,
// the calls under way.
type base struct {
	o       Options
	log     *slog.Logger
	one     *goredis.Client        // nil in a cluster
	cluster *goredis.ClusterClient // nil outside of a cluster
	trust   *trust

	mu     sync.Mutex
	closed bool
	ending context.Context // ends with Close
	end    context.CancelFunc
	calls  sync.WaitGroup // what is under way; added to under mu while not closed

	closing  sync.Once
	closeErr error
}

// Open makes a Store. It doesn't dial: a Redis that is away makes calls fail, not
// Open. What is wrong with o is store.ErrInvalid.
func Open(ctx context.Context, o Options) (*Store, error) {
	b, err := newBase(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open the store on Redis: %w", err)
	}
	return &Store{base: b, values: newValues(b), queue: newQueue(b), locks: newLocks(b), board: newBoard(b)}, nil
}

func newBase(ctx context.Context, o Options) (*base, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	// The library logs to standard error by itself. Each failure that it logs
	// comes to a caller of this package, too.
	logging.Disable()
	b := &base{o: o, log: o.Logger, trust: newTrust(o.Mode)}
	b.ending, b.end = context.WithCancel(context.WithoutCancel(ctx))
	if o.Mode == Cluster {
		b.cluster = goredis.NewClusterClient(o.ofCluster())
	} else {
		b.one = o.newClient()
	}
	return b, nil
}

// Ping says whether Redis answers, as store.ErrUnavailable where it does not. In
// a cluster it asks the node of one key only.
func (b *base) Ping(ctx context.Context) error {
	_, err := b.visit(ctx, visit{key: b.o.Prefix, passing: true, commands: [][]any{{"ping"}}})
	if err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	return nil
}

// Close waits for what is under way, then closes the connections. Later calls
// answer store.ErrClosed; a second Close waits for the first and returns its error.
func (b *base) Close() error {
	b.closing.Do(func() {
		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		b.end()
		b.calls.Wait()
		var err error
		if b.cluster != nil {
			err = b.cluster.Close()
		} else {
			err = b.one.Close()
		}
		if err != nil && !errors.Is(err, goredis.ErrClosed) {
			b.closeErr = fmt.Errorf("close the store: %w", err)
		}
	})
	return b.closeErr
}

// enter counts a call that is under way, until calls.Done.
func (b *base) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return store.ErrClosed
	}
	b.calls.Add(1)
	return nil
}

// clock is the time that a script goes by: empty for the server's, else
// microseconds since 1970.
func (b *base) clock() string {
	if b.o.Now == nil {
		return ""
	}
	return micros(b.o.Now())
}

func micros(t time.Time) string { return fmt.Sprint(t.UnixMicro()) }
