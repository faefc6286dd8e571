package pipeline

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// weather cuts a host off from the board, or makes it slow, or loses its answers or
// what stands there, now and then, until ctx ends.
func (h *host) weather(ctx context.Context, c *chaos) {
	for pause(ctx, c.upTo(5*time.Second)) && !h.isDead() {
		switch {
		case c.happens(2):
			h.seen.cut(true)
			pause(ctx, c.upTo(7*time.Second))
			h.seen.cut(h.isDead())
		case c.happens(2):
			h.seen.slow(c.upTo(1200 * ms))
			pause(ctx, c.upTo(4*time.Second))
			h.seen.slow(0)
		case c.happens(2):
			h.seen.forget(c)
		default:
			h.seen.loses(func(string, string) bool { return c.happens(4) })
			pause(ctx, c.upTo(4*time.Second))
			h.seen.loses(nil)
		}
	}
}

func (s *seen) loses(f func(call, key string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = f
}

// forget loses some of what stands on the board, as a failover does.
func (b *memBoard) forget(c *chaos) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(b.values)) {
		if c.happens(2) {
			delete(b.values, key)
		}
	}
}

// isDead tells whether the host was killed: what it says then nobody hears.
func (h *host) isDead() bool {
	select {
	case <-h.dead:
		return true
	default:
		return false
	}
}

// TestSharedChaos: hosts share their records over a board that is away, slow, or
// loses answers; one is killed, one drained. Each delivery has its answer in time,
// and an event that was acknowledged goes through every stage.
func TestSharedChaos(t *testing.T) {
	seeds := uint64(4)
	if os.Getenv("WEFT_BARS") != "" {
		seeds = 200
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { sharedChaos(t, seed) })
		})
	}
}

// town is the hosts of a chaos.
type town struct {
	*chaos
	d     *passage
	store *memStore
	board *memBoard
	names []string // of the stages

	mu    sync.Mutex
	hosts []*host
}

// open starts a host in the place of another.
func (w *town) open(t *testing.T, place int) {
	h := newHost(t, w.store, w.board)
	w.names = h.chaosStages(w.d)
	h.pipe.OnError = config.OnError{Kind: config.Queue}
	h.queue = shaky{mortal{w.store, h.dead}, w.chaos}
	h.up()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[place] = h
}

func (w *town) at(place int) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[place%len(w.hosts)]
}

// send delivers an event up to three times, wherever; true: it was acknowledged.
func (w *town) send(t *testing.T, i int, signed time.Time) bool {
	for range 3 {
		h := w.at(int(w.upTo(100)))
		arrived := time.Now()
		a := h.engine.Deliver(t.Context(), Delivery{
			App: "shop", Event: userEvent(fmt.Sprint("e", i), fmt.Sprint("u", i%7)), Timestamp: signed, MaxSkew: 10 * time.Minute,
			Callback: &Callback{Body: []byte("came")}, Arrived: arrived,
		})
		if took := time.Since(arrived); took > 4500*ms+saveGrace {
			t.Errorf("event %d was answered after %v", i, took)
		}
		if a.Kind != Again && !h.isDead() {
			return true
		}
		time.Sleep(100 * ms)
	}
	return false
}

func sharedChaos(t *testing.T, seed uint64) {
	const events, hosts = 40, 3
	c := &chaos{rand: rand.New(rand.NewPCG(seed, 2))}
	w := &town{
		chaos: c, d: &passage{chaos: c, failed: map[string]int{}, seen: map[string]map[string]bool{}},
		store: new(memStore), board: new(memBoard), hosts: make([]*host, hosts),
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var skies, all sync.WaitGroup
	for place := range hosts {
		w.open(t, place)
		h := w.at(place)
		skies.Go(func() { h.weather(ctx, c) })
	}
	start := time.Now()
	acknowledged := make([]bool, events)
	for i := range events {
		all.Go(func() {
			time.Sleep(c.upTo(25 * time.Second))
			for range 1 + c.upTo(2) { // at times WeChat sends it to two hosts at once
				all.Go(func() {
					if w.send(t, i, start) {
						w.mu.Lock()
						acknowledged[i] = true
						w.mu.Unlock()
					}
				})
			}
		})
	}
	time.Sleep(5*time.Second + c.upTo(10*time.Second))
	killed, drained := w.at(0), w.at(1)
	killed.kill()
	w.open(t, 0)
	time.Sleep(c.upTo(10 * time.Second))
	w.open(t, 1)
	drain, cancel := context.WithTimeout(t.Context(), c.upTo(3*time.Second)+1)
	_ = drained.engine.Drain(drain) // whether all ended in time doesn't matter
	cancel()
	drained.down()
	all.Wait()
	stop()
	skies.Wait()
	for place := range hosts {
		w.at(place).seen.cut(false)
	}
	w.at(2).pass(3 * time.Hour)
	killed.down()
	for place := range hosts {
		w.at(place).down()
	}
	w.store.mustBeEmpty(t)
	for i, ok := range acknowledged {
		for _, name := range w.names {
			if ok && !w.d.seen[fmt.Sprint("e", i)][name] {
				t.Errorf("event %d was acknowledged and has not been through %s", i, name)
			}
		}
	}
	if !slices.Contains(acknowledged, true) {
		t.Error("no event was acknowledged")
	}
}
