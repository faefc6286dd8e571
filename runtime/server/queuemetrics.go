package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-dev/weft/runtime/pipeline"
)

// depthTime is how long status and metrics wait for the store.
const depthTime = time.Second

// queueStatus is how many entries a queue has in each state.
type queueStatus struct {
	Ready       int        `json:"ready"`
	Delayed     int        `json:"delayed"`
	Claimed     int        `json:"claimed"`
	Dead        int        `json:"dead"`
	OldestReady *time.Time `json:"oldest_ready,omitempty"` // when the first of the ready ones was appended
}

// queuesStatus has no entry for a queue that can't be read.
func (h *Host) queuesStatus(ctx context.Context) map[string]queueStatus {
	ctx, cancel := context.WithTimeout(ctx, depthTime)
	defer cancel()
	queues := map[string]queueStatus{}
	d, err := h.engine.QueueDepth(ctx)
	if err != nil {
		h.log.LogAttrs(ctx, slog.LevelWarn, "status without the queue", slog.String("error", err.Error()))
		return queues
	}
	s := queueStatus{Ready: d.Ready, Delayed: d.Delayed, Claimed: d.Claimed, Dead: d.Dead}
	if !d.Oldest.IsZero() {
		oldest := d.Oldest.UTC()
		s.OldestReady = &oldest
	}
	queues["events"] = s
	return queues
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
		entries: prometheus.NewDesc("weft_queue_entries", "Entries of the durable queue.", []string{"state"}, nil),
		oldest:  prometheus.NewDesc("weft_queue_oldest_seconds", "How long ago the first entry that is ready was appended; 0: none is.", nil, nil),
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
	d, err := m.engine.QueueDepth(ctx)
	if err != nil {
		return
	}
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	for state, n := range map[pipeline.QueueState]int{
		pipeline.QueueReady: d.Ready, pipeline.QueueDelayed: d.Delayed, pipeline.QueueClaimed: d.Claimed, pipeline.QueueDead: d.Dead,
	} {
		gauge(m.entries, float64(n), string(state))
	}
	age := 0.0
	if !d.Oldest.IsZero() {
		age = max(0, time.Since(d.Oldest).Seconds())
	}
	gauge(m.oldest, age)
}
