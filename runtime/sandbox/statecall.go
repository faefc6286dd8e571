package sandbox

import (
	"context"
	"fmt"

	"github.com/weft-dev/weft/hostapi"
)

// State is what the host call state runs on. The sandbox has checked the
// request against the limits of ABI 1 before it comes here.
type State interface {
	// State does one operation and fills resp, which is empty. It returns when
	// a change is durable, or when ctx ends: TIMEOUT. A store that can't be
	// reached is UNAVAILABLE; INVALID goes with resp.Error.
	State(ctx context.Context, scope StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status
}

// StateCall says for whom an operation is made.
type StateCall struct {
	Plugin  string // whose keys they are: a name in pipeline.yaml
	App     string // name in pipeline.yaml
	User    string // an openid; empty where the event has no user
	EventID string // of the event, 32 hex digits
	Quota   int64  // bytes that the plugin may keep in the app
}

// maxStateRequest bounds an encoded StateRequest: two values, key, once name
// and room for the rest. What is longer is not decoded.
const maxStateRequest = 2*hostapi.MaxStateValue + 4096

// callStateForm is state(req_ptr, req_len, out_ptr, out_cap) -> status << 32 | length.
func callStateForm(in *instance, stack []uint64) {
	if in.call.phase != phaseHandle || !in.plugin.grants.State {
		in.deny(stack)
		return
	}
	raw, room := in.request("state", stack)
	var resp hostapi.StateResponse
	status := in.state(raw, &resp)
	in.answer(stack, room, status, &resp)
}

func (in *instance) state(raw []byte, resp *hostapi.StateResponse) hostapi.Status {
	c := &in.call
	if c.stateOps >= hostapi.MaxStateOps || c.answered >= in.plugin.limits.Response {
		return hostapi.Limited
	}
	c.stateOps++
	if len(raw) > maxStateRequest {
		return hostapi.TooLarge
	}
	var req hostapi.StateRequest
	if err := req.Decode(raw); err != nil {
		resp.Error = cleanText([]byte(err.Error()))
		return hostapi.Invalid
	}
	if status := checkState(&req, c.event.User, resp); status != hostapi.OK {
		return status
	}
	if in.bound.over() != nil {
		return hostapi.Timeout
	}
	ctx, cancel := in.bound.context()
	defer cancel()
	scope := StateCall{Plugin: in.plugin.stateOf, App: c.event.App, User: c.event.User, EventID: c.event.ID, Quota: in.plugin.limits.State}
	serves := c.state
	if serves == nil {
		serves = in.plugin.state
	}
	var status hostapi.Status
	in.bound.wait(func() { status = serves.State(ctx, scope, &req, resp) })
	return status
}

// checkState holds a request against ABI 1; what is INVALID is told in
// resp.Error.
func checkState(req *hostapi.StateRequest, user string, resp *hostapi.StateResponse) hostapi.Status {
	switch {
	case len(req.Key) > hostapi.MaxStateKey,
		len(req.Value) > hostapi.MaxStateValue,
		len(req.Expect) > hostapi.MaxStateValue,
		len(req.Once) > hostapi.MaxStateOnce:
		return hostapi.TooLarge
	}
	if text := wrongState(req, user); text != "" {
		resp.Error = text
		return hostapi.Invalid
	}
	return hostapi.OK
}

// wrongState says which rule a request breaks; "" for none.
func wrongState(req *hostapi.StateRequest, user string) string {
	switch {
	case req.Op < hostapi.StateGet || req.Op > hostapi.StateCompareAndSet:
		return fmt.Sprintf("unknown operation %d", req.Op)
	case req.Scope != hostapi.ScopeApp && req.Scope != hostapi.ScopeUser:
		return fmt.Sprintf("unknown scope %d", req.Scope)
	case req.Scope == hostapi.ScopeUser && user == "":
		return "scope user, but the event is about no user"
	case req.Key == "":
		return "the key is empty"
	case req.TTLMS < 0:
		return "ttl_ms is negative"
	case req.Once != "" && (req.Op == hostapi.StateGet || req.Op == hostapi.StateCompareAndSet):
		return "once goes with set, delete and add only"
	}
	return ""
}
