package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// maxLintWork bounds what Lint looks at for one pipeline: its stages and its
// conditions, each with every sample.
const maxLintWork = 500_000

// Facts are what Lint holds pipelines to.
type Facts struct {
	// What WeChat sends as MsgType, Event and InfoType.
	MsgTypes, Events, InfoTypes []string
	// Answered are those of Events whose answer is business data.
	Answered []string
	// Plugins by name. One that is not there takes every event, in no time.
	Plugins map[string]PluginFacts
}

// PluginFacts is what is known of a plugin.
type PluginFacts struct {
	Wants            func(typ, event string) bool // as Plugin.Wants
	Messages, Events []string                     // the words that Wants knows
	Timeout          time.Duration                // of one call
	Waits            bool                         // it may spend its timeout waiting
}

// takes says what the plugin takes, for people.
func (p PluginFacts) takes() string {
	list := func(what string, words []string) string {
		if len(words) > maxListed {
			words = append(words[:maxListed:maxListed], "…")
		}
		if len(words) == 0 {
			return "no " + what
		}
		return what + " " + strings.Join(words, ", ")
	}
	return "it takes " + list("messages", p.Messages) + " and " + list("events", p.Events)
}

// maxListed is how many words a problem lists.
const maxListed = 5

// Lint warns of what can be seen of cfg's pipelines without running them: stages
// and branches that no event reaches, conditions that hold for no event, times that
// can't be kept, and errors that would be answered with something else than the business
// data that WeChat waits for.
func Lint(cfg *config.Config, facts Facts) config.Problems {
	var found config.Problems
	for _, p := range cfg.Pipelines {
		l := &linter{facts: &facts, pipe: p, formulas: map[string]formula{}, verdicts: map[string][]verdict{}}
		found = append(found, l.lint()...)
	}
	return found
}

// linter looks at one pipeline.
type linter struct {
	facts    *Facts
	pipe     *config.Pipeline
	formulas map[string]formula // by their conditions
	count    int                // stages and branches
	samples  []sample
	verdicts map[string][]verdict // of the samples
	waits    []waiting
	times    []time.Duration // that each sample has waited by now
	always   bool            // in the stages of always
	problems config.Problems
}

// waiting is a stage that may wait for long.
type waiting struct {
	plugin string
	events set
}

// set holds samples by their index.
type set []bool

func (s set) empty() bool { return !slices.Contains(s, true) }

// keep returns the members for which f holds.
func (s set) keep(f func(i int) bool) set {
	out := make(set, len(s))
	for i, in := range s {
		out[i] = in && f(i)
	}
	return out
}

func (l *linter) warn(pos config.Pos, text, advice string) {
	l.problems = append(l.problems, config.Problem{Pos: pos, Warning: true, Text: text, Advice: advice})
}

func (l *linter) lint() config.Problems {
	fs := new(formulas)
	l.collect(fs, l.pipe.Stages)
	l.collect(fs, l.pipe.Always)
	types, events := fs.types, fs.events
	for _, p := range l.facts.Plugins {
		types, events = append(types, p.Messages...), append(events, p.Events...)
	}
	slices.Sort(types)
	slices.Sort(events)
	types, events = slices.Compact(types), slices.Compact(events)
	if len(types)*len(events) < maxLintWork {
		l.samples = samples(l.facts, types, events)
	}
	if l.samples == nil || len(l.samples)*(l.count+len(l.formulas)) > maxLintWork {
		l.warn(l.pipe.Pos, "the pipeline has too many stages and conditions to look for those that no event reaches", "")
		return l.problems
	}
	all := make(set, len(l.samples)).all()
	l.times = make([]time.Duration, len(l.samples))
	l.stages(l.pipe.Stages, all)
	l.answerWithin()
	l.always = true
	l.stages(l.pipe.Always, all)
	return l.problems
}

func (s set) all() set {
	for i := range s {
		s[i] = true
	}
	return s
}

// collect makes the formulas of the stages' conditions.
func (l *linter) collect(fs *formulas, stages []*config.Stage) {
	add := func(src string) {
		l.count++
		if src != "" && l.formulas[src] == nil {
			l.formulas[src] = fs.of(src)
		}
	}
	for _, s := range stages {
		add(s.When)
		for _, b := range s.Switch {
			add(b.When)
			l.collect(fs, b.Stages)
		}
		l.collect(fs, s.Parallel)
	}
}

// judge returns the verdicts on a condition. One that is not known (check
// --no-env) is undecided.
func (l *linter) judge(when string, pos config.Pos) func(i int) verdict {
	if when == "" {
		if pos == (config.Pos{}) {
			return func(int) verdict { return mayHold }
		}
		return func(int) verdict { return undecided }
	}
	list := l.verdicts[when]
	if list == nil {
		list = make([]verdict, len(l.samples))
		for i := range list {
			list[i] = l.formulas[when](&l.samples[i])
		}
		l.verdicts[when] = list
	}
	return func(i int) verdict { return list[i] }
}

func (l *linter) stages(stages []*config.Stage, in set) {
	for _, s := range stages {
		verdict := l.judge(s.When, s.WhenPos)
		through := in.keep(func(i int) bool { return verdict(i)&mayHold != 0 })
		switch {
		case through.empty():
			l.neverTrue(s.WhenPos, verdict, "none of the events that get here meets it", "the branch that it stands in keeps the others out")
		case s.Plugin != nil:
			l.plugin(s, through)
		case s.Switch != nil:
			l.choose(s, through)
		case s.Parallel != nil:
			l.beside(s.Parallel, through)
		}
	}
}

// neverTrue warns of a condition that no event meets that gets to it.
func (l *linter) neverTrue(pos config.Pos, verdict func(i int) verdict, text, advice string) {
	for i := range l.samples {
		if verdict(i)&mayHold != 0 {
			l.warn(pos, "when: "+text, advice)
			return
		}
	}
	l.warn(pos, "when: no event meets it", "messages have a type, such as text, and no event; events have the type event")
}

// wanted returns the events of in that a plugin takes.
func (l *linter) wanted(p *config.Plugin, in set) set {
	f, ok := l.facts.Plugins[p.Name]
	if !ok {
		return in
	}
	return in.keep(func(i int) bool { return f.Wants(l.samples[i].typ, l.samples[i].event) })
}

func (l *linter) plugin(s *config.Stage, in set) {
	f := l.facts.Plugins[s.Plugin.Name]
	taken := l.wanted(s.Plugin, in)
	if taken.empty() {
		pos, text := s.Pos, "plugin "+s.Plugin.Name+" takes none of the events that get here"
		if s.When != "" {
			pos, text = s.WhenPos, "when: plugin "+s.Plugin.Name+" takes none of the events that meet it"
		}
		l.warn(pos, text, f.takes())
		return
	}
	if f.Timeout > l.pipe.Deadline && l.pipe.Deadline > 0 {
		l.warn(s.Pos, fmt.Sprintf("plugin %s may take %s, and the pipeline's deadline is %s", s.Plugin.Name, f.Timeout, l.pipe.Deadline),
			"raise deadline, or lower the plugin's limits.timeout")
	}
	if f.Waits && !s.Async {
		l.waits = append(l.waits, waiting{s.Plugin.Name, taken})
		for i, in := range taken {
			if in {
				l.times[i] += f.Timeout
			}
		}
	}
	onError := s.OnError
	if onError == nil {
		onError = &l.pipe.OnError
	} else if onError.Plugin != nil && l.wanted(onError.Plugin, taken).empty() {
		l.warn(s.Pos, fmt.Sprintf("on_error: plugin %s takes none of the events of plugin %s", onError.Plugin.Name, s.Plugin.Name),
			l.facts.Plugins[onError.Plugin.Name].takes())
	}
	if !l.always && !s.Async && onError.Kind != config.Queue && onError.Kind != config.Again {
		l.answered(s.Pos, taken)
	}
}

// answered warns of a stage that is there for events whose answer is business
// data: where it gets any other event, too, it isn't.
func (l *linter) answered(pos config.Pos, in set) {
	var words []string
	for i, s := range l.samples {
		switch {
		case !in[i] || s.typ != "event":
		case s.event == nonsense:
			return
		case slices.Contains(l.facts.Answered, s.event):
			words = append(words, s.event)
		}
	}
	if len(words) == 0 {
		return
	}
	l.warn(pos, "the answer to "+strings.Join(words[:min(len(words), maxListed)], ", ")+" is business data, and an error of this stage gives none",
		"on_error: again has WeChat send the event once more, queue has it run later")
}

// choose looks at the branches of a switch, each of which gets what those before
// it surely don't take.
func (l *linter) choose(s *config.Stage, in set) {
	rest, before := in, l.times
	longest := slices.Clone(before)
	for _, b := range s.Switch {
		verdict := l.judge(b.When, b.WhenPos)
		through := rest.keep(func(i int) bool { return verdict(i)&mayHold != 0 })
		switch {
		case !through.empty():
			l.times = slices.Clone(before)
			l.stages(b.Stages, through)
			for i, d := range l.times {
				longest[i] = max(longest[i], d)
			}
		case b.When == "":
			l.warn(b.Pos, "no event gets to this branch", "those before it take all")
		default:
			l.neverTrue(b.WhenPos, verdict, "no event that meets it gets to this branch", "the branches before it, or what stands around the switch, take all of them")
		}
		rest = rest.keep(func(i int) bool { return verdict(i)&mayFail != 0 })
	}
	l.times = longest
}

// beside looks at stages that run side by side, as long as the longest of them.
func (l *linter) beside(stages []*config.Stage, in set) {
	before := l.times
	longest := slices.Clone(before)
	for i := range stages {
		l.times = slices.Clone(before)
		l.stages(stages[i:i+1], in)
		for j, d := range l.times {
			longest[j] = max(longest[j], d)
		}
	}
	l.times = longest
}

// answerWithin warns where the stages that one event meets may wait for longer
// than WeChat does.
func (l *linter) answerWithin() {
	worst := 0
	for i, d := range l.times {
		if d > l.times[worst] {
			worst = i
		}
	}
	if len(l.times) == 0 || l.times[worst] <= l.pipe.AnswerWithin {
		return
	}
	var names []string
	for _, w := range l.waits {
		if w.events[worst] && !slices.Contains(names, w.plugin) {
			names = append(names, w.plugin)
		}
	}
	l.warn(l.pipe.Pos, fmt.Sprintf("the stages that wait (%s) may take %s for one event, and answer_within is %s", strings.Join(names, ", "), l.times[worst], l.pipe.AnswerWithin),
		"an answer that is late reaches nobody: lower limits.timeout of these plugins")
}
