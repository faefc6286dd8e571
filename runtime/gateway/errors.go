package gateway

import "strings"

// maxErrorText is the most of an Error, in bytes.
const maxErrorText = 300

// result is what became of a request.
type result uint8

const (
	resultOK       result = iota
	resultStatus          // another status than 200
	resultTimeout         // no answer in time
	resultBusy            // no connection came free in time
	resultOpen            // the circuit is open: nothing was sent
	resultFenced          // the address is not allowed
	resultFailed          // no connection, or it broke
	resultUnusable        // an answer that is too large, or compressed
	results
)

func (r result) String() string {
	return [...]string{"ok", "status", "timeout", "busy", "open", "fenced", "failed", "unusable"}[r]
}

// Error is a request that brought no answer to use. It holds nothing of the
// request, and of the upstream no more than its name and its address.
type Error struct {
	upstream string
	result   result
	status   int // of resultStatus
	text     string
	err      error
}

func (u *Upstream) error(r result, text string, err error) *Error {
	if r == resultOpen {
		text = "it is away: nothing is sent until a trial succeeds"
	}
	return &Error{upstream: u.name, result: r, text: text, err: err}
}

// Error says which upstream it was and what became of the request.
func (e *Error) Error() string {
	text := e.text
	if e.err != nil {
		text = e.err.Error()
	}
	return "upstream " + e.upstream + ": " + shortened(text)
}

// shortened is a text of at most maxErrorText bytes, about.
func shortened(text string) string {
	if len(text) > maxErrorText { // a certificate's names stand in it
		return strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}

// Unwrap returns the cause, nil where there is none but the upstream.
func (e *Error) Unwrap() error { return e.err }

// Reason is the label of weft_stage_errors_total: timeout, busy or upstream.
func (e *Error) Reason() string {
	switch e.result {
	case resultTimeout, resultBusy:
		return e.result.String()
	}
	return "upstream"
}

// General says that every request to the upstream ends so until a trial succeeds.
func (e *Error) General() bool { return e.result == resultOpen }
