package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// How often refused credentials are replaced, over all hosts.
const (
	forceApart = 30 * time.Second // between two force_refresh, by WeChat's rule
	forceDaily = 20               // of them a day, the same
	// healBurst replacements may follow each other; then there is one every
	// healEvery (plain: of the plain call, which has 2,000 a day).
	healBurst      = 10
	healEvery      = 10 * time.Second
	healEveryPlain = time.Minute
	rationKept     = 48 * time.Hour
	maxRation      = 1 << 10
)

// ration counts what was asked for because a credential was refused.
type ration struct {
	Day    int64 `json:"day"`    // of Forced, days since 1970, China
	Forced int   `json:"forced"` // that day
	Last   int64 `json:"last"`   // when it was forced the last time, Unix milliseconds
	// Free is when all of healBurst is there again, Unix milliseconds.
	Free int64 `json:"free"`
}

// decodeRation reads what the store has. What can't be read is as if all was used
// up just now: it is wrong for a minute, and for forced ones until midnight.
func decodeRation(b []byte, now time.Time) ration {
	var r ration
	if len(b) <= maxRation && json.Unmarshal(b, &r) == nil && r.Forced >= 0 {
		ahead := now.Add(time.Hour).UnixMilli() // a clock that was wrong must not stop it for years
		r.Last, r.Free = min(r.Last, ahead), min(r.Free, ahead)
		return r
	}
	return ration{Day: dayOf(now), Forced: forceDaily, Last: now.UnixMilli(), Free: now.Add(time.Minute).UnixMilli()}
}

// heal takes one replacement. at is when there is one, where there is none now.
func (r *ration) heal(now time.Time, every time.Duration) (at time.Time, ok bool) {
	free := max(r.Free, now.UnixMilli()) + every.Milliseconds()
	if over := free - now.UnixMilli() - healBurst*every.Milliseconds(); over > 0 {
		return now.Add(time.Duration(over) * time.Millisecond), false
	}
	r.Free = free
	return time.Time{}, true
}

// force takes one force_refresh. at is when the next try makes sense, where there
// is none now.
func (r *ration) force(now time.Time) (at time.Time, ok bool) {
	if day := dayOf(now); r.Day != day {
		r.Day, r.Forced = day, 0
	}
	if next := time.UnixMilli(r.Last).Add(forceApart); r.Last != 0 && next.After(now) {
		return next, false
	}
	if r.Forced >= forceDaily {
		return now.Add(forceApart), false // a normal call may give another one by then
	}
	r.Forced, r.Last = r.Forced+1, now.UnixMilli()
	return time.Time{}, true
}

// errRation is a ration that can't be counted.
var errRation = errors.New("the ration can't be counted")

// taker takes a replacement, or a force_refresh. at is when there is one, where
// there is none now.
type taker func(ctx context.Context, force bool) (at time.Time, ok bool, err error)

func (s *slot) use(r *ration, force bool) (at time.Time, ok bool) {
	if force {
		return r.force(s.now())
	}
	every := healEvery
	if _, plain := s.source.(*plainSource); plain {
		every = healEveryPlain
	}
	return r.heal(s.now(), every)
}

// takeAlone takes of this host's own ration. Without the store nobody knows what
// other hosts have forced: nothing is.
func (s *slot) takeAlone(_ context.Context, force bool) (at time.Time, ok bool, err error) {
	if force {
		return time.Time{}, false, errRation
	}
	at, ok = s.use(&s.own, false)
	return at, ok, nil
}

// take takes of the ration that all hosts share, durably, before it is used.
// Called with the slot's lock.
func (s *slot) take(ctx context.Context, force bool) (at time.Time, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	key := s.key + "/ration"
	old, err := s.store.Get(ctx, credentialBucket, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		old = nil
	case err != nil:
		return time.Time{}, false, fmt.Errorf("%w: %w", errRation, err)
	}
	var r ration
	if old != nil {
		r = decodeRation(old, s.now())
	}
	if at, ok = s.use(&r, force); !ok {
		return at, false, nil
	}
	encoded, err := json.Marshal(r)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("%w: %w", errRation, err)
	}
	res, err := s.store.Apply(ctx, store.Op{
		Kind: store.CompareAndSet, Bucket: credentialBucket, Key: key, Expect: old, Value: encoded, TTL: rationKept,
	})
	switch {
	case err != nil:
		return time.Time{}, false, fmt.Errorf("%w: %w", errRation, err)
	case !res.Applied:
		return s.now().Add(time.Second), false, nil // a host that lost the lock was at it
	}
	return time.Time{}, true, nil
}
