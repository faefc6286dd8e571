package server

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"
)

// httpError is an error as a client gets it. Its message holds no secret and
// nothing of the request.
type httpError struct {
	status  int
	code    string
	message string
}

func (e *httpError) Error() string { return e.message }

// The errors of the callback paths.
var (
	errNotFound     = &httpError{http.StatusNotFound, "not_found", "there is no such app or path"}
	errMethod       = &httpError{http.StatusMethodNotAllowed, "method_not_allowed", "the path does not take this method"}
	errNotAuthentic = &httpError{http.StatusForbidden, "not_authentic", "the request is not authentic"}
	errMode         = &httpError{http.StatusBadRequest, "wrong_mode", "the callback is in another mode than the app's"}
	errTooLarge     = &httpError{http.StatusRequestEntityTooLarge, "too_large", "the body has over 1 MiB"}
	errSlow         = &httpError{http.StatusRequestTimeout, "too_slow", "the body did not come in time"}
	errBody         = &httpError{http.StatusBadRequest, "bad_body", "the body ended early"}
	// errBroken answers for an app whose plugin config is wrong.
	errBroken = &httpError{http.StatusServiceUnavailable, "app_unavailable", "the app's configuration is wrong"}
	// errAgain makes WeChat send the callback once more.
	errAgain = &httpError{http.StatusInternalServerError, "again", "not now, send it again"}
	// errInternal is a mistake of ours. An authentic callback gets it, too: its
	// event was not handled, and WeChat sends it again.
	errInternal = &httpError{http.StatusInternalServerError, "internal", "an error of the host"}
	errStopping = &httpError{http.StatusServiceUnavailable, "stopping", "the host stops"}
	errToken    = &httpError{http.StatusUnauthorized, "unauthorized", "a bearer token is needed: server.admin_token"}
	// errCrossOrigin answers a browser that a page of another site sends.
	errCrossOrigin = &httpError{http.StatusForbidden, "cross_origin", "pages of other sites may not do this"}
	// errForeignName answers who asks the listener without a token by a name that is not its own.
	errForeignName = &httpError{http.StatusMisdirectedRequest, "foreign_name", "without server.admin_token this is asked by its address, as localhost or by the name in server.admin"}
	errStoreAway   = &httpError{http.StatusServiceUnavailable, "store_unavailable", "the store can't be reached: look at the log"}
)

// errorBody is the JSON of an error.
type errorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Trace   string `json:"trace"`
	} `json:"error"`
}

// errorHandler answers what a handler returned as an error. What is no
// httpError is logged and answered as errInternal.
func errorHandler(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, ec echo.Context) {
		if ec.Response().Committed {
			return
		}
		var he *httpError
		if !errors.As(err, &he) {
			he = fromEcho(err)
		}
		if he == errInternal {
			log.LogAttrs(ec.Request().Context(), slog.LevelError, "request failed",
				slog.String("trace", traceOf(ec)), slog.String("error", err.Error()))
		}
		var body errorBody
		body.Error.Code, body.Error.Message, body.Error.Trace = he.code, he.message, traceOf(ec)
		if err := ec.JSON(he.status, body); err != nil {
			log.LogAttrs(ec.Request().Context(), slog.LevelDebug, "answer not written", slog.String("trace", traceOf(ec)))
		}
	}
}

// wrongMethod answers a method that the path does not take.
func wrongMethod(ec echo.Context, allow string) error {
	ec.Response().Header().Set("Allow", allow)
	return errMethod
}

// fromEcho maps what echo's router answers by itself.
func fromEcho(err error) *httpError {
	var ee *echo.HTTPError
	if errors.As(err, &ee) {
		switch ee.Code {
		case http.StatusNotFound:
			return errNotFound
		case http.StatusMethodNotAllowed:
			return errMethod
		}
	}
	return errInternal
}
