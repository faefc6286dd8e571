package gateway

import (
	"errors"
	"net/http"
	"time"
)

// Errors of a call that brought no answer. A CallError wraps one of them.
var (
	// ErrTimeout and ErrBroken say nothing about whether WeChat did what it was
	// asked. Who repeats such a call that changes something may do it twice.
	ErrTimeout = errors.New("no answer in time: the call may have been executed")
	ErrBroken  = errors.New("the connection broke: the call may have been executed")
	// The others were not executed.
	ErrUnreachable = errors.New("no connection to WeChat")
	ErrCircuit     = errors.New("WeChat failed time after time at this path: nothing is sent until a trial succeeds")
	ErrQuota       = errors.New("the quota of this path is used up: nothing is sent until it begins anew")
	ErrLimited     = errors.New("over the limit that is set for this path")
	ErrBusy        = errors.New("too many calls of this app at once")
	ErrToken       = errors.New("there is no access_token")
	ErrBody        = errors.New("the request's body broke off, or did not come in time")
	// ErrCanceled: the caller went away. Whether it was executed is unknown.
	ErrCanceled = errors.New("the caller went away")
)

// CallError is a call of WeChat's API without an answer. Its text holds no token,
// no query and nothing of the request but its path.
type CallError struct {
	App, Path string
	Kind      error     // one of this package's
	Until     time.Time // of ErrQuota: when the quota begins anew
	cause     error     // whose text holds nothing of the request; nil: nothing to say
}

// Error says which call it was and what became of it.
func (e *CallError) Error() string {
	text := "app " + e.App + ": " + e.Path + ": " + e.Kind.Error()
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the kind and the cause.
func (e *CallError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.cause}
}

// callKind is how an error is counted and answered.
type callKind struct {
	kind   error
	result string // label of wx_api_call_total, code of the answer
	status int
}

// kindOf finds how an error is counted and answered.
func kindOf(err error) callKind {
	for _, k := range []callKind{
		{ErrTimeout, "timeout", http.StatusGatewayTimeout},
		{ErrBroken, "broken", http.StatusBadGateway},
		{ErrUnreachable, "unreachable", http.StatusBadGateway},
		{ErrCircuit, "circuit_open", http.StatusServiceUnavailable},
		{ErrQuota, "quota_stop", http.StatusTooManyRequests},
		{ErrLimited, "limited", http.StatusTooManyRequests},
		{ErrBusy, "busy", http.StatusServiceUnavailable},
		{ErrToken, "no_token", http.StatusServiceUnavailable},
		{ErrBody, "bad_body", http.StatusBadRequest},
		{ErrCanceled, "canceled", 499},
		{ErrTarget, "not_allowed", http.StatusForbidden},
		{ErrScope, "outside_scope", http.StatusForbidden},
	} {
		if errors.Is(err, k.kind) {
			return k
		}
	}
	return callKind{err, "internal", http.StatusInternalServerError}
}
