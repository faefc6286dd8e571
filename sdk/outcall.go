package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/weft-dev/weft/hostapi"
)

// The requests and responses of API and Fetch.
type (
	APIRequest    = hostapi.APIRequest
	APIResponse   = hostapi.APIResponse
	FetchRequest  = hostapi.FetchRequest
	FetchResponse = hostapi.FetchResponse
)

// APIError is an answer of WeChat's with an errcode. Unwrapped it is a StatusError
// with UPSTREAM.
type APIError struct {
	Path    string
	Errcode int
	// Class says what is to be done: refresh_once, backoff, quota_stop, user_state,
	// relogin, operator_alert, caller_error. More may be added.
	Class string
	Rid   string // WeChat's id of the request; may be empty
	Body  []byte // the answer, which says more in errmsg
}

// Error returns the path, the errcode and its class.
func (e *APIError) Error() string {
	text := fmt.Sprintf("api %s: errcode %d (%s)", e.Path, e.Errcode, e.Class)
	if e.Rid != "" {
		text += ", rid " + e.Rid
	}
	return text
}

// Unwrap returns the StatusError of the call.
func (e *APIError) Unwrap() error { return &StatusError{Call: "api", Status: hostapi.Upstream} }

// API makes one call of WeChat's API of the event's app. The host adds the token,
// repeats where that helps and does no harm, and waits no longer than the event
// has time. It needs the capability api in plugin.yaml and the grant in
// pipeline.yaml, whose paths it may call: others are DENIED.
//
// The error is an *APIError where WeChat answered with an errcode, else a
// *StatusError: without an answer, and with MaybeExecuted where WeChat may have
// done all the same what it was asked. An event makes at most 64 calls of API and
// Fetch (LIMITED).
func (c *Call) API(req APIRequest) (*APIResponse, error) {
	resp := new(APIResponse)
	switch status := hostAPI(c.host, &req, resp); status {
	case hostapi.OK:
		return resp, nil
	case hostapi.Upstream:
		return nil, &APIError{Path: req.Path, Errcode: int(resp.Errcode), Class: resp.Class, Rid: resp.Rid, Body: resp.Body}
	default:
		return nil, &StatusError{Call: "api " + req.Path, Status: status, Text: resp.Error, MaybeExecuted: resp.MaybeExecuted}
	}
}

// Fetch makes one request to a service of the business, by the plugin's own name
// for it. It needs the capability fetch in plugin.yaml, which declares the name,
// and the grant in pipeline.yaml, which says what service it is.
//
// Every answer is a response, whatever its status. The error is a *StatusError:
// there is no answer, and with MaybeExecuted the service may have done all the
// same what it was asked.
func (c *Call) Fetch(req FetchRequest) (*FetchResponse, error) {
	resp := new(FetchResponse)
	if status := hostFetch(c.host, &req, resp); status != hostapi.OK {
		return nil, &StatusError{Call: "fetch " + req.Upstream, Status: status, Text: resp.Error, MaybeExecuted: resp.MaybeExecuted}
	}
	return resp, nil
}

// JSON encodes a body for API as WeChat wants it: <, > and & stand as they are,
// where Go's own Marshal escapes them, which some calls refuse.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode a body: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
