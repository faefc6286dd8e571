package sandbox

import (
	"github.com/weft-dev/weft/hostapi"
)

// Call is one event for a plugin. Handle doesn't change what it points to.
type Call struct {
	Event *hostapi.Event
	// Attrs are the annotations of earlier stages, and Reply the reply that
	// they set; the guest sees these and not the Event's own.
	Attrs []hostapi.Field
	Reply *hostapi.Reply
	// Passive says that there is a passive answer to give: without it the host
	// call reply answers INVALID. In a mini program (Event.AppType) only
	// transfer and raw are passive.
	Passive bool
	// State serves the host call state in this call, where it is granted; nil:
	// the plugin's own.
	State State
	// API and Fetch serve the host calls of these names in this call, where they are
	// granted; nil: they answer UNAVAILABLE. They know what the plugin may ask for.
	API   API
	Fetch Fetcher
	// Aside keeps the call apart from the others of the plugin: whether it fails
	// tells nothing of these, and they don't keep it from being made. Calls aside
	// have a failure policy of their own, and instances of their own, half as many,
	// so that nothing that they leave in a guest's memory reaches the others, and no
	// other waits for one of them.
	Aside bool
}

// Result is what a call came to.
type Result struct {
	Outcome     hostapi.Outcome // Next or Done
	Reply       *hostapi.Reply  // what the call set; nil where it set none or took it back
	ReplySet    bool            // the call set a reply or took it back: Reply counts
	Annotations []hostapi.Field // in the order they were made
	// Fuel is what weft_handle used, in units of an instruction: the same for
	// the same history of an instance.
	Fuel int64
}

// appMiniProgram is Event.AppType of a mini program.
const appMiniProgram = "miniprogram"

// phase says which export of the guest runs, and so which host calls it may
// make.
type phase int

const (
	phaseStart  phase = iota // _initialize, weft_start, weft_buffer
	phaseCheck               // weft_check
	phaseHandle              // weft_handle
)

// callState is what host calls look at and leave behind, from one call into
// the guest to the next.
type callState struct {
	phase  phase
	config []byte // what config copies; nil: -1

	// In phaseHandle, and in the weft_buffer before it.
	event    *hostapi.Event
	earlier  int // annotations of earlier stages
	passive  bool
	state    State // of this call; nil: the plugin's own
	stateOps int
	api      API
	fetch    Fetcher
	aside    bool
	outCalls int    // of api and fetch
	answered int64  // bytes of responses so far
	response []byte // the last response that did not fit
	kept     bool   // response is one

	result Result
	reason string // given with fail
	failed bool   // fail was called
	lines  int    // log lines so far
	logged int64  // bytes of them
}

// failText is the reason that the guest gave, or words for none.
func (c *callState) failText() string {
	if c.failed && c.reason != "" {
		return c.reason
	}
	return "it gave no reason"
}
