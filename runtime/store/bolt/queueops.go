package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// fresh is an entry on its way into a queue. Nothing of it is the caller's.
type fresh struct {
	key    string
	line   string
	quota  int
	record []byte // its times still to be filled in
	delay  time.Duration
	seq    uint64 // 0: there already
	ready  int64
	at     int64 // when it was appended
	token  uint64
}

// Append is store.Queue's.
func (s *Store) Append(ctx context.Context, queue string, hold time.Duration, entries ...store.Entry) ([]store.Claim, error) {
	what := fmt.Sprintf("append to queue %q", queue)
	news, size, err := newEntries(queue, hold, entries)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	err = s.submit(&call{
		ctx: ctx, what: what, size: size,
		run:  func(t *txn) error { return s.append(t, queue, news) },
		keep: func() { s.appended(queue, hold, news) },
	})
	if err != nil || hold == 0 {
		return nil, err
	}
	claims := make([]store.Claim, len(entries))
	for i, n := range news {
		if n.seq != 0 {
			claims[i] = store.Claim{Key: n.key, Line: n.line, Value: entries[i].Value, Appended: time.Unix(0, n.at), Token: n.token}
		}
	}
	return claims, nil
}

func newEntries(queue string, hold time.Duration, entries []store.Entry) (news []fresh, size int, err error) {
	if err := store.CheckName("queue", queue); err != nil {
		return nil, 0, err
	}
	if hold < 0 {
		return nil, 0, store.CheckHold(hold)
	}
	news = make([]fresh, len(entries))
	for i, e := range entries {
		if err := store.CheckEntry(&e); err != nil {
			return nil, 0, err
		}
		record := appendEntry(nil, entry{key: []byte(e.Key), line: []byte(e.Line), value: e.Value})
		news[i] = fresh{key: e.Key, line: e.Line, quota: e.Quota, record: record, delay: e.Delay}
		if hold > 0 {
			news[i].delay = 0
		}
		size += len(record) + 2*len(e.Key) + 64
	}
	return news, size, nil
}

// append writes those of news whose key is not there.
func (s *Store) append(t *txn, queue string, news []fresh) error {
	if err := s.room(t, queue, news); err != nil {
		return err
	}
	for i := range news {
		n := &news[i]
		n.seq = 0
		key := nameKey(queue, n.key)
		if t.keys.Get(key) != nil {
			continue
		}
		seq, err := t.entries.NextSequence()
		if err != nil {
			t.fail(err)
			return nil
		}
		n.seq, n.at, n.ready = seq, t.now, after(t.now, n.delay)
		binary.BigEndian.PutUint64(n.record[entryAppended:], uint64(n.at))
		binary.BigEndian.PutUint64(n.record[entryReady:], uint64(n.ready))
		t.put(t.entries, entryKey(queue, seq), n.record)
		t.put(t.keys, key, sequence(seq))
		t.longer[lineKey{queue, n.line}]++
	}
	return nil
}

// room says whether the quotas of news allow them. What this transaction takes
// off a line makes room in the next one only.
func (s *Store) room(t *txn, queue string, news []fresh) error {
	if !slices.ContainsFunc(news, func(n fresh) bool { return n.quota > 0 }) {
		return nil
	}
	more, seen := map[string]int{}, map[string]bool{}
	for i := range news {
		n := &news[i]
		if seen[n.key] || t.keys.Get(nameKey(queue, n.key)) != nil {
			continue
		}
		seen[n.key] = true
		more[n.line]++
		if n.quota == 0 {
			continue
		}
		have := t.longer[lineKey{queue, n.line}]
		s.withLine(queue, n.line, func(_ *queueState, l *lineState, _ int64) { have += l.live() })
		if have+more[n.line] > n.quota {
			return store.ErrQuota
		}
	}
	return nil
}

// appended takes what was appended into memory.
func (s *Store) appended(queue string, hold time.Duration, news []fresh) {
	for i := range news {
		n := &news[i]
		if n.seq == 0 {
			continue
		}
		s.withLine(queue, n.line, func(q *queueState, l *lineState, now int64) {
			if hold == 0 {
				l.add(waiting{n.seq, n.at}, n.ready, now)
				return
			}
			n.token = s.nextToken()
			q.hold(l, n.token, waiting{n.seq, n.at}, n.key, after(now, hold))
		})
	}
}

// Claim is store.Queue's. The claim itself is in memory only.
func (s *Store) Claim(ctx context.Context, queue, line string, max int, hold time.Duration) ([]store.Claim, error) {
	claims, err := s.claim(ctx, queue, line, max, hold)
	if err != nil {
		return nil, fmt.Errorf("claim from queue %q: %w", queue, err)
	}
	return claims, nil
}

func (s *Store) claim(ctx context.Context, queue, line string, max int, hold time.Duration) ([]store.Claim, error) {
	if err := store.CheckClaim(queue, line, max, hold); err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	var held []*claim
	s.withLine(queue, line, func(q *queueState, l *lineState, now int64) {
		for l.ready.len() > 0 && len(held) < max {
			held = append(held, q.hold(l, s.nextToken(), l.ready.pop(), "", after(now, hold)))
		}
	})
	if len(held) == 0 {
		return nil, nil
	}
	claims, err := s.readClaims(ctx, queue, held)
	if err != nil {
		s.withLine(queue, line, func(q *queueState, l *lineState, _ int64) {
			for _, c := range held {
				if q.claims[c.token] == c {
					q.drop(c)
					l.ready.push(c.waiting)
				}
			}
		})
		return nil, err
	}
	s.withQueue(queue, func(*queueState, int64) {
		for i, c := range held {
			c.key = claims[i].Key
		}
	})
	return claims, nil
}

// readClaims reads the entries of claims.
func (s *Store) readClaims(ctx context.Context, queue string, held []*claim) ([]store.Claim, error) {
	claims := make([]store.Claim, 0, len(held))
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		entries := tx.Bucket([]byte(entriesBucket))
		for _, c := range held {
			e, err := decodeEntry(entries.Get(entryKey(queue, c.seq)))
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", c.seq, store.ErrUnavailable, err)
			}
			claims = append(claims, claimOf(c.token, e))
		}
		return nil
	})
	return claims, err
}

// Extend is store.Queue's.
func (s *Store) Extend(ctx context.Context, queue string, c store.Claim, hold time.Duration) error {
	err := store.CheckHold(hold)
	if err == nil {
		err = s.check(ctx)
	}
	if err == nil {
		err = store.ErrNotFound
		s.withQueue(queue, func(q *queueState, now int64) {
			if h := q.held(c, now); h != nil {
				h.until = after(now, hold)
				h.line.ending.fix(h.at)
				err = nil
			}
		})
	}
	if err != nil {
		return fmt.Errorf("extend a claim of queue %q: %w", queue, err)
	}
	return nil
}

// Ack is store.Queue's.
func (s *Store) Ack(ctx context.Context, queue string, c store.Claim) error {
	return s.settle(ctx, "acknowledge an entry", queue, c, 64, func(t *txn, h *claim) error {
		t.del(t.entries, entryKey(queue, h.seq))
		t.del(t.keys, nameKey(queue, h.key))
		return nil
	}, func(*lineState, *claim, int64) {})
}

// Release is store.Queue's.
func (s *Store) Release(ctx context.Context, queue string, c store.Claim, delay time.Duration) error {
	const doing = "release an entry"
	if err := store.CheckValue(c.Value); err != nil {
		return fmt.Errorf("%s of queue %q: %w", doing, queue, err)
	}
	value := bytes.Clone(c.Value)
	var ready int64
	return s.settle(ctx, doing, queue, c, len(value)+64, func(t *txn, h *claim) error {
		return t.rewrite(queue, h.seq, func(e *entry) {
			ready = after(t.now, delay)
			e.tries, e.value, e.ready = c.Tries, value, ready
		})
	}, func(l *lineState, h *claim, now int64) {
		l.add(h.waiting, ready, now)
	})
}

// Bury is store.Queue's.
func (s *Store) Bury(ctx context.Context, queue string, c store.Claim, reason string) error {
	reason = store.CutReason(reason)
	return s.settle(ctx, "bury an entry", queue, c, len(c.Value)+64, func(t *txn, h *claim) error {
		return t.rewrite(queue, h.seq, func(e *entry) { e.dead, e.reason = true, []byte(reason) })
	}, func(l *lineState, _ *claim, _ int64) {
		l.dead++
	})
}

// settle ends a claim: write makes the change in the file, kept takes it into
// memory, the claim being gone.
func (s *Store) settle(
	ctx context.Context, doing, queue string, c store.Claim, size int,
	write func(*txn, *claim) error, kept func(*lineState, *claim, int64),
) error {
	var held *claim
	release := func() {
		if held == nil {
			return
		}
		s.withQueue(queue, func(*queueState, int64) { held.line.unsettle(held) })
	}
	return s.submit(&call{
		ctx: ctx, what: fmt.Sprintf("%s of queue %q", doing, queue), size: size,
		run: func(t *txn) error {
			held = nil
			s.withQueue(queue, func(q *queueState, now int64) {
				if held = q.held(c, now); held != nil {
					held.line.settle(held)
				}
			})
			if held == nil {
				return store.ErrNotFound
			}
			if err := write(t, held); err != nil {
				release()
				return err
			}
			return nil
		},
		undo: release,
		keep: func() {
			s.withLine(queue, held.line.name, func(q *queueState, l *lineState, now int64) {
				delete(q.claims, held.token)
				delete(l.settling, held)
				kept(l, held, now)
			})
		},
	})
}

// rewrite changes the record of an entry.
func (t *txn) rewrite(queue string, seq uint64, f func(*entry)) error {
	k := entryKey(queue, seq)
	e, err := decodeEntry(t.entries.Get(k))
	if err != nil {
		return unavailable(fmt.Sprintf("read entry %d", seq), err)
	}
	f(&e)
	t.put(t.entries, k, appendEntry(nil, e))
	return nil
}

// dead finds a dead entry, and its line, by its key.
func (t *txn) dead(queue, key string) (w waiting, line string, err error) {
	b := t.keys.Get(nameKey(queue, key))
	if b == nil {
		return w, "", store.ErrNotFound
	}
	if w.seq, err = decodeNumber(b); err != nil {
		return w, "", unavailable("read the number of an entry", err)
	}
	e, err := decodeEntry(t.entries.Get(entryKey(queue, w.seq)))
	if err != nil {
		return w, "", unavailable(fmt.Sprintf("read entry %d", w.seq), err)
	}
	if !e.dead {
		return w, "", store.ErrNotFound
	}
	w.appended = e.appended
	return w, string(e.line), nil
}

// Retry is store.Queue's.
func (s *Store) Retry(ctx context.Context, queue, key string) error {
	return s.revive(ctx, "retry", queue, key, func(t *txn, w waiting) error {
		return t.rewrite(queue, w.seq, func(e *entry) { e.dead, e.reason, e.tries, e.ready = false, nil, 0, t.now })
	}, func(l *lineState, w waiting) { l.ready.push(w) })
}

// Drop is store.Queue's.
func (s *Store) Drop(ctx context.Context, queue, key string) error {
	return s.revive(ctx, "drop", queue, key, func(t *txn, w waiting) error {
		t.del(t.entries, entryKey(queue, w.seq))
		t.del(t.keys, nameKey(queue, key))
		return nil
	}, func(*lineState, waiting) {})
}

// revive makes a change to a dead entry, after which it is not dead.
func (s *Store) revive(ctx context.Context, doing, queue, key string, change func(*txn, waiting) error, kept func(*lineState, waiting)) error {
	what := fmt.Sprintf("%s an entry of queue %q", doing, queue)
	err := store.CheckName("queue", queue)
	if err == nil {
		err = store.CheckName("key", key)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var w waiting
	var line string
	return s.submit(&call{ctx: ctx, what: what, size: 64, run: func(t *txn) (err error) {
		if w, line, err = t.dead(queue, key); err != nil {
			return err
		}
		return change(t, w)
	}, keep: func() {
		s.withLine(queue, line, func(_ *queueState, l *lineState, _ int64) {
			l.dead--
			kept(l, w)
		})
	}})
}

// Lines is store.Queue's.
func (s *Store) Lines(ctx context.Context, queue string) (lines []store.Line, err error) {
	err = s.look(ctx, queue, func(q *queueState, now int64) {
		for _, l := range q.lines {
			q.advance(l, now)
			lines = append(lines, store.Line{Name: l.name, Depth: l.depth(), Next: l.next(now)})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look at the lines of queue %q: %w", queue, err)
	}
	slices.SortFunc(lines, func(a, b store.Line) int { return strings.Compare(a.Name, b.Name) })
	return lines, nil
}

// Depth is store.Queue's.
func (s *Store) Depth(ctx context.Context, queue string) (d store.Depth, err error) {
	var first waiting
	err = s.look(ctx, queue, func(q *queueState, now int64) {
		for _, l := range q.lines {
			q.advance(l, now)
			one := l.depth()
			if one.Ready > 0 && (d.Ready == 0 || l.ready.first().seq < first.seq) {
				first, d.Oldest = l.ready.first(), one.Oldest
			}
			d.Ready, d.Delayed, d.Claimed, d.Dead = d.Ready+one.Ready, d.Delayed+one.Delayed, d.Claimed+one.Claimed, d.Dead+one.Dead
		}
	})
	if err != nil {
		return store.Depth{}, fmt.Errorf("count the entries of queue %q: %w", queue, err)
	}
	return d, nil
}

// look calls f with what memory knows of a queue.
func (s *Store) look(ctx context.Context, queue string, f func(*queueState, int64)) error {
	if err := store.CheckName("queue", queue); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	s.withQueue(queue, f)
	return nil
}
