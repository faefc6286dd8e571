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
)

// canaries are the trials of the set in use, and those that were rolled back.
type canaries struct {
	mu      sync.Mutex
	use     []*canary // by pipeline and stage
	trials  map[stageName]*trial
	rolled  map[stageName]rolledBack // of stages that are not in use, too: they may come back
	version int                      // of rolled
	saving  bool                     // a goroutine sees to it that the store has rolled
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

// recallCanaries reads what was rolled back before the start. What can't be
// made out is forgotten: such a canary fails again.
func (e *Engine) recallCanaries(ctx context.Context) error {
	value, err := e.store.Get(ctx, canaryBucket, canaryKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	rolled, err := decodeRolledBack(value)
	if err != nil {
		e.log.LogAttrs(ctx, slog.LevelError, "canaries that were rolled back are forgotten", slog.String("error", err.Error()))
		return nil
	}
	e.canaries.rolled = rolled
	return nil
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
			delete(cs.rolled, name)
			cs.version++
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
		c.trial.ended.Store(&rollback{at: r.At, events: r.Events, failed: r.Failed, reason: r.Reason})
	default:
		delete(cs.rolled, c.name)
		cs.version++
	}
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
	if cs.rolled == nil {
		cs.rolled = map[stageName]rolledBack{}
	}
	if len(cs.rolled) >= maxRollbacks {
		oldest := slices.MinFunc(slices.Collect(maps.Values(cs.rolled)), func(a, b rolledBack) int { return a.At.Compare(b.At) })
		delete(cs.rolled, stageName{oldest.Pipeline, oldest.Stage})
	}
	cs.rolled[name] = rolledBack{
		Pipeline: name.pipeline, Stage: name.stage, Lines: t.lines,
		At: end.at.UTC(), Events: end.events, Failed: end.failed, Reason: end.reason,
	}
	cs.version++
	e.saveRolledBack()
}

// saveRolledBack starts a goroutine that writes what has changed, where none is
// at it. The canaries' lock is held.
func (e *Engine) saveRolledBack() {
	if cs := &e.canaries; cs.version > 0 && !cs.saving {
		cs.saving = true
		e.wg.Go(e.keepRolledBack)
	}
}

// keepRolledBack tries until the store has what was rolled back, or the engine
// ends: then a canary that is not in the store fails once more.
func (e *Engine) keepRolledBack() {
	for {
		value, version, err := e.canaries.encode()
		if err == nil {
			err = e.call(func(ctx context.Context) error {
				_, err := e.store.Apply(ctx, store.Op{Kind: store.Set, Bucket: canaryBucket, Key: canaryKey, Value: value})
				return err
			})
		}
		if err != nil {
			e.log.LogAttrs(e.base, slog.LevelError, "rolled back canaries not made durable", slog.String("error", err.Error()))
			pause := time.NewTimer(errPause)
			select {
			case <-pause.C:
				continue
			case <-e.runs.Done():
				pause.Stop()
				version = -1
			}
		}
		if e.canaries.saved(version) {
			return
		}
	}
}

func (cs *canaries) encode() (value []byte, version int, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	value, err = json.Marshal(slices.Collect(maps.Values(cs.rolled)))
	return value, cs.version, err
}

// saved notes that the store has a version, or never will: -1. false: it has
// changed since.
func (cs *canaries) saved(version int) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if version >= 0 && version != cs.version {
		return false
	}
	cs.version, cs.saving = 0, false
	return true
}
