package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
)

// bench is what one case runs on: a sandbox and a store of its own, a clock that
// stands still, and randomness that is the same each time. Nothing of it is left
// when it is closed, and nothing is sent.
type bench struct {
	clock   *caseClock
	random  *caseRandom
	log     *caseLog
	dir     string
	store   store.Store
	sandbox *sandbox.Sandbox

	mu      sync.Mutex
	changed map[touchedKey]bool // keys of state that plugins changed since the last takeChanged
}

// openBench makes a bench whose clock shows now. The caller closes it, also after
// an error.
func openBench(ctx context.Context, now time.Time, cacheDir string) (*bench, error) {
	b := &bench{clock: new(caseClock), random: new(caseRandom), log: new(caseLog)}
	// Guests' monotonic clock counts from the sandbox's beginning, and Go takes 0 of
	// it for a fault of the machine.
	b.clock.set(now.Add(-time.Second))
	defer b.clock.set(now)
	var err error
	if b.dir, err = os.MkdirTemp("", "weft-case-"); err != nil {
		return b, fmt.Errorf("making a folder for the case's store: %w", err)
	}
	opened, err := bolt.Open(ctx, bolt.Options{Dir: b.dir, Now: b.clock.now})
	if err != nil {
		return b, fmt.Errorf("opening the case's store: %w", err)
	}
	b.store = opened // not before: a nil *bolt.Store in it would be no nil
	b.sandbox, err = sandbox.New(ctx, sandbox.Options{CacheDir: cacheDir, Logger: b.log.logger(), Now: b.clock.now, Rand: b.random})
	if err != nil {
		return b, fmt.Errorf("starting the sandbox: %w", err)
	}
	return b, nil
}

func (b *bench) close(ctx context.Context) error {
	var errs []error
	if b.sandbox != nil {
		errs = append(errs, b.sandbox.Close(ctx))
	}
	if b.store != nil {
		errs = append(errs, b.store.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

// state is what plugins keep here.
func (b *bench) state() sandbox.State {
	return &benchState{pluginState{store: b.store, log: b.log.logger()}, b}
}

// benchState notes which keys are changed.
type benchState struct {
	pluginState
	bench *bench
}

// State does one operation as a host does.
func (s *benchState) State(ctx context.Context, scope sandbox.StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status {
	status := s.pluginState.State(ctx, scope, req, resp)
	if status == hostapi.OK && req.Op != hostapi.StateGet {
		k := touchedKey{app: scope.App, plugin: scope.Plugin, key: req.Key}
		if req.Scope == hostapi.ScopeUser {
			k.user = scope.User
		}
		s.bench.mu.Lock()
		defer s.bench.mu.Unlock()
		if s.bench.changed == nil {
			s.bench.changed = map[touchedKey]bool{}
		}
		s.bench.changed[k] = true
	}
	return status
}

// takeChanged gives the keys that were changed, and forgets them.
func (b *bench) takeChanged() map[touchedKey]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := b.changed
	b.changed = nil
	return changed
}

// value is what a key of state holds, nil where nothing.
func (b *bench) value(ctx context.Context, app string, v config.StateValue) ([]byte, error) {
	bucket, key := caseKey(app, v)
	got, err := b.store.Get(ctx, bucket, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	return append([]byte{}, got...), nil
}

// give puts values into the state of an app.
func (b *bench) give(ctx context.Context, app string, values []config.StateValue) error {
	for _, v := range values {
		op := store.Op{Kind: store.Set, Value: v.Value}
		if v.Value == nil {
			op.Kind = store.Delete
		}
		op.Bucket, op.Key = caseKey(app, v)
		if _, err := b.store.Apply(ctx, op); err != nil {
			return fmt.Errorf("%s: giving the state: %w", v.Pos, err)
		}
	}
	return nil
}

// compare holds the state of an app against what is expected.
func (b *bench) compare(ctx context.Context, r *CaseReport, app string, want []config.StateValue) error {
	for _, v := range want {
		got, err := b.value(ctx, app, v)
		if err != nil {
			return fmt.Errorf("%s: %w", v.Pos, err)
		}
		if (got == nil) != (v.Value == nil) || string(got) != string(v.Value) {
			r.fail(v.Pos, "state "+stateName(v), shownValue(v.Value), shownValue(got), "")
		}
	}
	return nil
}

// caseKey is where a value of state is in the store.
func caseKey(app string, v config.StateValue) (bucket, key string) {
	scope := sandbox.StateCall{Plugin: v.Plugin, App: app, User: v.User}
	req := &hostapi.StateRequest{Scope: hostapi.ScopeApp, Key: v.Key}
	if v.User != "" {
		req.Scope = hostapi.ScopeUser
	}
	return stateBucket(scope), stateKey(scope, req)
}

// stateName is how a file of cases writes a key.
func stateName(v config.StateValue) string {
	name := "app:" + v.Key
	if v.User != "" {
		name = "user:" + v.User + ":" + v.Key
	}
	if v.Plugin != "" {
		name = v.Plugin + " " + name
	}
	return name
}

func shownValue(v []byte) string {
	if v == nil {
		return "nothing"
	}
	return strconv.Quote(string(v))
}

// caseClock is a clock that only its owner moves.
type caseClock struct{ ns atomic.Int64 }

func (c *caseClock) set(t time.Time) { c.ns.Store(t.UnixNano()) }

func (c *caseClock) now() time.Time { return time.Unix(0, c.ns.Load()) }

// caseRandom gives the same bytes to whoever reads them in the same order. Until
// begin each Read gets the same: plugins load side by side.
type caseRandom struct {
	mu     sync.Mutex
	stream *rand.ChaCha8
}

var _ io.Reader = (*caseRandom)(nil)

func (r *caseRandom) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = rand.NewChaCha8([32]byte{1})
}

// Read implements io.Reader.
func (r *caseRandom) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stream := r.stream
	if stream == nil {
		stream = rand.NewChaCha8([32]byte{})
	}
	return stream.Read(p)
}

// maxCaseLog is how many lines of a case's log are kept.
const maxCaseLog = 20

// caseLog keeps the first warnings and errors that the host logs.
type caseLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *caseLog) logger() *slog.Logger {
	drop := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: drop}))
}

// Write takes one line.
func (l *caseLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < maxCaseLog {
		l.lines = append(l.lines, cutText(strings.TrimSuffix(string(p), "\n")))
	}
	return len(p), nil
}

func (l *caseLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.lines...)
}
