package server

import (
	"strings"
	"testing"
)

func TestNewTrace(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for _, c := range []struct {
		header string
		taken  bool
	}{
		{"00-" + id + "-b7ad6b7169203331-01", true},
		{"cc-" + id + "-b7ad6b7169203331-01-more", true},
		{"", false},
		{"00-" + id + "-b7ad6b7169203331", false},
		{"00-" + id + "-b7ad6b7169203331-01-more", false},
		{"ff-" + id + "-b7ad6b7169203331-01", false},
		{"00-" + strings.ToUpper(id) + "-b7ad6b7169203331-01", false},
		{"00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01", false},
		{"00-" + id + "-0000000000000000-01", false},
		{"00_" + id + "-b7ad6b7169203331-01", false},
		{"cc-" + id + "-b7ad6b7169203331-01more", false},
	} {
		got := newTrace(c.header)
		if (got.id == id) != c.taken {
			t.Errorf("%q: trace %s, taken over should be %v", c.header, got.id, c.taken)
		}
		if len(got.id) != 32 || len(got.span) != 16 || !isHex(got.id) || !isHex(got.span) || got.span == "b7ad6b7169203331" {
			t.Errorf("%q: %+v is no span of ours", c.header, got)
		}
	}
}

func FuzzParseTraceParent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		id, flags, ok := parseTraceParent(header)
		if ok && (!strings.Contains(header, "-"+id+"-") || len(id) != 32 || len(flags) != 2) {
			t.Errorf("%q: id %q, flags %q", header, id, flags)
		}
		if made := newTrace(header); ok && made.id != id || len(made.id) != 32 {
			t.Errorf("%q: %+v", header, made)
		}
	})
}
