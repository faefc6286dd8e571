package server

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	// MaxRecord is the most events and MaxRecordTime the longest time of one recording.
	MaxRecord     = 1000
	MaxRecordTime = time.Hour

	recordBeat  = 5 * time.Second  // between lines, where there is nothing to tell
	recordWrite = 10 * time.Second // for one line
)

var (
	errRecordBusy  = &httpError{http.StatusConflict, "recording", "a recording is under way: one at a time"}
	errRecordApp   = &httpError{http.StatusNotFound, "no_app", "there is no such app"}
	errRecordQuery = &httpError{http.StatusBadRequest, "bad_query", fmt.Sprintf("count is 1 to %d, seconds is 1 to %d", MaxRecord, int(MaxRecordTime/time.Second))}
)

// answerRecord answers POST /admin/v1/record: a line of JSON for each callback of
// app, or of all, from now on, until count events have come, seconds have gone by,
// or the client or the host ends it. Empty lines only show that it is there.
func (h *Host) answerRecord(ec echo.Context) error {
	app := ec.QueryParam("app")
	count, errCount := number(ec.QueryParam("count"), 100, MaxRecord)
	seconds, errSeconds := number(ec.QueryParam("seconds"), 60, int(MaxRecordTime/time.Second))
	if errCount != nil || errSeconds != nil {
		return errRecordQuery
	}
	if app != "" {
		if _, err := findApp(h.current.Load().assembly.cfg, app); err != nil {
			return errRecordApp
		}
	}
	s, err := h.recorder.begin(app, h.engine)
	if err != nil {
		return errRecordBusy
	}
	ctx := ec.Request().Context()
	h.log.LogAttrs(ctx, slog.LevelInfo, "recording begins", slog.String("app", app), slog.Int("count", count), slog.Int("seconds", seconds))
	sent := 0
	defer func() {
		h.recorder.end(s, h.engine)
		h.log.LogAttrs(ctx, slog.LevelInfo, "recording ends", slog.String("app", app), slog.Int("events", sent))
	}()
	w := recordWriter{ec: ec}
	ec.Response().Header().Set(echo.HeaderContentType, "application/x-ndjson")
	ec.Response().WriteHeader(http.StatusOK)
	until := time.NewTimer(time.Duration(seconds) * time.Second)
	defer until.Stop()
	beat := time.NewTicker(recordBeat)
	defer beat.Stop()
	if err := w.line(nil); err != nil {
		return nil // the client has gone
	}
	for sent < count {
		var line *recordLine
		select {
		case l := <-s.lines:
			if line = &l; l.Event != nil {
				sent++
			}
		case <-beat.C:
		case <-until.C:
			return w.last(s)
		case <-s.over:
			return w.last(s)
		case <-ctx.Done():
			return nil
		}
		if err := w.line(line); err != nil {
			return nil
		}
	}
	return w.last(s)
}

// number reads a number from 1 to most; "" is otherwise.
func number(text string, otherwise, most int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, errRecordQuery
	}
	return n, nil
}

// recordWriter writes lines that go out at once.
type recordWriter struct{ ec echo.Context }

// line writes a line; nil: an empty one.
func (w recordWriter) line(l *recordLine) error {
	text := []byte("\n")
	if l != nil {
		b, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("writing a recorded event: %w", err)
		}
		text = append(b, '\n')
	}
	control := http.NewResponseController(w.ec.Response().Writer)
	if err := control.SetWriteDeadline(time.Now().Add(recordWrite)); err != nil {
		return fmt.Errorf("setting the write deadline: %w", err)
	}
	if _, err := w.ec.Response().Write(text); err != nil {
		return err
	}
	return control.Flush()
}

// last writes the events that are still there, and how many were left out.
func (w recordWriter) last(s *recording) error {
	for {
		select {
		case l := <-s.lines:
			if err := w.line(&l); err != nil {
				return nil // the client has gone
			}
			continue
		default:
		}
		s.mu.Lock()
		left := s.leftOut
		s.mu.Unlock()
		if left > 0 {
			if err := w.line(&recordLine{LeftOut: left}); err != nil {
				return nil
			}
		}
		return nil
	}
}
