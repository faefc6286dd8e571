package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

const (
	quotaBucket = "gateway/quota" // of the store: by app, the stops of its endpoints
	quotaTopic  = "gateway/quota" // of the board: the name of an app whose stops changed

	// maxStops is how many endpoints of an app are kept as stopped; those beyond
	// are asked again.
	maxStops = 256
	// maxStopsText is the most that an app's stops take in the store, in bytes.
	maxStopsText = 256 << 10
	// quotaLook is how often the store is looked at, should a message be lost, and
	// quotaRetry how soon after a failure.
	quotaLook, quotaRetry = 30 * time.Second, 2 * time.Second
	quotaTime             = 10 * time.Second // for one look, and one change
	// newDay is how long after midnight a quota that is used up is put down to
	// clocks that differ, and what the stop then lasts.
	newDay = 5 * time.Minute
)

// QuotaStore is what the stops of endpoints whose quota is used up need of the
// store and of its board, so that all hosts keep them.
type QuotaStore interface {
	Get(ctx context.Context, bucket, key string) ([]byte, error)
	Apply(ctx context.Context, op store.Op) (store.Result, error)
	Publish(ctx context.Context, topic string, message []byte) error
	Subscribe(ctx context.Context, topic string, f func(message []byte)) (wait func(), err error)
}

// quotas holds the stops of all apps. A call only reads memory; the keeper, one
// goroutine, brings memory and store together.
type quotas struct {
	store QuotaStore // nil: this host is alone
	log   *slog.Logger
	poke  chan struct{} // the keeper has something to do

	mu   sync.Mutex
	apps map[string]*appQuota
}

// appQuota holds the stops of an app.
type appQuota struct {
	app   string
	stops atomic.Pointer[map[string]time.Time] // by path, until when; the map is never changed

	// Of quotas.mu.
	holders int
	stale   bool                 // the store is to be looked at
	fresh   map[string]time.Time // stops that the store has not yet
	cleared bool                 // the store's are to go
}

func newQuotas(s QuotaStore, log *slog.Logger) *quotas {
	return &quotas{store: s, log: log, poke: make(chan struct{}, 1), apps: make(map[string]*appQuota)}
}

// open returns the stops of an app, to be given back with close.
func (q *quotas) open(app string) *appQuota {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.apps[app]
	if a == nil {
		a = &appQuota{app: app, fresh: make(map[string]time.Time), stale: true}
		a.stops.Store(&map[string]time.Time{})
		q.apps[app] = a
		q.wake()
	}
	a.holders++
	return a
}

func (q *quotas) close(a *appQuota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.holders--; a.holders == 0 {
		delete(q.apps, a.app)
	}
}

// wake has the keeper look.
func (q *quotas) wake() {
	select {
	case q.poke <- struct{}{}:
	default:
	}
}

// stopped tells until when an endpoint gets nothing; false: it is not stopped.
func (a *appQuota) stopped(path string, now time.Time) (time.Time, bool) {
	until, ok := (*a.stops.Load())[path]
	return until, ok && now.Before(until)
}

// stop keeps an endpoint from being called, on all hosts, until its quota begins
// anew.
func (q *quotas) stop(a *appQuota, path string, now time.Time) time.Time {
	until := quotaEnd(now)
	q.mu.Lock()
	defer q.mu.Unlock()
	stops := living(*a.stops.Load(), now)
	if _, there := stops[path]; len(stops) >= maxStops && !there {
		return until
	}
	stops[path], a.fresh[path] = until, until
	a.stops.Store(&stops)
	q.wake()
	return until
}

// clear takes back the stops of an app, on all hosts.
func (q *quotas) clear(a *appQuota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a.fresh, a.cleared = make(map[string]time.Time), true
	a.stops.Store(&map[string]time.Time{})
	q.wake()
}

// quotaEnd is when a quota that is used up at now begins anew: at midnight in
// China. Just after midnight WeChat's clock may still be on the day before.
func quotaEnd(now time.Time) time.Time {
	if began := dayStart(dayOf(now)); now.Sub(began) < newDay {
		return began.Add(newDay)
	}
	return dayEnd(now)
}

// living returns those that last over now, in a map of its own.
func living(stops map[string]time.Time, now time.Time) map[string]time.Time {
	left := maps.Clone(stops)
	maps.DeleteFunc(left, func(_ string, until time.Time) bool { return !now.Before(until) })
	return left
}

// keep is the keeper. It returns when ctx has ended.
func (q *quotas) keep(ctx context.Context) {
	if q.store == nil {
		return
	}
	var wait func()
	defer func() {
		if wait != nil {
			wait()
		}
	}()
	timer := time.NewTimer(atOnce)
	defer timer.Stop()
	for away := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			q.told(nil)
		case <-q.poke:
		}
		err := q.listen(ctx, &wait)
		if failed := q.look(ctx); failed != nil {
			err = failed
		}
		if err != nil && ctx.Err() == nil && !away {
			q.log.Warn("quota stops are this host's own while the store is away", slog.String("error", err.Error()))
		}
		if away = err != nil; away {
			timer.Reset(quotaRetry)
		} else {
			timer.Reset(quotaLook)
		}
	}
}

// listen subscribes where that was not done yet.
func (q *quotas) listen(ctx context.Context, wait *func()) error {
	if *wait != nil {
		return nil
	}
	w, err := q.store.Subscribe(ctx, quotaTopic, q.told)
	if err != nil {
		return fmt.Errorf("listen for quota stops: %w", err)
	}
	*wait = w
	return nil
}

// told is called with a message of the board: an app's name, or nil where
// messages may have been missed.
func (q *quotas) told(message []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, a := range q.apps {
		a.stale = a.stale || message == nil || name == string(message)
	}
	q.wake()
}

// look brings the apps that need it and the store together.
func (q *quotas) look(ctx context.Context) (failed error) {
	q.mu.Lock()
	var due []*appQuota
	for _, a := range q.apps {
		if a.stale || a.cleared || len(a.fresh) > 0 {
			due = append(due, a)
		}
	}
	q.mu.Unlock()
	for _, a := range due {
		one, cancel := context.WithTimeout(ctx, quotaTime)
		if err := q.share(one, a); err != nil {
			failed = fmt.Errorf("quota stops of app %s: %w", a.app, err)
		}
		cancel()
	}
	return failed
}

// share reads an app's stops, adds this host's and writes them where they changed.
func (q *quotas) share(ctx context.Context, a *appQuota) (failed error) {
	q.mu.Lock()
	a.stale = false // what comes from here on is looked at once more
	q.mu.Unlock()
	defer func() {
		if failed != nil {
			q.mu.Lock()
			a.stale = true
			q.mu.Unlock()
		}
	}()
	for {
		text, err := q.store.Get(ctx, quotaBucket, a.app)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err != nil {
			text = nil
		}
		now := time.Now()
		stops := readStops(text, now)
		q.mu.Lock()
		cleared, fresh := a.cleared, maps.Clone(a.fresh)
		q.mu.Unlock()
		if cleared {
			clear(stops)
		}
		maps.Copy(stops, fresh)
		if cleared || len(fresh) > 0 {
			switch ok, err := q.write(ctx, a.app, text, stops, now); {
			case err != nil:
				return err
			case !ok:
				continue // another host was first
			}
		}
		q.took(a, stops, cleared, fresh)
		return nil
	}
}

// write sets an app's stops where they are still what was read.
func (q *quotas) write(ctx context.Context, app string, read []byte, stops map[string]time.Time, now time.Time) (ok bool, err error) {
	op := store.Op{Kind: store.CompareAndSet, Bucket: quotaBucket, Key: app, Value: writeStops(stops), Expect: read, TTL: time.Minute}
	for _, until := range stops {
		op.TTL = max(op.TTL, until.Sub(now))
	}
	result, err := q.store.Apply(ctx, op)
	if err != nil || !result.Applied {
		return false, err
	}
	_ = q.store.Publish(ctx, quotaTopic, []byte(app)) // others look by themselves, too
	return true, nil
}

// took keeps in memory what the store has, and what came meanwhile.
func (q *quotas) took(a *appQuota, stops map[string]time.Time, cleared bool, written map[string]time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.cleared && !cleared {
		return // cleared meanwhile: the keeper was woken for it
	}
	a.cleared = false
	maps.DeleteFunc(a.fresh, func(path string, until time.Time) bool { return written[path].Equal(until) })
	maps.Copy(stops, a.fresh)
	a.stops.Store(&stops)
}

// readStops reads what a host wrote: {path: Unix seconds}. What is none, over or
// too far away is left out.
func readStops(text []byte, now time.Time) map[string]time.Time {
	stops := make(map[string]time.Time)
	var raw map[string]int64
	if len(text) > maxStopsText || json.Unmarshal(text, &raw) != nil {
		return stops
	}
	for path, unix := range raw {
		until := time.Unix(unix, 0)
		if isClean(path) && now.Before(until) && !until.After(quotaEnd(now).Add(time.Hour)) && len(stops) < maxStops {
			stops[path] = until
		}
	}
	return stops
}

func writeStops(stops map[string]time.Time) []byte {
	raw := make(map[string]int64, len(stops))
	for path, until := range stops {
		raw[path] = until.Unix()
	}
	text, _ := json.Marshal(raw) // strings and numbers: it never fails
	return text
}
