package pipeline

import (
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// againLimit is how long after the first delivery on_error: again still makes
// WeChat repeat, at most: after the last delivery nobody would.
const againLimit = 8 * time.Second

// againLimit is the pipeline's. WeChat repeats twice, each time once it was
// answered: the last delivery comes after two times answer_within. Up to a second
// less is for clocks that disagree: WeChat's, or that of the host which had the first.
func (p *pipe) againLimit() time.Duration {
	return min(againLimit, 2*p.answerWithin-min(time.Second, p.answerWithin/2))
}

// settle gives a run its end: the answer to its deliveries, or what the durable
// queue has to know. It returns how the stages ended after all: an again that
// had to become a queue is one.
func (e *Engine) settle(r *run, w *walk, end flow) flow {
	switch end {
	case again:
		if !r.durable {
			if k, ok := e.ledger.again(r, r.app.pipe.againLimit()); ok {
				k.finish(ending{kind: endAck})
				return again
			}
		}
		return e.settleRest(r, w, queued)
	case queued, refused:
		return e.settleRest(r, w, end)
	case abandoned:
		e.settleAnew(r, true, 0)
		return abandoned
	}
	return e.settleDone(r, w, end)
}

// settleDone gives the answer of stages that ended. Where the deliveries were
// answered before, the reply is late, and dropped.
func (e *Engine) settleDone(r *run, w *walk, end flow) flow {
	answer := Answer{Kind: Success, Outcome: outcomeSuccess}
	if end == stopped {
		answer.Outcome, w.reply, w.verbatim = outcomeStopped, nil, nil // dropped for always, too
	}
	if !e.saveAsync(r, e.asyncEntries(r, w)) {
		return e.settleUnsaved(r, w)
	}
	dropped := false
	switch reply := w.reply; {
	case w.verbatim != nil:
		answer.Kind, answer.Verbatim = Forwarded, w.verbatim
		if answer.speaks() {
			answer.Outcome = outcomeReplied
		}
	case reply == nil:
	case passive(r.app.typ, reply):
		answer = Answer{Kind: Replied, Reply: reply, Created: e.ledger.now().Unix(), Outcome: outcomeReplied}
	default: // of a kind that mini programs don't have
		dropped = true
	}
	state := given
	if answer.speaks() && !e.mayAnswer(r) {
		state, dropped = late, true
		answer = Answer{Kind: Success, Outcome: outcomeLate}
	}
	if !e.ledger.decide(r, state, answer) && answer.speaks() { // late
		dropped = true
	}
	if dropped {
		e.metrics.LateReply(r.app.name, "drop")
	}
	e.ledger.over(r, false).finish(ending{kind: endAck})
	return end
}

// settleRest leaves the rest of the event to the durable queue: from the stage
// that failed, or from the top where nothing was run.
func (e *Engine) settleRest(r *run, w *walk, end flow) flow {
	left, attempt, delay := part{}, r.attempt, time.Duration(0)
	var async []store.Entry
	if end != refused {
		left, attempt, delay = w.halt.part, r.attempt+1, backoff(0)
		async = e.asyncEntries(r, w)
		if w.verbatim != nil && !w.verbatim.Silent { // of a branch beside the one that is queued
			e.metrics.LateReply(r.app.name, "drop")
		}
	}
	value := r.entry(left, attempt).append(nil)
	if r.durable {
		if !e.saveAsync(r, async) {
			return e.settleUnsaved(r, w)
		}
		e.retry(r, w.halt, value)
		return end
	}
	k, mine := e.entrustRest(r, value, delay, async)
	for <-k.saved; k.err != nil; <-k.saved {
		if !mine {
			k, mine = e.entrustRest(r, value, delay, async)
		} else if k, mine = e.ledger.giveUp(r, false), false; k == nil {
			return again
		}
	}
	if mine && end == refused {
		e.overflowed(r, "queued")
	}
	if !mine && !e.saveAsync(r, async) { // k has the event from the top, and so they are not lost
		value, end = nil, again
	}
	e.ledger.decide(r, given, Answer{Kind: Success, Outcome: outcomeQueued})
	e.ledger.over(r, true)
	if !mine {
		k.finish(ending{kind: endRelease, value: value, delay: delay})
	}
	return end
}

// settleUnsaved has an event whose async stages could not be made durable run
// again from where this run began, by its next delivery or by the queue.
func (e *Engine) settleUnsaved(r *run, w *walk) flow {
	if r.durable {
		e.retry(r, &halt{failed: w.notes[0].stage, reason: "store"}, nil)
	} else {
		e.settleAnew(r, false, backoff(0))
	}
	return again
}

// settleAnew leaves an event, with nothing of this run, to the queue, to be run
// again after delay; where it is not there nothing of it was acknowledged, and
// its deliveries get Again, at once in a hurry.
func (e *Engine) settleAnew(r *run, hurry bool, delay time.Duration) {
	for !r.durable {
		k := e.ledger.giveUp(r, hurry)
		if k == nil {
			return
		}
		if <-k.saved; k.err == nil {
			e.ledger.goLate(r, k)
			break
		}
	}
	k := e.ledger.over(r, true)
	k.finish(ending{kind: endRelease, tries: k.claim.Tries, delay: delay})
}

// finish tells the keeper how to end; a nil one has nothing to end.
func (k *keeper) finish(end ending) {
	if k != nil {
		k.end <- end
	}
}
