package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// side makes a stage of a plugin that is not in the pipeline yet.
func (w *world) side(name string, p Plugin) *config.Stage {
	w.plugins[name] = p
	return &config.Stage{Name: name, Plugin: &config.Plugin{Name: name}}
}

// parallel adds a parallel stage.
func (w *world) parallel(name string, branches ...*config.Stage) *config.Stage {
	st := &config.Stage{Name: name, Parallel: branches}
	w.pipe.Stages = append(w.pipe.Stages, st)
	return st
}

// list makes a stage that walks others, one after another.
func list(name string, stages ...*config.Stage) *config.Stage {
	return &config.Stage{Name: name, Switch: []*config.Branch{{Stages: stages}}}
}

// gives makes a plugin that leaves res.
func gives(res Result) *fake {
	return &fake{handle: func(context.Context, *Call) (Result, error) { return res, nil }}
}

func tag(name, value string) []hostapi.Field { return []hostapi.Field{{Name: name, Value: value}} }

// shown writes annotations and a reply as a test compares them.
func shown(attrs []hostapi.Field, reply *hostapi.Reply) string {
	var b strings.Builder
	for _, a := range attrs {
		fmt.Fprintf(&b, "%s=%s ", a.Name, a.Value)
	}
	if reply == nil {
		return b.String() + "none"
	}
	return b.String() + reply.Text.Content
}

// The branches run side by side and all see the event as it was before them; a
// stage after them sees what they left.
func TestParallelSeesTheSame(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var seen journal[string]
		needs := func(name string, d time.Duration) *config.Stage {
			return w.side(name, &fake{handle: func(_ context.Context, c *Call) (Result, error) {
				seen.add(name + " " + shown(c.Attrs, c.Reply))
				time.Sleep(d)
				seen.add(name + " " + shown(c.Attrs, c.Reply))
				return Result{Annotations: tag("from", name), Reply: textReply(name), ReplySet: true}, nil
			}})
		}
		w.pipe.Stages = []*config.Stage{replyStage("early", "early")}
		w.stage("tag", gives(Result{Annotations: tag("from", "tag")}))
		w.parallel("both", needs("slow", 2*time.Second), needs("quick", time.Second))
		w.stage("after", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			seen.add("after " + shown(c.Attrs, c.Reply))
			return Result{}, nil
		}})
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), 0, "e1"); !isText(g.answer, "quick") || g.at != 2*time.Second {
			t.Errorf("%+v", g)
		}
		got := seen.all()
		slices.Sort(got[:2]) // they begin at once
		if want := "quick from=tag early, slow from=tag early, quick from=tag early, slow from=tag early, after from=quick quick"; strings.Join(got, ", ") != want {
			t.Errorf("got %s", strings.Join(got, ", "))
		}
		if n := w.observed("weft_stage_seconds", "main both"); n != 1 {
			t.Errorf("the parallel stage was timed %d times", n)
		}
	})
}

// What is left of several branches: annotations in list order, the reply of the
// last that set one or took it back, the strongest outcome.
func TestParallelMerges(t *testing.T) {
	next := func(attrs ...hostapi.Field) Result { return Result{Annotations: attrs} }
	says := func(text string) Result { return Result{Reply: textReply(text), ReplySet: true} }
	field := func(n, v string) hostapi.Field { return hostapi.Field{Name: n, Value: v} }
	for name, tc := range map[string]struct {
		branches []Result
		left     string // what always sees; before them there are a=0, b=0 and the reply early
		outcome  string
		after    int32
	}{
		"nothing":               {[]Result{next(), next()}, "a=0 b=0 early", "replied", 1},
		"one":                   {[]Result{next(field("a", "1"))}, "a=1 b=0 early", "replied", 1},
		"list order":            {[]Result{next(field("a", "1"), field("c", "1")), next(field("d", "2"), field("a", "2"))}, "a=2 b=0 c=1 d=2 early", "replied", 1},
		"the same value again":  {[]Result{next(field("a", "1")), next(field("a", "0"))}, "a=0 b=0 early", "replied", 1},
		"what others inherited": {[]Result{next(field("a", "1")), next(field("b", "1"))}, "a=1 b=1 early", "replied", 1},
		"the last reply":        {[]Result{says("x"), says("y"), next()}, "a=0 b=0 y", "replied", 1},
		"taken back last":       {[]Result{says("x"), {ReplySet: true}}, "a=0 b=0 none", "success", 1},
		"taken back first":      {[]Result{{ReplySet: true}, says("y")}, "a=0 b=0 y", "replied", 1},
		"done":                  {[]Result{{Outcome: hostapi.Done}, says("y")}, "a=0 b=0 y", "replied", 0},
		"done last":             {[]Result{says("x"), {Outcome: hostapi.Done, Annotations: tag("a", "9")}}, "a=9 b=0 x", "replied", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.pipe.Stages = []*config.Stage{replyStage("early", "early")}
				w.stage("tag", gives(next(field("a", "0"), field("b", "0"))))
				var branches []*config.Stage
				for i, res := range tc.branches {
					branches = append(branches, w.side(fmt.Sprint("s", i), gives(res)))
				}
				w.parallel("both", branches...)
				after := &fake{}
				w.stage("after", after)
				var left string
				w.always("look", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
					left = shown(c.Attrs, c.Reply)
					return Result{}, nil
				}})
				w.up()
				defer w.down()
				if a := w.deliver("e1"); a.Outcome != tc.outcome {
					t.Errorf("%+v", a)
				}
				synctest.Wait()
				if left != tc.left || after.runs.Load() != tc.after {
					t.Errorf("left %s; %d runs after them", left, after.runs.Load())
				}
			})
		})
	}
}

// A branch may be any kind of stage, in any depth, and has its own `when`, which
// does not see what the others annotate.
func TestParallelBranches(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		only := func(st *config.Stage, when string) *config.Stage {
			st.When = when
			return st
		}
		unwanted := &fake{wants: func(string, string) bool { return false }}
		w.parallel("top",
			w.side("tag", gives(Result{Annotations: tag("x", "1")})),
			only(w.side("not", gives(Result{Annotations: tag("not", "1")})), `attrs["x"] == "1"`),
			w.side("unwanted", unwanted),
			list("list", w.side("l1", gives(Result{Annotations: tag("l", "1")})),
				only(w.side("l2", gives(Result{Annotations: tag("l", "2")})), `attrs["l"] == "1" && "x" not in attrs`)),
			&config.Stage{Name: "inner", When: `type == "text"`, Parallel: []*config.Stage{replyStage("fixed", "fixed"), w.side("i", gives(Result{Annotations: tag("i", "1")}))}},
		)
		var left string
		w.stage("look", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			left = shown(c.Attrs, c.Reply)
			return Result{}, nil
		}})
		w.up()
		defer w.down()
		if a := w.deliver("e1"); !isText(a, "fixed") || left != "x=1 l=2 i=1 fixed" || unwanted.runs.Load() != 0 {
			t.Errorf("%+v, left %s", a, left)
		}
	})
}

// Branches that make more annotations than an event has room for: what is over
// it, in list order, is dropped and logged.
func TestParallelAnnotationsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		many := func(name string, n int) *config.Stage {
			var res Result
			for i := range n {
				res.Annotations = append(res.Annotations, hostapi.Field{Name: fmt.Sprint(name, i), Value: "1"})
			}
			res.Annotations = append(res.Annotations, hostapi.Field{Name: "both", Value: name})
			return w.side(name, gives(res))
		}
		w.parallel("top", many("a", 39), many("b", 39))
		var attrs []hostapi.Field
		w.stage("look", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			attrs = slices.Clone(c.Attrs)
			return Result{}, nil
		}})
		w.up()
		defer w.down()
		w.deliver("e1")
		if len(attrs) != hostapi.MaxAnnotations || attrs[63].Name != "b23" || attrs[39].Value != "b" {
			t.Errorf("%d annotations, the last is %v", len(attrs), attrs[len(attrs)-1])
		}
		if want := `pipeline=main stage=top event_id=e1 dropped=15`; !strings.Contains(w.logged(), want) {
			t.Errorf("logged\n%s", w.logged())
		}
	})
}

// The user's turn is held until all branches have ended.
func TestParallelHoldsTheTurn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OrderUser = true
		w.parallel("both", w.side("quick", takes(0, "quick")), w.side("slow", takes(2*time.Second, "slow")))
		w.up()
		defer w.down()
		first, second := w.async(t.Context(), 0, "e1"), w.async(t.Context(), time.Second, "e2")
		if a, b := <-first, <-second; a.at != 2*time.Second || b.at != 4*time.Second {
			t.Errorf("answered at %v and %v", a.at, b.at)
		}
	})
}

// The event's deadline ends every branch that is still running, and no other.
func TestParallelDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Deadline = 3 * time.Second
		w.pipe.OnError = config.OnError{Kind: config.Skip}
		w.parallel("all", w.side("quick", takes(time.Second, "quick")), w.side("slow", takes(time.Minute, "slow")), w.side("slower", takes(time.Hour, "slower")))
		w.up()
		defer w.down()
		if g := <-w.async(t.Context(), 0, "e1"); !isText(g.answer, "quick") || g.at != 3*time.Second {
			t.Errorf("%+v", g)
		}
		for stage, want := range map[string]int{"quick": 0, "slow": 1, "slower": 1} {
			if n := w.count("weft_stage_errors_total", "main", "timeout", stage); n != want {
				t.Errorf("%d time-outs of %s", n, stage)
			}
		}
	})
}

// Under always the branches have no reply to set and no way to end anything.
func TestParallelUnderAlways(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("quick", takes(0, "answer"))
		var left string
		w.pipe.Always = []*config.Stage{{Name: "both", Parallel: []*config.Stage{
			w.side("broken", failing("trap")),
			w.side("tag", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
				if c.Passive {
					t.Error("a reply can be set")
				}
				return Result{Outcome: hostapi.Done, Annotations: tag("a", "1"), Reply: textReply("no"), ReplySet: true}, nil
			}}),
		}}}
		w.always("look", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			left = shown(c.Attrs, c.Reply)
			return Result{}, nil
		}})
		w.up()
		defer w.down()
		if a := w.deliver("e1"); !isText(a, "answer") {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		if left != "a=1 answer" || w.count("weft_stage_errors_total", "main", "trap", "broken") != 1 {
			t.Errorf("left %s", left)
		}
	})
}

// Problems of branches are found as those of other stages are.
func TestParallelBuildProblems(t *testing.T) {
	w := newWorld(t)
	bad := w.side("a", &fake{})
	bad.When = `Type == "x"`
	gone := w.side("b", &fake{})
	delete(w.plugins, "b")
	w.parallel("both", bad, list("l", gone)).When = `key == 1`
	_, problems := Build(&config.Config{Apps: []*config.App{w.app}, Pipelines: []*config.Pipeline{w.pipe}}, w.plugins)
	if len(problems) != 3 {
		t.Errorf("%d problems: %v", len(problems), problems)
	}
}
