package sandbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// newPool gives a pool whose instances are empty and numbered by their order.
func newPool(size int) (*pool, *[]*instance) {
	var started []*instance
	p := &pool{max: size, live: map[*instance]struct{}{}}
	p.start = func(context.Context) (*instance, error) {
		in := &instance{}
		started = append(started, in)
		return in, nil
	}
	return p, &started
}

func mustAcquire(t *testing.T, p *pool) *instance {
	t.Helper()
	in, err := p.acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestPoolOrder: the instance used last is used first, so that those which a
// rush needed are left alone after it.
func TestPoolOrder(t *testing.T) {
	p, started := newPool(3)
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
		p, _ := newPool(1)
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
				in, err := p.acquire(ctx)
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
	p, _ := newPool(1)
	ok := p.start
	no := errors.New("no")
	p.start = func(context.Context) (*instance, error) { return nil, no }
	for range 3 {
		if _, err := p.acquire(context.Background()); !errors.Is(err, no) {
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
			p.acquire(context.Background())
		}()
	}
	p.start = ok
	mustAcquire(t, p)
}

func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPool(1)
		in := mustAcquire(t, p)
		var waiter error
		go func() { _, waiter = p.acquire(context.Background()) }()
		synctest.Wait()
		drained := 0
		p.close(func() { drained++ })
		synctest.Wait()
		if !errors.Is(waiter, ErrClosed) || drained != 0 {
			t.Errorf("the waiter got %v; drained %d times", waiter, drained)
		}
		p.release(in, true)
		if _, err := p.acquire(context.Background()); !errors.Is(err, ErrClosed) || drained != 1 {
			t.Errorf("closed, but acquire gave %v; drained %d times", err, drained)
		}
	})
}

// TestPoolHammer: under many callers that come, give up and break what they
// got, no instance is in two hands and no place is lost.
func TestPoolHammer(t *testing.T) {
	const size = 3
	p := &pool{max: size, live: map[*instance]struct{}{}}
	p.start = func(ctx context.Context) (*instance, error) {
		return &instance{}, ctx.Err()
	}
	var inUse sync.Map
	var busy, served atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 500 {
				ctx, cancel := context.WithCancel(context.Background())
				if (g+i)%3 == 0 {
					go cancel()
				}
				in, err := p.acquire(ctx)
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
	wg.Wait()
	live, idle, waiting := p.count()
	if live != idle || live > size || waiting != 0 || p.held != 0 || served.Load() == 0 {
		t.Errorf("%d live, %d idle, %d waiting, %d held, %d served", live, idle, waiting, p.held, served.Load())
	}
}
