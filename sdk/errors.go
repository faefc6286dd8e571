package sdk

import "github.com/weft-dev/weft/hostapi"

// StatusError is a call that the host did not do.
type StatusError struct {
	Call   string // reply, annotate, config, or 'state get', 'api /cgi-bin/…' and the like
	Status Status // never OK
	Text   string // what the host says about it; may be empty
	// MaybeExecuted says that a call of API or Fetch went out and may have been
	// executed, though no answer came: who repeats it may do it twice.
	MaybeExecuted bool
}

// Error returns the call, the status's name and the text.
func (e *StatusError) Error() string {
	s := e.Call + ": " + e.Status.String()
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.MaybeExecuted {
		s += " (it may have been executed)"
	}
	return s
}

// statusError returns nil for OK. A status that this SDK doesn't know is an
// error too.
func statusError(call string, status Status, text string) error {
	if status == hostapi.OK {
		return nil
	}
	return &StatusError{Call: call, Status: status, Text: text}
}
