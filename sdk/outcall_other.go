//go:build !wasip1

package sdk

import "github.com/weft-dev/weft/hostapi"

// hostAPI calls api of host; DENIED where it has none.
func hostAPI(host Host, req *APIRequest, resp *APIResponse) Status {
	if h, ok := host.(APIHost); ok {
		return h.API(req, resp)
	}
	return hostapi.Denied
}

// hostFetch calls fetch of host; DENIED where it has none.
func hostFetch(host Host, req *FetchRequest, resp *FetchResponse) Status {
	if h, ok := host.(FetchHost); ok {
		return h.Fetch(req, resp)
	}
	return hostapi.Denied
}
