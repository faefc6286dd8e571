package sandbox

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"github.com/tetratelabs/wazero/api"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// Isolation says how far what a plugin keeps in its memory reaches.
type Isolation int

// The levels of isolation.
const (
	// IsolationShared: instances serve all apps, one after another.
	IsolationShared Isolation = iota
	// IsolationApp: an instance serves one app.
	IsolationApp
	// IsolationEvent: before each event an instance is as it was after its
	// start.
	IsolationEvent
	isolationCount
)

// String is the word of pipeline.yaml: shared, app or event.
func (i Isolation) String() string {
	return [isolationCount]string{"shared", "app", "event"}[i]
}

// checkIsolation says why a plugin can't run with an isolation, for each reason
// what to do; none where it can.
func checkIsolation(plugin string, isolation Isolation, m *fuel.Module) []string {
	if isolation != IsolationEvent {
		return nil
	}
	var problems []string
	for _, why := range m.CantReset {
		problems = append(problems, fmt.Sprintf("it can't run with isolation: event, because of %s, which can't be put back after an event; in pipeline.yaml set plugins.%s.isolation: app", why, plugin))
	}
	return problems
}

// snapshotBlock is the unit in which a snapshot is kept and put back, bytes of a
// memory: a page of most systems.
const snapshotBlock = 4 << 10

// snapshot is what an instance is after its start, for IsolationEvent.
type snapshot struct {
	size    uint32   // of the memory
	blocks  [][]byte // of snapshotBlock bytes of the memory each; nil: zeros
	globals []savedGlobal

	bufferAt, bufferLen uint32
}

type savedGlobal struct {
	global api.MutableGlobal
	value  uint64
}

// keep takes the snapshot that restore goes back to.
func (in *instance) keep() {
	s := &snapshot{size: in.memory.Size(), bufferAt: in.bufferAt, bufferLen: in.bufferLen}
	full := 0
	for block := range in.blocks() {
		if !isZero(block) {
			full++
		}
	}
	data := make([]byte, 0, full*snapshotBlock)
	for block := range in.blocks() {
		if isZero(block) {
			s.blocks = append(s.blocks, nil)
			continue
		}
		data = append(data, block...)
		s.blocks = append(s.blocks, data[len(data)-snapshotBlock:])
	}
	for _, name := range in.plugin.module.Globals {
		// The rewriter exports them, and wazero has validated that they can be set.
		g := in.module.ExportedGlobal(name).(api.MutableGlobal)
		s.globals = append(s.globals, savedGlobal{g, g.Get()})
	}
	in.snapshot = s
}

// restore makes an instance what it was after its start, where that is asked
// for. False says that it can't: its memory grew, and doesn't shrink.
//
// Blocks are compared first: most are as they were, and writing a block that the
// guest never touched would take memory for it.
func (in *instance) restore() bool {
	s := in.snapshot
	if s == nil {
		return true
	}
	if in.memory.Size() != s.size {
		return false
	}
	i := 0
	for block := range in.blocks() {
		switch was := s.blocks[i]; {
		case was == nil:
			if !isZero(block) {
				clear(block)
			}
		case !bytes.Equal(block, was):
			copy(block, was)
		}
		i++
	}
	for _, g := range s.globals {
		g.global.Set(g.value)
	}
	in.bufferAt, in.bufferLen = s.bufferAt, s.bufferLen
	return true
}

// blocks gives the guest's memory, snapshotBlock bytes at a time.
func (in *instance) blocks() iter.Seq[[]byte] {
	memory, _ := in.memory.Read(0, in.memory.Size())
	return slices.Chunk(memory, snapshotBlock)
}

// isZero says whether all bytes of a block are 0.
func isZero(block []byte) bool {
	return block[0] == 0 && bytes.Equal(block[1:], block[:len(block)-1])
}
