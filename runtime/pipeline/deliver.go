package pipeline

import (
	"context"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// saveGrace is how long after answer_within a delivery waits for its event to
// become durable: WeChat hangs up after 5 s.
const saveGrace = 400 * time.Millisecond

// Outcomes of a delivery, the label of weft_events_total.
const (
	outcomeReplied = "replied"
	outcomeSuccess = "success"
	outcomeLate    = "late"    // success, because the event takes longer than answer_within
	outcomeStopped = "stopped" // success, because on_error is stop
	outcomeQueued  = "queued"  // success, because a durable run goes on
	outcomeAgain   = "again"
	outcomeDropped = "dropped" // success, because overflow is ack
	outcomeRepeat  = "repeat"  // the answer of a delivery before it
)

// Delivery is one callback of an event.
type Delivery struct {
	App       string         // name in pipeline.yaml
	Event     *hostapi.Event // with its ID; not changed by the engine, nor by the caller any more: its run may outlive Deliver
	Timestamp time.Time      // the signed one
	MaxSkew   time.Duration  // how far Timestamp may be off: later than both no repeat comes
	Callback  *Callback      // what the event came as, kept until its run ends; nil: a raw forward makes it anew
	Arrived   time.Time      // when the callback came; answer_within and deadline count from it
}

// AnswerKind says what the callback is answered.
type AnswerKind uint8

// The kinds of answers.
const (
	Again     AnswerKind = iota // HTTP 500: nothing was acknowledged
	Success                     // the word success
	Replied                     // Answer.Reply
	Forwarded                   // Answer.Verbatim
)

// Answer is what a delivery is answered with.
type Answer struct {
	Kind     AnswerKind
	Reply    *hostapi.Reply // of Replied; shared by all deliveries, not to be changed
	Created  int64          // CreateTime of the reply, Unix seconds: the same for all deliveries
	Verbatim *Verbatim      // of Forwarded; shared by all deliveries, not to be changed
	Outcome  string         // label of weft_events_total, which has been counted
}

// speaks tells whether the answer has something for the user.
func (a *Answer) speaks() bool {
	return a.Kind == Replied || a.Kind == Forwarded && !a.Verbatim.Silent
}

// Deliver takes a delivery of an event and returns its answer, at the latest
// saveGrace after answer_within of its pipeline. The event is run by the first
// delivery; others get its answer. When ctx ends, because the caller hung up,
// the delivery gets Again and the event goes on.
func (e *Engine) Deliver(ctx context.Context, d Delivery) Answer {
	answer := e.deliver(ctx, &d)
	e.metrics.Event(d.App, answer.Outcome)
	return answer
}

func (e *Engine) deliver(ctx context.Context, d *Delivery) Answer {
	r, first, answer, err := e.join(d)
	for err != nil { // once for each Swap in between
		r, first, answer, err = e.join(d)
	}
	if r != nil {
		if first {
			e.launch(r)
		}
		answer = e.await(ctx, r, d.Arrived.Add(r.app.pipe.answerWithin))
	}
	if !first && answer.Kind != Again {
		answer.Outcome = outcomeRepeat
	}
	return answer
}

// join has the ledger find or start the delivery's run, with the set of now.
func (e *Engine) join(d *Delivery) (r *run, first bool, answer Answer, err error) {
	set := e.set.Load()
	if set == nil || set.apps[d.App] == nil {
		return nil, true, Answer{Kind: Again, Outcome: outcomeAgain}, nil
	}
	return e.ledger.join(set.apps[d.App], d)
}

// await waits for the run's answer until a delivery must have one.
func (e *Engine) await(ctx context.Context, r *run, by time.Time) Answer {
	defer e.ledger.leave(r)
	timer := time.NewTimer(time.Until(by))
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
		return e.late(ctx, r)
	case <-ctx.Done():
		return Answer{Kind: Again, Outcome: outcomeAgain}
	}
	if r.answer.Kind == Again && !r.hurry {
		select { // WeChat repeats at once
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return r.answer
}

// late answers a delivery whose time is up: success, if the event is in the
// durable queue. Whoever moves the record first, this or the run, decides.
func (e *Engine) late(ctx context.Context, r *run) Answer {
	end := time.Now().Add(saveGrace)
	k := e.entrust(r)
	var saved <-chan struct{} // never of one that another host runs, and is about to tell of
	if k != nil {
		saved = k.saved
	}
	grace := time.NewTimer(saveGrace)
	defer grace.Stop()
	select {
	case <-r.done:
	case <-saved:
	case <-grace.C:
	case <-ctx.Done():
	}
	answer := e.ledger.goLate(r, k)
	if k != nil && answer.Outcome == outcomeLate {
		e.tellLate(r, end) // what isn't told by then is told later
	}
	return answer
}
