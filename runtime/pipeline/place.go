package pipeline

import (
	"slices"

	"github.com/weft-dev/weft/hostapi"
)

// place is where a walk of a list of stages begins. The zero place is its top.
type place struct {
	stage string // its name
	// parts are the branches of the stage, in list order, where it is a parallel
	// one that was run in part, one at least queued; nil: it is run whole.
	parts []part

	// path leads from the list to the stage: its index, then branch and index in
	// it for each stage with branches on the way. find sets it.
	path []int
}

// part is what a branch of a parallel stage has left, and what of it is still to
// be run.
type part struct {
	end     flow            // goOn, done or stopped; queued: it is to be run from at
	at      place           // its path begins with the branch
	attrs   []hostapi.Field // the annotations that it made
	replied bool            // it set the reply, or took it back
	reply   *hostapi.Reply
}

// find sets the paths of at, which is a place in the branches of the stage at
// under; nil: in the pipeline. It returns the name of a stage that the place
// needs and that is not there, or "".
func (p *pipe) find(at *place, under []int) (missing string) {
	path := p.paths[at.stage]
	if len(path) <= len(under) || !slices.Equal(path[:len(under)], under) {
		return at.stage
	}
	for n := 1; n < len(path); n += 2 {
		if n <= len(under) || p.stage(path[:n]).parallel == nil {
			continue
		}
		// The stage has become part of a branch since: that one is run alone.
		inner := *at
		*at = place{stage: p.stage(path[:n]).name, parts: []part{{end: queued, at: inner}}, path: path[len(under):n]}
		return p.find(&at.parts[0].at, path[:n])
	}
	at.path = path[len(under):]
	if at.parts != nil && p.stage(path).parallel == nil {
		return at.stage
	}
	for i := range at.parts {
		if b := &at.parts[i]; b.end == queued {
			if missing := p.find(&b.at, path); missing != "" {
				return missing
			}
		}
	}
	return ""
}

// stage returns the stage at a whole path.
func (p *pipe) stage(path []int) *stage {
	list := p.stages
	for ; len(path) > 1; path = path[2:] {
		list = list[path[0]].branches[path[1]].stages
	}
	return list[path[0]]
}
