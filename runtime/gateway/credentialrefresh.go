package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

const (
	// credentialBucket is where credentials are in the store, sealed.
	credentialBucket = "credential"
	// credentialTopic is where hosts tell each other which one is new.
	credentialTopic = "credential"
	// lease is how long the lock of a refresh outlives the host that had it.
	lease = 3 * time.Second
	// storeTime is how long the store may take for an answer.
	storeTime = 3 * time.Second
	// storeRetry is when a credential that the store doesn't have is given to it
	// again.
	storeRetry = 2 * time.Second
	// lockPoll is how often somebody looks whether a host that has the lock is
	// ready, at first.
	lockPoll = 25 * time.Millisecond
	// foreignLook is how often what another system leaves in Redis is looked at.
	foreignLook = 30 * time.Second
)

// want is what a slot needs.
type want uint8

const (
	wantNothing want = iota
	wantAhead        // the credential is good for a while yet
	wantOther        // it was refused
	wantNow          // there is none
)

func (s *slot) want() want {
	h, now := s.current.Load(), s.now()
	switch {
	case h == nil || !now.Before(h.Expires):
		return wantNow
	case h.Value == s.bad:
		return wantOther
	case !now.Before(h.due):
		return wantAhead
	}
	return wantNothing
}

// mark remembers that the current credential was refused.
func (s *slot) mark(refused string) {
	if h := s.current.Load(); refused != "" && h != nil && h.Value == refused {
		s.bad = refused
	}
}

// refresh is one round: it looks whether another host has brought what is needed,
// else fetches it as the one host that has the lock. next is when the next round
// begins by itself. An error means that there is no credential to use.
func (s *slot) refresh(ctx context.Context, r *round) (next time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, flightTime)
	defer cancel()
	s.mark(r.refused)
	if _, ok := s.source.(*foreignSource); ok {
		return s.refreshForeign(ctx)
	}
	_, away := s.look(ctx)
	s.mark(r.refused) // of what was just read, too
	w := s.want()
	if w == wantNothing && (away != nil || !s.current.Load().unstored) {
		return s.rest(), nil
	}
	if at, failed := s.pace.closed(w, s.now()); failed != nil {
		return s.without(at, failed)
	}
	if away != nil {
		return s.refreshAlone(ctx, w)
	}
	if w == wantAhead {
		if at := s.settled(); s.now().Before(at) {
			return at, nil
		}
	}
	lock, err := s.lock(ctx, w)
	switch {
	case errors.Is(err, errElsewhere):
		if w = s.want(); w == wantNothing {
			return s.rest(), nil
		}
		return s.without(s.now().Add(s.soon()), errElsewhere)
	case err != nil:
		return s.refreshAlone(ctx, s.want())
	}
	defer s.unlock(ctx, lock)
	return s.refreshLocked(ctx, lock)
}

// refreshLocked is the round of the host that has the lock.
func (s *slot) refreshLocked(ctx context.Context, lock *store.Held) (time.Time, error) {
	there, err := s.look(ctx) // whoever had the lock before may have fetched it
	w := s.want()
	if err != nil {
		return s.refreshAlone(ctx, w)
	}
	if w == wantNothing {
		if h := s.current.Load(); h.unstored {
			s.publish(ctx, h.under(lock.Fence), there)
		}
		return s.rest(), nil
	}
	s.heed(ctx)
	if w = s.want(); w == wantNothing {
		return s.rest(), nil
	}
	if at, failed := s.pace.closed(w, s.now()); failed != nil {
		return s.without(at, failed)
	}
	h, failed := s.fetch(ctx, w, s.take)
	switch {
	case failed != nil:
		return s.failed(ctx, w, failed, true)
	case h == nil:
		s.notify(ctx, fetchUnchanged, 0, s.current.Load().due)
		return s.rest(), nil
	}
	h = h.under(lock.Fence)
	s.set(h)
	if lock.Context().Err() == nil { // else another host may have begun
		s.publish(ctx, h, there)
	}
	s.allClear(ctx)
	return s.rest(), nil
}

// refreshAlone is the round of a host that has no store to agree with others by.
// Only where the credential runs out it asks for one: with stable_token all hosts
// get the same. The plain call would void what the others have, so it is made
// only where there is none left, and not more often than the one before it lives
// on.
func (s *slot) refreshAlone(ctx context.Context, w want) (time.Time, error) {
	h, now := s.current.Load(), s.now()
	_, plain := s.source.(*plainSource)
	switch {
	case w == wantNothing:
		return s.rest(), nil
	case w == wantAhead && (plain || h.Expires.Sub(now) > h.Expires.Sub(h.due)/3):
		return now.Add(s.soon()), nil
	case plain && now.Before(s.alone.Add(leadMost)):
		return s.without(s.alone.Add(leadMost), &fetchFailure{result: fetchRationed})
	}
	if plain {
		s.alone = now
	}
	h, failed := s.fetch(ctx, w, s.takeAlone)
	switch {
	case failed != nil:
		return s.failed(ctx, w, failed, false)
	case h != nil:
		s.set(h)
	}
	return s.rest(), nil
}

// refreshForeign is the round where another system writes what this host reads.
func (s *slot) refreshForeign(ctx context.Context) (time.Time, error) {
	w := s.want()
	if at, failed := s.pace.closed(w, s.now()); failed != nil {
		return s.without(at, failed)
	}
	h, failed := s.fetch(ctx, wantNow, s.takeAlone)
	switch {
	case failed != nil:
		return s.failed(ctx, w, failed, false)
	case h.Value == s.bad:
		return s.failed(ctx, wantOther, &fetchFailure{result: fetchUnchanged}, false)
	}
	h.due, h.unstored = earlier(dueOf(h), s.now().Add(jitter(foreignLook))), false
	s.set(h)
	return h.due, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// dueOf is when a new credential in place of h is asked for. The hosts don't all
// wake at once, and none before stable_token gives another token, five minutes
// before the end.
func dueOf(h *held) time.Time {
	lead := min(h.Expires.Sub(h.fetched)/10, leadMost)
	return h.Expires.Add(-jitter(lead * 9 / 10))
}

// rest is when the next round begins where all is well.
func (s *slot) rest() time.Time {
	h := s.current.Load()
	if h.unstored {
		return earlier(h.due, s.now().Add(jitter(storeRetry)))
	}
	return h.due
}

// settled is when a host asks ahead of time again after the store was away:
// another one may have fetched meanwhile, and shares it first.
func (s *slot) settled() time.Time {
	h := s.current.Load()
	return s.app.host.lastAway().Add(min(4*storeRetry, h.Expires.Sub(h.due)/2))
}

// soon is how long a host waits that is in no hurry.
func (s *slot) soon() time.Duration {
	wait := leadMost
	if h := s.current.Load(); h != nil {
		wait = max(h.Expires.Sub(h.due)/8, minRest)
	}
	return jitter(min(wait, storeTime))
}

// without ends a round that could not ask: an error only where it was needed.
func (s *slot) without(next time.Time, cause error) (time.Time, error) {
	if s.usable(s.bad) != nil {
		return next, nil
	}
	return next, s.failure(cause, next)
}

// failed ends a round that asked and got nothing. tell: the other hosts, too.
func (s *slot) failed(ctx context.Context, w want, f *fetchFailure, tell bool) (time.Time, error) {
	now := s.now()
	next := now
	if s.app.ctx.Err() != nil { // it was broken off
		return next, s.failure(errCredentialsClosed, time.Time{})
	}
	if w == wantOther && (f.result == fetchRationed || f.result == fetchUnchanged) {
		// It says nothing of the source: what is needed for another reason is asked for.
		s.pace.failHealing(now, f)
		next = s.pace.healing
	} else {
		s.pace.fail(now, f, s.usable("") == nil)
		if next = s.pace.until; tell && f.result != fetchAddress { // another host has another address
			s.notify(ctx, f.result, f.errcode, next)
		}
	}
	s.mu.Lock()
	if s.report.last == nil {
		s.report.since = now
	}
	s.report.last = f
	s.mu.Unlock()
	s.log.Warn("credential not refreshed", slog.String("reason", f.Error()), slog.String("result", f.result.String()),
		slog.Int("errcode", f.errcode), slog.String("rid", f.rid), slog.String("again_in", next.Sub(now).Round(time.Millisecond).String()),
		slog.Bool("valid", s.usable("") != nil))
	return s.without(next, f)
}

// fetch asks the source. Nothing at all: it gave the credential that is known,
// which is good for a while yet, so that it is asked again later. take counts what
// is asked because of a refusal.
func (s *slot) fetch(ctx context.Context, w want, take taker) (*held, *fetchFailure) {
	h, failed := s.ask(ctx, w, take)
	result := fetchOK
	switch {
	case failed != nil:
		result = failed.result
	case h == nil:
		result = fetchUnchanged
	}
	s.counts.fetches[result].Add(1)
	return h, failed
}

func (s *slot) ask(ctx context.Context, w want, take taker) (*held, *fetchFailure) {
	refused := ""
	if w == wantOther {
		refused = s.bad
		if failed := s.rationed(ctx, take, false); failed != nil {
			return nil, failed
		}
	}
	asked := s.now()
	answer, failed := s.source.fetch(ctx, refused, false)
	if _, stable := s.source.(*stableSource); stable && failed == nil && refused != "" && answer.value == refused {
		if failed = s.rationed(ctx, take, true); failed != nil {
			return nil, failed
		}
		asked = s.now()
		answer, failed = s.source.fetch(ctx, refused, true)
	}
	cur := s.current.Load()
	switch {
	case failed != nil:
		return nil, failed
	case refused != "" && answer.value == refused:
		return nil, &fetchFailure{result: fetchUnchanged, pause: forceApart}
	case w == wantAhead && answer.value == cur.Value:
		s.postpone(asked.Add(cur.Expires.Sub(asked) / 2))
		return nil, nil
	}
	return newHeld(answer, asked), nil
}

// rationed counts a replacement; a failure: there is none left, or it can't be
// counted.
func (s *slot) rationed(ctx context.Context, take taker, force bool) *fetchFailure {
	at, ok, err := take(ctx, force)
	switch {
	case err != nil:
		return &fetchFailure{result: fetchRationed, pause: storeRetry}
	case !ok:
		return &fetchFailure{result: fetchRationed, pause: at.Sub(s.now())}
	}
	return nil
}

// newHeld makes a credential of an answer to what was asked then.
func newHeld(a tokenAnswer, asked time.Time) *held {
	fetched := asked.Truncate(time.Millisecond) // as in the store
	return &held{
		Credential: Credential{Value: a.value, Expires: fetched.Add(a.life - min(tokenMargin, a.life/200))},
		fetched:    fetched, unstored: true,
	}
}

// under is h as fetched with a lock.
func (h *held) under(fence uint64) *held {
	c := *h
	c.fence = fence
	return &c
}

// set makes h the current credential.
func (s *slot) set(h *held) {
	if old := s.current.Load(); old != nil {
		if h.previous = old.previous; old.Value != h.Value {
			h.previous = old.Value
		}
	}
	if h.due.IsZero() {
		h.due = dueOf(h)
	}
	s.current.Store(h)
	if h.Value != s.bad {
		s.bad, s.pace.healLast, s.pace.healFailures = "", nil, 0
	}
	s.pace.failures, s.pace.last = 0, nil
	s.served()
}

// postpone moves the time at which a new one is asked for.
func (s *slot) postpone(until time.Time) {
	h := *s.current.Load()
	h.due = until
	s.current.Store(&h)
}
