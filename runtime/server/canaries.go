package server

import (
	"time"

	"github.com/weft-dev/weft/runtime/pipeline"
)

// canaryStatus is the canary of a stage.
type canaryStatus struct {
	Pipeline   string            `json:"pipeline"`
	Stage      string            `json:"stage"`
	Plugin     string            `json:"plugin"`  // the stage's
	To         string            `json:"to"`      // the canary's
	Percent    float64           `json:"percent"` // of the users that are not listed
	Apps       int               `json:"apps"`    // that are listed
	Users      int               `json:"users"`   // that are listed
	Window     int64             `json:"window_ms"`
	Events     int               `json:"events"` // of To in the window
	Failed     int               `json:"failed"` // of them
	RolledBack *rolledBackStatus `json:"rolled_back,omitempty"`
}

type rolledBackStatus struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

func canariesStatus(canaries []pipeline.CanaryStatus) []canaryStatus {
	out := make([]canaryStatus, len(canaries))
	for i, c := range canaries {
		out[i] = canaryStatus{
			Pipeline: c.Pipeline, Stage: c.Stage, Plugin: c.Plugin, To: c.To, Percent: float64(c.Percent) / 1000, Apps: c.Apps, Users: c.Users,
			Window: c.Window.Milliseconds(), Events: c.Events, Failed: c.Failed,
		}
		if r := c.RolledBack; r != nil {
			out[i].RolledBack = &rolledBackStatus{At: r.At.UTC(), Reason: r.Reason}
		}
	}
	return out
}
