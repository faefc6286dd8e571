package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

const (
	dailyBucket = "gateway/daily" // of the store: calls by app, day and pattern
	// maxBlock is how many calls a host takes ahead at most.
	maxBlock   = 1000
	dailyRetry = 2 * time.Second // after the store could not be asked
	dailyTime  = 2 * time.Second // for one question
	dailyEnd   = 2 * time.Second // for all of them, when the host stops
)

// CountStore is what daily limits need of the store.
type CountStore interface {
	Apply(ctx context.Context, op store.Op) (store.Result, error)
}

// daily counts the calls of an app that a pattern matches, a day.
//
// The store holds what all hosts have taken. A host takes blocks ahead, so that no
// call waits for the store; a call that finds none is counted there afterwards. So
// hosts together go over the limit by what they call during a question to the
// store, and under it by what they hold when it is used up, a few of a hundred of
// what was left. While the store is away each host counts on alone from what it
// last knew: together they may make as many times what was left as there are hosts.
// A host that dies loses its block, and the count of what it had not yet told; what
// was told and had no answer is told again, and may count twice.
type daily struct {
	app, pattern string
	limit        atomic.Int64
	asked        atomic.Bool // the keeper is to look at it
	day          atomic.Pointer[dayCount]
}

// dayCount is the count of one day.
type dayCount struct {
	day   int64
	known atomic.Int64 // calls that the store had when it was asked last, this host's blocks among them
	left  atomic.Int64 // of this host's blocks; below 0: calls that the store doesn't know of
}

// today is the count of the day of now.
func (d *daily) today(now time.Time) *dayCount {
	day := dayOf(now)
	for {
		c := d.day.Load()
		if c != nil && c.day >= day { // a clock that goes back begins no day anew
			return c
		}
		if next := (&dayCount{day: day}); d.day.CompareAndSwap(c, next) {
			return next
		}
	}
}

// block is how many calls to take ahead.
func (d *daily) block(known int64) int64 {
	limit := d.limit.Load()
	return max(1, min(limit/200, (limit-known)/32, maxBlock))
}

// take takes a call.
func (d *daily) take(l *Limiter, now time.Time) bool {
	c := d.today(now)
	left, known := c.left.Add(-1), c.known.Load()
	if left < 0 && known-left > d.limit.Load() {
		c.left.Add(1)
		return false
	}
	if left < d.block(known)/2+1 && !d.asked.Load() && d.asked.CompareAndSwap(false, true) {
		l.wake()
	}
	return true
}

// Run keeps the daily counts of the hosts together, until ctx ends; then it gives
// back what it holds, which takes 4 s at most.
func (l *Limiter) Run(ctx context.Context) {
	if l.store == nil {
		return
	}
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for away := false; ; {
		select {
		case <-ctx.Done():
			l.settleAll(ctx)
			return
		case <-retry.C:
		case <-l.poke:
		}
		err := l.each(func(d *daily) error {
			if ctx.Err() != nil || !d.asked.Load() {
				return nil
			}
			return l.settle(context.WithoutCancel(ctx), d) // an answer that is not waited for would count twice
		})
		switch {
		case ctx.Err() != nil:
		case err != nil && !away:
			l.log.Warn("daily limits are this host's own while the store is away", slog.String("error", err.Error()))
		case err == nil && away:
			l.log.Info("daily limits are those of all hosts again")
		}
		if away = err != nil; away {
			retry.Reset(dailyRetry)
		}
	}
}

// each calls f for the daily limits that are set until there is an error.
func (l *Limiter) each(f func(*daily) error) error {
	for _, bounds := range *l.apps.Load() {
		for _, b := range bounds {
			if b.daily == nil {
				continue
			}
			if err := f(b.daily); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle tells the store of calls that it doesn't know of, and takes a block where
// the one at hand is half used. Only the keeper calls it.
func (l *Limiter) settle(ctx context.Context, d *daily) error {
	d.asked.Store(false) // what comes from here on asks again
	now := l.now()
	c, limit := d.today(now), d.limit.Load()
	left, known := c.left.Load(), c.known.Load()
	owed, block := max(0, -left), d.block(known)
	if left > block/2 || known >= limit {
		block = 0
	}
	if owed+block == 0 {
		return nil
	}
	number, err := l.count(ctx, d, c, owed+block, now)
	if err != nil {
		d.asked.Store(true)
		return err
	}
	granted := min(max(limit-(number-block), 0), block)
	if granted < block {
		if n, err := l.count(ctx, d, c, granted-block, now); err == nil { // else a higher limit finds some used
			number = n
		}
	}
	c.left.Add(owed + granted)
	c.known.Store(number)
	return nil
}

// count adds calls to a day's count in the store, and returns what it is then.
func (l *Limiter) count(ctx context.Context, d *daily, c *dayCount, calls int64, now time.Time) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, dailyTime)
	defer cancel()
	r, err := l.store.Apply(ctx, store.Op{
		Kind: store.Add, Bucket: dailyBucket, Key: d.app + "/" + strconv.FormatInt(c.day, 10) + "/" + d.pattern,
		Delta: calls, TTL: max(dayEnd(now).Sub(now), 0) + time.Hour,
	})
	if err != nil {
		return 0, fmt.Errorf("count calls: %w", err)
	}
	return r.Number, nil
}

// settleAll gives back the blocks that are left, and tells what is not yet told,
// when the host stops.
func (l *Limiter) settleAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dailyEnd)
	defer cancel()
	now := l.now()
	err := l.each(func(d *daily) error {
		c := d.today(now)
		left := c.left.Swap(0)
		if left == 0 {
			return nil
		}
		_, err := l.count(ctx, d, c, -left, now)
		return err
	})
	if err != nil {
		l.log.Warn("what was left of daily limits was not given back", slog.String("error", err.Error()))
	}
}
