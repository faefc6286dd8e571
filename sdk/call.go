package sdk

import (
	"fmt"
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
)

// Host is what a Call talks to: the real host in a plugin, a fake in a test.
// A StateHost keeps state too, an APIHost and a FetchHost have these calls.
//
// They stand apart because each call that a module links is an import that
// its manifest has to declare: one that keeps no state must not import it.
type Host interface {
	// Log writes a line to the host's log.
	Log(level Level, text string)
	// Config returns the JSON of the config in force, false where there is none.
	Config() (json []byte, ok bool)
	// Reply sets the reply; nil takes it back. It keeps nothing of r.
	Reply(r *Reply) Status
	// Annotate adds an annotation.
	Annotate(name, value string) Status
}

// StateHost is a Host with the capability state.
type StateHost interface {
	Host
	// State runs req and stores the response in resp, which is empty before.
	State(req *hostapi.StateRequest, resp *hostapi.StateResponse) Status
}

// APIHost is a Host with the capability api.
type APIHost interface {
	Host
	// API runs req and stores the response in resp, which is empty before.
	API(req *APIRequest, resp *APIResponse) Status
}

// FetchHost is a Host with the capability fetch.
type FetchHost interface {
	Host
	// Fetch runs req and stores the response in resp, which is empty before.
	Fetch(req *FetchRequest, resp *FetchResponse) Status
}

// Call is one call of a Handler. It is for the goroutine that was given it.
type Call struct {
	// Event is what the call is about; never nil. In Check it is empty.
	Event *Event

	host Host
}

// NewCall makes a Call for tests of functions that take one; sdktest makes the
// Call for a whole handler. A nil ev is an empty event.
func NewCall(host Host, ev *Event) *Call {
	if ev == nil {
		ev = new(Event)
	}
	return &Call{Event: ev, host: host}
}

// Reply sets r as the passive answer, in place of what was set before. It may be
// changed afterwards. The encoded r is at most 64 KiB (TOO_LARGE); it has
// exactly one body and UTF-8 in its strings, and the stage is one that can
// answer: not async, not always (INVALID).
func (c *Call) Reply(r *Reply) error {
	if r.Kind() == "" {
		return &StatusError{Call: "reply", Status: hostapi.Invalid, Text: "the reply has no body"}
	}
	return statusError("reply", c.host.Reply(r), "")
}

// ReplyText answers with a text; see Reply.
func (c *Call) ReplyText(content string) error {
	return c.Reply(&Reply{Text: &Text{Content: content}})
}

// ReplyNews answers with articles; see Reply. WeChat shows one article to most
// messages.
func (c *Call) ReplyNews(articles ...Article) error {
	return c.Reply(&Reply{News: &News{Articles: articles}})
}

// NoReply takes back the reply that was set so far, also one of an earlier
// stage.
func (c *Call) NoReply() error { return statusError("reply", c.host.Reply(nil), "") }

// Annotate adds an annotation, which later stages see in Event.Attrs and
// pipeline.yaml in `when`. Name and value are at most 1 KiB each, an event has
// at most 64.
func (c *Call) Annotate(name, value string) error {
	return statusError("annotate", c.host.Annotate(name, value), "")
}

// ConfigJSON returns the config of the event's app, or in Check the one to
// check, as a JSON object. The slice is the caller's. Config gives it parsed,
// and once for many events.
func (c *Call) ConfigJSON() ([]byte, error) {
	json, ok := c.host.Config()
	if !ok {
		return nil, &StatusError{Call: "config", Status: hostapi.Denied, Text: "there is no config outside of an event and a check"}
	}
	return json, nil
}

// Debug writes a line to the host's log; a line is cut at 4 KiB. The host knows
// plugin, app and event, so the text need not say them; it should not hold
// personal data.
func (c *Call) Debug(format string, args ...any) { c.log(hostapi.LevelDebug, format, args) }

// Info is Debug at level info.
func (c *Call) Info(format string, args ...any) { c.log(hostapi.LevelInfo, format, args) }

// Warn is Debug at level warn.
func (c *Call) Warn(format string, args ...any) { c.log(hostapi.LevelWarn, format, args) }

// Error is Debug at level error. It does not make the call fail.
func (c *Call) Error(format string, args ...any) { c.log(hostapi.LevelError, format, args) }

func (c *Call) log(level Level, format string, args []any) {
	c.host.Log(level, cut(fmt.Sprintf(format, args...)))
}

// cut returns at most MaxText bytes of s, whole characters.
func cut(s string) string {
	if len(s) <= hostapi.MaxText {
		return s
	}
	n := hostapi.MaxText
	for n > hostapi.MaxText-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
