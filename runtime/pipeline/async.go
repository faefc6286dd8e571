package pipeline

import (
	"context"
	"errors"
	"log/slog"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/store"
)

// note is an async stage to be run, and what there was when the walk came to it.
type note struct {
	stage string
	attrs []hostapi.Field
	reply *hostapi.Reply
}

// note notes an async stage whose condition holds. One that can't be computed
// is the error of its own run.
func (w *walk) note(st *stage) {
	if ok, err := w.when(st.when); ok || err != nil {
		w.shared = true
		w.notes = append(w.notes, note{st.name, w.attrs, w.reply})
	}
}

// noteAlways notes the async stages of always, which are durable before the
// answer goes out: on what the stages have left. The others are walked later; of
// a switch or a parallel stage that can't be entered, that walk reports it.
func (w *walk) noteAlways(list []*stage) {
	for _, st := range list {
		if st.async {
			if p, _ := st.pick(w.app.name, w.ev); st.takes(p, w.ev) {
				w.note(st)
			}
			continue
		}
		if st.branches == nil {
			continue
		}
		if ok, err := w.when(st.when); !ok || err != nil {
			continue
		}
		if st.parallel == nil {
			if way, err := w.way(st); err == nil {
				w.noteAlways(way)
			}
			continue
		}
		for i := range st.branches {
			w.noteAlways(st.branches[i].stages)
		}
	}
}

// alone runs one async stage. It has no reply to set and leaves nothing.
func (w *walk) alone(ctx context.Context, st *stage) flow {
	w.passive, w.lone = false, true
	end := w.stage(ctx, st)
	w.reply = nil // of the stages that ended long ago
	return end
}

// asyncKey is the key of the entry of an async stage, for an event with an entry
// of key: an event that is run again leaves it as it is.
func asyncKey(key, stage string) string { return key + "/" + stage }

// asyncEntries makes the entries of the async stages that a run whose stages
// have ended leaves to the queue.
func (e *Engine) asyncEntries(r *run, w *walk) []store.Entry {
	if r.whole() && r.app.pipe.alwaysAsync {
		w.noteAlways(r.app.pipe.always)
	}
	if len(w.notes) == 0 {
		return nil
	}
	key, quota := e.ledger.entryKey(r), 0
	if key == "" {
		key, quota = e.entryKey(r), r.app.limits.Queue
	}
	entries := make([]store.Entry, len(w.notes))
	for i, n := range w.notes {
		en := r.entry(part{at: place{stage: n.stage}, attrs: n.attrs, reply: n.reply}, r.attempt)
		en.alone = true
		entries[i] = store.Entry{Key: asyncKey(key, n.stage), Line: r.app.name, Value: en.append(nil), Quota: quota}
	}
	return entries
}

// entryKey is the key of r's entry in the queue, "" where there is none.
func (l *ledger) entryKey(r *run) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.keeper == nil {
		return ""
	}
	return r.keeper.key
}

// saveAsync makes entries durable, in one write. false: they may not be.
func (e *Engine) saveAsync(r *run, entries []store.Entry) bool {
	if len(entries) == 0 {
		return true
	}
	err := e.call(func(ctx context.Context) error {
		_, err := e.store.Append(ctx, queueName, 0, entries...)
		return err
	})
	if errors.Is(err, store.ErrQuota) {
		e.overflowed(r, "refused")
		return false
	}
	if err != nil {
		e.log.LogAttrs(e.base, slog.LevelError, "async stages not made durable", slog.String("app", r.app.name),
			slog.String("event_id", r.ev.ID), slog.String("error", err.Error()))
		return false
	}
	e.poke()
	return true
}
