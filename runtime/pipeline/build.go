package pipeline

import (
	"fmt"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/telemetry"
)

// Set is a configuration made ready to walk: every pipeline with its
// conditions compiled, by app. What is walked does not change after Build. It
// serves one Engine, once.
type Set struct {
	apps     map[string]*app // by name
	canaries []*canary
	plain    map[stageName]bool // of its stages, whether one has no canary
	shadows  []*shadow

	awaited map[string]bool // apps that are out of service for the time being
	others  bool            // there may be more of them

	// The ledger's lock guards these.
	flight int           // runs under way that walk it, and shadows of theirs
	idle   chan struct{} // once another set took its place: closed when flight is 0
}

type app struct {
	set    *Set
	name   string
	typ    config.AppType
	labels map[string]string
	limits config.AppLimits
	share  *share // of the host's room; set before the set serves
	pipe   *pipe
	floods floods
}

// pipe is one pipeline.
type pipe struct {
	name         string // its label
	answerWithin time.Duration
	deadline     time.Duration
	dedupe       time.Duration // 0: off
	orderUser    bool
	overflow     config.Overflow
	stages       []*stage
	always       []*stage
	alwaysAsync  bool              // there is an async stage under always
	single       map[string]*stage // those of plugins and upstreams, always' too, by name: what an entry can have run alone
	paths        map[string][]int  // of the stages by name: index, then branch and index in it for each stage with branches on the way
}

// stage is one step. Exactly one of plugin, reply, upstream and branches is set.
type stage struct {
	name     string
	when     *condition // nil: always
	plugin   Plugin
	canary   *canary // of plugin; nil: it gets all events
	shadow   *shadow // of plugin or upstream; nil: none
	reply    *hostapi.Reply
	upstream Upstream
	raw      bool     // of upstream: the callback as it came, not JSON
	branches []branch // of a switch, or of a parallel stage
	parallel []part   // of a parallel stage: all its branches, to be run from their tops
	async    bool     // of a plugin or an upstream: it is run alone, from the durable queue
	onError  policy
	timer    telemetry.StageTimer // of the engine's metrics
}

type branch struct {
	when   *condition // nil: the rest
	stages []*stage
}

// policy is an on_error.
type policy struct {
	kind   config.OnErrorKind
	reply  *hostapi.Reply // GiveReply
	plugin Plugin         // Instead
}

// Await tells of apps that are not in the set for the time being: their entries of
// the durable queue wait for a set that has them, and become no dead letters.
// others: there may be more, and so those of every app that isn't there wait. It
// is called before the set serves.
func (s *Set) Await(apps []string, others bool) {
	s.awaited, s.others = make(map[string]bool, len(apps)), others
	for _, name := range apps {
		s.awaited[name] = true
	}
}

// awaits tells whether an app is out of service for the time being.
func (s *Set) awaits(app string) bool {
	return s.apps[app] == nil && (s.others || s.awaited[app])
}

// BuildOption changes what Build looks at.
type BuildOption func(*builder)

// KnownWords makes Build warn where type or event is compared with a word for
// which known is false: one that WeChat does not send. known folds letter case.
func KnownWords(known func(word string) bool) BuildOption {
	return func(b *builder) { b.known = known }
}

// Upstreams gives Build what forwards go to, by their names in cfg.Upstreams.
func Upstreams(upstreams map[string]Upstream) BuildOption {
	return func(b *builder) { b.upstreams = upstreams }
}

// Build compiles the pipelines of cfg, with the plugins by their names in
// cfg.Plugins. It reports every problem that it finds; the Set is nil where one
// of them is more than a warning.
func Build(cfg *config.Config, plugins map[string]Plugin, options ...BuildOption) (*Set, config.Problems) {
	b := &builder{plugins: plugins, plain: map[stageName]bool{}}
	for _, o := range options {
		o(b)
	}
	pipes := make(map[*config.Pipeline]*pipe, len(cfg.Pipelines))
	for _, p := range cfg.Pipelines {
		pipes[p] = b.pipe(p)
	}
	set := &Set{apps: make(map[string]*app, len(cfg.Apps))}
	for _, a := range cfg.Apps {
		set.apps[a.Name] = &app{set: set, name: a.Name, typ: a.Type, labels: a.Labels, limits: a.Limits, pipe: pipes[a.Pipeline]}
	}
	if b.problems.Err() != nil {
		return nil, b.problems
	}
	set.canaries, set.plain, set.shadows = b.canaries, b.plain, b.shadows
	return set, b.problems
}

type builder struct {
	plugins   map[string]Plugin
	upstreams map[string]Upstream
	known     func(string) bool
	in        string // the pipeline that is being built
	canaries  []*canary
	plain     map[stageName]bool
	shadows   []*shadow
	problems  config.Problems
}

func (b *builder) pipe(c *config.Pipeline) *pipe {
	p := &pipe{
		name: c.Label(), answerWithin: c.AnswerWithin, deadline: c.Deadline, dedupe: c.Dedupe, orderUser: c.OrderUser, overflow: c.Overflow,
		paths: make(map[string][]int), single: make(map[string]*stage),
	}
	b.in = c.Label()
	inherited := b.policy(&c.OnError, c.Pos)
	p.stages = b.stages(c.Stages, inherited)
	p.always = b.stages(c.Always, inherited)
	p.index(nil, p.stages)
	p.indexSingle(p.stages)
	p.alwaysAsync = p.indexSingle(p.always)
	return p
}

// indexSingle notes the stages of plugins and of upstreams; async says that there
// is an async one among them.
func (p *pipe) indexSingle(stages []*stage) (async bool) {
	for _, st := range stages {
		if st.plugin != nil || st.upstream != nil {
			p.single[st.name] = st
		}
		async = async || st.async
		for _, br := range st.branches {
			if p.indexSingle(br.stages) {
				async = true
			}
		}
	}
	return async
}

// index notes where each stage is, for runs that start in the middle.
func (p *pipe) index(at []int, stages []*stage) {
	for i, st := range stages {
		path := append(at[:len(at):len(at)], i)
		p.paths[st.name] = path
		for j, br := range st.branches {
			p.index(append(path[:len(path):len(path)], j), br.stages)
		}
	}
}

func (b *builder) stages(cs []*config.Stage, inherited policy) []*stage {
	out := make([]*stage, len(cs))
	for i, c := range cs {
		st := &stage{name: c.Name, reply: FixedReply(c.Reply), onError: inherited, when: b.condition(c.When, c.WhenPos), async: c.Async}
		if c.Async {
			st.onError = policy{kind: config.Queue}
		}
		if c.Plugin != nil {
			st.plugin, st.canary = b.plugin(c.Plugin.Name, c.Pos), b.canary(c)
		}
		if f := c.Forward; f != nil && f.To != nil {
			st.upstream, st.raw = b.upstream(f.To.Name, c.Pos), f.As == config.ForwardRaw
		}
		st.shadow = b.shadow(c)
		if c.OnError != nil {
			st.onError = b.policy(c.OnError, c.Pos)
		}
		for _, cb := range c.Switch {
			st.branches = append(st.branches, branch{when: b.condition(cb.When, cb.WhenPos), stages: b.stages(cb.Stages, inherited)})
		}
		if len(c.Parallel) > 0 {
			st.branches, st.parallel = b.parallel(c.Parallel, inherited)
		}
		b.plain[stageName{b.in, c.Name}] = st.canary == nil
		out[i] = st
	}
	return out
}

func (b *builder) policy(c *config.OnError, pos config.Pos) policy {
	p := policy{kind: c.Kind, reply: FixedReply(c.Reply)}
	if c.Plugin != nil {
		p.plugin = b.plugin(c.Plugin.Name, pos)
	}
	return p
}

func (b *builder) plugin(name string, pos config.Pos) Plugin {
	p, ok := b.plugins[name]
	if !ok {
		b.problems = append(b.problems, config.Problem{Pos: pos, Text: fmt.Sprintf("plugin %s is not loaded", name)})
	}
	return p
}

func (b *builder) upstream(name string, pos config.Pos) Upstream {
	u, ok := b.upstreams[name]
	if !ok {
		b.problems = append(b.problems, config.Problem{Pos: pos, Text: fmt.Sprintf("upstream %s is not there", name)})
	}
	return u
}

func (b *builder) condition(src string, pos config.Pos) *condition {
	if src == "" {
		return nil
	}
	c, problems := compile(src, pos, b.known)
	b.problems = append(b.problems, problems...)
	return c
}
