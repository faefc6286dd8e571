package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sick is a service in memory. Its answers are statuses; 0 breaks the
// connection, below that it hangs.
type sick struct {
	mu     sync.Mutex
	status int
	asked  int
}

func (s *sick) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked++
	status := s.status
	s.mu.Unlock()
	switch {
	case status < 0:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case status == 0:
		return nil, errors.New("connection reset")
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Header: http.Header{}}, nil
}

func (s *sick) CloseIdleConnections() {}

func (s *sick) set(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// ward is an Upstream over a sick service.
type ward struct {
	*Upstream
	sick *sick
	log  *bytes.Buffer
}

func newWard(t *testing.T) *ward {
	log := new(bytes.Buffer)
	u := client(t, "http://127.0.0.1", func(c *UpstreamConfig) {
		c.Timeout, c.Logger = 4*time.Second, slog.New(slog.NewTextHandler(log, nil))
	})
	w := &ward{Upstream: u, sick: new(sick), log: log}
	u.transport = w.sick
	return w
}

// post posts n times with the service in this state and says how many times it
// was asked.
func (w *ward) post(ctx context.Context, n, status int) (asked int) {
	w.sick.set(status)
	before := w.sick.asked
	for range n {
		_, _ = w.Post(ctx, new(Request))
	}
	return w.sick.asked - before
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		if n := w.post(t.Context(), 10, 0); n != inARow {
			t.Fatalf("asked %d times before the circuit opened", n)
		}
		_, err := w.Post(t.Context(), new(Request))
		var e *Error
		if !errors.As(err, &e) || e.Reason() != "upstream" || !e.General() || err.Error() != "upstream legacy: it is away: nothing is sent until a trial succeeds" {
			t.Errorf("got %v", err)
		}
		if s := w.Stats(); s.Circuit == Closed || s.Requests["failed"] != inARow || s.Requests["open"] != 6 {
			t.Errorf("stats %+v", s)
		}
		time.Sleep(openFor + time.Millisecond)
		w.sick.set(503)
		before := w.sick.asked
		if _, err = w.Post(t.Context(), new(Request)); !errors.As(err, &e) || e.General() {
			t.Errorf("the trial: %v", err)
		}
		if n := w.post(t.Context(), 9, 503) + w.sick.asked - before; n != 1 {
			t.Errorf("tried %d times", n)
		}
		time.Sleep(openFor + time.Millisecond)
		if n := w.post(t.Context(), 10, 200); n != 10 {
			t.Errorf("asked %d times after it came back", n)
		}
		if s := w.Stats(); s.Circuit != Closed {
			t.Error("the circuit is open")
		}
		if got := w.log.String(); strings.Count(got, "upstream away") != 1 || strings.Count(got, "upstream back") != 1 || !strings.Contains(got, "upstream=legacy") {
			t.Errorf("log %s", got)
		}
	})
}

// TestBreakerTrial: one event tries while the others fail at once; it may hang.
func TestBreakerTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		start := time.Now()
		w.post(t.Context(), inARow, -1)
		if took := time.Since(start); took != inARow*4*time.Second {
			t.Errorf("the failures took %v", took)
		}
		if w.Stats().Circuit == Closed {
			t.Fatal("an upstream that hangs does not open the circuit")
		}
		time.Sleep(openFor + time.Millisecond)
		done := make(chan error)
		go func() {
			_, err := w.Post(t.Context(), new(Request))
			done <- err
		}()
		synctest.Wait()
		start = time.Now()
		if n := w.post(t.Context(), 10, -1); n != 0 || time.Since(start) != 0 {
			t.Errorf("beside the trial %d were sent, in %v", n, time.Since(start))
		}
		<-done
		if n := w.post(t.Context(), 1, 200); n != 0 {
			t.Error("sent after a trial that failed")
		}
	})
}

// TestBreakerStaysClosed: what says nothing about the upstream.
func TestBreakerStaysClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		for _, status := range []int{302, 400, 403, 404, 500} {
			if n := w.post(t.Context(), 50, status); n != 50 {
				t.Errorf("status %d: asked %d times of 50", status, n)
			}
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if w.post(hurried, 50, -1); w.Stats().Circuit != Closed {
			t.Error("events without time left opened the circuit")
		}
		for range 30 { // two of five fail
			w.post(t.Context(), 2, 0)
			w.post(t.Context(), 3, 200)
		}
		if s := w.Stats(); s.Circuit != Closed || s.Requests["open"] != 0 {
			t.Errorf("stats %+v", s)
		}
		w = newWard(t)
		for range 5 { // three of five
			w.post(t.Context(), 3, 0)
			w.post(t.Context(), 2, 200)
		}
		if w.Stats().Circuit == Closed {
			t.Error("an upstream that fails more often than not is still asked")
		}
	})
}

// TestBreakerManyAtOnce: what hangs at the same time opens the circuit when its
// time is up, those that wait for a connection included.
func TestBreakerManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		w.sick.set(-1)
		var wg sync.WaitGroup
		start := time.Now()
		for range 1000 {
			wg.Go(func() { _, _ = w.Post(t.Context(), new(Request)) })
		}
		wg.Wait()
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("took %v", took)
		}
		s := w.Stats()
		// A connection that comes free goes to one that waits, whose own time ends
		// in the same instant.
		if w.sick.asked < 64 || w.sick.asked > 64+inARow || s.Circuit == Closed || s.Requests["timeout"]+s.Requests["busy"]+s.Requests["open"] != 1000 {
			t.Errorf("asked %d times, stats %+v", w.sick.asked, s)
		}
	})
}
