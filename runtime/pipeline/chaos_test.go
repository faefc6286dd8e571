package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// chaos makes what is random in a test.
type chaos struct {
	mu   sync.Mutex
	rand *rand.Rand
}

// happens is true once in so many times.
func (c *chaos) happens(once int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rand.IntN(once) == 0
}

func (c *chaos) upTo(d time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.rand.Int64N(int64(d)))
}

// shaky is a store whose calls are slow, and fail now and then, with an effect or
// without.
type shaky struct {
	mortal
	*chaos
}

func (s shaky) Append(ctx context.Context, q string, hold time.Duration, es ...store.Entry) ([]store.Claim, error) {
	time.Sleep(s.upTo(300 * ms))
	if s.happens(8) {
		return nil, errStore
	}
	claims, err := s.mortal.Append(ctx, q, hold, es...)
	if s.happens(8) {
		return nil, errStore
	}
	return claims, err
}

func (s shaky) Extend(ctx context.Context, q string, c store.Claim, hold time.Duration) error {
	if s.happens(8) {
		return errStore
	}
	return s.mortal.Extend(ctx, q, c, hold)
}

func (s shaky) Ack(ctx context.Context, q string, c store.Claim) error {
	if s.happens(8) {
		return errStore
	}
	return s.mortal.Ack(ctx, q, c)
}

func (s shaky) Release(ctx context.Context, q string, c store.Claim, delay time.Duration) error {
	if s.happens(8) {
		return errStore
	}
	return s.mortal.Release(ctx, q, c, delay)
}

// passage notes which stages an event has been through.
type passage struct {
	*chaos
	mu     sync.Mutex
	failed map[string]int
	seen   map[string]map[string]bool // by event
}

// run is a stage for an event: slow now and then, and failing up to three times.
func (d *passage) run(ctx context.Context, stage, event string) error {
	needs := d.upTo(200 * ms)
	if d.happens(5) {
		needs = d.upTo(8 * time.Second)
	}
	select {
	case <-time.After(needs):
	case <-ctx.Done():
		return ctx.Err()
	}
	fails := d.happens(3)
	d.mu.Lock()
	defer d.mu.Unlock()
	if key := event + " " + stage; fails && d.failed[key] < 3 {
		d.failed[key]++
		return reasonError("upstream")
	}
	if d.seen[event] == nil {
		d.seen[event] = map[string]bool{}
	}
	d.seen[event][stage] = true
	return nil
}

func (d *passage) plugin(stage string) *fake {
	return &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
		if err := d.run(ctx, stage, c.Event.ID); err != nil {
			return Result{}, err
		}
		r := Result{Annotations: tag(stage, c.Event.ID)}
		if c.Passive {
			r.Reply, r.ReplySet = textReply(stage), true
		}
		return r, nil
	}}
}

// doneService is an upstream that is a stage.
type doneService struct {
	*passage
	stage string
}

func (s doneService) ForwardRaw(ctx context.Context, ev *hostapi.Event, _ *Callback) (*Verbatim, error) {
	return &Verbatim{Body: []byte("raw")}, s.run(ctx, s.stage, ev.ID)
}

func (s doneService) ForwardJSON(ctx context.Context, c *Call) (*hostapi.Reply, error) {
	return nil, s.run(ctx, s.stage, c.Event.ID)
}

func (s doneService) Read(*hostapi.Event, *Verbatim) (*hostapi.Reply, error) { return nil, nil }

// chaosStages are parallel stages in one another, forwards, async ones, and
// stages before and after; all are to be done of each event. It returns their
// names.
func (w *world) chaosStages(d *passage) []string {
	var names []string
	st := func(name string, kind config.OnErrorKind) *config.Stage {
		names = append(names, name)
		s := w.side(name, d.plugin(name))
		s.OnError = &config.OnError{Kind: kind}
		return s
	}
	up := func(name string, as config.ForwardAs, kind config.OnErrorKind) *config.Stage {
		names = append(names, name)
		w.ups[name] = doneService{d, name}
		return &config.Stage{Name: name, Forward: &config.Forward{To: &config.Upstream{Name: name}, As: as}, OnError: &config.OnError{Kind: kind}}
	}
	inner := &config.Stage{Name: "inner", Parallel: []*config.Stage{st("a", config.Queue), up("b", config.ForwardJSON, config.Queue), later(st("c", config.Queue))}}
	choice := &config.Stage{Name: "choice", Switch: []*config.Branch{{Stages: []*config.Stage{st("d", config.Queue), inner, st("e", config.Again)}}}}
	outer := &config.Stage{Name: "outer", Parallel: []*config.Stage{choice, st("f", config.Queue), up("g", config.ForwardJSON, config.Again), later(up("h", config.ForwardRaw, config.Queue))}}
	w.pipe.Stages = []*config.Stage{st("before", config.Again), outer, st("after", config.Queue), up("last", config.ForwardRaw, config.Queue)}
	w.pipe.Always = []*config.Stage{later(st("count", config.Queue)), {Name: "beside", Parallel: []*config.Stage{later(up("copy", config.ForwardRaw, config.Queue))}}}
	return names
}

// TestChaos: whatever fails, an event that was acknowledged goes through every
// stage, those of branches and the async ones too, and nothing is left; the store
// fails, WeChat repeats and hangs up, and on the way
// the configuration is swapped and the host killed and drained.
func TestChaos(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) { w.chaos(t, seed) })
		})
	}
}

func (w *world) chaos(t *testing.T, seed uint64) {
	c := &chaos{rand: rand.New(rand.NewPCG(seed, 1))}
	d := &passage{chaos: c, failed: map[string]int{}, seen: map[string]map[string]bool{}}
	names := w.chaosStages(d)
	w.pipe.OrderUser = seed%2 == 0
	w.pipe.OnError = config.OnError{Kind: config.Queue}
	dead := make(chan struct{})
	w.queue = shaky{mortal{w.store, dead}, c}
	var serves atomic.Pointer[Engine]
	serves.Store(w.up().engine)
	const events = 30
	acknowledged := make([]bool, events)
	var wg sync.WaitGroup
	for i := range events {
		wg.Go(func() {
			time.Sleep(c.upTo(20 * time.Second))
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				a := serves.Load().Deliver(ctx, Delivery{
					App: "shop", Event: userEvent(fmt.Sprint("e", i), fmt.Sprint("u", i%7)), Timestamp: w.start, MaxSkew: 10 * time.Minute,
					Callback: &Callback{Body: []byte("came")}, Arrived: time.Now(),
				})
				cancel()
				if a.Kind != Again {
					acknowledged[i] = true
					return
				}
				time.Sleep(100 * ms)
			}
		})
	}
	time.Sleep(c.upTo(5 * time.Second))
	swapped := w.engine.Swap(w.build())
	time.Sleep(5*time.Second + c.upTo(10*time.Second))
	close(dead) // the process is killed
	killed := w.engine
	w.queue = shaky{mortal{w.store, make(chan struct{})}, c}
	w.store.loseClaims()
	serves.Store(w.up().engine)
	if err := killed.Close(); err != nil {
		t.Error(err)
	}
	<-swapped
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), c.upTo(3*time.Second)+1)
	_ = w.engine.Drain(ctx) // whether all ended in time doesn't matter
	cancel()
	w.down()
	w.queue = w.store
	w.up()
	defer w.down()
	w.pass(3 * time.Hour)
	synctest.Wait()
	w.store.mustBeEmpty(t)
	for i, ok := range acknowledged {
		if !ok {
			continue
		}
		for _, name := range names {
			if !d.seen[fmt.Sprint("e", i)][name] {
				t.Errorf("event %d was acknowledged and has not been through %s", i, name)
			}
		}
	}
	if n := slices.Index(acknowledged, true); n < 0 {
		t.Error("no event was acknowledged")
	}
}
