package server

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/labstack/echo/v4"
)

// traceKey is where a request's trace stands in its echo.Context.
const traceKey = "weft.trace"

// trace is a W3C trace context: the caller's trace or a new one, and in it a
// span of ours.
type trace struct{ id, span, flags string }

// withTrace takes the caller's traceparent over, or makes one.
func withTrace(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		ec.Set(traceKey, newTrace(ec.Request().Header.Get("Traceparent")))
		return next(ec)
	}
}

// newTrace goes on with the trace of header where that is a valid traceparent
// (https://www.w3.org/TR/trace-context/), else starts one.
func newTrace(header string) trace {
	var random [24]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	text := hex.EncodeToString(random[:])
	t := trace{id: text[:32], span: text[32:], flags: "00"}
	if id, flags, ok := parseTraceParent(header); ok {
		t.id, t.flags = id, flags
	}
	return t
}

func parseTraceParent(s string) (id, flags string, ok bool) {
	// A later version may have more after the flags.
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return "", "", false
	}
	if len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return "", "", false
	}
	id, span, flags := s[3:35], s[36:52], s[53:55]
	if !isHex(s[:2]) || !isHex(id) || !isHex(span) || !isHex(flags) {
		return "", "", false
	}
	if strings.Trim(id, "0") == "" || strings.Trim(span, "0") == "" {
		return "", "", false
	}
	return id, flags, true
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

// traceOf returns the request's trace id, for errors and logs.
func traceOf(ec echo.Context) string {
	t, _ := ec.Get(traceKey).(trace)
	return t.id
}

// traceParentOf returns the traceparent that an event of the request carries.
func traceParentOf(ec echo.Context) string {
	t, _ := ec.Get(traceKey).(trace)
	return "00-" + t.id + "-" + t.span + "-" + t.flags
}
