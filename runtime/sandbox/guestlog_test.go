package sandbox

import (
	"log/slog"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
)

func TestCleanText(t *testing.T) {
	long := strings.Repeat("x", hostapi.MaxText-1)
	for in, want := range map[string]string{
		"":                       "",
		"你好 👋 plain":             "你好 👋 plain",
		"a\nb\tc\rd":             `a\nb\tc\rd`,
		"\x00\x1b[31m\x7f\u0085": `\x00\x1b[31m\x7f\x85`,
		"\u2028\u202e\u2066":     `\u2028\u202e\u2066`,
		"\xff\xfe":               "\ufffd\ufffd",
		long + "xy":              long + "x",
		long + "é":               long, // not half of it
		long[:len(long)-2] + "é": long[:len(long)-2] + "é",
	} {
		if got := cleanText([]byte(in)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// FuzzCleanText: whatever a guest gives, a log gets a bounded line of printable
// UTF-8, and plain text goes through unchanged.
func FuzzCleanText(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte("\x00\n\xff\u202e你"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := cleanText(b)
		if !utf8.ValidString(got) || len(got) > 6*hostapi.MaxText {
			t.Errorf("%d bytes, UTF-8: %v", len(got), utf8.ValidString(got))
		}
		plain := utf8.Valid(b) && len(b) <= hostapi.MaxText
		for _, r := range got {
			if unicode.IsControl(r) || hidden(r) {
				t.Errorf("%q is left", r)
			}
		}
		for _, r := range string(b) {
			plain = plain && !unicode.IsControl(r) && !hidden(r)
		}
		if plain && got != string(b) {
			t.Errorf("%q became %q", b, got)
		}
	})
}

func TestLevels(t *testing.T) {
	for level, want := range map[hostapi.Level]slog.Level{
		0: slog.LevelDebug, 1: slog.LevelInfo, 2: slog.LevelWarn, 3: slog.LevelError, 4: slog.LevelError, -1: slog.LevelError,
	} {
		if got := slogLevel(level); got != want {
			t.Errorf("level %d is %v, want %v", level, got, want)
		}
	}
}
