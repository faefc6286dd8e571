package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

const ms = time.Millisecond

// A plugin that needs its time, at each moment at which a repeat arrives: who
// gets which answer, when, and that the plugin ran once.
func TestWhoGetsTheAnswer(t *testing.T) {
	type answer struct {
		reply bool // the plugin's reply; else success
		at    time.Duration
	}
	for _, tc := range []struct {
		needs  time.Duration
		first  answer
		repeat map[time.Duration]answer // by the moment of its arrival
	}{
		{needs: 0, first: answer{true, 0}, repeat: map[time.Duration]answer{
			0: {true, 0}, 1 * ms: {true, 1 * ms}, 5000 * ms: {true, 5000 * ms}, 59 * time.Second: {true, 59 * time.Second},
			61 * time.Second: {false, 61 * time.Second}, 599 * time.Second: {false, 599 * time.Second},
		}},
		{needs: 4 * time.Second, first: answer{true, 4000 * ms}, repeat: map[time.Duration]answer{
			1 * ms: {true, 4000 * ms}, 3999 * ms: {true, 4000 * ms}, 4000 * ms: {true, 4000 * ms},
			4500 * ms: {true, 4500 * ms}, 5000 * ms: {true, 5000 * ms}, 10000 * ms: {true, 10000 * ms},
		}},
		{needs: 6 * time.Second, first: answer{false, 4500 * ms}, repeat: map[time.Duration]answer{
			1 * ms: {false, 4500 * ms}, 4499 * ms: {false, 4500 * ms}, 4500 * ms: {false, 4500 * ms}, 4501 * ms: {false, 4501 * ms},
			5000 * ms: {false, 5000 * ms}, 5999 * ms: {false, 5999 * ms}, 6000 * ms: {false, 6000 * ms}, 6001 * ms: {false, 6001 * ms},
			9000 * ms: {false, 9000 * ms}, 10000 * ms: {false, 10000 * ms}, 25000 * ms: {false, 25000 * ms}, 70000 * ms: {false, 70000 * ms},
		}},
		{needs: 20 * time.Second, first: answer{false, 4500 * ms}, repeat: map[time.Duration]answer{
			1 * ms: {false, 4500 * ms}, 4499 * ms: {false, 4500 * ms}, 4500 * ms: {false, 4500 * ms}, 4501 * ms: {false, 4501 * ms},
			5000 * ms: {false, 5000 * ms}, 9000 * ms: {false, 9000 * ms}, 10000 * ms: {false, 10000 * ms}, 19999 * ms: {false, 19999 * ms},
			20000 * ms: {false, 20000 * ms}, 25000 * ms: {false, 25000 * ms}, 70000 * ms: {false, 70000 * ms},
		}},
	} {
		for at, want := range tc.repeat {
			t.Run(tc.needs.String()+"/repeat at "+at.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					p := takes(tc.needs, "answer")
					w.stage("slow", p)
					w.up()
					defer w.down()
					first, repeat := w.async(t.Context(), 0, "e1"), w.async(t.Context(), at, "e1")
					check := func(who string, g got, want answer) {
						if g.at != want.at || isText(g.answer, "answer") != want.reply || !want.reply && g.answer.Kind != Success {
							t.Errorf("%s: %+v at %v, want %+v", who, g.answer, g.at, want)
						}
					}
					a, b := <-first, <-repeat
					check("first", a, tc.first)
					check("repeat", b, want)
					if a.answer.Kind == Replied && b.answer.Kind == Replied && (a.answer.Reply != b.answer.Reply || a.answer.Created != b.answer.Created) {
						t.Error("two answers differ")
					}
					w.pass(time.Minute)
					if n := p.runs.Load(); n != 1 {
						t.Errorf("ran %d times", n)
					}
					w.store.mustBeEmpty(t)
					late := 0
					if !tc.first.reply {
						late = 1
					}
					if n := w.count("weft_late_replies_total", "shop", "drop"); n != late {
						t.Errorf("%d late replies counted, want %d", n, late)
					}
					if w.outcome("repeat") != 1 || w.outcome("late") != late || w.outcome("replied") != 1-late {
						t.Errorf("outcomes: %d repeat, %d late, %d replied", w.outcome("repeat"), w.outcome("late"), w.outcome("replied"))
					}
				})
			})
		}
	}
}

// A run that ends exactly at answer_within: either answer, but one only.
func TestEndsAtAnswerWithin(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T, w *world) {
			p := takes(4500*ms, "answer")
			w.stage("slow", p)
			w.up()
			defer w.down()
			chans := []<-chan got{w.async(t.Context(), 0, "e1"), w.async(t.Context(), 0, "e1"), w.async(t.Context(), 4500*ms, "e1"), w.async(t.Context(), 6000*ms, "e1")}
			first := (<-chans[0]).answer
			for _, c := range chans[1:] {
				if a := (<-c).answer; a.Kind != first.Kind || a.Reply != first.Reply {
					t.Errorf("%+v and %+v", first, a)
				}
			}
			if first.Kind == Again || p.runs.Load() != 1 {
				t.Errorf("%+v, %d runs", first, p.runs.Load())
			}
			w.store.mustBeEmpty(t)
		})
	}
}

// WeChat hanging up does not end the event: the delivery that waits when the
// reply is ready takes it.
func TestHangUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(6*time.Second, "answer")
		w.stage("slow", p)
		w.up()
		defer w.down()
		ctx, hangUp := context.WithTimeout(t.Context(), 2*time.Second)
		defer hangUp()
		first, second, third := w.async(ctx, 0, "e1"), w.async(t.Context(), 3*time.Second, "e1"), w.async(t.Context(), 9*time.Second, "e1")
		if g := <-first; g.answer.Kind != Again || g.at != 2*time.Second {
			t.Errorf("first: %+v", g)
		}
		if g := <-second; !isText(g.answer, "answer") || g.at != 6*time.Second {
			t.Errorf("second: %+v", g)
		}
		if g := <-third; !isText(g.answer, "answer") || g.at != 9*time.Second {
			t.Errorf("third: %+v", g)
		}
		if p.runs.Load() != 1 || w.store.appends != 0 {
			t.Errorf("%d runs, %d appends", p.runs.Load(), w.store.appends)
		}
	})
}

// Without a durable entry there is no success.
func TestAppendFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(6*time.Second, "answer")
		w.stage("slow", p)
		w.store.failAppends(errStore)
		w.up()
		defer w.down()
		first, second, third := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 0, "e1"), w.async(t.Context(), 4600*ms, "e1")
		for _, c := range []<-chan got{first, second} {
			if g := <-c; g.answer.Kind != Again || g.at != 4500*ms {
				t.Errorf("%+v", g)
			}
		}
		if g := <-third; !isText(g.answer, "answer") || g.at != 6*time.Second {
			t.Errorf("third: %+v", g)
		}
		if w.outcome("again") != 2 || p.runs.Load() != 1 {
			t.Errorf("%d again, %d runs", w.outcome("again"), p.runs.Load())
		}
	})
}

// A later delivery tries again to make the event durable.
func TestAppendFailsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(20*time.Second, "answer")
		w.stage("slow", p)
		w.store.failAppends(errStore)
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 5*time.Second, "e1")
		if g := <-first; g.answer.Kind != Again {
			t.Errorf("first: %+v", g)
		}
		w.store.failAppends(nil)
		if g := <-second; g.answer.Kind != Success || g.at != 9500*ms {
			t.Errorf("second: %+v", g)
		}
		if len(w.store.list()) != 1 {
			t.Error("success without an entry")
		}
		w.pass(30 * time.Second)
		w.store.mustBeEmpty(t)
		if p.runs.Load() != 1 {
			t.Errorf("%d runs", p.runs.Load())
		}
	})
}

// A store slower than WeChat's patience: no success before the entry is there.
func TestAppendSlow(t *testing.T) {
	for _, tc := range []struct {
		needs, second time.Duration
		reply         bool
		at            time.Duration
	}{
		{6 * time.Second, 5 * time.Second, true, 6 * time.Second},       // the run ends while a delivery waits
		{20 * time.Second, 5 * time.Second, false, 9500 * ms},           // durable long since
		{5 * time.Second, 5100 * ms, true, 5100 * ms},                   // the run ends during the append
		{20 * time.Second, 15 * time.Second, false, 19500 * ms},         // the claim is extended
		{5499 * ms, 4950 * ms, true, 5499 * ms},                         // just before the append
		{5500 * ms, 5600 * ms, true, 5600 * ms},                         // with it
		{29 * time.Second, 24900 * ms, true, 29 * time.Second},          // near the deadline
		{40 * time.Second, 28 * time.Second, false, 30 * time.Second},   // over the deadline: on_error
		{4900 * ms, 4900 * ms, true, 4900 * ms},                         // at the end of the grace
		{4700 * ms, 4600 * ms, true, 4700 * ms},                         // within the grace
		{20 * time.Second, 4501 * ms, false, 4501*ms + 4500*ms},         // while it is being appended
		{9500*ms + 300*ms, 5200 * ms, false, 9700 * ms},                 // the same
		{4600 * ms, 4500 * ms, true, 4600 * ms},                         // joined at the last moment
		{20 * time.Second, 14999 * ms, false, 14999*ms + 4500*ms},       // before the first hold would have ended
		{25 * time.Second, 20*time.Second - ms, false, 24500*ms - 1*ms}, // after it
	} {
		t.Run(tc.needs.String()+"/"+tc.second.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p := takes(tc.needs, "answer")
				w.stage("slow", p)
				w.store.appendTime = time.Second
				w.up()
				defer w.down()
				first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), tc.second, "e1")
				if g := <-first; tc.needs <= 4900*ms != isText(g.answer, "answer") && tc.needs != 4900*ms ||
					tc.needs > 4900*ms && (g.answer.Kind != Again || g.at != 4900*ms) {
					t.Errorf("first: %+v", g)
				}
				if g := <-second; isText(g.answer, "answer") != tc.reply || g.answer.Kind == Again || g.at != tc.at {
					t.Errorf("second: %+v", g)
				}
				w.pass(2 * time.Minute)
				w.store.mustBeEmpty(t)
				if p.runs.Load() != 1 {
					t.Errorf("%d runs", p.runs.Load())
				}
			})
		})
	}
}

// An append whose outcome is unknown, and that has happened: the entry is found
// later and not run a second time.
func TestAppendLandsUnseen(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(28*time.Second, "answer")
		w.stage("slow", p)
		w.queue = unsure{w.store}
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 25*time.Second, "e1")
		if g := <-first; g.answer.Kind != Again {
			t.Errorf("first: %+v", g)
		}
		if g := <-second; !isText(g.answer, "answer") {
			t.Errorf("second: %+v", g)
		}
		w.pass(time.Minute)
		if p.runs.Load() != 1 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// The same, and a later delivery finds the entry there: it is durable, so that
// one gets success.
func TestAppendLandedBefore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(28*time.Second, "answer")
		w.stage("slow", p)
		w.queue = unsure{w.store}
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 5*time.Second, "e1")
		if g := <-first; g.answer.Kind != Again {
			t.Errorf("first: %+v", g)
		}
		if g := <-second; g.answer.Kind != Success || g.at != 9500*ms {
			t.Errorf("second: %+v", g)
		}
		w.pass(time.Minute)
		if p.runs.Load() != 1 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// A claim that was lost while its event ran: nothing is run twice.
func TestClaimLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(28*time.Second, "answer")
		w.stage("slow", p)
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Outcome != "late" {
			t.Errorf("%+v", a)
		}
		if claims, err := w.store.Claim(t.Context(), queueName, "shop", 1, time.Second); len(claims) != 0 || err != nil {
			t.Fatal("claimed while held")
		}
		w.store.loseClaims()
		w.pass(time.Minute)
		if p.runs.Load() != 1 {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.store.mustBeEmpty(t)
	})
}

// unsure appends for the first time and says that it could not.
type unsure struct{ *memStore }

func (u unsure) Append(ctx context.Context, q string, hold time.Duration, es ...store.Entry) ([]store.Claim, error) {
	claims, err := u.memStore.Append(ctx, q, hold, es...)
	if err == nil && u.appends == 1 {
		return nil, errStore
	}
	return claims, err
}

// Different events are different, whatever else they share.
func TestTwoEvents(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(time.Second, "answer")
		w.stage("slow", p)
		w.up()
		defer w.down()
		a, b := w.async(t.Context(), 0, "e1"), w.async(t.Context(), 0, "e2")
		if x, y := <-a, <-b; !isText(x.answer, "answer") || !isText(y.answer, "answer") || p.runs.Load() != 2 {
			t.Errorf("%+v %+v, %d runs", x, y, p.runs.Load())
		}
	})
}

func TestUnknownApp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.up()
		defer w.down()
		if a := w.engine.Deliver(t.Context(), Delivery{App: "none", Event: event("e1"), Arrived: time.Now()}); a.Kind != Again {
			t.Errorf("%+v", a)
		}
	})
}

// In a mini program only transfer and raw are passive answers.
func TestMiniProgramReplies(t *testing.T) {
	for name, tc := range map[string]struct {
		reply *config.Reply
		kind  AnswerKind
		drops int
	}{
		"text":     {&config.Reply{Text: &config.Text{Content: "x"}}, Success, 1},
		"transfer": {&config.Reply{Transfer: &config.Transfer{}}, Replied, 0},
		"raw":      {&config.Reply{Raw: &config.Raw{Body: []byte("{}")}}, Replied, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.app.Type = config.MiniProgram
				w.pipe.Stages = []*config.Stage{{Name: "fixed", Reply: tc.reply}}
				w.up()
				defer w.down()
				if a := w.deliver("e1"); a.Kind != tc.kind {
					t.Errorf("%+v", a)
				}
				if n := w.count("weft_late_replies_total", "shop", "drop"); n != tc.drops {
					t.Errorf("%d drops counted", n)
				}
			})
		})
	}
}

// The event that the caller gave is not changed, and a plugin sees its attempt.
func TestEventIsTheCallers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var attempt uint32
		w.stage("look", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			attempt = c.Event.Attempt
			return Result{Annotations: []hostapi.Field{{Name: "a", Value: "b"}}}, nil
		}})
		w.up()
		defer w.down()
		ev := event("e1")
		w.deliverEvent(t.Context(), ev)
		synctest.Wait()
		if ev.Attempt != 0 || ev.Attrs != nil || attempt != 1 {
			t.Errorf("attempt %d, event %+v", attempt, ev)
		}
	})
}
