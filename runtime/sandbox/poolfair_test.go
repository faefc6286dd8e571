package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPoolNeighbour: one app floods, another has one call after another, and
// each of these waits for one call of the flood at most. Calls take a second
// of the fake clock, or up to one.
func TestPoolNeighbour(t *testing.T) {
	for _, size := range []int{1, 2, 3, 4, 8} {
		for _, even := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d places, even %v", size, even), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { neighbour(t, size, even) })
			})
		}
	}
}

func neighbour(t *testing.T, size int, even bool) {
	p, _ := emptyPool(size)
	ctx, stop := context.WithCancel(context.Background())
	var flood sync.WaitGroup
	for i := range 40 {
		flood.Go(func() {
			random := rand.New(rand.NewPCG(uint64(size), uint64(i)))
			for {
				in, err := p.acquire(ctx, "flood")
				if err != nil {
					return
				}
				took := time.Second
				if !even {
					took = time.Duration(1 + random.Int64N(int64(time.Second)))
				}
				time.Sleep(took)
				p.release(in, true)
			}
		})
	}
	random := rand.New(rand.NewPCG(uint64(size), 99))
	for range 100 {
		time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
		call, cancel := context.WithTimeout(ctx, time.Second+time.Nanosecond)
		in, err := p.acquire(call, "quiet")
		cancel()
		if err != nil {
			t.Error("waited for more than a second")
			break
		}
		time.Sleep(time.Second / 2)
		p.release(in, true)
	}
	stop()
	flood.Wait()
}

// TestPoolHalf: of two apps that flood, the one with long calls gets half of
// the places and no more.
func TestPoolHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 6
		p, _ := emptyPool(size)
		ctx, stop := context.WithCancel(context.Background())
		var all sync.WaitGroup
		var mu sync.Mutex
		held, calls := map[string]int{}, map[string]int{}
		for app, took := range map[string]time.Duration{"long": time.Minute, "short": time.Second} {
			for range 20 {
				all.Go(func() {
					for {
						in, err := p.acquire(ctx, app)
						if err != nil {
							return
						}
						mu.Lock()
						held[app]++
						calls[app]++
						mu.Unlock()
						time.Sleep(took)
						mu.Lock()
						held[app]--
						mu.Unlock()
						p.release(in, true)
					}
				})
			}
		}
		time.Sleep(100*time.Minute + 90*time.Second + time.Millisecond)
		synctest.Wait()
		mu.Lock()
		if held["long"] != size/2 || held["short"] != size/2 {
			t.Errorf("held: %v", held)
		}
		if calls["short"] < 100*60*size/2*9/10 {
			t.Errorf("calls: %v", calls)
		}
		mu.Unlock()
		stop()
		all.Wait()
	})
}

// TestPoolHalfAlone: the half binds while others wait, and no longer: a place
// isn't empty while a call waits.
func TestPoolHalfAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := emptyPool(3)
		got := map[string][]*instance{}
		var mu sync.Mutex
		come := func(app string) {
			go func() {
				in, err := p.acquire(context.Background(), app)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got[app] = append(got[app], in)
			}()
			synctest.Wait()
		}
		leave := func(app string) {
			mu.Lock()
			in := got[app][0]
			got[app] = got[app][1:]
			mu.Unlock()
			p.release(in, true)
			synctest.Wait()
		}
		want := func(text string, a, b, waiting int) {
			t.Helper()
			if _, _, w := p.count(); len(got["a"]) != a || len(got["b"]) != b || w != waiting || p.held != min(3, a+b) {
				t.Fatalf("%s: a has %d, b %d, %d wait, %d held", text, len(got["a"]), len(got["b"]), w, p.held)
			}
		}
		for range 6 {
			come("a")
		}
		want("a is alone", 3, 0, 3)
		come("b")
		come("b")
		come("b")
		leave("a")
		want("b came", 2, 1, 5)
		leave("a")
		want("both have the half that an app may have, and a was served longer ago", 2, 1, 4)
		leave("a")
		want("the same, and b was", 1, 2, 3)
		leave("b")
		want("a was", 2, 1, 2)
		leave("a")
		want("b was", 1, 2, 1)
		for range 3 {
			come("b")
		}
		leave("a")
		want("a had nothing", 1, 2, 3)
		leave("a") // a is gone: b may take more than half
		want("b is alone", 0, 3, 2)
		leave("b")
		leave("b")
		want("b is still alone", 0, 3, 0)
	})
}

// TestPoolGivenUp: a place that comes to a call as that gives up goes to the
// next call of its app, without that to another's, and is free without any.
func TestPoolGivenUp(t *testing.T) {
	p, _ := emptyPool(1)
	in := mustAcquire(t, p)
	var calls []*waiter
	for _, app := range []string{"a", "a", "b"} {
		w := &waiter{place: make(chan *instance, 1)}
		calls = append(calls, w)
		p.enqueue(p.line(app), w)
	}
	p.release(in, true)
	for i, app := range []string{"a", "a", "b"} {
		if len(calls[i].place) != 1 || p.lines[app].held != 1 || in.wear.line != p.lines[app] {
			t.Fatalf("call %d of app %s has no place", i, app)
		}
		p.leave(p.lines[app], calls[i])
	}
	if live, idle, waiting := p.count(); live != 1 || idle != 1 || waiting != 0 || p.held != 0 || len(p.waiting) != 0 {
		t.Errorf("%d live, %d idle, %d waiting, %d held", live, idle, waiting, p.held)
	}
}

// TestPoolStartFailsWaiting: those who wait get the place of a start that failed
// or panicked, one after another.
func TestPoolStartFailsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		begin := make(chan struct{})
		p := newPool(1, func(context.Context) (*instance, error) {
			<-begin
			starts++ // one at a time
			switch starts {
			case 1:
				return nil, errors.New("no")
			case 2:
				panic("no")
			}
			return emptyInstance(), nil
		})
		var mu sync.Mutex
		var order []string
		for i := range 4 {
			go func() {
				in, err := (*instance)(nil), error(nil)
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, fmt.Sprintf("%d %v %v %v", i, in != nil, err, recover()))
					if in != nil {
						p.release(in, true)
					}
				}()
				in, err = p.acquire(context.Background(), "shop")
			}()
			synctest.Wait()
		}
		close(begin)
		synctest.Wait()
		if want := []string{"0 false no <nil>", "1 false <nil> no", "2 true <nil> <nil>", "3 true <nil> <nil>"}; !slices.Equal(order, want) {
			t.Errorf("got %q", order)
		}
		if live, idle, _ := p.count(); live != 1 || idle != 1 || starts != 3 || p.held != 0 {
			t.Errorf("%d live, %d idle, %d starts, %d held", live, idle, starts, p.held)
		}
	})
}

// TestPoolClosedWaiting: close sends the calls of all apps away.
func TestPoolClosedWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := emptyPool(1)
		in := mustAcquire(t, p)
		var mu sync.Mutex
		sent := 0
		for i := range 9 {
			go func() {
				_, err := p.acquire(context.Background(), string(rune('a'+i%3)))
				mu.Lock()
				defer mu.Unlock()
				if err == ErrClosed {
					sent++
				}
			}()
		}
		synctest.Wait()
		drained := false
		p.close(func() { drained = true })
		synctest.Wait()
		if _, _, waiting := p.count(); sent != 9 || waiting != 0 || drained {
			t.Errorf("%d sent away, %d wait, drained %v", sent, waiting, drained)
		}
		p.release(in, true)
		if !drained {
			t.Error("not drained")
		}
	})
}

// model is what the pool should do, written for reading: it looks at every call
// each time.
type model struct {
	size    int
	waiting []modelCall // in the order they came
	held    []modelCall
	served  map[string]int // when an app was given a place last
	turn    int
}

type modelCall struct {
	app string
	id  int
}

func (m *model) holds(app string) int {
	n := 0
	for _, c := range m.held {
		if c.app == app {
			n++
		}
	}
	return n
}

func (m *model) give(c modelCall) {
	m.turn++
	m.served[c.app] = m.turn
	m.held = append(m.held, c)
}

func (m *model) come(c modelCall) {
	if len(m.held) < m.size {
		m.give(c)
		return
	}
	m.waiting = append(m.waiting, c)
}

func (m *model) end(c modelCall) {
	m.held = slices.DeleteFunc(m.held, func(h modelCall) bool { return h == c })
	if len(m.waiting) == 0 {
		return
	}
	half := max(1, m.size/2)
	best := slices.MinFunc(m.waiting, func(a, b modelCall) int { // the first of the least
		overA, overB := max(half-1, m.holds(a.app)), max(half-1, m.holds(b.app))
		if overA != overB {
			return overA - overB
		}
		return m.served[a.app] - m.served[b.app]
	})
	m.giveUp(best)
	m.give(best)
}

func (m *model) giveUp(c modelCall) {
	m.waiting = slices.DeleteFunc(m.waiting, func(w modelCall) bool { return w == c })
}

// TestPoolModel: over random schedules of calls that come, end, break their
// instance, don't start and give up, exactly those have a place whom the model
// gives one.
func TestPoolModel(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) { schedule(t, seed) })
	}
}

func schedule(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	m := &model{size: 1 + random.IntN(5), served: map[string]int{}}
	apps := 1 + random.IntN(6)
	p, _ := emptyPool(m.size)
	var mu sync.Mutex
	got := map[modelCall]*instance{}
	cancels := map[modelCall]context.CancelFunc{}
	for id := range 400 {
		switch n := random.IntN(10); {
		case n < 5 || len(m.held) == 0:
			c := modelCall{string(rune('a' + random.IntN(apps))), id}
			ctx, cancel := context.WithCancel(context.Background())
			cancels[c] = cancel
			go func() {
				in, err := p.acquire(ctx, c.app)
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				got[c] = in
			}()
			m.come(c)
		case n < 9 || len(m.waiting) == 0:
			c := m.held[random.IntN(len(m.held))]
			in := got[c]
			delete(got, c)
			p.release(in, random.IntN(5) > 0)
			cancels[c]()
			m.end(c)
		default:
			c := m.waiting[random.IntN(len(m.waiting))]
			cancels[c]()
			m.giveUp(c)
		}
		synctest.Wait()
		mu.Lock()
		if len(got) != len(m.held) {
			t.Fatalf("seed %d, step %d: %d hold a place, want %d", seed, id, len(got), len(m.held))
		}
		seen := map[*instance]bool{}
		for _, c := range m.held {
			if got[c] == nil || seen[got[c]] {
				t.Fatalf("seed %d, step %d: call %v has no instance of its own", seed, id, c)
			}
			seen[got[c]] = true
		}
		mu.Unlock()
		if _, _, waiting := p.count(); waiting != len(m.waiting) || p.held != len(m.held) {
			t.Fatalf("seed %d, step %d: %d wait and %d are held, want %d and %d", seed, id, waiting, p.held, len(m.waiting), len(m.held))
		}
	}
	p.close(func() {})
	for _, cancel := range cancels {
		cancel()
	}
}
