package server

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/pipeline"
)

// shadowStatus is the shadow of a stage, with what its events came to since the
// start, or since it is this plugin.
type shadowStatus struct {
	Pipeline       string            `json:"pipeline"`
	Stage          string            `json:"stage"`
	Primary        string            `json:"primary"` // the stage's plugin or upstream
	Shadow         string            `json:"shadow"`
	Same           uint64            `json:"same"`
	Different      uint64            `json:"different"`
	Error          uint64            `json:"error"`
	Dropped        uint64            `json:"dropped"`
	NotComparable  uint64            `json:"not_comparable"`
	Differences    differencesStatus `json:"differences"`
	LastDifference *lastDifference   `json:"last_difference,omitempty"`
	LastError      string            `json:"last_error,omitempty"` // a reason of weft_stage_errors_total
}

// differencesStatus tells in how many events this was different.
type differencesStatus struct {
	Outcome     uint64 `json:"outcome"`
	Reply       uint64 `json:"reply"`
	Annotations uint64 `json:"annotations"`
}

type lastDifference struct {
	At    time.Time `json:"at"`
	Kinds []string  `json:"kinds"`
}

func shadowsStatus(shadows []pipeline.ShadowStatus) []shadowStatus {
	out := make([]shadowStatus, len(shadows))
	for i, s := range shadows {
		out[i] = shadowStatus{
			Pipeline: s.Pipeline, Stage: s.Stage, Primary: s.Primary, Shadow: s.Shadow,
			Same: s.Same, Different: s.Different, Error: s.Errors, Dropped: s.Dropped, NotComparable: s.NotComparable,
			Differences: differencesStatus{s.Outcome, s.Reply, s.Annotations}, LastError: s.LastError,
		}
		if !s.LastDifference.IsZero() {
			out[i].LastDifference = &lastDifference{s.LastDifference.UTC(), s.LastKinds}
		}
	}
	return out
}

// answerShadows answers GET /admin/v1/shadows: the last differences, the newest
// first, those of the pipeline, stage and app that the query names.
func (h *Host) answerShadows(ec echo.Context) error {
	doc := shadowsDoc{Differences: []differenceDoc{}}
	for _, d := range h.engine.Differences() {
		if fits(ec, "pipeline", d.Pipeline) && fits(ec, "stage", d.Stage) && fits(ec, "app", d.App) {
			doc.Differences = append(doc.Differences, differenceOf(&d))
		}
	}
	return ec.JSON(http.StatusOK, doc)
}

// fits tells whether the query leaves a value out, or has this one.
func fits(ec echo.Context, name, value string) bool {
	want := ec.QueryParam(name)
	return want == "" || want == value
}

type shadowsDoc struct {
	Differences []differenceDoc `json:"differences"`
}

// differenceDoc has texts of a user and of plugins, cut.
type differenceDoc struct {
	At       time.Time `json:"at"`
	Pipeline string    `json:"pipeline"`
	Stage    string    `json:"stage"`
	App      string    `json:"app"`
	EventID  string    `json:"event_id"`
	Type     string    `json:"type,omitempty"`
	Event    string    `json:"event,omitempty"`
	Key      string    `json:"key,omitempty"`
	Content  string    `json:"content,omitempty"`
	Kinds    []string  `json:"kinds"` // of outcome, reply and annotations
	Primary  didDoc    `json:"primary"`
	Shadow   didDoc    `json:"shadow"`
}

type didDoc struct {
	Outcome     string     `json:"outcome"`         // next, done or failed
	Reply       string     `json:"reply,omitempty"` // the JSON of it, as a text, because it may be cut
	Annotations []fieldDoc `json:"annotations,omitempty"`
}

type fieldDoc struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func differenceOf(d *pipeline.Difference) differenceDoc {
	return differenceDoc{
		At: d.At.UTC(), Pipeline: d.Pipeline, Stage: d.Stage, App: d.App, EventID: d.EventID,
		Type: d.Type, Event: d.Event, Key: d.Key, Content: d.Content, Kinds: d.Kinds,
		Primary: didOf(&d.Primary), Shadow: didOf(&d.Shadow),
	}
}

func didOf(d *pipeline.Did) didDoc {
	return didDoc{Outcome: d.Outcome, Reply: d.Reply, Annotations: fieldsOf(d.Annotations)}
}

func fieldsOf(fields []hostapi.Field) []fieldDoc {
	out := make([]fieldDoc, len(fields))
	for i, f := range fields {
		out[i] = fieldDoc{f.Name, f.Value}
	}
	return out
}
