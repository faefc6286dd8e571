package pipeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// testCrew is a crew of a ceiling of 64 for apps with these bounds of workers.
func testCrew(bounds map[string]int) *crew {
	c := newCrew(1 << 20)
	c.ceiling = 64
	c.arrange(crewSet(bounds))
	return c
}

func crewSet(bounds map[string]int) *Set {
	set := &Set{apps: map[string]*app{}}
	for name, b := range bounds {
		set.apps[name] = &app{name: name, limits: config.AppLimits{Workers: b}}
	}
	return set
}

// backlog has an app take in hand what it may, again and again, with runs that
// take so long, until ctx ends.
func backlog(ctx context.Context, wg *sync.WaitGroup, c *crew, name string, takes func()) {
	for range c.hold(name, 1000) {
		wg.Go(func() {
			for c.take(ctx, name) == nil {
				takes()
				c.done(name)
			}
			c.letGo(name, 1)
		})
	}
}

// inCrew runs f with a crew that is tended, under a fake clock.
func inCrew(t *testing.T, bounds map[string]int, f func(ctx context.Context, wg *sync.WaitGroup, c *crew)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		c := testCrew(bounds)
		wg.Go(func() { c.tend(ctx) })
		f(ctx, &wg, c)
		cancel()
		wg.Wait()
		if c.busy != 0 || c.held != 0 || len(c.gangs) != 0 {
			t.Errorf("left: %d busy, %d held, %d gangs", c.busy, c.held, len(c.gangs))
		}
	})
}

func (c *crew) seen() (size, busy int) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size, c.busy
}

// The number of workers follows the load: it doubles while entries wait for runs
// that take long, up to what one app may have, and halves in time.
func TestCrewFollowsTheLoad(t *testing.T) {
	inCrew(t, map[string]int{"a": 0, "b": 0}, func(ctx context.Context, wg *sync.WaitGroup, c *crew) {
		say := func(wantSize, wantBusy int) {
			t.Helper()
			if size, busy := c.seen(); size != wantSize || busy != wantBusy {
				t.Errorf("%d workers, %d busy, want %d and %d", size, busy, wantSize, wantBusy)
			}
		}
		hung, over := context.WithTimeout(ctx, time.Minute)
		defer over()
		backlog(hung, wg, c, "a", func() { <-hung.Done() })
		say(minWorkers, minWorkers)
		for _, want := range [][2]int{{4, 4}, {8, 8}, {16, 16}, {32, 32}, {32, 32}} {
			time.Sleep(lookEvery)
			say(want[0], want[1])
		}
		time.Sleep(time.Hour)
		say(32, 0) // nobody has looked since
		for range c.hold("b", 1) {
			if err := c.take(ctx, "b"); err != nil {
				t.Error(err)
			}
			c.done("b")
			c.letGo("b", 1)
		}
		say(minWorkers, 0)
	})
}

// Runs that are short need no more workers than there are.
func TestCrewOfShortRuns(t *testing.T) {
	inCrew(t, map[string]int{"a": 0, "b": 0}, func(ctx context.Context, wg *sync.WaitGroup, c *crew) {
		backlog(ctx, wg, c, "a", func() { time.Sleep(2 * time.Millisecond) })
		time.Sleep(10 * time.Second)
		if size, busy := c.seen(); size != minWorkers || busy != minWorkers {
			t.Errorf("%d workers, %d busy", size, busy)
		}
	})
}

// However many apps hang, the first run of another finds a worker at once.
func TestCrewIsFair(t *testing.T) {
	inCrew(t, map[string]int{"a": 0, "b": 0, "c": 3, "d": 0}, func(ctx context.Context, wg *sync.WaitGroup, c *crew) {
		for i, want := range []int{32, 32 + 16, 32 + 16 + 3} {
			backlog(ctx, wg, c, string('a'+rune(i)), func() { <-ctx.Done() })
			time.Sleep(time.Second)
			if _, busy := c.seen(); busy != want {
				t.Errorf("%d busy with %d apps, want %d", busy, i+1, want)
			}
		}
		if c.hold("d", 1) != 1 {
			t.Fatal("no place in hand")
		}
		begin := time.Now()
		if err := c.take(ctx, "d"); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		c.done("d")
		c.letGo("d", 1)
	})
}

// One that waits and gives up, and one that gives up when it was just given a
// worker, leave none behind; a bound that is raised takes effect at once.
func TestCrewGivesUp(t *testing.T) {
	inCrew(t, map[string]int{"a": 1, "b": 0}, func(ctx context.Context, wg *sync.WaitGroup, c *crew) {
		if c.hold("a", 3) != 3 || c.take(ctx, "a") != nil {
			t.Fatal("no worker")
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if c.take(short, "a") == nil {
			t.Error("a second worker of one")
		}
		got := make(chan error, 1)
		go func() { got <- c.take(ctx, "a") }()
		synctest.Wait()
		c.arrange(crewSet(map[string]int{"a": 2, "b": 0}))
		if err := <-got; err != nil {
			t.Error(err)
		}
		c.done("a")
		c.done("a")
		c.letGo("a", 3)
	})
}

// TestCrewHammer has many apps, short and long runs, and changes of the bounds.
func TestCrewHammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		c := testCrew(map[string]int{"a0": 2})
		wg.Go(func() { c.tend(ctx) })
		var busy atomic.Int64
		for i := range 100 {
			name := fmt.Sprint("a", i)
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					held := c.hold(name, 1+n%5)
					var all sync.WaitGroup
					for j := range held {
						all.Go(func() {
							if c.take(ctx, name) != nil {
								return
							}
							if now := busy.Add(1); now > 64 {
								t.Errorf("%d busy", now)
							}
							time.Sleep(time.Duration((i*n+j)%40) * time.Millisecond)
							busy.Add(-1)
							c.done(name)
						})
					}
					time.Sleep(time.Duration(i%7+1) * time.Millisecond)
					all.Wait()
					if held > 0 {
						c.letGo(name, held)
					}
				}
			})
		}
		for i := range 50 {
			time.Sleep(100 * time.Millisecond)
			c.arrange(crewSet(map[string]int{"a0": i % 3, "a1": 1}))
		}
		wg.Wait()
		if c.busy != 0 || c.held != 0 || len(c.gangs) != 0 {
			t.Errorf("left: %d busy, %d held, %d gangs", c.busy, c.held, len(c.gangs))
		}
	})
}
