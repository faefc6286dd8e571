//go:build race

package server

// raceEnabled says that the race detector slows this run down.
const raceEnabled = true
