package server

import (
	"time"
)

// generation is a configuration as the host serves it. It does not change. What
// outlives it belongs to the Host.
type generation struct {
	number    uint64 // 1 is the one of the start
	since     time.Time
	assembly  *assembly
	callbacks *callbacks
}
