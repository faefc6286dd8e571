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
	// Own are the events that the host tells itself of apps whose users log in.
	Own []string
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
		l := &linter{facts: &facts, pipe: p, apps: appsThatWalk(cfg, p), formulas: map[string]formula{}, verdicts: map[string][]verdict{}}
		found = append(found, l.lint()...)
	}
	return found
}

// linter looks at one pipeline.
type linter struct {
	facts    *Facts
	pipe     *config.Pipeline
	apps     []*config.App      // that walk it; nil: not known
	formulas map[string]formula // by their conditions
	count    int                // stages and branches
	samples  []sample
	verdicts map[string][]verdict // of the samples
	waits    []waiting
	times    []time.Duration // that each sample has waited by now
	always   bool            // in the stages of always
	chosen   bool            // a condition around the stages says which events they are for
	ender    string          // the last raw forward that ended the stages for some events; "" before it
	problems config.Problems
}

// waiting is a stage that may wait for long.
type waiting struct {
	what, lower string // who waits, and what bounds that
	events      set
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
		if l.apps == nil || slices.ContainsFunc(l.apps, func(a *config.App) bool { return a.OAuth != nil }) {
			l.samples = append(l.samples, ownSamples(l.facts)...)
		}
	}
	if l.samples == nil || len(l.samples)*(l.count+len(l.formulas)) > maxLintWork {
		l.warn(l.pipe.Pos, "the pipeline has too many stages and conditions to look for those that no event reaches", "")
		return l.problems
	}
	if l.pipe.OnError.Kind == config.GiveReply {
		l.fixed(l.pipe.Pos, l.pipe.OnError.Reply)
	}
	if other := l.pipe.OnError.Plugin; other != nil {
		l.deadline(l.pipe.Pos, "on_error: plugin "+other.Name, l.facts.Plugins[other.Name].Timeout, "the plugin's limits.timeout")
	}
	all := make(set, len(l.samples)).all()
	l.times = make([]time.Duration, len(l.samples))
	l.stages(l.pipe.Stages, all)
	l.answerWithin()
	l.always, l.ender = true, ""
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
	add := func(src string, pos config.Pos) {
		l.count++
		if src != "" && l.formulas[src] == nil {
			l.formulas[src] = fs.of(src)
		}
		l.names(src, pos)
	}
	for _, s := range stages {
		add(s.When, s.WhenPos)
		for _, b := range s.Switch {
			add(b.When, b.WhenPos)
			l.collect(fs, b.Stages)
		}
		l.collect(fs, s.Parallel)
	}
}

// judge returns the verdicts on a condition. One that is not known (check
// --no-env) is undecided.
func (l *linter) judge(when string, pos config.Pos) func(i int) verdict {
	switch {
	case !conditional(when, pos):
		return func(int) verdict { return mayHold }
	case when == "":
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

// stages looks at a list of stages and returns the events for which it may go on
// after it.
func (l *linter) stages(stages []*config.Stage, in set) set {
	for _, s := range stages {
		if l.unreached(s, in) {
			l.warn(s.Pos, "no callback of WeChat gets to this stage: the raw forward "+l.ender+" before it ends the stages", "give the forward a when, or move it to the end")
			return in
		}
		in = l.stage(s, in)
	}
	return in
}

// unreached tells whether none of the events in get to a stage, or none but the
// host's own, and nothing says that it is for them.
func (l *linter) unreached(s *config.Stage, in set) bool {
	if l.ender == "" || in.empty() {
		return in.empty()
	}
	for i, is := range in {
		if is && !l.samples[i].own {
			return false
		}
	}
	if s.Plugin != nil && slices.ContainsFunc(l.facts.Plugins[s.Plugin.Name].Events, func(e string) bool { return slices.Contains(l.facts.Own, e) }) {
		return false
	}
	return !l.chosen && !conditional(s.When, s.WhenPos) && s.Switch == nil && s.Parallel == nil
}

// conditional tells whether there is a condition, one that is not known included.
func conditional(when string, pos config.Pos) bool { return when != "" || pos != (config.Pos{}) }

// under notes that stages stand under a condition, if there is one, until what it
// returns is called.
func (l *linter) under(when string, pos config.Pos) (leave func()) {
	before := l.chosen
	l.chosen = before || conditional(when, pos)
	return func() { l.chosen = before }
}

func (l *linter) stage(s *config.Stage, in set) set {
	defer l.under(s.When, s.WhenPos)()
	verdict := l.judge(s.When, s.WhenPos)
	through := in.keep(func(i int) bool { return verdict(i)&mayHold != 0 })
	after := through
	switch {
	case through.empty():
		advice := "the branch that it stands in keeps the others out"
		if l.ender != "" {
			advice = "the raw forward " + l.ender + " before it ends the stages for the others, or the branch that it stands in keeps them out"
		}
		l.neverTrue(s.WhenPos, verdict, "none of the events that get here meets it", advice)
	case s.Plugin != nil:
		l.plugin(s, through)
	case s.Reply != nil:
		l.fixed(s.Pos, s.Reply)
	case s.Forward != nil:
		after = l.forward(s, through)
	case s.Switch != nil:
		after = l.choose(s, through)
	case s.Parallel != nil:
		after = l.beside(s.Parallel, through)
	}
	return in.keep(func(i int) bool { return after[i] || verdict(i)&mayFail != 0 })
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
	l.shadow(s, "plugin "+s.Plugin.Name, taken)
	l.deadline(s.Pos, "plugin "+s.Plugin.Name, f.Timeout, "the plugin's limits.timeout")
	longest := s.Plugin.Name
	if to := l.canary(s, taken); l.long(to) && (to.Timeout > f.Timeout || !l.long(f)) {
		f, longest = to, s.Canary.To.Name
	}
	if l.long(f) && !s.Async {
		l.wait(waiting{longest, "limits.timeout of these plugins", taken}, f.Timeout)
	}
	l.policy(s, "plugin "+s.Plugin.Name, taken)
}

// shadow warns of a shadow that gets none of the events of what it shadows, or may
// take longer than it has. Nothing waits for it.
func (l *linter) shadow(s *config.Stage, of string, in set) {
	if s.Shadow == nil {
		return
	}
	f, what := l.facts.Plugins[s.Shadow.Name], "shadow: plugin "+s.Shadow.Name
	if l.wanted(s.Shadow, in).empty() {
		l.warn(s.ShadowPos, what+" takes none of the events of "+of, f.takes())
		return
	}
	l.deadline(s.ShadowPos, what, f.Timeout, "the plugin's limits.timeout")
}

// canary looks at the plugin of a stage's canary, and returns what is known of
// it; nothing where there is none.
func (l *linter) canary(s *config.Stage, in set) PluginFacts {
	c := s.Canary
	if c == nil || c.To == nil {
		return PluginFacts{}
	}
	f, what := l.facts.Plugins[c.To.Name], "canary: plugin "+c.To.Name
	taken := l.wanted(c.To, in)
	if taken.empty() {
		l.warn(c.Pos, what+" takes none of the events of plugin "+s.Plugin.Name, f.takes())
		return f
	}
	var words []string
	for i, sample := range l.samples {
		switch {
		case !in[i] || taken[i] || sample.fresh || sample.event == nonsense || sample.typ == nonsense:
		case sample.typ == "event" || sample.typ == "":
			words = append(words, sample.event)
		default:
			words = append(words, sample.typ)
		}
	}
	slices.Sort(words)
	if words = slices.Compact(words); len(words) > maxListed {
		words = append(words[:maxListed:maxListed], "…")
	}
	if len(words) > 0 {
		l.warn(c.Pos, what+" doesn't take "+strings.Join(words, ", ")+", which plugin "+s.Plugin.Name+" takes: no plugin handles them for its users", f.takes())
	}
	l.deadline(c.Pos, what, f.Timeout, "the plugin's limits.timeout")
	return f
}

// forward looks at a forward and returns the events for which the stages may go
// on after it.
func (l *linter) forward(s *config.Stage, in set) set {
	f := s.Forward
	if f.To == nil { // NoEnv left it open
		return in
	}
	l.shadow(s, "this forward", in)
	l.deadline(s.Pos, "upstream "+f.To.Name, f.To.Timeout, "the upstream's timeout")
	if !s.Async {
		l.wait(waiting{"upstream " + f.To.Name, "the timeout of these upstreams", in}, f.To.Timeout)
	}
	onError := l.policy(s, "this forward", in)
	if f.As != config.ForwardRaw || s.Async || l.always || onError.Kind == config.Skip || onError.Kind == config.Instead {
		return in
	}
	l.ender = s.Name
	return in.keep(func(i int) bool { return l.samples[i].own }) // they don't take it
}

// deadline warns of a stage whose own time is over that of an event.
func (l *linter) deadline(pos config.Pos, what string, timeout time.Duration, lower string) {
	if timeout > l.pipe.Deadline && l.pipe.Deadline > 0 {
		l.warn(pos, fmt.Sprintf("%s may take %s, and the pipeline's deadline is %s", what, timeout, l.pipe.Deadline), "raise deadline, or lower "+lower)
	}
}

// long tells whether a plugin's timeout counts against answer_within: it may wait, or
// its timeout alone is over it.
func (l *linter) long(p PluginFacts) bool { return p.Waits || p.Timeout > l.pipe.AnswerWithin }

// wait notes a stage that may wait for long.
func (l *linter) wait(w waiting, timeout time.Duration) {
	l.waits = append(l.waits, w)
	for i, in := range w.events {
		if in && !l.samples[i].own { // for whose answer nobody waits
			l.times[i] += timeout
		}
	}
}

// policy looks at what follows an error of a stage that gets these events, and
// returns it.
func (l *linter) policy(s *config.Stage, what string, in set) *config.OnError {
	onError := s.OnError
	if onError == nil {
		onError = &l.pipe.OnError
	}
	if s.OnError != nil && s.OnError.Kind == config.GiveReply {
		l.fixed(s.Pos, s.OnError.Reply)
	}
	if other := onError.Plugin; other != nil {
		f, taken := l.facts.Plugins[other.Name], l.wanted(other, in)
		switch {
		case s.OnError == nil: // lint has looked at it
		case taken.empty():
			l.warn(s.Pos, fmt.Sprintf("on_error: plugin %s takes none of the events of %s", other.Name, what), f.takes())
		default:
			l.deadline(s.Pos, "on_error: plugin "+other.Name, f.Timeout, "the plugin's limits.timeout")
		}
		if l.long(f) && !s.Async {
			l.wait(waiting{other.Name, "limits.timeout of these plugins", taken}, f.Timeout)
		}
	}
	if !l.always && !s.Async && onError.Kind != config.Queue && onError.Kind != config.Again {
		l.answered(s.Pos, in)
	}
	return onError
}

// fixed warns of a reply that no user of the pipeline gets.
func (l *linter) fixed(pos config.Pos, r *config.Reply) {
	official := func(a *config.App) bool { return a.Type != config.MiniProgram }
	if len(l.apps) > 0 && !slices.ContainsFunc(l.apps, official) && !passive(config.MiniProgram, FixedReply(r)) {
		l.warn(pos, "nobody gets this reply: to a mini program WeChat takes transfer and raw as an answer, nothing else", "answer with transfer, or have a plugin send a customer service message")
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
// it surely don't take. It returns the events for which the stages may go on after it.
func (l *linter) choose(s *config.Stage, in set) set {
	rest, before := in, l.times
	longest, after := slices.Clone(before), make(set, len(in))
	for _, b := range s.Switch {
		verdict := l.judge(b.When, b.WhenPos)
		through := rest.keep(func(i int) bool { return verdict(i)&mayHold != 0 })
		switch {
		case !through.empty():
			l.times = slices.Clone(before)
			leave := l.under(b.When, b.WhenPos)
			for i, goesOn := range l.stages(b.Stages, through) {
				after[i] = after[i] || goesOn
			}
			leave()
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
	return in.keep(func(i int) bool { return after[i] || rest[i] })
}

// beside looks at stages that run side by side, as long as the longest of them:
// where one ends the stages, they end.
func (l *linter) beside(stages []*config.Stage, in set) set {
	before := l.times
	longest, after := slices.Clone(before), in
	for i := range stages {
		l.times = slices.Clone(before)
		goesOn := l.stages(stages[i:i+1], in)
		after = after.keep(func(i int) bool { return goesOn[i] })
		for j, d := range l.times {
			longest[j] = max(longest[j], d)
		}
	}
	l.times = longest
	return after
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
	if len(l.times) == 0 || l.times[worst] <= l.pipe.AnswerWithin || l.pipe.AnswerWithin == 0 { // 0: NoEnv left it open
		return
	}
	var names, lower []string
	for _, w := range l.waits {
		if !w.events[worst] {
			continue
		}
		if !slices.Contains(names, w.what) {
			names = append(names, w.what)
		}
		if !slices.Contains(lower, w.lower) {
			lower = append(lower, w.lower)
		}
	}
	l.warn(l.pipe.Pos, fmt.Sprintf("the stages that wait (%s) may take %s for one event, and answer_within is %s", strings.Join(names, ", "), l.times[worst], l.pipe.AnswerWithin),
		"an answer that is late reaches nobody: lower "+strings.Join(lower, " and "))
}
