package hostapi_test

import (
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

func FuzzEvent(f *testing.F)         { fuzz(f, "Event") }
func FuzzReply(f *testing.F)         { fuzz(f, "Reply") }
func FuzzStateRequest(f *testing.F)  { fuzz(f, "StateRequest") }
func FuzzStateResponse(f *testing.F) { fuzz(f, "StateResponse") }
func FuzzAPIRequest(f *testing.F)    { fuzz(f, "ApiRequest") }
func FuzzAPIResponse(f *testing.F)   { fuzz(f, "ApiResponse") }
func FuzzFetchRequest(f *testing.F)  { fuzz(f, "FetchRequest") }
func FuzzFetchResponse(f *testing.F) { fuzz(f, "FetchResponse") }

// fuzz holds the codec of one message against protobuf-go, with the
// differences that stricter names.
func fuzz(f *testing.F, name string) {
	md := oracle(f).Messages().ByName(protoreflect.Name(name))
	for _, b := range samples()[name] {
		f.Add(b)
	}
	for _, m := range malformed {
		if b, err := hex.DecodeString(m.hex); err == nil && m.message == name {
			f.Add(b)
		}
	}
	m := messages()[name]
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, m, md, b) })
}
