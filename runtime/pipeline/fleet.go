package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/telemetry"
)

// Times between hosts.
const (
	leaseFor    = 3 * time.Second // a host without a lease is dead: others take its events over
	renewEvery  = time.Second
	trustFor    = 2 * time.Second        // since its renewal, a lease is surely there: the host decides in memory
	followEvery = 100 * time.Millisecond // a delivery waits for another host's answer
	ownTimeout  = time.Second            // of what an event waits for; a board that is away isn't asked
	tellTimeout = time.Second            // of what no event waits for

	maxMoves  = 8                // of a record by others between two looks at it
	maxUntold = 4096             // records that are to be told when the board is back
	fleetLog  = 10 * time.Second // how often one kind of trouble is logged
)

// What becomes of shared records, the label of weft_shared_records_total.
const (
	sharedLocal     = "local"      // the board was away: this host alone knows of the event
	sharedTakenOver = "taken_over" // the event of a dead host is run here
	sharedLost      = "lost"       // another host has moved a record of this one
	sharedUntold    = "untold"     // an outcome that other hosts will not learn
	sharedMalformed = "malformed"  // what stood there could not be read
)

// fleet is this host among those that share a store. A nil one shares nothing.
type fleet struct {
	board   store.Board // what stands there is bounded and checked as a stranger's
	host    string      // unique to this start
	metrics *telemetry.Metrics
	log     *slog.Logger
	now     func() time.Time // the clock of records
	trouble telemetry.Seldom

	began   time.Time
	renewed atomic.Int64 // when the lease was last renewed, nanoseconds since began; below 0: never
	held    atomic.Int64 // since when it was surely there all the time, likewise
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu     sync.Mutex
	untold []*title
}

func newFleet(board store.Board, host string, metrics *telemetry.Metrics, log *slog.Logger, now func() time.Time) *fleet {
	f := &fleet{board: board, host: host, metrics: metrics, log: log, now: now, began: time.Now()}
	f.renewed.Store(-1)
	return f
}

func leaseKey(host string) string { return "host/" + host }
func recordKey(id string) string  { return "event/" + id }
func (s *sharedRecord) answerKey(id string) string {
	return "answer/" + id + "/" + s.owner + "/" + strconv.FormatUint(uint64(s.attempt), 10)
}

var leaseValue = []byte{1}

// start takes the lease and keeps it until stop.
func (f *fleet) start(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(ctx)
	f.renew(ctx)
	f.wg.Go(func() { f.keepLease(ctx) })
}

// stop tells what is not yet told, and gives the lease back: what this host has not
// ended is taken over at once.
func (f *fleet) stop() {
	f.cancel()
	f.wg.Wait()
	f.tellUntold(context.Background(), tellTimeout)
	f.giveUp()
	ctx, cancel := context.WithTimeout(context.Background(), ownTimeout)
	defer cancel()
	_, _, _ = f.board.Exchange(ctx, leaseKey(f.host), leaseValue, nil, 0) // else it ends by itself
}

// giveUp counts what the other hosts will not learn of this one.
func (f *fleet) giveUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range f.untold {
		f.metrics.SharedRecord(sharedUntold)
	}
	if n := len(f.untold); n > 0 {
		f.log.LogAttrs(context.Background(), slog.LevelWarn, "outcomes not told to other hosts: a repeat of such an event can run once more", slog.Int("events", n))
	}
	f.untold = nil
}

func (f *fleet) keepLease(ctx context.Context) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if f.renew(ctx) {
			f.tellUntold(ctx, renewEvery/2)
		}
	}
}

func (f *fleet) renew(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	asked := time.Since(f.began)
	if err := f.board.Put(ctx, leaseKey(f.host), leaseValue, leaseFor); err != nil {
		f.report("lease of this host not renewed", err)
		return false
	}
	if last := f.renewed.Load(); last < 0 || time.Since(f.began)-time.Duration(last) >= leaseFor {
		f.held.Store(int64(asked)) // before it may be trusted
	}
	f.renewed.Store(int64(asked))
	return true
}

// trusted tells whether this host's lease is there for sure, so that nobody has
// taken over what it runs.
func (f *fleet) trusted() bool {
	renewed := f.renewed.Load()
	return renewed >= 0 && time.Since(f.began)-time.Duration(renewed) < trustFor
}

// kept tells whether a record that was taken at a time, since began, is this
// host's for sure.
func (f *fleet) kept(taken time.Duration) bool {
	return f.trusted() && int64(taken) >= f.held.Load()
}

// alive tells whether a host has its lease.
func (f *fleet) alive(ctx context.Context, host string) (bool, error) {
	_, err := f.board.Look(ctx, leaseKey(host))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// publish tells the hosts that listen to topic that something has changed; one
// that doesn't hear it looks by itself later. A nil fleet tells nobody.
func (f *fleet) publish(ctx context.Context, topic string) {
	if f == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	if err := f.board.Publish(ctx, topic, []byte{1}); err != nil {
		f.report("other hosts not told of a change", err)
	}
}

// listen calls changed when hosts say so on topic, or may have, until ctx ends.
func (f *fleet) listen(ctx context.Context, topic string, changed func([]byte)) {
	for {
		wait, err := f.board.Subscribe(ctx, topic, changed)
		if err == nil {
			changed(nil) // what was said before is missed
			<-ctx.Done()
			wait()
			return
		}
		if !pause(ctx, renewEvery) {
			return
		}
		f.report("other hosts are not listened to", err)
	}
}

// report logs trouble with the board, seldom: it is every event's.
func (f *fleet) report(what string, err error) {
	if skipped, ok := f.trouble.Pass(time.Now(), fleetLog); ok {
		f.log.LogAttrs(context.Background(), slog.LevelWarn, "hosts don't hear of each other's events", slog.String("what", what),
			slog.String("error", err.Error()), slog.Int64("skipped", skipped))
	}
}

// title is what a host knows of the record of an event that it runs, or has run.
type title struct {
	id       string
	dedupe   time.Duration
	deadline time.Duration // of the run
	taken    time.Duration // when the run was about to begin, since fleet.began
	held     bool          // the board had it when the run began: the event is taken over where this host is dead

	from string // the host whose run this one takes the place of; "": none

	turn   chan struct{} // of capacity 1: whoever tells of the event has put something in, and alone uses the rest
	record sharedRecord  // to be told
	value  []byte        // what this host left on the board; nil: perhaps nothing
	lost   bool          // another host has the event
	untold bool          // the last time that it was to be told failed
}

// ttl is how long a record is of use. One of a run under way outlives it.
func (t *title) ttl(s *sharedRecord, now time.Time) time.Duration {
	ttl := max(t.dedupe, s.known.Sub(now), time.Second)
	if s.running {
		ttl += t.deadline
	}
	return ttl
}

// seat is who has an event.
type seat uint8

const (
	seatMine   seat = iota // this host
	seatAlone              // this host, and the board knows nothing of it
	seatTheirs             // another host runs it
	seatOver               // nobody any more: it has an answer, or nothing is left to be run
)

// seize sets t's record, of a run that is about to begin, where may says that
// what stands there can be moved; may corrects t's by it.
func (f *fleet) seize(ctx context.Context, t *title, may func(context.Context, *sharedRecord) (seat, error)) (seat, error) {
	var expect []byte
	for range maxMoves {
		value := t.record.append(nil)
		there, ok, err := f.board.Exchange(ctx, recordKey(t.id), expect, value, t.ttl(&t.record, f.now()))
		switch {
		case err != nil:
			return seatAlone, err
		case ok:
			t.held, t.value = true, value
			return seatMine, nil
		}
		expect = there
		if there == nil {
			continue
		}
		var other sharedRecord
		if err := other.decode(there); err != nil {
			f.metrics.SharedRecord(sharedMalformed)
			f.report("a record that can't be read is replaced", err)
			continue
		}
		if st, err := may(ctx, &other); err != nil || st != seatMine {
			return st, err
		}
	}
	return seatAlone, errMoved
}

// free tells whether the run that a record tells of is over, or its host dead.
func (f *fleet) free(ctx context.Context, other *sharedRecord) (free bool, err error) {
	if !other.running || other.owner == f.host {
		return true, nil
	}
	alive, err := f.alive(ctx, other.owner)
	return !alive && err == nil, err
}

// answer reads what a given record's event was answered. One that is gone, or
// can't be read, is success.
func (f *fleet) answer(ctx context.Context, id string, s *sharedRecord) (Answer, error) {
	success := Answer{Kind: Success, Outcome: outcomeRepeat}
	if s.kind == Success {
		return success, nil
	}
	b, err := f.board.Look(ctx, s.answerKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return success, nil
	}
	if err != nil {
		return Answer{}, err
	}
	var a Answer
	if err := a.decodeShared(b); err != nil || a.Kind != s.kind {
		f.metrics.SharedRecord(sharedMalformed)
		f.report("an answer that can't be read is success", errors.Join(errShared, err))
		return success, nil
	}
	return a, nil
}

// tell writes the record of t, with the answer that it is given, and leaves it to
// be told later where the board is away: then a repeat elsewhere gets success.
// It is the caller's turn.
func (f *fleet) tell(ctx context.Context, t *title, answer *Answer) {
	err := errNotTrusted
	if f.trusted() {
		err = f.write(ctx, t, answer)
	}
	if t.untold = err != nil; !t.untold {
		return
	}
	f.report("an outcome is told later", err)
	if t.record.state == given {
		t.record.kind = Success
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.untold = append(f.untold, t)
	if len(f.untold) > maxUntold {
		f.untold = f.untold[1:]
		f.metrics.SharedRecord(sharedUntold)
	}
}

// errNotTrusted is why a host that can't renew its lease doesn't even ask.
var errNotTrusted = errors.New("the lease of this host is not renewed")

// errMoved says that others move a record faster than it is read.
var errMoved = errors.New("a record is moved all the time")

// write is one try of tell.
func (f *fleet) write(ctx context.Context, t *title, answer *Answer) error {
	if t.lost {
		return nil
	}
	if t.record.state == given && t.record.kind != Success {
		b := answer.appendShared(nil)
		if len(b) > maxSharedAnswer {
			t.record.kind = Success
		} else if err := f.board.Put(ctx, t.record.answerKey(t.id), b, max(t.dedupe, time.Second)); err != nil {
			return err
		}
	}
	value, expect := t.record.append(nil), t.value
	for range maxMoves {
		there, ok, err := f.board.Exchange(ctx, recordKey(t.id), expect, value, t.ttl(&t.record, f.now()))
		if err != nil {
			return err
		}
		if ok {
			t.value = value
			return nil
		}
		var other sharedRecord
		switch {
		case there == nil: // it was lost on the board
		case other.decode(there) != nil:
		case other.owner == f.host && other.attempt == t.record.attempt: // an answer of the board's was lost
		default:
			t.lost = true
			if t.held {
				f.metrics.SharedRecord(sharedLost)
			}
			return nil
		}
		expect = there
	}
	return errMoved
}

// tellUntold tells what could not be told, until that fails again or has taken so
// long: the lease is to be renewed meanwhile.
func (f *fleet) tellUntold(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for ctx.Err() == nil {
		f.mu.Lock()
		if len(f.untold) == 0 {
			f.untold = nil
			f.mu.Unlock()
			return
		}
		t := f.untold[0]
		f.mu.Unlock()
		if err := f.tellAgain(ctx, t); err != nil {
			f.report("an outcome is told later", err)
			return
		}
		f.mu.Lock()
		if len(f.untold) > 0 && f.untold[0] == t {
			f.untold = f.untold[1:]
		}
		f.mu.Unlock()
	}
}

func (f *fleet) tellAgain(ctx context.Context, t *title) error {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !t.untold { // what has become of it since was told
		return nil
	}
	err := f.write(ctx, t, nil)
	t.untold = err != nil
	return err
}
