//go:build !wasip1

package sdk

import "github.com/weft-dev/weft/hostapi"

// hostState calls state of host; DENIED where it keeps none.
func hostState(host Host, req *hostapi.StateRequest, resp *hostapi.StateResponse) Status {
	s, ok := host.(StateHost)
	if !ok {
		return hostapi.Denied
	}
	return s.State(req, resp)
}
