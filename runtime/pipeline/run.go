package pipeline

import (
	"context"
	"log/slog"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// overflowLog is how often an event over a bound of an app is logged; the others
// are counted in the next line.
const overflowLog = time.Second

// run is one walk of an event through its stages: the first, one after an
// Again, or a durable one.
type run struct {
	app      *app
	rec      *record
	ev       hostapi.Event // the run's own, without Attrs and Reply
	attempt  uint32
	deadline time.Time // of a delivered event
	ticket   *ticket   // the user's turn; nil: none needed
	over     bool      // over a bound of those in flight: not to be run now
	shed     bool      // over, with so many others that it is refused
	counted  bool      // has a place in the room of events in flight
	durable  bool
	at       place  // where a durable run begins
	alone    *stage // the only stage of a durable run; nil: it goes on from at
	attrs    []hostapi.Field
	reply    *hostapi.Reply
	came     *Callback // nil of a durable run

	title  *title        // what other hosts are told of it; nil: nothing
	done   chan struct{} // closed when decided; nil of a durable run
	answer Answer        // not changed after done is closed
	hurry  bool          // the same: an Again that doesn't wait for answer_within

	// The ledger's lock guards these.
	decided bool
	theirs  bool          // not this host's (yet): it is not made durable here
	waiting int           // deliveries that wait for the answer
	keeper  *keeper       // of the event's entry in the durable queue
	leaving chan struct{} // its stages have ended and the queue takes the rest: closed when it has; else nil
}

func newRun(a *app, d *Delivery, rec *record) *run {
	r := &run{
		app: a, rec: rec, ev: *d.Event, attempt: rec.attempt, deadline: d.Arrived.Add(a.pipe.deadline),
		came: d.Callback, done: make(chan struct{}), waiting: 1,
	}
	r.ev.Attempt, r.ev.Attrs, r.ev.Reply = r.attempt, nil, nil
	return r
}

// launch takes a place in the line of the user and starts the run. One over a
// bound is left to the queue, or dropped.
func (e *Engine) launch(r *run) {
	e.takeTurn(r)
	switch {
	case r.dropped() && e.fleet == nil:
		e.drop(r)
		e.ledger.land(r)
	case r.shed:
		go e.refuse(r)
	default:
		go e.run(r)
	}
}

// dropped tells whether an event is over a bound and acknowledged all the same.
func (r *run) dropped() bool { return r.over && r.app.pipe.overflow == config.OverflowAck }

// drop acknowledges an event that is not run.
func (e *Engine) drop(r *run) {
	e.overflowed(r, "dropped")
	e.ledger.decide(r, given, Answer{Kind: Success, Outcome: outcomeDropped})
	e.ledger.over(r, false).finish(ending{kind: endAck})
}

// refuse leaves an event that is not run to its next delivery, unless a Drain has
// made it durable meanwhile.
func (e *Engine) refuse(r *run) {
	e.overflowed(r, "refused")
	e.settleAnew(r, true, 0)
	e.ledger.land(r)
}

// overflowed counts an event over a bound, by what becomes of it, and logs it now
// and then.
func (e *Engine) overflowed(r *run, what string) {
	e.metrics.Overflow(r.app.name, what)
	if skipped, ok := r.app.share.logged.Pass(time.Now(), overflowLog); ok {
		e.log.LogAttrs(e.base, slog.LevelWarn, "event over a bound", slog.String("app", r.app.name),
			slog.String("event_id", r.ev.ID), slog.String("what", what), slog.Int64("skipped", skipped))
	}
}

// userKey says whose turn the run has to wait for; false: nobody's. A stage that
// runs alone needs none: turns end with the stages.
func (r *run) userKey() (userKey, bool) {
	return userKey{r.app.name, r.ev.User}, r.app.pipe.orderUser && r.ev.User != "" && r.alone == nil
}

// whole says that the run begins at the top.
func (r *run) whole() bool { return r.at.stage == "" && r.alone == nil }

// run is the goroutine of a delivered event. Its deadline counts from the
// arrival, so that waiting for the user's turn is part of it.
func (e *Engine) run(r *run) {
	defer e.ledger.land(r)
	ctx, cancel := context.WithDeadline(e.runs, r.deadline)
	defer cancel()
	switch {
	case !e.own(ctx, r):
	case r.dropped():
		e.drop(r)
		e.tell(r, tellTimeout)
	default:
		e.through(ctx, r, e.turn(ctx, r))
	}
}

// runDurable is the goroutine of an entry of a line of the durable queue. Its
// deadline counts from its beginning.
func (e *Engine) runDurable(r *run, line string) {
	defer e.ledger.land(r)
	begin := e.turn(e.runs, r)
	if begin == goOn {
		if e.crew.take(e.runs, line) == nil {
			defer e.crew.done(line)
		} else {
			r.ticket.release()
			begin = abandoned
		}
	}
	if begin == goOn {
		if end, ok := e.resume(e.runs, r); !ok {
			r.ticket.release()
			e.ledger.over(r, end.kind == endRelease).finish(end)
			return
		}
	}
	ctx, cancel := context.WithTimeout(e.runs, r.app.pipe.deadline)
	defer cancel()
	e.through(ctx, r, begin)
}

// through takes an event whose turn it is (goOn) through its stages, settles
// what came of them, then runs always.
func (e *Engine) through(ctx context.Context, r *run, end flow) {
	w := &walk{
		metrics: e.metrics, log: e.log, app: r.app, ev: &r.ev, attrs: r.attrs, reply: r.reply, passive: true,
		came: r.came, trace: e.trace(r),
	}
	if end == goOn {
		if r.alone != nil {
			end = w.alone(ctx, r.alone)
		} else {
			end = w.stages(ctx, r.app.pipe.stages, r.at.path, r.at.parts)
		}
		r.ticket.release()
	}
	w.trace.ended(w, end)
	end = e.settle(r, w, end)
	e.tell(r, tellTimeout)
	e.shadow(r, w, end)
	if end.finished() && r.whole() {
		w.always(ctx)
	}
	w.trace.give()
}

// turn waits for the user's turn. Anything but goOn: the event has not run.
func (e *Engine) turn(ctx context.Context, r *run) flow {
	switch {
	case r.over:
		return refused
	case r.ticket.wait(ctx) == nil:
		return goOn
	case e.runs.Err() != nil:
		return abandoned
	}
	return refused
}

// entry makes the durable form of what is left of r to do; the zero part is all.
func (r *run) entry(left part, attempt uint32) *entry {
	en := &entry{pipeline: r.app.pipe.name, at: left.at, alone: r.alone != nil, known: r.rec.known, event: r.ev}
	en.event.Attempt, en.event.Attrs, en.event.Reply = attempt, left.attrs, left.reply
	return en
}
