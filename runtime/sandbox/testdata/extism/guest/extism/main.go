//go:build wasip1

// The work as a plugin of Extism, with the same codec and with the calls that
// Extism's kit for Go makes to load the input and to output bytes.
package main

import (
	"encoding/binary"
	"runtime"

	"github.com/weft-dev/weft/hostapi"
)

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoadU8(at uint64) uint32

//go:wasmimport extism:host/env input_load_u64
func inputLoadU64(at uint64) uint64

//go:wasmimport extism:host/env alloc
func alloc(n uint64) uint64

//go:wasmimport extism:host/env store_u8
func storeU8(at uint64, v uint32)

//go:wasmimport extism:host/env store_u64
func storeU64(at, v uint64)

//go:wasmimport extism:host/env output_set
func outputSet(at, n uint64)

func main() {}

//go:wasmexport handle
func handle() int32 {
	// As Weft's SDK does: the collector gets its turn.
	defer runtime.Gosched()
	var event hostapi.Event
	if err := event.Decode(input()); err != nil {
		return 2
	}
	reply := hostapi.Reply{Text: &hostapi.Text{Content: event.Content}}
	output(reply.Append(nil))
	return 0
}

func input() []byte {
	b := make([]byte, inputLength())
	i := 0
	for ; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], inputLoadU64(uint64(i)))
	}
	for ; i < len(b); i++ {
		b[i] = byte(inputLoadU8(uint64(i)))
	}
	return b
}

func output(b []byte) {
	block := alloc(uint64(len(b)))
	i := 0
	for ; i+8 <= len(b); i += 8 {
		storeU64(block+uint64(i), binary.LittleEndian.Uint64(b[i:]))
	}
	for ; i < len(b); i++ {
		storeU8(block+uint64(i), uint32(b[i]))
	}
	outputSet(block, uint64(len(b)))
}
