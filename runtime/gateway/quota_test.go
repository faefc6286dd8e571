package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// quotaBoard is a QuotaStore in memory, of several hosts.
type quotaBoard struct {
	mu     sync.Mutex
	value  []byte
	away   bool
	deaf   bool // messages are lost
	f      []func([]byte)
	writes int
	during func() // called once, in the next Apply, after it
}

func (s *quotaBoard) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *quotaBoard) Get(context.Context, string, string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.away:
		return nil, store.ErrUnavailable
	case s.value == nil:
		return nil, store.ErrNotFound
	}
	return bytes.Clone(s.value), nil
}

func (s *quotaBoard) Apply(_ context.Context, op store.Op) (store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.during != nil {
		defer s.during()
		s.during = nil
	}
	switch {
	case s.away:
		return store.Result{}, store.ErrUnavailable
	case op.Kind != store.CompareAndSet || op.TTL <= 0 || op.TTL > 25*time.Hour || op.Bucket == "" || op.Key != "shop":
		return store.Result{}, store.ErrInvalid
	case (op.Expect == nil) != (s.value == nil) || !bytes.Equal(op.Expect, s.value):
		return store.Result{Found: s.value != nil, Value: s.value}, nil
	}
	s.value = bytes.Clone(op.Value)
	s.writes++
	return store.Result{Applied: true}, nil
}

func (s *quotaBoard) Publish(_ context.Context, _ string, message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return store.ErrUnavailable
	}
	for _, f := range s.f {
		if !s.deaf {
			go f(message)
		}
	}
	return nil
}

func (s *quotaBoard) Subscribe(_ context.Context, _ string, f func([]byte)) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, store.ErrUnavailable
	}
	s.f = append(s.f, f)
	return func() {}, nil
}

// TestQuotaStops: 45009 stops one endpoint of one app on all hosts, also on one
// that starts later, until midnight in China, restarts of the clock's day included.
func TestQuotaStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // 1 January 2000, 08:00 in China
		s := &script{steps: []http.HandlerFunc{errcode(45009), answers(`{}`)}}
		away := new(quotaBoard)
		a, b := inMemory(t, s, away, nil), inMemory(t, s, away, nil)
		synctest.Wait()
		if answer, _, err := a.call(t, "POST", "/cgi-bin/x", "{}"); err != nil || answer.Errcode != 45009 {
			t.Fatalf("%+v, %v", answer, err)
		}
		synctest.Wait()
		c := inMemory(t, s, away, nil)
		synctest.Wait()
		for i, k := range []kit{a, b, c} {
			_, _, err := k.call(t, "GET", "/cgi-bin/x", "")
			var failed *CallError
			if !errors.As(err, &failed) || failed.Kind != ErrQuota || !failed.Until.Equal(time.Date(2000, 1, 1, 16, 0, 0, 0, time.UTC)) {
				t.Errorf("host %d: %v", i, err)
			}
			if _, _, err := k.call(t, "GET", "/cgi-bin/y", ""); err != nil {
				t.Error(err)
			}
		}
		if n := len(s.requests()); n != 4 || a.counter.of("shop /cgi-bin/x quota_stop") != 1 || a.counter.of("errcode shop /cgi-bin/x 45009") != 1 {
			t.Errorf("%d requests, counted %v", n, a.counter.calls)
		}
		time.Sleep(16*time.Hour - 8*time.Hour - time.Second)
		if _, _, err := b.call(t, "GET", "/cgi-bin/x", ""); !errors.Is(err, ErrQuota) {
			t.Errorf("before midnight: %v", err)
		}
		time.Sleep(8*time.Hour + 2*time.Second)
		for _, k := range []kit{a, b, c} {
			if _, _, err := k.call(t, "GET", "/cgi-bin/x", ""); err != nil {
				t.Errorf("after midnight: %v", err)
			}
		}
	})
}

// TestQuotaStopsWithoutStore: a stop that couldn't be shared is kept here, and
// shared when the store is back; a lost message is made up for.
func TestQuotaStopsWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{errcode(45009), answers(`{}`)}}
		away := &quotaBoard{away: true, deaf: true}
		a, b := inMemory(t, s, away, nil), inMemory(t, s, away, nil)
		synctest.Wait()
		if _, _, err := a.call(t, "GET", "/cgi-bin/x", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, _, err := a.call(t, "GET", "/cgi-bin/x", ""); !errors.Is(err, ErrQuota) {
			t.Errorf("here: %v", err)
		}
		if _, _, err := b.call(t, "GET", "/cgi-bin/x", ""); err != nil {
			t.Errorf("there: %v", err)
		}
		if n := strings.Count(a.log.String(), "quota stops are this host's own"); n != 1 {
			t.Errorf("told %d times: %s", n, a.log)
		}
		away.set(func() { away.away = false })
		time.Sleep(quotaRetry + quotaLook + time.Second)
		if _, _, err := b.call(t, "GET", "/cgi-bin/x", ""); !errors.Is(err, ErrQuota) {
			t.Errorf("there, when it is back: %v", err)
		}
	})
}

// TestQuotaCleared: a clear_quota that went through the host takes all stops of
// the app back, everywhere.
func TestQuotaCleared(t *testing.T) {
	for _, storeAway := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []http.HandlerFunc{errcode(45009), errcode(45028), status(http.StatusBadGateway), answers(`{"errcode":0}`)}}
			away := new(quotaBoard)
			a, b := inMemory(t, s, away, nil), inMemory(t, s, away, nil)
			for _, path := range []string{"/cgi-bin/x", "/cgi-bin/y"} {
				if _, _, err := a.call(t, "GET", path, ""); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if _, _, err := b.call(t, "GET", "/cgi-bin/y", ""); !errors.Is(err, ErrQuota) {
				t.Fatal(err)
			}
			if _, _, err := b.call(t, "POST", "/cgi-bin/clear_quota", "{}"); err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.call(t, "GET", "/cgi-bin/x", ""); !errors.Is(err, ErrQuota) {
				t.Errorf("cleared by an error: %v", err)
			}
			away.set(func() { away.away = storeAway })
			if _, _, err := b.call(t, "POST", "/cgi-bin/clear_quota", "{}"); err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.call(t, "GET", "/cgi-bin/x", ""); err != nil {
				t.Errorf("here, at once: %v", err)
			}
			away.set(func() { away.away = false })
			time.Sleep(quotaRetry)
			synctest.Wait()
			for _, k := range []kit{a, b} {
				if _, _, err := k.call(t, "GET", "/cgi-bin/y", ""); err != nil {
					t.Errorf("later: %v", err)
				}
			}
		})
	}
}

// TestQuotaChangesMeanwhile: while stops are written, others are cleared, or found.
func TestQuotaChangesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		board := &quotaBoard{value: writeStops(map[string]time.Time{"/x": quotaEnd(now)})}
		q := newQuotas(board, slog.New(slog.DiscardHandler))
		a := q.open("shop")
		share := func(during func()) {
			t.Helper()
			board.during = during
			if err := q.share(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		q.stop(a, "/y", now)
		share(func() { q.clear(a) })
		if n := len(*a.stops.Load()); n != 0 {
			t.Errorf("cleared, and %d stops are back", n)
		}
		if err := q.look(t.Context()); err != nil || len(readStops(board.value, now)) != 0 {
			t.Errorf("%s, %v", board.value, err)
		}
		q.stop(a, "/y", now)
		share(func() { q.stop(a, "/z", now) })
		if n := len(*a.stops.Load()); n != 2 {
			t.Errorf("%d stops", n)
		}
		if err := q.look(t.Context()); err != nil || len(readStops(board.value, now)) != 2 {
			t.Errorf("%s, %v", board.value, err)
		}
	})
}

// TestQuotaStopsOfManyHosts: stops that hosts find at the same time are all kept.
func TestQuotaStopsOfManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{errcode(45009)}}
		away := new(quotaBoard)
		var hosts []kit
		for range 8 {
			hosts = append(hosts, inMemory(t, s, away, nil))
		}
		var wg sync.WaitGroup
		for i, k := range hosts {
			wg.Go(func() { _, _, _ = k.call(t, "GET", fmt.Sprintf("/cgi-bin/x%d", i), "") })
		}
		wg.Wait()
		synctest.Wait()
		for _, k := range hosts {
			for i := range hosts {
				if _, stopped := k.state.quota.stopped(fmt.Sprintf("/cgi-bin/x%d", i), time.Now()); !stopped {
					t.Errorf("x%d is not stopped", i)
				}
			}
		}
		time.Sleep(time.Hour)
		if away.writes > 64 { // one of each, and again where another was first
			t.Errorf("%d writes", away.writes)
		}
	})
}

func TestQuotaStopsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuotas(nil, nil)
		a := q.open("shop")
		for i := range maxStops + 10 {
			q.stop(a, fmt.Sprintf("/x%d", i), time.Now())
		}
		if n := len(*a.stops.Load()); n != maxStops {
			t.Errorf("%d stops", n)
		}
		time.Sleep(24 * time.Hour)
		q.stop(a, "/y", time.Now())
		if _, ok := a.stopped("/y", time.Now()); !ok || len(*a.stops.Load()) != 1 {
			t.Error("those of the day before are still there")
		}
	})
}

func TestQuotaEnd(t *testing.T) {
	for now, want := range map[string]string{
		"2026-03-01T12:00:00+08:00": "2026-03-02T00:00:00+08:00",
		"2026-03-01T23:59:59+08:00": "2026-03-02T00:00:00+08:00",
		"2026-03-01T23:59:59Z":      "2026-03-03T00:00:00+08:00",
		"2026-02-28T16:30:00Z":      "2026-03-02T00:00:00+08:00",
		"2026-12-31T15:00:00-08:00": "2027-01-02T00:00:00+08:00",
		// WeChat's clock may be on the day before.
		"2026-03-02T00:00:00+08:00": "2026-03-02T00:05:00+08:00",
		"2026-03-02T00:04:59+08:00": "2026-03-02T00:05:00+08:00",
		"2026-03-02T00:05:00+08:00": "2026-03-03T00:00:00+08:00",
	} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := quotaEnd(at).In(time.FixedZone("", 8*60*60)).Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", now, got, want)
		}
	}
}

// FuzzReadStops: whatever stands in the store, few paths are stopped, none for
// long, and what is written is read.
func FuzzReadStops(f *testing.F) {
	now := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	f.Add(writeStops(map[string]time.Time{"/cgi-bin/x": quotaEnd(now), "/y": now.Add(time.Hour)}))
	f.Add([]byte(`{"/x":9223372036854775807,"/../x":1772400000,"x":-1}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"/x":1e99}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		stops := readStops(text, now)
		if len(stops) > maxStops {
			t.Fatalf("%d stops", len(stops))
		}
		for path, until := range stops {
			if clean, err := cleanPath(path); err != nil || clean != path || until.After(now.Add(25*time.Hour)) || !until.After(now) {
				t.Fatalf("%q until %v", path, until)
			}
		}
		again := readStops(writeStops(stops), now)
		if len(again) != len(stops) {
			t.Fatalf("%v became %v", stops, again)
		}
	})
}
