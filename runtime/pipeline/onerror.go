package pipeline

import (
	"context"
	"errors"
	"log/slog"
)

// report counts and logs the error of a stage, once. Its text goes nowhere else.
func (w *walk) report(ctx context.Context, st *stage, err error) (reason string) {
	reason = reasonOf(err)
	w.metrics.StageError(w.app.pipe.name, st.name, reason)
	w.log.LogAttrs(ctx, slog.LevelError, "stage failed", slog.String("app", w.app.name),
		slog.String("pipeline", w.app.pipe.name), slog.String("stage", st.name), slog.String("event_id", w.ev.ID),
		slog.String("reason", reason), slog.String("error", err.Error()))
	return reason
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
