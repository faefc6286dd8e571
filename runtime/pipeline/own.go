package pipeline

import (
	"context"
	"log/slog"
	"math"
	"time"
)

// own makes an event this host's before its stages, where hosts share records.
// false: r is over, with what another host answered, or because nobody waits for
// that any more.
func (e *Engine) own(ctx context.Context, r *run) bool {
	if e.fleet == nil || !r.rec.indexed {
		return true
	}
	for following := false; ; following = true {
		t, at, answer := e.claim(ctx, r, following)
		switch at {
		case seatOver:
			r.ticket.leave()
			e.ledger.learn(r, answer)
			return false
		case seatMine, seatAlone:
			if following {
				e.takeTurn(r)
			}
			e.ledger.owned(r, t)
			return true
		}
		if !following { // events of its user don't wait for another host
			r.ticket.leave()
			r.ticket = nil
		}
		if e.ledger.unfollow(r, false) {
			return false
		}
		if !pause(ctx, followEvery) {
			e.ledger.unfollow(r, true)
			return false
		}
	}
}

// takeTurn takes a place in the line of the event's user.
func (e *Engine) takeTurn(r *run) {
	if key, ok := r.userKey(); ok && !r.over {
		r.ticket, ok = e.locks.take(key, false)
		r.over = !ok
	}
}

// pause waits for d; false: ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// claim asks once who has the event of a delivery. Where the board is away this
// host has it alone, unless it is following another one.
func (e *Engine) claim(ctx context.Context, r *run, following bool) (t *title, at seat, answer Answer) {
	f := e.fleet
	t = e.title(r, open)
	err := errNotTrusted
	if f.trusted() {
		ctx, cancel := context.WithTimeout(ctx, ownTimeout)
		defer cancel()
		at, err = f.seize(ctx, t, func(ctx context.Context, other *sharedRecord) (seat, error) {
			switch other.state {
			case given:
				answer, err = f.answer(ctx, t.id, other)
				return seatOver, err
			case late:
				answer = Answer{Kind: Success, Outcome: outcomeRepeat}
				return seatOver, nil
			}
			free, err := f.free(ctx, other)
			if !free || err != nil {
				return seatTheirs, err
			}
			t.succeed(other)
			return seatMine, nil
		})
	}
	switch {
	case err == nil:
		e.noteTakeOver(r, t, at)
	case following:
		at = seatTheirs
	default:
		at = seatAlone
		f.metrics.SharedRecord(sharedLocal)
		f.report("an event is known to this host alone", err)
	}
	return t, at, answer
}

// title is what this host would say of a run of r.
func (e *Engine) title(r *run, s recordState) *title {
	return &title{
		id: r.rec.id, taken: time.Since(e.fleet.began), dedupe: r.rec.dedupe, deadline: r.app.pipe.deadline, turn: make(chan struct{}, 1),
		record: sharedRecord{state: s, running: true, owner: e.fleet.host, attempt: r.attempt, first: r.rec.first, known: r.rec.known},
	}
}

// succeed has t go on from where another run has left the event.
func (t *title) succeed(other *sharedRecord) {
	t.record.attempt = max(t.record.attempt, min(other.attempt, math.MaxUint32-1)+1)
	if other.first.Before(t.record.first) {
		t.record.first = other.first
	}
	t.from = ""
	if other.running {
		t.from = other.owner
	}
}

// noteTakeOver counts and logs that the event of a dead host is run here.
func (e *Engine) noteTakeOver(r *run, t *title, at seat) {
	if at != seatMine || t.from == "" || t.from == e.fleet.host {
		return
	}
	e.metrics.SharedRecord(sharedTakenOver)
	e.log.LogAttrs(e.base, slog.LevelWarn, "event of a dead host taken over", slog.String("app", r.app.name),
		slog.String("event_id", r.ev.ID), slog.String("host", t.from), slog.Uint64("attempt", uint64(t.record.attempt)))
}

// resume makes an entry of the durable queue this host's before its stages.
// false: r is over, and its claim ends as end says, because another host runs
// the event, or has run it to its end.
func (e *Engine) resume(ctx context.Context, r *run) (end ending, ok bool) {
	if e.fleet == nil || !r.rec.indexed {
		return ending{}, true
	}
	f, t, at, err := e.fleet, e.title(r, late), seatAlone, errNotTrusted
	t.record.pending = true
	if f.trusted() {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		at, err = f.seize(ctx, t, func(ctx context.Context, other *sharedRecord) (seat, error) {
			if other.state != open && !other.running && !other.pending {
				return seatOver, nil
			}
			free, err := f.free(ctx, other)
			if !free || err != nil {
				return seatTheirs, err
			}
			t.record.attempt = max(t.record.attempt, other.attempt)
			return seatMine, nil
		})
	}
	switch {
	case err != nil:
		f.metrics.SharedRecord(sharedLocal)
		f.report("an entry of the durable queue is known to this host alone", err)
	case at == seatOver:
		return ending{kind: endAck}, false
	case at == seatTheirs:
		return ending{kind: endRelease, tries: r.keeper.claim.Tries, delay: busyWait}, false
	}
	r.title = t
	return ending{}, true
}

// tell has the other hosts know what has become of a run's event, within a time from
// when nobody else is telling of it.
func (e *Engine) tell(r *run, within time.Duration) {
	if t := r.title; t != nil {
		t.turn <- struct{}{}
		e.tellInTurn(r, within)
	}
}

// tellLate has the other hosts know that a run's event went late, for a delivery that
// waits no longer than until by. Whoever is telling of the event just then tells of
// that, or of what came after it.
func (e *Engine) tellLate(r *run, by time.Time) {
	t := r.title
	if t == nil {
		return
	}
	select {
	case t.turn <- struct{}{}: // even where the time is up: it is told later then
	default:
		timer := time.NewTimer(time.Until(by))
		defer timer.Stop()
		select {
		case t.turn <- struct{}{}:
		case <-timer.C:
			return
		}
	}
	e.tellInTurn(r, time.Until(by))
}

// tellInTurn tells, and ends the turn.
func (e *Engine) tellInTurn(r *run, within time.Duration) {
	t := r.title
	defer func() { <-t.turn }()
	if !e.ledger.tellable(r, &t.record) {
		return
	}
	ctx, cancel := context.WithTimeout(e.base, within)
	defer cancel()
	e.fleet.tell(ctx, t, &r.answer)
}

// mayAnswer tells whether what a run has come to is its event's answer: another
// host may have taken the event over where the lease of this one was away.
func (e *Engine) mayAnswer(r *run) bool {
	return r.title == nil || !r.title.held || e.fleet.kept(r.title.taken)
}

// owned says that an event is this host's: t is what the others know of that.
func (l *ledger) owned(r *run, t *title) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.title, r.theirs = t, false
	r.attempt = t.record.attempt
	r.ev.Attempt, r.rec.attempt, r.rec.first = r.attempt, r.attempt, t.record.first
}

// learn gives deliveries what another host has answered. What is left of the
// event in the queue, if anything, is that host's word: it is asked for it when
// an entry comes.
func (l *ledger) learn(r *run, answer Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.rec.attempt--
	state := given
	if !answer.speaks() {
		state = late
	}
	l.decideLocked(r, state, answer)
	r.rec.pending = true
	l.settle(r.rec)
}

// unfollow ends a run that waits for another host where no delivery waits for
// it, or at once. false: one does.
func (l *ledger) unfollow(r *run, now bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.waiting > 0 && !now {
		return false
	}
	r.rec.attempt--
	r.hurry = true
	l.decideLocked(r, open, Answer{Kind: Again, Outcome: outcomeAgain})
	l.settle(r.rec)
	return true
}

// tellable fills in what the record of r's event is now; false: a later run has
// the word.
func (l *ledger) tellable(r *run, s *sharedRecord) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec := r.rec
	if rec.run != nil && rec.run != r {
		return false
	}
	s.state, s.running, s.pending, s.kind = rec.state, rec.run == r, rec.pending || rec.run == r, Again
	if rec.state == given {
		s.kind = Success
		if r.decided && r.answer.Kind > Success && !rec.pending {
			s.kind = r.answer.Kind
		}
	}
	return true
}
