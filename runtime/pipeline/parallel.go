package pipeline

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// parallel builds the branches of a parallel stage, and what is to be run of
// them where none has been.
func (b *builder) parallel(cs []*config.Stage, inherited policy) (branches []branch, fresh []part) {
	for i, c := range cs {
		branches = append(branches, branch{stages: b.stages([]*config.Stage{c}, inherited)})
		fresh = append(fresh, part{end: queued, at: place{path: []int{i}}})
	}
	return branches, fresh
}

// strand is a branch of a parallel stage on its walk.
type strand struct {
	walk
	list []*stage
	at   *place
	end  flow
}

func (s *strand) run(ctx context.Context) {
	s.end = s.stages(ctx, s.list, s.at.path[1:], s.at.parts)
}

// parallel walks the branches of st side by side, each on the event as it is
// before them, and returns when all have ended. Of parts those that are
// queued are walked, one at least; the others tell how theirs ended.
func (w *walk) parallel(ctx context.Context, st *stage, parts []part) flow {
	start := time.Now()
	strands := make([]strand, len(parts))
	w.shared = true
	var wg sync.WaitGroup
	var here *strand // one of them needs no goroutine of its own
	for i := range parts {
		s, p := &strands[i], &parts[i]
		s.walk = walk{
			metrics: w.metrics, log: w.log, app: w.app, ev: w.ev,
			attrs: w.attrs, shared: true, reply: w.reply, passive: w.passive, branch: true, trace: w.trace.branch(),
			came: w.came,
		}
		s.annotate(p.attrs)
		if p.replied {
			s.say(p.reply)
		}
		if s.end = p.end; s.end != queued {
			continue
		}
		s.list, s.at = st.branches[p.at.path[0]].stages, &p.at
		if here != nil {
			other := here
			wg.Go(func() { other.run(ctx) })
		}
		here = s
	}
	here.run(ctx) // one at least is queued
	wg.Wait()
	took := time.Since(start)
	w.metrics.StageSeconds(&st.timer, w.app.pipe.name, st.name, took)
	w.trace.add(Step{Stage: st.name, Outcome: hostapi.Next, Took: took})
	return w.join(ctx, st, strands)
}

// join takes over what the branches have left, in list order, and returns the
// strongest of their ends.
func (w *walk) join(ctx context.Context, st *stage, strands []strand) flow {
	end := goOn
	for i := range strands {
		end = max(end, strands[i].end)
	}
	if end == queued || end == again {
		w.haltWith(st, strands)
	}
	dropped := 0
	for i := range strands {
		s := &strands[i]
		dropped += w.annotate(s.added)
		if s.replied {
			w.reply, w.verbatim, w.replied = s.reply, s.verbatim, true
		}
		w.notes = append(w.notes, s.notes...)
		w.sights = append(w.sights, s.sights...)
		w.trace.join(s.trace)
	}
	if dropped > 0 {
		w.log.LogAttrs(ctx, slog.LevelWarn, "annotations over the bound of an event dropped", slog.String("app", w.app.name),
			slog.String("pipeline", w.app.pipe.name), slog.String("stage", st.name), slog.String("event_id", w.ev.ID),
			slog.Int("dropped", dropped))
	}
	return end
}

// haltWith notes that some of the branches are to be run again, alone, and what
// the others have left.
func (w *walk) haltWith(st *stage, strands []strand) {
	parts := make([]part, len(strands))
	var h *halt
	for i := range strands {
		s := &strands[i]
		if s.end != queued && s.end != again {
			parts[i] = part{end: s.end, attrs: s.added, replied: s.replied, reply: s.reply}
			continue
		}
		parts[i] = s.halt.part
		if h == nil || !h.counts() {
			h = s.halt
		}
	}
	w.haltAt(place{stage: st.name, parts: parts}, h.failed, h.reason)
}

// halt is where a walk ended by queue or again, and what there was before that.
type halt struct {
	part          // its end is queued
	failed string // the stage that failed
	reason string
}

// counts says whether a run that ended there counts as a try.
func (h *halt) counts() bool { return h.reason != "busy" && h.reason != "fused" }

func (w *walk) haltAt(at place, failed, reason string) {
	w.halt = &halt{failed: failed, reason: reason, part: part{end: queued, at: at, replied: w.replied, reply: w.reply}}
	if w.branch {
		w.halt.attrs = slices.Clone(w.added)
	} else {
		w.halt.attrs = slices.Clone(w.attrs)
	}
}

// annotate adds annotations; a later one of the same name goes before an
// earlier one. Branches can make more than an event has room for: it returns how
// many were dropped.
func (w *walk) annotate(add []hostapi.Field) (dropped int) {
	if len(add) > 0 && w.shared {
		w.attrs, w.shared = slices.Clone(w.attrs), false
	}
	for _, f := range add {
		if !upsert(&w.attrs, f) {
			dropped++
		} else if w.branch {
			upsert(&w.added, f)
		}
	}
	return dropped
}

// upsert puts f into list, in the place of one of its name. It is false where
// the list is full.
func upsert(list *[]hostapi.Field, f hostapi.Field) bool {
	i := slices.IndexFunc(*list, func(a hostapi.Field) bool { return a.Name == f.Name })
	switch {
	case i >= 0:
		(*list)[i] = f
	case len(*list) >= hostapi.MaxAnnotations:
		return false
	default:
		*list = append(*list, f)
	}
	return true
}
