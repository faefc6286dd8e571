package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// queueName is the store's queue of durable runs.
const queueName = "events"

// entryVersion is the first byte of an entry. A host that meets another one
// buries the entry: it was written by a later host.
const entryVersion = 1

// errEntry is wrapped by every error of decode.
var errEntry = errors.New("entry of the durable queue is malformed")

// entry is a durable run: an event that goes on from a stage or, where there is
// none, from the top.
//
// Its encoding is entryVersion, then pipeline and stage as uvarint
// length and bytes, known in Unix milliseconds as a varint, and the
// event as a message of weft.v1 with its annotations, reply and attempt.
type entry struct {
	pipeline string
	stage    string        // "": from the top, with always
	known    time.Time     // until when a repeat may come: its id is kept so long; millisecond precision
	event    hostapi.Event // Attrs and Reply are those so far; Attempt is the one of the run to come
}

// append appends the encoding of e to b.
func (e *entry) append(b []byte) []byte {
	b = append(b, entryVersion)
	for _, s := range []string{e.pipeline, e.stage} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendVarint(b, e.known.UnixMilli())
	return e.event.Append(b)
}

// decode reads what append wrote. b may be reused afterwards.
func (e *entry) decode(b []byte) error {
	*e = entry{}
	if len(b) == 0 || b[0] != entryVersion {
		return fmt.Errorf("%w: its version is not %d", errEntry, entryVersion)
	}
	b = b[1:]
	for _, dst := range []*string{&e.pipeline, &e.stage} {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return fmt.Errorf("%w: it is cut", errEntry)
		}
		*dst = string(b[used : used+int(n)])
		b = b[used+int(n):]
	}
	known, used := binary.Varint(b)
	if used <= 0 {
		return fmt.Errorf("%w: it is cut", errEntry)
	}
	e.known = time.UnixMilli(known)
	if err := e.event.Decode(b[used:]); err != nil {
		return fmt.Errorf("%w: its event: %w", errEntry, err)
	}
	return nil
}
