package pipeline

import (
	"errors"
	"sync"
	"time"
)

// The bounds of records: over one of them the oldest goes, those of events that
// are being run excepted.
const (
	maxRecords     = 200_000
	maxRecordBytes = 128 << 20
	recordOverhead = 400 // bytes of a record beside its reply, index and places in the lists included
)

// recordState is what the deliveries of an event get.
type recordState uint8

const (
	open  recordState = iota // no answer yet
	given                    // every delivery gets record.answer
	late                     // every delivery gets success
)

// record is what the host remembers of one event. The ledger's lock guards it.
type record struct {
	id      string
	indexed bool // dedupe: the ledger finds it by its id
	state   recordState
	answer  Answer        // of a given one; its Reply goes when dedupe is over
	first   time.Time     // arrival of the first delivery; without dedupe as its timestamp says
	attempt uint32        // runs so far
	run     *run          // under way, until its stages end
	keeper  *keeper       // the latest of its entry in the durable queue, until that has ended
	pending bool          // its last run left an entry in the queue that is to be run
	dedupe  time.Duration // how long the answer is kept
	known   time.Time     // until when a repeat may come, as far as its timestamp says

	// Places of a record that is not being run.
	due        time.Time // when the answer, or all of it, goes
	heapAt     int       // in ledger.due
	prev, next *record   // in ledger.settled
	size       int
}

// errRetired says that a run would begin with a set that isn't the engine's any
// more.
var errRetired = errors.New("another set has taken its place")

// ledger holds the records and the runs under way. Its lock is the one under
// which a record moves; nothing blocks while it is held.
type ledger struct {
	mu      sync.Mutex
	index   map[string]*record
	settled recordList // oldest first
	due     recordHeap
	bytes   int
	evicted func()           // counts a record that went before its time
	clock   func() time.Time // nil: time.Now

	shared  bool // hosts share records: a run is another host's until owned
	room    room
	flight  map[*run]struct{} // until the run's goroutine ends
	closed  bool              // no new runs
	drained chan struct{}     // closed when there is no flight any more; nil: nobody drains
}

// now is what the clock of records shows.
func (l *ledger) now() time.Time {
	if l.clock == nil {
		return time.Now()
	}
	return l.clock()
}

// join finds the run that a delivery waits for, or starts one: first is true
// and the caller runs it. A nil run means that answer is the answer already;
// with errRetired it is none: another set has taken the place of the app's.
func (l *ledger) join(a *app, d *Delivery) (r *run, first bool, answer Answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.expire(now)
	var rec *record
	if a.pipe.dedupe > 0 {
		rec = l.find(d.Event.ID, now)
	}
	switch {
	case rec == nil:
	case rec.state == given:
		return nil, false, rec.answer, nil
	case rec.state == late:
		return nil, false, Answer{Kind: Success, Outcome: outcomeSuccess}, nil
	case rec.run != nil:
		rec.run.waiting++
		return rec.run, false, Answer{}, nil
	}
	if l.closed {
		return nil, true, Answer{Kind: Again, Outcome: outcomeAgain}, nil
	}
	if a.set.idle != nil {
		return nil, false, Answer{}, errRetired
	}
	if rec == nil {
		rec = &record{id: d.Event.ID, first: d.Arrived, dedupe: a.pipe.dedupe, known: d.Timestamp.Add(d.MaxSkew)}
		if rec.dedupe == 0 { // this may be a repeat, which carries the first one's timestamp
			rec.first = d.Arrived.Add(-max(now.Sub(d.Timestamp), 0))
		}
		l.add(rec)
	}
	l.unsettle(rec)
	rec.attempt++
	r = newRun(a, d, rec)
	r.theirs = l.shared && rec.indexed
	l.room.admit(r)
	l.begin(r)
	return r, true, Answer{}, nil
}

// leave is called once for each delivery that joined, when it has its answer or
// stops waiting.
func (l *ledger) leave(r *run) {
	l.mu.Lock()
	r.waiting--
	l.mu.Unlock()
}

// decide moves the record from open, once for each run; false says that it was
// moved before. Again leaves it open.
func (l *ledger) decide(r *run, s recordState, a Answer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.decideLocked(r, s, a)
}

func (l *ledger) decideLocked(r *run, s recordState, a Answer) bool {
	if r.decided {
		return false
	}
	r.decided, r.answer = true, a
	r.rec.state = s
	if s == given {
		r.rec.answer = a
	}
	close(r.done)
	return true
}

// goLate moves the record to late where k has its entry in the queue; a nil one has
// none. It returns what r's deliveries get: Again where the entry is not there.
func (l *ledger) goLate(r *run, k *keeper) Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !r.decided && k != nil && k.isSaved() {
		l.decideLocked(r, late, Answer{Kind: Success, Outcome: outcomeLate})
	}
	if r.decided {
		return r.answer
	}
	return Answer{Kind: Again, Outcome: outcomeAgain}
}

// again answers the waiting deliveries Again and leaves the record to the next
// one, unless nobody waits, the answer was given, or limit has gone by since
// the first delivery; and where hosts share records, unless the event is on its way
// into the queue: taking it out could take it from a host that has the next delivery
// and finds it there. It returns the keeper to be ended.
func (l *ledger) again(r *run, limit time.Duration) (k *keeper, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.decided || r.waiting == 0 || time.Since(r.rec.first) >= limit || l.shared && r.keeper != nil {
		return nil, false
	}
	l.decideLocked(r, open, Answer{Kind: Again, Outcome: outcomeAgain})
	l.settle(r.rec)
	return r.keeper, true
}

// giveUp answers Again at once, unless r has a keeper: then that is returned,
// and nothing has changed.
func (l *ledger) giveUp(r *run, hurry bool) *keeper {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.keeper != nil {
		return r.keeper
	}
	r.hurry = hurry
	if r.over { // nothing of it was run
		r.rec.attempt--
	}
	l.decideLocked(r, open, Answer{Kind: Again, Outcome: outcomeAgain})
	l.settle(r.rec)
	return nil
}

// over notes that the stages of a decided run have ended; pending says that the
// queue has an entry to run for it. It returns the keeper to be ended.
func (l *ledger) over(r *run, pending bool) *keeper {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.rec.pending = pending
	l.settle(r.rec)
	return r.keeper
}

// begin puts a run under way.
func (l *ledger) begin(r *run) {
	r.rec.run = r
	if l.flight == nil {
		l.flight = make(map[*run]struct{})
	}
	l.flight[r] = struct{}{}
	r.app.set.flight++
}

// land takes a run off, at the end of its goroutine.
func (l *ledger) land(r *run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flight, r)
	l.room.release(r)
	l.checkDrained()
	l.leaveSet(r.app.set)
}

// leaveSet is called with the lock held.
func (l *ledger) leaveSet(set *Set) {
	if set.flight--; set.flight == 0 && set.idle != nil {
		close(set.idle)
	}
}

// hold keeps the set of a run under way in use until letGo.
func (l *ledger) hold(set *Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set.flight++
}

// letGo ends a hold.
func (l *ledger) letGo(set *Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveSet(set)
}

// retired tells whether another set has taken the place of this one.
func (l *ledger) retired(set *Set) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return set.idle != nil
}

// retire lets no new run begin with a set. The result is closed when no run
// walks it any more.
func (l *ledger) retire(set *Set) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	set.idle = make(chan struct{})
	if set.flight == 0 {
		close(set.idle)
	}
	return set.idle
}

func (l *ledger) checkDrained() {
	if l.drained == nil || len(l.flight) > 0 {
		return
	}
	l.closed = true
	select {
	case <-l.drained:
	default:
		close(l.drained)
	}
}

// drain returns a channel that is closed when nothing is under way; from then
// on nothing begins.
func (l *ledger) drain() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drained == nil {
		l.drained = make(chan struct{})
	}
	l.checkDrained()
	return l.drained
}

// close lets nothing begin any more.
func (l *ledger) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}

// undecided lists the runs whose deliveries have no answer.
func (l *ledger) undecided() []*run {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rs []*run
	for r := range l.flight {
		if !r.decided {
			rs = append(rs, r)
		}
	}
	return rs
}

// recall makes the record of an entry that was in the queue at start. A dead one
// is pending, too: the operator may have it run again.
func (l *ledger) recall(id string, known time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index[id] != nil {
		return
	}
	rec := &record{id: id, state: late, known: known, dedupe: known.Sub(l.now()), pending: true}
	l.add(rec)
	l.settle(rec)
}

// size is the memory of an answer, about.
func (a *Answer) size() int {
	n := 0
	if a.Reply != nil {
		n += a.Reply.Size()
	}
	if a.Verbatim != nil {
		n += len(a.Verbatim.ContentType) + cap(a.Verbatim.Body)
	}
	return n
}
