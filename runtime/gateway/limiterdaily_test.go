package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
)

// counters is a store of counters that hosts share, which may be away.
type counters struct {
	mu     sync.Mutex
	counts map[string]int64
	asked  int
	away   bool
}

func newCounters() *counters { return &counters{counts: make(map[string]int64)} }

func (s *counters) Apply(_ context.Context, op store.Op) (store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if op.Kind != store.Add || op.TTL <= 0 || op.TTL > 25*time.Hour || op.Bucket != dailyBucket {
		return store.Result{}, errors.New("another change than it should be")
	}
	if s.away {
		return store.Result{}, store.ErrUnavailable
	}
	s.counts[op.Key] += op.Delta
	return store.Result{Applied: true, Number: s.counts[op.Key]}, nil
}

func (s *counters) set(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// total is what the store has counted.
func (s *counters) total() (sum int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.counts {
		sum += n
	}
	return sum
}

// fleet is some hosts with one store.
type fleet struct {
	hosts []*Limiter
	stop  context.CancelFunc
	done  sync.WaitGroup
	log   *bytes.Buffer
}

func newFleet(t *testing.T, hosts int, s CountStore, daily int64) *fleet {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fleet{stop: cancel, log: new(bytes.Buffer)}
	log := slog.New(slog.NewTextHandler(f.log, nil))
	for range hosts {
		l := NewLimiter(LimiterOptions{Store: s, Logger: log})
		l.Set(map[string][]EndpointLimit{"shop": {limitOf("/a", Rate{}, daily)}})
		f.hosts = append(f.hosts, l)
		f.done.Go(func() { l.Run(ctx) })
	}
	t.Cleanup(f.end)
	return f
}

func (f *fleet) end() {
	f.stop()
	f.done.Wait()
}

// take has each host take n in turn, the keepers between.
func (f *fleet) take(n int) (taken int) {
	for range n {
		for _, l := range f.hosts {
			if l.Take("shop", "GET", "/a") == nil {
				taken++
			}
		}
		synctest.Wait()
	}
	return taken
}

// TestDailyShared: hosts together make as many calls as the limit says, and ask
// the store for few of them.
func TestDailyShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCounters()
		f := newFleet(t, 8, s, 90_000)
		synctest.Wait()
		taken := f.take(15_000)
		if taken > 90_000+8 || taken < 90_000-400 {
			t.Errorf("%d of 90000 were made", taken)
		}
		if s.asked > 5000 {
			t.Errorf("the store was asked %d times", s.asked)
		}
		t.Logf("%d of 90000 calls, the store was asked %d times", taken, s.asked)
		err := f.hosts[0].Take("shop", "GET", "/a")
		var e *LimitError
		if !errors.As(err, &e) || e.Limit != "90000 a day" || e.Wait <= 0 || e.Wait > 24*time.Hour {
			t.Errorf("got %v", err)
		}
	})
}

// TestDailyUneven: one busy host gets what the idle ones leave.
func TestDailyUneven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCounters()
		f := newFleet(t, 8, s, 10_000)
		synctest.Wait()
		taken := 0
		for range 12_000 {
			if f.hosts[3].Take("shop", "GET", "/a") == nil {
				taken++
			}
			synctest.Wait()
		}
		if taken > 10_000 || taken < 10_000-8*50 {
			t.Errorf("%d of 10000", taken)
		}
		f.end() // what the others hold is given back
		if total := s.total(); total != int64(taken) {
			t.Errorf("%d calls, the store counts %d", taken, total)
		}
	})
}

// TestDailyMidnight: China's midnight begins a new count.
func TestDailyMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCounters()
		f := newFleet(t, 1, s, 100)
		time.Sleep(time.Until(time.Date(2000, 1, 5, 15, 59, 59, 0, time.UTC)))
		if n := f.take(200); n != 100 {
			t.Fatalf("the first day: %d", n)
		}
		var e *LimitError
		if err := f.hosts[0].Take("shop", "GET", "/a"); !errors.As(err, &e) || e.Wait != time.Second {
			t.Errorf("got %v", err)
		}
		time.Sleep(999 * time.Millisecond)
		if n := f.take(1); n != 0 {
			t.Error("a call before midnight")
		}
		time.Sleep(time.Millisecond)
		if n := f.take(200); n != 100 {
			t.Errorf("the second day: %d", n)
		}
		if s.counts["shop/10961//a"] != 100 || s.counts["shop/10962//a"] != 100 {
			t.Errorf("the store counts %v", s.counts)
		}
	})
}

// TestDailyStoreAway: hosts count on alone from what they last knew, and what they
// counted is in the store when it is back.
func TestDailyStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCounters()
		f := newFleet(t, 2, s, 1000)
		synctest.Wait()
		before := f.take(200) // 400 in all
		s.set(true)
		during := f.take(100) // 600 in all
		if before != 400 || during != 200 {
			t.Fatalf("%d, then %d went through", before, during)
		}
		time.Sleep(10 * time.Second)
		if n := strings.Count(f.log.String(), "daily limits are this host's own"); n != 2 {
			t.Errorf("two hosts said it %d times:\n%s", n, f.log)
		}
		s.set(false)
		time.Sleep(dailyRetry)
		synctest.Wait()
		if n := strings.Count(f.log.String(), "those of all hosts again"); n != 2 {
			t.Errorf("two hosts said %d times that it is back:\n%s", n, f.log)
		}
		if total := s.total(); total < 600 || total > 620 {
			t.Errorf("the store counts %d of 600", total)
		}
		if after := f.take(1000); after > 400 || after < 380 {
			t.Errorf("%d of 400 that are left went through", after)
		}
	})
}

// TestDailyStoreAwayAllDay: a host alone goes up to the limit, not beyond.
func TestDailyStoreAwayAllDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCounters()
		s.set(true)
		f := newFleet(t, 1, s, 300)
		if n := f.take(1000); n != 300 {
			t.Errorf("%d of 300", n)
		}
		if s.asked > 10 {
			t.Errorf("a store that is away was asked %d times for 1000 calls", s.asked)
		}
		s.set(false)
		f.end()
		if s.total() != 300 {
			t.Errorf("the store counts %d", s.total())
		}
	})
}

// TestDailyRestart: a host that comes again goes on where all were.
func TestDailyRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCounters()
		first := newFleet(t, 1, s, 500)
		synctest.Wait()
		n := first.take(200)
		first.end()
		second := newFleet(t, 1, s, 500)
		synctest.Wait()
		if n += second.take(1000); n != 500 {
			t.Errorf("%d of 500", n)
		}
	})
}

// TestDailyBolt: the counts are in a real store, and end with the day.
func TestDailyBolt(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	taken, wait := make([]int, 2), sync.WaitGroup{}
	for i := range taken {
		l := NewLimiter(LimiterOptions{Store: s, Now: func() time.Time { return now }})
		l.Set(map[string][]EndpointLimit{"shop": {limitOf("/a", Rate{}, 2000)}})
		ctx, cancel := context.WithCancel(t.Context())
		var keeper sync.WaitGroup
		keeper.Go(func() { l.Run(ctx) })
		wait.Go(func() {
			for range 1200 {
				if l.Take("shop", "GET", "/a") == nil {
					taken[i]++
				}
			}
			cancel()
			keeper.Wait()
		})
	}
	wait.Wait()
	if sum := taken[0] + taken[1]; sum < 2000 { // they call faster than the disk can tell them
		t.Errorf("%d of 2000", sum)
	}
	key := fmt.Sprintf("shop/%d//a", dayOf(now))
	text, err := s.Get(t.Context(), dailyBucket, key)
	if err != nil || string(text) != fmt.Sprint(taken[0]+taken[1]) {
		t.Errorf("%v calls, the store has %s, %v", taken, text, err)
	}
	now = now.Add(6 * time.Hour)
	if _, err := s.Get(t.Context(), dailyBucket, key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the day: %v", err)
	}
}

// slowCounters is a store that takes its time.
type slowCounters struct{}

func (slowCounters) Apply(ctx context.Context, _ store.Op) (store.Result, error) {
	select {
	case <-time.After(time.Second):
		return store.Result{Applied: true, Number: 1}, nil
	case <-ctx.Done():
		return store.Result{}, ctx.Err()
	}
}

// TestDailyStop: however many limits there are, a slow store doesn't hold the stop
// up for longer than Run says.
func TestDailyStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Store: slowCounters{}})
		var limits []EndpointLimit
		for i := range 60 {
			limits = append(limits, limitOf(fmt.Sprintf("/a%d", i), Rate{}, 1000))
		}
		l.Set(map[string][]EndpointLimit{"shop": limits})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.Run(ctx)
		}()
		time.Sleep(1500 * time.Millisecond) // it is at the second one
		stop := time.Now()
		cancel()
		if <-ended; time.Since(stop) > 4*time.Second {
			t.Errorf("the stop took %v", time.Since(stop))
		}
	})
}

func TestDayEnd(t *testing.T) {
	for in, want := range map[string]string{
		"2026-03-01T15:59:59Z": "2026-03-01T16:00:00Z", "2026-03-01T16:00:00Z": "2026-03-02T16:00:00Z", "1970-01-01T00:00:00Z": "1970-01-01T16:00:00Z",
	} {
		at, err := time.Parse(time.RFC3339, in)
		if err != nil {
			t.Fatal(err)
		}
		if got := dayEnd(at).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
