package telemetry

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWeChat(t *testing.T) {
	m := NewMetrics()
	w := NewWeChat(m.Registry())
	for range 3 {
		w.APICall("shop", "/cgi-bin/user/get", "ok")
	}
	w.APICall("shop", "other", "timeout")
	w.APIErrcode("shop", "/cgi-bin/user/get", "45009")
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`wx_api_call_total{app="shop",endpoint="/cgi-bin/user/get",result="ok"} 3`,
		`wx_api_call_total{app="shop",endpoint="other",result="timeout"} 1`,
		`wx_api_errcode_total{app="shop",endpoint="/cgi-bin/user/get",errcode="45009"} 1`,
	} {
		if !strings.Contains(answer.Body.String(), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}
