package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// SideCanary is the side of a stage on which the plugin of its canary runs.
const SideCanary = "canary"

// canary gives some of a stage's events to another plugin. It belongs to a Set.
type canary struct {
	name        stageName
	plugin, to  string // names of the stage's plugin and of target
	target      Plugin
	apps, users map[string]bool // all of whose events are target's
	percent     config.Percent  // of the other users
	seed        uint64          // of their sides
	rule        config.Rollback
	lines       string // digest of the stage's lines

	// trial is the engine's from when it takes the Set, before any walk.
	trial *trial
}

// stageName names a stage among those of all pipelines.
type stageName struct{ pipeline, stage string }

func (n stageName) compare(other stageName) int {
	return cmp.Or(cmp.Compare(n.pipeline, other.pipeline), cmp.Compare(n.stage, other.stage))
}

func (b *builder) canary(c *config.Stage) *canary {
	if c.Canary == nil || c.Canary.To == nil || c.Plugin == nil {
		return nil
	}
	out := &canary{
		name: stageName{b.in, c.Name}, plugin: c.Plugin.Name, to: c.Canary.To.Name, target: b.plugin(c.Canary.To.Name, c.Canary.Pos),
		apps: setOf(c.Canary.Apps), users: setOf(c.Canary.Users), percent: c.Canary.Percent, seed: sideSeed(c.Name),
		rule: c.Canary.Rollback, lines: c.Canary.Lines, trial: newTrial(c.Canary.Lines),
	}
	b.canaries = append(b.canaries, out)
	return out
}

func setOf(list []string) map[string]bool {
	if len(list) == 0 {
		return nil
	}
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

// gets tells whether the canary's plugin gets an event. As long as the canary is
// not rolled back that is the same for all events of a user, on every host.
func (c *canary) gets(app string, ev *hostapi.Event) bool {
	if c.trial.ended.Load() != nil {
		return false
	}
	if c.apps[app] || c.users[ev.User] && ev.User != "" {
		return true
	}
	who := ev.User
	if who == "" {
		who = ev.ID
	}
	return c.percent > 0 && inShare(side(c.seed, who), c.percent)
}

// inShare tells whether a side is one of the first percent of all. A share that
// grows keeps the sides that it had.
func inShare(side uint64, percent config.Percent) bool {
	const all = 100_000
	part, _ := bits.Mul64(side, all)
	return part < uint64(percent)
}

// sideSeed and side hash a stage's name and a user: FNV-1a with the last steps
// of MurmurHash3, which spread what the low bits say. It never changes: users
// would change sides.
func sideSeed(stage string) uint64 { return fnv(fnv(14695981039346656037, stage), "\x00") }

func side(seed uint64, who string) uint64 {
	h := fnv(seed, who)
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// pick returns the plugin that gets an event and the side of the stage that it
// is on.
func (st *stage) pick(app string, ev *hostapi.Event) (p Plugin, side string) {
	if st.canary != nil && st.canary.gets(app, ev) {
		return st.canary.target, SideCanary
	}
	return st.plugin, ""
}

// sides are the label of weft_canary_events_total.
const (
	sidePrimary = "primary"
	resultOK    = "ok"
)

// ran counts a call on one side of a stage with a canary, and rolls back where too
// many have failed.
func (w *walk) ran(ctx context.Context, c *canary, side string, err error) {
	if err != nil && context.Cause(ctx) == errStopping {
		return
	}
	result := resultOK
	if err != nil {
		result = reasonOf(err)
	}
	if side != SideCanary {
		w.metrics.CanaryEvent(c.name.pipeline, c.name.stage, sidePrimary, result)
		return
	}
	w.metrics.CanaryEvent(c.name.pipeline, c.name.stage, SideCanary, result)
	if err == nil || blames(err) {
		c.trial.count(&c.rule, result)
	}
}

// blames tells whether an error is the plugin's own. A fused one is: its calls
// failed before, and the canary would wait at its fuse for ever.
func blames(err error) bool {
	var b interface{ Blameless() bool }
	return reasonOf(err) != "busy" && !(errors.As(err, &b) && b.Blameless())
}

// trialSlots is in how many steps the window of a trial slides.
const trialSlots = 60

// trial is what the events of a canary came to, and its end. It belongs to the
// engine, by the canary's name, as long as the stage's lines stay the same.
type trial struct {
	lines string
	start time.Time
	end   func(*trial, *rollback) // called once, by the call that ends it; nil: nobody asks
	ended atomic.Pointer[rollback]

	mu    sync.Mutex
	width time.Duration // of a slot
	slots [trialSlots]slot
}

// slot counts the events of one step of the window.
type slot struct {
	at             int64 // its number since start
	events, failed int
}

// rollback is the end of a trial.
type rollback struct {
	at             time.Time
	events, failed int    // in the window
	reason         string // the last failure, as a label of weft_stage_errors_total
}

func newTrial(lines string) *trial { return &trial{lines: lines, start: time.Now()} }

// count takes an event that came to result.
func (t *trial) count(rule *config.Rollback, result string) {
	t.mu.Lock()
	width := max(rule.Window/trialSlots, 1)
	if t.width != width {
		t.width, t.slots = width, [trialSlots]slot{}
	}
	now := time.Now()
	at := int64(now.Sub(t.start) / width)
	s := &t.slots[at%trialSlots]
	if s.at != at {
		*s = slot{at: at}
	}
	s.events++
	if result == resultOK {
		t.mu.Unlock()
		return
	}
	s.failed++
	events, failed := t.sum(at)
	t.mu.Unlock()
	if events < rule.MinEvents || int64(failed)*100_000 < int64(events)*int64(rule.Errors) {
		return
	}
	end := &rollback{at: now, events: events, failed: failed, reason: result}
	if t.ended.CompareAndSwap(nil, end) && t.end != nil {
		t.end(t, end)
	}
}

// sum counts the window that ends with a slot.
func (t *trial) sum(at int64) (events, failed int) {
	for i := range t.slots {
		if s := &t.slots[i]; s.at > at-trialSlots {
			events, failed = events+s.events, failed+s.failed
		}
	}
	return events, failed
}

// window counts the events up to now.
func (t *trial) window() (events, failed int) {
	if end := t.ended.Load(); end != nil {
		return end.events, end.failed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.width == 0 {
		return 0, 0
	}
	return t.sum(int64(time.Since(t.start) / t.width))
}

func (r *rollback) String() string {
	return fmt.Sprintf("%d of %d events failed, the last: %s", r.failed, r.events, r.reason)
}
