package cases

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func decode(src []byte, v any) error {
	d := yaml.NewDecoder(bytes.NewReader(src))
	d.KnownFields(true)
	return d.Decode(v)
}

// TestReadRefuses: what the format doesn't have is an error, not something that
// is silently not looked at.
func TestReadRefuses(t *testing.T) {
	const head = "weft: 1\ncases:\n  - name: x\n    events:\n"
	tests := []struct{ name, src, want string }{
		{"another version", "weft: 2\ncases: [ { name: x } ]", "weft: 2"},
		{"no cases", "weft: 1", "no cases"},
		{"an unknown key", "weft: 1\ncase: []", "case"},
		{"an unknown key of an entry", head + "      - { event: {}, replay: none }", "replay"},
		{"an unknown key of an event", head + "      - event: { kind: text }", "kind"},
		{"an unknown kind of reply", head + "      - { event: {}, reply: { txt: x } }", "txt"},
		{"an unknown key of an article", head + "      - { event: {}, reply: { news: { articles: [ { link: x } ] } } }", "link"},
		{"a reply that is a word", head + "      - { event: {}, reply: nothing }", "nothing"},
		{"an empty reply", head + "      - { event: {}, reply: {} }", "one of text and news"},
		{"two replies", head + "      - { event: {}, reply: { text: x, news: { articles: [] } } }", "one of text and news"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cases.yaml")
			if err := os.WriteFile(path, []byte(tt.src), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(path, decode); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}
