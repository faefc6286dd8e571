package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
)

// Bounds of one transaction, so that those who come late don't wait long.
const (
	maxCalls = 1024
	maxBytes = 8 << 20
)

// errUnfinished is returned by an operation that did a part which stands by
// itself (it removed what had expired) and wants to run again, from its start,
// in the next transaction.
var errUnfinished = errors.New("unfinished")

// call is an operation that somebody waits for.
type call struct {
	ctx  context.Context
	what string // for errors: what the caller was doing
	size int    // bytes that it writes, about

	// run is called by the committer, again for each transaction that has to be
	// made anew. An error means that it wrote nothing, or a part that stands by itself.
	run func(*txn) error
	// keep, which may be nil, is called when what the last run did is durable;
	// undo, which may be nil, after each run without an error that came to nothing.
	keep, undo func()

	err  error // the outcome, once done is closed
	done chan struct{}
}

// submit hands c to the committer and waits for the outcome.
func (s *Store) submit(c *call) error {
	if err := c.ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", c.what, err)
	}
	c.done = make(chan struct{})
	s.mu.Lock()
	if err := s.usable(); err != nil {
		s.mu.Unlock()
		return fmt.Errorf("%s: %w", c.what, err)
	}
	s.pending = append(s.pending, c)
	s.mu.Unlock()
	s.nudge()
	select {
	case <-c.done:
		return c.err
	case <-c.ctx.Done():
	}
	select {
	case <-c.done:
		return c.err
	default:
		return fmt.Errorf("%s: %w", c.what, c.ctx.Err())
	}
}

// nudge tells the committer that there is something to look at.
func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// commitAll is the committer: it takes whatever came while it was busy and
// commits it in one transaction, until the store is closed and nobody waits.
func (s *Store) commitAll() {
	defer close(s.committed)
	for {
		batch, more := s.take()
		if !more {
			return
		}
		s.commit(batch)
		// Those who were just answered often have a next operation at once; it
		// can then go with those who wait.
		runtime.Gosched()
	}
}

// take waits for calls and returns those of the next transaction; false: the
// store is being closed, and there are none.
func (s *Store) take() ([]*call, bool) {
	for {
		s.mu.Lock()
		n, size := 0, 0
		for n < len(s.pending) && n < maxCalls && (n == 0 || size+s.pending[n].size <= maxBytes) {
			size += s.pending[n].size
			n++
		}
		batch := slices.Clone(s.pending[:n])
		s.pending = slices.Delete(s.pending, 0, n)
		closed := s.closed
		s.mu.Unlock()
		if n > 0 {
			return batch, true
		}
		if closed {
			return nil, false
		}
		<-s.wake
	}
}

// commit commits batch and answers its callers. A call that breaks its
// transaction is answered with store.ErrUnavailable, and the others are run again without it.
func (s *Store) commit(batch []*call) {
	for len(batch) > 0 {
		broke, unfinished, err := s.attempt(batch)
		if broke != nil {
			s.log.Error("an operation of the store failed and was undone", "doing", broke.what, "error", err)
			broke.finish(unavailable(broke.what, err))
			batch = slices.DeleteFunc(batch, func(c *call) bool { return c == broke })
			continue
		}
		for _, c := range batch {
			switch {
			case err != nil:
				c.finish(unavailable(c.what, err))
			case !slices.Contains(unfinished, c):
				c.finish(c.err)
			}
		}
		if err == nil && len(unfinished) > 0 {
			s.mu.Lock()
			s.pending = slices.Insert(s.pending, 0, unfinished...)
			s.mu.Unlock()
		}
		return
	}
}

func (c *call) finish(err error) {
	c.err = err
	close(c.done)
}

// attempt runs batch in one transaction and commits it. Where one call broke the
// transaction nothing was committed and that call is returned with the reason;
// an error without one says that the commit failed.
func (s *Store) attempt(batch []*call) (broke *call, unfinished []*call, err error) {
	if err := s.broken(); err != nil {
		return nil, nil, err
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return nil, nil, fmt.Errorf("begin a transaction: %w", err)
	}
	t := newTxn(tx, s.now().UnixNano())
	ran := make([]*call, 0, len(batch))
	kept := false
	defer func() {
		if kept {
			return
		}
		for _, c := range slices.Backward(ran) {
			if c.undo != nil {
				c.undo()
			}
		}
	}()
	for _, c := range batch {
		if c.err = c.ctx.Err(); c.err != nil {
			continue
		}
		c.err = t.try(c.run)
		if c.err == nil {
			ran = append(ran, c)
		}
		if t.fault != nil {
			return c, nil, errors.Join(t.fault, s.rollback(tx))
		}
		switch {
		case errors.Is(c.err, errUnfinished):
			unfinished = append(unfinished, c)
		case c.err != nil:
			c.err = fmt.Errorf("%s: %w", c.what, c.err)
		}
	}
	t.flush()
	if t.fault != nil {
		return nil, nil, errors.Join(t.fault, s.rollback(tx))
	}
	if !t.dirty {
		err = s.rollback(tx)
	} else {
		err = s.commitTx(tx)
	}
	if err != nil {
		return nil, nil, err
	}
	kept = true
	for _, c := range ran {
		if c.keep != nil {
			c.keep()
		}
	}
	return nil, unfinished, nil
}
