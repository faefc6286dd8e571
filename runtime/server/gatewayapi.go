package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/gateway"
)

const (
	// maxRefused is the most of a body that names a refused credential, in bytes.
	maxRefused = 64 << 10
	// credentialTime is how long a request for a credential waits for one.
	credentialTime = 10 * time.Second
)

// The errors of callers' paths.
var (
	errCaller       = &httpError{http.StatusUnauthorized, "unauthorized", "a caller's key is needed: Authorization: Bearer …"}
	errScope        = &httpError{http.StatusForbidden, "outside_scope", "the key's scope doesn't have this"}
	errCallerRate   = &httpError{http.StatusTooManyRequests, "limited", "over the caller's rate"}
	errNoOutlet     = &httpError{http.StatusServiceUnavailable, "app_unavailable", "the app has no app_secret, or is out of service"}
	errNoCredential = &httpError{http.StatusServiceUnavailable, "no_credential", "there is no valid credential: look at the log"}
	errRefusedBody  = &httpError{http.StatusBadRequest, "bad_body", `the body is not {"value":"…"} with the credential that WeChat refused`}
)

// gatewayRoutes are the paths of the business's systems.
func (h *Host) gatewayRoutes(public *echo.Echo) {
	public.Any("/api/:app/*", h.afterCallbacks(h.answerAPI))
	public.Any("/credential/:app/:kind", h.afterCallbacks(h.answerCredential))
}

// afterCallbacks leaves a path that is an app's callback_path to it: such as
// /api/v1/wechat, which may be one where no app is called v1.
func (h *Host) afterCallbacks(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		if c := h.current.Load().callbacks; c.paths[ec.Request().URL.Path] != nil {
			return c.byPath(ec)
		}
		return next(ec)
	}
}

// answerAPI answers ANY /api/{app}/{path…}: the open API gateway. The name of the
// app is taken as it stands, so that it has one spelling.
func (h *Host) answerAPI(ec echo.Context) error {
	g := h.inUse()
	if g == nil {
		return errStopping
	}
	defer g.leave()
	r := ec.Request()
	rest := strings.TrimPrefix(r.URL.EscapedPath(), "/api/")
	name, _, _ := strings.Cut(rest, "/")
	caller, o, err := h.admit(ec, g, name)
	if err != nil {
		return err
	}
	if _, _, ok := parseTraceParent(r.Header.Get("Traceparent")); !ok { // it belongs to a trace that isn't gone on with
		r.Header.Del("Tracestate")
	}
	r.Header.Set("Traceparent", traceParentOf(ec))
	o.api.Serve(ec.Response(), r, gateway.Incoming{Path: rest[len(name):], Scope: caller, Trace: traceOf(ec)})
	return nil
}

// admit finds the caller of a request and the way to WeChat of the app that it
// names. A key that doesn't have the app learns nothing of whether there is one.
func (h *Host) admit(ec echo.Context, g *generation, app string) (*gateway.Caller, outlet, error) {
	caller, err := h.ways.callers.Admit(ec.Request().Header)
	var limit *gateway.LimitError
	switch {
	case errors.As(err, &limit):
		ec.Response().Header().Set("Retry-After", strconv.Itoa(int(limit.Wait/time.Second)+1))
		return nil, outlet{}, errCallerRate
	case err != nil:
		ec.Response().Header().Set("WWW-Authenticate", "Bearer")
		return nil, outlet{}, errCaller
	case caller.For(app) != nil:
		return nil, outlet{}, errScope
	}
	o, ok := g.assembly.outlets[app]
	if !ok {
		if g.callbacks.apps[app] == nil {
			return nil, outlet{}, errNotFound
		}
		return nil, outlet{}, errNoOutlet
	}
	return caller, o, nil
}

// answerCredential answers /credential/{app}/{kind}: GET gives the credential that
// is valid, POST names one that WeChat refused and gets another. Each is logged.
func (h *Host) answerCredential(ec echo.Context) error {
	g := h.inUse()
	if g == nil {
		return errStopping
	}
	defer g.leave()
	app, kind, r := ec.Param("app"), ec.Param("kind"), ec.Request()
	caller, o, err := h.admit(ec, g, app)
	switch {
	case err != nil:
		return err
	case caller.Read(app, kind) != nil:
		return errScope
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		return wrongMethod(ec, "GET, POST")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRefused))
	if err != nil {
		return bodyError(err)
	}
	if err := bodyRead(ec); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), credentialTime)
	defer cancel()
	status, answer, err := o.credentials.Exchange(ctx, r.Method, kind, body)
	h.auditCredential(ec, caller, app, kind, err)
	ec.Response().Header().Set("Cache-Control", "no-store")
	switch status {
	case http.StatusOK:
		return ec.Blob(status, "application/json; charset=utf-8", answer)
	case http.StatusBadRequest:
		return errRefusedBody
	case http.StatusNotFound:
		return errNotFound
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		ec.Response().Header().Set("Retry-After", "5")
		return errNoCredential
	}
	return err
}

// auditCredential logs who had which credential. err holds none.
func (h *Host) auditCredential(ec echo.Context, caller *gateway.Caller, app string, kind string, err error) {
	attrs := []slog.Attr{
		slog.String("caller", caller.Name()), slog.String("app", app), slog.String("kind", kind),
		slog.String("method", ec.Request().Method), slog.String("trace", traceOf(ec)),
	}
	level, msg := slog.LevelInfo, "credential read"
	if err != nil {
		level, msg = slog.LevelError, "credential not read"
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	h.log.LogAttrs(ec.Request().Context(), level, msg, attrs...)
}
