package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
)

// leave puts an entry into the queue of an event as it would be left by another process.
func (w *world) leave(key string, en entry, info store.Info) {
	if en.event.ID == "" {
		en.event = *event(key)
	}
	if en.pipeline == "" {
		en.pipeline = "main"
	}
	info.Key, info.Value, info.Appended = key, en.append(nil), time.Now()
	if !info.Dead && info.Ready.IsZero() {
		info.Ready = time.Now()
	}
	w.store.entries = append(w.store.entries, &memEntry{Info: info})
}

// page reads a page that must be there.
func (w *world) page(f QueueFilter, after uint64, limit int) QueuePage {
	w.t.Helper()
	p, err := w.engine.Queue(w.t.Context(), f, after, limit)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// TestQueueEntries shows entries of each kind, in each state, and nothing of the
// user.
func TestQueueEntries(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		slow := takes(time.Minute, "x")
		w.pipe.Deadline = 5 * time.Minute
		w.stage("slow", slow)
		ev := *event("e1")
		ev.Type, ev.Event, ev.Attempt = "event", "CLICK", 3
		ev.Attrs = []hostapi.Field{{Name: "phone", Value: "oSecretPhone"}}
		w.leave("e1", entry{event: ev, at: place{stage: "slow"}}, store.Info{Dead: true, Reason: "stage slow failed for an hour: trap", Tries: 19})
		ev = *event("e2")
		ev.Event = strings.Repeat("长", 100)
		w.leave("e2/count", entry{event: ev, alone: true, at: place{stage: "count"}}, store.Info{Ready: time.Now().Add(time.Hour), Tries: 2})
		w.leave("e3", entry{at: place{stage: "fan", parts: []part{
			{end: done, reply: textReply("oSecretReply")},
			{end: queued, at: place{stage: "score"}},
			{end: queued, at: place{stage: "inner", parts: []part{{end: queued, at: place{stage: "deep"}}}}},
		}}}, store.Info{Ready: time.Now().Add(time.Hour)})
		w.leave("e4", entry{}, store.Info{})
		w.leave("e5", entry{}, store.Info{Dead: true})
		w.store.entries[4].Value = []byte{9}
		w.up()
		defer w.down()
		synctest.Wait() // e4 is being run
		now := time.Now()
		want := []QueueEntry{
			{Key: "e1", State: QueueDead, App: "shop", Pipeline: "main", Stages: []string{"slow"}, Type: "event", Event: "CLICK", Attempt: 3, Tries: 19, Appended: now, Reason: "stage slow failed for an hour: trap"},
			{Key: "e2/count", State: QueueDelayed, App: "shop", Pipeline: "main", Stages: []string{"count"}, Async: true, Type: "text", Event: strings.Repeat("长", 42), Tries: 2, Appended: now, Next: now.Add(time.Hour)},
			{Key: "e3", State: QueueDelayed, App: "shop", Pipeline: "main", Stages: []string{"score", "deep"}, Type: "text", Appended: now, Next: now.Add(time.Hour)},
			{Key: "e4", State: QueueClaimed, App: "shop", Pipeline: "main", Type: "text", Appended: now, Next: now.Add(holdFor)},
			{Key: "e5", State: QueueDead, Appended: now, Reason: "entry of the durable queue is malformed: its version is not 2"},
		}
		got := w.page(QueueFilter{}, 0, 100)
		for i := range want {
			if i >= len(got.Entries) || dump(got.Entries[i]) != dump(want[i]) {
				t.Errorf("entry %d of %+v, want %+v", i, got.Entries, want[i])
			}
		}
		if len(got.Entries) != len(want) || got.Next != 0 {
			t.Errorf("%d entries, next %d", len(got.Entries), got.Next)
		}
		if text := fmt.Sprintf("%+v", got); strings.Contains(text, "oUser") || strings.Contains(text, "oSecret") || strings.Contains(text, "hi") {
			t.Errorf("says too much: %s", text)
		}
		for f, keys := range map[QueueFilter]string{
			{State: QueueDead}:               "e1 e5",
			{State: QueueReady}:              "",
			{State: QueueClaimed}:            "e4",
			{App: "shop"}:                    "e1 e2/count e3 e4",
			{App: "other"}:                   "",
			{Pipeline: "main", Stage: "fan"}: "e3",
			{Stage: "deep"}:                  "e3",
			{Stage: "slow", State: "dead"}:   "e1",
			{Pipeline: "other"}:              "",
		} {
			var found []string
			for _, en := range w.page(f, 0, 100).Entries {
				found = append(found, en.Key)
			}
			if strings.Join(found, " ") != keys {
				t.Errorf("%+v: %q, want %q", f, found, keys)
			}
		}
	})
}

// TestQueuePages reads and changes a queue in parts.
func TestQueuePages(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("s", &fake{})
		const n = 2*maxScan + 10
		for i := range n {
			ev := *event(fmt.Sprintf("e%05d", i))
			if ev.App = "gone"; i%10_000 == 5 {
				ev.App = "shop"
			}
			w.leave(ev.ID, entry{event: ev}, store.Info{Dead: true, Reason: "why"})
		}
		w.up()
		defer w.down()
		var found []string
		pages := 0
		for next, first := uint64(0), true; first || next != 0; first = false {
			page := w.page(QueueFilter{App: "shop"}, next, 1)
			for _, en := range page.Entries {
				found = append(found, en.Key)
			}
			if pages++; len(page.Entries) > 1 || page.Next != 0 && page.Next <= next || pages > 10 {
				t.Fatalf("page %d after %d: %d entries, next %d", pages, next, len(page.Entries), page.Next)
			}
			next = page.Next
		}
		if !slices.Equal(found, []string{"e00005", "e10005", "e20005"}) || pages < 4 {
			t.Errorf("%q in %d pages", found, pages)
		}
		if page := w.page(QueueFilter{}, 0, n); len(page.Entries) != MaxQueuePage || page.Next != MaxQueuePage {
			t.Errorf("%d entries, next %d", len(page.Entries), page.Next)
		}
		if page := w.page(QueueFilter{}, n-3, 3); len(page.Entries) != 3 || page.Next != 0 {
			t.Errorf("at the end: %d entries, next %d", len(page.Entries), page.Next)
		}
		changed, next := 0, uint64(n-2*MaxQueuePage-5)
		for range 3 {
			change, err := w.engine.ChangeQueueAll(t.Context(), QueueDrop, QueueFilter{App: "gone", State: QueueReady}, next)
			if err != nil || change.Changed > MaxQueuePage || len(change.Missing) > 0 {
				t.Fatalf("%+v, %v", change, err)
			}
			changed, next = changed+change.Changed, change.Next
		}
		if changed != 2*MaxQueuePage+4 || next != 0 || len(w.store.list()) != n-changed {
			t.Errorf("%d dropped, next %d, %d left", changed, next, len(w.store.list()))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.engine.Queue(ctx, QueueFilter{}, 0, 10); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
	})
}

// TestQueueRetry has dead entries run at once, as if they had not been tried; a
// repeat of their event gets success and runs nothing, before and after.
func TestQueueRetry(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		broken := true
		p := &fake{handle: func(context.Context, *Call) (Result, error) {
			if broken {
				return Result{}, reasonError("trap")
			}
			return Result{}, nil
		}}
		w.stage("s", p)
		var attempts []uint32
		w.always("count", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			attempts = append(attempts, c.Event.Attempt)
			return Result{}, nil
		}}).Async = true
		for _, id := range []string{"e1", "e2"} {
			w.leave(id, entry{known: time.Now().Add(3 * time.Hour), at: place{stage: "s"}}, store.Info{Dead: true, Tries: 19})
		}
		w.leave("e3/count", entry{event: *event("e3"), known: time.Now().Add(3 * time.Hour), alone: true, at: place{stage: "count"}}, store.Info{Dead: true, Tries: 19})
		w.pipe.Stages[0].OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		synctest.Wait()
		repeat := func(ids ...string) {
			t.Helper()
			for _, id := range ids {
				if a := w.deliver(id); a.Kind != Success || a.Outcome != outcomeRepeat {
					t.Errorf("repeat of %s: %+v", id, a)
				}
			}
		}
		repeat("e1", "e2", "e3")
		change, err := w.engine.ChangeQueue(t.Context(), QueueRetry, []string{"e1", "e3/count", "nowhere"})
		if err != nil || change.Changed != 2 || !slices.Equal(change.Missing, []string{"nowhere"}) || change.Next != 0 {
			t.Errorf("%+v, %v", change, err)
		}
		synctest.Wait() // no time passes
		if p.runs.Load() != 1 || len(attempts) != 1 {
			t.Errorf("%d and %d runs at once", p.runs.Load(), len(attempts))
		}
		repeat("e1", "e3")
		// It fails again, and is given up after another hour of tries.
		w.pass(90 * time.Minute)
		if runs := p.runs.Load(); runs != maxTries {
			t.Errorf("%d tries after a retry", runs)
		}
		broken = false
		change, err = w.engine.ChangeQueueAll(t.Context(), QueueRetry, QueueFilter{App: "shop"}, 0)
		if err != nil || change.Changed != 2 || change.Next != 0 {
			t.Errorf("%+v, %v", change, err)
		}
		synctest.Wait()
		repeat("e1", "e2")
		if runs := p.runs.Load(); runs != maxTries+2 {
			t.Errorf("%d tries in all", runs)
		}
		w.store.mustBeEmpty(t)
		if log := w.logged(); strings.Count(log, QueueRetry.done()) != 2 {
			t.Error(log)
		}
	})
}

// TestQueueDrop removes dead entries for good, and none that lives; a repeat of
// the event gets success and runs nothing.
func TestQueueDrop(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(time.Minute, "x")
		w.pipe.Deadline = 5 * time.Minute
		w.stage("s", p)
		known := time.Now().Add(time.Hour)
		w.leave("dead", entry{known: known}, store.Info{Dead: true})
		w.leave("running", entry{known: known}, store.Info{})
		w.leave("later", entry{known: known}, store.Info{Ready: time.Now().Add(time.Minute)})
		w.up()
		defer w.down()
		synctest.Wait()
		change, err := w.engine.ChangeQueue(t.Context(), QueueDrop, []string{"dead", "running", "later", ""})
		if err != nil || change.Changed != 1 || !slices.Equal(change.Missing, []string{"running", "later", ""}) {
			t.Errorf("%+v, %v", change, err)
		}
		if a := w.deliver("dead"); a.Kind != Success || a.Outcome != outcomeRepeat {
			t.Errorf("%+v", a)
		}
		if ls, err := w.engine.QueueDepths(t.Context()); err != nil || len(ls) != 1 || ls[0].Depth != (store.Depth{Delayed: 1, Claimed: 1}) {
			t.Errorf("%+v, %v", ls, err)
		}
		w.pass(3 * time.Minute)
		if p.runs.Load() != 2 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// TestQueueStoreAway tells of a store that fails in the middle.
func TestQueueStoreAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("s", &fake{})
		for i := range 3 {
			w.leave(fmt.Sprint("e", i), entry{}, store.Info{Dead: true})
		}
		w.queue = failsOn{w.store, "e1"}
		w.up()
		defer w.down()
		change, err := w.engine.ChangeQueueAll(t.Context(), QueueDrop, QueueFilter{}, 0)
		if !errors.Is(err, store.ErrUnavailable) || change.Changed != 2 {
			t.Errorf("%+v, %v", change, err)
		}
	})
}

// failsOn is a store whose Drop of one key fails.
type failsOn struct {
	*memStore
	key string
}

func (s failsOn) Drop(ctx context.Context, queue, key string) error {
	if key == s.key {
		return errStore
	}
	return s.memStore.Drop(ctx, queue, key)
}

// TestLongQueue pages through a hundred thousand entries, of which the host holds
// one page at a time, while others append.
func TestLongQueue(t *testing.T) {
	const n = 100_000
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	add := func(from, to int) {
		t.Helper()
		var batch []store.Entry
		for i := from; i < to; i++ {
			en := entry{pipeline: "main", event: *event(fmt.Sprintf("%032x", i))}
			batch = append(batch, store.Entry{Key: en.event.ID, Value: en.append(nil), Delay: time.Hour})
		}
		if _, err := s.Append(t.Context(), queueName, 0, batch...); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < n; i += 5000 {
		add(i, i+5000)
	}
	w := newWorld(t)
	w.queue = s
	w.stage("s", &fake{})
	w.up()
	defer w.down()
	before := heap()
	seen, next := 0, uint64(0)
	for {
		page := w.page(QueueFilter{App: "shop"}, next, MaxQueuePage)
		seen += len(page.Entries)
		if seen == 50*MaxQueuePage {
			add(n, n+1)
			if grown := heap() - before; grown > 16<<20 {
				t.Errorf("%d bytes for a page", grown)
			}
		}
		if next = page.Next; next == 0 {
			break
		}
	}
	if seen != n+1 {
		t.Errorf("%d entries", seen)
	}
}

// heap is the memory in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestQueueHammer has an operator retry and drop while events come, fail and are
// tried again: each event succeeds once or is dropped, never both and never
// neither.
func TestQueueHammer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n = 120
		var mu sync.Mutex
		rnd := rand.New(rand.NewPCG(1, 2))
		chance := func(of int) bool {
			mu.Lock()
			defer mu.Unlock()
			return rnd.IntN(of) == 0
		}
		var fine atomic.Bool
		ended := map[string]int{}
		p := &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			if !fine.Load() && !chance(40) {
				return Result{}, reasonError("trap")
			}
			mu.Lock()
			defer mu.Unlock()
			ended[c.Event.ID]++
			return Result{}, nil
		}}
		w.pipe.OrderUser = true
		w.stage("s", p).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		dropped := map[string]int{}
		operate := func() {
			page := w.page(QueueFilter{State: QueueDead}, 0, 20)
			for _, en := range page.Entries {
				action := QueueRetry
				if chance(3) {
					action = QueueDrop
				}
				change, err := w.engine.ChangeQueue(t.Context(), action, []string{en.Key})
				if err != nil {
					t.Error(err)
				}
				if action == QueueDrop {
					mu.Lock()
					dropped[en.Key] += change.Changed
					mu.Unlock()
				}
			}
		}
		for i := range n {
			ev := userEvent(fmt.Sprint("e", i), fmt.Sprint("oUser", i%7))
			w.deliverEvent(t.Context(), ev)
			w.pass(7 * time.Minute)
			var wg sync.WaitGroup
			wg.Go(operate)
			wg.Go(operate)
			wg.Wait()
		}
		fine.Store(true)
		if _, err := w.engine.ChangeQueueAll(t.Context(), QueueRetry, QueueFilter{}, 0); err != nil {
			t.Error(err)
		}
		w.pass(time.Hour)
		w.store.mustBeEmpty(t)
		both := 0
		for i := range n {
			id := fmt.Sprint("e", i)
			if ended[id]+dropped[id] != 1 {
				t.Errorf("%s ended %d times and was dropped %d times", id, ended[id], dropped[id])
			}
			both += dropped[id]
		}
		if both == 0 || both == n {
			t.Errorf("%d of %d were dropped: the test shows nothing", both, n)
		}
	})
}
