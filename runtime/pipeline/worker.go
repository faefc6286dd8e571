package pipeline

import (
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// Bounds of durable runs.
const (
	maxBatch = 16 // entries claimed in one call

	minPoll   = 10 * time.Millisecond
	maxPoll   = 15 * time.Second
	hostPoll  = time.Second // where another host may append
	errPause  = time.Second // after an error of the store
	busyWait  = time.Second // before an entry is looked at again whose user or event is busy, at least
	busyLooks = 1000        // at such entries of one app, or of a busy or fused plugin, in that time

	awaitedWait = time.Minute // likewise, of an app that is out of service

	firstBackoff = time.Second
	maxBackoff   = 5 * time.Minute
	maxTries     = 19 // failed tries; the pauses between them are 1 h together
)

// backoff is the pause after a number of failed tries.
func backoff(tries uint32) time.Duration {
	if tries > 8 {
		return maxBackoff
	}
	return min(firstBackoff<<tries, maxBackoff)
}

// dispatch takes up what is ready in the durable queue, from each line in turn,
// until the claims' context ends.
func (e *Engine) dispatch() {
	last := ""
	for {
		lines, err := e.store.Lines(e.claims, queueName)
		from := sort.Search(len(lines), func(i int) bool { return lines[i].Name > last })
		taken := 0
		for i := range lines {
			l := &lines[(from+i)%len(lines)]
			n := 0
			if n, err = e.takeFrom(l); err != nil {
				break
			}
			if n > 0 {
				last = l.Name
				taken += n
			}
		}
		if (err != nil || taken == 0) && !e.rest(lines, err) {
			return
		}
	}
}

// takeFrom takes up entries of a line: as many as are ready, and as its app may
// have in hand, but no more than maxBatch; none of an app that is awaited.
func (e *Engine) takeFrom(l *store.Line) (taken int, err error) {
	if l.Depth.Ready == 0 || l.Name != "" && e.set.Load().awaits(l.Name) {
		return 0, nil
	}
	n := e.crew.hold(l.Name, min(l.Depth.Ready, maxBatch))
	if n == 0 {
		return 0, nil
	}
	claims, err := e.store.Claim(e.claims, queueName, l.Name, n, holdFor)
	e.crew.letGo(l.Name, n-len(claims))
	for _, c := range claims {
		e.takeUp(c)
	}
	return len(claims), err
}

// rest waits until there may be something to take up: of a line with ready
// entries when its app has fewer in hand.
func (e *Engine) rest(lines []store.Line, err error) bool {
	wait := maxPoll
	if e.fleet != nil {
		wait = hostPoll
	}
	for i := range lines {
		if l := &lines[i]; l.Depth.Ready == 0 && !l.Next.IsZero() {
			wait = min(wait, max(l.Next.Sub(e.ledger.now()), minPoll))
		}
	}
	if err != nil {
		wait = errPause
		if e.claims.Err() == nil {
			e.log.LogAttrs(e.base, slog.LevelError, "durable queue not read", slog.String("error", err.Error()))
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.wake:
	case <-e.claims.Done():
		return false
	}
	return true
}

// takeUp begins the run of a claimed entry, or ends its claim.
func (e *Engine) takeUp(c store.Claim) {
	r, k, end := e.revive(c)
	e.wg.Go(func() {
		defer func() {
			e.crew.letGo(c.Line, 1)
			e.poke()
		}()
		if r == nil {
			e.finish(k, end)
			return
		}
		e.runDurable(r, c.Line)
	})
	if r != nil {
		e.wg.Go(func() { e.keep(k) })
	}
}

// revive makes a run of a claimed entry. Without a run, end is what is to
// become of the claim. It is called for the oldest entry first: the order of
// calls is the order of the user's turns.
func (e *Engine) revive(c store.Claim) (*run, *keeper, ending) {
	var en entry
	err := en.decode(c.Value)
	r := &run{durable: true, decided: true, attempt: en.event.Attempt, attrs: en.event.Attrs, reply: en.event.Reply, ev: en.event}
	r.ev.Attrs, r.ev.Reply = nil, nil
	k := newKeeper(r, c.Key)
	k.claim = c
	close(k.saved)
	if err != nil {
		return nil, k, e.dead(k, "entry", err.Error())
	}
	set := e.set.Load()
	if set.awaits(en.event.App) { // of a line without a name, or of a set that came just now
		return nil, k, ending{kind: endRelease, tries: c.Tries, delay: awaitedWait}
	}
	if r.app = set.apps[en.event.App]; r.app == nil {
		return nil, k, e.dead(k, "app", "app "+en.event.App+" is no more")
	}
	if missing := r.begin(&en); missing != "" {
		return nil, k, e.dead(k, "stage", "stage "+missing+" of pipeline "+en.pipeline+" is no more")
	}
	if key, ok := r.userKey(); ok {
		if r.ticket, ok = e.locks.take(key, true); !ok {
			return nil, k, ending{kind: endRelease, tries: c.Tries, delay: e.looks.after(key.app, e.ledger.now())}
		}
	}
	end, leaving, ok := e.ledger.adopt(r, k, en.known)
	for leaving != nil { // only as long as its append takes to return
		<-leaving
		end, leaving, ok = e.ledger.adopt(r, k, en.known)
	}
	if !ok {
		r.ticket.leave()
		return nil, k, end
	}
	return r, k, ending{}
}

// looks spread the looks at entries that can't be run yet, because their user or
// their plugin is busy: busyLooks of an app in each busyWait, one after another,
// however many there are. The zero value is ready; many goroutines may use it.
type looks struct {
	mu   sync.Mutex
	last map[string]time.Time // by app: when the entry is looked at that was put off last
}

// after is how long one more entry waits.
func (l *looks) after(app string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := now.Add(busyWait)
	if next := l.last[app].Add(busyWait / busyLooks); next.After(at) {
		at = next
	}
	if l.last == nil {
		l.last = make(map[string]time.Time)
	}
	l.last[app] = at
	return at.Sub(now)
}

// begin finds where the run of an entry begins. It returns the name of a stage
// that is not there any more, or "".
func (r *run) begin(en *entry) (missing string) {
	pipe := r.app.pipe
	switch {
	case en.at.stage == "":
		return ""
	case pipe.name != en.pipeline:
		return en.at.stage
	case !en.alone:
		r.at = en.at
		return pipe.find(&r.at, nil)
	}
	if r.alone = pipe.single[en.at.stage]; r.alone == nil {
		return en.at.stage
	}
	return ""
}

// adopt puts a durable run under way. It is refused where this process runs the
// event already, and where it has run it to its end: then the claim of the
// first run was lost, or could not be ended. Where a run is just leaving the
// event to the queue, it is to be asked again when leaving is closed.
func (l *ledger) adopt(r *run, k *keeper, known time.Time) (end ending, leaving <-chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	busy := ending{kind: endRelease, tries: k.claim.Tries, delay: busyWait}
	if l.closed || r.app.set.idle != nil { // in the next process, or with the next set
		busy.delay = 0
		return busy, nil, false
	}
	var rec *record
	indexed := r.app.pipe.dedupe > 0 && k.key == r.ev.ID
	if indexed {
		rec = l.find(k.key, l.now())
	}
	switch {
	case rec == nil:
		rec = &record{id: r.ev.ID, known: known}
		if indexed {
			rec.dedupe = r.app.pipe.dedupe
			l.add(rec)
		}
	case rec.run != nil && rec.run.leaving != nil:
		return busy, rec.run.leaving, false
	case rec.run != nil:
		return busy, nil, false
	case rec.state != open && !rec.pending:
		return ending{kind: endAck}, nil, false
	}
	l.unsettle(rec)
	if rec.state == open {
		rec.state = late
	}
	r.rec, r.keeper, k.rec, k.prev = rec, k, rec, rec.keeper
	rec.keeper = k
	l.begin(r)
	return ending{}, nil, true
}

// retry ends the claim of a durable run that failed as h says: once more later,
// or never.
func (e *Engine) retry(r *run, h *halt, value []byte) {
	k := e.ledger.over(r, true)
	tries, first := k.claim.Tries, uint32(0)
	if h.counts() {
		tries++
	}
	if r.alone != nil { // the first failure of other runs came before they were queued
		first = min(tries, 1)
	}
	if tries-first < maxTries {
		delay := backoff(tries - first)
		if !h.counts() { // all that its plugin is to run fail so
			delay = max(delay, e.looks.after(r.app.name, e.ledger.now()))
		}
		k.finish(ending{kind: endRelease, value: value, tries: tries, delay: delay})
	} else {
		k.finish(e.dead(k, h.reason, "stage "+h.failed+" failed for an hour: "+h.reason))
	}
}

// dead counts and logs an entry that is given up; text is for the operator.
func (e *Engine) dead(k *keeper, reason, text string) ending {
	e.metrics.DeadLetter(k.app, reason)
	e.log.LogAttrs(context.WithoutCancel(e.claims), slog.LevelError, "durable run given up", slog.String("app", k.app),
		slog.String("event_id", k.id), slog.String("reason", reason), slog.String("error", text))
	return ending{kind: endBury, reason: text}
}
