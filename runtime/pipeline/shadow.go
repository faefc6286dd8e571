package pipeline

import (
	"bytes"
	"context"
	"slices"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// Layer is the state that a shadow's calls have in place of the plugin's own.
// What they write stays in it and is theirs alone.
type Layer struct {
	Pipeline, Stage, Plugin string // whose shadow, and which plugin it is
	// Over is the name of the plugin whose state shows through where the layer has
	// nothing; "": none.
	Over string
}

// Before is the state as a primary's call found it: what stood under the keys
// that it changed, by keys of the plugin's side. So the shadow, which runs later,
// sees what the primary saw.
type Before struct {
	Values  map[string][]byte // nil: there was nothing
	Partial bool              // there is more that is not known
}

// shadow is the plugin that gets a stage's events after the answer. It belongs
// to a Set; its counts are the engine's.
type shadow struct {
	name    stageName
	primary string // name of the stage's plugin or upstream
	to      string // name of target
	target  Plugin
	layer   Layer
	forward Upstream // the primary, where it is one
	counts  *shadowCounts
}

func (b *builder) shadow(c *config.Stage) *shadow {
	if c.Shadow == nil {
		return nil
	}
	s := &shadow{
		name: stageName{b.in, c.Name}, to: c.Shadow.Name, target: b.plugin(c.Shadow.Name, c.ShadowPos),
		layer: Layer{Pipeline: b.in, Stage: c.Name, Plugin: c.Shadow.Name}, counts: new(shadowCounts),
	}
	switch {
	case c.Plugin != nil:
		s.primary, s.layer.Over = c.Plugin.Name, c.Plugin.StateOwner()
	case c.Forward != nil && c.Forward.To != nil:
		s.primary, s.forward = c.Forward.To.Name, b.upstreams[c.Forward.To.Name]
	}
	b.shadows = append(b.shadows, s)
	return s
}

// Layers lists the layers of the set's shadows.
func (s *Set) Layers() []Layer {
	layers := make([]Layer, len(s.shadows))
	for i, sh := range s.shadows {
		layers[i] = sh.layer
	}
	return layers
}

// sight is what a stage with a shadow saw and did.
type sight struct {
	of      *shadow
	attrs   []hostapi.Field // before it
	reply   *hostapi.Reply  // before it
	passive bool
	before  *Before // of a plugin

	failed bool // none of the following then
	did    did
	raw    *Verbatim // the answer, in place of did.reply
}

// did is what a stage, or its shadow, came to.
type did struct {
	outcome     hostapi.Outcome
	reply       *hostapi.Reply // so far, those of earlier stages included
	annotations []hostapi.Field
}

// see begins the sight of a stage on a side, before it is run; nil where nobody
// shadows it. What the shadow sees must not change any more.
func (w *walk) see(st *stage, side string) *sight {
	if st.shadow == nil || side != "" || !st.shadow.target.Wants(w.ev.Type, w.ev.Event) {
		return nil
	}
	w.shared = true
	return &sight{of: st.shadow, attrs: w.attrs, reply: w.reply, passive: w.passive}
}

// saw ends a sight with what the stage came to.
func (w *walk) saw(ctx context.Context, s *sight, res *Result, err error) {
	if s == nil || err != nil && context.Cause(ctx) == errStopping {
		return
	}
	s.failed = err != nil
	if err == nil {
		s.did = s.doing(res)
	}
	w.sights = append(w.sights, s)
}

// size is the memory of a sight, about.
func (s *sight) size() int {
	const value = 100 // a field or a key, beside its text
	n := 0
	for _, fields := range [][]hostapi.Field{s.attrs, s.did.annotations} {
		for _, f := range fields {
			n += len(f.Name) + len(f.Value) + value
		}
	}
	for _, r := range []*hostapi.Reply{s.reply, s.did.reply} {
		if r != nil {
			n += r.Size()
		}
	}
	if s.before != nil {
		for k, v := range s.before.Values {
			n += len(k) + len(v) + value
		}
	}
	if s.raw != nil {
		n += cap(s.raw.Body)
	}
	return n
}

// doing is what a call of the stage's plugin or of the shadow came to.
func (s *sight) doing(res *Result) did {
	d := did{outcome: res.Outcome, reply: s.reply, annotations: res.Annotations}
	if res.ReplySet && s.passive {
		d.reply = res.Reply
	}
	return d
}

// overlook takes the sight of a stage back that is to be run again.
func (w *walk) overlook(st *stage) {
	if last := len(w.sights) - 1; last >= 0 && st.shadow != nil && w.sights[last].of == st.shadow {
		w.sights = w.sights[:last]
	}
}

// Kinds of differences.
const (
	diffOutcome     = "outcome"
	diffReply       = "reply"
	diffAnnotations = "annotations"
)

// compare tells in what the shadow differs from the primary; false where that
// can't be told. Of a forward only the reply can be compared.
func (s *sight) compare(ev *hostapi.Event, shadow did) (kinds []string, ok bool) {
	switch {
	case s.before != nil && s.before.Partial, s.failed && s.of.forward != nil:
		return nil, false
	case s.failed:
		return []string{diffOutcome}, true
	case s.raw != nil:
		reply, err := s.of.forward.Read(ev, s.raw)
		if err != nil {
			return nil, false
		}
		s.did.reply = reply
	}
	if s.of.forward == nil && s.did.outcome != shadow.outcome {
		kinds = append(kinds, diffOutcome)
	}
	if !sameReply(s.did.reply, shadow.reply) {
		kinds = append(kinds, diffReply)
	}
	if s.of.forward == nil && !sameAnnotations(s.did.annotations, shadow.annotations) {
		kinds = append(kinds, diffAnnotations)
	}
	return kinds, true
}

func sameReply(a, b *hostapi.Reply) bool {
	if a == nil || b == nil {
		return a == b
	}
	return bytes.Equal(a.Append(nil), b.Append(nil))
}

// sameAnnotations compares what is left of annotations: of one name the last.
func sameAnnotations(a, b []hostapi.Field) bool {
	left := func(list []hostapi.Field) (out []hostapi.Field) {
		for _, f := range list {
			upsert(&out, f)
		}
		slices.SortFunc(out, func(a, b hostapi.Field) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
		return out
	}
	return slices.Equal(left(a), left(b))
}
