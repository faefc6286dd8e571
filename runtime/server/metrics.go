package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// pluginMetrics reads the plugins' counters when they are asked for.
type pluginMetrics struct {
	plugins func() map[string]*sandbox.Plugin // that serve
	descs   []*prometheus.Desc
}

// The descriptions of what pluginMetrics sends, in this order.
const (
	descInstances = iota
	descWaiting
	descMemory
	descCalls
	descFailed
	descDiscards
	descFuel
	descPauses
	descHostCalls
	descGuestTime
	descHostTime
	descRunWait
	descInstanceWait
	descFusedApps
	descSkippedUsers
)

func newPluginMetrics(plugins func() map[string]*sandbox.Plugin) *pluginMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"plugin"}, labels...), nil)
	}
	return &pluginMetrics{plugins: plugins, descs: []*prometheus.Desc{
		descInstances:    desc("weft_plugin_instances", "Live instances of a plugin by what they do.", "state"),
		descWaiting:      desc("weft_plugin_waiting_calls", "Calls that wait for an instance."),
		descMemory:       desc("weft_plugin_memory_bytes", "Memory that the live instances of a plugin have."),
		descCalls:        desc("weft_plugin_calls_total", "Calls of a plugin that ended."),
		descFailed:       desc("weft_plugin_failures_total", "Calls of a plugin that ended in an error.", "reason"),
		descDiscards:     desc("weft_plugin_discards_total", "Instances that were not used again.", "reason"),
		descFuel:         desc("weft_plugin_fuel_total", "Instructions that a plugin executed."),
		descPauses:       desc("weft_plugin_pauses_total", "Times that a plugin had used up a slice of fuel or of host calls, and others were let run."),
		descHostCalls:    desc("weft_plugin_host_calls_total", "Host calls that a plugin made."),
		descGuestTime:    desc("weft_plugin_guest_seconds_total", "Time in a plugin, with the host calls that don't wait."),
		descHostTime:     desc("weft_plugin_host_call_seconds_total", "Time in host calls that may wait."),
		descRunWait:      desc("weft_plugin_run_wait_seconds_total", "Time that calls waited for their turn to run on."),
		descInstanceWait: desc("weft_plugin_instance_wait_seconds_total", "Time that calls waited for an instance."),
		descFusedApps:    desc("weft_plugin_fused_apps", "Apps for which a plugin is not called, but for trials, because its calls fail."),
		descSkippedUsers: desc("weft_plugin_skipped_users", "Users whose events a plugin doesn't get, because three of theirs failed within a minute."),
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
	for name, p := range m.plugins() {
		s := p.Stats()
		send(descInstances, gauge, float64(s.Idle), name, "idle")
		send(descInstances, gauge, float64(s.Instances-s.Idle), name, "busy")
		send(descWaiting, gauge, float64(s.Waiting), name)
		send(descCalls, counter, float64(s.Calls), name)
		send(descMemory, gauge, float64(s.Memory), name)
		send(descFuel, counter, float64(s.Fuel), name)
		send(descPauses, counter, float64(s.Pauses), name)
		send(descHostCalls, counter, float64(s.HostCalls), name)
		send(descGuestTime, counter, s.GuestTime.Seconds(), name)
		send(descHostTime, counter, s.HostTime.Seconds(), name)
		send(descRunWait, counter, s.TokenWait.Seconds(), name)
		send(descInstanceWait, counter, s.InstanceWait.Seconds(), name)
		health := p.Health()
		send(descFusedApps, gauge, float64(health.Fused), name)
		send(descSkippedUsers, gauge, float64(health.Skipped), name)
		for reason, n := range s.Failed {
			send(descFailed, counter, float64(n), name, reason)
		}
		for reason, n := range s.Discards {
			send(descDiscards, counter, float64(n), name, reason)
		}
	}
}

// upstreamMetrics reads the counters of the upstreams' clients when they are
// asked for.
type upstreamMetrics struct {
	upstreams                            *gateway.Pool
	requests, connections, waiting, open *prometheus.Desc
}

func newUpstreamMetrics(upstreams *gateway.Pool) *upstreamMetrics {
	return &upstreamMetrics{
		upstreams:   upstreams,
		requests:    prometheus.NewDesc("weft_upstream_requests_total", "Requests to an upstream by what became of them.", []string{"upstream", "result"}, nil),
		connections: prometheus.NewDesc("weft_upstream_connections", "Connections to an upstream that a request holds.", []string{"upstream"}, nil),
		waiting:     prometheus.NewDesc("weft_upstream_waiting", "Requests to an upstream that wait for a connection.", []string{"upstream"}, nil),
		open:        prometheus.NewDesc("weft_upstream_open", "1 while the circuit of an upstream is open: nothing but trials is sent.", []string{"upstream"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *upstreamMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.requests
	ch <- m.connections
	ch <- m.waiting
	ch <- m.open
}

// Collect implements prometheus.Collector.
func (m *upstreamMetrics) Collect(ch chan<- prometheus.Metric) {
	for name, s := range m.upstreams.Stats() {
		for result, n := range s.Requests {
			ch <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n), name, result)
		}
		open := 0.0
		if s.Circuit != gateway.Closed {
			open = 1
		}
		ch <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, float64(s.Active), name)
		ch <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(s.Waiting), name)
		ch <- prometheus.MustNewConstMetric(m.open, prometheus.GaugeValue, open, name)
	}
}

// canaryMetrics tells which canaries are rolled back when it is asked.
type canaryMetrics struct {
	canaries func() []pipeline.CanaryStatus
	rolled   *prometheus.Desc
}

func newCanaryMetrics(canaries func() []pipeline.CanaryStatus) *canaryMetrics {
	return &canaryMetrics{canaries, prometheus.NewDesc("weft_canary_rolled_back",
		"1 where a stage's canary was rolled back, 0 where it gets its events.", []string{"pipeline", "stage"}, nil)}
}

// Describe implements prometheus.Collector.
func (m *canaryMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.rolled }

// Collect implements prometheus.Collector.
func (m *canaryMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.canaries() {
		v := 0.0
		if c.RolledBack != nil {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(m.rolled, prometheus.GaugeValue, v, c.Pipeline, c.Stage)
	}
}

// boundMetrics reads how much of the bounds of the pipelines is used, when it is
// asked for.
type boundMetrics struct {
	engine                  *pipeline.Engine
	inflight, workers, runs *prometheus.Desc
}

func newBoundMetrics(engine *pipeline.Engine) *boundMetrics {
	return &boundMetrics{
		engine:   engine,
		inflight: prometheus.NewDesc("weft_inflight", "Events in flight, durable runs not counted.", []string{"app"}, nil),
		workers:  prometheus.NewDesc("weft_workers", "Durable runs that there may be at once: follows the load.", nil, nil),
		runs:     prometheus.NewDesc("weft_durable_runs", "Durable runs under way.", []string{"app"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *boundMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.inflight
	ch <- m.workers
	ch <- m.runs
}

// Collect implements prometheus.Collector.
func (m *boundMetrics) Collect(ch chan<- prometheus.Metric) {
	load := m.engine.Load()
	ch <- prometheus.MustNewConstMetric(m.workers, prometheus.GaugeValue, float64(load.Workers))
	for _, a := range load.Apps {
		ch <- prometheus.MustNewConstMetric(m.inflight, prometheus.GaugeValue, float64(a.Inflight), a.App)
		ch <- prometheus.MustNewConstMetric(m.runs, prometheus.GaugeValue, float64(a.Runs), a.App)
	}
}
