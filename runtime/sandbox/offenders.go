package sandbox

import (
	"slices"
	"time"
)

// windowSize is how many calls a window holds.
const windowSize = 100

// tally counts the calls of a window.
type tally struct{ calls, failed int }

// window is the last windowSize calls of a plugin in one app.
type window struct {
	tally
	users [windowSize]uint64 // a ring: the user of each call that failed, 0 for one that went well
	next  int                // where the next call goes
}

// newWindow returns one that begins with calls that went well.
func newWindow(good int) *window {
	return &window{tally: tally{calls: good}, next: good % windowSize}
}

// add enters a call, in place of the oldest where the window is full.
func (w *window) add(user uint64) {
	if w.calls == windowSize {
		if w.users[w.next] != 0 {
			w.failed--
		}
	} else {
		w.calls++
	}
	if user != 0 {
		w.failed++
	}
	w.users[w.next] = user
	w.next = (w.next + 1) % windowSize
}

// failedForUsers says whether calls of at least n users failed.
func (w *window) failedForUsers(n int) bool {
	seen := make([]uint64, 0, fuseUsers)
	for _, user := range w.users {
		if user == 0 || slices.Contains(seen, user) {
			continue
		}
		if seen = append(seen, user); len(seen) == n {
			return true
		}
	}
	return false
}

// maxOffenders bounds the users that one app's table holds.
const maxOffenders = 1024

// offenders are the users whose events failed lately in one app. When it is
// full the oldest half is forgotten. Moments are durations since a moment that
// is skipWithin before the first of them, so that 0 is too long ago to count.
type offenders struct {
	young, old map[uint64]offender
	began      time.Duration // when young was empty
	skipsEnd   time.Duration // when the last skip ends
}

// offender is a user whose events failed lately.
type offender struct {
	last, before time.Duration // the last two failures since the last skip
	until        time.Duration // skipped until then
}

// fail counts a failure of a user. It tells whether the user is skipped from
// now on.
func (o *offenders) fail(id uint64, now time.Duration) bool {
	one, ok := o.young[id]
	if !ok {
		one = o.old[id] // what it says moves to young
		o.makeRoom(now)
	}
	skip := now-one.before < skipWithin
	switch {
	case now < one.until: // a call that was under way as the skip began
		skip = false
	case skip:
		one = offender{until: now + skipTime}
		o.skipsEnd = one.until
	default:
		one.last, one.before = now, one.last
	}
	o.young[id] = one
	return skip
}

// makeRoom keeps the table small: young becomes old, and what was old is
// forgotten, when young is full or so old that nothing in old counts any more.
func (o *offenders) makeRoom(now time.Duration) {
	if o.young != nil && len(o.young) < maxOffenders/2 && now-o.began < max(skipTime, skipWithin) {
		return
	}
	o.young, o.old, o.began = map[uint64]offender{}, o.young, now
}

// skipped says whether a user is skipped now.
func (o *offenders) skipped(id uint64, now time.Duration) bool {
	one, ok := o.young[id]
	if !ok {
		one = o.old[id]
	}
	return now < one.until
}

// anySkipped says whether some user may be skipped now.
func (o *offenders) anySkipped(now time.Duration) bool { return now < o.skipsEnd }

// countSkipped counts the users that are skipped now.
func (o *offenders) countSkipped(now time.Duration) int {
	n := 0
	for id, one := range o.old {
		if _, moved := o.young[id]; !moved && now < one.until {
			n++
		}
	}
	for _, one := range o.young {
		if now < one.until {
			n++
		}
	}
	return n
}
