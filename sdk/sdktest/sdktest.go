// Package sdktest runs a plugin's handler in plain go test, without wasm: one
// Harness is one app with one config, a state and a clock. It keeps the host's
// rules that a handler can meet: limits, replies that don't encode, calls that
// are not there. The sandbox's own, memory, time and grants, it does not have.
package sdktest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/sdk"
)

// Options describe the host that the handler meets. The zero value is an app
// with the config {} and the real clock.
type Options struct {
	// Config is the JSON object of the plugin's config; "" is {}.
	Config string
	// Now is the clock of the state; nil is time.Now.
	Now func() time.Time
	// Check is what the plugin gives to sdk.Check; nil: nothing is checked.
	Check func(*sdk.Call) error
	// Async makes the stage one that has no passive answer to give: setting a
	// reply is INVALID.
	Async bool
	// NoState makes state a capability that is not granted: it answers DENIED.
	NoState bool
	// API answers calls of WeChat's API, and Fetch those of the business's services:
	// what the host would put into resp, and its status. They needn't look at what
	// ABI 1 refuses. nil: the capability is not granted, and answers DENIED.
	API   func(req *sdk.APIRequest, resp *sdk.APIResponse) sdk.Status
	Fetch func(req *sdk.FetchRequest, resp *sdk.FetchResponse) sdk.Status
}

// Harness runs events through a handler, one after another. Its state lasts
// from event to event. It is for one goroutine.
type Harness struct {
	handler sdk.Handler
	opt     Options
	store   memory
	sent    int
}

// New returns a Harness for handler.
func New(handler sdk.Handler, o Options) *Harness {
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Harness{handler: handler, opt: o, store: newMemory(o.Now)}
	h.SetConfig(o.Config)
	return h
}

// SetConfig gives the app another config, "" is {}; its state stays.
func (h *Harness) SetConfig(json string) {
	if json == "" {
		json = "{}"
	}
	h.opt.Config = json
}

// Check runs Options.Check against the config, as the host does at load.
func (h *Harness) Check() error {
	if h.opt.Check == nil {
		return nil
	}
	return h.opt.Check(sdk.NewCall(&call{h: h, check: true}, nil))
}

// Log is one line that a handler logged.
type Log struct {
	Level sdk.Level
	Text  string
}

// Result is what became of one event.
type Result struct {
	// Outcome is Next, Done or Failed: where the handler returned an error or an
	// outcome that there isn't. Err is then not nil.
	Outcome sdk.Outcome
	Err     error
	// Reply is the reply after this stage: the handler's, or where it set none
	// Event.Reply as it came; nil for none. A failed call changes nothing.
	Reply *sdk.Reply
	// Annotations are those of this call, in order; none of a failed call.
	Annotations []sdk.Field
	// Logs are the lines of this call, in order.
	Logs []Log
}

// Annotation returns the value of the first annotation with this name.
func (r Result) Annotation(name string) (value string, ok bool) {
	for _, a := range r.Annotations {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// Send hands a copy of ev to the handler. What is left empty is filled in as
// the host does: an ID of its own for each Send, app 'test', type 'text',
// origin 'wechat', User from From or From from User, Attempt 1, a deadline of
// one second. The same ID twice is the same event run again. A panic of the
// handler is not caught.
func (h *Harness) Send(ev *sdk.Event) Result {
	e := h.complete(ev)
	c := &call{h: h, event: e, reply: e.Reply}
	outcome, err := h.handler(sdk.NewCall(c, e))
	if err == nil && outcome != sdk.Next && outcome != sdk.Done {
		err = fmt.Errorf("sdktest: the handler returned outcome %d; only Next and Done are allowed without an error", outcome)
	}
	if err != nil {
		return Result{Outcome: hostapi.Failed, Err: err, Reply: ev.Reply, Logs: c.logs}
	}
	return Result{Outcome: outcome, Reply: c.reply, Annotations: c.annotations, Logs: c.logs}
}

// State returns all values that the handler's state holds now: 'app:KEY' of
// State, 'user:OPENID:KEY' of UserState.
func (h *Harness) State() map[string]string { return h.store.all() }

// complete returns a copy of ev as the host would give it, by way of the wire.
func (h *Harness) complete(ev *sdk.Event) *sdk.Event {
	h.sent++
	e := new(sdk.Event)
	if err := e.Decode(ev.Append(nil)); err != nil {
		panic(fmt.Sprintf("sdktest: no host sends such an event: %v", err))
	}
	orElse(&e.ID, fmt.Sprintf("%032x", h.sent))
	orElse(&e.App, "test")
	orElse(&e.AppID, "wx0000000000000000")
	orElse(&e.Type, "text")
	orElse(&e.Origin, "wechat")
	orElse(&e.User, e.From)
	orElse(&e.From, e.User)
	orElse(&e.Format, "xml")
	orElse(&e.AppType, "official")
	if e.Attempt == 0 {
		e.Attempt = 1
	}
	if e.DeadlineMS == 0 {
		e.DeadlineMS = 1000
	}
	sum := sha256.Sum256([]byte(h.opt.Config))
	e.ConfigID = binary.BigEndian.Uint64(sum[:])
	return e
}

func orElse(s *string, value string) {
	if *s == "" {
		*s = value
	}
}
