package pipeline

import (
	"strings"
	"time"
)

// maxExpire is how many records one delivery clears away at most, so that none
// pays for all; more than one, so that clearing keeps up.
const maxExpire = 4

// add makes a record findable, unless dedupe is off.
func (l *ledger) add(rec *record) {
	if rec.dedupe == 0 {
		return
	}
	rec.id = strings.Clone(rec.id) // the event's memory would stay with it
	rec.indexed = true
	if l.index == nil {
		l.index = make(map[string]*record)
	}
	l.index[rec.id] = rec
}

// settle gives a record whose stages have ended its time to go, and lets the
// oldest go where there are too many.
func (l *ledger) settle(rec *record) {
	if rec.run != nil && rec.run.leaving != nil {
		close(rec.run.leaving)
	}
	rec.run = nil
	if !rec.indexed {
		return
	}
	now := l.now()
	rec.due = now.Add(rec.dedupe)
	if rec.state != given && rec.known.After(rec.due) {
		rec.due = rec.known
	}
	rec.size = recordOverhead + rec.answer.size()
	l.bytes += rec.size
	l.due.push(rec)
	l.settled.pushBack(rec)
	for l.settled.n > 0 && (len(l.index) > maxRecords || l.bytes > maxRecordBytes) {
		l.forget(l.settled.head)
		l.evicted()
	}
}

// unsettle takes a record out of the lists, because it is run again.
func (l *ledger) unsettle(rec *record) {
	if rec.size == 0 {
		return
	}
	l.bytes -= rec.size
	rec.size = 0
	l.due.remove(rec)
	l.settled.remove(rec)
}

func (l *ledger) forget(rec *record) {
	l.unsettle(rec)
	delete(l.index, rec.id)
}

// find returns the record of an event, nil where there is none any more.
func (l *ledger) find(id string, now time.Time) *record {
	rec := l.index[id]
	for rec != nil && rec.size > 0 && !rec.due.After(now) {
		rec = l.shed(rec, now)
	}
	return rec
}

// expire clears away what is due.
func (l *ledger) expire(now time.Time) {
	for range maxExpire {
		if len(l.due) == 0 || l.due[0].due.After(now) {
			return
		}
		l.shed(l.due[0], now)
	}
}

// shed lets go what is due of a record: first the answer, then, when no repeat
// can come any more, the bare id, which gets success; that one gives nil.
func (l *ledger) shed(rec *record, now time.Time) *record {
	if rec.state != given || !rec.known.After(now) {
		l.forget(rec)
		return nil
	}
	l.due.remove(rec)
	l.bytes -= rec.size - recordOverhead
	rec.size = recordOverhead
	rec.state, rec.answer = late, Answer{}
	rec.due = rec.known
	l.due.push(rec)
	return rec
}

// recordList is a list of records through their prev and next.
type recordList struct {
	head, tail *record
	n          int
}

func (l *recordList) pushBack(r *record) {
	r.prev, r.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = r
	} else {
		l.head = r
	}
	l.tail = r
	l.n++
}

func (l *recordList) remove(r *record) {
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		l.head = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		l.tail = r.prev
	}
	r.prev, r.next = nil, nil
	l.n--
}

// recordHeap has the record that is due first at index 0.
type recordHeap []*record

func (h *recordHeap) push(r *record) {
	r.heapAt = len(*h)
	*h = append(*h, r)
	h.up(r.heapAt)
}

func (h *recordHeap) remove(r *record) {
	i, last := r.heapAt, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	if i < last {
		h.up(i)
		h.down(i)
	}
}

func (h recordHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

func (h recordHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].due.Before(h[parent].due) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h recordHeap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].due.Before(h[least].due) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
