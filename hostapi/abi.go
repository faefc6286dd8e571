// Package hostapi is the contract between the Weft host and a plugin: the
// constants of ABI 1, the messages of weft.proto as Go types, and their codec.
//
// It imports the standard library only, so that the host and Go guests share
// it. ABI.md draws the memory of every call; weft.proto is the contract for all
// other languages. The ABI changes only by adding.
package hostapi

import "strconv"

// Module is the name that a plugin imports the host's calls from.
const Module = "weft"

// Exports of a plugin.
const (
	// ExportMarker says 'I speak ABI 1'. It is never called.
	ExportMarker = "weft_abi_1"
	// ExportBuffer (len i32) -> i32 gives the address of a buffer of at least
	// len bytes that stays valid until the next weft_buffer; 0 means no.
	ExportBuffer = "weft_buffer"
	// ExportHandle (ptr i32, len i32) -> i32 handles the Event at ptr and
	// returns an Outcome.
	ExportHandle = "weft_handle"
	// ExportStart () -> i32, optional: once an instance, before its first event.
	ExportStart = "weft_start"
	// ExportCheck () -> i32, optional: once for each merged config, at load.
	ExportCheck = "weft_check"
	// ExportInitialize () -> (), optional: the start of a WASI reactor.
	ExportInitialize = "_initialize"
)

// Limits of the ABI, in bytes unless they say otherwise.
const (
	InitialBuffer      = 16384     // what weft_buffer is asked for first
	MaxReply           = 64 << 10  // an encoded Reply
	MaxAnnotations     = 64        // annotations an event, a count
	MaxAnnotationName  = 1 << 10   // the name of an annotation
	MaxAnnotationValue = 1 << 10   // the value of an annotation
	MaxText            = 4 << 10   // a reason or a log line; longer is cut
	MaxStateKey        = 256       // a key of state
	MaxStateValue      = 64 << 10  // a value of state
	MaxStateOnce       = 64        // a once name of state
	MaxStateOps        = 1024      // state operations an event, a count
	DefaultStateQuota  = 64 << 20  // state of one plugin in one app
	MaxCalls           = 64        // calls of api and fetch an event, a count
	MaxCallBody        = 256 << 10 // the body of a request of api or fetch
	MaxCallAnswer      = 1 << 20   // the body of a response of api
	MaxFetchAnswer     = 256 << 10 // the body of a response of fetch
	MaxCallPath        = 512       // the path of a call, as it is written
	MaxCallQuery       = 8 << 10   // names and values of its query, in all
	MaxCallHeaders     = 8 << 10   // names and values of its headers, in all
	MaxCallFields      = 64        // fields of its query, and of its headers, a count
	MaxCallKey         = 128       // its idempotency key
)

// Outcome is what weft_handle returns.
type Outcome int32

// The outcomes. Any other value is an error, and the instance is discarded.
const (
	Next   Outcome = 0 // go on with the next stage
	Done   Outcome = 1 // stop the pipeline here
	Failed Outcome = 2 // an error; the reason was given with fail
)

// Status is what a host call answers.
type Status int32

// The statuses of host calls. A guest treats one that it doesn't know as an
// error.
const (
	OK          Status = 0
	NotFound    Status = 1 // no such key
	Conflict    Status = 2 // compare-and-set lost
	Denied      Status = 3 // declared as optional and not granted, or outside the grant
	Invalid     Status = 4 // the request does not decode or breaks a rule; the response holds the text
	TooLarge    Status = 5 // over a limit of the grant
	Limited     Status = 6 // over a rate or a quota
	Unavailable Status = 7 // store, queue or upstream out of reach, or circuit open
	Timeout     Status = 8 // the event's time ran out in the call
	Upstream    Status = 9 // WeChat answered with an errcode; the response holds it
)

// String returns the status's name in the documents, such as NOT_FOUND, or its
// number.
func (s Status) String() string {
	names := [...]string{"OK", "NOT_FOUND", "CONFLICT", "DENIED", "INVALID", "TOO_LARGE", "LIMITED", "UNAVAILABLE", "TIMEOUT", "UPSTREAM"}
	if s >= 0 && int(s) < len(names) {
		return names[s]
	}
	return strconv.Itoa(int(s))
}

// Level is the level of a log line.
type Level int32

// The levels of log.
const (
	LevelDebug Level = 0
	LevelInfo  Level = 1
	LevelWarn  Level = 2
	LevelError Level = 3
)
