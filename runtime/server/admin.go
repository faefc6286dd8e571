package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/store"
)

// probeTime is how long /readyz waits for the store.
const probeTime = time.Second

// health answers /healthz and /readyz.
type health struct {
	store    store.Store
	stopping atomic.Bool
}

// alive says that the process runs.
func (h *health) alive(ec echo.Context) error { return status(ec, http.StatusOK, "ok") }

// ready is asked only once the configuration is loaded and the store was
// opened. While the store is away it stays 200 and says degraded: else a
// balancer would take out all hosts at once. It is 503 when the host stops.
func (h *health) ready(ec echo.Context) error {
	if h.stopping.Load() {
		return status(ec, http.StatusServiceUnavailable, "stopping")
	}
	ctx, cancel := context.WithTimeout(ec.Request().Context(), probeTime)
	defer cancel()
	if _, err := h.store.Get(ctx, "weft/probe", "ready"); err != nil && !errors.Is(err, store.ErrNotFound) {
		return status(ec, http.StatusOK, "degraded")
	}
	return status(ec, http.StatusOK, "ok")
}

func status(ec echo.Context, code int, text string) error {
	return ec.JSON(code, map[string]string{"status": text})
}

// route adds the paths to e.
func (h *health) route(e *echo.Echo) {
	e.Any("/healthz", readOnly(h.alive))
	e.Any("/readyz", readOnly(h.ready))
}

// readOnly refuses what is neither GET nor HEAD.
func readOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		if m := ec.Request().Method; m != http.MethodGet && m != http.MethodHead {
			return wrongMethod(ec, "GET, HEAD")
		}
		return next(ec)
	}
}

// withToken lets only requests through that show the token. Where it is empty, the
// listener is loopback: all requests come through that ask it by an address, as
// localhost or by its own name. Any other name may be that of a page whose owner has
// it lead to this machine, so that the operator's browser takes both for one site.
func withToken(token, admin string) echo.MiddlewareFunc {
	want := sha256.Sum256([]byte(token))
	own := hostOf(admin)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(ec echo.Context) error {
			if token == "" {
				host := hostOf(ec.Request().Host)
				if host != own && host != "localhost" && net.ParseIP(host) == nil {
					return errForeignName
				}
				return next(ec)
			}
			shown, ok := strings.CutPrefix(ec.Request().Header.Get("Authorization"), "Bearer ")
			got := sha256.Sum256([]byte(shown))
			if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !ok {
				ec.Response().Header().Set("WWW-Authenticate", "Bearer")
				return errToken
			}
			return next(ec)
		}
	}
}

// hostOf is the host of a HOST or HOST:PORT, in lower case and without brackets.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	}
	return strings.ToLower(host)
}

// loopback says whether only this machine reaches a HOST:PORT.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
