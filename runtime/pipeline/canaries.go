package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
)

// Where the store has the canaries that were rolled back: one value.
const (
	canaryBucket = "weft/canaries"
	canaryKey    = "rolled back"

	// maxRollbacks is how many are remembered; over it the oldest goes.
	maxRollbacks = 4096

	canaryTopic = "weft/canaries"  // on which hosts say that there is another value
	canaryLook  = 30 * time.Second // at the value where no word of it came
)

// canaries are the trials of the set in use, and those that were rolled back.
type canaries struct {
	mu     sync.Mutex
	use    []*canary // by pipeline and stage
	trials map[stageName]*trial
	rolled map[stageName]rolledBack // of stages that are not in use, too: they may come back
	edits  map[stageName]canaryEdit // of rolled, that the store doesn't have yet
	saving bool                     // a goroutine sees to it that the store gets them
}

// canaryEdit is a change of what was rolled back.
type canaryEdit struct {
	set   bool
	value rolledBack // that is set; else that is removed, if it has the same lines
}

// rolledBack is how the store keeps a rollback.
type rolledBack struct {
	Pipeline string    `json:"pipeline"`
	Stage    string    `json:"stage"`
	Lines    string    `json:"lines"` // digest of the stage's lines
	At       time.Time `json:"at"`
	Events   int       `json:"events"`
	Failed   int       `json:"failed"`
	Reason   string    `json:"reason"`
}

// CanaryStatus is how the canary of a stage in use is.
type CanaryStatus struct {
	Pipeline, Stage string
	Plugin, To      string // names of the stage's plugin and of the canary's
	Percent         config.Percent
	Apps, Users     int           // that are listed
	Window          time.Duration // of the next two
	Events, Failed  int           // of To; when it was rolled back, where it was
	RolledBack      *RolledBack   // nil: it was not
}

// RolledBack says since when a canary gets no events, and why.
type RolledBack struct {
	At     time.Time
	Reason string // has no word of a plugin or a user
}

// Canaries lists the canaries of the set in use, by pipeline and stage.
func (e *Engine) Canaries() []CanaryStatus {
	e.canaries.mu.Lock()
	use := e.canaries.use
	e.canaries.mu.Unlock()
	out := make([]CanaryStatus, len(use))
	for i, c := range use {
		events, failed := c.trial.window()
		out[i] = CanaryStatus{
			Pipeline: c.name.pipeline, Stage: c.name.stage, Plugin: c.plugin, To: c.to, Percent: c.percent,
			Apps: len(c.apps), Users: len(c.users), Window: c.rule.Window, Events: events, Failed: failed,
		}
		if end := c.trial.ended.Load(); end != nil {
			out[i].RolledBack = &RolledBack{At: end.at, Reason: end.String()}
		}
	}
	return out
}

// recallCanaries reads what was rolled back before the start.
func (e *Engine) recallCanaries(ctx context.Context) error {
	_, rolled, err := e.readRolledBack(ctx)
	e.canaries.rolled = rolled
	return err
}

// readRolledBack reads what was rolled back, on any host; value is how the store
// has it, nil: not at all. What can't be made out is forgotten: such a canary
// fails again.
func (e *Engine) readRolledBack(ctx context.Context) (value []byte, rolled map[stageName]rolledBack, err error) {
	value, err = e.store.Get(ctx, canaryBucket, canaryKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, map[stageName]rolledBack{}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	value = append([]byte{}, value...) // nil is none
	rolled, err = decodeRolledBack(value)
	if err != nil {
		e.log.LogAttrs(ctx, slog.LevelError, "canaries that were rolled back are forgotten", slog.String("error", err.Error()))
		rolled = map[stageName]rolledBack{}
	}
	return value, rolled, nil
}

func decodeRolledBack(value []byte) (map[stageName]rolledBack, error) {
	var list []rolledBack
	if err := json.Unmarshal(value, &list); err != nil {
		return nil, fmt.Errorf("canaries in the store: %w", err)
	}
	rolled := make(map[stageName]rolledBack, min(len(list), maxRollbacks))
	for _, r := range list[:min(len(list), maxRollbacks)] {
		r.Events, r.Failed = max(r.Events, 0), max(r.Failed, 0)
		r.Reason = reasonOf(labelled(r.Reason))
		rolled[stageName{r.Pipeline, r.Stage}] = r
	}
	return rolled, nil
}

// labelled is an error that names its label.
type labelled string

func (l labelled) Error() string  { return string(l) }
func (l labelled) Reason() string { return string(l) }

// useCanaries has the canaries of a set go on with the trials of their names,
// before the set is walked. One whose lines have changed begins anew, also where
// its stage had no canary in between.
func (e *Engine) useCanaries(set *Set) {
	cs := &e.canaries
	cs.mu.Lock()
	defer cs.mu.Unlock()
	trials := make(map[stageName]*trial, len(set.canaries))
	for _, c := range set.canaries {
		if t := cs.trials[c.name]; t != nil && t.lines == c.lines {
			c.trial = t
		} else {
			c.trial = newTrial(c.lines)
			c.trial.end = e.rollBackOf(c.name, c.to)
			cs.recall(c)
		}
		trials[c.name] = c.trial
	}
	for name := range cs.rolled {
		if set.plain[name] {
			cs.edit(name, canaryEdit{value: cs.rolled[name]})
		}
	}
	cs.trials = trials
	cs.use = slices.SortedFunc(slices.Values(set.canaries), func(a, b *canary) int { return a.name.compare(b.name) })
	e.saveRolledBack()
}

// recall ends the trial of a canary that was rolled back with the same lines.
func (cs *canaries) recall(c *canary) {
	r, ok := cs.rolled[c.name]
	switch {
	case !ok:
	case r.Lines == c.lines:
		c.trial.ended.Store(r.end())
	default:
		cs.edit(c.name, canaryEdit{value: r})
	}
}

func (r *rolledBack) end() *rollback {
	return &rollback{at: r.At, events: r.Events, failed: r.Failed, reason: r.Reason}
}

// edit makes a change, which the store is to get, too. The lock is held.
func (cs *canaries) edit(name stageName, c canaryEdit) {
	if cs.edits == nil {
		cs.edits = map[stageName]canaryEdit{}
	}
	cs.edits[name] = c
	c.apply(cs.rolled, name)
}

// apply makes the change in what was rolled back; over maxRollbacks the oldest
// goes.
func (c *canaryEdit) apply(rolled map[stageName]rolledBack, name stageName) {
	if !c.set {
		if rolled[name].Lines == c.value.Lines {
			delete(rolled, name)
		}
		return
	}
	if _, there := rolled[name]; !there && len(rolled) >= maxRollbacks {
		oldest := slices.MinFunc(slices.Collect(maps.Values(rolled)), func(a, b rolledBack) int { return a.At.Compare(b.At) })
		delete(rolled, stageName{oldest.Pipeline, oldest.Stage})
	}
	rolled[name] = c.value
}

// rollBackOf ends trials of a canary's name with rollBack. It holds nothing of the
// set, which the trial outlives.
func (e *Engine) rollBackOf(name stageName, to string) func(*trial, *rollback) {
	return func(t *trial, end *rollback) { e.rollBack(name, to, t, end) }
}

// rollBack says and remembers that a canary has ended. One whose stage has
// other lines by now is not remembered.
func (e *Engine) rollBack(name stageName, to string, t *trial, end *rollback) {
	e.log.LogAttrs(e.base, slog.LevelError, "canary rolled back", slog.String("pipeline", name.pipeline), slog.String("stage", name.stage),
		slog.String("plugin", to), slog.Int("events", end.events), slog.Int("failed", end.failed), slog.String("reason", end.reason))
	cs := &e.canaries
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.trials[name] != t {
		return
	}
	cs.edit(name, canaryEdit{set: true, value: rolledBack{
		Pipeline: name.pipeline, Stage: name.stage, Lines: t.lines,
		At: end.at.UTC(), Events: end.events, Failed: end.failed, Reason: end.reason,
	}})
	e.saveRolledBack()
}

// saveRolledBack starts a goroutine that writes what has changed, where none is
// at it. The canaries' lock is held.
func (e *Engine) saveRolledBack() {
	if cs := &e.canaries; len(cs.edits) > 0 && !cs.saving {
		cs.saving = true
		e.wg.Go(e.keepRolledBack)
	}
}

// keepRolledBack tries until the store has what was changed, or the engine ends:
// then a canary that is not in the store fails once more.
func (e *Engine) keepRolledBack() {
	for {
		edits := e.canaries.unsaved()
		if edits == nil {
			return
		}
		err := e.call(func(ctx context.Context) error { return e.writeRolledBack(ctx, edits) })
		if err == nil {
			e.canaries.saved(edits)
			e.fleet.publish(e.base, canaryTopic)
			continue
		}
		e.log.LogAttrs(e.base, slog.LevelError, "rolled back canaries not made durable", slog.String("error", err.Error()))
		if !pause(e.runs, errPause) {
			return
		}
	}
}

// writeRolledBack makes changes in the store, beside those of other hosts, and
// takes over what they have written there.
func (e *Engine) writeRolledBack(ctx context.Context, edits map[stageName]canaryEdit) error {
	for {
		before, rolled, err := e.readRolledBack(ctx)
		if err != nil {
			return err
		}
		for name, c := range edits {
			c.apply(rolled, name)
		}
		value, err := json.Marshal(slices.Collect(maps.Values(rolled)))
		if err != nil {
			return err
		}
		res, err := e.store.Apply(ctx, store.Op{Kind: store.CompareAndSet, Bucket: canaryBucket, Key: canaryKey, Value: value, Expect: before})
		if err != nil {
			return err
		}
		if res.Applied {
			e.heed(rolled)
			return nil
		}
	}
}

// unsaved returns the changes that the store doesn't have; nil: it has all, and
// the goroutine that saves them is done.
func (cs *canaries) unsaved() map[stageName]canaryEdit {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.edits) == 0 {
		cs.saving = false
		return nil
	}
	return maps.Clone(cs.edits)
}

// saved notes that the store has changes; those that came since stay.
func (cs *canaries) saved(edits map[stageName]canaryEdit) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	maps.DeleteFunc(cs.edits, func(name stageName, c canaryEdit) bool { return edits[name] == c })
}

// heed takes over what the store has: canaries in use that another host has
// rolled back end here, too.
func (e *Engine) heed(rolled map[stageName]rolledBack) {
	cs := &e.canaries
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for name, c := range cs.edits {
		c.apply(rolled, name)
	}
	cs.rolled = rolled
	for _, c := range cs.use {
		r, ok := rolled[c.name]
		if !ok || r.Lines != c.lines || !c.trial.ended.CompareAndSwap(nil, r.end()) {
			continue
		}
		e.log.LogAttrs(e.base, slog.LevelError, "canary rolled back by another host", slog.String("pipeline", c.name.pipeline),
			slog.String("stage", c.name.stage), slog.String("plugin", c.to), slog.Int("events", r.Events), slog.Int("failed", r.Failed), slog.String("reason", r.Reason))
	}
}

// watchCanaries heeds what other hosts roll back, until the engine ends.
func (e *Engine) watchCanaries() {
	news := make(chan struct{}, 1)
	e.wg.Go(func() {
		e.fleet.listen(e.runs, canaryTopic, func([]byte) {
			select {
			case news <- struct{}{}:
			default:
			}
		})
	})
	ticker := time.NewTicker(canaryLook)
	defer ticker.Stop()
	for {
		select {
		case <-news:
		case <-ticker.C:
		case <-e.runs.Done():
			return
		}
		err := e.call(func(ctx context.Context) error {
			_, rolled, err := e.readRolledBack(ctx)
			if err == nil {
				e.heed(rolled)
			}
			return err
		})
		if err != nil {
			e.fleet.report("canaries that were rolled back not read", err)
		}
	}
}
