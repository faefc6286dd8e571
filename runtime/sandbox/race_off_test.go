//go:build !race

package sandbox

// raceEnabled says that the race detector slows this run down.
const raceEnabled = false
