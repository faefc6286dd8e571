package hostapi

// StateOp is an operation of the host call state.
type StateOp int32

// The operations of state.
const (
	StateGet           StateOp = 1
	StateSet           StateOp = 2
	StateDelete        StateOp = 3
	StateAdd           StateOp = 4
	StateCompareAndSet StateOp = 5
)

// StateScope says what a key of state belongs to, beside the plugin and the app.
type StateScope int32

// The scopes of state.
const (
	ScopeApp  StateScope = 0 // one value for all users of the app
	ScopeUser StateScope = 1 // one value for each user; INVALID for an event without a user
)

// StateRequest is the request of the host call state.
type StateRequest struct {
	Op    StateOp
	Scope StateScope
	Key   string // 1 to MaxStateKey bytes
	Value []byte // set, compare-and-set: the new value
	// TTLMS is how long the value is kept, in milliseconds; 0: for ever. For
	// add it holds when the counter is made, and is left alone otherwise.
	TTLMS int64
	Delta int64 // add
	// Expect is the value that compare-and-set must find. ExpectAbsent says
	// that it must find none; Expect is then not looked at.
	Expect       []byte
	ExpectAbsent bool
	// Once names a set, add or delete that is applied at most once an event,
	// plugin and name; a repeat gets the first response. At most MaxStateOnce bytes.
	Once string
}

// StateResponse is the response of the host call state.
//
// A counter is kept as decimal text, so get reads it too; add to a value that
// is not such a text, or past 64 bits, is INVALID.
type StateResponse struct {
	Value  []byte // get: the value; CONFLICT: the value that was there
	Number int64  // add: the counter after it
	Found  bool   // get, delete: there was a value; CONFLICT: Value is one
	Error  string // INVALID: what is wrong
}
