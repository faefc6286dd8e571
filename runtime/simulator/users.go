package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
)

// User is what an app's WeChat knows of one user.
type User struct {
	OpenID       string
	UnionID      string // "": the app is bound to no open platform account
	Nickname     string
	Phone        string // with NewCode and PhoneCode, without the country's code
	Snapshot     bool   // a virtual account of a snapshot page: is_snapshotuser
	Unsubscribed bool   // template messages are refused with 43004
	// Refuses is the errcode of every message to the user, 43101, 45015, 45047 …;
	// 0: they arrive.
	Refuses int
}

// SetUser adds a user of an app, or changes one. Any other openid is taken for
// a follower of whom nothing is known.
func (w *WeChat) SetUser(appID string, u User) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.apps[appID]; a != nil {
		a.users[u.OpenID] = u
	}
}

func (a *app) user(openID string) User {
	if u, ok := a.users[openID]; ok {
		return u
	}
	return User{OpenID: openID}
}

func usersEndpoints(to map[string]endpoint) {
	to["/cgi-bin/user/info"] = endpoint{method: http.MethodGet, serve: (*WeChat).userInfo}
	to["/cgi-bin/user/info/batchget"] = endpoint{method: http.MethodPost, serve: (*WeChat).userBatch}
	to["/cgi-bin/user/get"] = endpoint{method: http.MethodGet, serve: (*WeChat).userGet}
}

// openIDMax is over the length of any openid.
const openIDMax = 128

// userInfo is GET /cgi-bin/user/info. WeChat gives no nickname any more.
func (w *WeChat) userInfo(c *call) answer {
	openID := c.query.Get("openid")
	if openID == "" || len(openID) > openIDMax {
		return c.refuses(40003)
	}
	return says(c.app.user(openID).told())
}

func (u User) told() map[string]any {
	told := map[string]any{"subscribe": 1, "openid": u.OpenID}
	if u.UnionID != "" {
		told["unionid"] = u.UnionID
	}
	if u.Unsubscribed {
		told["subscribe"] = 0
		return told
	}
	told["language"], told["subscribe_time"], told["remark"], told["groupid"] = "zh_CN", 1434093047, "", 0
	told["tagid_list"], told["subscribe_scene"] = []int{}, "ADD_SCENE_SEARCH"
	return told
}

// userBatch is POST /cgi-bin/user/info/batchget, of 100 at most.
func (w *WeChat) userBatch(c *call) answer {
	var asked struct {
		List []struct {
			OpenID string `json:"openid"`
		} `json:"user_list"`
	}
	if json.Unmarshal(c.body, &asked) != nil || len(asked.List) == 0 || len(asked.List) > 100 {
		return c.refuses(40097)
	}
	var list []map[string]any
	for _, one := range asked.List {
		if one.OpenID == "" || len(one.OpenID) > openIDMax {
			return c.refuses(40003)
		}
		list = append(list, c.app.user(one.OpenID).told())
	}
	return says(map[string]any{"user_info_list": list})
}

// userGet is GET /cgi-bin/user/get: the followers that SetUser named, 10,000 a
// call, from the one after next_openid.
func (w *WeChat) userGet(c *call) answer {
	var all []string
	for openID, u := range c.app.users {
		if !u.Unsubscribed {
			all = append(all, openID)
		}
	}
	slices.Sort(all)
	total, first := len(all), 0
	if after := c.query.Get("next_openid"); after != "" {
		at, ok := slices.BinarySearch(all, after)
		if !ok {
			return c.refuses(40003)
		}
		first = at + 1
	}
	page := all[first:min(first+10_000, total)]
	told := map[string]any{"total": total, "count": len(page), "next_openid": ""}
	if len(page) > 0 {
		told["data"], told["next_openid"] = map[string]any{"openid": page}, page[len(page)-1]
	}
	return says(told)
}
