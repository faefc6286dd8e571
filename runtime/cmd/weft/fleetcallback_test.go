package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// service is a service of the business that answers each event, and can hold the
// next one until whoever has sent it is gone.
type service struct {
	*httptest.Server

	mu   sync.Mutex
	runs map[string]int // by the content of the event
	last map[string]time.Time
	hold chan string // not nil: the next one is held
}

func newService(t *testing.T) *service {
	s := &service{runs: map[string]int{}, last: map[string]time.Time{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *service) answer(w http.ResponseWriter, r *http.Request) {
	var event struct{ Content string }
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		http.Error(w, "no event", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.runs[event.Content]++
	s.last[event.Content] = time.Now()
	hold := s.hold
	s.hold = nil
	s.mu.Unlock()
	if hold != nil {
		hold <- event.Content
		<-r.Context().Done()
		return
	}
	select { // so that both deliveries are there while it runs
	case <-time.After(50 * time.Millisecond):
	case <-r.Context().Done():
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"text":{"content":%q}}`, "re "+event.Content)
}

// of is how often an event ran, and when the last time.
func (s *service) of(content string) (runs int, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[content], s.last[content]
}

// holdNext has the next event held.
func (s *service) holdNext() <-chan string {
	held := make(chan string, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = held
	return held
}

// newCallbackFleet starts so many hosts that leave all events to a service.
func newCallbackFleet(t *testing.T, hosts int) (*fleet, *service) {
	t.Helper()
	_, store := oneRedis(t)
	s := newService(t)
	f := newFleet(t, hosts, simulator.Rules{}, store,
		"pipeline: { stages: [ { reply: { text: hello } } ] }",
		fmt.Sprintf("upstreams: { service: { url: %q, timeout: 20s, private: [ 127.0.0.0/8 ] } }\npipeline: { deadline: 30s, stages: [ { forward: { to: service, as: json } } ] }", s.URL))
	return f, s
}

// The same callback sent to two hosts at once is run once, and both have the
// answer.
func TestFleetSameCallback(t *testing.T) {
	events := either(40, 400)
	f, s := newCallbackFleet(t, 4)
	for i := range events {
		content := fmt.Sprintf("hello %d", i)
		path, body := f.host(0).callback(fmt.Sprintf("o%d", i%10), fmt.Sprintf("%d", 1000+i), content)
		var both sync.WaitGroup
		for _, place := range []int{i, i + 1 + i/4%3} {
			both.Go(func() {
				said, err := f.host(place).post(path, body)
				if err != nil || said != "re "+content {
					t.Errorf("%s: host %d said %q, %v", content, place%4, said, err)
				}
			})
		}
		both.Wait()
		if runs, _ := s.of(content); runs != 1 {
			t.Errorf("%s ran %d times", content, runs)
		}
	}
	t.Logf("%d callbacks went to two of 4 hosts at once, each was run once", events)
}

// A host is killed in the middle of an event; WeChat sends the callback again, to
// another host, which takes over within 5 s.
func TestFleetTakeOver(t *testing.T) {
	f, s := newCallbackFleet(t, 2)
	var slowest time.Duration
	for i := range either(2, 10) {
		content := fmt.Sprintf("hello %d", i)
		a, b := i%2, 1-i%2
		path, body := f.host(a).callback("o1", fmt.Sprintf("%d", 2000+i), content)
		held := s.holdNext()
		var first sync.WaitGroup
		first.Go(func() {
			if said, err := f.host(a).post(path, body); err == nil {
				t.Errorf("a host that was killed said %q", said)
			}
		})
		select {
		case <-held:
		case <-time.After(10 * time.Second):
			t.Fatal("the event was not run")
		}
		f.host(a).kill()
		killed := time.Now()
		first.Wait()
		said, err := f.host(b).post(path, body)
		runs, again := s.of(content)
		if err != nil || said != "re "+content || runs != 2 {
			t.Errorf("%s: the other host said %q, %v, after %d runs", content, said, err, runs)
		}
		took := again.Sub(killed)
		if slowest = max(slowest, took); took > 5*time.Second {
			t.Errorf("%s: taken over %v after the kill, want 5 s at most", content, took)
		}
		f.start(t, a)
	}
	t.Logf("taken over %v after a kill at most", slowest.Round(time.Millisecond))
}
