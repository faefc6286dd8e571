package gateway

import (
	"crypto/tls"
	"errors"
	"net"
)

// MaybeExecuted tells whether the upstream may have done what it was asked, though
// there is no answer to use: false where nothing was sent.
func (e *Error) MaybeExecuted() bool {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	switch e.result {
	case resultBusy, resultOpen, resultFenced:
		return false
	case resultFailed:
		return !(errors.As(e.err, &network) && network.Op == "dial" || errors.As(e.err, &certificate))
	}
	return true
}

// Unusable tells whether there was an answer that is too large, or compressed.
func (e *Error) Unusable() bool { return e.result == resultUnusable }
