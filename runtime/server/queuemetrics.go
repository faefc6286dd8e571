package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/store"
)

// depthTime is how long status and metrics wait for the store.
const depthTime = time.Second

// depthStatus is how many entries there are in each state.
type depthStatus struct {
	Ready       int        `json:"ready"`
	Delayed     int        `json:"delayed"`
	Claimed     int        `json:"claimed"`
	Dead        int        `json:"dead"`
	OldestReady *time.Time `json:"oldest_ready,omitempty"` // when the first of the ready ones was appended
}

// queueStatus is how many entries a queue has, in all and of each app that has
// some.
type queueStatus struct {
	depthStatus
	Apps []appDepthStatus `json:"apps"` // by name
}

type appDepthStatus struct {
	App string `json:"app"`
	depthStatus
}

func (s *depthStatus) add(d store.Depth) {
	s.Ready, s.Delayed, s.Claimed, s.Dead = s.Ready+d.Ready, s.Delayed+d.Delayed, s.Claimed+d.Claimed, s.Dead+d.Dead
	if d.Oldest.IsZero() {
		return
	}
	if oldest := d.Oldest.UTC(); s.OldestReady == nil || oldest.Before(*s.OldestReady) {
		s.OldestReady = &oldest
	}
}

// queuesStatus has no entry for a queue that can't be read.
func (h *Host) queuesStatus(ctx context.Context) map[string]queueStatus {
	ctx, cancel := context.WithTimeout(ctx, depthTime)
	defer cancel()
	lines, err := h.engine.QueueDepths(ctx)
	if err != nil {
		h.log.LogAttrs(ctx, slog.LevelWarn, "status without the queue", slog.String("error", err.Error()))
		return map[string]queueStatus{}
	}
	s := queueStatus{Apps: []appDepthStatus{}}
	for _, l := range lines {
		app := appDepthStatus{App: l.Name}
		app.add(l.Depth)
		s.add(l.Depth)
		s.Apps = append(s.Apps, app)
	}
	return map[string]queueStatus{"events": s}
}

// queueMetrics counts the durable queue when it is asked.
type queueMetrics struct {
	engine  *pipeline.Engine
	entries *prometheus.Desc
	oldest  *prometheus.Desc
}

func newQueueMetrics(engine *pipeline.Engine) *queueMetrics {
	return &queueMetrics{
		engine:  engine,
		entries: prometheus.NewDesc("weft_queue_entries", "Entries of the durable queue.", []string{"app", "state"}, nil),
		oldest:  prometheus.NewDesc("weft_queue_oldest_seconds", "How long ago the first entry that is ready was appended; 0: none is.", []string{"app"}, nil),
	}
}

// Describe is prometheus.Collector's.
func (m *queueMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.entries
	ch <- m.oldest
}

// Collect is prometheus.Collector's. While the store is away there is nothing to
// say.
func (m *queueMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), depthTime)
	defer cancel()
	lines, err := m.engine.QueueDepths(ctx)
	if err != nil {
		return
	}
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	for _, l := range lines {
		d := l.Depth
		for state, n := range map[pipeline.QueueState]int{
			pipeline.QueueReady: d.Ready, pipeline.QueueDelayed: d.Delayed, pipeline.QueueClaimed: d.Claimed, pipeline.QueueDead: d.Dead,
		} {
			gauge(m.entries, float64(n), l.Name, string(state))
		}
		age := 0.0
		if !d.Oldest.IsZero() {
			age = max(0, time.Since(d.Oldest).Seconds())
		}
		gauge(m.oldest, age, l.Name)
	}
}
