package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// kill makes w's engine a dead process: nothing of it reaches the store any
// more. A new engine starts over the same store.
func (w *world) kill() (bury func()) {
	old := w.engine
	close(w.queue.(mortal).dead)
	w.queue = mortal{w.store, make(chan struct{})}
	w.up()
	return func() {
		if err := old.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// What was acknowledged while it ran is run again by the host that starts after
// a kill: from the top, attempt 2, with always; a repeat gets success.
func TestKilledWhileRunning(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.queue = mortal{w.store, make(chan struct{})}
		var attempts []uint32
		var raw []string
		p := &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
			attempts, raw = append(attempts, c.Event.Attempt), append(raw, string(c.Event.Raw))
			if c.Event.Attempt == 1 {
				<-ctx.Done()
				return Result{}, ctx.Err()
			}
			return Result{Reply: textReply("too late"), ReplySet: true}, nil
		}}
		w.stage("slow", p)
		always := &fake{}
		w.always("count", always)
		w.up()
		if a := w.deliver("e1"); a.Kind != Success || a.Outcome != "late" {
			t.Fatalf("%+v", a)
		}
		w.pass(time.Second)
		bury := w.kill()
		defer bury()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success || a.Outcome != "repeat" {
			t.Errorf("repeat: %+v", a)
		}
		w.pass(holdFor + time.Second)
		if !slices.Equal(attempts, []uint32{1, 2}) || raw[1] != "<xml/>" {
			t.Errorf("attempts %v, raw %q", attempts, raw)
		}
		if always.runs.Load() != 1 {
			t.Errorf("always ran %d times", always.runs.Load())
		}
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 1 {
			t.Errorf("%d late replies counted", n)
		}
		w.store.mustBeEmpty(t)
	})
}

// What was not acknowledged is left to WeChat.
func TestKilledBeforeAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.queue = mortal{w.store, make(chan struct{})}
		p := takes(2*time.Second, "answer")
		w.stage("slow", p)
		w.up()
		first := w.async(t.Context(), 0, "e1")
		w.pass(time.Second)
		bury := w.kill()
		defer bury()
		defer w.down()
		if g := <-w.async(t.Context(), 5*time.Second, "e1"); !isText(g.answer, "answer") {
			t.Errorf("%+v", g)
		}
		<-first
		if p.runs.Load() != 2 {
			t.Errorf("%d runs", p.runs.Load())
		}
	})
}

// on_error: queue goes on from the stage that failed, inside a switch too, with
// annotations and reply, and not with always.
func TestQueueGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var seen []string
		look := func(name string, err func(n int32) error) *config.Stage {
			p := &fake{}
			p.handle = func(_ context.Context, c *Call) (Result, error) {
				reply := "none"
				if c.Reply != nil {
					reply = c.Reply.Text.Content
				}
				seen = append(seen, fmt.Sprintf("%s %d %v %s", name, c.Event.Attempt, c.Attrs, reply))
				return Result{Annotations: []hostapi.Field{{Name: name, Value: "x"}}}, err(p.runs.Load())
			}
			w.plugins[name] = p
			return &config.Stage{Name: name, Plugin: &config.Plugin{Name: name}}
		}
		fine := func(int32) error { return nil }
		broken := look("broken", func(n int32) error {
			if n < 3 {
				return reasonError("upstream")
			}
			return nil
		})
		broken.OnError = &config.OnError{Kind: config.Queue}
		w.pipe.Stages = []*config.Stage{
			look("top", fine),
			replyStage("reply", "so far"),
			{Name: "ways", Switch: []*config.Branch{{When: `"top" in attrs`, Stages: []*config.Stage{look("before", fine), broken, look("after", fine)}}}},
			look("last", fine),
		}
		always := &fake{}
		w.always("count", always)
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != "queued" || a.Kind != Success {
			t.Errorf("%+v", a)
		}
		if a := w.deliver("e1"); a.Outcome != "repeat" || a.Kind != Success {
			t.Errorf("repeat: %+v", a)
		}
		w.pass(time.Minute)
		want := []string{
			"top 1 [] none", "before 1 [{top x}] so far", "broken 1 [{top x} {before x}] so far",
			"broken 2 [{top x} {before x}] so far",
			"broken 3 [{top x} {before x}] so far", "after 3 [{top x} {before x} {broken x}] so far",
			"last 3 [{top x} {before x} {broken x} {after x}] so far",
		}
		if !slices.Equal(seen, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
		if always.runs.Load() != 1 {
			t.Errorf("always ran %d times", always.runs.Load())
		}
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 1 {
			t.Errorf("%d late replies counted", n)
		}
		w.store.mustBeEmpty(t)
	})
}

// A late event whose stage queues has one entry, which goes on from the stage.
func TestLateThenQueued(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		slow := takes(6*time.Second, "x")
		w.stage("slow", slow)
		p := &fake{}
		p.handle = func(context.Context, *Call) (Result, error) {
			if p.runs.Load() == 1 {
				return Result{}, reasonError("upstream")
			}
			return Result{}, nil
		}
		w.stage("broken", p).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != "late" {
			t.Errorf("%+v", a)
		}
		w.pass(time.Minute)
		if slow.runs.Load() != 1 || p.runs.Load() != 2 {
			t.Errorf("%d and %d runs", slow.runs.Load(), p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// What has become too large for the store since an entry was made stays as it
// was, and is done again.
func TestEntryOutgrowsTheStore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		grow := gives(Result{Annotations: tag("huge", strings.Repeat("x", store.MaxValue))})
		w.stage("slow", takes(5*time.Second, "x"))
		w.stage("grow", grow)
		broken := fails(2, "upstream", Result{})
		w.stage("broken", broken).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != "late" {
			t.Errorf("%+v", a)
		}
		w.pass(time.Minute)
		if grow.runs.Load() != 3 || broken.runs.Load() != 3 || strings.Contains(w.logged(), "not ended") {
			t.Errorf("%d and %d runs; logged\n%s", grow.runs.Load(), broken.runs.Load(), w.logged())
		}
		w.store.mustBeEmpty(t)
	})
}

// Failed tries: 1 s doubling to 5 min for an hour, then a dead letter; busy ones
// don't count. An operator's retry runs it again.
func TestTriesAndDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var journal journal[time.Duration]
		var reason atomic.Value
		reason.Store("upstream")
		p := &fake{handle: func(context.Context, *Call) (Result, error) {
			journal.add(time.Since(w.start))
			if reason.Load() == "" {
				return Result{}, nil
			}
			return Result{}, reasonError(reason.Load().(string))
		}}
		w.stage("broken", p).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		defer w.down()
		w.deliver("e1")
		w.pass(2 * time.Hour)
		at := journal.all()
		for i := 1; i < len(at); i++ {
			if pause := at[i] - at[i-1]; pause != min(time.Second<<(i-1), 5*time.Minute) {
				t.Errorf("pause %d is %v", i, pause)
			}
		}
		if last := at[len(at)-1]; last < 55*time.Minute || last > 65*time.Minute {
			t.Errorf("given up after %v", last)
		}
		if es := w.store.list(); len(es) != 1 || !es[0].Dead || es[0].Reason != "stage broken failed for an hour: upstream" {
			t.Errorf("%+v", es)
		}
		if n := w.count("weft_dead_letters_total", "shop", "upstream"); n != 1 {
			t.Errorf("%d dead letters counted", n)
		}

		if err := w.store.Retry(t.Context(), queueName, "e1"); err != nil {
			t.Fatal(err)
		}
		for _, full := range []string{"busy", "fused"} {
			reason.Store(full)
			before := len(journal.all())
			w.pass(3 * time.Hour)
			if n := len(journal.all()) - before; n < 1000 {
				t.Errorf("a plugin that is %s was tried %d times in 3 h", full, n)
			}
		}
		reason.Store("")
		w.pass(time.Minute)
		w.store.mustBeEmpty(t)
	})
}

// A long backlog of a plugin that is busy or fused is tried so often a second and
// not more, and all of it is run soon when the plugin is back.
func TestBacklogOfFused(t *testing.T) {
	for _, reason := range []string{"busy", "fused"} {
		bubble(t, func(t *testing.T, w *world) {
			const backlog, seconds = 3 * busyLooks, 4
			var back atomic.Bool
			p := &fake{handle: func(context.Context, *Call) (Result, error) {
				if back.Load() {
					return Result{}, nil
				}
				return Result{}, reasonError(reason)
			}}
			w.stage("s", p).OnError = &config.OnError{Kind: config.Queue}
			for i := range backlog {
				id := fmt.Sprint("e", i)
				en := entry{pipeline: "main", event: *event(id)}
				w.store.entries = append(w.store.entries, &memEntry{Info: store.Info{Key: id, Line: "shop", Value: en.append(nil), Ready: time.Now()}})
			}
			w.pipe.Dedupe = 0
			w.up()
			defer w.down()
			w.pass(900 * ms)
			before := p.runs.Load() // each once
			w.pass(seconds * time.Second)
			if n := p.runs.Load() - before; before != backlog || n > seconds*busyLooks || n < (seconds-2)*busyLooks {
				t.Errorf("%s: %d runs at first, then %d in %d s", reason, before, n, seconds)
			}
			back.Store(true)
			w.pass(backlog/busyLooks*time.Second + time.Second)
			w.store.mustBeEmpty(t)
		})
	}
}

// A retried dead letter of which the host still has the record is run, too.
func TestRetryOfKnownDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{}
		w.stage("s", p)
		en := entry{pipeline: "main", known: time.Now().Add(10 * time.Minute), event: *event("e1")}
		w.store.entries = []*memEntry{{Info: store.Info{Key: "e1", Value: en.append(nil), Dead: true}}}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != "repeat" || a.Kind != Success {
			t.Errorf("%+v", a)
		}
		if err := w.store.Retry(t.Context(), queueName, "e1"); err != nil {
			t.Fatal(err)
		}
		w.pass(maxPoll + time.Second)
		if p.runs.Load() != 1 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// TestIncludedPipelines: an entry finds its pipeline among those of its name in
// other files, and doesn't take one of them for its own.
func TestIncludedPipelines(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Unit = "apps/a.yaml"
		p := failing("upstream")
		w.stage("s", p).OnError = &config.OnError{Kind: config.Queue}
		w.up()
		w.deliver("e1")
		w.down()
		if n := w.count("weft_stage_errors_total", "apps/a.yaml:main", "upstream", "s"); n != 1 {
			t.Errorf("%d errors of apps/a.yaml:main", n)
		}
		w.up()
		w.pass(time.Minute)
		w.down()
		before := p.runs.Load()
		if before < 2 {
			t.Errorf("%d runs", before)
		}
		w.pipe.Unit = ""
		w.up()
		defer w.down()
		w.pass(time.Hour)
		if list := w.store.list(); len(list) != 1 || list[0].Reason != "stage s of pipeline apps/a.yaml:main is no more" || p.runs.Load() != before {
			t.Errorf("%+v, %d runs", list, p.runs.Load()-before)
		}
	})
}

// Entries that nothing can be done with are dead letters, with the reason.
func TestDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("s", &fake{})
		put := func(key string, en entry) {
			w.store.entries = append(w.store.entries, &memEntry{Info: store.Info{Key: key, Value: en.append(nil), Ready: time.Now()}})
		}
		ev := *event("e1")
		ev.ID, ev.App = "k1", "gone"
		put("k1", entry{pipeline: "main", event: ev})
		ev.ID, ev.App = "k2", "shop"
		put("k2", entry{pipeline: "main", at: place{stage: "gone"}, event: ev})
		ev.ID = "k3"
		put("k3", entry{pipeline: "other", at: place{stage: "s"}, event: ev})
		put("k4", entry{pipeline: "main", at: place{stage: "s"}, event: ev})
		w.store.entries[3].Value[0] = 9
		w.up()
		defer w.down()
		synctest.Wait()
		want := map[string]string{
			"k1": "app gone is no more", "k2": "stage gone of pipeline main is no more", "k3": "stage s of pipeline other is no more",
			"k4": "entry of the durable queue is malformed: its version is not 2",
		}
		for _, e := range w.store.list() {
			if !e.Dead || e.Reason != want[e.Key] {
				t.Errorf("%s: dead %v, %s", e.Key, e.Dead, e.Reason)
			}
			delete(want, e.Key)
		}
		if len(want) != 0 {
			t.Errorf("missing: %v", want)
		}
		if n := w.count("weft_dead_letters_total", "shop", "stage"); n != 2 {
			t.Errorf("%d counted", n)
		}
	})
}

// Without dedupe each delivery runs, and each that is late has an entry.
func TestDedupeOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Dedupe = 0
		p := takes(6*time.Second, "answer")
		w.stage("slow", p)
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), time.Second, "e1")
		for _, c := range []<-chan got{first, second} {
			if g := <-c; g.answer.Outcome != "late" {
				t.Errorf("%+v", g)
			}
		}
		if n := len(w.store.list()); n != 2 {
			t.Errorf("%d entries", n)
		}
		w.pass(10 * time.Second)
		if p.runs.Load() != 2 || len(w.engine.ledger.index) != 0 {
			t.Errorf("%d runs, %d records", p.runs.Load(), len(w.engine.ledger.index))
		}
		w.store.mustBeEmpty(t)
	})
}

// The claim of a late event is kept as long as it runs, however long that is.
func TestClaimIsExtended(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Deadline = 10 * time.Minute
		p := takes(5*time.Minute, "answer")
		w.stage("slow", p)
		w.up()
		defer w.down()
		w.deliver("e1")
		for range 4 {
			w.pass(time.Minute)
			if claims, _ := w.store.Claim(t.Context(), queueName, "shop", 1, time.Second); len(claims) != 0 {
				t.Fatal("the entry could be claimed while its event ran")
			}
		}
		w.pass(2 * time.Minute)
		if p.runs.Load() != 1 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

func TestDrain(t *testing.T) {
	for name, tc := range map[string]struct {
		needs, patience time.Duration
		appendErr       error
		kind            AnswerKind
		at              time.Duration // of the answer
		left            int           // entries
		err             bool
	}{
		"ends in time":            {2 * time.Second, 10 * time.Second, nil, Replied, 2 * time.Second, 0, false},
		"late, ends in time":      {6 * time.Second, 10 * time.Second, nil, Success, 4500 * ms, 0, false},
		"open, left to the queue": {20 * time.Second, 2 * time.Second, nil, Success, 3 * time.Second, 1, true},
		"late, left to the queue": {20 * time.Second, 8 * time.Second, nil, Success, 4500 * ms, 1, true},
		"the store is away":       {20 * time.Second, 2 * time.Second, errStore, Again, 3 * time.Second, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.stage("slow", takes(tc.needs, "answer"))
				w.store.failAppends(tc.appendErr)
				w.up()
				defer w.down()
				first := w.async(t.Context(), 0, "e1")
				w.pass(time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), tc.patience)
				defer cancel()
				if err := w.engine.Drain(ctx); (err != nil) != tc.err {
					t.Errorf("drain: %v", err)
				}
				drained := time.Since(w.start)
				if g := <-first; g.answer.Kind != tc.kind || g.at != tc.at {
					t.Errorf("%+v", g)
				}
				if limit := time.Second + tc.patience; drained > limit {
					t.Errorf("drained at %v", drained)
				}
				if a := w.deliver("e2"); a.Kind != Again {
					t.Errorf("after drain: %+v", a)
				}
				if err := w.engine.Close(); err != nil {
					t.Error(err)
				}
				es := w.store.list()
				if len(es) != tc.left || len(es) == 1 && es[0].Ready.After(time.Now()) {
					t.Errorf("entries %+v", es)
				}
				if strings.Contains(w.logged(), "stage failed") {
					t.Errorf("the host's stop is logged as an error of the stage:\n%s", w.logged())
				}
			})
		})
	}
}

// An event that a drain left behind is run by the next host, at once.
func TestDrainThenStart(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var attempts []uint32
		w.stage("slow", &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
			attempts = append(attempts, c.Event.Attempt)
			if len(attempts) > 1 {
				return Result{}, nil
			}
			<-ctx.Done()
			return Result{}, ctx.Err()
		}})
		w.up()
		first := w.async(t.Context(), 0, "e1")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.engine.Drain(ctx); err == nil {
			t.Error("drained at once")
		}
		<-first
		w.down()
		w.up()
		defer w.down()
		synctest.Wait()
		if !slices.Equal(attempts, []uint32{1, 2}) {
			t.Errorf("attempts %v", attempts)
		}
		w.store.mustBeEmpty(t)
	})
}

// Close without Drain: what is not durable gets Again, nothing is lost that was
// acknowledged, and no goroutine stays.
func TestCloseWithoutDrain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("slow", takes(20*time.Second, "answer"))
		w.up()
		late, open := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 4*time.Second, "e2")
		w.pass(5 * time.Second)
		w.down()
		if g := <-late; g.answer.Outcome != "late" {
			t.Errorf("late: %+v", g)
		}
		if g := <-open; g.answer.Kind != Again || g.at != 5*time.Second {
			t.Errorf("open: %+v", g)
		}
		if es := w.store.list(); len(es) != 1 || es[0].Key != "e1" {
			t.Errorf("%+v", es)
		}
		w.down()
	})
}

// A start whose time is up in the middle of the queue fails: an event without
// its record would be run again by a repeat.
func TestStartInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("s", &fake{})
		for _, id := range []string{"e1", "e2"} {
			en := entry{pipeline: "main", known: time.Now().Add(time.Minute), event: *event(id)}
			w.store.entries = append(w.store.entries, &memEntry{Info: store.Info{Key: id, Value: en.append(nil), Ready: time.Now()}})
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e, err := NewEngine(Options{Store: listCancels{w.store, cancel}, Metrics: w.metrics})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(ctx, w.build()); !errors.Is(err, context.Canceled) {
			t.Errorf("started: %v", err)
		}
	})
}

// listCancels ends the caller's context while it lists.
type listCancels struct {
	*memStore
	cancel context.CancelFunc
}

func (s listCancels) List(ctx context.Context, q string, after uint64, f func(store.Info) bool) error {
	s.cancel()
	return s.memStore.List(ctx, q, after, f)
}
