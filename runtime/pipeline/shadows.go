package pipeline

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// Bounds of shadows: what is over them is dropped and counted.
const (
	shadowLanes = 4       // calls at once
	laneEvents  = 64      // that wait in a lane
	laneBytes   = 4 << 20 // of the events that wait in a lane, with what their stages saw and did

	maxDifferences = 100  // remembered
	maxText        = 1024 // bytes of each text of one
)

// What a shadow came to, the label of weft_shadow_total.
const (
	shadowSame          = "same"
	shadowDifferent     = "different"
	shadowError         = "error"
	shadowDropped       = "dropped"
	shadowNotComparable = "not_comparable"
)

// shadows runs the shadows of the set in use. The events of a user go through one
// lane, in the order in which they were answered.
type shadows struct {
	lanes [shadowLanes]shadowLane

	mu          sync.Mutex
	use         []*shadow // by pipeline and stage
	counts      map[stageName]*shadowCounts
	differences []Difference // the oldest first
}

// shadowLane is there to run one shadow after another. Its goroutine ends when
// none waits.
type shadowLane struct {
	mu      sync.Mutex
	waiting []*shadowRun
	bytes   int
	running bool
}

// shadowRun is a call of a shadow to be made. It holds its set.
type shadowRun struct {
	*sight
	app  *app
	ev   hostapi.Event
	size int
}

// shadowCounts is what the events of a shadow came to. It belongs to the engine,
// by the stage's name, as long as the shadow is the same plugin. The lock of
// shadows guards it.
type shadowCounts struct {
	to                                             string
	same, different, errors, dropped, incomparable uint64
	outcome, reply, annotations                    uint64
	last                                           time.Time // of a difference; zero: none yet
	lastKinds                                      []string
	lastError                                      string // label of weft_stage_errors_total
}

// ShadowStatus is how the shadow of a stage in use does.
type ShadowStatus struct {
	Pipeline, Stage string
	Primary, Shadow string // names of the stage's plugin or upstream, and of the shadow
	Same, Different uint64
	Errors, Dropped uint64
	NotComparable   uint64
	// Of Different, those in which this was different; one may count for several.
	Outcome, Reply, Annotations uint64
	LastDifference              time.Time // zero: none yet
	LastKinds                   []string  // of outcome, reply and annotations
	LastError                   string    // a label of weft_stage_errors_total; "": none yet
}

// Difference is an event to which a shadow answered something else than its
// primary. It has texts of users and plugins, each cut at 1,024 bytes.
type Difference struct {
	At                        time.Time
	Pipeline, Stage           string
	App, EventID              string
	Type, Event, Key, Content string   // of the event
	Kinds                     []string // what is different: outcome, reply, annotations
	Primary, Shadow           Did
}

// Did is what a stage, or its shadow, came to.
type Did struct {
	Outcome     string          // next, done, or failed
	Reply       string          // JSON; "": none
	Annotations []hostapi.Field // at most 20 are shown
}

// Shadows lists the shadows of the set in use, by pipeline and stage.
func (e *Engine) Shadows() []ShadowStatus {
	ss := &e.shadows
	ss.mu.Lock()
	defer ss.mu.Unlock()
	out := make([]ShadowStatus, len(ss.use))
	for i, s := range ss.use {
		c := s.counts
		out[i] = ShadowStatus{
			Pipeline: s.name.pipeline, Stage: s.name.stage, Primary: s.primary, Shadow: s.to,
			Same: c.same, Different: c.different, Errors: c.errors, Dropped: c.dropped, NotComparable: c.incomparable,
			Outcome: c.outcome, Reply: c.reply, Annotations: c.annotations,
			LastDifference: c.last, LastKinds: c.lastKinds, LastError: c.lastError,
		}
	}
	return out
}

// Differences returns what is remembered of the last differences, the last one
// first.
func (e *Engine) Differences() []Difference {
	e.shadows.mu.Lock()
	defer e.shadows.mu.Unlock()
	out := slices.Clone(e.shadows.differences)
	slices.Reverse(out)
	return out
}

// useShadows has the shadows of a set go on counting, before it is walked.
func (e *Engine) useShadows(set *Set) {
	ss := &e.shadows
	ss.mu.Lock()
	defer ss.mu.Unlock()
	counts := make(map[stageName]*shadowCounts, len(set.shadows))
	for _, s := range set.shadows {
		c := ss.counts[s.name]
		if c == nil || c.to != s.to {
			c = &shadowCounts{to: s.to}
		}
		s.counts, counts[s.name] = c, c
	}
	ss.counts = counts
	ss.use = slices.SortedFunc(slices.Values(set.shadows), func(a, b *shadow) int { return a.name.compare(b.name) })
}

// shadow has the shadows of what a run saw run after it.
func (e *Engine) shadow(r *run, w *walk, end flow) {
	if len(w.sights) == 0 || !end.finished() {
		return // nothing, or all of it is seen again
	}
	who := cmp.Or(r.ev.User, r.ev.ID)
	lane := &e.shadows.lanes[side(sideSeed(r.app.name), who)%shadowLanes]
	for _, s := range w.sights {
		run := &shadowRun{sight: s, app: r.app, ev: r.ev, size: r.ev.Size() + s.size()}
		e.ledger.hold(r.app.set)
		if !lane.add(e, run) {
			e.over(run, shadowDropped, nil)
		}
	}
}

// add puts a run into the lane; false: it is full.
func (l *shadowLane) add(e *Engine, run *shadowRun) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= laneEvents || l.bytes+run.size > laneBytes {
		return false
	}
	l.waiting = append(l.waiting, run)
	l.bytes += run.size
	if !l.running {
		l.running = true
		e.wg.Go(func() { l.run(e) })
	}
	return true
}

// run runs what waits in the lane until nothing does.
func (l *shadowLane) run(e *Engine) {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		run := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		l.bytes -= run.size
		l.mu.Unlock()
		e.runShadow(run)
	}
}

// runShadow makes the call, unless the host stops or another set has taken the
// place of its own: then nothing waits for it.
func (e *Engine) runShadow(run *shadowRun) {
	if e.runs.Err() != nil || e.ledger.retired(run.app.set) {
		e.over(run, shadowDropped, nil)
		return
	}
	ctx, cancel := context.WithTimeout(e.runs, run.app.pipe.deadline)
	defer cancel()
	call := Call{Event: &run.ev, Attrs: run.attrs, Reply: run.reply, Passive: run.passive, Before: run.before, Layer: &run.of.layer}
	res, err := run.of.target.Handle(ctx, &call)
	switch {
	case err != nil && context.Cause(ctx) == errStopping, err != nil && reasonOf(err) == "busy":
		e.over(run, shadowDropped, nil)
		return
	case res.Withheld:
		e.over(run, shadowNotComparable, nil)
		return
	case err != nil:
		e.over(run, shadowError, func(c *shadowCounts) { c.lastError = reasonOf(err) })
		return
	case res.Outcome != hostapi.Next && res.Outcome != hostapi.Done:
		e.over(run, shadowError, func(c *shadowCounts) { c.lastError = "error" })
		return
	}
	shadow := run.doing(&res)
	kinds, ok := run.compare(&run.ev, shadow)
	switch {
	case !ok:
		e.over(run, shadowNotComparable, nil)
	case len(kinds) == 0:
		e.over(run, shadowSame, nil)
	default:
		d := run.difference(shadow, kinds)
		e.over(run, shadowDifferent, func(c *shadowCounts) { e.shadows.differ(c, d) })
	}
}

// over counts what a run came to, and lets its set go.
func (e *Engine) over(run *shadowRun, result string, more func(*shadowCounts)) {
	e.metrics.Shadow(run.of.name.pipeline, run.of.name.stage, result)
	ss := &e.shadows
	ss.mu.Lock()
	c := run.of.counts
	*map[string]*uint64{
		shadowSame: &c.same, shadowDifferent: &c.different, shadowError: &c.errors, shadowDropped: &c.dropped, shadowNotComparable: &c.incomparable,
	}[result]++
	if more != nil {
		more(c)
	}
	ss.mu.Unlock()
	e.ledger.letGo(run.app.set)
}

// differ notes a difference. The lock is held.
func (ss *shadows) differ(c *shadowCounts, d Difference) {
	for _, kind := range d.Kinds {
		switch kind {
		case diffOutcome:
			c.outcome++
		case diffReply:
			c.reply++
		case diffAnnotations:
			c.annotations++
		}
	}
	c.last, c.lastKinds = d.At, d.Kinds
	if len(ss.differences) == maxDifferences {
		ss.differences = slices.Delete(ss.differences, 0, 1)
	}
	ss.differences = append(ss.differences, d)
}

func (r *shadowRun) difference(shadow did, kinds []string) Difference {
	d := Difference{
		At: time.Now(), Pipeline: r.of.name.pipeline, Stage: r.of.name.stage, App: r.app.name, EventID: r.ev.ID,
		Type: shownText(r.ev.Type), Event: shownText(r.ev.Event), Key: shownText(r.ev.Key), Content: shownText(r.ev.Content),
		Kinds: kinds, Primary: r.did.show(), Shadow: shadow.show(),
	}
	if r.failed {
		d.Primary = Did{Outcome: "failed"}
	}
	return d
}

// maxShownAnnotations is how many annotations a Did shows.
const maxShownAnnotations = 20

func (d *did) show() Did {
	out := Did{Outcome: "next"}
	if d.outcome == hostapi.Done {
		out.Outcome = "done"
	}
	if d.reply != nil {
		out.Reply = shownText(string(d.reply.AppendJSON(nil)))
	}
	for _, f := range d.annotations[:min(len(d.annotations), maxShownAnnotations)] {
		out.Annotations = append(out.Annotations, hostapi.Field{Name: shownText(f.Name), Value: shownText(f.Value)})
	}
	return out
}

// shownText is a text of its own, cut at maxText bytes.
func shownText(s string) string {
	if len(s) <= maxText {
		return strings.Clone(s)
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
