package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// queueState is what memory knows of a queue: of each entry its sequence number and
// state, and the claims. The entries themselves are in the file. It changes when
// a commit is durable, so whatever it gives out is.
type queueState struct {
	ready   heap[waiting] // the oldest first
	delayed heap[delayed] // by time
	claims  map[uint64]*claim
	ending  heap[*claim] // by time; claims that are settling are not in it
	dead    int
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

// claim is an entry that somebody holds.
type claim struct {
	waiting
	token uint64
	key   string
	until int64
	// settling says that an operation that ends the claim is on its way to the
	// disk: nobody else may have it until that is decided, though its time is over.
	settling bool
	at       int // in ending
}

func newQueue() *queueState {
	return &queueState{
		ready: heap[waiting]{less: func(a, b waiting) bool { return a.seq < b.seq }},
		delayed: heap[delayed]{less: func(a, b delayed) bool {
			return a.ready < b.ready || a.ready == b.ready && a.seq < b.seq
		}},
		claims: map[uint64]*claim{},
		ending: heap[*claim]{
			less:  func(a, b *claim) bool { return a.until < b.until },
			moved: func(c *claim, i int) { c.at = i },
		},
	}
}

// advance makes ready what has become so by now.
func (q *queueState) advance(now int64) {
	for q.ending.len() > 0 && q.ending.first().until <= now {
		c := q.ending.pop()
		delete(q.claims, c.token)
		q.ready.push(c.waiting)
	}
	for q.delayed.len() > 0 && q.delayed.first().ready <= now {
		q.ready.push(q.delayed.pop().waiting)
	}
}

// add takes in an entry that is nobody's.
func (q *queueState) add(w waiting, ready, now int64) {
	if ready <= now {
		q.ready.push(w)
		return
	}
	q.delayed.push(delayed{ready: ready, waiting: w})
}

// hold makes a claim of an entry.
func (q *queueState) hold(token uint64, w waiting, key string, until int64) *claim {
	c := &claim{waiting: w, token: token, key: key, until: until}
	q.claims[token] = c
	q.ending.push(c)
	return c
}

// drop ends a claim that is not settling; the entry is the caller's.
func (q *queueState) drop(c *claim) {
	q.ending.remove(c.at)
	delete(q.claims, c.token)
}

// settle marks a claim as being ended.
func (q *queueState) settle(c *claim) {
	q.ending.remove(c.at)
	c.settling = true
}

// unsettle takes settle back.
func (q *queueState) unsettle(c *claim) {
	c.settling = false
	q.ending.push(c)
}

func (q *queueState) empty() bool {
	return q.ready.len() == 0 && q.delayed.len() == 0 && len(q.claims) == 0 && q.dead == 0
}

// next is store.Queue's Next, after advance.
func (q *queueState) next(now int64) time.Time {
	if q.ready.len() > 0 {
		return time.Unix(0, now)
	}
	var at int64
	earlier := func(t int64) {
		if at == 0 || t < at {
			at = t
		}
	}
	if q.delayed.len() > 0 {
		earlier(q.delayed.first().ready)
	}
	if q.ending.len() > 0 {
		earlier(q.ending.first().until)
	}
	if q.ending.len() < len(q.claims) {
		for _, c := range q.claims { // few settle at once, and only for one commit
			if c.settling {
				earlier(max(c.until, now+1))
			}
		}
	}
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// withQueue calls f with the queue of that name as it is now. Where f returns it
// without an entry the queue is forgotten.
func (s *Store) withQueue(name string, f func(q *queueState, now int64)) {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	q := s.queues[name]
	if q == nil {
		q = newQueue()
	}
	now := s.now().UnixNano()
	q.advance(now)
	f(q, now)
	if q.empty() {
		delete(s.queues, name)
	} else {
		s.queues[name] = q
	}
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
			if e.dead {
				q.dead++
			} else {
				q.add(waiting{seq, e.appended}, e.ready, now)
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
		Key: string(e.key), Value: append([]byte{}, e.value...), Tries: e.tries,
		Appended: time.Unix(0, e.appended), Token: token,
	}
}
