package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// queueName is the store's queue of durable runs.
const queueName = "events"

// entryVersion is the first byte of an entry; entries of firstEntryVersion,
// which has neither alone nor parts, are read, too. A host that meets a later one buries the
// entry.
const (
	firstEntryVersion = 1
	entryVersion      = 2
)

// maxPartDepth is how deep parallel stages of an entry are in one another; the
// file of the pipelines is nested no deeper.
const maxPartDepth = 64

// errEntry is wrapped by every error of decode.
var errEntry = errors.New("entry of the durable queue is malformed")

// entry is a durable run: an event that goes on from a stage or, where there is
// none, from the top.
//
// Its encoding is entryVersion, then pipeline and stage as uvarint length and
// bytes, known in Unix milliseconds as a varint, whether the stage is alone as a
// byte, the parts of the stage, and the event as a message of weft.v1 with its annotations, reply and attempt. Parts
// are their number as a uvarint and, of each, its end and whether it replied as
// a byte each, an event as uvarint length and message that has only its
// annotations and its reply, then, where its end is queued, its stage and the
// parts of that.
type entry struct {
	pipeline string
	at       place         // without paths; no stage: from the top, with always
	alone    bool          // nothing but the stage, which is async
	known    time.Time     // until when a repeat may come: its id is kept so long; millisecond precision
	event    hostapi.Event // Attrs and Reply are those so far; Attempt is the one of the run to come
}

// append appends the encoding of e to b.
func (e *entry) append(b []byte) []byte {
	b = append(b, entryVersion)
	b = appendBytes(b, e.pipeline)
	b = appendBytes(b, e.at.stage)
	b = binary.AppendVarint(b, e.known.UnixMilli())
	b = appendBool(b, e.alone)
	b = appendParts(b, e.at.parts)
	return e.event.Append(b)
}

func appendBytes[T string | []byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendParts(b []byte, parts []part) []byte {
	b = binary.AppendUvarint(b, uint64(len(parts)))
	for i := range parts {
		p := &parts[i]
		b = appendBool(append(b, byte(p.end)), p.replied)
		has := hostapi.Event{Attrs: p.attrs, Reply: p.reply}
		b = appendBytes(b, has.Append(nil))
		if p.end == queued {
			b = appendBytes(b, p.at.stage)
			b = appendParts(b, p.at.parts)
		}
	}
	return b
}

// decode reads what append wrote. b may be reused afterwards.
func (e *entry) decode(b []byte) error {
	*e = entry{}
	if len(b) == 0 || b[0] < firstEntryVersion || b[0] > entryVersion {
		return fmt.Errorf("%w: its version is not %d", errEntry, entryVersion)
	}
	r := entryReader{b: b[1:], of: errEntry}
	e.pipeline = string(r.bytes())
	e.at.stage = string(r.bytes())
	e.known = time.UnixMilli(r.varint())
	if b[0] > firstEntryVersion {
		e.alone = r.byte() == 1
		e.at.parts = r.parts(maxPartDepth)
	}
	if r.err != nil {
		return r.err
	}
	if err := e.event.Decode(r.b); err != nil {
		return fmt.Errorf("%w: its event: %w", errEntry, err)
	}
	return nil
}

// entryReader reads the parts of an encoding one after another. After an error
// all that it reads is zero.
type entryReader struct {
	b   []byte
	of  error // that its errors wrap
	err error
}

func (r *entryReader) fail(format string, a ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{r.of}, a...)...)
	}
	r.b = nil
}

// took moves on by what a function of encoding/binary has read.
func (r *entryReader) took(n int) {
	if n <= 0 {
		r.fail("it is cut")
		return
	}
	r.b = r.b[n:]
}

func (r *entryReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.took(n)
	return v
}

func (r *entryReader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.took(n)
	return v
}

func (r *entryReader) byte() byte {
	if len(r.b) == 0 {
		r.fail("it is cut")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *entryReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail("it is cut")
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *entryReader) parts(depth int) []part {
	n := r.uvarint()
	switch {
	case n > config.MaxParallel:
		r.fail("it has %d parts, over %d", n, config.MaxParallel)
	case n > 0 && depth == 0:
		r.fail("its parts are nested deeper than %d", maxPartDepth)
	}
	var parts []part
	left := n == 0 // to be run
	for ; n > 0 && r.err == nil; n-- {
		p := part{end: flow(r.byte()), replied: r.byte() == 1}
		if p.end > queued {
			r.fail("a part of it ended in %d", p.end)
		}
		var has hostapi.Event
		if err := has.Decode(r.bytes()); err != nil {
			r.fail("a part of it: %w", err)
		}
		p.attrs, p.reply = has.Attrs, has.Reply
		if p.end == queued {
			left = true
			if p.at.stage = string(r.bytes()); p.at.stage == "" {
				r.fail("a part of it begins nowhere")
			}
			p.at.parts = r.parts(depth - 1)
		}
		parts = append(parts, p)
	}
	if !left {
		r.fail("none of its parts is to be run")
	}
	return parts
}
