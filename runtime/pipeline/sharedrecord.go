package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// The first byte of what hosts write about an event. What has another one is
// taken for nothing.
const (
	sharedVersion       = 1
	sharedAnswerVersion = 1
)

const (
	maxOwner        = 128       // bytes of the name of a host in a record
	maxSharedAnswer = 512 << 10 // of an answer's encoding: a larger one is not told, nor read
)

// errShared is wrapped by every error of decoding what stands on the board.
var errShared = errors.New("shared record is malformed")

// sharedRecord is what hosts tell each other about an event.
//
// Its encoding is sharedVersion, its state, its flags and the kind of its answer
// as a byte each, attempt as a uvarint, owner as uvarint length and bytes, and
// first and known in Unix milliseconds as varints.
type sharedRecord struct {
	state   recordState
	running bool       // its stages are under way, on owner
	pending bool       // the durable queue has an entry to be run; of one that is not running
	kind    AnswerKind // of a given one; what a Replied or Forwarded one is stands under answerKey
	attempt uint32     // runs so far
	owner   string     // the host of the latest run
	first   time.Time  // when the first delivery came; by that host's clock
	known   time.Time  // until when a repeat may come
}

const (
	flagRunning = 1 << iota
	flagPending
)

// append appends the encoding of s to b.
func (s *sharedRecord) append(b []byte) []byte {
	var flags byte
	if s.running {
		flags |= flagRunning
	}
	if s.pending {
		flags |= flagPending
	}
	b = append(b, sharedVersion, byte(s.state), flags, byte(s.kind))
	b = binary.AppendUvarint(b, uint64(s.attempt))
	b = appendBytes(b, s.owner)
	b = binary.AppendVarint(b, s.first.UnixMilli())
	return binary.AppendVarint(b, s.known.UnixMilli())
}

// decode reads what append wrote. b may be reused afterwards.
func (s *sharedRecord) decode(b []byte) error {
	*s = sharedRecord{}
	if len(b) == 0 || b[0] != sharedVersion {
		return fmt.Errorf("%w: its version is not %d", errShared, sharedVersion)
	}
	r := entryReader{b: b[1:], of: errShared}
	state, flags, kind, attempt := r.byte(), r.byte(), r.byte(), r.uvarint()
	owner, first, known := r.bytes(), r.varint(), r.varint()
	switch {
	case r.err != nil:
		return r.err
	case len(r.b) > 0:
		return fmt.Errorf("%w: it goes on after its end", errShared)
	case recordState(state) > late || AnswerKind(kind) > Forwarded || flags > flagRunning|flagPending:
		return fmt.Errorf("%w: no state %d, flags %d and kind %d", errShared, state, flags, kind)
	case recordState(state) == given && AnswerKind(kind) == Again:
		return fmt.Errorf("%w: it was given nothing", errShared)
	case len(owner) == 0 || len(owner) > maxOwner || attempt > math.MaxUint32:
		return fmt.Errorf("%w: no owner of %d bytes or attempt %d", errShared, len(owner), attempt)
	}
	*s = sharedRecord{
		state: recordState(state), running: flags&flagRunning != 0, pending: flags&flagPending != 0, kind: AnswerKind(kind),
		attempt: uint32(attempt), owner: string(owner), first: time.UnixMilli(first), known: time.UnixMilli(known),
	}
	return nil
}

// appendShared appends the encoding of an answer that is Replied or Forwarded to
// b: sharedAnswerVersion, its kind and whether it is silent as a byte each, then
// Created as a varint and the reply as a message of weft.v1, or the content type
// as uvarint length and bytes and the body.
func (a *Answer) appendShared(b []byte) []byte {
	b = append(b, sharedAnswerVersion, byte(a.Kind))
	if a.Kind == Forwarded {
		b = appendBool(b, a.Verbatim.Silent)
		b = appendBytes(b, a.Verbatim.ContentType)
		return append(b, a.Verbatim.Body...)
	}
	b = appendBool(b, false)
	b = binary.AppendVarint(b, a.Created)
	return a.Reply.Append(b)
}

// decodeShared reads what appendShared wrote: as the answer to a repeat. b is
// the answer's from then on.
func (a *Answer) decodeShared(b []byte) error {
	if len(b) == 0 || len(b) > maxSharedAnswer || b[0] != sharedAnswerVersion {
		return fmt.Errorf("%w: an answer of %d bytes, not of version %d", errShared, len(b), sharedAnswerVersion)
	}
	r := entryReader{b: b[1:], of: errShared}
	out := Answer{Kind: AnswerKind(r.byte()), Outcome: outcomeRepeat}
	silent := r.byte()
	switch {
	case out.Kind == Forwarded && silent <= 1:
		out.Verbatim = &Verbatim{ContentType: string(r.bytes()), Silent: silent == 1}
		out.Verbatim.Body = r.b
	case out.Kind == Replied && silent == 0:
		out.Created = r.varint()
		out.Reply = new(hostapi.Reply)
		if err := out.Reply.Decode(r.b); err != nil {
			r.fail("its reply: %w", err)
		} else if out.Reply.Size() == 0 {
			r.fail("its reply is empty")
		}
	default:
		r.fail("no answer of kind %d", out.Kind)
	}
	if r.err != nil {
		return r.err
	}
	*a = out
	return nil
}
