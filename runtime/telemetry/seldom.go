package telemetry

import (
	"sync/atomic"
	"time"
)

// Seldom lets one log line in a time through, of those that anybody can cause.
// Its zero value is ready; many goroutines may use it at once.
type Seldom struct {
	last    atomic.Int64 // when a line was let through, Unix nanoseconds
	skipped atomic.Int64 // since then
}

// Pass tells whether a line may be logged at now: none was for the time every.
// skipped is how many were held back before it.
func (s *Seldom) Pass(now time.Time, every time.Duration) (skipped int64, ok bool) {
	at, last := now.UnixNano(), s.last.Load()
	if at-last < int64(every) || !s.last.CompareAndSwap(last, at) {
		s.skipped.Add(1)
		return 0, false
	}
	return s.skipped.Swap(0), true
}
