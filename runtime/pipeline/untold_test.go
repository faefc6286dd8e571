package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// TestTellingLeavesTimeForTheLease: after an outage there may be much to tell, and
// a slow board. The lease is renewed meanwhile: else other hosts would take over
// what runs here.
func TestTellingLeavesTimeForTheLease(t *testing.T) {
	const events = 1000
	var ran journal[string]
	hosts(t, tellsHost(0, &ran), func(t *testing.T, a, _ *host) {
		a.seen.cut(true)
		a.pass(3 * time.Second)
		for i := range events {
			a.deliver(fmt.Sprint("e", i))
		}
		a.seen.slow(10 * ms)
		a.seen.cut(false)
		a.pass(1100 * ms)
		for range 300 {
			a.pass(100 * ms)
			if !a.engine.fleet.trusted() || len(a.seen.keys(leaseKey(a.engine.fleet.host))) == 0 {
				t.Errorf("the lease was not renewed, with %d told", len(a.seen.keys("event/")))
				break
			}
		}
		if n := len(a.seen.keys("event/")); n != events {
			t.Errorf("%d of %d were told", n, events)
		}
	})
}

// TestToldAfterAll: what could not be told once, and was told later by the run
// itself, is not told again as it was.
func TestToldAfterAll(t *testing.T) {
	var ran journal[string]
	hosts(t, tellsHost(0, &ran), func(t *testing.T, a, b *host) {
		f := a.engine.fleet
		answer := Answer{Kind: Replied, Reply: textReply("hello"), Created: 1}
		now := time.Now()
		one := &title{id: "e1", dedupe: time.Minute, turn: make(chan struct{}, 1), record: sharedRecord{
			state: given, kind: Replied, attempt: 1, owner: f.host, first: now, known: now.Add(time.Minute),
		}}
		tell := func() {
			one.turn <- struct{}{}
			defer func() { <-one.turn }()
			one.record.kind = Replied
			f.tell(t.Context(), one, &answer)
		}
		a.seen.cut(true)
		tell()
		a.seen.cut(false)
		tell()
		a.pass(2 * time.Second)
		if n := len(f.untold); n != 0 {
			t.Errorf("%d are left to be told", n)
		}
		if got := said(b.deliver("e1")); got != "hello" {
			t.Errorf("got %q", got)
		}
	})
}

// TestLateIsToldInTime: a slow board doesn't keep a delivery from its answer: WeChat
// hangs up after 5 s.
func TestLateIsToldInTime(t *testing.T) {
	var ran journal[string]
	hosts(t, tellsHost(7*time.Second, &ran), func(t *testing.T, a, b *host) {
		a.seen.slow(800 * ms)
		first := <-a.async(t.Context(), 0, "e1")
		if got := said(first.answer); got != "success" || first.at > 4500*ms+saveGrace {
			t.Errorf("%q after %v", got, first.at)
		}
		a.seen.slow(0)
		a.pass(1500 * ms)
		if s := a.seen.record(t, "e1"); s.state != late {
			t.Errorf("told later: %+v", s)
		}
		if got := <-b.async(t.Context(), first.at+1600*ms, "e1"); said(got.answer) != "success" || got.at > first.at+1700*ms {
			t.Errorf("the repeat: %q after %v", said(got.answer), got.at)
		}
		a.pass(10 * time.Second)
	})
}

// TestLateAtTheLastMoment: what went late when there is no time left to tell of it is
// told later, every time.
func TestLateAtTheLastMoment(t *testing.T) {
	var ran journal[string]
	hosts(t, tellsHost(0, &ran), func(t *testing.T, a, _ *host) {
		const events = 50
		for i := range events {
			id := fmt.Sprint("e", i)
			r := &run{rec: &record{id: id, state: late, dedupe: time.Minute}, decided: true}
			r.rec.run = r
			r.title = &title{id: id, dedupe: time.Minute, turn: make(chan struct{}, 1), record: sharedRecord{owner: a.engine.fleet.host}}
			a.engine.tellLate(r, time.Now())
		}
		a.pass(1100 * ms)
		if n := len(a.seen.keys("event/")); n != events {
			t.Errorf("%d of %d were told", n, events)
		}
	})
}

// TestUntoldAtTheEnd: a host that stops tells what it could not tell before: else the
// next delivery would have the event run again.
func TestUntoldAtTheEnd(t *testing.T) {
	var ran journal[string]
	hosts(t, tellsHost(500*ms, &ran), func(t *testing.T, a, b *host) {
		first := a.async(t.Context(), 0, "e1")
		a.pass(100 * ms)
		a.seen.cut(true)
		if got := <-first; said(got.answer) != "a1" {
			t.Errorf("got %q", said(got.answer))
		}
		a.pass(ms)
		a.seen.cut(false)
		a.down()
		if got := said(b.deliver("e1")); got != "success" {
			t.Errorf("the repeat got %q", got)
		}
		if n := len(ran.all()); n != 1 {
			t.Errorf("it ran %d times", n)
		}
	})
}

// TestUntoldForGood: what a host that stops can't tell is counted, and said.
func TestUntoldForGood(t *testing.T) {
	var ran journal[string]
	hosts(t, tellsHost(0, &ran), func(t *testing.T, a, _ *host) {
		a.seen.cut(true)
		a.deliver("e1")
		a.deliver("e2")
		a.pass(ms)
		a.down()
		if n := a.sharedCount(sharedUntold); n != 2 {
			t.Errorf("%d are counted", n)
		}
		if !strings.Contains(a.logged(), "outcomes not told to other hosts: a repeat of such an event can run once more\" events=2") {
			t.Errorf("logged %s", a.logged())
		}
	})
}

// slowToAck is a store whose first Ack fails.
type slowToAck struct {
	mortal
	asked *atomic.Bool
}

func (s slowToAck) Ack(ctx context.Context, q string, c store.Claim) error {
	if !s.asked.Swap(true) {
		return errStore
	}
	return s.mortal.Ack(ctx, q, c)
}

// TestSharedAgainInTheQueue: an event that goes to the queue just when its stages end
// with again is left there. Taking it out could take it from another host, that has
// run the next delivery and has found it there.
func TestSharedAgainInTheQueue(t *testing.T) {
	var ran journal[string]
	hosts(t, func(w *world, name string) {
		w.store.appendTime = 200 * ms
		w.stage("s", &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
			if ran.add(name); len(ran.all()) > 2 {
				ran.add("done")
				return Result{}, nil
			}
			if name == "a" {
				pause(ctx, 4600*ms)
			}
			return Result{}, reasonError("upstream")
		}}).OnError = &config.OnError{Kind: map[string]config.OnErrorKind{"a": config.Again, "b": config.Queue}[name]}
		if name == "a" {
			w.queue = slowToAck{w.queue.(mortal), new(atomic.Bool)}
		}
	}, func(t *testing.T, a, b *host) {
		first := <-a.async(t.Context(), 0, "e1")
		if got := said(first.answer); got == "again" { // WeChat repeats at once
			if got := said(b.deliver("e1")); got != "success" {
				t.Errorf("the repeat got %q", got)
			}
		}
		a.pass(time.Minute)
		if got := ran.all(); !slices.Contains(got, "done") {
			t.Errorf("it was acknowledged and ran %v", got)
		}
		a.store.mustBeEmpty(t)
	})
}
