package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// API is what the host call api runs on. The sandbox has checked the form of a
// request and the limits of ABI 1 before it comes here; what the grant has is the
// implementation's to check.
type API interface {
	// API makes one call of the event's app and fills resp, which is empty. It returns
	// soon after ctx ends: TIMEOUT. Every status but OK and UPSTREAM goes with
	// resp.Error, which is shown to the plugin.
	API(ctx context.Context, of OutCall, req *hostapi.APIRequest, resp *hostapi.APIResponse) hostapi.Status
}

// Fetcher is what the host call fetch runs on. The upstream is one of those that
// are granted. Else as API.
type Fetcher interface {
	Fetch(ctx context.Context, of OutCall, req *hostapi.FetchRequest, resp *hostapi.FetchResponse) hostapi.Status
}

// OutCall says for whom a call of api or fetch is made.
type OutCall struct {
	Plugin  string // name in pipeline.yaml
	Event   *hostapi.Event
	Aside   bool // Call.Aside
	MaxBody int  // the most bytes that the response's body may have; over it TOO_LARGE
}

const (
	// maxOutRequest bounds an encoded request of api or fetch; what is longer is not
	// decoded.
	maxOutRequest = hostapi.MaxCallBody + hostapi.MaxCallQuery + hostapi.MaxCallHeaders + 8<<10
	// A call ends before the event's time does, by a tenth of what is left and this
	// at most, so that the guest can do something with the TIMEOUT.
	outReserve = 50 * time.Millisecond
	// outInstances is the default of Limits.Instances of a plugin that waits for
	// others.
	outInstances = 64
)

// callAPIForm is api(req_ptr, req_len, out_ptr, out_cap) -> status << 32 | length.
func callAPIForm(in *instance, stack []uint64) {
	if in.call.phase != phaseHandle || !in.plugin.grants.API {
		in.deny(stack)
		return
	}
	raw, room := in.request("api", stack)
	var resp hostapi.APIResponse
	status := in.api(raw, &resp)
	in.answer(stack, room, status, &resp)
}

// callFetchForm is fetch(req_ptr, req_len, out_ptr, out_cap) -> status << 32 | length.
func callFetchForm(in *instance, stack []uint64) {
	if in.call.phase != phaseHandle || in.plugin.grants.Fetch == "" {
		in.deny(stack)
		return
	}
	raw, room := in.request("fetch", stack)
	var resp hostapi.FetchResponse
	status := in.fetch(raw, &resp)
	in.answer(stack, room, status, &resp)
}

func (in *instance) api(raw []byte, resp *hostapi.APIResponse) hostapi.Status {
	if status := in.outgoing(raw); status != hostapi.OK {
		return status
	}
	var req hostapi.APIRequest
	if err := req.Decode(raw); err != nil {
		resp.Error = cleanText([]byte(err.Error()))
		return hostapi.Invalid
	}
	var status hostapi.Status
	if status, resp.Error = checkAPI(&req); status != hostapi.OK {
		return status
	}
	by := in.call.api
	if by == nil {
		resp.Error = "this host has no way to WeChat's API"
		return hostapi.Unavailable
	}
	of := in.outCall(hostapi.MaxCallAnswer)
	status = in.goOut(func(ctx context.Context) hostapi.Status { return by.API(ctx, of, &req, resp) })
	if len(resp.Body) > of.MaxBody {
		*resp = hostapi.APIResponse{Error: tooLong(of.MaxBody), MaybeExecuted: true}
		return hostapi.TooLarge
	}
	return status
}

func (in *instance) fetch(raw []byte, resp *hostapi.FetchResponse) hostapi.Status {
	if status := in.outgoing(raw); status != hostapi.OK {
		return status
	}
	var req hostapi.FetchRequest
	if err := req.Decode(raw); err != nil {
		resp.Error = cleanText([]byte(err.Error()))
		return hostapi.Invalid
	}
	var status hostapi.Status
	if status, resp.Error = checkFetch(&req, in.plugin.grants); status != hostapi.OK {
		return status
	}
	by := in.call.fetch
	if by == nil {
		resp.Error = "this host has no way to upstreams"
		return hostapi.Unavailable
	}
	of := in.outCall(hostapi.MaxFetchAnswer)
	status = in.goOut(func(ctx context.Context) hostapi.Status { return by.Fetch(ctx, of, &req, resp) })
	if len(resp.Body) > of.MaxBody {
		*resp = hostapi.FetchResponse{Error: tooLong(of.MaxBody), MaybeExecuted: true}
		return hostapi.TooLarge
	}
	return status
}

func tooLong(most int) string { return fmt.Sprintf("the answer has over %d bytes", most) }

// outgoing counts a call, and tells whether its request may be read.
func (in *instance) outgoing(raw []byte) hostapi.Status {
	c := &in.call
	switch {
	case c.outCalls >= hostapi.MaxCalls, c.answered >= in.plugin.limits.Response:
		return hostapi.Limited
	case len(raw) > maxOutRequest:
		return hostapi.TooLarge
	}
	c.outCalls++
	return hostapi.OK
}

func (in *instance) outCall(most int64) OutCall {
	c := &in.call
	return OutCall{
		Plugin: in.plugin.name, Event: c.event, Aside: c.aside,
		MaxBody: int(min(most, in.plugin.limits.Response-c.answered)),
	}
}

// goOut runs f without a run token, until the event's time is nearly over.
func (in *instance) goOut(f func(ctx context.Context) hostapi.Status) hostapi.Status {
	b := &in.bound
	if b.over() != nil {
		return hostapi.Timeout
	}
	ctx, cancel := b.context()
	defer cancel()
	left := b.deadline - b.now()
	ctx, cancelEarly := context.WithTimeout(ctx, left-min(left/10, outReserve))
	defer cancelEarly()
	var status hostapi.Status
	b.wait(func() { status = f(ctx) })
	return status
}

// checkAPI holds a request against ABI 1, and says what is wrong.
func checkAPI(r *hostapi.APIRequest) (hostapi.Status, string) {
	switch {
	case len(r.Path) > hostapi.MaxCallPath, len(r.Body) > hostapi.MaxCallBody, len(r.IdempotencyKey) > hostapi.MaxCallKey,
		!fieldsFit(r.Query, hostapi.MaxCallQuery):
		return hostapi.TooLarge, "path, query, body or idempotency_key is over its limit"
	case !strings.HasPrefix(r.Path, "/"):
		return hostapi.Invalid, "the path doesn't begin with a slash"
	}
	return checkCall(r.Method, r.Body, r.IdempotencyKey)
}

// checkFetch is checkAPI of a fetch.
func checkFetch(r *hostapi.FetchRequest, g grants) (hostapi.Status, string) {
	switch {
	case !g.fetches(r.Upstream):
		return hostapi.Denied, "no upstream of this name is granted"
	case len(r.Path) > hostapi.MaxCallPath, len(r.Body) > hostapi.MaxCallBody, len(r.IdempotencyKey) > hostapi.MaxCallKey,
		!fieldsFit(r.Query, hostapi.MaxCallQuery), !fieldsFit(r.Headers, hostapi.MaxCallHeaders):
		return hostapi.TooLarge, "path, query, headers, body or idempotency_key is over its limit"
	}
	if text := wrongPath(r.Path); text != "" {
		return hostapi.Invalid, text
	}
	if text := wrongHeaders(r.Headers); text != "" {
		return hostapi.Invalid, text
	}
	return checkCall(r.Method, r.Body, r.IdempotencyKey)
}

// checkCall is what is common to both.
func checkCall(method string, body []byte, key string) (hostapi.Status, string) {
	switch {
	case !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, method):
		return hostapi.Invalid, "the method is none of GET, HEAD, POST, PUT, PATCH and DELETE"
	case len(body) > 0 && (method == "GET" || method == "HEAD"):
		return hostapi.Invalid, "a " + method + " has no body"
	case !visible(key):
		return hostapi.Invalid, "the idempotency_key has something else than visible ASCII"
	}
	return hostapi.OK, ""
}

// fieldsFit tells whether a list is within its limits.
func fieldsFit(fields []hostapi.Field, most int) bool {
	n := 0
	for i := range fields {
		n += len(fields[i].Name) + len(fields[i].Value)
	}
	return n <= most && len(fields) <= hostapi.MaxCallFields
}

// visible tells whether s has nothing but ASCII that is seen, so no line end
// either.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
