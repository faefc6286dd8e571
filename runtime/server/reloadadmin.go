package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/config"
)

// reloadAnswer is the JSON of POST /admin/v1/reload.
type reloadAnswer struct {
	Generation uint64          `json:"generation"` // that serves
	Result     string          `json:"result"`     // as the label of weft_reload_total
	Problems   []problemStatus `json:"problems,omitempty"`
}

// reloadStatus is the last reload.
type reloadStatus struct {
	Last *lastReload `json:"last,omitempty"` // none since the start
}

type lastReload struct {
	At       time.Time       `json:"at"`
	Result   string          `json:"result"`
	Trigger  string          `json:"trigger"`
	Problems []problemStatus `json:"problems,omitempty"`
}

// problemStatus is a problem of the configuration.
type problemStatus struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

func problemsStatus(problems config.Problems) []problemStatus {
	var all []problemStatus
	for _, p := range problems {
		all = append(all, problemStatus{p.Pos.File, p.Pos.Line, p.Pos.Col, p.Text, p.Advice})
	}
	return all
}

func (r *reloads) status() reloadStatus {
	last := r.last.Load()
	if last == nil {
		return reloadStatus{}
	}
	return reloadStatus{&lastReload{At: last.at.UTC(), Result: last.Result, Trigger: last.trigger, Problems: problemsStatus(last.Problems)}}
}

// answerReload answers POST /admin/v1/reload when the reload is done: 200, or
// 422 where anything is wrong. A client that goes away doesn't end it.
func (h *Host) answerReload(ec echo.Context) error {
	if _, err := readBody(ec); err != nil { // it says nothing
		return err
	}
	// It takes as long as it takes to compile what changed.
	if err := http.NewResponseController(ec.Response().Writer).SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lifting the write deadline: %w", err)
	}
	result, err := h.Reload(ec.Request().Context(), triggerAdmin)
	switch {
	case errors.Is(err, ErrStopping):
		return errStopping
	case err != nil:
		return err
	}
	code := http.StatusOK
	if result.Result != reloadOK {
		code = http.StatusUnprocessableEntity
	}
	return ec.JSON(code, reloadAnswer{result.Generation, result.Result, problemsStatus(result.Problems)})
}
