//go:build wasip1

package sdk

import (
	"runtime"
	"unsafe"

	"github.com/weft-dev/weft/hostapi"
)

// The calls of the host that every plugin may make; hostapi/ABI.md draws each.

//go:wasmimport weft log
//go:noescape
func importLog(level int32, text string)

//go:wasmimport weft fail
//go:noescape
func importFail(text string)

//go:wasmimport weft config
//go:noescape
func importConfig(ptr unsafe.Pointer, size uint32) int32

//go:wasmimport weft reply
//go:noescape
func importReply(ptr unsafe.Pointer, size uint32) int32

//go:wasmimport weft annotate
//go:noescape
func importAnnotate(name, value string) int32

// maxBuffer is the most that weft_buffer gives: above what a callback of 1 MiB
// can become with its leaves, annotations and raw body, below what ends the
// instance.
const maxBuffer = 8 << 20

// largeEvent is the size of an event whose memory is taken back at once.
const largeEvent = 128 << 10

// eventBuffer is where the host writes events. It stays where it is, because Go
// doesn't move what is on the heap, and alive until a larger one replaces it.
var eventBuffer []byte

//go:wasmexport weft_abi_1
func exportMarker() {}

//go:wasmexport weft_buffer
func exportBuffer(size int32) int32 {
	if size < 0 || size > maxBuffer {
		return 0
	}
	if size := max(int(size), 1); size > len(eventBuffer) {
		eventBuffer = make([]byte, size)
	}
	return address(eventBuffer)
}

//go:wasmexport weft_handle
func exportHandle(ptr, size int32) int32 {
	src, ok := written(ptr, size)
	if !ok {
		fail("the host's event lies outside of the buffer")
		return int32(hostapi.Failed)
	}
	outcome := guest.runHandle(wasmHost{}, fail, src)
	collect(len(src))
	return int32(outcome)
}

// collect gives the collector its turn after an event of size bytes. Between
// events nothing runs, so without it the memory of short events is never taken
// back; and after a large one the next would not find room within the limit.
func collect(size int) {
	if size > largeEvent {
		runtime.GC()
		return
	}
	runtime.Gosched()
}

//go:wasmexport weft_start
func exportStart() int32 { return guest.runStart(fail) }

//go:wasmexport weft_check
func exportCheck() int32 { return guest.runCheck(wasmHost{}, fail) }

// written returns the size bytes at ptr, false where they are not in the
// buffer.
func written(ptr, size int32) ([]byte, bool) {
	if len(eventBuffer) == 0 {
		return nil, false
	}
	start := int64(uint32(ptr)) - int64(uint32(address(eventBuffer)))
	end := start + int64(uint32(size))
	if start < 0 || end > int64(len(eventBuffer)) {
		return nil, false
	}
	return eventBuffer[start:end], true
}

// address returns where b lies in the module's memory.
func address(b []byte) int32 { return int32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

func fail(reason string) { importFail(reason) }

// wasmHost is the host. It has no method State: see StateHost.
type wasmHost struct{}

func (wasmHost) Log(level Level, text string) { importLog(int32(level), text) }

func (wasmHost) Config() ([]byte, bool) {
	buf := make([]byte, 1024)
	for {
		n := importConfig(unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf)))
		if n < 0 {
			return nil, false
		}
		if int(n) <= len(buf) {
			return buf[:n:n], true
		}
		buf = make([]byte, n)
	}
}

func (wasmHost) Reply(r *Reply) Status {
	if r == nil {
		return Status(importReply(nil, 0))
	}
	msg := r.Append(nil)
	return Status(importReply(unsafe.Pointer(unsafe.SliceData(msg)), uint32(len(msg))))
}

func (wasmHost) Annotate(name, value string) Status { return Status(importAnnotate(name, value)) }
