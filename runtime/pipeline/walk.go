package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/telemetry"
)

// flow is how it goes on after a stage, and how stages ended. Of branches side
// by side the greatest counts. Entries of the durable queue hold those up to
// queued as numbers.
type flow uint8

const (
	goOn      flow = iota // the next stage; at the end of stages the same as done
	done                  // the reply so far is the answer
	stopped               // on_error: stop
	queued                // on_error: queue
	again                 // on_error: again
	refused               // nothing was run: over a bound, or the user's turn did not come
	abandoned             // the host stops
)

// finished says that the stages were run, so that it is time for always.
func (f flow) finished() bool { return f <= queued }

// walk takes one event through stages. One goroutine uses it.
type walk struct {
	metrics *telemetry.Metrics
	log     *slog.Logger
	app     *app
	ev      *hostapi.Event
	attrs   []hostapi.Field
	shared  bool // attrs is somebody else's, too: copied before it is changed
	reply   *hostapi.Reply
	replied bool // reply or verbatim was set here, or taken back
	passive bool // a reply can be set

	branch bool            // of a parallel stage
	added  []hostapi.Field // of a branch: those of attrs that it made

	halt *halt // where it ended by queue or again

	notes  []note   // async stages that it came to, to be run from the queue
	sights []*sight // of stages with a shadow
	lone   bool     // it is of one async stage, and runs it

	trace *Trace // nil: nobody watches

	came     *Callback // that the event came as; nil where it came from the durable queue
	verbatim *Verbatim // the answer of a raw forward, in place of a reply

	call    Call
	machine vm.VM
	env     *env // nil until the first condition
}

// stages walks a list from its beginning, or from the stage at path and, where
// that is a parallel one that was run in part, from its parts.
func (w *walk) stages(ctx context.Context, list []*stage, path []int, parts []part) flow {
	if len(path) > 0 {
		first := list[path[0]]
		list = list[path[0]+1:]
		var f flow
		switch {
		case len(path) > 1:
			f = w.stages(ctx, first.branches[path[1]].stages, path[2:], parts)
		case parts != nil:
			f = w.parallel(ctx, first, parts)
		default:
			f = w.stage(ctx, first)
		}
		if f != goOn {
			return f
		}
	}
	for _, st := range list {
		if f := w.stage(ctx, st); f != goOn {
			return f
		}
	}
	return goOn
}

func (w *walk) stage(ctx context.Context, st *stage) flow {
	plugin, side := st.pick(w.app.name, w.ev)
	if !st.takes(plugin, w.ev) {
		return goOn
	}
	if st.async && !w.lone {
		w.note(st)
		return goOn
	}
	ok, err := w.when(st.when)
	switch {
	case err != nil:
		return w.failed(ctx, st, err)
	case !ok:
		return goOn
	case plugin != nil:
		f, err := w.plugin(ctx, st, plugin, side)
		if err != nil {
			return w.failed(ctx, st, err)
		}
		return f
	case st.reply != nil:
		w.say(st.reply)
		w.trace.add(Step{Stage: st.name, Outcome: hostapi.Next})
		return goOn
	case st.parallel != nil:
		return w.parallel(ctx, st, st.parallel)
	case st.upstream != nil:
		f, err := w.forward(ctx, st)
		if err != nil {
			return w.failed(ctx, st, err)
		}
		return f
	}
	return w.choose(ctx, st)
}

// choose walks the first branch of a switch whose condition holds.
func (w *walk) choose(ctx context.Context, st *stage) flow {
	list, err := w.way(st)
	if err != nil {
		return w.failed(ctx, st, err)
	}
	return w.stages(ctx, list, nil, nil)
}

// way is the first branch of a switch whose condition holds; nil: none does.
func (w *walk) way(st *stage) ([]*stage, error) {
	for i := range st.branches {
		if ok, err := w.when(st.branches[i].when); ok || err != nil {
			return st.branches[i].stages, err
		}
	}
	return nil, nil
}

func (w *walk) when(c *condition) (bool, error) {
	if c == nil {
		return true, nil
	}
	if w.env == nil {
		w.env = newEnv(w.app, w.ev)
	}
	w.env.view.Attrs = w.attrs
	return c.eval(&w.machine, w.env)
}

// plugin runs a plugin, which is the stage's on a side. After an error it has
// left nothing.
func (w *walk) plugin(ctx context.Context, st *stage, p Plugin, side string) (flow, error) {
	if err := ctx.Err(); err != nil {
		return goOn, err
	}
	start := time.Now()
	w.call = Call{Event: w.ev, Attrs: w.attrs, Reply: w.reply, Passive: w.passive}
	sight := w.see(st, side)
	if sight != nil {
		sight.before = new(Before)
		w.call.Before = sight.before
	}
	res, err := p.Handle(ctx, &w.call)
	took := time.Since(start)
	w.metrics.StageSeconds(&st.timer, w.app.pipe.name, st.name, took)
	w.trace.call(st, side, &res, err, took)
	if err == nil && res.Outcome != hostapi.Next && res.Outcome != hostapi.Done {
		err = fmt.Errorf("outcome %d is neither next nor done", res.Outcome)
	}
	if st.canary != nil && side != SideInstead {
		w.ran(ctx, st.canary, side, err)
	}
	w.saw(ctx, sight, &res, err)
	if err != nil {
		return goOn, err
	}
	w.annotate(res.Annotations)
	if res.ReplySet {
		w.say(res.Reply)
	}
	if res.Outcome == hostapi.Done {
		return done, nil
	}
	return goOn, nil
}

// say sets the reply, or takes it back: nil. What a raw forward was answered is
// one.
func (w *walk) say(r *hostapi.Reply) {
	if w.passive {
		w.reply, w.verbatim, w.replied = r, nil, true
	}
}

// failed does what the stage's on_error says.
func (w *walk) failed(ctx context.Context, st *stage, err error) flow {
	if context.Cause(ctx) == errStopping {
		return abandoned
	}
	reason := w.report(ctx, st, err)
	w.trace.failed(st, reason, st.onError.kind)
	switch st.onError.kind {
	case config.Skip:
		return goOn
	case config.GiveReply:
		w.say(st.onError.reply)
		return done
	case config.Instead:
		return w.instead(ctx, st)
	case config.Queue:
		w.overlook(st)
		w.haltAt(place{stage: st.name}, st.name, reason)
		return queued
	case config.Again:
		w.overlook(st)
		w.haltAt(place{stage: st.name}, st.name, reason)
		return again
	}
	return stopped
}

// instead runs the other plugin of on_error; its own error is stop.
func (w *walk) instead(ctx context.Context, st *stage) flow {
	other := st.onError.plugin
	if !other.Wants(w.ev.Type, w.ev.Event) {
		return goOn
	}
	f, err := w.plugin(ctx, st, other, SideInstead)
	switch {
	case err == nil:
		return f
	case context.Cause(ctx) == errStopping:
		return abandoned
	}
	w.trace.failed(st, w.report(ctx, st, err), config.Stop)
	return stopped
}

// always runs the stages of always, each of them whatever became of the others:
// they are best effort, so that of their on_error only a plugin in the stage's
// place has a meaning. Those that are async have their entries already.
func (w *walk) always(ctx context.Context) {
	w.passive = false
	for _, st := range w.app.pipe.always {
		if w.stage(ctx, st) == abandoned {
			return
		}
	}
}
