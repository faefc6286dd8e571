package simulator

import (
	"net/http"
	"slices"
	"time"
)

const clientCredential = "client_credential"

// known checks the app that a call names, its secret and what it asks for.
func (c *call) known(grantType string) (answer, bool) {
	switch said := c.claim; {
	case said.GrantType != grantType:
		return c.refuses(40002), false
	case said.AppID == "":
		return c.refuses(41002), false
	case said.Secret == "":
		return c.refuses(41004), false
	case c.app == nil:
		return c.refuses(40013), false
	case c.app.Secret != said.Secret:
		return c.refuses(40125), false
	}
	return answer{}, true
}

// admit checks who asks for a token. The lock is held.
func (w *WeChat) admit(c *call) (answer, bool) {
	if a, ok := c.known(clientCredential); !ok {
		return a, false
	}
	if !c.app.allows(c.from) {
		return c.notAllowed(), false
	}
	return w.spend(c)
}

func credentialsEndpoints(to map[string]endpoint) {
	to["/cgi-bin/token"] = endpoint{method: http.MethodGet, open: true, fetches: PlainToken, serve: (*WeChat).plainToken}
	to["/cgi-bin/stable_token"] = endpoint{method: http.MethodPost, open: true, fetches: StableToken, serve: (*WeChat).stableToken}
	to["/cgi-bin/ticket/getticket"] = endpoint{method: http.MethodGet, fetches: JSTicket, serve: (*WeChat).getTicket}
}

// plainToken is GET /cgi-bin/token: each call gives a new token.
func (w *WeChat) plainToken(c *call) answer {
	a, ok := w.admit(c)
	if ok {
		c.fetch.New = true
		a = c.gives(w.issue(c.app, &c.app.plain, c.now))
	}
	return a
}

// stableToken is POST /cgi-bin/stable_token: the same token until little is
// left of it, or until the call says force_refresh.
func (w *WeChat) stableToken(c *call) answer {
	if a, ok := w.admit(c); !ok {
		return a
	}
	a := c.app
	t := a.stable.newest()
	due := t == nil || !c.now.Before(t.expires.Add(-a.RenewWindow))
	if c.fetch.Forced && !due {
		a.forced = slices.DeleteFunc(a.forced, func(at time.Time) bool { return day(at) != day(c.now) && c.now.Sub(at) >= a.ForceGap })
		today := 0
		for _, at := range a.forced {
			if day(at) == day(c.now) {
				today++
			}
		}
		switch n := len(a.forced); {
		case today >= a.ForceDaily:
			return c.refuses(45009)
		case n > 0 && c.now.Sub(a.forced[n-1]) < a.ForceGap: // it doesn't refresh
		default:
			a.forced, due = append(a.forced, c.now), true
		}
	}
	if due {
		t = w.issue(a, &a.stable, c.now)
		c.fetch.New = true
	}
	return c.gives(t)
}

// gives answers a token, with what is left of it.
func (c *call) gives(t *token) answer {
	return says(struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}{t.value, int(t.expires.Sub(c.now) / time.Second)})
}

// getTicket is GET /cgi-bin/ticket/getticket. Each call gives another ticket,
// and those before live on; whether WeChat gives the same one again isn't
// documented.
func (w *WeChat) getTicket(c *call) answer {
	kind := Kind(c.query.Get("type"))
	if kind != JSTicket && kind != CardTicket {
		return c.refuses(40097)
	}
	if len(w.tickets) >= remembered {
		for value, t := range w.tickets {
			if !c.now.Before(t.expires) {
				delete(w.tickets, value)
			}
		}
	}
	value := w.value("kgt8", 86)
	w.tickets[value] = &ticket{app: c.app, kind: kind, expires: c.now.Add(c.app.Life)}
	c.fetch.New = true
	return says(struct {
		Errcode   int    `json:"errcode"`
		Errmsg    string `json:"errmsg"`
		Ticket    string `json:"ticket"`
		ExpiresIn int    `json:"expires_in"`
	}{0, "ok", value, int(c.app.Life / time.Second)})
}
