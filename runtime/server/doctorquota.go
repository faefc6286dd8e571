package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/config"
)

const (
	// maxQuotaPaths is of how many paths the quota is asked for, of one app.
	maxQuotaPaths = 8
	// quotaLow is the part of a quota, in percent, that is told of when less is
	// left.
	quotaLow = 10
)

// quotaPaths are those whose quota is asked for: that of the token, those that the
// app has limits of, those that most apps call.
func quotaPaths(app *config.App) []string {
	paths := []string{"/cgi-bin/stable_token"}
	var patterns []string
	patterns = slices.AppendSeq(patterns, maps.Keys(app.API.Rate))
	patterns = slices.AppendSeq(patterns, maps.Keys(app.API.Daily))
	slices.Sort(patterns)
	for _, p := range patterns {
		if _, path, ok := strings.Cut(p, " "); ok {
			p = path
		}
		if !strings.Contains(p, "*") {
			paths = append(paths, p)
		}
	}
	paths = append(paths, "/cgi-bin/message/custom/send")
	if app.Type == config.MiniProgram {
		paths = append(paths, "/cgi-bin/message/subscribe/send", "/wxa/business/getuserphonenumber")
	} else {
		paths = append(paths, "/cgi-bin/message/template/send", "/cgi-bin/user/info")
	}
	var once []string
	for _, p := range paths {
		if !slices.Contains(once, p) && len(once) < maxQuotaPaths {
			once = append(once, p)
		}
	}
	return once
}

// quotaLeft is what WeChat says of a path ("getApiQuota").
type quotaLeft struct {
	Limit  int64 `json:"daily_limit"`
	Remain int64 `json:"remain"`
}

// finding of a path; ok: there is none.
func (q quotaLeft) finding(path string) (f Finding, ok bool) {
	f = Finding{
		Check: "quota", State: FindingWarning, Text: fmt.Sprintf("%s: %d of %d calls a day are left", path, q.Remain, q.Limit),
		Advice: "the quota begins anew at midnight in China; /cgi-bin/clear_quota clears it, ten times a month; api.daily in pipeline.yaml keeps calls below it",
	}
	if q.Remain <= 0 {
		f.State = FindingWrong
	}
	return f, q.Remain > 0 && float64(q.Remain) >= float64(q.Limit)*quotaLow/100
}

// quota asks how much of the day's calls is left.
func (a *appDoctor) quota(ctx context.Context, token string) []Finding {
	var found []Finding
	var fine []string
	for _, path := range quotaPaths(a.app) {
		said, f, ok := a.call(ctx, "quota", "/cgi-bin/openapi/quota/get", token, map[string]string{"cgi_path": path})
		switch code := said.Errcode.Code; {
		case code == 76021, code == 76022: // WeChat counts no calls of this path, or not this account's
			continue
		case !ok: // it would be the same for the other paths
			return append(found, f)
		}
		var told struct {
			Quota *quotaLeft `json:"quota"`
		}
		if err := said.Decode(&told); err != nil || told.Quota == nil {
			return append(found, Finding{Check: "quota", State: FindingWarning, Text: "/cgi-bin/openapi/quota/get: the answer can't be used"})
		}
		if told.Quota.Limit <= 0 {
			continue
		}
		if f, ok = told.Quota.finding(path); ok {
			fine = append(fine, fmt.Sprintf("%s %d of %d", path, told.Quota.Remain, told.Quota.Limit))
		} else {
			found = append(found, f)
		}
	}
	if len(fine) > 0 {
		found = append(found, Finding{Check: "quota", State: FindingFine, Text: "calls left today: " + strings.Join(fine, ", ")})
	}
	return found
}
