package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWornCalls: an instance leaves after so many calls, and its place goes to
// one that is started.
func TestWornCalls(t *testing.T) {
	p, started := emptyPool(1)
	for i := range maxCalls - 1 {
		if why := p.release(mustAcquire(t, p), true); why != notWorn {
			t.Fatalf("call %d: %v", i, why)
		}
	}
	first := mustAcquire(t, p)
	if why := p.release(first, true); why != wornCalls || why.String() != "calls" {
		t.Errorf("got %q", why)
	}
	if live, idle, _ := p.count(); live != 0 || idle != 0 || p.held != 0 {
		t.Errorf("%d live, %d idle, %d held", live, idle, p.held)
	}
	if in := mustAcquire(t, p); in == first || len(*started) != 2 {
		t.Error("it is used again")
	}
}

// TestWornMemory: an instance leaves when its memory passed three quarters of
// what it could grow by, one that started at its limit never.
func TestWornMemory(t *testing.T) {
	for _, c := range []struct {
		start, limit, stays, goes uint64 // pages
	}{
		{1, 17, 13, 14},
		{0, 16, 12, 13},
		{16, 17, 16, 17},
		{17, 17, 17, 0},
		{1, 1, 1, 0},
	} {
		grow := func(in *instance, pages uint64) {
			if in.linear.Reallocate(pages*pageSize) == nil {
				t.Fatal("refused")
			}
		}
		p := newPool(1, func(context.Context) (*instance, error) {
			m, err := newLinearMemory(c.start*pageSize, c.limit*pageSize)
			if err != nil {
				return nil, err
			}
			in := &instance{linear: m}
			grow(in, c.start)
			return in, nil
		})
		in := mustAcquire(t, p)
		defer in.linear.Free()
		grow(in, c.stays)
		if why := p.release(in, true); why != notWorn {
			t.Errorf("%+v: %v after growing to the mark", c, why)
		}
		if c.goes == 0 {
			continue
		}
		grow(mustAcquire(t, p), c.goes)
		if why := p.release(in, true); why != wornMemory || why.String() != "high-water" {
			t.Errorf("%+v: %q after growing past the mark", c, why)
		}
		if live, idle, _ := p.count(); live != 0 || idle != 0 {
			t.Errorf("%+v: %d live, %d idle", c, live, idle)
		}
	}
}

// TestWornBroken: one that isn't usable leaves for that reason, whatever else it
// is.
func TestWornBroken(t *testing.T) {
	p, _ := emptyPool(1)
	in := mustAcquire(t, p)
	in.wear.calls = maxCalls
	if why := p.release(in, false); why != notWorn {
		t.Errorf("got %q", why)
	}
	if live, _, _ := p.count(); live != 0 {
		t.Errorf("%d live", live)
	}
}

// TestExpire: what was idle for maxIdle leaves, the longest idle first; the one
// used last stays.
func TestExpire(t *testing.T) {
	p, _ := emptyPool(4)
	ps := &pools{shared: p}
	a, b, c, d := mustAcquire(t, p), mustAcquire(t, p), mustAcquire(t, p), mustAcquire(t, p)
	at := time.Now()
	look := func(after time.Duration, want ...*instance) {
		t.Helper()
		at = at.Add(after)
		if got := ps.expire(at); !slices.Equal(got, want) {
			t.Errorf("%d are out, want %d", len(got), len(want))
		}
	}
	look(time.Hour)
	p.release(b, true)
	look(maxIdle) // the first look that finds it idle
	p.release(a, true)
	p.release(c, true)
	look(30 * time.Second)
	look(maxIdle-time.Minute, []*instance{}...)
	look(30*time.Second, b)
	if in := mustAcquire(t, p); in != c {
		t.Error("not the one used last")
	}
	if in := mustAcquire(t, p); in != a {
		t.Error("not the one that is left")
	}
	p.release(a, true) // it was found idle before its call: that counts no more
	p.release(c, true)
	look(maxIdle - time.Second)
	look(maxIdle - time.Second)
	look(time.Second, a)
	look(24 * time.Hour) // c is the last one
	p.release(d, true)   // and now d
	look(0, c)
	look(24 * time.Hour)
	if live, idle, _ := p.count(); live != 1 || idle != 1 || mustAcquire(t, p) != d {
		t.Errorf("%d live, %d idle", live, idle)
	}
}

// TestExpireLines: apps that hold nothing are forgotten, and served again when
// they come back.
func TestExpireLines(t *testing.T) {
	p, _ := emptyPool(2)
	for i := range 50 {
		in, err := p.acquire(t.Context(), fmt.Sprint("app", i))
		if err != nil {
			t.Fatal(err)
		}
		p.release(in, true)
	}
	if len(p.lines) != 50 {
		t.Errorf("%d lines", len(p.lines))
	}
	in := mustAcquire(t, p)
	p.expire(time.Now(), maxIdle, 0)
	if len(p.lines) != 1 || p.lines["shop"].held != 1 {
		t.Errorf("%d lines", len(p.lines))
	}
	p.release(in, true)
	p.expire(time.Now(), maxIdle, 0)
	if len(p.lines) != 1 { // an idle instance's
		t.Errorf("%d lines", len(p.lines))
	}
}

// appPools are pools with IsolationApp.
func appPools(size int) *pools {
	return newPools(IsolationApp, size, func(context.Context) (*instance, error) { return emptyInstance(), nil })
}

// TestPoolsWaited: what calls waited stays counted when an app's pool goes.
func TestPoolsWaited(t *testing.T) {
	p := appPools(1)
	in := acquireFor(t, p, "shop")
	p.apps["shop"].waited.Store(int64(time.Second))
	p.release(in, "shop", false)
	p.expire(time.Now())
	if len(p.apps) != 0 || p.waited() != time.Second {
		t.Errorf("%d pools, %v", len(p.apps), p.waited())
	}
}

func acquireFor(t *testing.T, p *pools, app string) *instance {
	t.Helper()
	in, err := p.acquire(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestPoolsApp: each app has its instances and its places, and gets no other's.
func TestPoolsApp(t *testing.T) {
	p := appPools(2)
	warm := acquireFor(t, p, "")
	p.release(warm, "", true)
	owner := map[*instance]string{}
	for round := range 3 {
		for _, app := range []string{"a", "b", "c"} {
			one, other := acquireFor(t, p, app), acquireFor(t, p, app)
			for _, in := range []*instance{one, other} {
				if was, ok := owner[in]; ok && was != app {
					t.Errorf("app %s got an instance of %s", app, was)
				}
				owner[in] = app
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := p.acquire(ctx, app); !errors.Is(err, context.Canceled) {
				t.Errorf("a third one: %v", err)
			}
			p.release(one, app, true)
			p.release(other, app, round != 1)
		}
	}
	if owner[warm] != "a" || len(owner) != 9 {
		t.Errorf("%d instances; that of the warm-up went to %q", len(owner), owner[warm])
	}
	if live, idle, waiting := p.count(); live != 6 || idle != 6 || waiting != 0 {
		t.Errorf("%d live, %d idle, %d waiting", live, idle, waiting)
	}
}

// TestPoolsAppForgets: an app that nobody has events for any more loses its last
// instance, too, and then its pool.
func TestPoolsAppForgets(t *testing.T) {
	p := appPools(2)
	for _, app := range []string{"a", "b"} {
		one, other := acquireFor(t, p, app), acquireFor(t, p, app)
		p.release(one, app, true)
		p.release(other, app, true)
	}
	busy := acquireFor(t, p, "b")
	at := time.Now()
	look := func(after time.Duration, gone, apps int) {
		t.Helper()
		at = at.Add(after)
		if got := p.expire(at); len(got) != gone || len(p.apps) != apps {
			t.Errorf("%d gone, %d apps left, want %d and %d", len(got), len(p.apps), gone, apps)
		}
	}
	look(0, 0, 2)
	look(maxIdle, 1, 2) // of a; b's idle one is the one to be used next
	look(maxIdleApp-maxIdle, 2, 1)
	if p.apps["a"] != nil {
		t.Error("a is still there")
	}
	p.release(busy, "b", false)
	look(0, 0, 0)
	p.release(acquireFor(t, p, "a"), "a", true) // and it comes back
	look(0, 0, 1)
}

// TestPoolsAppClose: drained runs once, when no app's call holds an instance.
func TestPoolsAppClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := appPools(1)
		a, b := acquireFor(t, p, "a"), acquireFor(t, p, "b")
		p.release(acquireFor(t, p, "c"), "c", true)
		var waiter error
		go func() { _, waiter = p.acquire(t.Context(), "a") }()
		synctest.Wait()
		drained := 0
		p.close(func() { drained++ })
		synctest.Wait()
		if !errors.Is(waiter, ErrClosed) {
			t.Errorf("who waited got %v", waiter)
		}
		for _, app := range []string{"a", "c", "d"} {
			if _, err := p.acquire(t.Context(), app); !errors.Is(err, ErrClosed) {
				t.Errorf("app %s got %v", app, err)
			}
		}
		p.release(a, "a", true)
		if drained != 0 {
			t.Error("drained before the last call's end")
		}
		p.release(b, "b", false)
		if drained != 1 {
			t.Errorf("drained %d times", drained)
		}
		if out := p.expire(time.Now().Add(24 * time.Hour)); out != nil {
			t.Error("closed, and still there is something to close")
		}
	})
	drained := 0
	appPools(1).close(func() { drained++ })
	newPools(IsolationShared, 1, nil).close(func() { drained++ })
	if drained != 2 {
		t.Errorf("without a call: drained %d times", drained)
	}
}

// TestPoolsAppHammer: apps come and go under a janitor that forgets them at
// once; no app has more than its places, and none gets another's instance.
func TestPoolsAppHammer(t *testing.T) {
	const size = 2
	p := newPools(IsolationApp, size, func(ctx context.Context) (*instance, error) {
		if ctx.Err() != nil {
			panic("no start") // recovered below
		}
		return emptyInstance(), nil
	})
	var owner sync.Map
	var callers, janitor sync.WaitGroup
	stop := make(chan struct{})
	janitor.Go(func() {
		now := time.Now()
		for {
			select {
			case <-stop:
				return
			default:
				now = now.Add(time.Hour)
				p.expire(now)
			}
		}
	})
	for g := range 12 {
		callers.Go(func() {
			app := string(rune('a' + g%4))
			for i := range 300 {
				hammerApp(t, p, app, &owner, (g+i)%3 == 0, (g+i)%7 != 0)
			}
		})
	}
	callers.Wait()
	close(stop)
	janitor.Wait()
	live, idle, waiting := p.count()
	if live != idle || waiting != 0 {
		t.Errorf("%d live, %d idle, %d waiting", live, idle, waiting)
	}
	for app, a := range p.apps {
		if a.users != 0 || a.held != 0 || len(a.live) > size {
			t.Errorf("app %s: %d users, %d held, %d live", app, a.users, a.held, len(a.live))
		}
	}
	drained := false
	p.close(func() { drained = true })
	if !drained {
		t.Error("not drained")
	}
}

// hammerApp makes one call of an app.
func hammerApp(t *testing.T, p *pools, app string, owner *sync.Map, giveUp, usable bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer func() {
		if v := recover(); v != nil && v != "no start" {
			panic(v)
		}
	}()
	if giveUp {
		go cancel()
	}
	in, err := p.acquire(ctx, app)
	if err != nil {
		return
	}
	if was, _ := owner.LoadOrStore(in, app); was != app {
		t.Errorf("app %s got an instance of %s", app, was)
	}
	p.release(in, app, usable)
}
