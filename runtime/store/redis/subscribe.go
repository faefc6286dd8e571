package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/weft-dev/weft/runtime/store"
)

const (
	quiet    = time.Second // without a message the connection is asked whether it lives
	maxQuiet = 3           // so often without an answer: it is dead
)

// subscription is one Subscribe.
type subscription struct {
	b       *base
	channel string
	f       func([]byte)
	begun   bool          // it has listened before: what came meanwhile was missed
	listens chan struct{} // closed when it listens for the first time
}

// Subscribe is store.Board's.
func (d *board) Subscribe(ctx context.Context, topic string, f func(message []byte)) (wait func(), err error) {
	if wait, err = d.b.subscribe(ctx, topic, f); err != nil {
		return nil, fmt.Errorf("subscribe to topic %q: %w", topic, err)
	}
	return wait, nil
}

func (b *base) subscribe(ctx context.Context, topic string, f func([]byte)) (wait func(), err error) {
	if err := store.CheckName("topic", topic); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.enter(); err != nil {
		return nil, err
	}
	s := &subscription{b: b, channel: b.channel(topic), f: f, listens: make(chan struct{})}
	living, end := context.WithCancel(ctx)
	stop := context.AfterFunc(b.ending, end)
	ended := make(chan struct{})
	var last error // why it didn't listen, once ended is closed
	go func() {
		defer b.calls.Done()
		defer close(ended)
		defer stop()
		defer end()
		last = s.run(living)
	}()
	timer := time.NewTimer(b.o.Timeout)
	defer timer.Stop()
	select {
	case <-s.listens:
		return func() { <-ended }, nil
	case <-timer.C:
	case <-ended:
	}
	end()
	<-ended
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case b.ending.Err() != nil:
		return nil, store.ErrClosed
	}
	return nil, unavailable(b.shown(last))
}

// run listens, again after each failure, until ctx ends. It returns the last
// failure.
func (s *subscription) run(ctx context.Context) error {
	last := errors.New("it doesn't answer")
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.listen(ctx)
		if ctx.Err() != nil {
			return last
		}
		last = err
		if s.b.cluster != nil {
			s.b.cluster.ReloadState(ctx) // the node may have been replaced
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// listen listens on one connection until that fails or ctx ends.
func (s *subscription) listen(ctx context.Context) error {
	var sub *goredis.PubSub
	if s.b.cluster != nil {
		sub = s.b.cluster.Subscribe(ctx)
	} else {
		sub = s.b.one.Subscribe(ctx)
	}
	defer func() { _ = sub.Close() }() // it has failed, or isn't needed any more
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	if err := sub.Subscribe(ctx, s.channel); err != nil {
		return err
	}
	for silent := 0; ; {
		got, err := sub.ReceiveTimeout(ctx, quiet)
		if err != nil {
			var slow net.Error
			if silent++; silent > maxQuiet || !errors.As(err, &slow) || !slow.Timeout() || ctx.Err() != nil {
				return err
			}
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		}
		silent = 0
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.take(got)
	}
}

// take takes in what has come on the connection.
func (s *subscription) take(got any) {
	switch m := got.(type) {
	case *goredis.Subscription:
		if s.begun {
			s.f(nil)
			return
		}
		s.begun = true
		close(s.listens)
	case *goredis.Message:
		s.f([]byte(m.Payload))
	}
}
