package sandbox

import (
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

func TestSignatureString(t *testing.T) {
	s := signature{params: []api.ValueType{0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f, 0x11}, results: slices.Repeat([]api.ValueType{0x7f}, 20)}
	want := "(i32, i64, f32, f64, v128, funcref, externref, 0x11) -> (" + strings.Repeat("i32, ", 16) + "… 20 in all)"
	if s.String() != want {
		t.Errorf("got %s", s)
	}
}
