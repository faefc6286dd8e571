package pipeline

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// setOf builds a set whose pipeline is the world's with one stage.
func (w *world) setOf(name string, p Plugin) *Set {
	w.pipe.Stages = nil
	w.stage(name, p)
	return w.build()
}

// TestSwap: an event finishes where it began, with its repeats; one that comes
// later walks the new set; records stay.
func TestSwap(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("before", takes(2*time.Second, "before"))
		w.up()
		defer w.down()
		first := w.async(t.Context(), 0, "e1")
		w.pass(time.Second)
		drained := w.engine.Swap(w.setOf("after", takes(0, "after")))
		repeat := w.async(t.Context(), 0, "e1")
		if a := w.deliver("e2"); !isText(a, "after") {
			t.Errorf("an event after the swap: %+v", a)
		}
		select {
		case <-drained:
			t.Error("drained while an event walks the set")
		default:
		}
		for _, ch := range []<-chan got{first, repeat} {
			if a := <-ch; !isText(a.answer, "before") {
				t.Errorf("the event under way: %+v", a)
			}
		}
		synctest.Wait()
		select {
		case <-drained:
		default:
			t.Error("not drained when no event walks the set")
		}
		if a := w.deliver("e1"); !isText(a, "before") || a.Outcome != outcomeRepeat {
			t.Errorf("a repeat after the swap: %+v", a)
		}
		select {
		case <-w.engine.Swap(w.setOf("last", takes(0, "last"))):
		default:
			t.Error("a set that nothing walks is not drained at once")
		}
	})
}

// TestSwapQueued: a durable run that begins after the swap walks the new set.
func TestSwapQueued(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("s", failing("error")).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success {
			t.Fatalf("answered %+v", a)
		}
		after := takes(0, "after")
		w.engine.Swap(w.setOf("s", after))
		w.pass(time.Minute)
		if n := after.runs.Load(); n != 1 {
			t.Errorf("the new set's plugin ran %d times", n)
		}
	})
}

// TestSwapHammer: while sets follow one another each event walks one of them,
// and none walks a set that is drained.
func TestSwapHammer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var over [20]atomic.Bool
		set := func(i int) *Set {
			return w.setOf("s", &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
				if over[i].Load() {
					t.Errorf("an event begins with set %d, which is drained", i)
				}
				<-time.After(time.Millisecond)
				if over[i].Load() {
					t.Errorf("set %d is drained, and an event walks it", i)
				}
				return Result{Reply: textReply(strconv.Itoa(i)), ReplySet: true}, ctx.Err()
			}})
		}
		w.plugins = map[string]Plugin{}
		first := set(0)
		w.up()
		defer w.down()
		w.engine.Swap(first)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if a := w.deliver("e" + strconv.Itoa(g) + "." + strconv.Itoa(i)); a.Kind != Replied {
						t.Errorf("answered %+v", a)
						return
					}
				}
			})
		}
		for i := 1; i < len(over); i++ {
			<-time.After(3 * time.Millisecond)
			drained := w.engine.Swap(set(i))
			wg.Go(func() {
				<-drained
				over[i-1].Store(true)
			})
		}
		close(stop)
		wg.Wait()
	})
}

// TestSwapAwaited: entries of an app that is out of service for the time being wait
// for a set that has it; those of an app that is gone become dead letters.
func TestSwapAwaited(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		after := takes(0, "after")
		w.stage("s", after)
		for i, app := range []string{"closed", "unknown", "shop"} {
			ev := *event("e" + strconv.Itoa(i))
			ev.App = app
			w.leave(ev.ID, entry{event: ev}, store.Info{Line: app})
			ev.ID += ".old"
			w.leave(ev.ID, entry{event: ev}, store.Info{})
		}
		left := func(want string) {
			t.Helper()
			w.pass(2 * awaitedWait)
			got := ""
			for _, e := range w.store.list() {
				got += e.Key + " "
				if e.Dead {
					got += "(" + e.Reason + ") "
				}
			}
			if got != want {
				t.Errorf("left %q, want %q", got, want)
			}
		}
		set := w.build()
		set.Await([]string{"closed"}, true)
		w.up()
		w.engine.Swap(set)
		defer w.down()
		left("e0 e0.old e1 e1.old ")
		set = w.build()
		set.Await([]string{"closed"}, false)
		w.engine.Swap(set)
		left("e0 e0.old e1 (app unknown is no more) e1.old (app unknown is no more) ")
		w.app = &config.App{Name: "closed", Type: config.Official, Pipeline: w.pipe}
		set = w.build()
		set.Await([]string{"shop"}, false)
		w.engine.Swap(set)
		left("e1 (app unknown is no more) e1.old (app unknown is no more) ")
		if n := after.runs.Load(); n != 4 {
			t.Errorf("%d runs", n)
		}
	})
}
