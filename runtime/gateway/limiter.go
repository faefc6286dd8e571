package gateway

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Paths is a set of calls of WeChat's API: a Scope.
type Paths interface {
	Allows(method, path string) bool
}

// LimitError is a call that a limit keeps from being made.
type LimitError struct {
	Limit string        // which one: 50/s, 90000 a day
	Of    string        // whose: a pattern, a caller
	Wait  time.Duration // until one goes through, if nobody else is first
}

// Error says which limit it is, and how long it holds.
func (e *LimitError) Error() string {
	return fmt.Sprintf("over the limit of %s for %s: the next goes through in %v", e.Limit, e.Of, e.Wait.Round(time.Millisecond))
}

// EndpointLimit bounds the calls of an app that a pattern matches, all together.
type EndpointLimit struct {
	Pattern string // as pipeline.yaml has it
	Paths   Paths  // what it matches
	Rate    Rate   // on this host; zero: no bound
	Daily   int64  // a day, China's, on all hosts; 0: no bound
}

// LimiterOptions are those of NewLimiter.
type LimiterOptions struct {
	Store  CountStore // nil: this host is alone, and forgets what it counted when it ends
	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now. Buckets go by its monotonic clock, days by its wall clock
}

// Limiter keeps a host's calls within the limits of its apps. It belongs to the
// host: a reload changes the limits, and what was used of them stays used. All
// methods may be called by many goroutines at once.
type Limiter struct {
	store CountStore
	log   *slog.Logger
	now   func() time.Time
	start time.Time
	poke  chan struct{} // the keeper of daily counts has something to do

	mu   sync.Mutex // of Set
	apps atomic.Pointer[map[string][]*bound]
}

// bound is an EndpointLimit with what was used of it. It never changes.
type bound struct {
	EndpointLimit
	bucket *bucket // nil: no rate
	daily  *daily  // nil: no daily limit
}

// NewLimiter makes a limiter without limits. Its Run has to run for daily limits
// to be shared.
func NewLimiter(o LimiterOptions) *Limiter {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Limiter{store: o.Store, log: o.Logger, now: o.Now, start: o.Now(), poke: make(chan struct{}, 1)}
	l.apps.Store(new(map[string][]*bound))
	return l
}

// Set replaces the limits of all apps in one step. What was used of a pattern's
// limit of an app counts on under the new one.
func (l *Limiter) Set(apps map[string][]EndpointLimit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock(l.now())
	next := make(map[string][]*bound, len(apps))
	for app, limits := range apps {
		before := make(map[string]*bound)
		for _, b := range (*l.apps.Load())[app] {
			before[b.Pattern] = b
		}
		for _, limit := range limits {
			b := &bound{EndpointLimit: limit}
			old := before[limit.Pattern]
			if old == nil {
				old = new(bound)
			}
			if limit.Rate.bounds() {
				if b.bucket = old.bucket; b.bucket == nil {
					b.bucket = newBucket(limit.Rate)
				}
				b.bucket.change(limit.Rate, now)
			}
			if limit.Daily > 0 {
				if b.daily = old.daily; b.daily == nil {
					b.daily = &daily{app: app, pattern: limit.Pattern}
				}
				b.daily.limit.Store(limit.Daily)
				b.daily.asked.Store(true) // a first block is there before it is needed
			}
			next[app] = append(next[app], b)
		}
	}
	l.apps.Store(&next)
	l.wake()
}

// Take takes one call of an app, of every limit whose pattern matches it, or of
// none: then the error is a *LimitError. It doesn't wait, and allocates nothing
// but the error.
func (l *Limiter) Take(app, method, path string) error {
	bounds := (*l.apps.Load())[app]
	if len(bounds) == 0 {
		return nil
	}
	now := l.now()
	for i, b := range bounds {
		if !b.Paths.Allows(method, path) {
			continue
		}
		if err := l.takeOne(b, now); err != nil {
			for _, taken := range bounds[:i] {
				if taken.Paths.Allows(method, path) {
					taken.giveBack(now)
				}
			}
			return err
		}
	}
	return nil
}

// takeOne takes a call of both limits of a pattern, or of none.
func (l *Limiter) takeOne(b *bound, now time.Time) error {
	if b.bucket != nil {
		if wait, ok := b.bucket.take(l.clock(now)); !ok {
			return &LimitError{Limit: b.Rate.String(), Of: b.Pattern, Wait: wait}
		}
	}
	if b.daily == nil || b.daily.take(l, now) {
		return nil
	}
	if b.bucket != nil {
		b.bucket.giveBack()
	}
	return &LimitError{Limit: fmt.Sprintf("%d a day", b.Daily), Of: b.Pattern, Wait: dayEnd(now).Sub(now)}
}

// giveBack is for a call that was taken and is not made.
func (b *bound) giveBack(now time.Time) {
	if b.bucket != nil {
		b.bucket.giveBack()
	}
	if b.daily != nil {
		b.daily.today(now).left.Add(1)
	}
}

// clock is the time that buckets count by.
func (l *Limiter) clock(now time.Time) int64 { return int64(now.Sub(l.start)) }

// wake has the keeper look.
func (l *Limiter) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}
