package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// Times of the durable queue.
const (
	holdFor      = 15 * time.Second // how long an entry stays claimed when its host dies
	extendEvery  = 5 * time.Second
	storeTimeout = 5 * time.Second // of one call of the store
	endTries     = 3               // calls to end a claim; then the entry is run again after its hold
	endPause     = time.Second
)

// keeper holds the entry of one event in the durable queue: it appends it, keeps
// the claim while the event is run, and ends it as the run says. A goroutine of
// its own does all that, so that nothing else touches the claim.
type keeper struct {
	rec   *record // nil of a claim that is not run
	run   *run
	app   string        // as logged
	id    string        // of the event
	key   string        // in the queue
	plain []store.Entry // to be appended without a claim, that of key first, and no end to wait for; nil: claimed, the event from the top
	prev  *keeper       // of the same event: must have ended first, because it may still remove the entry

	claim store.Claim
	saved chan struct{} // closed when the entry is durable, or err is set
	err   error         // written before saved is closed
	end   chan ending   // of capacity 1: what to do with the claim; given once, by the run
	ended chan struct{}
}

// ending is what becomes of a claimed entry.
type ending struct {
	kind   endKind
	value  []byte // endRelease: nil, and one too large for the store, leaves it as it is: what was done since is done again
	tries  uint32
	delay  time.Duration
	reason string // endBury
}

type endKind uint8

const (
	endAck endKind = iota
	endRelease
	endBury
)

// isSaved says that the entry is durable.
func (k *keeper) isSaved() bool {
	select {
	case <-k.saved:
		return k.err == nil
	default:
		return false
	}
}

func newKeeper(r *run, key string) *keeper {
	k := &keeper{
		rec: r.rec, run: r, id: r.ev.ID, app: r.ev.App, key: key,
		saved: make(chan struct{}), end: make(chan ending, 1), ended: make(chan struct{}),
	}
	if r.rec != nil {
		k.prev = r.rec.keeper
	}
	return k
}

// entrust makes sure that the queue has r from the top: it returns the keeper
// that sees to it, or nil where r is decided, or another host's, and it is not
// needed.
func (e *Engine) entrust(r *run) *keeper {
	e.ledger.mu.Lock()
	defer e.ledger.mu.Unlock()
	if r.keeper == nil && !r.decided && !r.theirs {
		e.startKeeper(r, newKeeper(r, e.entryKey(r)))
	}
	return r.keeper
}

// entrustRest makes sure that the queue has r in some form. mine says that it
// is what value says, to be run after delay, and with it, in one write, what
// async holds; else r's earlier keeper has it.
func (e *Engine) entrustRest(r *run, value []byte, delay time.Duration, async []store.Entry) (k *keeper, mine bool) {
	e.ledger.mu.Lock()
	defer e.ledger.mu.Unlock()
	if r.keeper != nil {
		return r.keeper, false
	}
	k = newKeeper(r, e.entryKey(r))
	k.plain = append([]store.Entry{{Key: k.key, Line: r.app.name, Value: value, Delay: delay, Quota: r.app.limits.Queue}}, async...)
	if r.leaving == nil {
		r.leaving = make(chan struct{})
	}
	e.startKeeper(r, k)
	return k, true
}

// startKeeper is called with the ledger's lock held.
func (e *Engine) startKeeper(r *run, k *keeper) {
	r.keeper, r.rec.keeper = k, k
	e.wg.Go(func() { e.keep(k) })
}

// entryKey is the event's id; without dedupe each delivery is an event of its
// own, and gets a key that nobody else makes.
func (e *Engine) entryKey(r *run) string {
	if r.rec.indexed {
		return r.rec.id
	}
	return r.ev.ID + "." + e.keyPrefix + strconv.FormatUint(e.keySeq.Add(1), 36)
}

func (e *Engine) keep(k *keeper) {
	defer func() {
		e.ledger.mu.Lock()
		if k.rec.keeper == k {
			k.rec.keeper = nil
		}
		e.ledger.mu.Unlock()
		close(k.ended)
	}()
	if k.prev != nil {
		<-k.prev.ended
		k.prev = nil
	}
	if k.claim.Token == 0 {
		err := e.append(k)
		e.ledger.saved(k, err)
		switch {
		case errors.Is(err, store.ErrQuota):
			e.overflowed(k.run, "refused")
		case err != nil:
			e.logQueue(k, "event not made durable", err)
		}
		if err != nil || k.plain != nil {
			e.poke()
			return
		}
	}
	e.hold(k)
}

// saved tells those who wait for the entry. After an error the run has no
// keeper, so that the next delivery can try again.
func (l *ledger) saved(k *keeper, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.err = err
	if err != nil && k.run.keeper == k {
		k.run.keeper = nil
	}
	close(k.saved)
}

func (e *Engine) append(k *keeper) error {
	ctx, cancel := context.WithTimeout(e.base, storeTimeout)
	defer cancel()
	if k.plain != nil {
		_, err := e.store.Append(ctx, queueName, 0, k.plain...)
		if err != nil {
			return fmt.Errorf("appending to the durable queue: %w", err)
		}
		return nil
	}
	top := k.run.entry(part{}, k.run.attempt+1)
	claims, err := e.store.Append(ctx, queueName, holdFor, store.Entry{Key: k.key, Line: k.run.app.name, Value: top.append(nil)})
	if err != nil {
		return fmt.Errorf("appending to the durable queue: %w", err)
	}
	if len(claims) == 1 {
		k.claim = claims[0] // the zero claim where an append that seemed to fail has put it there
	}
	return nil
}

// hold extends the claim until the run says how to end it.
func (e *Engine) hold(k *keeper) {
	ticker := time.NewTicker(extendEvery)
	defer ticker.Stop()
	for {
		select {
		case end := <-k.end:
			e.finish(k, end)
			e.poke()
			return
		case <-ticker.C:
			if k.claim.Token == 0 {
				continue
			}
			if err := e.call(func(ctx context.Context) error { return e.store.Extend(ctx, queueName, k.claim, holdFor) }); err != nil {
				e.logQueue(k, "claim of an event in the durable queue not extended", err)
			}
		}
	}
}

// finish ends a claim. What fails here is run again after the hold, unless the
// record tells that it must not.
func (e *Engine) finish(k *keeper, end ending) {
	if k.claim.Token == 0 {
		return
	}
	var err error
	for range endTries {
		if err = e.call(func(ctx context.Context) error { return e.endClaim(ctx, k, end) }); err == nil {
			return
		}
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrClosed) {
			break
		}
		select {
		case <-time.After(endPause):
		case <-e.base.Done():
		}
	}
	e.logQueue(k, "claim of an event in the durable queue not ended", err)
}

func (e *Engine) endClaim(ctx context.Context, k *keeper, end ending) error {
	switch end.kind {
	case endRelease:
		if end.value != nil && len(end.value) <= store.MaxValue {
			k.claim.Value = end.value
		}
		k.claim.Tries = end.tries
		return e.store.Release(ctx, queueName, k.claim, end.delay)
	case endBury:
		return e.store.Bury(ctx, queueName, k.claim, end.reason)
	}
	return e.store.Ack(ctx, queueName, k.claim)
}

func (e *Engine) call(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(e.base, storeTimeout)
	defer cancel()
	return f(ctx)
}

func (e *Engine) logQueue(k *keeper, msg string, err error) {
	e.log.LogAttrs(e.base, slog.LevelError, msg, slog.String("app", k.app),
		slog.String("event_id", k.id), slog.String("error", err.Error()))
}

// poke makes the dispatcher look at the queue again.
func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
