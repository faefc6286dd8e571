package sdk

import (
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// State is what a plugin remembers. It needs the capability state in
// plugin.yaml and the grant in pipeline.yaml; declared as optional and not
// granted, every call is a StatusError with DENIED.
//
// A write has reached the disk when its call returns. Instances run side by
// side, so a value that depends on the one before is written with Add or
// CompareAndSet. Keys are 1 to 256 bytes of UTF-8, values at most 64 KiB
// (TOO_LARGE), an event makes at most 1,024 calls (LIMITED).
type State struct {
	call  *Call
	scope hostapi.StateScope
}

// State returns the state of the plugin in the event's app.
func (c *Call) State() *State { return &State{c, hostapi.ScopeApp} }

// UserState returns the state of the plugin in the event's app for Event.User
// alone. An event without a user answers INVALID.
func (c *Call) UserState() *State { return &State{c, hostapi.ScopeUser} }

// StateOptions change a write. The zero value means: kept for ever, applied
// each time.
type StateOptions struct {
	// TTL is how long the value is kept; 0: for ever. Parts of a millisecond
	// count as a whole one. Add takes it when it makes the counter and leaves it
	// alone otherwise.
	TTL time.Duration
	// Once, at most 64 bytes, names a Set, Add or Delete that is applied at most
	// once for this event: when the host runs the event again, after a crash or
	// an error, the call gets the first response. CompareAndSet with it is INVALID:
	// run again, it sees for itself what is there.
	Once string
}

// Get returns the value of key. An empty value that is there is found.
func (s *State) Get(key string) (value []byte, found bool, err error) {
	resp, status, err := s.do("get", StateOptions{}, hostapi.StateRequest{Op: hostapi.StateGet, Key: key})
	if err != nil || status == hostapi.NotFound {
		return nil, false, err
	}
	return present(resp.Value), true, nil
}

// Set stores value under key.
func (s *State) Set(key string, value []byte, o StateOptions) error {
	_, _, err := s.do("set", o, hostapi.StateRequest{Op: hostapi.StateSet, Key: key, Value: value})
	return err
}

// Delete removes key, and reports whether there was a value. The TTL of o says
// nothing.
func (s *State) Delete(key string, o StateOptions) (found bool, err error) {
	resp, status, err := s.do("delete", o, hostapi.StateRequest{Op: hostapi.StateDelete, Key: key})
	return err == nil && status == hostapi.OK && resp.Found, err
}

// Add adds delta, which may be negative, to the counter key and returns it as
// it is afterwards. A counter that is not there is 0. It is kept as decimal
// text, so Get reads it too; a value that is no such text, or a sum past 64
// bits, is INVALID.
func (s *State) Add(key string, delta int64, o StateOptions) (int64, error) {
	resp, _, err := s.do("add", o, hostapi.StateRequest{Op: hostapi.StateAdd, Key: key, Delta: delta})
	return resp.Number, err
}

// CompareAndSet stores value under key if what is there is expect, nil for
// nothing. Where it is not, ok is false and current is what is there, nil for
// nothing.
func (s *State) CompareAndSet(key string, expect, value []byte, o StateOptions) (ok bool, current []byte, err error) {
	resp, status, err := s.do("compare-and-set", o, hostapi.StateRequest{
		Op: hostapi.StateCompareAndSet, Key: key, Value: value, Expect: expect, ExpectAbsent: expect == nil,
	})
	switch {
	case err != nil:
		return false, nil, err
	case status == hostapi.OK:
		return true, nil, nil
	case resp.Found:
		return false, present(resp.Value), nil
	default:
		return false, nil, nil
	}
}

// do runs one request. The statuses NOT_FOUND of get and delete and CONFLICT of
// compare-and-set are answers; every other one is an error.
func (s *State) do(name string, o StateOptions, req hostapi.StateRequest) (resp hostapi.StateResponse, status Status, err error) {
	req.Scope = s.scope
	req.TTLMS = milliseconds(o.TTL)
	req.Once = o.Once
	status = hostState(s.call.host, &req, &resp)
	switch {
	case status == hostapi.NotFound && (req.Op == hostapi.StateGet || req.Op == hostapi.StateDelete):
	case status == hostapi.Conflict && req.Op == hostapi.StateCompareAndSet:
	default:
		err = statusError("state "+name, status, resp.Error)
	}
	return resp, status, err
}

// milliseconds rounds d away from zero, so that neither a short time nor a
// negative one becomes 'for ever'.
func milliseconds(d time.Duration) int64 {
	ms := d.Milliseconds()
	switch rest := d % time.Millisecond; {
	case rest > 0:
		ms++
	case rest < 0:
		ms--
	}
	return ms
}

// present returns b, and an empty slice that is not nil for nil.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
