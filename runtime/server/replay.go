package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/pipeline"
)

// ReplayOptions say what Replay compares.
type ReplayOptions struct {
	Files   []string // of cases of apps
	Config  string   // the pipeline.yaml as it is
	Against string   // the other one
	Run     *regexp.Regexp
	// Fuel is how much more fuel Against may take in all, in percent; below 0: any.
	Fuel float64
}

// ReplayReport is what Replay found. Its JSON is the output of
// `weft replay --json`: names are added to it, and none is changed. No list in it
// is nil.
type ReplayReport struct {
	Config  string `json:"config"`
	Against string `json:"against"`
	Cases   int    `json:"cases"`
	Events  int    `json:"events"`
	// How many events differ in each.
	Answers     int `json:"answers"`
	Effects     int `json:"effects"`
	Annotations int `json:"annotations"`
	Paths       int `json:"paths"`

	Fuel        Sides                `json:"fuel"`    // of all plugins' calls
	TimeUS      Sides                `json:"time_us"` // of all stages, in microseconds
	FuelOver    bool                 `json:"fuel_over"`
	Differences []ReplayedDifference `json:"differences"`
	Problems    []TestProblem        `json:"problems"`
}

// Sides is a number of both configurations.
type Sides struct {
	Config  int64 `json:"config"`
	Against int64 `json:"against"`
}

// ReplayedDifference is something in which an event differs.
type ReplayedDifference struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Case    string `json:"case"`
	What    string `json:"what"` // answer, effect, annotations or path
	Config  string `json:"config"`
	Against string `json:"against"`
}

// OK tells whether every answer and every effect is the same, and the fuel within
// its bound.
func (r *ReplayReport) OK() bool {
	return r.Answers == 0 && r.Effects == 0 && !r.FuelOver && len(r.Problems) == 0
}

// maxDifferences bounds the list of differences; the counts have all.
const maxDifferences = 1000

// Replay gives each event of files of cases to two configurations, each with a
// store, a sandbox, a clock and randomness of its own, and compares what became of
// it. Nothing is bound or dialled. The error is a file that can't be read, Run that
// matches no case, or ctx's end.
func Replay(ctx context.Context, opt ReplayOptions) (_ *ReplayReport, err error) {
	r := &replay{opt: opt, report: &ReplayReport{
		Config: opt.Config, Against: opt.Against, Differences: []ReplayedDifference{}, Problems: []TestProblem{},
	}}
	if _, err := os.Stat(opt.Against); err != nil {
		return nil, fmt.Errorf("reading the other configuration: %w: name it with --against", err)
	}
	var done func() error
	if r.cacheDir, done, err = benchCache(opt.Config); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	files, err := caseFiles(TestOptions{Config: opt.Config, Files: opt.Files})
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := r.file(ctx, file); err != nil {
			return nil, err
		}
	}
	if r.report.Events == 0 && len(r.report.Problems) == 0 {
		return nil, errNoCase
	}
	f := r.report.Fuel
	r.report.FuelOver = opt.Fuel >= 0 && float64(f.Against) > float64(f.Config)*(1+opt.Fuel/100)
	return r.report, nil
}

// replay is one Replay.
type replay struct {
	opt      ReplayOptions
	cacheDir string
	report   *ReplayReport
}

func (r *replay) problem(problems config.Problems) {
	var t TestReport
	t.addProblems(problems)
	r.report.Problems = append(r.report.Problems, t.Problems...)
}

// file replays the cases of one file.
func (r *replay) file(ctx context.Context, name string) error {
	src, err := readAtMost(name, config.MaxFile+1)
	if err != nil {
		return fmt.Errorf("reading the cases: %w", err)
	}
	f, problems := config.ParseCases(name, src)
	r.problem(problems)
	if f == nil {
		return nil
	}
	if f.App == "" {
		r.report.Problems = append(r.report.Problems, TestProblem{File: name, Text: "the cases are a plugin's", Advice: "replay those of an app: `weft test --record` makes some"})
		return nil
	}
	var sides [2]*config.Config
	for i, file := range []string{r.opt.Config, r.opt.Against} {
		cfg, _, err := caseConfig(file, f.Env)
		if found := config.Problems(nil); errors.As(err, &found) {
			r.problem(found)
			return nil
		}
		if err != nil {
			return err
		}
		sides[i] = cfg
	}
	for _, c := range f.Cases {
		if r.opt.Run != nil && !r.opt.Run.MatchString(c.Name) {
			continue
		}
		if err := r.replayCase(ctx, sides, c); err != nil {
			return err
		}
	}
	return nil
}

// replayCase gives a case's events to both sides in turn.
func (r *replay) replayCase(ctx context.Context, sides [2]*config.Config, c *config.Case) (err error) {
	var benches [2]*appBench
	defer func() {
		for _, b := range benches {
			if b != nil {
				err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
			}
		}
	}()
	for i, file := range []string{r.opt.Config, r.opt.Against} {
		app, err := findApp(sides[i], c.App)
		if err != nil {
			r.report.Problems = append(r.report.Problems, TestProblem{File: file, Text: err.Error(), Advice: c.Pos.String() + " needs it"})
			return nil
		}
		benches[i], err = openAppBench(ctx, sides[i], app, c.Now, r.cacheDir)
		if problems := config.Problems(nil); errors.As(err, &problems) {
			r.problem(problems)
			return nil
		}
		if err == nil {
			err = benches[i].give(ctx, c.App, c.Given)
		}
		if err != nil {
			return err
		}
	}
	r.report.Cases++
	now := c.Now
	for i, ev := range c.Events {
		now = nextTime(ev, now, i, time.Second)
		given, problem := appInput(ev, c.App, now, i)
		if problem != nil {
			r.problem(config.Problems{*problem})
			return nil
		}
		if err := r.event(ctx, benches, c, ev, now, given); err != nil {
			return err
		}
	}
	return nil
}

// outcome is what became of an event on one side.
type outcome struct {
	answer, annotations, path, upstreams string
	fuel                                 int64
	took                                 time.Duration
}

// event gives an event to both sides and compares.
func (r *replay) event(ctx context.Context, benches [2]*appBench, c *config.Case, ev *config.CaseEvent, now time.Time, given benchInput) error {
	r.report.Events++
	var got [2]outcome
	changed := map[touchedKey]bool{}
	for i, b := range benches {
		res, err := b.deliver(ctx, now, given, ev.Answers)
		if err != nil {
			return err
		}
		got[i] = outcomeOf(res)
		maps.Copy(changed, b.takeChanged())
	}
	r.report.Fuel.Config += got[0].fuel
	r.report.Fuel.Against += got[1].fuel
	r.report.TimeUS.Config += got[0].took.Microseconds()
	r.report.TimeUS.Against += got[1].took.Microseconds()
	r.compare(c, ev, &r.report.Answers, "answer", got[0].answer, got[1].answer)
	effects, err := stateTexts(ctx, benches, c.App, changed)
	if err != nil {
		return err
	}
	if got[0].upstreams != got[1].upstreams {
		effects[0] = append(effects[0], "asked "+got[0].upstreams)
		effects[1] = append(effects[1], "asked "+got[1].upstreams)
	}
	r.compare(c, ev, &r.report.Effects, "effect", strings.Join(effects[0], ", "), strings.Join(effects[1], ", "))
	r.compare(c, ev, &r.report.Annotations, "annotations", got[0].annotations, got[1].annotations)
	r.compare(c, ev, &r.report.Paths, "path", got[0].path, got[1].path)
	return nil
}

// compare notes a difference, and counts it.
func (r *replay) compare(c *config.Case, ev *config.CaseEvent, count *int, what, a, b string) {
	if a == b {
		return
	}
	*count++
	if len(r.report.Differences) < maxDifferences {
		a, b = cutBoth(a, b)
		r.report.Differences = append(r.report.Differences, ReplayedDifference{ev.Pos.File, ev.Pos.Line, ev.Pos.Col, c.Name, what, a, b})
	}
}

// outcomeOf puts what became of an event into words.
func outcomeOf(res *benchResult) outcome {
	out := outcome{answer: replyShown(res.reply)}
	switch o := res.answer.Outcome; {
	case res.wrong != "":
		out.answer = res.wrong
	case o != "success" && o != "replied":
		out.answer += " (" + o + ")"
	}
	var steps []pipeline.Step
	var attrs []hostapi.Field
	for _, t := range res.traces {
		steps = append(steps, t.Steps...)
		if t.Event.ID == res.event && t.Alone == "" {
			attrs = t.Attrs
		}
	}
	for _, s := range steps {
		out.fuel += s.Fuel
		out.took += s.Took
	}
	out.annotations, out.path = fieldsShown(attrs), pathText(steps)
	slices.Sort(res.asked)
	out.upstreams = "[" + strings.Join(res.asked, ", ") + "]"
	return out
}

// stateTexts are the values of changed keys that differ between the sides.
func stateTexts(ctx context.Context, benches [2]*appBench, app string, changed map[touchedKey]bool) (texts [2][]string, err error) {
	for k := range changed {
		v := config.StateValue{Plugin: k.plugin, User: k.user, Key: k.key}
		var values [2]string
		for i, b := range benches {
			value, err := b.value(ctx, app, v)
			if err != nil {
				return texts, err
			}
			values[i] = "state " + stateName(v) + ": " + shownValue(value)
		}
		if values[0] != values[1] {
			texts[0], texts[1] = append(texts[0], values[0]), append(texts[1], values[1])
		}
	}
	for i := range texts {
		slices.Sort(texts[i])
	}
	return texts, nil
}

// Percent is how much more, or less, the other configuration has of a number:
// +5.0 %.
func (s Sides) Percent() string {
	switch {
	case s.Config == s.Against:
		return "the same"
	case s.Config == 0:
		return "new"
	}
	return fmt.Sprintf("%+.1f %%", 100*float64(s.Against-s.Config)/float64(s.Config))
}
