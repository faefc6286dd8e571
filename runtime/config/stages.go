package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// pipelineDecl is a pipeline together with what is only checked.
type pipelineDecl struct {
	Pipeline
	node    *node
	late    []string
	order   string
	onError *OnError
}

func startPipeline(e entry) *pipelineDecl {
	return &pipelineDecl{Pipeline: Pipeline{Name: e.key, Pos: e.pos}, node: e.value}
}

// mainPipeline reads the top level's `pipeline`.
func mainPipeline() kind[*pipelineDecl] {
	inner := nested("a pipeline", pipelineSection)
	return kind[*pipelineDecl]{shape: inner.shape, read: func(d *decoder, n *node) (*pipelineDecl, bool) {
		p := startPipeline(entry{key: "main", pos: n.from, value: n})
		pipelineSection().decode(d, n, p)
		return p, true
	}}
}

func pipelineSection() section[pipelineDecl] {
	return section[pipelineDecl]{
		name: "pipelines.*",
		doc:  "the stages that an app's events walk",
		keys: []key[pipelineDecl]{
			{
				name: "answer_within", def: "4500ms", doc: "when WeChat is answered at the latest; it hangs up after 5 s",
				value: to(duration(100*time.Millisecond, MaxAnswerWithin, false), func(p *pipelineDecl) *time.Duration { return &p.AnswerWithin }),
			},
			{
				name: "deadline", def: "30s", doc: "the longest an event may take in all, answered or not; at least answer_within",
				value: to(duration(100*time.Millisecond, time.Hour, false), func(p *pipelineDecl) *time.Duration { return &p.Deadline }),
			},
			{
				name: "late_reply", doc: "what becomes of a reply that is ready after answer_within: drop, the default",
				value: to(listOf("a list of: drop", oneOf("drop")), func(p *pipelineDecl) *[]string { return &p.late }),
			},
			{
				name: "dedupe", def: "60s", doc: "how long an answer is kept for the same event again; 0s: off",
				value: to(duration(time.Second, 24*time.Hour, true), func(p *pipelineDecl) *time.Duration { return &p.Dedupe }),
			},
			{
				name: "order", doc: "user: events of one user one after another",
				value: to(oneOf("user"), func(p *pipelineDecl) *string { return &p.order }),
			},
			{
				name: "overflow", def: string(OverflowQueue), doc: "an event over an inflight bound: queue: durable, run later; ack: WeChat gets success, the event is dropped and counted",
				value: to(oneOf(OverflowQueue, OverflowAck), func(p *pipelineDecl) *Overflow { return &p.Overflow }),
			},
			{
				name: "on_error", def: "stop", doc: "for stages that say nothing",
				value: to(onErrorKind(), func(p *pipelineDecl) **OnError { return &p.onError }),
			},
			{
				name: "stages", doc: "one after another, until one is done",
				value: to(stageList(), func(p *pipelineDecl) *[]*Stage { return &p.Stages }),
			},
			{
				name: "always", doc: "after the answer, whatever happened before",
				value: to(stageList(), func(p *pipelineDecl) *[]*Stage { return &p.Always }),
			},
		},
	}
}

func stageList() kind[[]*Stage] { return stagesAs("a list of stages") }

func stagesAs(what string) kind[[]*Stage] {
	elem := kind[*Stage]{
		shape: shape{form: "section", what: "a stage", section: func() described { return stageSection() }},
		read:  readStage,
	}
	return listOf(what, elem)
}

// stageDecl is a stage with the nodes that it came from.
type stageDecl struct {
	Stage
	when expression
}

func stageSection() section[stageDecl] {
	return section[stageDecl]{
		name: "stages[]",
		doc:  "one step: exactly one of plugin, reply, forward, switch and parallel",
		one:  stageKinds(),
		keys: []key[stageDecl]{
			{
				name: "name", doc: "unique in the pipeline; left out: the plugin's name, or reply, forward, switch or parallel",
				value: to(name(), func(s *stageDecl) *string { return &s.Name }),
			},
			{
				name: "when", doc: "an expression; left out: always",
				value: to(whenKind(), func(s *stageDecl) *expression { return &s.when }),
			},
			{
				name: "on_error", doc: "what follows an error; left out: the pipeline's, queue of one that is async",
				value: to(onErrorKind(), func(s *stageDecl) **OnError { return &s.OnError }),
			},
			{
				name: "async", doc: "true: the plugin or the forward runs from the durable queue, beside the answer, which it can't change",
				value: to(boolean(), func(s *stageDecl) *bool { return &s.Async }),
			},
			{
				name: "plugin", doc: "the plugin that handles the event",
				value: pluginTarget[stageDecl]{func(s *stageDecl) **Plugin { return &s.Plugin }},
			},
			{
				name: "canary", doc: "another plugin gets some of the events of the stage's plugin, until too many of them fail",
				value: to(canaryKind(), func(s *stageDecl) **Canary { return &s.Canary }),
			},
			shadowKey(),
			{
				name: "reply", doc: "a fixed answer",
				value: to(replyKind(), func(s *stageDecl) **Reply { return &s.Reply }),
			},
			{
				name: "forward", doc: "sends the event to an upstream, whose answer is the reply",
				value: to(forwardKind(), func(s *stageDecl) **Forward { return &s.Forward }),
			},
			{
				name: "switch", doc: "the first branch whose `when` holds",
				value: to(branchList(), func(s *stageDecl) *[]*Branch { return &s.Switch }),
			},
			{
				name: "parallel", doc: "stages that run side by side on the same event, each to its end",
				value: to(parallelList(), func(s *stageDecl) *[]*Stage { return &s.Parallel }),
			},
		},
	}
}

// stageKinds are the keys of which a stage has exactly one.
func stageKinds() []string { return []string{"plugin", "reply", "forward", "switch", "parallel"} }

func readStage(d *decoder, n *node) (*Stage, bool) {
	s := &stageDecl{Stage: Stage{Pos: n.pos}}
	if n.unknown {
		return nil, false
	}
	if !stageSection().decode(d, n, s) {
		return nil, false
	}
	s.When, s.WhenPos = s.when.text, s.when.pos
	if s.Canary != nil {
		s.Canary.Lines = linesOf(n)
	}
	var kinds []string
	for _, k := range stageKinds() {
		if n.get(k) != nil {
			kinds = append(kinds, k)
		}
	}
	switch {
	case len(kinds) == 0:
		d.add(n.pos, "the stage has nothing to do", "it has one of plugin, reply, forward, switch and parallel")
	case len(kinds) > 1:
		d.add(n.get(kinds[1]).from, "a stage has one of "+strings.Join(kinds, " and "), "make two stages of it")
	case n.get("canary") != nil && kinds[0] != "plugin":
		d.add(n.get("canary").from, "only a stage with plugin can have a canary", "")
	case n.get("shadow") != nil && kinds[0] != "plugin" && kinds[0] != "forward":
		d.add(n.get("shadow").from, "only a stage with plugin or forward can have a shadow", "")
	case s.Async && kinds[0] != "plugin" && kinds[0] != "forward":
		d.add(n.get("async").from, "only a stage with plugin or forward can be async", "")
	case n.get("name") == nil && kinds[0] == "plugin":
		d.unnamed = append(d.unnamed, &s.Stage)
	case n.get("name") == nil:
		s.Name = kinds[0]
	case n.get("name").expanded:
		d.hidden[&s.Stage] = true
	}
	return &s.Stage, true
}

// pluginTarget reads a plugin's name and leaves the place to be filled when all
// plugins are known.
type pluginTarget[T any] struct{ at func(*T) **Plugin }

func (pluginTarget[T]) shape() shape { return reference("the name of a plugin").shape }

func (t pluginTarget[T]) decode(d *decoder, n *node, dst *T) {
	if _, ok := reference("the name of a plugin").read(d, n); ok && !n.unknown {
		place := t.at(dst)
		d.plugins = append(d.plugins, pluginRef{node: n, path: d.where(), set: func(p *Plugin) { *place = p }})
	}
}

type branchDecl struct {
	Branch
	when expression
}

func branchSection() section[branchDecl] {
	return section[branchDecl]{
		name: "switch[]",
		doc:  "one way of a switch",
		keys: []key[branchDecl]{
			{
				name: "when", doc: "an expression; only the last branch may leave it out: the rest",
				value: to(whenKind(), func(b *branchDecl) *expression { return &b.when }),
			},
			{
				name: "stages", required: true, doc: "one after another",
				value: to(stageList(), func(b *branchDecl) *[]*Stage { return &b.Stages }),
			},
		},
	}
}

func branchList() kind[[]*Branch] {
	elem := kind[*Branch]{
		shape: shape{form: "section", what: "a branch", section: func() described { return branchSection() }},
		read: func(d *decoder, n *node) (*Branch, bool) {
			b := &branchDecl{Branch: Branch{Pos: n.pos}}
			if n.unknown || !branchSection().decode(d, n, b) {
				return nil, false
			}
			b.When, b.WhenPos = b.when.text, b.when.pos
			return &b.Branch, true
		},
	}
	k := listOf("a list of branches", elem)
	k.shape.low = 1
	plain := k.read
	k.read = func(d *decoder, n *node) ([]*Branch, bool) {
		for i, item := range n.items {
			if i < len(n.items)-1 && item.kind == mapping && !item.unknown && item.get("when") == nil {
				d.add(item.pos, "only the last branch may leave out when", "what stands after it would never run")
			}
		}
		if n.isNull() || n.kind == list && len(n.items) == 0 {
			d.add(n.from, "the switch has no branches", "")
			return nil, false
		}
		return plain(d, n)
	}
	return k
}

// MaxParallel is the most branches of a parallel stage: it bounds what one event
// takes at once, and the entry of the durable queue that holds what became of
// each branch.
const MaxParallel = 16

func parallelList() kind[[]*Stage] {
	k := stagesAs("a list of 1 to 16 stages")
	k.shape.low, k.shape.high = 1, MaxParallel
	plain := k.read
	k.read = func(d *decoder, n *node) ([]*Stage, bool) {
		if n.isNull() || n.kind == list && (len(n.items) == 0 || len(n.items) > MaxParallel) {
			d.add(n.from, "must be "+k.shape.what, "")
			return nil, false
		}
		return plain(d, n)
	}
	return k
}

// onErrorWords are the forms of on_error that are a word.
func onErrorWords() []string {
	return []string{string(Skip), string(Stop), string(Queue), string(Again)}
}

const onErrorWhat = "skip, stop, queue, again, { reply: … } or { plugin: NAME }"

func onErrorSection() section[OnError] {
	return section[OnError]{
		name: "on_error",
		doc:  "what follows a stage's error, where it is more than a word: one of the two",
		one:  []string{"reply", "plugin"},
		keys: []key[OnError]{
			{
				name: "reply", doc: "that answer, and the stages end",
				value: to(replyKind(), func(o *OnError) **Reply { return &o.Reply }),
			},
			{
				name: "plugin", doc: "runs in the stage's place; its own error is stop",
				value: pluginTarget[OnError]{func(o *OnError) **Plugin { return &o.Plugin }},
			},
		},
	}
}

func onErrorKind() kind[*OnError] {
	s := shape{
		form: "string", what: onErrorWhat, words: onErrorWords(),
		other: []shape{{form: "section", what: "a mapping", section: func() described { return onErrorSection() }}},
	}
	word := single(s, false, func(s string) (*OnError, error) {
		if !slices.Contains(onErrorWords(), s) {
			return nil, &badValue{advice: meant(s, onErrorWords())}
		}
		return &OnError{Kind: OnErrorKind(s)}, nil
	})
	return kind[*OnError]{shape: s, read: func(d *decoder, n *node) (*OnError, bool) {
		if n.kind != mapping || n.unknown {
			return word.read(d, n)
		}
		o := new(OnError)
		onErrorSection().decode(d, n, o)
		reply, plugin := n.get("reply") != nil, n.get("plugin") != nil
		switch {
		case reply && plugin:
			d.add(n.pos, "has both reply and plugin", "keep one")
			return nil, false
		case reply:
			o.Kind = GiveReply
		case plugin:
			o.Kind = Instead
		default:
			d.add(n.pos, "has neither reply nor plugin", "it is "+onErrorWhat)
			return nil, false
		}
		return o, true
	}}
}

// expression is a `when` and its place.
type expression struct {
	text string
	pos  Pos
}

// whenKind reads a `when`: always a text, and not one that YAML cut.
func whenKind() kind[expression] {
	what := "an expression in quotes, such as 'type == \"text\"'"
	return kind[expression]{shape: shape{form: "string", what: what, pattern: `[^ \t\r\n]`}, read: func(d *decoder, n *node) (expression, bool) {
		const quote = "quote it: when: '…'"
		switch {
		case n.unknown:
			return expression{pos: n.pos}, true
		case n.kind != scalar:
			d.add(n.pos, "YAML reads "+n.kind.String()+" here, not an expression", quote)
			return expression{}, false
		case n.isNull() || strings.TrimSpace(n.text) == "":
			d.add(n.pos, "has no value", "leave it out for always, or "+quote)
			return expression{}, false
		case len(n.text) > MaxWhen:
			d.add(n.pos, fmt.Sprintf("has %d bytes, over %d", len(n.text), MaxWhen), "make several stages of it, or let a plugin decide")
			return expression{}, false
		case n.plain && n.tag != tagStr:
			d.add(n.pos, n.shown()+" is not an expression: YAML reads it as "+strings.TrimPrefix(n.tag, "!!"), quote)
			return expression{}, false
		case n.plain && !n.expanded && unbalanced(n.text):
			d.add(n.pos, fmt.Sprintf("without quotes YAML reads only %s", show(n.text)), quote)
			return expression{}, false
		case n.plain && n.comment != "":
			d.warn(n.pos, d.where()+": without quotes YAML takes what follows # as a comment", quote)
		}
		return expression{text: n.text, pos: n.pos}, true
	}}
}

// unbalanced tells whether a quote or a bracket in an expression is open at its
// end, or closed before it is opened.
func unbalanced(s string) bool {
	var open []rune
	var quote rune
	escaped := false
	for _, c := range s {
		switch {
		case escaped:
			escaped = false
		case quote != 0:
			escaped = c == '\\' && quote != '`'
			if c == quote {
				quote = 0
			}
		case strings.ContainsRune("'\"`", c):
			quote = c
		case strings.ContainsRune("([{", c):
			open = append(open, c)
		case strings.ContainsRune(")]}", c):
			if len(open) == 0 {
				return true
			}
			open = open[:len(open)-1]
		}
	}
	return quote != 0 || len(open) > 0
}
