package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// report counts the error of a stage and logs it. Its text goes nowhere else.
// Of those that come for every event, because a plugin is fused or has no instance
// to spare or an upstream is away, one a second is logged, with how many were not.
func (w *walk) report(ctx context.Context, st *stage, err error) (reason string) {
	reason = reasonOf(err)
	w.metrics.StageError(w.app.pipe.name, st.name, reason)
	attrs := []slog.Attr{
		slog.String("app", w.app.name), slog.String("pipeline", w.app.pipe.name), slog.String("stage", st.name),
		slog.String("event_id", w.ev.ID), slog.String("reason", reason), slog.String("error", err.Error()),
	}
	if reason == "fused" || reason == "busy" || general(err) {
		missed, ok := w.app.floods.admit(st, time.Now())
		if !ok {
			return reason
		}
		if missed > 0 {
			attrs = append(attrs, slog.Int("not_logged", missed))
		}
	}
	w.log.LogAttrs(ctx, slog.LevelError, "stage failed", attrs...)
	return reason
}

// general tells whether an error says of itself that it befalls every event.
func general(err error) bool {
	var g interface{ General() bool }
	return errors.As(err, &g) && g.General()
}

// floodPause is how long after a line of a flood the next one may come.
const floodPause = time.Second

// floods bounds how often the stages of an app log what befalls every event. The
// zero value is ready; many goroutines may use it.
type floods struct {
	mu sync.Mutex
	of map[*stage]*flood
}

type flood struct {
	next   time.Time // when a line may be logged
	missed int       // since the last one
}

// admit says whether a line of a stage is logged, and how many weren't since the
// last one that was.
func (f *floods) admit(st *stage, now time.Time) (missed int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.of[st]
	if one == nil {
		if f.of == nil {
			f.of = map[*stage]*flood{}
		}
		one = &flood{}
		f.of[st] = one
	}
	if now.Before(one.next) {
		one.missed++
		return 0, false
	}
	missed = one.missed
	*one = flood{next: now.Add(floodPause)}
	return missed, true
}

// reasonOf gives the label of weft_stage_errors_total for an error: one of a
// fixed set, whatever the error says.
func reasonOf(err error) string {
	var r interface{ Reason() string }
	if errors.As(err, &r) {
		switch reason := r.Reason(); reason {
		case "error", "trap", "timeout", "fuel", "memory", "busy", "fused", "upstream", "when":
			return reason
		}
		return "error"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return "error"
}
