package sdktest

import (
	"slices"
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
	outCalls    int // of API and Fetch
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

func (c *call) API(req *sdk.APIRequest, resp *sdk.APIResponse) sdk.Status {
	if c.check || c.h.opt.API == nil {
		return hostapi.Denied
	}
	wire := new(sdk.APIRequest)
	if err := wire.Decode(req.Append(nil)); err != nil {
		resp.Error = err.Error()
		return hostapi.Invalid
	}
	status, text := c.mayAsk(wire.Method, wire.Path, wire.Body, wire.Query)
	switch {
	case status != hostapi.OK:
		resp.Error = text
		return status
	case wire.Path == "":
		resp.Error = "the path doesn't begin with a slash"
		return hostapi.Invalid
	}
	return c.h.opt.API(wire, resp)
}

func (c *call) Fetch(req *sdk.FetchRequest, resp *sdk.FetchResponse) sdk.Status {
	if c.check || c.h.opt.Fetch == nil {
		return hostapi.Denied
	}
	wire := new(sdk.FetchRequest)
	if err := wire.Decode(req.Append(nil)); err != nil {
		resp.Error = err.Error()
		return hostapi.Invalid
	}
	if status, text := c.mayAsk(wire.Method, wire.Path, wire.Body, wire.Query); status != hostapi.OK {
		resp.Error = text
		return status
	}
	return c.h.opt.Fetch(wire, resp)
}

// mayAsk keeps the host's rules of both: what it would say, and why.
func (c *call) mayAsk(method, path string, body []byte, query []sdk.Field) (sdk.Status, string) {
	size := 0
	for _, f := range query {
		size += len(f.Name) + len(f.Value)
	}
	if c.outCalls++; c.outCalls > hostapi.MaxCalls {
		return hostapi.Limited, ""
	}
	switch {
	case len(path) > hostapi.MaxCallPath, len(body) > hostapi.MaxCallBody, size > hostapi.MaxCallQuery, len(query) > hostapi.MaxCallFields:
		return hostapi.TooLarge, "path, query or body is over its limit"
	case path != "" && path[0] != '/':
		return hostapi.Invalid, "the path doesn't begin with a slash"
	case !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, method):
		return hostapi.Invalid, "the method is none of GET, HEAD, POST, PUT, PATCH and DELETE"
	case len(body) > 0 && (method == "GET" || method == "HEAD"):
		return hostapi.Invalid, "a " + method + " has no body"
	}
	return hostapi.OK, ""
}
