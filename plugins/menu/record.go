package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// waits is what an order waits for.
type waits int

// The steps of an order, by the number in the record.
const (
	forNothing  waits = 0 // no order is under way
	forProduct  waits = 1
	forQuantity waits = 2
	forConfirm  waits = 3
)

// record is what the state keeps of a user's order. The zero value is that of a
// user who never ordered.
type record struct {
	waits    waits
	began    int64 // CreateTime of the click that began the order
	until    int64 // the last CreateTime that is in time; 0: any
	quantity int
	product  string
	past     []past // the latest steps, oldest first
}

// past is a step that an event made.
type past struct {
	event string // Event.ID
	answer
}

// answer is what the conversation says to one event.
type answer struct {
	says     string // the name of a text
	quantity int
	number   int64 // of a placed order
	product  string
}

// maxPast is how many steps a record remembers. An event that is run again after
// more steps than this of the same user would count as a new one.
const maxPast = 16

// answered returns what was said to an event that has made its step.
func (r *record) answered(event string) (answer, bool) {
	for _, p := range r.past {
		if p.event == event {
			return p.answer, true
		}
	}
	return answer{}, false
}

// remember adds a step. The record's past is not shared with another's.
func (r *record) remember(event string, a answer) {
	oldest := max(0, len(r.past)+1-maxPast)
	r.past = append(slices.Clone(r.past[oldest:]), past{event, a})
}

// extend moves the deadline to a time after a message; never back, because an
// older message may be run after a newer one.
func (r *record) extend(created int64, timeout time.Duration) {
	if created != 0 {
		r.until = max(r.until, created+int64(timeout/time.Second))
	}
}

// ended returns the record of a user whose order is over: it still knows when
// that began and what was said.
func (r record) ended() record { return record{began: r.began, past: r.past} }

// The encoding is text: a line for the order, then one for each past step, the
// columns parted by tabs. Its first column is the version.
const recordVersion = "1"

// encode returns the record as the state keeps it.
func (r *record) encode() []byte {
	b := []byte(recordVersion)
	b = column(b, strconv.Itoa(int(r.waits)))
	b = column(b, strconv.FormatInt(r.began, 10))
	b = column(b, strconv.FormatInt(r.until, 10))
	b = column(b, strconv.Itoa(r.quantity))
	b = column(b, r.product)
	for _, p := range r.past {
		b = append(b, '\n')
		b = append(b, p.event...)
		b = column(b, p.says)
		b = column(b, strconv.Itoa(p.quantity))
		b = column(b, strconv.FormatInt(p.number, 10))
		b = column(b, p.product)
	}
	return b
}

// column appends a further column to a line. Products hold no control
// characters: the schema in plugin.yaml refuses them.
func column(b []byte, s string) []byte { return append(append(b, '\t'), s...) }

var errRecord = errors.New("the record in the state is not one of this version")

// decodeRecord decodes what encode gave; nothing is the zero record. With the
// error comes the zero record.
func decodeRecord(b []byte) (record, error) {
	if len(b) == 0 {
		return record{}, nil
	}
	lines := strings.Split(string(b), "\n")
	head := strings.Split(lines[0], "\t")
	if len(head) != 6 || head[0] != recordVersion || len(lines)-1 > maxPast {
		return record{}, errRecord
	}
	var bad bool
	r := record{
		waits:    waits(decodeInt(head[1], &bad)),
		began:    decodeInt(head[2], &bad),
		until:    decodeInt(head[3], &bad),
		quantity: int(decodeInt(head[4], &bad)),
		product:  head[5],
	}
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		if len(f) != 5 {
			return record{}, errRecord
		}
		r.past = append(r.past, past{f[0], answer{f[1], int(decodeInt(f[2], &bad)), decodeInt(f[3], &bad), f[4]}})
	}
	if bad || r.waits < forNothing || r.waits > forConfirm {
		return record{}, errRecord
	}
	return r, nil
}

// decodeInt decodes an integer; what is none sets bad.
func decodeInt(s string, bad *bool) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		*bad = true
	}
	return n
}
