package sandbox

import "time"

// When an instance leaves the pool although its last call went well: memory
// never shrinks, and what a guest leaks stays.
const (
	maxCalls = 100_000
	// maxIdle is for how long an instance may be idle, but for the one that was
	// used last; maxIdleApp is that one's time where it serves a single app.
	maxIdle    = 5 * time.Minute
	maxIdleApp = time.Hour
	// maxIdleAside is that one's time where it serves calls aside.
	maxIdleAside = 10 * time.Minute
)

// worn says why an instance leaves the pool although its last call went well.
type worn int

const (
	notWorn    worn = iota
	wornCalls       // it served maxCalls
	wornMemory      // its memory grew past the mark of wear
	wornIdle        // nobody asked for it
	wornGrown       // its memory grew, so that it can't be as after its start
	wornCount
)

// String is the metric's label.
func (w worn) String() string {
	return [wornCount]string{"", "calls", "high-water", "idle", "grown"}[w]
}

// wear is what a pool notes of an instance. The pool's lock guards it.
type wear struct {
	line      *appLine // the app that has it, or had it last
	calls     uint32
	mark      int64     // bytes of memory past which it is worn
	idleSince time.Time // the look of expire that found it idle first; 0: none did
}

// begin sets the mark of an instance that has just started: three quarters of
// the way from what its memory is to its limit. One that starts at its limit
// never passes it.
func (w *wear) begin(m *linearMemory) {
	size := m.size()
	w.mark = size + (int64(m.limit)-size)/4*3
}

// count notes the end of a call.
func (w *wear) count(m *linearMemory) worn {
	w.calls++
	w.idleSince = time.Time{}
	switch {
	case w.calls >= maxCalls:
		return wornCalls
	case m.size() > w.mark:
		return wornMemory
	}
	return notWorn
}
