package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/store"
)

// postKnown is how long after a Post its event's id is remembered, at least; with
// a pipeline's dedupe over it, as long as that.
const postKnown = 10 * time.Minute

// awaitedQueue is how many entries an app may have that is out of service: the
// default of limits.queue, its own isn't known.
const awaitedQueue = 100_000

// Errors of Post.
var (
	// ErrNoApp says that there is no such app, or that the engine was not started.
	ErrNoApp = errors.New("there is no such app")
	// ErrFull says that the app has as many entries in the durable queue as its
	// limits.queue allows, or that of an app that says none.
	ErrFull = errors.New("the app's durable queue is full")
)

// Post makes an event durable that no callback waits for, to be run from the top,
// with always, as soon as there is a worker. When it returns nil, the event is in
// the queue: a host that dies leaves it to the next one. After an error other than
// ErrNoApp and ErrFull it may be there all the same; the same Post again is right.
//
// The event's ID, of at most store.MaxName/2 bytes, is its key: an event that is
// posted again while its entry is in the queue, or within postKnown of an end of
// its stages that this host knows of, or those that share its records, is one
// event. A pipeline with dedupe off knows of none that ended. ev is not changed;
// its App, Attempt, Attrs and Reply are not looked at.
func (e *Engine) Post(ctx context.Context, app string, ev *hostapi.Event) error {
	if ev.ID == "" || len(ev.ID) > store.MaxName/2 { // an async stage's name goes behind it
		return fmt.Errorf("posting an event: %w: an id of %d bytes", store.ErrInvalid, len(ev.ID))
	}
	set := e.set.Load()
	if set == nil {
		return ErrNoApp
	}
	en := entry{event: *ev}
	en.event.App, en.event.Attempt, en.event.Attrs, en.event.Reply = app, 1, nil, nil
	keep, quota := postKnown, awaitedQueue
	switch a := set.apps[app]; {
	case a != nil:
		en.pipeline, quota = a.pipe.name, a.limits.Queue
		keep = max(keep, a.pipe.dedupe)
	case !set.awaits(app):
		return ErrNoApp
	}
	en.known = e.ledger.now().Add(keep)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, err := e.store.Append(ctx, queueName, 0, store.Entry{Key: ev.ID, Line: app, Value: en.append(nil), Quota: quota})
	switch {
	case errors.Is(err, store.ErrQuota):
		e.metrics.Overflow(app, "refused")
		return ErrFull
	case err != nil:
		return fmt.Errorf("appending to the durable queue: %w", err)
	}
	e.metrics.Event(app, outcomeQueued)
	e.poke()
	return nil
}
