package gateway

import (
	"math/bits"
	"strconv"
	"sync/atomic"
	"time"
)

// Rate is how many calls go through: Calls in each Per, evenly spread. What was
// not used is kept, as many as go through in a second, or in a tenth of Per where
// that is longer, one at least. So no time sees more than its share and that many.
// Its zero value is no bound.
type Rate struct {
	Calls int           // 1 to 1,000,000
	Per   time.Duration // a millisecond to a day
}

// maxCalls is what a Rate's Calls are at most.
const maxCalls = 1_000_000

// String returns the rate as pipeline.yaml has it: 50/s, 100/m.
func (r Rate) String() string {
	unit := r.Per.String()
	switch r.Per {
	case time.Second:
		unit = "s"
	case time.Minute:
		unit = "m"
	}
	return strconv.Itoa(r.Calls) + "/" + unit
}

// bounds tells whether r is a bound.
func (r Rate) bounds() bool { return r.Calls > 0 && r.Per > 0 }

// flow is a Rate as a bucket counts.
type flow struct {
	rate     Rate
	interval int64 // ns between two calls
	depth    int64 // ns that a full bucket is worth
}

func newFlow(r Rate) *flow {
	r.Calls, r.Per = min(r.Calls, maxCalls), min(max(r.Per, time.Millisecond), 24*time.Hour)
	f := &flow{rate: r, interval: (int64(r.Per) + int64(r.Calls) - 1) / int64(r.Calls)} // rounded up: never over the rate
	kept := int64(r.Calls) * int64(max(time.Second, r.Per/10)) / int64(r.Per)
	f.depth = max(kept, 1) * f.interval
	return f
}

// bucket is a token bucket. It counts in time: full is when it will be full again
// if no more is taken (the generic cell rate algorithm), so that one word is all
// its state. take and giveBack are lock-free and allocate nothing; change has one
// caller at a time.
type bucket struct {
	full atomic.Int64 // ns of the limiter's clock
	flow atomic.Pointer[flow]
}

// newBucket makes a full one.
func newBucket(r Rate) *bucket {
	b := new(bucket)
	b.flow.Store(newFlow(r))
	return b
}

// take takes a call at a time of the limiter's clock. Where there is none, wait
// is how long until there is.
func (b *bucket) take(now int64) (wait time.Duration, ok bool) {
	for {
		f, full := b.flow.Load(), b.full.Load()
		next := max(full, now) + f.interval
		if over := next - now - f.depth; over > 0 {
			return time.Duration(over), false
		}
		if b.full.CompareAndSwap(full, next) {
			return 0, true
		}
	}
}

// giveBack is for a call that was taken and is not made.
func (b *bucket) giveBack() { b.full.Add(-b.flow.Load().interval) }

// change sets another rate. An empty bucket stays empty, a half full one half full.
func (b *bucket) change(r Rate, now int64) {
	old, f := b.flow.Load(), newFlow(r)
	if old.rate == f.rate {
		return
	}
	for {
		full := b.full.Load()
		used := uint64(min(max(full-now, 0), old.depth))
		high, low := bits.Mul64(used, uint64(f.depth))
		scaled, _ := bits.Div64(high, low, uint64(old.depth)) // used <= old.depth: it is at most f.depth
		if b.full.CompareAndSwap(full, now+int64(scaled)) {
			b.flow.Store(f)
			return
		}
	}
}
