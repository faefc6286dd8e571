package pipeline

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// loginEvent is an event of the host's own.
func loginEvent(id string) *hostapi.Event {
	return &hostapi.Event{
		ID: id, App: "not looked at", Type: "event", Event: "login", From: "oUser", User: "oUser", Origin: "identity", Attempt: 7,
		Attrs: []hostapi.Field{{Name: "not", Value: "looked at"}}, Reply: textReply("nor this"), Fields: []hostapi.Field{{Name: "new_user", Value: "true"}},
	}
}

func (w *world) post(id string) error {
	return w.engine.Post(w.t.Context(), "shop", loginEvent(id))
}

// TestPost: an event that is posted runs from the top, with always, once however
// often it is posted.
func TestPost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var seen journal[Call]
		p := &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			seen.add(*c)
			return Result{Reply: textReply("too late"), ReplySet: true}, nil
		}}
		always := &fake{}
		w.stage("s", p)
		w.always("count", always)
		w.up()
		defer w.down()
		for range 2 {
			if err := w.post("e1"); err != nil {
				t.Fatal(err)
			}
		}
		w.pass(time.Second)
		if err := w.post("e1"); err != nil { // it has ended
			t.Fatal(err)
		}
		w.pass(postKnown - time.Minute)
		if err := w.post("e1"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		calls := seen.all()
		if len(calls) != 1 || always.runs.Load() != 1 {
			t.Fatalf("it ran %d times, always %d times", len(calls), always.runs.Load())
		}
		got := calls[0]
		if ev := got.Event; ev.App != "shop" || ev.ID != "e1" || ev.Event != "login" || ev.Attempt != 1 || ev.Origin != "identity" || len(ev.Fields) != 1 {
			t.Errorf("the plugin got %+v", ev)
		}
		if len(got.Attrs) != 0 || got.Reply != nil {
			t.Errorf("the plugin got annotations %v and reply %v", got.Attrs, got.Reply)
		}
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 1 {
			t.Errorf("%d late replies counted", n)
		}
		w.store.mustBeEmpty(t)
	})
}

// TestPostSurvives: an event that was posted is run by the host that starts after
// a kill.
func TestPostSurvives(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.queue = mortal{w.store, make(chan struct{})}
		p := &fake{}
		p.handle = func(ctx context.Context, _ *Call) (Result, error) {
			if p.runs.Load() > 1 {
				return Result{}, nil
			}
			<-ctx.Done()
			return Result{}, ctx.Err()
		}
		w.stage("s", p)
		w.up()
		if err := w.post("e1"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		bury := w.kill()
		defer bury()
		defer w.down()
		if err := w.post("e1"); err != nil {
			t.Fatal(err)
		}
		w.pass(holdFor + time.Second)
		if p.runs.Load() != 2 {
			t.Errorf("%d runs, want the one that was killed and one more", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// TestPostFails: a stage that fails is tried again from there, as those of other
// durable runs are.
func TestPostFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before, p := &fake{}, &fake{}
		p.handle = func(context.Context, *Call) (Result, error) {
			if p.runs.Load() < 3 {
				return Result{}, reasonError("upstream")
			}
			return Result{}, nil
		}
		w.stage("before", before)
		w.stage("s", p).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		if err := w.post("e1"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if before.runs.Load() != 1 || p.runs.Load() != 3 {
			t.Errorf("%d and %d runs, want 1 and 3", before.runs.Load(), p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// TestPostRefused: what can't be taken is said, and nothing of it is kept.
func TestPostRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.app.Limits.Queue = 2
		slow := takes(time.Hour, "x")
		w.stage("s", slow)
		w.pipe.Deadline = 2 * time.Hour
		w.up()
		defer w.down()
		if err := w.engine.Post(t.Context(), "nowhere", loginEvent("e1")); !errors.Is(err, ErrNoApp) {
			t.Errorf("no app: %v", err)
		}
		for _, id := range []string{"", strings.Repeat("x", store.MaxName/2+1)} {
			if err := w.post(id); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("an id of %d bytes: %v", len(id), err)
			}
		}
		for _, id := range []string{"e1", "e2", "e1"} {
			if err := w.post(id); err != nil {
				t.Error(err)
			}
		}
		if err := w.post("e3"); !errors.Is(err, ErrFull) {
			t.Errorf("over limits.queue: %v", err)
		}
		if n := w.count("weft_overflow_total", "shop", "refused"); n != 1 {
			t.Errorf("%d refusals counted", n)
		}
		w.store.appendErr = errStore
		if err := w.post("e4"); !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "oUser") {
			t.Errorf("the store is away: %v", err)
		}
	})
	unstarted, err := NewEngine(Options{Store: new(memStore), Metrics: newWorld(t).metrics})
	if err != nil {
		t.Fatal(err)
	}
	if err := unstarted.Post(t.Context(), "shop", loginEvent("e1")); !errors.Is(err, ErrNoApp) {
		t.Errorf("before Start: %v", err)
	}
}

// TestPostAwaited: the event of an app that is out of service waits for it, as one of
// so many.
func TestPostAwaited(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{}
		w.stage("s", p)
		w.up()
		defer w.down()
		gone := &Set{apps: map[string]*app{}}
		gone.Await([]string{"shop"}, false)
		whole := w.build()
		w.engine.Swap(gone)
		if err := w.post("e1"); err != nil {
			t.Fatal(err)
		}
		if w.store.quota != 100_000 { // limits.queue of an app that says none
			t.Errorf("it may be one of %d", w.store.quota)
		}
		w.pass(time.Hour)
		if p.runs.Load() != 0 {
			t.Fatal("it ran without its app")
		}
		w.engine.Swap(whole)
		w.pass(time.Second)
		if p.runs.Load() != 1 {
			t.Errorf("%d runs", p.runs.Load())
		}
	})
}

// TestPostOverRedis: of hosts that share a store one runs an event that both post.
func TestPostOverRedis(t *testing.T) {
	node := redistest.Start(t)
	ran := make(chan string, 8)
	plugin := func(host string) *fake {
		return &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			ran <- host + " " + c.Event.ID
			return Result{}, nil
		}}
	}
	a, b := overRedis(t, node.Addr, plugin("a")), overRedis(t, node.Addr, plugin("b"))
	for _, id := range []string{"e1", "e2"} {
		for _, w := range []*world{a, b} {
			if err := w.post(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	var ids []string
	for range 2 {
		ids = append(ids, strings.Fields(<-ran)[1])
	}
	for _, w := range []*world{a, b} {
		if err := w.post("e1"); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		depth, err := a.queue.Depth(t.Context(), queueName)
		if err != nil {
			t.Fatal(err)
		}
		if depth == (store.Depth{}) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the queue has %+v", depth)
		}
	}
	if slices.Sort(ids); !slices.Equal(ids, []string{"e1", "e2"}) || len(ran) != 0 {
		t.Errorf("ran %v, and %d more", ids, len(ran))
	}
}
