package pipeline

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// BenchmarkStage is what a stage costs beyond its plugin's own time: aim 400 ns
// and 2 allocations.
func BenchmarkStage(b *testing.B) {
	w := newWorld(nil)
	for i := range 10 {
		w.stage(strconv.Itoa(i), &fake{})
	}
	benchWalk(b, w, 10)
}

// BenchmarkStageWhen is the same with a condition.
func BenchmarkStageWhen(b *testing.B) {
	w := newWorld(nil)
	for i := range 10 {
		w.stage(strconv.Itoa(i), &fake{}).When = `type == "text"`
	}
	benchWalk(b, w, 10)
}

// BenchmarkParallel is a parallel stage of four branches, by branch.
func BenchmarkParallel(b *testing.B) {
	w := newWorld(nil)
	var branches []*config.Stage
	for i := range 4 {
		branches = append(branches, w.side(strconv.Itoa(i), &fake{}))
	}
	w.parallel("all", branches...)
	benchWalk(b, w, 4)
}

func benchWalk(b *testing.B, w *world, stages int) {
	set, problems := Build(&config.Config{Apps: []*config.App{w.app}, Pipelines: []*config.Pipeline{w.pipe}}, w.plugins)
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	a, ev := set.apps["shop"], event("e1")
	wk := &walk{metrics: w.metrics, app: a, ev: ev, passive: true}
	b.ReportAllocs()
	for b.Loop() {
		if f := wk.stages(context.Background(), a.pipe.stages, nil, nil); f != goOn {
			b.Fatal(f)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*stages), "ns/stage")
}

// BenchmarkWhen compares a condition with a bare expr run of the same
// expression over the same environment: aim 1.3 times.
func BenchmarkWhen(b *testing.B) {
	for _, src := range []string{
		`type == "event"`,
		`event == "CLICK" && key startsWith "menu_"`,
		`content in ["人工", "客服"]`,
		`hour in 9..18 && weekday < 6`,
		`content matches "^你好"`,
	} {
		e := newEnv(&app{name: "shop"}, whenEvent())
		b.Run("when/"+src, func(b *testing.B) {
			c, problems := compile(src, config.Pos{}, nil)
			if len(problems) > 0 {
				b.Fatal(problems)
			}
			var machine vm.VM
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.eval(&machine, e); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("bare/"+src, func(b *testing.B) {
			program, err := expr.Compile(src, expr.Env(e), expr.AsBool())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := expr.Run(program, e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRoom is what the bounds of those in flight cost an event.
func BenchmarkRoom(b *testing.B) {
	m := room{most: 4096}
	m.arrange(setOfApps(make([]int, 40)...))
	s := m.shares["a0"]
	for b.Loop() {
		if !m.enter(s) {
			b.Fatal("no place")
		}
		m.leave(s)
	}
}

// BenchmarkDeliver is the whole way of an event with one stage.
func BenchmarkDeliver(b *testing.B) { benchDeliver(b, new(memStore), nil) }

func benchDeliver(b *testing.B, s store.Store, shared store.Board) {
	w := newWorld(nil)
	w.pipe.OrderUser = true
	w.stage("s", &fake{handle: func(context.Context, *Call) (Result, error) {
		return Result{Outcome: hostapi.Done, Reply: textReply("x"), ReplySet: true}, nil
	}})
	set, _ := Build(&config.Config{Apps: []*config.App{w.app}, Pipelines: []*config.Pipeline{w.pipe}}, w.plugins)
	e, err := NewEngine(Options{Store: s, Metrics: w.metrics, Shared: shared})
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Start(context.Background(), set); err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	b.ReportAllocs()
	ev := event("")
	i := 0
	for b.Loop() {
		i++
		ev.ID = fmt.Sprintf("%032d", i)
		now := time.Now()
		if a := e.Deliver(context.Background(), Delivery{App: "shop", Event: ev, Timestamp: now, MaxSkew: time.Minute, Arrived: now}); a.Kind != Replied {
			b.Fatal(a)
		}
	}
}
