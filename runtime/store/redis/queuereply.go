package redis

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// reply reads what a script answered, item by item. After the first item that isn't
// what was asked for all the others are zero values, and end tells of it.
type reply struct {
	items []any
	err   error
}

// newReply begins with the word that a script's answer begins with.
func newReply(answer any) (r *reply, word string) {
	items, ok := answer.([]any)
	if !ok {
		return &reply{err: unavailable(errReply)}, ""
	}
	r = &reply{items: items}
	return r, r.text()
}

// more says whether there are items left.
func (r *reply) more() bool { return r.err == nil && len(r.items) > 0 }

// end returns the error of what was read; items that are left are one, too.
func (r *reply) end() error {
	if r.err == nil && len(r.items) > 0 {
		r.fail()
	}
	return r.err
}

func (r *reply) fail() { r.items, r.err = nil, unavailable(errReply) }

func (r *reply) next() any {
	if len(r.items) == 0 {
		r.fail()
		return nil
	}
	item := r.items[0]
	r.items = r.items[1:]
	return item
}

func (r *reply) text() string {
	s, ok := r.next().(string)
	if !ok {
		r.fail()
	}
	return s
}

func (r *reply) bytes() []byte { return []byte(r.text()) }

// whole is a number that is not below 0.
func (r *reply) whole() uint64 {
	n, ok := r.next().(int64)
	if !ok || n < 0 {
		r.fail()
		return 0
	}
	return uint64(n)
}

// count is a number of entries.
func (r *reply) count() int {
	n := r.whole()
	if n > math.MaxInt32 {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reply) time() time.Time { return timeOf(r.whole()) }

// number is the number of an entry, which came as text.
func (r *reply) number(text string) uint64 {
	if len(text) != 8 {
		r.fail()
		return 0
	}
	return binary.BigEndian.Uint64([]byte(text))
}

// meta is what META of queue.lua holds of an entry, its token apart.
type meta struct {
	appended, at time.Time
	tries        uint32
	line, key    string
}

// metaHead is the length of META before the name of the line.
const metaHead = 8 + 8 + 8 + 4 + 1

func (r *reply) meta() (m meta) {
	b := r.bytes()
	if len(b) < metaHead || len(b) < metaHead+int(b[metaHead-1]) {
		r.fail()
		return meta{}
	}
	m.appended, m.at = timeOf(binary.BigEndian.Uint64(b)), timeOf(binary.BigEndian.Uint64(b[8:]))
	m.tries = binary.BigEndian.Uint32(b[24:])
	line := metaHead + int(b[metaHead-1])
	m.line, m.key = string(b[metaHead:line]), string(b[line:])
	return m
}

// timeOf is a time of a script.
func timeOf(us uint64) time.Time { return time.UnixMicro(int64(min(us, math.MaxInt64))) }

// readAppended reads what queue_append.lua answers.
func readAppended(r *reply, entries []store.Entry) []store.Claim {
	appended := r.time()
	claims := make([]store.Claim, len(entries))
	for i := range entries {
		if token := r.whole(); token != 0 {
			e := &entries[i]
			claims[i] = store.Claim{Key: e.Key, Line: e.Line, Value: e.Value, Appended: appended, Token: token}
		}
	}
	return claims
}

// readClaims reads what queue_claim.lua answers.
func readClaims(r *reply) (claims []store.Claim) {
	for r.more() {
		token, m, value := r.whole(), r.meta(), r.bytes()
		claims = append(claims, store.Claim{
			Key: m.key, Line: m.line, Value: value, Tries: m.tries, Appended: m.appended, Token: token,
		})
	}
	return claims
}

// readLines reads what queue_lines.lua answers.
func readLines(r *reply) (page []line) {
	now := r.time()
	for r.more() {
		var l line
		l.Name = r.text()
		l.Depth.Ready, l.Depth.Delayed, l.Depth.Claimed, l.Depth.Dead = r.count(), r.count(), r.count(), r.count()
		number, appended, next := r.text(), r.time(), r.time()
		if l.Depth.Ready > 0 {
			l.oldest, l.Depth.Oldest, next = r.number(number), appended, now
		}
		if next.UnixMicro() != 0 {
			l.Next = next
		}
		page = append(page, l)
	}
	return page
}

// readInfos reads what queue_list.lua answers.
func readInfos(r *reply) (page []store.Info) {
	for r.more() {
		seq, m, value, reason, state := r.number(r.text()), r.meta(), r.bytes(), r.text(), r.text()
		info := store.Info{
			Seq: seq, Key: m.key, Line: m.line, Value: value, Tries: m.tries, Appended: m.appended,
			Claimed: state == "claimed", Dead: state == "dead",
		}
		if info.Dead {
			info.Reason = reason
		} else {
			info.Ready = m.at
		}
		page = append(page, info)
	}
	return page
}
