package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/telemetry"
)

// flow is how it goes on after a stage, and how stages ended.
type flow uint8

const (
	goOn      flow = iota // the next stage; at the end of stages the same as done
	done                  // the reply so far is the answer
	stopped               // on_error: stop
	queued                // on_error: queue
	again                 // on_error: again
	refused               // nothing was run: the user's turn did not come
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
	reply   *hostapi.Reply
	passive bool // a reply can be set

	// Of the stage that ended the walk by queue or again.
	from   string
	reason string

	call    Call
	machine vm.VM
	env     *env // nil until the first condition
}

// stages walks a list from its beginning, or from the stage at path.
func (w *walk) stages(ctx context.Context, list []*stage, path []int) flow {
	first := 0
	if len(path) > 0 {
		first = path[0]
	}
	for i := first; i < len(list); i++ {
		var f flow
		if i == first && len(path) > 1 {
			f = w.stages(ctx, list[i].branches[path[1]].stages, path[2:])
		} else {
			f = w.stage(ctx, list[i])
		}
		if f != goOn {
			return f
		}
	}
	return goOn
}

func (w *walk) stage(ctx context.Context, st *stage) flow {
	if st.plugin != nil && !st.plugin.Wants(w.ev.Type, w.ev.Event) {
		return goOn
	}
	ok, err := w.when(st.when)
	switch {
	case err != nil:
		return w.failed(ctx, st, err)
	case !ok:
		return goOn
	case st.plugin != nil:
		f, err := w.plugin(ctx, st, st.plugin)
		if err != nil {
			return w.failed(ctx, st, err)
		}
		return f
	case st.reply != nil:
		if w.passive {
			w.reply = st.reply
		}
		return goOn
	}
	return w.choose(ctx, st)
}

// choose walks the first branch of a switch whose condition holds.
func (w *walk) choose(ctx context.Context, st *stage) flow {
	for i := range st.branches {
		ok, err := w.when(st.branches[i].when)
		if err != nil {
			return w.failed(ctx, st, err)
		}
		if ok {
			return w.stages(ctx, st.branches[i].stages, nil)
		}
	}
	return goOn
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

// plugin runs a plugin. After an error it has left nothing.
func (w *walk) plugin(ctx context.Context, st *stage, p Plugin) (flow, error) {
	if err := ctx.Err(); err != nil {
		return goOn, err
	}
	start := time.Now()
	w.call = Call{Event: w.ev, Attrs: w.attrs, Reply: w.reply, Passive: w.passive}
	res, err := p.Handle(ctx, &w.call)
	w.metrics.StageSeconds(w.app.pipe.name, st.name, time.Since(start))
	if err != nil {
		return goOn, err
	}
	if res.Outcome != hostapi.Next && res.Outcome != hostapi.Done {
		return goOn, fmt.Errorf("outcome %d is neither next nor done", res.Outcome)
	}
	w.annotate(res.Annotations)
	if res.ReplySet && w.passive {
		w.reply = res.Reply
	}
	if res.Outcome == hostapi.Done {
		return done, nil
	}
	return goOn, nil
}

// annotate adds annotations; a later one of the same name goes before an
// earlier one.
func (w *walk) annotate(add []hostapi.Field) {
	for _, f := range add {
		i := slices.IndexFunc(w.attrs, func(a hostapi.Field) bool { return a.Name == f.Name })
		if i < 0 {
			w.attrs = append(w.attrs, f)
		} else {
			w.attrs[i] = f
		}
	}
}

// failed does what the stage's on_error says.
func (w *walk) failed(ctx context.Context, st *stage, err error) flow {
	if context.Cause(ctx) == errStopping {
		return abandoned
	}
	reason := w.report(ctx, st, err)
	switch st.onError.kind {
	case config.Skip:
		return goOn
	case config.GiveReply:
		if w.passive {
			w.reply = st.onError.reply
		}
		return done
	case config.Instead:
		return w.instead(ctx, st)
	case config.Queue:
		w.from, w.reason = st.name, reason
		return queued
	case config.Again:
		w.from, w.reason = st.name, reason
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
	f, err := w.plugin(ctx, st, other)
	switch {
	case err == nil:
		return f
	case context.Cause(ctx) == errStopping:
		return abandoned
	}
	w.report(ctx, st, err)
	return stopped
}

// always runs the stages of always, each of them whatever became of the others:
// they are best effort, so that of their on_error only a plugin in the stage's
// place has a meaning.
func (w *walk) always(ctx context.Context) {
	w.passive = false
	for _, st := range w.app.pipe.always {
		if w.stage(ctx, st) == abandoned {
			return
		}
	}
}
