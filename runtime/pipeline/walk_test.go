package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

func replyStage(name, text string) *config.Stage {
	return &config.Stage{Name: name, Reply: &config.Reply{Text: &config.Text{Content: text}}}
}

// The order of stages, switch, conditions on annotations, done, always.
func TestWalk(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var path []string
		step := func(name string, res Result) *config.Stage {
			p := &fake{handle: func(_ context.Context, c *Call) (Result, error) {
				path = append(path, fmt.Sprintf("%s%v", name, c.Passive))
				return res, nil
			}}
			w.plugins[name] = p
			return &config.Stage{Name: name, Plugin: &config.Plugin{Name: name}}
		}
		tag := func(k, v string) Result { return Result{Annotations: []hostapi.Field{{Name: k, Value: v}}} }
		vip := step("vip", Result{})
		vip.When = `attrs["level"] == "2" && type == "TEXT"`
		guard := step("guard", Result{})
		w.plugins["guard"].(*fake).wants = func(typ, _ string) bool { return typ == "image" }
		guard.When = `int(content) > 0` // would fail: but the stage does not want the event
		w.pipe.Stages = []*config.Stage{
			guard,
			step("tag", tag("level", "1")),
			step("tag2", tag("level", "2")),
			{Name: "ways", Switch: []*config.Branch{
				{When: `content == "bye"`, Stages: []*config.Stage{step("bye", Result{})}},
				{When: `content == "hi"`, Stages: []*config.Stage{vip, replyStage("early", "early")}},
				{Stages: []*config.Stage{step("rest", Result{})}},
			}},
			step("last", Result{Outcome: hostapi.Done, Reply: textReply("last"), ReplySet: true}),
			step("never", Result{}),
		}
		w.pipe.Always = []*config.Stage{
			step("a1", Result{Outcome: hostapi.Done, Reply: textReply("no"), ReplySet: true}),
			step("a2", Result{}),
		}
		w.up()
		defer w.down()
		if a := w.deliver("e1"); !isText(a, "last") {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		if got := strings.Join(path, " "); got != "tagtrue tag2true viptrue lasttrue a1false a2false" {
			t.Errorf("path %s", got)
		}
	})
}

// A reply can be taken back; the last one set counts.
func TestReplies(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Stages = []*config.Stage{replyStage("a", "a")}
		w.stage("back", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			if c.Reply == nil || c.Reply.Text.Content != "a" {
				t.Errorf("earlier reply %v", c.Reply)
			}
			return Result{ReplySet: true}, nil
		}})
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success || a.Outcome != "success" {
			t.Errorf("%+v", a)
		}
	})
}

// The answer does not wait for always, and always gets no part of its error.
func TestAlwaysIsOffTheWay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.stage("quick", takes(0, "answer"))
		w.always("broken", failing("trap"))
		slow := takes(10*time.Second, "no")
		w.always("slow", slow)
		w.up()
		defer w.down()
		g := <-w.async(t.Context(), 0, "e1")
		if !isText(g.answer, "answer") || g.at != 0 {
			t.Errorf("%+v", g)
		}
		w.pass(time.Minute)
		if slow.runs.Load() != 1 || w.store.appends != 0 {
			t.Errorf("%d runs, %d appends", slow.runs.Load(), w.store.appends)
		}
	})
}

// The user's turn ends with the stages: the next event does not wait for always.
func TestTurnEndsBeforeAlways(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.OrderUser = true
		w.stage("quick", takes(0, "answer"))
		w.always("slow", takes(10*time.Second, "no"))
		w.up()
		defer w.down()
		w.deliver("e1")
		if g := <-w.async(t.Context(), time.Second, "e2"); !isText(g.answer, "answer") || g.at != time.Second {
			t.Errorf("%+v", g)
		}
	})
}

// A reply that stop has dropped is dropped for always, too, and is no late one.
func TestStopDropsTheReply(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pipe.Stages = []*config.Stage{replyStage("a", "a")}
		w.stage("broken", failing("trap"))
		w.always("count", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			if c.Reply != nil {
				t.Errorf("always sees %v", c.Reply)
			}
			return Result{}, nil
		}})
		w.up()
		defer w.down()
		if a := w.deliver("e1"); a.Kind != Success || a.Outcome != "stopped" {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		if n := w.count("weft_late_replies_total", "shop", "drop"); n != 0 {
			t.Errorf("%d late replies counted", n)
		}
	})
}

func TestBuildProblems(t *testing.T) {
	w := newWorld(t)
	w.stage("a", &fake{}).When = `Type == "x"`
	st := w.stage("b", &fake{})
	st.OnError = &config.OnError{Kind: config.Instead, Plugin: &config.Plugin{Name: "gone"}}
	st.WhenPos = config.Pos{Line: 4, Col: 2}
	st.When = `key == 1`
	w.always("c", &fake{}).When = "hour"
	delete(w.plugins, "a")
	set, problems := Build(&config.Config{Apps: []*config.App{w.app}, Pipelines: []*config.Pipeline{w.pipe}}, w.plugins)
	if set != nil || len(problems) != 5 {
		t.Errorf("%d problems: %v", len(problems), problems)
	}
	w.pipe.Stages, w.pipe.Always = []*config.Stage{replyStage("r", "x")}, nil
	w.pipe.Stages[0].When = `type == "txet"`
	set, problems = Build(&config.Config{Apps: []*config.App{w.app}, Pipelines: []*config.Pipeline{w.pipe}}, nil,
		KnownWords(func(s string) bool { return s == "text" }))
	if set == nil || len(problems) != 1 || !problems[0].Warning {
		t.Errorf("%v", problems)
	}
}

// Every stage of a pipeline can be found again by its name.
func TestStagePaths(t *testing.T) {
	w := newWorld(t)
	w.pipe.Stages = []*config.Stage{
		replyStage("a", "x"),
		{Name: "s", Switch: []*config.Branch{
			{When: "true", Stages: []*config.Stage{replyStage("b", "x"), {Name: "s2", Switch: []*config.Branch{{Stages: []*config.Stage{replyStage("c", "x"), replyStage("d", "x")}}}}}},
			{Stages: []*config.Stage{replyStage("e", "x")}},
		}},
		replyStage("f", "x"),
		{Name: "p", Parallel: []*config.Stage{replyStage("g", "x"), {Name: "p2", Parallel: []*config.Stage{list("l", replyStage("h", "x"), replyStage("i", "x"))}}}},
	}
	p := w.build().apps["shop"].pipe
	for name, path := range map[string][]int{
		"a": {0}, "s": {1}, "b": {1, 0, 0}, "s2": {1, 0, 1}, "c": {1, 0, 1, 0, 0}, "d": {1, 0, 1, 0, 1}, "e": {1, 1, 0}, "f": {2},
		"p": {3}, "g": {3, 0, 0}, "p2": {3, 1, 0}, "l": {3, 1, 0, 0, 0}, "i": {3, 1, 0, 0, 0, 0, 1},
	} {
		if !slices.Equal(p.paths[name], path) {
			t.Errorf("%s: %v, want %v", name, p.paths[name], path)
		}
	}
}

// Every form of a fixed reply arrives as it stands in the file.
func TestFixedReplies(t *testing.T) {
	for kind, r := range map[string]*config.Reply{
		"text":     {Text: &config.Text{Content: "a"}},
		"image":    {Image: &config.Media{MediaID: "a"}},
		"voice":    {Voice: &config.Media{MediaID: "a"}},
		"video":    {Video: &config.Video{MediaID: "a", Title: "b", Description: "c"}},
		"music":    {Music: &config.Music{Title: "a", Description: "b", URL: "c", HQURL: "d", ThumbMediaID: "e"}},
		"news":     {News: &config.News{Articles: []config.Article{{Title: "a", Description: "b", PicURL: "c", URL: "d"}, {Title: "e"}}}},
		"transfer": {Transfer: &config.Transfer{Account: "a"}},
		"raw":      {Raw: &config.Raw{Body: []byte("a")}},
	} {
		got := FixedReply(r)
		// The two types have the same fields with the same names.
		if want := dump(r); dump(got) != want || got.Kind() != kind {
			t.Errorf("%s: %s, want %s", kind, dump(got), want)
		}
	}
}

func dump(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
