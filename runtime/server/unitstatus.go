package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// States of a unit.
const (
	unitCurrent = "current" // what its file has serves
	unitKept    = "kept"    // an earlier version of it does
	unitAbsent  = "absent"  // nothing of it does: its apps answer 503
)

// maxUnitProblems are the problems of one unit in the status.
const maxUnitProblems = 10

// unitStatus is a unit in GET /admin/v1/status.
type unitStatus struct {
	File     string          `json:"file"`
	State    string          `json:"state"`
	Since    time.Time       `json:"since"` // of the state with this version
	Problems []problemStatus `json:"problems,omitempty"`
}

// unitState is what a unit's status was last.
type unitState struct {
	state, sum string
	since      time.Time
}

// report makes the status of the units after a search for a selection: s is what
// it found, nil for none. Of a unit that is not current it logs the state when it
// is new.
func (u *units) report(ctx context.Context, s *selection, problems config.Problems, log *slog.Logger) {
	now := time.Now().UTC()
	states := map[string]unitState{}
	var all []unitStatus
	add := func(unit includedFile, state string, v *version) {
		next := unitState{state: state, since: now}
		if v != nil {
			next.sum = v.sum
		}
		before, ok := u.states[unit.file]
		if ok && before.state == state && before.sum == next.sum {
			next = before
		} else if ok || state != unitCurrent {
			level := slog.LevelError
			if state == unitCurrent {
				level = slog.LevelInfo
			}
			log.LogAttrs(ctx, level, "unit "+state, slog.String("file", unit.file))
		}
		states[unit.file] = next
		all = append(all, unitStatus{File: unit.file, State: state, Since: next.since, Problems: problemsStatus(few(ofFile(problems, unit.file), maxUnitProblems))})
	}
	root := includedFile{file: u.file}
	switch {
	case s == nil: // what served goes on
		s = u.serving
		add(root, unitKept, s.root)
	case s.root.modules != nil:
		add(root, unitKept, s.root)
	default:
		add(root, unitCurrent, s.root)
	}
	for _, c := range s.units {
		switch {
		case c.current == nil:
			add(c.unit, unitAbsent, nil)
		case c.current != c.newest:
			add(c.unit, unitKept, c.current)
		default:
			add(c.unit, unitCurrent, c.current)
		}
	}
	u.states = states
	u.status.Store(&all)
}

func ofFile(problems config.Problems, file string) config.Problems {
	var some config.Problems
	for _, p := range problems {
		if p.Pos.File == file && !p.Warning {
			some = append(some, p)
		}
	}
	return some
}

// few returns at most n problems and one more that counts the rest.
func few(problems config.Problems, n int) config.Problems {
	if len(problems) <= n+1 {
		return problems
	}
	rest := config.Problem{Pos: config.Pos{File: problems[n].Pos.File}, Text: fmt.Sprintf("and %d more", len(problems)-n)}
	return append(slices.Clip(problems[:n]), rest)
}
