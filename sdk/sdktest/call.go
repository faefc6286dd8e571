package sdktest

import (
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/sdk"
)

// call is the host of one call.
type call struct {
	h     *Harness
	event *sdk.Event // nil in a check
	check bool

	reply       *sdk.Reply
	annotations []sdk.Field
	logs        []Log
	stateOps    int
}

func (c *call) Log(level sdk.Level, text string) { c.logs = append(c.logs, Log{level, text}) }

func (c *call) Config() ([]byte, bool) { return []byte(c.h.opt.Config), true }

func (c *call) Reply(r *sdk.Reply) sdk.Status {
	if c.check {
		return hostapi.Denied
	}
	if c.h.opt.Async {
		return hostapi.Invalid
	}
	if r == nil {
		c.reply = nil
		return hostapi.OK
	}
	msg := r.Append(nil)
	if len(msg) > hostapi.MaxReply {
		return hostapi.TooLarge
	}
	sent := new(sdk.Reply)
	if err := sent.Decode(msg); err != nil || sent.Kind() == "" {
		return hostapi.Invalid
	}
	if k := sent.Kind(); c.event.AppType == "miniprogram" && k != "transfer" && k != "raw" {
		return hostapi.Unavailable
	}
	c.reply = sent
	return hostapi.OK
}

func (c *call) Annotate(name, value string) sdk.Status {
	switch {
	case c.check:
		return hostapi.Denied
	case len(name) > hostapi.MaxAnnotationName, len(value) > hostapi.MaxAnnotationValue:
		return hostapi.TooLarge
	case name == "", !utf8.ValidString(name), !utf8.ValidString(value):
		return hostapi.Invalid
	case len(c.event.Attrs)+len(c.annotations) >= hostapi.MaxAnnotations:
		return hostapi.Limited
	}
	c.annotations = append(c.annotations, sdk.Field{Name: name, Value: value})
	return hostapi.OK
}

func (c *call) State(req *hostapi.StateRequest, resp *hostapi.StateResponse) sdk.Status {
	if c.check || c.h.opt.NoState {
		return hostapi.Denied
	}
	if c.stateOps++; c.stateOps > hostapi.MaxStateOps {
		return hostapi.Limited
	}
	wire := new(hostapi.StateRequest)
	if err := wire.Decode(req.Append(nil)); err != nil {
		resp.Error = err.Error()
		return hostapi.Invalid
	}
	return c.h.store.run(c.event, wire, resp)
}
