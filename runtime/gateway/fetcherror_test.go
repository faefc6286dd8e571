package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
)

// TestMaybeExecuted: only what was surely not sent may be said not to have been
// executed.
func TestMaybeExecuted(t *testing.T) {
	u := &Upstream{name: "orders"}
	for _, tt := range []struct {
		err             *Error
		maybe, unusable bool
	}{
		{u.error(resultBusy, "", nil), false, false},
		{u.error(resultOpen, "", nil), false, false},
		{u.error(resultFenced, "", ErrFenced), false, false},
		{u.error(resultTimeout, "", nil), true, false},
		{u.error(resultUnusable, "", nil), true, true},
		{u.error(resultStatus, "", nil), true, false},
		{u.error(resultFailed, "", nil), true, false},
		{u.error(resultFailed, "", io.ErrUnexpectedEOF), true, false},
		{u.error(resultFailed, "", fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errors.New("refused")})), false, false},
		{u.error(resultFailed, "", &net.OpError{Op: "read", Err: errors.New("reset")}), true, false},
		{u.error(resultFailed, "", &tls.CertificateVerificationError{Err: errors.New("unknown")}), false, false},
	} {
		if tt.err.MaybeExecuted() != tt.maybe || tt.err.Unusable() != tt.unusable {
			t.Errorf("%s %v: %t, %t", tt.err.result, tt.err.err, tt.err.MaybeExecuted(), tt.err.Unusable())
		}
	}
}
