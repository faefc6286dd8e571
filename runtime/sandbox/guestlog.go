package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
)

// maxCallLines bounds the log lines of one call into a guest, those of its
// standard output and error among them.
const maxCallLines = 100

// cleanText makes a guest's bytes safe for a log or an error: at most
// hostapi.MaxText bytes of them are taken, what isn't UTF-8 becomes U+FFFD, and
// control characters, line separators and direction overrides are escaped.
func cleanText(b []byte) string {
	if len(b) > hostapi.MaxText {
		b = b[:hostapi.MaxText]
		// A rune cut in two at the end is dropped.
		for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
			if c := b[len(b)-i]; utf8.RuneStart(c) {
				if !utf8.FullRune(b[len(b)-i:]) {
					b = b[:len(b)-i]
				}
				break
			}
		}
	}
	var s strings.Builder
	s.Grow(len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		switch {
		case r == '\n':
			s.WriteString(`\n`)
		case r == '\t':
			s.WriteString(`\t`)
		case r == '\r':
			s.WriteString(`\r`)
		case r < 0x100 && unicode.IsControl(r):
			fmt.Fprintf(&s, `\x%02x`, r)
		case hidden(r):
			fmt.Fprintf(&s, `\u%04x`, r)
		default:
			s.WriteRune(r)
		}
	}
	return s.String()
}

// hidden tells line separators and the characters that change the direction in
// which a terminal shows what follows.
func hidden(r rune) bool {
	return r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Bidi_Control, r)
}

// logLine writes one line of the guest, and past its limits a last one that
// says so.
func (in *instance) logLine(level slog.Level, line []byte) {
	c := &in.call
	if c.lines > maxCallLines {
		return
	}
	c.lines++
	c.logged += int64(min(len(line), hostapi.MaxText))
	log, most := in.plugin.log, in.plugin.limits.Log
	if c.lines > maxCallLines || c.logged > most {
		c.lines = maxCallLines + 1
		log.LogAttrs(context.Background(), slog.LevelWarn, "plugin log cut", c.attrs(fmt.Sprintf("more than %d lines, or than %s, in one call: the rest is dropped", maxCallLines, sizeText(most)))...)
		return
	}
	if !log.Enabled(context.Background(), level) {
		return
	}
	// The message is ours: a guest can't forge a line of the host.
	log.LogAttrs(context.Background(), level, "plugin log", c.attrs(cleanText(line))...)
}

func (c *callState) attrs(line string) []slog.Attr {
	attrs := []slog.Attr{slog.String("line", line)}
	if c.event != nil {
		attrs = append(attrs, slog.String("app", c.event.App), slog.String("event_id", c.event.ID))
	}
	return attrs
}

// slogLevel turns a level of ABI 1 into slog's; an unknown one is an error, so
// that it isn't overlooked.
func slogLevel(l hostapi.Level) slog.Level {
	switch l {
	case hostapi.LevelDebug:
		return slog.LevelDebug
	case hostapi.LevelInfo:
		return slog.LevelInfo
	case hostapi.LevelWarn:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// lineWriter makes log lines of what a guest writes to a standard stream.
type lineWriter struct {
	level slog.Level
	line  []byte // not ended yet; at most hostapi.MaxText bytes, the rest of a longer line is dropped
}

// write takes bytes as fd_write gives them and logs each line that they end.
func (w *lineWriter) write(in *instance, b []byte) {
	for len(b) > 0 {
		end := len(b)
		ended := false
		for i, c := range b {
			if c == '\n' {
				end, ended = i, true
				break
			}
		}
		w.line = append(w.line, b[:min(end, hostapi.MaxText-len(w.line))]...)
		if ended {
			w.flush(in)
			end++
		}
		b = b[end:]
	}
}

// flush logs a line without an end, as after the last write of a call.
func (w *lineWriter) flush(in *instance) {
	if len(w.line) > 0 {
		in.logLine(w.level, w.line)
		w.line = w.line[:0]
	}
}
