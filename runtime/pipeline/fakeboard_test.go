package pipeline

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// memBoard is a board in memory, for several hosts.
type memBoard struct {
	mu     sync.Mutex
	values map[string]boardValue
	ears   map[int]func([]byte) // of all topics
	next   int
	writes int
}

type boardValue struct {
	data []byte
	end  time.Time
}

// seen is the board as one host sees it.
type seen struct {
	*memBoard

	mu   sync.Mutex
	away bool
	wait time.Duration               // before each call
	lose func(call, key string) bool // the call takes effect, its answer is lost
}

// enter is the beginning of a call.
func (s *seen) enter(ctx context.Context) error {
	s.mu.Lock()
	away, wait := s.away, s.wait
	s.mu.Unlock()
	if wait > 0 && !pause(ctx, wait) {
		return context.Cause(ctx)
	}
	if away {
		return store.ErrUnavailable
	}
	return ctx.Err()
}

func (s *seen) leave(call, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lose != nil && s.lose(call, key) {
		return store.ErrUnavailable
	}
	return nil
}

func (s *seen) cut(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *seen) slow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait = d
}

func (b *memBoard) get(key string) []byte {
	v, ok := b.values[key]
	if !ok || !v.end.After(time.Now()) {
		return nil
	}
	return v.data
}

func (b *memBoard) set(key string, value []byte, ttl time.Duration) {
	if b.values == nil {
		b.values = map[string]boardValue{}
	}
	b.writes++
	b.values[key] = boardValue{append([]byte{}, value...), time.Now().Add(ttl)}
}

func (s *seen) Look(ctx context.Context, key string) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	s.memBoard.mu.Lock()
	defer s.memBoard.mu.Unlock()
	v := s.get(key)
	if v == nil {
		return nil, store.ErrNotFound
	}
	return slices.Clone(v), nil
}

func (s *seen) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := store.CheckPut(key, value, ttl); err != nil {
		return err
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.memBoard.mu.Lock()
	defer s.memBoard.mu.Unlock()
	s.set(key, value, ttl)
	return nil
}

func (s *seen) Exchange(ctx context.Context, key string, expect, value []byte, ttl time.Duration) (there []byte, ok bool, err error) {
	if value != nil {
		if err := store.CheckPut(key, value, ttl); err != nil {
			return nil, false, err
		}
	}
	if err := s.enter(ctx); err != nil {
		return nil, false, err
	}
	s.memBoard.mu.Lock()
	defer s.memBoard.mu.Unlock()
	there = s.get(key)
	if (there == nil) != (expect == nil) || !bytes.Equal(there, expect) {
		return slices.Clone(there), false, nil
	}
	if value == nil {
		delete(s.values, key)
	} else {
		s.set(key, value, ttl)
	}
	return nil, true, s.leave("exchange", key)
}

func (s *seen) Publish(ctx context.Context, _ string, message []byte) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.memBoard.mu.Lock()
	ears := slices.Collect(maps.Values(s.ears))
	s.memBoard.mu.Unlock()
	for _, f := range ears {
		f(slices.Clone(message))
	}
	return nil
}

func (s *seen) Subscribe(ctx context.Context, _ string, f func([]byte)) (wait func(), err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	s.memBoard.mu.Lock()
	defer s.memBoard.mu.Unlock()
	if s.ears == nil {
		s.ears = map[int]func([]byte){}
	}
	n := s.next
	s.next++
	s.ears[n] = f
	return func() {
		<-ctx.Done()
		s.memBoard.mu.Lock()
		defer s.memBoard.mu.Unlock()
		delete(s.ears, n)
	}, nil
}

// keys lists what stands on the board under a beginning.
func (b *memBoard) keys(prefix string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for key := range b.values {
		if strings.HasPrefix(key, prefix) && b.get(key) != nil {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// record reads what stands there of an event.
func (b *memBoard) record(t *testing.T, id string) (s sharedRecord) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := s.decode(b.get(recordKey(id))); err != nil {
		t.Errorf("record of %s: %v", id, err)
	}
	return s
}

// host is a world among others with the same store and the same board.
type host struct {
	*world
	seen *seen
	dead chan struct{}
}

// kill ends what a host does to the others.
func (h *host) kill() {
	close(h.dead)
	h.seen.cut(true)
}

// hosts runs a test with two hosts, each with a pipeline of its own that make
// fills.
func hosts(t *testing.T, fill func(w *world, name string), f func(t *testing.T, a, b *host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, board := new(memStore), new(memBoard)
		start := func(name string) *host {
			h := newHost(t, s, board)
			fill(h.world, name)
			h.up()
			return h
		}
		a, b := start("a"), start("b")
		f(t, a, b)
		a.down()
		b.down()
	})
}

func newHost(t *testing.T, s *memStore, board *memBoard) *host {
	h := &host{world: newWorld(t), seen: &seen{memBoard: board}, dead: make(chan struct{})}
	h.store, h.shared = s, h.seen
	h.queue = mortal{s, h.dead}
	return h
}
