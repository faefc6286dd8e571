// Package sdk is for writing Weft plugins in Go. A plugin is a package main
// that is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared
//
// and registers its handler in an init function, because a module of this kind
// has no main that runs. README.md goes from an empty folder to an answer;
// package sdktest tests a handler with plain go test.
//
// In a plugin everything happens on one thread and within one call of the
// host: a goroutine that outlives its handler stands still until the next
// event, and calls of the host that it then makes belong to that event.
package sdk

import "github.com/weft-dev/weft/hostapi"

// The messages of the host API under the names that a plugin uses.
type (
	Event    = hostapi.Event
	Field    = hostapi.Field
	Reply    = hostapi.Reply
	Text     = hostapi.Text
	Media    = hostapi.Media
	Video    = hostapi.Video
	Music    = hostapi.Music
	News     = hostapi.News
	Article  = hostapi.Article
	Transfer = hostapi.Transfer
	Raw      = hostapi.Raw
	Outcome  = hostapi.Outcome
	Status   = hostapi.Status
	Level    = hostapi.Level
)

// What a Handler returns.
const (
	Next = hostapi.Next // the pipeline goes on with the next stage
	Done = hostapi.Done // the pipeline stops here
)

// Handler handles one event. With an error the stage has failed, whatever the
// outcome: the host drops the reply and the annotations of this call, logs the
// error and does what on_error of the stage says. An outcome other than Next
// and Done is an error too. A panic ends the instance; the host starts another
// for later events.
//
// The Call is good until the Handler returns.
type Handler func(c *Call) (Outcome, error)

// program is what a plugin registered.
type program struct {
	handle Handler
	start  func() error
	check  func(*Call) error
}

// guest is this plugin. A wasm export is a function without a receiver, so what
// it works on has to be a variable of the package.
var guest program

// Handle registers the plugin's handler. A plugin calls it once, in init.
func Handle(h Handler) { guest.handle = h }

// Start registers what runs once for each instance before its first event,
// such as building tables. An error refuses the plugin at load. No call of the
// host is possible in it, and it has 2 seconds.
func Start(f func() error) { guest.start = f }

// Check registers what looks at a config, at load and for what the schema in
// plugin.yaml can't say. It runs once for each distinct config, which ConfigJSON
// and Config give; the Call's Event is empty, and of the other calls only logging
// does something. An error refuses the config, so it should say what to change,
// and not quote a secret.
func Check(f func(c *Call) error) { guest.check = f }
