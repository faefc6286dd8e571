// Package telemetry names the host's metrics and logs. It knows nothing of the
// other rooms; any of them may use it.
package telemetry

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics holds the host's metrics, in a registry of its own. All methods may
// be called by many goroutines at once. Labels are bounded: they come from the
// configuration or from the constants of the caller, never from a callback.
type Metrics struct {
	registry *prometheus.Registry

	callbacks    *prometheus.CounterVec
	events       *prometheus.CounterVec
	eventSeconds *prometheus.HistogramVec
	stageSeconds *prometheus.HistogramVec
	stageErrors  *prometheus.CounterVec
	deadLetters  *prometheus.CounterVec
	overflows    *prometheus.CounterVec
	lateReplies  *prometheus.CounterVec
	reloads      *prometheus.CounterVec
	canaryEvents *prometheus.CounterVec
	shadows      *prometheus.CounterVec
	shared       *prometheus.CounterVec
	evicted      prometheus.Counter
}

// eventBuckets reach from a reply without a plugin to the longest event.
var eventBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 4.5, 5, 10, 30}

// NewMetrics returns metrics in a new registry, with those of the Go runtime
// and of the process.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: eventBuckets}, labels)
	}
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		callbacks:    counter("weft_callbacks_total", "Requests at callback paths.", "app", "result"),
		events:       counter("weft_events_total", "Deliveries of events by what they were answered.", "app", "outcome"),
		eventSeconds: histogram("weft_event_seconds", "From the callback to its answer.", "app"),
		stageSeconds: histogram("weft_stage_seconds", "Time in a stage.", "pipeline", "stage"),
		stageErrors:  counter("weft_stage_errors_total", "Stages that ended in an error.", "pipeline", "stage", "reason"),
		overflows:    counter("weft_overflow_total", "Events over a bound of their app or of the host, by what became of them.", "app", "what"),
		deadLetters:  counter("weft_dead_letters_total", "Durable entries given up.", "app", "reason"),
		lateReplies:  counter("weft_late_replies_total", "Replies that were ready after answer_within, by what became of them.", "app", "way"),
		shadows:      counter("weft_shadow_total", "Events of shadows by what came of them.", "pipeline", "stage", "result"),
		canaryEvents: counter("weft_canary_events_total", "Calls of plugins in stages with a canary, by side and by what they came to.", "pipeline", "stage", "side", "result"),
		shared:       counter("weft_shared_records_total", "Records of events that hosts share: what was out of the ordinary with them.", "what"),
		reloads:      counter("weft_reload_total", "Reloads of the configuration by what came of them.", "result"),
		evicted:      prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_records_evicted_total", Help: "Event records dropped before their time for want of room."}),
	}
	for _, result := range []string{"ok", "partial", "refused"} {
		m.reloads.WithLabelValues(result) // 0, so that the first one is an increase
	}
	m.registry.MustRegister(m.callbacks, m.events, m.eventSeconds, m.stageSeconds, m.stageErrors, m.deadLetters, m.overflows, m.lateReplies, m.reloads, m.canaryEvents, m.shadows, m.shared, m.evicted,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registry is where further collectors are registered, at start.
func (m *Metrics) Registry() prometheus.Registerer { return m.registry }

// Gatherer reads what was registered.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Callback counts a request at a callback path. Results: accepted, verified,
// refused, undecodable, too_large.
func (m *Metrics) Callback(app, result string) { m.callbacks.WithLabelValues(app, result).Inc() }

// Event counts a delivery of an event. Outcomes: replied, success, late,
// stopped, queued, again, repeat, dropped.
func (m *Metrics) Event(app, outcome string) { m.events.WithLabelValues(app, outcome).Inc() }

// EventSeconds observes the time from a callback to its answer.
func (m *Metrics) EventSeconds(app string, d time.Duration) {
	m.eventSeconds.WithLabelValues(app).Observe(d.Seconds())
}

// StageTimer keeps what StageSeconds has found for a stage: finding it by its
// labels costs more than the rest. It is for one stage of one Metrics; the zero
// value is ready.
type StageTimer struct {
	found atomic.Pointer[prometheus.Observer]
}

// StageSeconds observes the time in a stage, whose timer is kept.
func (m *Metrics) StageSeconds(kept *StageTimer, pipeline, stage string, d time.Duration) {
	o := kept.found.Load()
	if o == nil {
		found := m.stageSeconds.WithLabelValues(pipeline, stage)
		o = &found
		kept.found.Store(o)
	}
	(*o).Observe(d.Seconds())
}

// StageError counts a stage that ended in an error. Reasons: error, trap,
// timeout, fuel, memory, busy, fused, upstream, when.
func (m *Metrics) StageError(pipeline, stage, reason string) {
	m.stageErrors.WithLabelValues(pipeline, stage, reason).Inc()
}

// DeadLetter counts a durable entry that was given up.
func (m *Metrics) DeadLetter(app, reason string) { m.deadLetters.WithLabelValues(app, reason).Inc() }

// CanaryEvent counts a call in a stage with a canary. Sides: primary, canary.
// Results: ok and those of StageError.
func (m *Metrics) CanaryEvent(pipeline, stage, side, result string) {
	m.canaryEvents.WithLabelValues(pipeline, stage, side, result).Inc()
}

// Overflow counts an event over a bound. What became of it: queued, dropped,
// refused.
func (m *Metrics) Overflow(app, what string) { m.overflows.WithLabelValues(app, what).Inc() }

// Shadow counts an event of a shadow. Results: same, different, error, dropped,
// not_comparable.
func (m *Metrics) Shadow(pipeline, stage, result string) {
	m.shadows.WithLabelValues(pipeline, stage, result).Inc()
}

// LateReply counts a reply that was ready after answer_within. Ways: drop.
func (m *Metrics) LateReply(app, way string) { m.lateReplies.WithLabelValues(app, way).Inc() }

// Reload counts a reload of the configuration. Results: ok, partial, refused.
func (m *Metrics) Reload(result string) { m.reloads.WithLabelValues(result).Inc() }

// SharedRecord counts what was out of the ordinary with a record that hosts
// share: local, taken_over, lost, untold, malformed.
func (m *Metrics) SharedRecord(what string) { m.shared.WithLabelValues(what).Inc() }

// RecordEvicted counts an event record dropped before its time.
func (m *Metrics) RecordEvicted() { m.evicted.Inc() }
