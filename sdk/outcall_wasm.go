//go:build wasip1

package sdk

import (
	"unsafe"

	"github.com/weft-dev/weft/hostapi"
)

//go:wasmimport weft api
//go:noescape
func importAPI(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) int64

//go:wasmimport weft fetch
//go:noescape
func importFetch(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) int64

// answerRoom is the room for a response of api and fetch, in bytes; a longer one
// takes a second call.
const answerRoom = 4096

// hostAPI calls api of host; see hostState.
func hostAPI(host Host, req *APIRequest, resp *APIResponse) Status {
	if h, ok := host.(APIHost); ok {
		return h.API(req, resp)
	}
	if _, ok := host.(wasmHost); !ok {
		return hostapi.Denied
	}
	msg, out := req.Append(nil), make([]byte, answerRoom)
	result := importAPI(unsafe.Pointer(unsafe.SliceData(msg)), uint32(len(msg)), unsafe.Pointer(unsafe.SliceData(out)), uint32(len(out)))
	return take(result, out, resp, &resp.Error)
}

// hostFetch calls fetch of host; see hostState.
func hostFetch(host Host, req *FetchRequest, resp *FetchResponse) Status {
	if h, ok := host.(FetchHost); ok {
		return h.Fetch(req, resp)
	}
	if _, ok := host.(wasmHost); !ok {
		return hostapi.Denied
	}
	msg, out := req.Append(nil), make([]byte, answerRoom)
	result := importFetch(unsafe.Pointer(unsafe.SliceData(msg)), uint32(len(msg)), unsafe.Pointer(unsafe.SliceData(out)), uint32(len(out)))
	return take(result, out, resp, &resp.Error)
}
