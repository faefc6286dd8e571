package pipeline

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"

	"github.com/weft-dev/weft/runtime/config"
)

const (
	maxLabel     = 100 // runes of a condition or a text in a graph
	maxGraphApps = 5   // apps that a graph names for one pipeline
)

// Graph draws the pipelines as a Mermaid flowchart: the stages in their order,
// the branches of switches and of parallel stages, forwards, conditions, and where
// an error leads. Whatever stands in conditions and texts, it stays text. What
// Options.NoEnv left open is drawn as "…".
func Graph(cfg *config.Config) string {
	var g grapher
	g.line("flowchart TD")
	for i, p := range cfg.Pipelines {
		g.pipeline(cfg, p, fmt.Sprintf("p%d", i+1))
	}
	return g.out.String()
}

// grapher writes one chart.
type grapher struct {
	out    strings.Builder
	prefix string // of the names of a pipeline's nodes
	pipe   *config.Pipeline
	names  map[*config.Stage]string // of stages' nodes
	ends   map[string]bool          // nodes of what errors lead to, as far as they are drawn
	always bool                     // in the stages of always
}

func (g *grapher) line(format string, args ...any) { fmt.Fprintf(&g.out, format+"\n", args...) }

// pipeline draws one pipeline.
func (g *grapher) pipeline(cfg *config.Config, p *config.Pipeline, prefix string) {
	g.prefix, g.pipe, g.names, g.ends, g.always = prefix, p, map[*config.Stage]string{}, map[string]bool{}, false
	g.name(p.Stages)
	g.name(p.Always)
	g.line("  subgraph %s[\"pipeline %s\"]", prefix, label(p.Label()))
	start, answer := prefix+"start", prefix+"answer"
	g.line("    %s([\"%s\"])", start, label(appsOf(cfg, p)))
	g.line("    %s([\"answer, within %s\"])", answer, label(p.AnswerWithin.String()))
	g.line("    %s --> %s", start, g.first(p.Stages, answer))
	g.stages(p.Stages, answer)
	if len(p.Always) > 0 {
		end := prefix + "end"
		g.line("    %s([\"end\"])", end)
		g.line("    %s -->|\"always\"| %s", answer, g.first(p.Always, end))
		g.always = true
		g.stages(p.Always, end)
	}
	g.line("  end")
}

// appsOf says whose events walk a pipeline.
func appsOf(cfg *config.Config, p *config.Pipeline) string {
	var names []string
	for _, a := range cfg.Apps {
		if a.Pipeline == p {
			names = append(names, a.Name)
		}
	}
	switch more := len(names) - maxGraphApps; {
	case len(names) == 0:
		return "no app"
	case more > 0:
		return fmt.Sprintf("events of %s and %d more", strings.Join(names[:maxGraphApps], ", "), more)
	}
	return "events of " + strings.Join(names, ", ")
}

// name gives each stage's node its name.
func (g *grapher) name(stages []*config.Stage) {
	for _, s := range stages {
		g.names[s] = fmt.Sprintf("%ss%d", g.prefix, len(g.names)+1)
		for _, b := range s.Switch {
			g.name(b.Stages)
		}
		g.name(s.Parallel)
	}
}

// first is the node where a list of stages begins; after where it is empty.
func (g *grapher) first(stages []*config.Stage, after string) string {
	if len(stages) == 0 {
		return after
	}
	return g.names[stages[0]]
}

// stages draws a list of stages, which goes on with after.
func (g *grapher) stages(stages []*config.Stage, after string) {
	for i, s := range stages {
		g.stage(s, g.first(stages[i+1:], after))
	}
}

func (g *grapher) stage(s *config.Stage, next string) {
	id := g.names[s]
	text := label(cmp.Or(s.Name, "…"))
	switch {
	case s.Plugin != nil && s.Plugin.Name != s.Name:
		text += "<br/>" + pluginLabel(s.Plugin)
	case s.Reply != nil:
		text += "<br/>" + replyLabel(s.Reply)
	case s.Forward != nil:
		text += "<br/>" + forwardLabel(s.Forward)
	}
	if when := whenLabel(s.When, s.WhenPos); when != "" {
		text += "<br/>" + "when " + when
	}
	if s.Async {
		text += "<br/>async, from the queue"
	}
	if s.Canary != nil {
		text += "<br/>" + canaryLabel(s.Canary)
	}
	switch {
	case s.Shadow != nil:
		text += "<br/>" + label("shadow "+s.Shadow.Name)
	case s.ShadowPos != config.Pos{}:
		text += "<br/>shadow …"
	}
	switch {
	case s.Switch != nil:
		g.line("    %s{\"%s\"}", id, text)
		g.branches(s, next)
	case s.Parallel != nil:
		g.line("    %s{{\"%s\"}}", id, text)
		g.beside(s, next)
	case s.Forward != nil && s.Forward.As == config.ForwardRaw && !s.Async && !g.always:
		g.line("    %s[\"%s\"]", id, text)
		g.line("    %s -->|\"answered\"| %s", id, g.prefix+"answer")
		if s.When != "" || s.WhenPos != (config.Pos{}) {
			g.line("    %s -->|\"none\"| %s", id, next)
		}
	default:
		g.line("    %s[\"%s\"]", id, text)
		g.line("    %s --> %s", id, next)
	}
	switch {
	case s.Async:
		g.asyncError(s)
	case s.Plugin != nil, s.Forward != nil, s.OnError != nil && (s.Parallel == nil || s.WhenPos != config.Pos{}):
		g.onError(s, next)
	}
}

// beside draws the branches of a parallel stage.
func (g *grapher) beside(s *config.Stage, next string) {
	for i := range s.Parallel {
		g.line("    %s -->|\"side by side\"| %s", g.names[s], g.names[s.Parallel[i]])
	}
	if s.When != "" || s.WhenPos != (config.Pos{}) {
		g.line("    %s -->|\"none\"| %s", g.names[s], next)
	}
	for i := range s.Parallel {
		g.stages(s.Parallel[i:i+1], next)
	}
}

// asyncError draws the plugin that runs in the place of an async one. Whatever
// else follows an error of that, the events of the chart don't wait for it.
func (g *grapher) asyncError(s *config.Stage) {
	if s.OnError == nil || s.OnError.Kind != config.Instead {
		return
	}
	to := g.names[s] + "error"
	g.line("    %s[\"%s\"]", to, pluginLabel(s.OnError.Plugin))
	g.line("    %s -.->|\"error\"| %s", g.names[s], to)
}

func (g *grapher) branches(s *config.Stage, next string) {
	passed := whenLabel(s.When, s.WhenPos) != "" // an event may meet none of the branches
	for i, b := range s.Switch {
		when := whenLabel(b.When, b.WhenPos)
		if when == "" {
			when = "all others"
		} else if i == len(s.Switch)-1 {
			passed = true
		}
		g.line("    %s -->|\"%s\"| %s", g.names[s], when, g.first(b.Stages, next))
	}
	if passed {
		g.line("    %s -->|\"none\"| %s", g.names[s], next)
	}
	for _, b := range s.Switch {
		g.stages(b.Stages, next)
	}
}

// onError draws where an error of a stage leads. Under always only another plugin
// has a meaning.
func (g *grapher) onError(s *config.Stage, next string) {
	policy, own := s.OnError, true
	if policy == nil {
		policy, own = &g.pipe.OnError, false
	}
	to := next
	switch policy.Kind {
	case config.Instead:
		to = g.names[s] + "error"
		g.line("    %s[\"%s\"]", to, pluginLabel(policy.Plugin))
		g.line("    %s --> %s", to, next)
	case config.GiveReply:
		to = g.prefix + "error"
		if own {
			to = g.names[s] + "error"
		}
		g.end(to, "[\"", replyLabel(policy.Reply), "\"]", g.prefix+"answer")
	case config.Queue:
		to = g.prefix + "queue"
		g.end(to, "[(\"", "queue, run again later", "\")]", "")
	case config.Again:
		to = g.prefix + "again"
		g.end(to, "([\"", "WeChat sends it again", "\"])", "")
	case config.Skip:
	default:
		to = g.prefix + "stop"
		g.end(to, "([\"", "success, no answer", "\"])", "")
	}
	if g.always && policy.Kind != config.Instead {
		return
	}
	g.line("    %s -.->|\"error\"| %s", g.names[s], to)
}

// end draws what errors lead to, once, with an edge to next where there is one.
func (g *grapher) end(id, left, text, right, next string) {
	if g.always || g.ends[id] {
		return
	}
	g.ends[id] = true
	g.line("    %s%s%s%s", id, left, text, right)
	if next != "" {
		g.line("    %s --> %s", id, next)
	}
}

func forwardLabel(f *config.Forward) string {
	to := "…" // NoEnv left its name open
	if f.To != nil {
		to = f.To.Name
	}
	return label("forward to " + to + ", " + cmp.Or(string(f.As), "…"))
}

func pluginLabel(p *config.Plugin) string {
	if p == nil { // NoEnv left its name open
		return "plugin …"
	}
	return label("plugin " + p.Name)
}

// canaryLabel says what a canary gets, and until when. It names no user.
func canaryLabel(c *config.Canary) string {
	var gets []string
	if c.Percent > 0 || len(c.Apps)+len(c.Users) == 0 {
		gets = append(gets, c.Percent.String())
	}
	if n := len(c.Apps); n > maxGraphApps {
		gets = append(gets, fmt.Sprintf("all of %d apps", n))
	} else if n > 0 {
		gets = append(gets, "all of "+strings.Join(c.Apps, ", "))
	}
	switch n := len(c.Users); n {
	case 0:
	case 1:
		gets = append(gets, "1 user")
	default:
		gets = append(gets, fmt.Sprintf("%d users", n))
	}
	to := "…"
	if c.To != nil {
		to = c.To.Name
	}
	return label("canary "+to+" gets "+strings.Join(gets, ", ")) + "<br/>" +
		label(fmt.Sprintf("until %s of %d events or more fail within %s", c.Rollback.Errors, c.Rollback.MinEvents, c.Rollback.Window))
}

// whenLabel is a condition's text, "" where there is none.
func whenLabel(when string, pos config.Pos) string {
	if when == "" && pos != (config.Pos{}) {
		return "…"
	}
	return label(when)
}

// replyLabel says what a fixed reply is.
func replyLabel(r *config.Reply) string {
	switch {
	case r == nil:
		return "reply …"
	case r.Text != nil:
		return label("reply " + r.Text.Content)
	case r.Image != nil:
		return "reply, an image"
	case r.Voice != nil:
		return "reply, a voice"
	case r.Video != nil:
		return "reply, a video"
	case r.Music != nil:
		return "reply, music"
	case r.News != nil:
		return "reply, articles"
	case r.Transfer != nil:
		return "transfer to customer service"
	case r.Raw != nil:
		return "reply, as it stands"
	}
	return "reply …"
}

// label makes a text fit for a label in quotes: one line, cut, and everything that
// means something to Mermaid, HTML or a Markdown fence as a character code.
func label(s string) string {
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) > maxLabel {
		runes = append(runes[:maxLabel:maxLabel], '…')
	}
	var b strings.Builder
	for _, r := range runes {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), strings.ContainsRune(" _-.,=()/!…", r):
			b.WriteRune(r)
		case unicode.IsPrint(r):
			fmt.Fprintf(&b, "#%d;", r)
		default:
			fmt.Fprintf(&b, "#92;u%04X", r)
		}
	}
	return b.String()
}
