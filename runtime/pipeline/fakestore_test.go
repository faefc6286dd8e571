package pipeline

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// memStore is a store in memory, as far as an engine uses one. What it holds survives its engines.
type memStore struct {
	store.Store // nil

	mu      sync.Mutex
	entries []*memEntry
	token   uint64

	values   map[string][]byte // by bucket/key
	applies  int
	applyErr error // of every Apply

	appendErr  error         // of every Append
	appendTime time.Duration // before an Append takes effect
	appends    int
	writes     []string // the keys of each Append that took effect, joined
	quota      int      // of the entry that came last
}

// Get and Apply keep single values; the engine sets and compares them and nothing
// else.
func (s *memStore) Get(_ context.Context, bucket, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[bucket+"/"+key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return slices.Clone(v), nil
}

func (s *memStore) Apply(_ context.Context, op store.Op) (store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applies++
	if s.applyErr != nil {
		return store.Result{}, s.applyErr
	}
	if s.values == nil {
		s.values = map[string][]byte{}
	}
	there, found := s.values[op.Bucket+"/"+op.Key]
	if op.Kind == store.CompareAndSet && (found != (op.Expect != nil) || !bytes.Equal(there, op.Expect)) {
		return store.Result{Found: found, Value: slices.Clone(there)}, nil
	}
	s.values[op.Bucket+"/"+op.Key] = slices.Clone(op.Value)
	return store.Result{Applied: true}, nil
}

func (s *memStore) failApplies(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyErr = err
}

type memEntry struct {
	store.Info
	token uint64 // of the claim; 0: none
}

func (s *memStore) find(key string) *memEntry {
	i := slices.IndexFunc(s.entries, func(e *memEntry) bool { return e.Key == key })
	if i < 0 {
		return nil
	}
	return s.entries[i]
}

func (s *memStore) claim(e *memEntry, hold time.Duration) store.Claim {
	s.token++
	e.token, e.Ready = s.token, time.Now().Add(hold)
	return store.Claim{Key: e.Key, Line: e.Line, Value: slices.Clone(e.Value), Tries: e.Tries, Appended: e.Appended, Token: e.token}
}

func (s *memStore) Append(ctx context.Context, _ string, hold time.Duration, entries ...store.Entry) ([]store.Claim, error) {
	s.mu.Lock()
	err, wait := s.appendErr, s.appendTime
	s.appends++
	s.mu.Unlock()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	for _, en := range entries {
		if len(en.Key) > store.MaxName || len(en.Value) > store.MaxValue {
			return nil, store.ErrInvalid
		}
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var claims []store.Claim
	var keys []string
	for i, en := range entries { // of one line
		s.quota = en.Quota
		have := i
		if l := s.lines()[en.Line]; l != nil {
			have += l.Depth.Ready + l.Depth.Delayed + l.Depth.Claimed
		}
		if en.Quota > 0 && have >= en.Quota && s.find(en.Key) == nil {
			return nil, store.ErrQuota
		}
	}
	for _, en := range entries {
		keys = append(keys, en.Key)
		c := store.Claim{}
		if s.find(en.Key) == nil {
			e := &memEntry{Info: store.Info{Key: en.Key, Line: en.Line, Value: slices.Clone(en.Value), Appended: time.Now(), Ready: time.Now().Add(en.Delay)}}
			s.entries = append(s.entries, e)
			if hold > 0 {
				c = s.claim(e, hold)
			}
		}
		claims = append(claims, c)
	}
	s.writes = append(s.writes, strings.Join(keys, " "))
	if hold == 0 {
		claims = nil
	}
	return claims, nil
}

func (s *memStore) Claim(ctx context.Context, _, line string, n int, hold time.Duration) ([]store.Claim, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var claims []store.Claim
	for _, e := range s.entries {
		if len(claims) < n && e.Line == line && !e.Dead && !e.Ready.After(time.Now()) {
			claims = append(claims, s.claim(e, hold))
		}
	}
	return claims, nil
}

// held runs f on the entry of a claim that was not lost.
func (s *memStore) held(ctx context.Context, c store.Claim, f func(*memEntry)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(c.Key)
	if e == nil || e.token != c.Token || c.Token == 0 {
		return store.ErrNotFound
	}
	f(e)
	return nil
}

func (s *memStore) Extend(ctx context.Context, _ string, c store.Claim, hold time.Duration) error {
	return s.held(ctx, c, func(e *memEntry) { e.Ready = time.Now().Add(hold) })
}

func (s *memStore) Ack(ctx context.Context, _ string, c store.Claim) error {
	return s.held(ctx, c, func(e *memEntry) {
		s.entries = slices.DeleteFunc(s.entries, func(o *memEntry) bool { return o == e })
	})
}

func (s *memStore) Release(ctx context.Context, _ string, c store.Claim, delay time.Duration) error {
	if len(c.Value) > store.MaxValue {
		return store.ErrInvalid
	}
	return s.held(ctx, c, func(e *memEntry) {
		e.Value, e.Tries, e.token, e.Ready = slices.Clone(c.Value), c.Tries, 0, time.Now().Add(delay)
	})
}

func (s *memStore) Bury(ctx context.Context, _ string, c store.Claim, reason string) error {
	return s.held(ctx, c, func(e *memEntry) { e.Dead, e.Reason, e.token = true, reason, 0 })
}

// lines is called with the lock held.
func (s *memStore) lines() map[string]*store.Line {
	lines := map[string]*store.Line{}
	for _, e := range s.entries {
		l := lines[e.Line]
		if l == nil {
			l = &store.Line{Name: e.Line}
			lines[e.Line] = l
		}
		switch {
		case e.Dead:
			l.Depth.Dead++
			continue
		case !e.Ready.After(time.Now()):
			l.Depth.Ready++
		case e.token != 0:
			l.Depth.Claimed++
		default:
			l.Depth.Delayed++
		}
		if l.Next.IsZero() || e.Ready.Before(l.Next) {
			l.Next = e.Ready
		}
	}
	return lines
}

func (s *memStore) Lines(ctx context.Context, _ string) ([]store.Line, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	byName := s.lines()
	var lines []store.Line
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		lines = append(lines, *byName[name])
	}
	return lines, nil
}

func (s *memStore) List(_ context.Context, _ string, after uint64, f func(store.Info) bool) error {
	for _, info := range s.list() {
		if info.Seq > after && !f(info) {
			return nil
		}
	}
	return nil
}

func (s *memStore) Retry(_ context.Context, _, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(key)
	if e == nil || !e.Dead {
		return store.ErrNotFound
	}
	e.Dead, e.Tries, e.Ready = false, 0, time.Now()
	return nil
}

func (s *memStore) failAppends(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appendErr = err
}

func (s *memStore) list() []store.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []store.Info
	for i, e := range s.entries {
		if e.Seq == 0 {
			if e.Seq = 1; i > 0 {
				e.Seq += s.entries[i-1].Seq
			}
		}
		info := e.Info
		info.Claimed = e.token != 0 && e.Ready.After(time.Now())
		out = append(out, info)
	}
	return out
}

// mortal is the store as a process sees it that can be killed: from then on no
// call of its does anything.
type mortal struct {
	*memStore
	dead chan struct{}
}

func (m mortal) alive() error {
	select {
	case <-m.dead:
		return store.ErrUnavailable
	default:
		return nil
	}
}

func (m mortal) Append(ctx context.Context, q string, hold time.Duration, es ...store.Entry) ([]store.Claim, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.memStore.Append(ctx, q, hold, es...)
}

func (m mortal) Claim(ctx context.Context, q, line string, n int, hold time.Duration) ([]store.Claim, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.memStore.Claim(ctx, q, line, n, hold)
}

func (m mortal) Extend(ctx context.Context, q string, c store.Claim, hold time.Duration) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.memStore.Extend(ctx, q, c, hold)
}

func (m mortal) Ack(ctx context.Context, q string, c store.Claim) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.memStore.Ack(ctx, q, c)
}

func (m mortal) Release(ctx context.Context, q string, c store.Claim, delay time.Duration) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.memStore.Release(ctx, q, c, delay)
}

var _ store.Queue = (*memStore)(nil)

func (s *memStore) mustBeEmpty(t *testing.T) {
	t.Helper()
	for _, e := range s.list() {
		t.Errorf("left in the queue: %s, ready %v, dead %v %s", e.Key, e.Ready, e.Dead, e.Reason)
	}
}

func (s *memStore) Depth(context.Context, string) (d store.Depth, err error) {
	for _, i := range s.list() {
		switch {
		case i.Dead:
			d.Dead++
		case i.Claimed:
			d.Claimed++
		case i.Ready.After(time.Now()):
			d.Delayed++
		default:
			if d.Ready++; d.Ready == 1 {
				d.Oldest = i.Appended
			}
		}
	}
	return d, nil
}

func (s *memStore) Drop(_ context.Context, _, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(key)
	if e == nil || !e.Dead {
		return store.ErrNotFound
	}
	s.entries = slices.DeleteFunc(s.entries, func(o *memEntry) bool { return o == e })
	return nil
}

// loseClaims makes every entry ready.
func (s *memStore) loseClaims() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		e.token, e.Ready = 0, time.Now()
	}
}
