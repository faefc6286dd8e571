package bolt

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// board is store.Board in memory: one process has the store, so nobody else is
// to be told.
type board struct {
	mu        sync.Mutex
	notes     map[string]note
	listeners map[string][]*listener // by topic
	closed    chan struct{}          // closed with the store
	running   sync.WaitGroup         // listeners; added to under mu, while not closed
}

// note is a value on the board.
type note struct {
	value []byte
	until int64
}

// listener is one Subscribe.
type listener struct {
	topic    string
	messages chan []byte
	missed   chan struct{} // holds one: a message found no room
}

// maxUnheard is how many messages wait for a slow listener.
const maxUnheard = 1024

func newBoard() *board {
	return &board{notes: map[string]note{}, listeners: map[string][]*listener{}, closed: make(chan struct{})}
}

// Look is store.Board's.
func (s *Store) Look(ctx context.Context, key string) ([]byte, error) {
	err := store.CheckBoardKey(key)
	if err == nil {
		err = s.check(ctx)
	}
	var value []byte
	if err == nil {
		if value = s.board.look(key, s.now().UnixNano()); value == nil {
			err = store.ErrNotFound
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look at the board: %w", err)
	}
	return value, nil
}

// look returns a copy of the value under key, nil where there is none.
func (b *board) look(key string, now int64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.there(key, now)
}

// there is look for those who have mu.
func (b *board) there(key string, now int64) []byte {
	n, ok := b.notes[key]
	if !ok || now >= n.until {
		return nil
	}
	return append([]byte{}, n.value...)
}

// Put is store.Board's.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	err := s.checkPut(ctx, key, value, ttl)
	if err != nil {
		return fmt.Errorf("put on the board: %w", err)
	}
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	s.board.notes[key] = note{value: append([]byte{}, value...), until: after(s.now().UnixNano(), ttl)}
	return nil
}

func (s *Store) checkPut(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := store.CheckPut(key, value, ttl); err != nil {
		return err
	}
	return s.check(ctx)
}

// Exchange is store.Board's.
func (s *Store) Exchange(ctx context.Context, key string, expect, value []byte, ttl time.Duration) (there []byte, ok bool, err error) {
	if value == nil {
		ttl = 1 // not looked at
	}
	if err := s.checkPut(ctx, key, value, ttl); err != nil {
		return nil, false, fmt.Errorf("exchange on the board: %w", err)
	}
	now := s.now().UnixNano()
	b := s.board
	b.mu.Lock()
	defer b.mu.Unlock()
	there = b.there(key, now)
	switch {
	case (there != nil) != (expect != nil) || !bytes.Equal(there, expect):
		return there, false, nil
	case value == nil:
		delete(b.notes, key)
	default:
		b.notes[key] = note{value: bytes.Clone(value), until: after(now, ttl)}
	}
	return nil, true, nil
}

// Publish is store.Board's.
func (s *Store) Publish(ctx context.Context, topic string, message []byte) error {
	err := store.CheckName("topic", topic)
	if err == nil {
		err = store.CheckMessage(message)
	}
	if err == nil {
		err = s.check(ctx)
	}
	if err != nil {
		return fmt.Errorf("publish to topic %q: %w", topic, err)
	}
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	for _, l := range s.board.listeners[topic] {
		select {
		case l.messages <- append([]byte{}, message...):
			continue
		default:
		}
		select {
		case l.missed <- struct{}{}:
		default:
		}
	}
	return nil
}

// Subscribe is store.Board's.
func (s *Store) Subscribe(ctx context.Context, topic string, f func(message []byte)) (wait func(), err error) {
	if err = store.CheckName("topic", topic); err == nil {
		err = s.check(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to topic %q: %w", topic, err)
	}
	l := &listener{topic: topic, messages: make(chan []byte, maxUnheard), missed: make(chan struct{}, 1)}
	if !s.board.add(l) {
		return nil, fmt.Errorf("subscribe to topic %q: %w", topic, store.ErrClosed)
	}
	ended := make(chan struct{})
	go func() {
		defer s.board.running.Done()
		defer close(ended)
		defer s.board.remove(l)
		l.run(ctx, s.board.closed, f)
	}()
	return func() { <-ended }, nil
}

// run calls f until ctx ends or closed is.
func (l *listener) run(ctx context.Context, closed <-chan struct{}, f func([]byte)) {
	for {
		var message []byte
		select {
		case <-ctx.Done():
			return
		case <-closed:
			return
		case message = <-l.messages:
		case <-l.missed:
		}
		if ctx.Err() != nil {
			return
		}
		f(message)
	}
}

// add says false where the store was closed.
func (b *board) add(l *listener) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		return false
	default:
	}
	b.running.Add(1)
	b.listeners[l.topic] = append(b.listeners[l.topic], l)
	return true
}

func (b *board) remove(l *listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := slices.DeleteFunc(b.listeners[l.topic], func(o *listener) bool { return o == l })
	if len(left) == 0 {
		delete(b.listeners, l.topic)
		return
	}
	b.listeners[l.topic] = left
}

// close ends the listeners and waits for them.
func (b *board) close() {
	b.mu.Lock()
	close(b.closed)
	b.mu.Unlock()
	b.running.Wait()
}

// sweep forgets the values whose time is over.
func (b *board) sweep(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, n := range b.notes {
		if now >= n.until {
			delete(b.notes, key)
		}
	}
}
