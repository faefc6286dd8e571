package server

import "time"

const (
	// watchEvery is the time between two looks at the files.
	watchEvery = 500 * time.Millisecond
	// watchLooks is how many looks a change is waited for that goes on: with
	// watchEvery, within 2 s of the change the files are read.
	watchLooks = 3
)

// watch says when the files of a configuration have changed. It looks at them
// from time to time, which works on every file system and behind links.
type watch struct {
	taken   *sources // as they were read last
	pending *sources // as the look before found them; nil: as taken
	looks   int      // since they are not as taken
}

// look tells whether the files are to be read again: they are not as they were
// read, and as the look before found them.
func (w *watch) look(at time.Time) bool {
	now := w.taken.now(at)
	if now.same(w.taken) {
		w.pending, w.looks = nil, 0
		return false
	}
	settled := w.pending != nil && now.same(w.pending)
	w.looks++
	w.pending = now
	return settled || w.looks >= watchLooks
}
