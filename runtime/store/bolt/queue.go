package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// queueState is what memory knows of a queue: of each entry its line, sequence
// number and state, and the claims. The entries themselves are in the file. It
// changes when a commit is durable, so whatever it gives out is.
type queueState struct {
	lines  map[string]*lineState // those that have entries
	claims map[uint64]*claim     // by token
}

// lineState is a line of a queue.
type lineState struct {
	name     string
	ready    heap[waiting] // the oldest first
	delayed  heap[delayed] // by time
	ending   heap[*claim]  // by time; claims that are settling are not in it
	settling map[*claim]struct{}
	dead     int
}

// waiting is an entry of which nobody has a claim.
type waiting struct {
	seq      uint64
	appended int64
}

// delayed is an entry that is ready from a time on.
type delayed struct {
	ready int64
	waiting
}

// claim is an entry that somebody holds. While it is in settling, an operation
// that ends it is on its way to the disk: nobody else may have it until that is
// decided, though its time is over.
type claim struct {
	waiting
	token uint64
	key   string
	line  *lineState
	until int64
	at    int // in ending
}

func newQueue() *queueState {
	return &queueState{lines: map[string]*lineState{}, claims: map[uint64]*claim{}}
}

func newLine(name string) *lineState {
	return &lineState{
		name:  name,
		ready: heap[waiting]{less: func(a, b waiting) bool { return a.seq < b.seq }},
		delayed: heap[delayed]{less: func(a, b delayed) bool {
			return a.ready < b.ready || a.ready == b.ready && a.seq < b.seq
		}},
		ending: heap[*claim]{
			less:  func(a, b *claim) bool { return a.until < b.until },
			moved: func(c *claim, i int) { c.at = i },
		},
		settling: map[*claim]struct{}{},
	}
}

// line returns the line of that name as it is now.
func (q *queueState) line(name string, now int64) *lineState {
	l := q.lines[name]
	if l == nil {
		l = newLine(name)
		q.lines[name] = l
	}
	q.advance(l, now)
	return l
}

// advance makes ready what has become so by now.
func (q *queueState) advance(l *lineState, now int64) {
	for l.ending.len() > 0 && l.ending.first().until <= now {
		c := l.ending.pop()
		delete(q.claims, c.token)
		l.ready.push(c.waiting)
	}
	for l.delayed.len() > 0 && l.delayed.first().ready <= now {
		l.ready.push(l.delayed.pop().waiting)
	}
}

// hold makes a claim of an entry.
func (q *queueState) hold(l *lineState, token uint64, w waiting, key string, until int64) *claim {
	c := &claim{waiting: w, token: token, key: key, line: l, until: until}
	q.claims[token] = c
	l.ending.push(c)
	return c
}

// held returns the claim that c is, nil where it was lost or is being ended.
func (q *queueState) held(c store.Claim, now int64) *claim {
	h := q.claims[c.Token]
	if h == nil || h.key != c.Key {
		return nil
	}
	q.advance(h.line, now)
	if _, settling := h.line.settling[h]; settling || q.claims[c.Token] != h {
		return nil
	}
	return h
}

// drop ends a claim that is not settling; the entry is the caller's.
func (q *queueState) drop(c *claim) {
	c.line.ending.remove(c.at)
	delete(q.claims, c.token)
}

// add takes in an entry that is nobody's.
func (l *lineState) add(w waiting, ready, now int64) {
	if ready <= now {
		l.ready.push(w)
		return
	}
	l.delayed.push(delayed{ready: ready, waiting: w})
}

// settle marks a claim as being ended.
func (l *lineState) settle(c *claim) {
	l.ending.remove(c.at)
	l.settling[c] = struct{}{}
}

// unsettle takes settle back.
func (l *lineState) unsettle(c *claim) {
	delete(l.settling, c)
	l.ending.push(c)
}

// live is how many entries are not dead.
func (l *lineState) live() int {
	return l.ready.len() + l.delayed.len() + l.ending.len() + len(l.settling)
}

func (l *lineState) depth() store.Depth {
	d := store.Depth{Ready: l.ready.len(), Delayed: l.delayed.len(), Claimed: l.ending.len() + len(l.settling), Dead: l.dead}
	if d.Ready > 0 {
		d.Oldest = time.Unix(0, l.ready.first().appended)
	}
	return d
}

// next is store.Line's Next, after advance.
func (l *lineState) next(now int64) time.Time {
	if l.ready.len() > 0 {
		return time.Unix(0, now)
	}
	var at int64
	earlier := func(t int64) {
		if at == 0 || t < at {
			at = t
		}
	}
	if l.delayed.len() > 0 {
		earlier(l.delayed.first().ready)
	}
	if l.ending.len() > 0 {
		earlier(l.ending.first().until)
	}
	for c := range l.settling { // few settle at once, and only for one commit
		earlier(max(c.until, now+1))
	}
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// withQueue calls f with the queue of that name.
func (s *Store) withQueue(name string, f func(q *queueState, now int64)) {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	q := s.queues[name]
	if q == nil {
		q = newQueue()
		s.queues[name] = q
	}
	f(q, s.now().UnixNano())
	if len(q.lines) == 0 {
		delete(s.queues, name)
	}
}

// withLine calls f with a line of a queue as it is now. Where f leaves it without
// an entry the line is forgotten.
func (s *Store) withLine(queue, line string, f func(q *queueState, l *lineState, now int64)) {
	s.withQueue(queue, func(q *queueState, now int64) {
		l := q.line(line, now)
		f(q, l, now)
		if l.live()+l.dead == 0 {
			delete(q.lines, line)
		}
	})
}

// nextToken gives the next token. The caller holds queueMu.
func (s *Store) nextToken() uint64 {
	s.token++
	if s.token == 0 {
		s.token++
	}
	return s.token
}

// loadQueues reads the queues of the file into memory.
func (s *Store) loadQueues(ctx context.Context) error {
	now := s.now().UnixNano()
	return s.view(ctx, func(tx *bbolt.Tx) error {
		n := 0
		cursor := tx.Bucket([]byte(entriesBucket)).Cursor()
		for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
			if n++; n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			name, rest, err := splitName(k)
			if err != nil {
				return err
			}
			seq, err := decodeNumber(rest)
			if err != nil {
				return err
			}
			e, err := decodeEntry(v)
			if err != nil {
				return fmt.Errorf("entry %d of queue %q: %w", seq, name, err)
			}
			q := s.queues[string(name)]
			if q == nil {
				q = newQueue()
				s.queues[string(name)] = q
			}
			l := q.line(string(e.line), now)
			if e.dead {
				l.dead++
			} else {
				l.add(waiting{seq, e.appended}, e.ready, now)
			}
		}
		return nil
	})
}

// sequence is a sequence number as it stands in the file.
func sequence(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// claimOf is what the caller gets for an entry.
func claimOf(token uint64, e entry) store.Claim {
	return store.Claim{
		Key: string(e.key), Line: string(e.line), Value: append([]byte{}, e.value...), Tries: e.tries,
		Appended: time.Unix(0, e.appended), Token: token,
	}
}
