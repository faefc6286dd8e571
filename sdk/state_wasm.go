//go:build wasip1

package sdk

import (
	"unsafe"

	"github.com/weft-dev/weft/hostapi"
)

//go:wasmimport weft state
//go:noescape
func importState(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) int64

//go:wasmimport weft response
//go:noescape
func importResponse(ptr unsafe.Pointer, size uint32) int32

// hostState calls state of host. For the real one it names the import itself
// and doesn't go through an interface, so that the linker drops the import
// from a module that never gets here.
func hostState(host Host, req *hostapi.StateRequest, resp *hostapi.StateResponse) Status {
	if s, ok := host.(StateHost); ok {
		return s.State(req, resp)
	}
	if _, ok := host.(wasmHost); !ok {
		return hostapi.Denied
	}
	msg, out := req.Append(nil), make([]byte, 512)
	result := importState(unsafe.Pointer(unsafe.SliceData(msg)), uint32(len(msg)), unsafe.Pointer(unsafe.SliceData(out)), uint32(len(out)))
	return take(result, out, resp, &resp.Error)
}

// take decodes the response of a request, which the host put into out, or keeps
// where it doesn't fit. text gets what is wrong with it.
func take(result int64, out []byte, resp interface{ Decode(b []byte) error }, text *string) Status {
	status, size := Status(result>>32), uint32(result)
	if size > uint32(len(out)) {
		out = make([]byte, size)
		if importResponse(unsafe.Pointer(unsafe.SliceData(out)), size) != int32(size) {
			return hostapi.Unavailable
		}
	}
	if err := resp.Decode(out[:size]); err != nil {
		*text = "the host's response: " + err.Error()
		return hostapi.Unavailable
	}
	return status
}
