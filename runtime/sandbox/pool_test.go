package sandbox

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// emptyInstance has no guest.
func emptyInstance() *instance {
	return &instance{linear: &linearMemory{limit: 16 * pageSize}}
}

// emptyPool is a pool of empty instances, and those that it started.
func emptyPool(size int) (*pool, *[]*instance) {
	var mu sync.Mutex
	var started []*instance
	return newPool(size, func(context.Context) (*instance, error) {
		in := emptyInstance()
		mu.Lock()
		defer mu.Unlock()
		started = append(started, in)
		return in, nil
	}), &started
}

func mustAcquire(t *testing.T, p *pool) *instance {
	t.Helper()
	in, err := p.acquire(context.Background(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestPoolOrder: the instance used last is used first, so that those which a
// rush needed are left alone after it.
func TestPoolOrder(t *testing.T) {
	p, started := emptyPool(3)
	a, b, c := mustAcquire(t, p), mustAcquire(t, p), mustAcquire(t, p)
	p.release(b, true)
	p.release(a, true)
	p.release(c, true)
	for range 3 {
		in := mustAcquire(t, p)
		if in != c {
			t.Error("not the one used last")
		}
		p.release(in, true)
	}
	p.release(mustAcquire(t, p), false) // c goes
	if in := mustAcquire(t, p); in != a {
		t.Error("not the one used last of those left")
	}
	if live, idle, waiting := p.count(); live != 2 || idle != 1 || waiting != 0 || len(*started) != 3 {
		t.Errorf("%d live, %d idle, %d waiting, %d started", live, idle, waiting, len(*started))
	}
}

// TestPoolWaiting: first come first served, until a waiter's time ends.
func TestPoolWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := emptyPool(1)
		in := mustAcquire(t, p)
		var mu sync.Mutex
		var got []int
		served := func(i int) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, i)
		}
		for i := range 4 {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(10-i*3)*time.Second)
				defer cancel()
				in, err := p.acquire(ctx, "shop")
				if err != nil {
					served(-i)
					return
				}
				served(i)
				p.release(in, i != 0) // the first one breaks it: the next starts another
			}()
			synctest.Wait()
		}
		if _, _, waiting := p.count(); waiting != 4 {
			t.Fatalf("%d waiting", waiting)
		}
		time.Sleep(5 * time.Second) // the last two give up, in the order of their deadlines
		p.release(in, true)
		synctest.Wait()
		if want := []int{-3, -2, 0, 1}; !slices.Equal(got, want) {
			t.Errorf("served %v, want %v", got, want)
		}
		if live, idle, waiting := p.count(); live != 1 || idle != 1 || waiting != 0 || p.held != 0 {
			t.Errorf("%d live, %d idle, %d waiting, %d held", live, idle, waiting, p.held)
		}
	})
}

// TestPoolStartFails: a place whose instance doesn't start, with an error or a
// panic, is free again.
func TestPoolStartFails(t *testing.T) {
	p, _ := emptyPool(1)
	ok := p.start
	no := errors.New("no")
	p.start = func(context.Context) (*instance, error) { return nil, no }
	for range 3 {
		if _, err := p.acquire(context.Background(), "shop"); !errors.Is(err, no) {
			t.Errorf("got %v", err)
		}
	}
	p.start = func(context.Context) (*instance, error) { panic(no) }
	for range 2 {
		func() {
			defer func() {
				if v := recover(); v != no {
					t.Errorf("recovered %v", v)
				}
			}()
			p.acquire(context.Background(), "shop")
		}()
	}
	p.start = ok
	mustAcquire(t, p)
}

func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := emptyPool(1)
		in := mustAcquire(t, p)
		var waiter error
		go func() { _, waiter = p.acquire(context.Background(), "shop") }()
		synctest.Wait()
		drained := 0
		p.close(func() { drained++ })
		synctest.Wait()
		if !errors.Is(waiter, ErrClosed) || drained != 0 {
			t.Errorf("the waiter got %v; drained %d times", waiter, drained)
		}
		p.release(in, true)
		if _, err := p.acquire(context.Background(), "shop"); !errors.Is(err, ErrClosed) || drained != 1 {
			t.Errorf("closed, but acquire gave %v; drained %d times", err, drained)
		}
	})
}

// TestPoolHammer: under many callers of several apps that come, give up and
// break what they got, while somebody looks for idle instances, no instance is
// in two hands and no place is lost.
func TestPoolHammer(t *testing.T) {
	const size = 3
	p := newPool(size, func(ctx context.Context) (*instance, error) { return emptyInstance(), ctx.Err() })
	var inUse sync.Map
	var busy, served, expired atomic.Int64
	var callers, janitor sync.WaitGroup
	stop := make(chan struct{})
	janitor.Go(func() {
		now := time.Now()
		for {
			select {
			case <-stop:
				return
			default:
			}
			now = now.Add(time.Minute)
			for _, in := range p.expire(now, maxIdle, 2*maxIdle) {
				if _, there := inUse.Load(in); there {
					t.Error("an instance in use was taken out")
				}
				expired.Add(1)
			}
			runtime.Gosched()
		}
	})
	for g := range 16 {
		callers.Go(func() {
			app := string(rune('a' + g%5))
			for i := range 500 {
				ctx, cancel := context.WithCancel(context.Background())
				if (g+i)%3 == 0 {
					go cancel()
				}
				in, err := p.acquire(ctx, app)
				if err != nil {
					cancel()
					continue
				}
				if _, twice := inUse.LoadOrStore(in, true); twice || busy.Add(1) > size {
					t.Error("an instance too many, or in two hands")
				}
				served.Add(1)
				busy.Add(-1)
				inUse.Delete(in)
				p.release(in, (g+i)%7 != 0)
				cancel()
			}
		})
	}
	callers.Wait()
	close(stop)
	janitor.Wait()
	live, idle, waiting := p.count()
	if live != idle || live > size || waiting != 0 || p.held != 0 || served.Load() == 0 {
		t.Errorf("%d live, %d idle, %d waiting, %d held, %d served", live, idle, waiting, p.held, served.Load())
	}
	p.dropLines()
	for _, l := range p.lines {
		if l.held != 0 || l.calls.len != 0 {
			t.Errorf("line %s: %d held, %d waiting", l.app, l.held, l.calls.len)
		}
	}
	if len(p.lines) > idle {
		t.Errorf("%d lines for %d idle instances", len(p.lines), idle)
	}
}

func BenchmarkPool(b *testing.B) {
	for _, isolation := range []Isolation{IsolationShared, IsolationApp} {
		start := func(context.Context) (*instance, error) { return emptyInstance(), nil }
		call := func(b *testing.B, p *pools) {
			in, err := p.acquire(context.Background(), "shop")
			if err != nil {
				b.Error(err)
				return
			}
			p.release(in, "shop", true)
		}
		b.Run(isolation.String(), func(b *testing.B) {
			p := newPools(isolation, 4, start)
			b.ReportAllocs()
			for b.Loop() {
				call(b, p)
			}
		})
		b.Run(isolation.String()+" parallel", func(b *testing.B) {
			p := newPools(isolation, 4, start)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call(b, p)
				}
			})
		})
	}
}
