package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-dev/weft/runtime/gateway"
)

// credentialMetrics reads what is known of credentials when it is asked.
type credentialMetrics struct {
	credentials *gateway.Credentials
	fetches     *prometheus.Desc
	left        *prometheus.Desc
	locksLost   *prometheus.Desc
}

func newCredentialMetrics(credentials *gateway.Credentials) *credentialMetrics {
	labels := []string{"app", "kind"}
	return &credentialMetrics{
		credentials: credentials,
		fetches: prometheus.NewDesc("weft_credential_fetches_total", "Attempts of this host to get a credential by what became of them.",
			[]string{"app", "kind", "result"}, nil),
		left:      prometheus.NewDesc("weft_credential_left_seconds", "How long a credential is valid yet; 0: there is none.", labels, nil),
		locksLost: prometheus.NewDesc("weft_credential_locks_lost_total", "Refreshes whose lock was lost before they ended.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *credentialMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.fetches
	ch <- m.left
	ch <- m.locksLost
}

// Collect implements prometheus.Collector.
func (m *credentialMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, s := range m.credentials.Stats() {
		kind := string(s.Kind)
		for result, n := range s.Fetches {
			ch <- prometheus.MustNewConstMetric(m.fetches, prometheus.CounterValue, float64(n), s.App, kind, result)
		}
		ch <- prometheus.MustNewConstMetric(m.left, prometheus.GaugeValue, max(time.Until(s.Expires), 0).Seconds(), s.App, kind)
		ch <- prometheus.MustNewConstMetric(m.locksLost, prometheus.CounterValue, float64(s.LocksLost), s.App, kind)
	}
}
