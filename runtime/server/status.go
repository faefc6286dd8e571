package server

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/sandbox"
)

// answerStatus answers GET /admin/v1/status: one JSON object, to which later
// versions may add members at every depth. It has no word of a guest, of a user
// or of a config.
func (h *Host) answerStatus(ec echo.Context) error {
	serving := h.current.Load()
	plugins := serving.assembly.plugins
	doc := statusDoc{
		Version: Version(), Plugins: []pluginStatus{}, Units: []unitStatus{},
		Generation: generationStatus{serving.number, serving.since.UTC()}, Reload: h.reloads.status(),
		Canaries:  canariesStatus(h.engine.Canaries()),
		Shadows:   shadowsStatus(h.engine.Shadows()),
		Upstreams: upstreamStatuses(h.upstreams), Bounds: boundsOf(h.engine.Load()),
		Credentials: credentialStatuses(h.ways.credentials.Stats(), time.Now()),
	}
	if units := h.units.status.Load(); units != nil {
		doc.Units = *units
	}
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		doc.Plugins = append(doc.Plugins, statusOf(plugins[name]))
	}
	doc.Queues = h.queuesStatus(ec.Request().Context())
	return ec.JSON(http.StatusOK, doc)
}

type statusDoc struct {
	Version     string                 `json:"version"` // of the host
	Generation  generationStatus       `json:"generation"`
	Reload      reloadStatus           `json:"reload"`
	Units       []unitStatus           `json:"units"`       // the root first, then by name
	Plugins     []pluginStatus         `json:"plugins"`     // by name
	Upstreams   []upstreamStatus       `json:"upstreams"`   // by name
	Credentials []credentialStatus     `json:"credentials"` // by app and kind
	Queues      map[string]queueStatus `json:"queues"`      // by name: events; without the ones that can't be read
	Canaries    []canaryStatus         `json:"canaries"`    // by pipeline and stage
	Shadows     []shadowStatus         `json:"shadows"`     // by pipeline and stage
	Bounds      boundsStatus           `json:"bounds"`
}

// generationStatus is the configuration that serves: the first since the start
// is 1.
type generationStatus struct {
	Number uint64    `json:"number"`
	Since  time.Time `json:"since"`
}

type pluginStatus struct {
	Name        string          `json:"name"`    // in pipeline.yaml
	Module      string          `json:"module"`  // its name in its manifest
	Version     string          `json:"version"` // of the module
	Digest      string          `json:"digest"`  // sha256: and the hex of the file's
	Health      healthStatus    `json:"health"`
	Instances   instancesStatus `json:"instances"`
	Calls       uint64          `json:"calls"`
	Failures    uint64          `json:"failures"`
	LastFailure *failureStatus  `json:"last_failure,omitempty"`
	Limits      limitsStatus    `json:"limits"`
}

// healthStatus has the state of the app that is worst off: healthy, trying or
// fused. Apps are those in which calls failed lately.
type healthStatus struct {
	State        sandbox.HealthState `json:"state"`
	FusedApps    int                 `json:"fused_apps"`
	SkippedUsers int                 `json:"skipped_users"`
	Apps         []appHealthStatus   `json:"apps,omitempty"`
}

type appHealthStatus struct {
	App          string              `json:"app"`
	State        sandbox.HealthState `json:"state"`
	Failed       int                 `json:"failed"` // of calls
	Calls        int                 `json:"calls"`
	SkippedUsers int                 `json:"skipped_users"`
	Since        *time.Time          `json:"since,omitempty"` // fused since
	NextTrial    *time.Time          `json:"next_trial,omitempty"`
	FailedTrials int                 `json:"failed_trials,omitempty"`
}

type instancesStatus struct {
	Live        int   `json:"live"`
	Idle        int   `json:"idle"`
	Waiting     int   `json:"waiting_calls"`
	MemoryBytes int64 `json:"memory_bytes"`
}

type failureStatus struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// limitsStatus has the limits in force, in their units: bytes and milliseconds.
type limitsStatus struct {
	Memory    int64 `json:"memory_bytes"`
	Timeout   int64 `json:"timeout_ms"`
	Fuel      int64 `json:"fuel"`
	Instances int   `json:"instances"`
	State     int64 `json:"state_bytes"`
	HostCalls int   `json:"host_calls"`
	Response  int64 `json:"response_bytes"`
	Log       int64 `json:"log_bytes"`
}

func statusOf(p *sandbox.Plugin) pluginStatus {
	stats, limits := p.Stats(), p.Limits()
	s := pluginStatus{
		Name: p.Name(), Module: p.Manifest().Name, Version: p.Manifest().Version, Digest: "sha256:" + p.Digest(),
		Health:    healthOf(p.Health()),
		Instances: instancesStatus{Live: stats.Instances, Idle: stats.Idle, Waiting: stats.Waiting, MemoryBytes: stats.Memory},
		Calls:     stats.Calls,
		Limits: limitsStatus{
			Memory: limits.Memory, Timeout: limits.Timeout.Milliseconds(), Fuel: limits.Fuel, Instances: limits.Instances,
			State: limits.State, HostCalls: limits.HostCalls, Response: limits.Response, Log: limits.Log,
		},
	}
	for _, n := range stats.Failed {
		s.Failures += n
	}
	if f := stats.LastFailure; f != nil {
		s.LastFailure = &failureStatus{Reason: f.Reason, At: f.At.UTC()}
	}
	return s
}

func healthOf(h sandbox.Health) healthStatus {
	s := healthStatus{State: h.State, FusedApps: h.Fused, SkippedUsers: h.Skipped}
	for _, a := range h.Apps {
		one := appHealthStatus{
			App: a.App, State: a.State, Failed: a.Failed, Calls: a.Calls, SkippedUsers: a.Skipped, FailedTrials: a.Trials,
		}
		if !a.Since.IsZero() {
			since, next := a.Since.UTC(), a.NextTrial.UTC()
			one.Since, one.NextTrial = &since, &next
		}
		s.Apps = append(s.Apps, one)
	}
	return s
}
