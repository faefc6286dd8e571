package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/identity"
)

// writeSlack is what the answer to a callback of web authorization may take to be
// written, beside identity.FinishTime.
const writeSlack = 5 * time.Second

// The errors of web authorization's paths.
var (
	errNoPublic   = &httpError{http.StatusServiceUnavailable, "app_unavailable", "server.public is missing: WeChat could not send the browser back"}
	errRedirect   = &httpError{http.StatusBadRequest, "redirect_not_allowed", "redirect= is one address that begins as one of the app's oauth.redirects, through encodeURIComponent"}
	errOAuthScope = &httpError{http.StatusBadRequest, "bad_scope", "scope= is snsapi_base or snsapi_userinfo"}
	errState      = &httpError{http.StatusForbidden, "state_refused", "the login is not this browser's, took over 10 minutes or was used: begin it anew"}
	errTicket     = &httpError{http.StatusUnauthorized, "ticket_refused", "the ticket is unknown, was used or has expired: log in again"}
	errTicketBody = &httpError{http.StatusBadRequest, "bad_body", `the body is not {"ticket":"…"}`}
)

// readLogins takes how users of official accounts log in on web pages. An app that
// can't have it stands there with a config whose SNS is nil.
func (a *assembly) readLogins() {
	for _, app := range a.cfg.Apps {
		if app.Type != config.Official || app.OAuth == nil {
			continue
		}
		redirects, err := identity.ParseRedirects(app.OAuth.Redirects)
		if err != nil {
			a.problems = append(a.problems, config.Problem{Pos: app.Pos, Text: fmt.Sprintf("app %s: oauth.redirects: %v", app.Name, err)})
			continue
		}
		c := &identity.OAuthConfig{Session: sessionConfig(app), Authorize: app.OAuth.AuthorizeBase, Redirects: redirects}
		if a.cfg.Server.Public != "" {
			c.Callback = a.cfg.Server.Public + "/oauth/" + app.Name + "/callback"
		}
		if a.ways != nil && app.AppSecret != "" {
			c.SNS = a.ways.apis.SNS(gateway.SNSConfig{App: app.Name, AppID: app.AppID, Secret: app.AppSecret, Base: app.APIBase})
		}
		a.logins[app.Name] = c
	}
}

// oauthRoutes are the paths of web authorization.
func (h *Host) oauthRoutes(public *echo.Echo) {
	public.Any("/oauth/:app/login", h.afterCallbacks(h.forLogin(http.MethodGet, h.oauthLogin)))
	public.Any("/oauth/:app/callback", h.afterCallbacks(h.forLogin(http.MethodGet, h.oauthCallback)))
	public.Any("/oauth/:app/ticket", h.afterCallbacks(h.forLogin(http.MethodPost, h.oauthTicket)))
}

// loginHandler answers a request to an app whose users log in on web pages.
type loginHandler func(ec echo.Context, c *identity.OAuthConfig) error

// forLogin finds the app of a request with a method. Pages that a login may lead to
// may POST from their own origin.
func (h *Host) forLogin(method string, next loginHandler) echo.HandlerFunc {
	return func(ec echo.Context) error {
		g := h.inUse()
		if g == nil {
			return errStopping
		}
		defer g.leave()
		name := ec.Param("app")
		c := g.assembly.logins[name]
		if c == nil {
			return g.callbacks.lacks(name)
		}
		header := ec.Response().Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Referrer-Policy", "no-referrer")
		asked := ec.Request().Method
		if known := method == http.MethodPost && shareLogin(ec, c); known && asked == http.MethodOptions {
			return ec.NoContent(http.StatusNoContent)
		}
		if asked != method {
			return wrongMethod(ec, method)
		}
		return next(ec, c)
	}
}

// mayLogin says what an app lacks whose users are to log in.
func mayLogin(c *identity.OAuthConfig) error {
	switch {
	case c.SNS == nil:
		return errNoOutlet
	case c.Callback == "":
		return errNoPublic
	}
	return nil
}

// shareLogin lets the scripts of pages that a login may lead to read the answer, and
// tells whether the request is of one.
func shareLogin(ec echo.Context, c *identity.OAuthConfig) bool {
	header, origin := ec.Response().Header(), ec.Request().Header.Get("Origin")
	header.Set("Vary", "Origin")
	if !c.Redirects.AllowsOrigin(origin) {
		return false
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if ec.Request().Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "POST")
		header.Set("Access-Control-Allow-Headers", "Content-Type")
		header.Set("Access-Control-Max-Age", "600")
	}
	return true
}

// oauthLogin answers GET /oauth/{app}/login: the browser is sent to WeChat.
func (h *Host) oauthLogin(ec echo.Context, c *identity.OAuthConfig) error {
	if err := mayLogin(c); err != nil {
		return err
	}
	q, ok := singles(ec, "redirect", "scope")
	if !ok {
		return errRedirect
	}
	link, cookie, err := h.identities.oauth.Begin(c, q["redirect"], q["scope"], ec.Cookies())
	switch {
	case errors.Is(err, identity.ErrRedirect):
		return errRedirect
	case errors.Is(err, identity.ErrScope):
		return errOAuthScope
	case err != nil:
		return err
	}
	ec.SetCookie(cookie)
	return ec.Redirect(http.StatusFound, link)
}

// oauthCallback answers GET /oauth/{app}/callback: the browser is back, and led to
// where the login was to lead.
func (h *Host) oauthCallback(ec echo.Context, c *identity.OAuthConfig) error {
	if err := mayLogin(c); err != nil {
		return err
	}
	q, ok := singles(ec, "code", "state")
	if !ok {
		return errState
	}
	// Longer than other answers: by then the browser's state and code are used up. A
	// writer that knows no deadlines is a test's.
	_ = http.NewResponseController(ec.Response().Writer).SetWriteDeadline(time.Now().Add(identity.FinishTime + writeSlack))
	landing, err := h.identities.oauth.Finish(ec.Request().Context(), c, q["code"], q["state"], ec.Cookies())
	switch {
	case errors.Is(err, identity.ErrState):
		return errState
	case err != nil:
		return h.loginFailed(ec, c, errStoreAway, err)
	case landing.Failed:
		h.logLogin(ec, slog.LevelError, loginLine{c.Session.App, "login failed"}, landing.Refused)
	case landing.Refused != nil:
		h.logLogin(ec, slog.LevelWarn, loginLine{c.Session.App, "login refused"}, landing.Refused)
	}
	return ec.Redirect(http.StatusFound, landing.Location)
}

// oauthTicket answers POST /oauth/{app}/ticket: the session of who has logged in.
func (h *Host) oauthTicket(ec echo.Context, c *identity.OAuthConfig) error {
	body, err := readBody(ec)
	if err != nil {
		return err
	}
	var r struct {
		Ticket string `json:"ticket"`
	}
	if json.Unmarshal(body, &r) != nil || r.Ticket == "" {
		return errTicketBody
	}
	ctx, cancel := context.WithTimeout(withTraceParent(ec), miniTime)
	defer cancel()
	l, err := h.identities.oauth.Login(ctx, c, r.Ticket)
	switch {
	case errors.Is(err, identity.ErrTicket):
		return errTicket
	case err != nil:
		return h.loginFailed(ec, c, errStoreAway, err)
	}
	answer := answerTokens(l.Tokens)
	answer.NewUser = &l.NewUser
	return ec.JSON(http.StatusOK, answer)
}

// answerRefresh answers POST /mp/{app}/refresh: new tokens for a session of a mini
// program or of web pages.
func (h *Host) answerRefresh(ec echo.Context) error {
	if h.current.Load().assembly.logins[ec.Param("app")] != nil {
		return h.forLogin(http.MethodPost, h.oauthRefresh)(ec)
	}
	return h.forMini(h.miniRefresh)(ec)
}

// oauthRefresh rotates the session of a web page.
func (h *Host) oauthRefresh(ec echo.Context, c *identity.OAuthConfig) error {
	body, err := readBody(ec)
	if err != nil {
		return err
	}
	var r miniRequest
	if json.Unmarshal(body, &r) != nil || r.RefreshToken == "" {
		return errMiniBody
	}
	ctx, cancel := context.WithTimeout(ec.Request().Context(), miniTime)
	defer cancel()
	t, err := h.identities.sessions.Rotate(ctx, c.Session, r.RefreshToken)
	if err != nil {
		return h.miniError(ec, c.Session.App, err)
	}
	return ec.JSON(http.StatusOK, answerTokens(t))
}

// singles reads parameters of the query, "" where one is missing; false: one stands
// there twice, or the query can't be read.
func singles(ec echo.Context, names ...string) (map[string]string, bool) {
	q, err := url.ParseQuery(ec.Request().URL.RawQuery)
	if err != nil {
		return nil, false
	}
	found := map[string]string{}
	for _, name := range names {
		if len(q[name]) > 1 {
			return nil, false
		}
		found[name] = q.Get(name)
	}
	return found, true
}

// loginFailed logs what kept a login from its end, and returns what is answered.
func (h *Host) loginFailed(ec echo.Context, c *identity.OAuthConfig, answer *httpError, err error) error {
	if ec.Request().Context().Err() != nil { // the client went away
		return errBody
	}
	ec.Response().Header().Set("Retry-After", "5")
	h.logLogin(ec, slog.LevelError, loginLine{c.Session.App, "login failed"}, err)
	return answer
}
