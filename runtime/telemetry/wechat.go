package telemetry

import "github.com/prometheus/client_golang/prometheus"

// WeChat counts the host's calls of WeChat's API. All methods may be called by
// many goroutines at once. Endpoints are paths, or "other": the caller bounds
// how many.
type WeChat struct {
	calls    *prometheus.CounterVec
	errcodes *prometheus.CounterVec
}

// NewWeChat registers the counters, once a registry.
func NewWeChat(registry prometheus.Registerer) *WeChat {
	w := &WeChat{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wx_api_call_total", Help: "Calls of WeChat's API by what became of them.",
		}, []string{"app", "endpoint", "result"}),
		errcodes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wx_api_errcode_total", Help: "Answers of WeChat's API with an errcode other than 0, those of repeated calls included.",
		}, []string{"app", "endpoint", "errcode"}),
	}
	registry.MustRegister(w.calls, w.errcodes)
	return w
}

// APICall counts a call. Results: ok, errcode, http, or why there was no answer:
// timeout, broken, unreachable, circuit_open, quota_stop, limited, busy, no_token,
// bad_body, canceled.
func (w *WeChat) APICall(app, endpoint, result string) {
	w.calls.WithLabelValues(app, endpoint, result).Inc()
}

// APIErrcode counts an answer with an errcode; "other" stands for those that the
// catalogue doesn't have.
func (w *WeChat) APIErrcode(app, endpoint, errcode string) {
	w.errcodes.WithLabelValues(app, endpoint, errcode).Inc()
}
