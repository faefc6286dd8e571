package server

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// keyRoutes are the paths of who verifies sessions.
func (h *Host) keyRoutes(public *echo.Echo) {
	public.Any("/.well-known/jwks.json", h.answerKeys)
}

// answerKeys answers GET /.well-known/jwks.json: the public keys of sessions, for
// scripts of any origin, too.
func (h *Host) answerKeys(ec echo.Context) error {
	if m := ec.Request().Method; m != http.MethodGet && m != http.MethodHead {
		return wrongMethod(ec, "GET, HEAD")
	}
	header := ec.Response().Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cache-Control", "public, max-age=60")
	return answer(ec, "application/jwk-set+json", h.identities.sessions.JWKS())
}
