package pipeline

import (
	"context"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/weft-dev/weft/runtime/config"
)

// shortest times each f, in turns, and gives the shortest time of one call of
// each: on a busy machine that is still the code's own.
func shortest(fs ...func()) []time.Duration {
	const rounds, calls = 300, 200
	least := make([]time.Duration, len(fs))
	for i := range least {
		least[i] = math.MaxInt64
	}
	for range rounds {
		for i, f := range fs {
			begin := time.Now()
			for range calls {
				f()
			}
			least[i] = min(least[i], time.Since(begin)/calls)
		}
	}
	return least
}

// TestStageCost holds what a stage costs beyond its plugin's own time: two
// allocations and, in a full run, 400 ns.
func TestStageCost(t *testing.T) {
	const stages = 10
	w := newWorld(t)
	for i := range stages {
		w.stage(strconv.Itoa(i), &fake{}).When = `type == "text"`
	}
	a := w.build().apps["shop"]
	wk := &walk{metrics: w.metrics, app: a, ev: event("e1"), passive: true}
	walk := func() {
		if f := wk.stages(context.Background(), a.pipe.stages, nil, nil); f != goOn {
			t.Fatal(f)
		}
	}
	if n := testing.AllocsPerRun(100, walk); n > 2*stages {
		t.Errorf("%v allocations in %d stages", n, stages)
	}
	if os.Getenv("WEFT_BARS") == "" {
		return
	}
	took := shortest(walk)[0] / stages
	t.Logf("%v a stage, its condition included", took)
	if took > 400*time.Nanosecond {
		t.Errorf("%v a stage, at most 400 ns", took)
	}
}

// TestWhenCost holds a condition, in a full run, to 1.3 times a bare run of the
// same expression.
func TestWhenCost(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" {
		t.Log("measured in a full run")
		return
	}
	for _, src := range []string{
		`type == "event"`,
		`event == "CLICK" && key startsWith "menu_"`,
		`content in ["人工", "客服"]`,
		`hour in 9..18 && weekday < 6`,
		`content matches "^你好"`,
		`fields["List[0].TemplateId"] == "x"`,
		`attrs["tag"] == "a"`,
	} {
		e := newEnv(&app{name: "shop"}, whenEvent())
		c, problems := compile(src, config.Pos{}, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		program, err := expr.Compile(src, expr.Env(e), expr.AsBool())
		if err != nil {
			t.Fatal(err)
		}
		var machine vm.VM
		took := shortest(func() {
			if _, err := c.eval(&machine, e); err != nil {
				t.Fatal(err)
			}
		}, func() {
			if _, err := expr.Run(program, e); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %v, bare %v", src, took[0], took[1])
		if float64(took[0]) > 1.3*float64(took[1]) {
			t.Errorf("%s: %v, at most 1.3 times %v", src, took[0], took[1])
		}
	}
}
