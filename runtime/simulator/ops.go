package simulator

import (
	"encoding/json"
	"net/http"
	"regexp"
	"time"
)

func opsEndpoints(to map[string]endpoint) {
	to["/cgi-bin/getcallbackip"] = endpoint{method: http.MethodGet, serve: (*WeChat).addresses}
	to["/cgi-bin/get_api_domain_ip"] = endpoint{method: http.MethodGet, serve: (*WeChat).addresses}
	to["/cgi-bin/callback/check"] = endpoint{method: http.MethodPost, serve: (*WeChat).callbackCheck}
	to["/cgi-bin/openapi/rid/get"] = endpoint{method: http.MethodPost, free: true, serve: (*WeChat).ridGet}
}

// addresses is GET /cgi-bin/getcallbackip and /cgi-bin/get_api_domain_ip. The
// addresses are of the networks that are kept for documents (RFC 5737).
func (w *WeChat) addresses(*call) answer {
	return says(map[string]any{"ip_list": []string{"127.0.0.1", "192.0.2.1", "198.51.100.0/25"}})
}

// callbackCheck is POST /cgi-bin/callback/check ("callbackCheck"). SetAnswer
// makes it tell of a host that WeChat doesn't reach.
func (w *WeChat) callbackCheck(c *call) answer {
	var asked struct {
		Action   string `json:"action"`
		Operator string `json:"check_operator"`
	}
	if json.Unmarshal(c.body, &asked) != nil {
		return c.refuses(47001)
	}
	type dns struct {
		IP       string `json:"ip"`
		Operator string `json:"real_operator"`
	}
	type ping struct {
		IP       string `json:"ip"`
		Operator string `json:"from_operator"`
		Loss     string `json:"package_loss"`
		Time     string `json:"time"`
	}
	var told struct {
		DNS  []dns  `json:"dns,omitempty"`
		Ping []ping `json:"ping,omitempty"`
	}
	switch asked.Action {
	case "all", "dns", "ping":
	default:
		return c.refuses(40097)
	}
	switch asked.Operator {
	case "DEFAULT", "CHINANET", "UNICOM", "CAP":
	default:
		return c.refuses(40097)
	}
	if asked.Action != "ping" {
		told.DNS = []dns{{"192.0.2.10", "UNICOM"}}
	}
	if asked.Action != "dns" {
		told.Ping = []ping{{"192.0.2.10", "UNICOM", "0%", "23.079ms"}}
	}
	return says(told)
}

// ridGet is POST /cgi-bin/openapi/rid/get ("getRidInfo"), for calls that
// Received still tells of.
func (w *WeChat) ridGet(c *call) answer {
	var asked struct {
		RID string `json:"rid"`
	}
	if json.Unmarshal(c.body, &asked) != nil || !shapedAsRID(asked.RID) {
		return c.refuses(76002)
	}
	for _, one := range w.counts.recent {
		switch {
		case one.RID != asked.RID:
			continue
		case one.App != c.appID:
			return c.refuses(76003)
		}
		return says(map[string]any{"errcode": 0, "errmsg": "ok", "request": map[string]any{
			"invoke_time": one.At.Unix(), "cost_in_ms": one.Took / time.Millisecond,
			"request_url": one.Query.Encode(), "request_body": string(one.Body), "response_body": string(one.Answer), "client_ip": one.From,
		}})
	}
	return c.refuses(76001)
}

func shapedAsRID(s string) bool {
	ok, err := regexp.MatchString(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`, s)
	return err == nil && ok
}
