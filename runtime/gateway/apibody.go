package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// maxKept is the most of a request's body that is kept to be sent once more, in
// bytes.
const maxKept = 1 << 20

// errStill is why a call's context ends when nothing moves any more.
var errStill = errors.New("nothing moved in time")

// callTime ends a call when nothing has moved for its limit. Its methods may be
// called by several goroutines at once.
type callTime struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
	end    atomic.Int64 // Unix nanoseconds
}

func newCallTime(parent context.Context, limit time.Duration) *callTime {
	p := &callTime{limit: limit}
	p.ctx, p.cancel = context.WithCancelCause(parent)
	p.end.Store(time.Now().Add(limit).UnixNano())
	p.timer = time.AfterFunc(limit, func() { p.cancel(errStill) })
	return p
}

// moved starts the time anew.
func (p *callTime) moved() {
	p.end.Store(time.Now().Add(p.limit).UnixNano())
	p.timer.Reset(p.limit)
}

// rest stops the time until moved or resume.
func (p *callTime) rest() { p.timer.Stop() }

// resume goes on with what was left of it, as if it had never rested.
func (p *callTime) resume() { p.timer.Reset(max(p.left(), atOnce)) }

// left is what is left of the time.
func (p *callTime) left() time.Duration { return time.Until(time.Unix(0, p.end.Load())) }

func (p *callTime) close() {
	p.timer.Stop()
	p.cancel(nil)
}

// errLength ends a body that broke off or is not as long as was said. What it is
// called goes nowhere.
var errLength = errors.New("the body ended early, or late")

// requestBody is what a call sends. Up to maxKept bytes are kept to be sent once
// more; of more than that nothing is.
type requestBody struct {
	kept    []byte
	more    io.Reader // what comes behind kept; nil: kept is all
	length  int64     // below 0: not known
	clock   *callTime
	came    int64       // of it
	reading atomic.Bool // more is waited for
	failed  atomic.Bool // more broke off
}

// newRequestBody reads what is kept. length is what the caller says of its body,
// below 0: not known. False: it broke off, or is not as long as it says.
func newRequestBody(from io.Reader, length int64, p *callTime) (*requestBody, bool) {
	b := &requestBody{length: length, clock: p}
	if from == nil || length == 0 {
		return b, true
	}
	b.more = from
	if length > maxKept {
		return b, true
	}
	var kept bytes.Buffer
	if _, err := kept.ReadFrom(io.LimitReader((*stream)(b), maxKept+1)); err != nil {
		return nil, false
	}
	b.kept = kept.Bytes()
	if kept.Len() <= maxKept {
		b.more, b.length = nil, int64(kept.Len())
	}
	return b, true
}

// whole tells whether the body can be sent once more.
func (b *requestBody) whole() bool { return b.more == nil }

// reader returns the body from its beginning; nil: there is none. Where it is not
// whole that is right once.
func (b *requestBody) reader() io.ReadCloser {
	switch {
	case b.more != nil:
		return io.NopCloser(io.MultiReader(bytes.NewReader(b.kept), (*stream)(b)))
	case b.length == 0:
		return nil
	}
	return io.NopCloser(bytes.NewReader(b.kept))
}

// stream reads what a caller sends. Each piece starts the call's time anew.
type stream requestBody

func (s *stream) Read(buf []byte) (int, error) {
	s.reading.Store(true)
	n, err := s.more.Read(buf)
	s.reading.Store(false)
	s.came += int64(n)
	short := errors.Is(err, io.EOF) && s.came < s.length
	if err != nil && !errors.Is(err, io.EOF) || s.length >= 0 && (short || s.came > s.length) {
		s.failed.Store(true)
		return n, errLength
	}
	if n > 0 {
		s.clock.moved()
	}
	return n, err
}

// answerBody is the body of an answer: what was looked at, then the rest as it
// comes. The time between its pieces is bounded, while somebody waits for them.
type answerBody struct {
	head   []byte
	rest   io.ReadCloser
	call   *call
	closed bool
}

// Read returns what has come. Its errors are io.EOF and CallErrors.
func (b *answerBody) Read(buf []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(buf, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	b.call.clock.moved()
	n, err := b.rest.Read(buf)
	b.call.clock.rest()
	if err != nil && !errors.Is(err, io.EOF) {
		return n, b.call.failed(err, true)
	}
	return n, err
}

// drop lets go of an answer that isn't given to anybody. The call goes on.
func (b *answerBody) drop() { _ = b.rest.Close() } // nothing is lost

// Close ends the call. A second Close does nothing.
func (b *answerBody) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	err := b.rest.Close()
	b.call.close()
	return err
}
