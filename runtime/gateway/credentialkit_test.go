package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store"
)

const (
	testAppID     = "wx0123456789abcdef"
	testAppSecret = "0123456789abcdef0123456789abcdef"
)

// commonStore is a store in memory that several hosts have; its clock is package
// time's.
type commonStore struct {
	mu     sync.Mutex
	values map[string]kept
	fences map[string]uint64
	locks  map[string]heldLock
	topics map[int]*topic
	next   int
	down   atomic.Bool
}

type kept struct {
	value   []byte
	expires time.Time // zero: never
}

type heldLock struct {
	fence uint64
	until time.Time
}

type topic struct {
	name string
	ch   chan []byte
}

func newCommonStore() *commonStore {
	return &commonStore{values: map[string]kept{}, fences: map[string]uint64{}, locks: map[string]heldLock{}, topics: map[int]*topic{}}
}

// record is what stands under a credential's key; nil: nothing does.
func (s *commonStore) record(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(credentialBucket + "\x00" + key)
}

// leave puts something under a credential's key; nil: removes what is there.
func (s *commonStore) leave(key string, record []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if record == nil {
		delete(s.values, credentialBucket+"\x00"+key)
		return
	}
	s.set(credentialBucket+"\x00"+key, record, 0)
}

// back ends the time in which the store is away.
func (s *commonStore) back() {
	s.down.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.topics {
		t.ch <- nil
	}
}

// view is the store as one host has it.
type view struct {
	*commonStore
	cut   atomic.Bool   // this host doesn't reach it
	delay time.Duration // of each call, at most
}

func (s *view) enter(ctx context.Context) (func(), error) {
	if s.delay > 0 {
		time.Sleep(rand.N(s.delay))
	}
	if s.cut.Load() || s.commonStore.down.Load() {
		return nil, fmt.Errorf("reach it: %w", store.ErrUnavailable)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	return s.mu.Unlock, nil
}

func (s *commonStore) get(key string) []byte {
	v, ok := s.values[key]
	if !ok || !v.expires.IsZero() && !time.Now().Before(v.expires) {
		return nil
	}
	return append([]byte{}, v.value...)
}

func (s *commonStore) set(key string, value []byte, ttl time.Duration) {
	v := kept{value: append([]byte{}, value...)}
	if ttl > 0 {
		v.expires = time.Now().Add(ttl)
	}
	s.values[key] = v
}

func (s *view) Get(ctx context.Context, bucket, key string) ([]byte, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if v := s.get(bucket + "\x00" + key); v != nil {
		return v, nil
	}
	return nil, store.ErrNotFound
}

func (s *view) Apply(ctx context.Context, op store.Op) (store.Result, error) {
	if err := op.Check(); err != nil {
		return store.Result{}, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return store.Result{}, err
	}
	defer leave()
	if op.Kind != store.CompareAndSet {
		return store.Result{}, errors.New("not needed so far")
	}
	there := s.get(op.Bucket + "\x00" + op.Key)
	if (there == nil) != (op.Expect == nil) || !bytes.Equal(there, op.Expect) {
		return store.Result{Found: there != nil, Value: there}, nil
	}
	s.set(op.Bucket+"\x00"+op.Key, op.Value, op.TTL)
	return store.Result{Applied: true}, nil
}

func (s *view) Lock(ctx context.Context, name string, ttl time.Duration) (store.Lock, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return store.Lock{}, err
	}
	defer leave()
	if l, ok := s.locks[name]; ok && time.Now().Before(l.until) {
		return store.Lock{}, store.ErrHeld
	}
	s.fences[name]++
	s.locks[name] = heldLock{s.fences[name], time.Now().Add(ttl)}
	return store.Lock{Name: name, Fence: s.fences[name]}, nil
}

func (s *view) owns(l store.Lock) bool {
	there, ok := s.locks[l.Name]
	return ok && there.fence == l.Fence && time.Now().Before(there.until)
}

func (s *view) Renew(ctx context.Context, l store.Lock, ttl time.Duration) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if !s.owns(l) {
		return store.ErrLost
	}
	s.locks[l.Name] = heldLock{l.Fence, time.Now().Add(ttl)}
	return nil
}

func (s *view) Unlock(ctx context.Context, l store.Lock) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if !s.owns(l) {
		return store.ErrLost
	}
	delete(s.locks, l.Name)
	return nil
}

func (s *view) Look(ctx context.Context, key string) ([]byte, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if v := s.get("board\x00" + key); v != nil {
		return v, nil
	}
	return nil, store.ErrNotFound
}

func (s *view) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	s.set("board\x00"+key, value, ttl)
	return nil
}

func (s *view) Exchange(ctx context.Context, key string, expect, value []byte, ttl time.Duration) ([]byte, bool, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	there := s.get("board\x00" + key)
	switch {
	case (there == nil) != (expect == nil) || !bytes.Equal(there, expect):
		return there, false, nil
	case value == nil:
		delete(s.values, "board\x00"+key)
	default:
		s.set("board\x00"+key, value, ttl)
	}
	return nil, true, nil
}

func (s *view) Publish(ctx context.Context, name string, message []byte) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for _, t := range s.topics {
		if t.name == name {
			select {
			case t.ch <- append([]byte{}, message...):
			default:
			}
		}
	}
	return nil
}

func (s *view) Subscribe(ctx context.Context, name string, f func([]byte)) (func(), error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	t := &topic{name, make(chan []byte, 100)}
	id := s.next
	s.next++
	s.topics[id] = t
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-t.ch:
				if !s.cut.Load() {
					f(m)
				}
			case <-ctx.Done():
				s.mu.Lock()
				delete(s.topics, id)
				s.mu.Unlock()
				return
			}
		}
	}()
	return func() { <-done }, nil
}

// direct sends requests to a handler in this process.
type direct struct {
	handler atomic.Pointer[http.Handler]
	delay   time.Duration // of each call, at most
	dead    atomic.Bool   // nothing is sent, nor answered
	after   func()        // runs when a request was answered, before the answer is seen; nil: nothing does
	calls   atomic.Int64
}

func newDirect(h http.Handler) *direct {
	d := &direct{delay: 50 * time.Millisecond}
	d.handler.Store(&h)
	return d
}

func (d *direct) Do(r *http.Request) (*http.Response, error) {
	d.calls.Add(1)
	if d.delay > 0 {
		time.Sleep(rand.N(d.delay))
	}
	if d.dead.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	r.RemoteAddr = "192.0.2.7:1234"
	w := httptest.NewRecorder()
	cut := make(chan bool, 1)
	go func() {
		defer func() { cut <- recover() != nil }()
		(*d.handler.Load()).ServeHTTP(w, r)
	}()
	select {
	case broken := <-cut:
		if broken {
			return nil, io.ErrUnexpectedEOF
		}
		if d.after != nil {
			d.after()
		}
		if d.dead.Load() {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return w.Result(), nil
}

// tokenTown is some hosts with one store and one WeChat.
type tokenTown struct {
	t           testing.TB
	wechat      *simulator.WeChat
	commonStore *commonStore
	hosts       []*townHost
	killed      int // see killer
}

type townHost struct {
	*Credentials
	view   *view
	client *direct
	app    *AppCredentials
	log    *lockedBuffer
}

func testKey() []byte { return bytes.Repeat([]byte{7}, serverKeySize) }

func testApp() CredentialConfig {
	return CredentialConfig{App: "shop", Source: FromWeChat, AppID: testAppID, Secret: testAppSecret, Base: "http://wechat.test"}
}

// newTokenTown makes hosts that have one app open. At the end all is closed, and what
// was logged has been searched for secrets.
func newTokenTown(t testing.TB, hosts int, config CredentialConfig, rules simulator.Rules) *tokenTown {
	t.Helper()
	w := &tokenTown{t: t, wechat: simulator.New(simulator.Options{Seed: 7}), commonStore: newCommonStore()}
	w.wechat.Set(simulator.App{ID: testAppID, Secret: testAppSecret, Rules: rules})
	for range hosts {
		w.add(config)
	}
	t.Cleanup(w.close)
	return w
}

func (w *tokenTown) add(config CredentialConfig) *townHost {
	w.t.Helper()
	h := &townHost{view: &view{commonStore: w.commonStore, delay: 3 * time.Millisecond}, client: newDirect(w.wechat), log: &lockedBuffer{}}
	c, err := NewCredentials(CredentialOptions{
		Store: h.view, Key: testKey(), Client: h.client,
		Logger: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if h.app, err = c.Open(config); err != nil {
		w.t.Fatal(err)
	}
	h.Credentials = c
	w.hosts = append(w.hosts, h)
	return h
}

func (w *tokenTown) close() {
	w.wechat.Close()
	for i, h := range w.hosts {
		h.CloseApp(h.app)
		h.Close()
		for _, secret := range append(w.wechat.Issued(), testAppSecret) {
			if strings.Contains(h.log.String(), secret) {
				w.t.Errorf("host %d logged a secret", i)
			}
		}
	}
}

// get reads a credential that must be one that WeChat takes.
func (w *tokenTown) get(h *townHost, kind CredentialKind) Credential {
	w.t.Helper()
	c, err := h.app.Get(w.t.Context(), kind)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, h.log)
	}
	return c
}

// executed counts the calls for a token that WeChat gave one for, and those that
// gave a new one.
func (w *tokenTown) executed(kind simulator.Kind) (all, fresh int) {
	for _, f := range w.wechat.Fetches(testAppID, kind) {
		if f.Executed {
			all++
		}
		if f.New {
			fresh++
		}
	}
	return all, fresh
}
