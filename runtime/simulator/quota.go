package simulator

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Quota is how often one path may be called under one app. A call that is
// refused for another reason doesn't count.
type Quota struct {
	// Daily is over at midnight, China, and with clear_quota: 45009 after that;
	// 0: 10,000,000. Negative: not once.
	Daily int
	// PerMinute is over with the minute: 45011 after that; 0: any number.
	PerMinute int
}

// dailyQuota is what quota/get tells where no quota is set.
const dailyQuota = 10_000_000

// SetQuota sets the quota of each path that is meant; the last one set wins.
func (w *WeChat) SetQuota(where Where, q Quota) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quotas = put(w.quotas, where, q)
}

// usage is how often a path was called in a day, and in a minute.
type usage struct {
	day, minute     string
	daily, inMinute int
}

// used gives the usage of a path, of this day and minute.
func (a *app) used(path string, now time.Time) *usage {
	u := a.usage[path]
	if u == nil {
		if len(a.usage) >= keptKinds {
			path = others
		}
		if u = a.usage[path]; u == nil {
			u = &usage{}
			a.usage[path] = u
		}
	}
	if today := day(now); u.day != today {
		u.day, u.daily = today, 0
	}
	if minute := now.In(china()).Format("2006-01-02 15:04"); u.minute != minute {
		u.minute, u.inMinute = minute, 0
	}
	return u
}

func (w *WeChat) quota(appID, method, path string) Quota {
	q, _ := find(w.quotas, appID, method, path)
	q.Daily = or(q.Daily, dailyQuota)
	return q
}

// spend counts a call of an app against the quota of its path, or refuses it.
// The lock is held.
func (w *WeChat) spend(c *call) (answer, bool) {
	path := c.request.URL.Path
	if c.endpoint.free {
		return answer{}, true
	}
	q, u := w.quota(c.appID, c.request.Method, path), c.app.used(path, c.now)
	switch {
	case u.daily >= q.Daily:
		return c.refuses(45009), false
	case q.PerMinute > 0 && u.inMinute >= q.PerMinute:
		return c.refuses(45011), false
	}
	u.daily++
	u.inMinute++
	return answer{}, true
}

func quotaEndpoints(to map[string]endpoint) {
	to["/cgi-bin/clear_quota"] = endpoint{method: http.MethodPost, free: true, serve: (*WeChat).clearQuota}
	to["/cgi-bin/clear_quota/v2"] = endpoint{method: http.MethodPost, open: true, free: true, lax: true, serve: (*WeChat).clearQuotaV2}
	to["/cgi-bin/openapi/quota/get"] = endpoint{method: http.MethodPost, free: true, serve: (*WeChat).quotaGet}
}

// clearQuota is POST /cgi-bin/clear_quota: 10 a month ("API Call Limits").
func (w *WeChat) clearQuota(c *call) answer {
	if c.claim.AppID != c.appID {
		return c.refuses(40013)
	}
	return c.clears()
}

// clearQuotaV2 is the same by the app's secret, for an app whose tokens are
// used up, too ("clearQuotaByAppSecret").
func (w *WeChat) clearQuotaV2(c *call) answer {
	c.claim.GrantType = clientCredential
	if a, ok := w.admit(c); !ok {
		return a
	}
	return c.clears()
}

func (c *call) clears() answer {
	month := c.now.In(china()).Format("2006-01")
	if c.app.clearMonth != month {
		c.app.clearMonth, c.app.clears = month, 0
	}
	if c.app.clears >= c.app.ClearMonthly {
		return c.refuses(48006)
	}
	c.app.clears++
	c.app.usage = map[string]*usage{}
	return fine()
}

// quotaGet is POST /cgi-bin/openapi/quota/get ("getApiQuota").
func (w *WeChat) quotaGet(c *call) answer {
	var asked struct {
		Path string `json:"cgi_path"`
	}
	switch err := json.Unmarshal(c.body, &asked); {
	case err != nil || !strings.HasPrefix(asked.Path, "/"):
		return c.refuses(76021)
	case strings.HasPrefix(asked.Path, "/sns/"):
		return c.refuses(76022)
	}
	method := w.endpoints[asked.Path].method
	if method == "" {
		method = http.MethodPost
	}
	q := w.quota(c.appID, method, asked.Path)
	used := 0
	if u := c.app.usage[asked.Path]; u != nil {
		used = c.app.used(asked.Path, c.now).daily
	}
	told := map[string]any{
		"errcode": 0, "errmsg": "ok",
		"quota": map[string]int{"daily_limit": q.Daily, "used": used, "remain": max(0, q.Daily-used)},
	}
	if q.PerMinute > 0 {
		told["rate_limit"] = map[string]int{"call_count": q.PerMinute, "refresh_second": 60}
	}
	return says(told)
}
