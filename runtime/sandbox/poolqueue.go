package sandbox

// waiter is a call that waits for a place.
type waiter struct {
	// place gets an instance, or nil: the place is the caller's, who starts an
	// instance. It is closed where the pool is. One is put in at most.
	place chan *instance

	waits          bool // it is in a queue
	before, behind *waiter
}

// queue is a list of waiters in the order they came.
type queue struct {
	first, last *waiter
	len         int
}

func (q *queue) push(w *waiter) {
	w.waits, w.before = true, q.last
	if q.last != nil {
		q.last.behind = w
	} else {
		q.first = w
	}
	q.last = w
	q.len++
}

// remove takes out a waiter that is in q.
func (q *queue) remove(w *waiter) {
	if w.before != nil {
		w.before.behind = w.behind
	} else {
		q.first = w.behind
	}
	if w.behind != nil {
		w.behind.before = w.before
	} else {
		q.last = w.before
	}
	w.waits, w.before, w.behind = false, nil, nil
	q.len--
}

// enqueue lets a call wait at the end of an app's line. p.mu is held.
func (p *pool) enqueue(l *appLine, w *waiter) {
	if l.calls.len == 0 {
		l.at = len(p.waiting)
		p.waiting = append(p.waiting, l)
	}
	l.calls.push(w)
}

// dequeue takes a call out of a line in which it waits. p.mu is held.
func (p *pool) dequeue(l *appLine, w *waiter) {
	l.calls.remove(w)
	if l.calls.len > 0 {
		return
	}
	end := len(p.waiting) - 1
	moved := p.waiting[end]
	p.waiting[l.at], moved.at = moved, l.at
	p.waiting[end] = nil
	p.waiting = p.waiting[:end]
}
