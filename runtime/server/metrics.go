package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-dev/weft/runtime/sandbox"
)

// pluginMetrics reads the plugins' counters when they are asked for.
type pluginMetrics struct {
	plugins map[string]*sandbox.Plugin
	descs   []*prometheus.Desc
}

// The descriptions of what pluginMetrics sends, in this order.
const (
	descInstances = iota
	descWaiting
	descCalls
	descFailed
	descDiscards
)

func newPluginMetrics(plugins map[string]*sandbox.Plugin) *pluginMetrics {
	return &pluginMetrics{plugins: plugins, descs: []*prometheus.Desc{
		descInstances: prometheus.NewDesc("weft_plugin_instances", "Live instances of a plugin by what they do.", []string{"plugin", "state"}, nil),
		descWaiting:   prometheus.NewDesc("weft_plugin_waiting_calls", "Calls that wait for an instance.", []string{"plugin"}, nil),
		descCalls:     prometheus.NewDesc("weft_plugin_calls_total", "Calls of a plugin.", []string{"plugin"}, nil),
		descFailed:    prometheus.NewDesc("weft_plugin_failures_total", "Calls of a plugin that ended in an error.", []string{"plugin", "reason"}, nil),
		descDiscards:  prometheus.NewDesc("weft_plugin_discards_total", "Instances that were not used again.", []string{"plugin", "reason"}, nil),
	}}
}

// Describe implements prometheus.Collector.
func (m *pluginMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *pluginMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	send := func(d int, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.descs[d], t, v, labels...)
	}
	for name, p := range m.plugins {
		s := p.Stats()
		send(descInstances, gauge, float64(s.Idle), name, "idle")
		send(descInstances, gauge, float64(s.Instances-s.Idle), name, "busy")
		send(descWaiting, gauge, float64(s.Waiting), name)
		send(descCalls, counter, float64(s.Calls), name)
		for reason, n := range s.Failed {
			send(descFailed, counter, float64(n), name, reason)
		}
		for reason, n := range s.Discards {
			send(descDiscards, counter, float64(n), name, reason)
		}
	}
}
