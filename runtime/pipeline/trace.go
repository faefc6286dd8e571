package pipeline

import (
	"slices"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// SideInstead is the side of a stage on which the plugin of its on_error runs.
const SideInstead = "instead"

// Trace is what one run of an event did: for tests of pipelines, and for what is
// recorded of a host. Nothing in it may be changed.
type Trace struct {
	Event    *hostapi.Event // as the run began, without Attrs and Reply
	Pipeline string
	Durable  bool   // the run is one from the durable queue
	Alone    string // the async stage that was all of it; else ""
	// End tells how the stages ended: done, stopped, queued, again, refused (over
	// a bound, or the user's turn did not come) or abandoned (the host stops).
	End   string
	Attrs []hostapi.Field // when the stages had ended
	Reply *hostapi.Reply  // likewise; nil where none was set
	// Verbatim is, in the place of Reply, what a raw forward was answered.
	Verbatim *Verbatim
	// Steps are the stages that ran, in their order, those under always last. A
	// parallel one comes before its branches, which follow in list order.
	Steps []Step

	watcher func(*Trace)
}

// Step is one stage of a run. Stages that the event passed by have none, nor has
// a switch whose conditions could be computed.
type Step struct {
	Stage   string
	Side    string             // "": the stage's own; SideInstead, SideCanary
	Outcome hostapi.Outcome    // Failed after an error
	Error   string             // after an error: its label in weft_stage_errors_total
	OnError config.OnErrorKind // after an error: what followed
	Fuel    int64              // of a plugin's call, in units of an instruction; 0: not known
	Took    time.Duration
	Always  bool // it stands under always
}

// Watch has f called at the end of each run that begins from now on; nil ends
// that. f is called by many goroutines at once, after the event was answered, and
// holds up the run's end.
func (e *Engine) Watch(f func(*Trace)) {
	if f == nil {
		e.watch.Store(nil)
		return
	}
	e.watch.Store(&f)
}

// trace begins the trace of a run; nil where nobody watches.
func (e *Engine) trace(r *run) *Trace {
	f := e.watch.Load()
	if f == nil {
		return nil
	}
	t := &Trace{Event: &r.ev, Pipeline: r.app.pipe.name, Durable: r.durable, watcher: *f}
	if r.alone != nil {
		t.Alone = r.alone.name
	}
	return t
}

// give hands a trace to the watcher. It and the methods below do nothing where
// nobody watches.
func (t *Trace) give() {
	if t != nil {
		t.watcher(t)
	}
}

// branch begins the trace of a branch.
func (t *Trace) branch() *Trace {
	if t == nil {
		return nil
	}
	return new(Trace)
}

// join takes the steps of a branch over.
func (t *Trace) join(branch *Trace) {
	if t != nil {
		t.Steps = append(t.Steps, branch.Steps...)
	}
}

func (t *Trace) add(s Step) {
	if t != nil {
		s.Always = t.End != ""
		t.Steps = append(t.Steps, s)
	}
}

// call notes a call of a plugin on a side of the stage, or a forward. What follows an error is
// noted by failed.
func (t *Trace) call(st *stage, side string, res *Result, err error, took time.Duration) {
	if t == nil {
		return
	}
	s := Step{Stage: st.name, Side: side, Outcome: res.Outcome, Fuel: res.Fuel, Took: took}
	if err != nil {
		s.Outcome = hostapi.Failed
	}
	t.add(s)
}

// failed notes what followed an error of a stage: of its last call, or of what
// came before one.
func (t *Trace) failed(st *stage, reason string, then config.OnErrorKind) {
	if t == nil {
		return
	}
	last := len(t.Steps) - 1
	if last < 0 || t.Steps[last].Stage != st.name || t.Steps[last].Error != "" {
		t.add(Step{Stage: st.name})
		last++
	}
	s := &t.Steps[last]
	s.Outcome, s.Error, s.OnError = hostapi.Failed, reason, then
}

// ended notes how the stages ended; what comes now is always'.
func (t *Trace) ended(w *walk, end flow) {
	if t == nil {
		return
	}
	t.End = [...]string{goOn: "done", done: "done", stopped: "stopped", queued: "queued", again: "again", refused: "refused", abandoned: "abandoned"}[end]
	t.Attrs, t.Reply, t.Verbatim = slices.Clone(w.attrs), w.reply, w.verbatim
	if end == stopped {
		t.Reply, t.Verbatim = nil, nil
	}
}
