package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// orderWorld has a pipeline with order: user whose plugin needs a second and
// notes the order.
func orderWorld(w *world, needs time.Duration) *journal[string] {
	w.pipe.OrderUser = true
	var order journal[string]
	w.stage("s", &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
		order.add(c.Event.ID)
		select {
		case <-time.After(needs):
		case <-ctx.Done():
		}
		return Result{}, ctx.Err()
	}})
	return &order
}

func userEvent(id, user string) *hostapi.Event {
	ev := event(id)
	ev.User = user
	return ev
}

// Events of a user run one after another, in order of arrival, others beside
// them; the wait counts against answer_within, and over 16 the rest is queued.
func TestOrderUser(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		order := orderWorld(w, time.Second)
		w.up()
		defer w.down()
		const n = 30
		answers := make([]got, n)
		done := make(chan int)
		var want []string
		for i := range n {
			want = append(want, "e"+strconv.Itoa(i))
			go func() {
				a := w.deliverEvent(t.Context(), userEvent("e"+strconv.Itoa(i), "oUser"))
				answers[i] = got{a, time.Since(w.start)}
				done <- i
			}()
			synctest.Wait()
		}
		other := w.deliverEvent(t.Context(), userEvent("x1", "oOther"))
		if at := time.Since(w.start); other.Kind != Success || at != time.Second {
			t.Errorf("another user's: %+v at %v", other, at)
		}
		nobody := w.deliverEvent(t.Context(), userEvent("x2", ""))
		if nobody.Outcome != "success" {
			t.Errorf("nobody's: %+v", nobody)
		}
		for range n {
			<-done
		}
		for i, g := range answers {
			outcome := "success"
			switch {
			case i > 16:
				outcome = "queued"
			case i >= 4:
				outcome = "late"
			}
			if g.answer.Outcome != outcome {
				t.Errorf("event %d: %+v", i, g)
			}
		}
		w.pass(2 * time.Minute)
		got := slices.DeleteFunc(order.all(), func(s string) bool { return s[0] == 'x' })
		if !slices.Equal(got, want) {
			t.Errorf("order %v", got)
		}
		w.store.mustBeEmpty(t)
	})
}

// A user's long backlog is looked at so often a second and not more, and it
// holds up no other user's entry that stands behind it.
func TestOrderBacklog(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const backlog = 3 * busyLooks
		order := orderWorld(w, 100*ms)
		add := func(id, user string) {
			en := entry{pipeline: "main", event: *userEvent(id, user)}
			w.store.entries = append(w.store.entries, &memEntry{Info: store.Info{Key: id, Line: "shop", Value: en.append(nil), Ready: time.Now()}})
		}
		for i := range backlog {
			add(fmt.Sprint("e", i), "oUser")
		}
		add("x", "oOther")
		counted := &countingStore{memStore: w.store}
		w.queue = counted
		w.pipe.Dedupe = 0
		w.up()
		defer w.down()
		w.pass(0)
		if got := order.all(); !slices.Equal(got[:2], []string{"e0", "x"}) {
			t.Errorf("order %v", got)
		}
		w.pass(900 * ms)
		before := counted.released.Load() // each once
		const seconds = 10
		w.pass(seconds * time.Second)
		if n := counted.released.Load() - before; before > backlog || n > seconds*busyLooks || n < (seconds-2)*busyLooks {
			t.Errorf("%d entries are put off at first, then %d in %d s", before, n, seconds)
		}
		if n := len(order.all()); n < 10*seconds {
			t.Errorf("%d runs in %d s", n, seconds)
		}
	})
}

// A user's long backlog is run as fast as its runs go: the entries of its line don't
// come all at one time, when it has places for few.
func TestOrderBacklogGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const backlog, seconds = 3 * busyLooks, 10
		order := orderWorld(w, 10*ms)
		for i := range backlog {
			id := fmt.Sprint("e", i)
			en := entry{pipeline: "main", event: *userEvent(id, "oUser")}
			w.store.entries = append(w.store.entries, &memEntry{Info: store.Info{Key: id, Line: "shop", Value: en.append(nil), Ready: time.Now()}})
		}
		w.pipe.Dedupe = 0
		w.up()
		defer w.down()
		w.pass(2 * time.Second)
		before := len(order.all())
		w.pass(seconds * time.Second)
		if n := len(order.all()) - before; n < 80*seconds {
			t.Errorf("%d runs in %d s", n, seconds)
		}
	})
}

// countingStore counts the entries that are given back.
type countingStore struct {
	*memStore
	released atomic.Int64
}

func (s *countingStore) Release(ctx context.Context, q string, c store.Claim, delay time.Duration) error {
	s.released.Add(1)
	return s.memStore.Release(ctx, q, c, delay)
}

// An event whose deadline passes while it waits for its turn has not run: it is
// run from the queue, as the attempt that it was. Durable runs hold the turn,
// too, and have a deadline of their own.
func TestOrderDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		order := orderWorld(w, 29*time.Second)
		var attempts []uint32
		w.stage("note", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			attempts = append(attempts, c.Event.Attempt)
			return Result{}, nil
		}})
		for _, id := range []string{"d1", "d2"} {
			en := entry{pipeline: "main", event: *userEvent(id, "oUser")}
			en.event.Attempt = 2
			w.store.entries = append(w.store.entries, &memEntry{Info: store.Info{Key: id, Value: en.append(nil), Ready: time.Now()}})
		}
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), time.Second, "e1"); g.answer.Outcome != "late" || g.at != 5500*ms {
			t.Errorf("%+v", g)
		}
		w.pass(5 * time.Minute)
		if !slices.Equal(order.all(), []string{"d1", "d2", "e1"}) || !slices.Equal(attempts, []uint32{2, 2, 1}) {
			t.Errorf("order %v, attempts %v", order.all(), attempts)
		}
		w.store.mustBeEmpty(t)
	})
}

// The line of a user: who leaves it passes nothing on, who holds it does.
func TestUserLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u userLocks
		key := userKey{"a", "u"}
		first, _ := u.take(key, false)
		second, _ := u.take(key, false)
		third, _ := u.take(key, true)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 1)
		go func() { errs <- second.wait(ctx) }()
		synctest.Wait()
		cancel()
		if <-errs == nil {
			t.Error("the second holds the lock")
		}
		first.release()
		if err := third.wait(t.Context()); err != nil {
			t.Error(err)
		}
		// A ticket that got the lock and leaves passes it on.
		fourth, _ := u.take(key, false)
		fifth, _ := u.take(key, false)
		third.release()
		fourth.leave()
		if err := fifth.wait(t.Context()); err != nil {
			t.Error(err)
		}
		for i := range maxWaiting {
			if _, ok := u.take(key, false); !ok {
				t.Errorf("ticket %d refused", i)
			}
		}
		if _, ok := u.take(key, false); ok {
			t.Error("over the bound")
		}
		if _, ok := u.take(key, true); !ok {
			t.Error("a durable run is refused for the others' sake")
		}
	})
}

// Hammer: many users, repeats, failures, hang-ups, a full queue and kills of
// connections, under the race detector.
func TestHammer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OrderUser = true
		var running [20]chan struct{} // by user: one at a time
		for i := range running {
			running[i] = make(chan struct{}, 1)
		}
		w.stage("s", &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
			user, _ := strconv.Atoi(c.Event.User)
			select {
			case running[user] <- struct{}{}:
			default:
				t.Errorf("two events of user %d at once", user)
			}
			defer func() { <-running[user] }()
			n := len(c.Event.Content)
			select {
			case <-time.After(time.Duration(n*n) * 10 * ms):
			case <-ctx.Done():
				return Result{}, ctx.Err()
			}
			switch {
			case n%7 == 3 && c.Event.Attempt < 3:
				return Result{}, reasonError("busy")
			case n%7 == 5:
				return Result{}, reasonError("trap")
			}
			return Result{Reply: textReply(c.Event.ID), ReplySet: true}, nil
		}})
		w.pipe.Stages[0].OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		const events = 400
		done := make(chan struct{})
		answers := make([][3]Answer, events)
		for i := range events {
			ev := userEvent(fmt.Sprintf("e%d", i), strconv.Itoa(i%len(running)))
			ev.Content = fmt.Sprintf("%*d", i%23, 0)
			for j := range 3 {
				go func() {
					defer func() { done <- struct{}{} }()
					time.Sleep(time.Duration(i)*20*ms + time.Duration(j)*time.Duration(i%50)*100*ms)
					ctx := t.Context()
					if (i+j)%11 == 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, time.Second)
						defer cancel()
					}
					answers[i][j] = w.deliverEvent(ctx, ev)
				}()
			}
		}
		for range events * 3 {
			<-done
		}
		for i, as := range answers {
			var reply *hostapi.Reply
			success := false
			for _, a := range as {
				success = success || a.Kind == Success
				if a.Kind == Replied {
					if reply != nil && a.Reply != reply || a.Reply.Text.Content != fmt.Sprintf("e%d", i) {
						t.Errorf("event %d: two replies", i)
					}
					reply = a.Reply
				}
			}
			if success && reply != nil {
				t.Errorf("event %d: success and a reply", i)
			}
		}
		w.pass(2 * time.Hour)
		for _, e := range w.store.list() {
			if !e.Dead {
				t.Errorf("left: %+v", e.Key)
			}
		}
		if len(w.engine.ledger.flight) != 0 {
			t.Errorf("%d in flight", len(w.engine.ledger.flight))
		}
	})
}
