package pipeline

import (
	"context"

	"github.com/weft-dev/weft/hostapi"
)

// Plugin is what a stage runs. Its methods are called by many goroutines at
// once.
type Plugin interface {
	// Handle runs the plugin on one event. It returns soon after ctx ends; ctx
	// carries the event's own deadline, the plugin's time limit is the plugin's
	// to keep. The call is the caller's again when Handle returns.
	//
	// An error leaves neither reply nor annotations. Where it has a method
	// Reason() string, that is its label in weft_stage_errors_total (error, trap,
	// timeout, fuel, memory, busy, fused, upstream); else it counts as error. Where
	// it has a method Blameless() bool, true says that it tells nothing of the
	// plugin: it doesn't count against a canary; where it has a method General() bool,
	// true says that for now every call ends so: it is logged now and then.
	Handle(ctx context.Context, call *Call) (Result, error)
	// Wants says whether the plugin can use events of this type and event; a
	// stage never calls it with others.
	Wants(typ, event string) bool
}

// Call is what a plugin gets. Nothing in it may be changed, and neither it nor
// its slices may be kept after Handle has returned.
type Call struct {
	Event *hostapi.Event // without Attrs and Reply
	Attrs []hostapi.Field
	Reply *hostapi.Reply // set by earlier stages; nil where none was
	// Passive says that a reply can be set: false under always.
	Passive bool
	// Layer makes the call one of a shadow: it has this state, over Before where
	// that is set, nothing that it does has an effect beyond, and whether it fails
	// tells nothing of the plugin in other calls. nil: an ordinary call.
	Layer *Layer
	// Before, in an ordinary call, is to be filled in with the state as the call
	// finds it; nil: nobody asks.
	Before *Before
}

// Result is what a plugin answers.
type Result struct {
	Outcome  hostapi.Outcome // Next or Done
	Reply    *hostapi.Reply
	ReplySet bool  // the call set Reply, or took it back (nil)
	Fuel     int64 // what the call used, in units of an instruction; 0: not known
	// Withheld says that a shadow's call wanted to do something beyond, and was not
	// let: what it came to tells nothing. It counts beside an error, too.
	Withheld    bool
	Annotations []hostapi.Field // at most hostapi.MaxAnnotations an event: the plugin's side keeps the bound
}
