package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// shadowed adds a stage of plugin p with shadow NAME-shadow.
func (w *world) shadowed(name string, p, shadow Plugin) *config.Stage {
	st := w.stage(name, p)
	st.Shadow = &config.Plugin{Name: name + "-shadow"}
	w.plugins[name+"-shadow"] = shadow
	return st
}

// answers makes a plugin that answers res.
func answers(res Result, err error) *fake {
	return &fake{handle: func(context.Context, *Call) (Result, error) { return res, err }}
}

func noted(list ...string) []hostapi.Field {
	var out []hostapi.Field
	for i := 0; i < len(list); i += 2 {
		out = append(out, hostapi.Field{Name: list[i], Value: list[i+1]})
	}
	return out
}

func (w *world) shadow(t *testing.T) ShadowStatus {
	t.Helper()
	all := w.engine.Shadows()
	if len(all) != 1 {
		t.Fatalf("%d shadows", len(all))
	}
	return all[0]
}

func TestShadowCompares(t *testing.T) {
	next, done := hostapi.Next, hostapi.Done
	early := textReply("early")
	for _, tc := range []struct {
		name            string
		primary, shadow *fake
		result          string
		kinds           []string
	}{
		{"nothing", answers(Result{}, nil), answers(Result{}, nil), "same", nil},
		{"same reply", answers(Result{Reply: textReply("a"), ReplySet: true, Outcome: done}, nil), answers(Result{Reply: textReply("a"), ReplySet: true, Outcome: done}, nil), "same", nil},
		{"the reply of before", answers(Result{}, nil), answers(Result{Reply: early, ReplySet: true}, nil), "same", nil},
		{"another reply", answers(Result{Reply: textReply("a"), ReplySet: true}, nil), answers(Result{Reply: textReply("b"), ReplySet: true}, nil), "different", []string{"reply"}},
		{"another kind of reply", answers(Result{Reply: textReply("a"), ReplySet: true}, nil), answers(Result{Reply: &hostapi.Reply{Image: &hostapi.Media{MediaID: "a"}}, ReplySet: true}, nil), "different", []string{"reply"}},
		{"taken back", answers(Result{}, nil), answers(Result{ReplySet: true}, nil), "different", []string{"reply"}},
		{"outcome", answers(Result{Outcome: next}, nil), answers(Result{Outcome: done}, nil), "different", []string{"outcome"}},
		{"annotations", answers(Result{Annotations: noted("tag", "a")}, nil), answers(Result{Annotations: noted("tag", "b")}, nil), "different", []string{"annotations"}},
		{"annotations in another order", answers(Result{Annotations: noted("a", "1", "b", "2")}, nil), answers(Result{Annotations: noted("b", "2", "a", "0", "a", "1")}, nil), "same", nil},
		{"all", answers(Result{Outcome: done, Annotations: noted("a", "1"), Reply: textReply("a"), ReplySet: true}, nil), answers(Result{}, nil), "different", []string{"outcome", "reply", "annotations"}},
		{"the primary fails", failing("trap"), answers(Result{}, nil), "different", []string{"outcome"}},
		{"the shadow fails", answers(Result{}, nil), failing("trap"), "error", nil},
		{"both fail", failing("trap"), failing("trap"), "error", nil},
		{"a shadow without an outcome", answers(Result{}, nil), answers(Result{Outcome: 9}, nil), "error", nil},
		{"no instance for it", answers(Result{}, nil), failing("busy"), "dropped", nil},
		{"its fuse", answers(Result{}, nil), failing("fused"), "error", nil},
		{"withheld", answers(Result{}, nil), answers(Result{Withheld: true, Reply: textReply("a"), ReplySet: true}, nil), "not_comparable", nil},
		{"withheld, and fails", answers(Result{}, nil), &fake{handle: func(context.Context, *Call) (Result, error) {
			return Result{Withheld: true}, errors.New("it was not let")
		}}, "not_comparable", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.stage("early", answers(Result{Reply: early, ReplySet: true}, nil))
				w.shadowed("s", tc.primary, tc.shadow).OnError = &config.OnError{Kind: config.Skip}
				w.up()
				defer w.down()
				w.deliver("e1")
				w.pass(time.Second)
				if n := w.count("weft_shadow_total", "main", tc.result, "s"); n != 1 {
					t.Errorf("counted as %s: %d; %+v", tc.result, n, w.shadow(t))
				}
				s := w.shadow(t)
				if n := s.Same + s.Different + s.Errors + s.Dropped + s.NotComparable; n != 1 {
					t.Errorf("%d counted: %+v", n, s)
				}
				if !slices.Equal(s.LastKinds, tc.kinds) || s.LastDifference.IsZero() != (tc.kinds == nil) || (s.LastError != "") != (tc.result == "error") {
					t.Errorf("got %+v", s)
				}
				if s.Outcome+s.Reply+s.Annotations != uint64(len(tc.kinds)) {
					t.Errorf("got %+v", s)
				}
				ds := w.engine.Differences()
				if len(ds) != min(len(tc.kinds), 1) || len(ds) > 0 && !slices.Equal(ds[0].Kinds, tc.kinds) {
					t.Errorf("differences: %+v", ds)
				}
			})
		})
	}
}

// TestShadowRunsAfterTheAnswer: what it answers, makes and how long it takes the
// user never feels, nor do the stages after it.
func TestShadowRunsAfterTheAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		began := make(chan time.Time, 1)
		shadow := &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
			began <- time.Now()
			<-time.After(20 * time.Second)
			return Result{Outcome: hostapi.Done, Reply: textReply("shadow"), ReplySet: true, Annotations: noted("tag", "shadow")}, nil
		}}
		w.shadowed("s", answers(Result{Annotations: noted("tag", "primary")}, nil), shadow)
		var attrs []hostapi.Field
		w.stage("last", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			<-time.After(time.Second)
			attrs = slices.Clone(c.Attrs)
			return Result{Reply: textReply("answer"), ReplySet: true}, nil
		}})
		w.up()
		defer w.down()
		if a := w.deliver("e1"); !isText(a, "answer") || time.Since(w.start) != time.Second {
			t.Errorf("answered %+v after %v", a, time.Since(w.start))
		}
		if at := <-began; at.Sub(w.start) < time.Second {
			t.Errorf("it began %v after the callback", at.Sub(w.start))
		}
		w.pass(time.Minute)
		if !slices.Equal(attrs, noted("tag", "primary")) {
			t.Errorf("the next stage saw %v", attrs)
		}
		if s := w.shadow(t); s.Different != 1 {
			t.Errorf("got %+v", s)
		}
	})
}

// TestShadowSeesWhatThePrimarySaw and has its layer.
func TestShadowSeesWhatThePrimarySaw(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("first", answers(Result{Reply: textReply("first"), ReplySet: true, Annotations: noted("tag", "first")}, nil))
		var saw Call
		var gave *Before
		w.shadowed("s", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			if c.Layer != nil || c.Before == nil {
				t.Errorf("the primary has %+v, %+v", c.Layer, c.Before)
			}
			gave = c.Before
			c.Before.Values = map[string][]byte{"key": nil}
			return Result{Reply: textReply("second"), ReplySet: true, Annotations: noted("tag", "second")}, nil
		}}, &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			saw = *c
			return Result{}, nil
		}})
		w.stage("last", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			if c.Before != nil || c.Layer != nil {
				t.Errorf("a stage without a shadow has %+v, %+v", c.Layer, c.Before)
			}
			return Result{Reply: textReply("third"), ReplySet: true, Annotations: noted("tag", "third")}, nil
		}})
		w.up()
		defer w.down()
		w.deliver("e1")
		w.pass(time.Second)
		if saw.Event == nil || saw.Event.ID != "e1" || !slices.Equal(saw.Attrs, noted("tag", "first")) || saw.Reply.Text.Content != "first" || !saw.Passive {
			t.Errorf("it saw %+v", saw)
		}
		if saw.Before != gave || saw.Layer == nil || *saw.Layer != (Layer{"main", "s", "s-shadow", "s"}) {
			t.Errorf("it has %+v, %+v", saw.Layer, saw.Before)
		}
	})
}

// TestShadowLayers: over whose state they lie.
func TestShadowLayers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.shadowed("a", &fake{}, &fake{}).Plugin.StateOf = &config.Plugin{Name: "owner"}
		st := w.forward("legacy", config.ForwardJSON, newService())
		st.Shadow = &config.Plugin{Name: "a-shadow"}
		got := w.build().Layers()
		want := []Layer{{"main", "a", "a-shadow", "owner"}, {"main", st.Name, "a-shadow", ""}}
		if !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// TestShadowUnderLoad: what is too much is dropped and counted; no answer waits
// for it.
func TestShadowUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		open := make(chan struct{})
		shadow := &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
			select {
			case <-open:
				return Result{Reply: textReply("a"), ReplySet: true}, nil
			case <-ctx.Done():
				return Result{}, ctx.Err()
			}
		}}
		w.shadowed("s", takes(0, "a"), shadow)
		w.up()
		defer w.down()
		const events = 500
		for i := range events {
			if got := w.send(i); got != "a" {
				t.Fatalf("answered %q", got)
			}
		}
		if d := time.Since(w.start); d > 0 {
			t.Errorf("it took %v", d)
		}
		w.pass(0)
		if s := w.shadow(t); s.Dropped != events-shadowLanes*(laneEvents+1) || shadow.runs.Load() != shadowLanes {
			t.Errorf("%d run, got %+v", shadow.runs.Load(), s)
		}
		close(open)
		w.pass(time.Second)
		if s := w.shadow(t); s.Same != shadowLanes*(laneEvents+1) {
			t.Errorf("got %+v", s)
		}
		big := event("big")
		big.Raw = make([]byte, laneBytes+1)
		w.deliverEvent(t.Context(), big)
		w.pass(time.Second)
		if s := w.shadow(t); s.Dropped != events-shadowLanes*(laneEvents+1)+1 {
			t.Errorf("a large event: %+v", s)
		}
	})
}

// TestShadowsAreBounded: what the stages saw and did counts, too, not the events
// alone.
func TestShadowsAreBounded(t *testing.T) {
	large := func(n int) string { return strings.Repeat("x", n) }
	for name, primary := range map[string]*fake{
		"reply":       answers(Result{Reply: textReply(large(laneBytes / 4)), ReplySet: true}, nil),
		"annotations": answers(Result{Annotations: noted("a", large(laneBytes/4))}, nil),
		"state": {handle: func(_ context.Context, c *Call) (Result, error) {
			c.Before.Values = map[string][]byte{"k": make([]byte, laneBytes/4)}
			return Result{}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.shadowed("s", primary, &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
					<-ctx.Done()
					return Result{}, ctx.Err()
				}})
				w.up()
				defer w.down()
				for i := range 10 {
					ev := event(strconv.Itoa(i))
					ev.User = "one"
					w.deliverEvent(t.Context(), ev)
					w.pass(0)
				}
				if s := w.shadow(t); s.Dropped != 10-1-3 {
					t.Errorf("got %+v", s)
				}
			})
		})
	}
}

// TestShadowKeepsOrder: the events of a user reach it in their order.
func TestShadowKeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var seen journal[string]
		w.shadowed("s", &fake{}, &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			<-time.After(time.Millisecond)
			seen.add(c.Event.User + c.Event.ID)
			return Result{}, nil
		}})
		w.up()
		defer w.down()
		for i := range 50 {
			ev := event(fmt.Sprintf(".%02d", i))
			ev.User = "u" + strconv.Itoa(i%5)
			w.deliverEvent(t.Context(), ev)
			w.pass(0) // the answer goes out before the shadow is in its lane
		}
		w.pass(time.Minute)
		last := map[string]string{}
		for _, s := range seen.all() {
			user, id, _ := strings.Cut(s, ".")
			if id < last[user] {
				t.Fatalf("%s after %s", s, last[user])
			}
			last[user] = id
		}
		if n := len(seen.all()); n != 50 {
			t.Errorf("%d runs", n)
		}
	})
}

// TestShadowOfEventsRunAgain: a stage that is run again is seen once, when it
// has an answer; the stages before it are not seen twice.
func TestShadowOfEventsRunAgain(t *testing.T) {
	for _, kind := range []config.OnErrorKind{config.Queue, config.Again} {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				before := &fake{}
				w.shadowed("before", &fake{}, before)
				fails := true
				shadow := &fake{}
				w.shadowed("s", &fake{handle: func(context.Context, *Call) (Result, error) {
					if fails {
						fails = false
						return Result{}, reasonError("trap")
					}
					return Result{}, nil
				}}, shadow).OnError = &config.OnError{Kind: kind}
				w.up()
				defer w.down()
				w.deliver("e1")
				w.deliver("e1")
				w.pass(time.Minute)
				if before.runs.Load() != 1 || shadow.runs.Load() != 1 {
					t.Errorf("%d and %d runs", before.runs.Load(), shadow.runs.Load())
				}
				for _, s := range w.engine.Shadows() {
					if s.Same != 1 || s.Different != 0 {
						t.Errorf("got %+v", s)
					}
				}
			})
		})
	}
}

// TestShadowSwap: a set is drained when its shadow that is under way has ended;
// those that wait are dropped. The counts go on as long as the plugin is the
// same.
func TestShadowSwap(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		shadow := takes(10*time.Second, "a")
		w.shadowed("s", takes(0, "a"), shadow)
		w.up()
		defer w.down()
		for i := range 3 {
			w.deliver("e" + strconv.Itoa(i)) // of one user: one lane
		}
		w.pass(time.Second)
		drained := w.engine.Swap(w.build())
		w.pass(8 * time.Second)
		select {
		case <-drained:
			t.Fatal("drained, and its shadow runs")
		default:
		}
		w.pass(2 * time.Second)
		select {
		case <-drained:
		default:
			t.Fatal("not drained")
		}
		if s := w.shadow(t); s.Same != 1 || s.Dropped != 2 || shadow.runs.Load() != 1 {
			t.Errorf("got %+v", s)
		}
		w.pipe.Stages[0].Shadow.Name = "other"
		w.plugins["other"] = &fake{}
		w.engine.Swap(w.build())
		if s := w.shadow(t); s.Same != 0 || s.Shadow != "other" {
			t.Errorf("another plugin: %+v", s)
		}
	})
}

// TestShadowClose: the end of the host stops what runs and drops what waits.
func TestShadowClose(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.shadowed("s", takes(0, "a"), takes(time.Hour, "a"))
		w.pipe.Deadline = 2 * time.Hour
		w.up()
		for i := range 3 {
			w.deliver("e" + strconv.Itoa(i))
		}
		w.pass(time.Second)
		if err := w.engine.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		w.down()
		if s := w.shadow(t); s.Dropped != 3 || time.Since(w.start) != time.Second {
			t.Errorf("got %+v after %v", s, time.Since(w.start))
		}
	})
}

// TestShadowOfCanary: only what the stage's own plugin did is compared.
func TestShadowOfCanary(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		shadow := says("a")
		w.canary("s", says("a"), says("canary"), 50_000)
		w.pipe.Stages[0].Shadow = &config.Plugin{Name: "shadow"}
		w.plugins["shadow"] = shadow
		w.up()
		defer w.down()
		primary := 0
		for i := range 50 {
			if w.send(i) == "a" {
				primary++
			}
		}
		w.pass(time.Second)
		if s := w.shadow(t); int(s.Same) != primary || s.Different != 0 || int(shadow.runs.Load()) != primary {
			t.Errorf("%d events, got %+v", primary, s)
		}
	})
}

// TestShadowWants: an event that it doesn't take tells nothing.
func TestShadowWants(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		shadow := says("a")
		shadow.wants = func(typ, _ string) bool { return typ == "image" }
		w.shadowed("s", says("a"), shadow)
		w.up()
		defer w.down()
		w.deliver("e1")
		w.pass(time.Second)
		if s := w.shadow(t); s.Primary != "s" || s.Shadow != "s-shadow" || s.Same+s.Different+s.Dropped+s.NotComparable != 0 || shadow.runs.Load() != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

// TestShadowInParallel: the branches' shadows run, too.
func TestShadowInParallel(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.side("a", says("a")), w.side("b", says("b"))
		a.Shadow, b.Shadow = &config.Plugin{Name: "x"}, &config.Plugin{Name: "x"}
		w.plugins["x"] = says("a")
		w.parallel("both", a, b)
		w.up()
		defer w.down()
		w.deliver("e1")
		w.pass(time.Second)
		if all := w.engine.Shadows(); len(all) != 2 || all[0].Same != 1 || all[1].Different != 1 {
			t.Errorf("got %+v", all)
		}
	})
}

// TestShadowPartial: where it is not known what the primary saw, nothing is said.
func TestShadowPartial(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.shadowed("s", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			c.Before.Partial = true
			return Result{}, nil
		}}, says("a"))
		w.up()
		defer w.down()
		w.deliver("e1")
		w.pass(time.Second)
		if s := w.shadow(t); s.NotComparable != 1 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestShadowOfForward(t *testing.T) {
	quiet := &fake{}
	for _, tc := range []struct {
		name   string
		as     config.ForwardAs
		answer string // of raw: the body; of json: the text; "": none
		fails  bool
		shadow *fake
		result string
	}{
		{"raw, same", config.ForwardRaw, "a", false, answers(Result{Outcome: hostapi.Done, Reply: textReply("a"), ReplySet: true}, nil), "same"},
		{"raw, same but for what goes on", config.ForwardRaw, "a", false, says("a"), "same"},
		{"raw, another", config.ForwardRaw, "a", false, says("b"), "different"},
		{"raw, nothing", config.ForwardRaw, "success", false, quiet, "same"},
		{"raw, not to be opened", config.ForwardRaw, "broken", false, quiet, "not_comparable"},
		{"raw, failed", config.ForwardRaw, "", true, quiet, "not_comparable"},
		{"json, same", config.ForwardJSON, "a", false, says("a"), "same"},
		{"json, another", config.ForwardJSON, "a", false, says("b"), "different"},
		{"json, none", config.ForwardJSON, "", false, quiet, "same"},
		{"json, failed", config.ForwardJSON, "", true, quiet, "not_comparable"},
		{"the shadow fails", config.ForwardRaw, "a", false, failing("trap"), "error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				up := newService()
				up.verbatim = &Verbatim{Body: []byte(tc.answer), Silent: tc.answer == "success"}
				if tc.answer != "" {
					up.reply = textReply(tc.answer)
				}
				if tc.fails {
					up.failures.Store(1)
				}
				st := w.forward("legacy", tc.as, up)
				st.Shadow = &config.Plugin{Name: "shadow"}
				w.plugins["shadow"] = tc.shadow
				w.up()
				defer w.down()
				w.deliver("e1")
				w.pass(time.Second)
				if n := w.count("weft_shadow_total", "main", tc.result, st.Name); n != 1 {
					t.Errorf("got %+v", w.shadow(t))
				}
			})
		})
	}
}

// TestDifferences: what is remembered is bounded and cut, and stands nowhere
// else.
func TestDifferences(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		long := strings.Repeat("微", maxText)
		w.shadowed("s", answers(Result{Outcome: hostapi.Done, Reply: textReply("personal " + long), ReplySet: true}, nil), answers(Result{
			Reply: textReply("other"), ReplySet: true, Annotations: slices.Repeat(noted("a", long), 50),
		}, nil))
		w.up()
		defer w.down()
		for i := range maxDifferences + 5 {
			ev := event("e" + strconv.Itoa(i))
			ev.Content, ev.User = "question "+long, "oSecret"+strconv.Itoa(i)
			w.deliverEvent(t.Context(), ev)
			w.pass(time.Second)
		}
		ds := w.engine.Differences()
		if len(ds) != maxDifferences || ds[0].EventID != "e104" || ds[maxDifferences-1].EventID != "e5" {
			t.Fatalf("%d differences, the first of %s", len(ds), ds[0].EventID)
		}
		d := ds[0]
		if d.Pipeline != "main" || d.Stage != "s" || d.App != "shop" || d.Type != "text" || !strings.HasPrefix(d.Content, "question 微") ||
			d.Primary.Outcome != "done" || !strings.HasPrefix(d.Primary.Reply, `{"text":{"content":"personal 微`) ||
			d.Shadow.Outcome != "next" || d.Shadow.Reply != `{"text":{"content":"other"}}` || len(d.Shadow.Annotations) != maxShownAnnotations || d.Primary.Annotations != nil {
			t.Errorf("got %+v", d)
		}
		for _, text := range []string{d.Content, d.Primary.Reply, d.Shadow.Annotations[0].Value} {
			if len(text) > maxText+len("…") || !strings.HasSuffix(text, "…") || strings.ContainsRune(text, '\uFFFD') {
				t.Errorf("%d bytes: %q", len(text), text)
			}
		}
		if told := fmt.Sprintf("%+v %s", w.engine.Shadows(), w.logged()); strings.Contains(told, "personal") || strings.Contains(told, "oSecret") || strings.Contains(told, "question") {
			t.Errorf("says too much: %s", told)
		}
	})
}
