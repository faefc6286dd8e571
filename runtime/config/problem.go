package config

import (
	"fmt"
	"strings"
	"unicode"
)

// Pos is a place in a file. Line and Col count from 1; 0 where unknown.
type Pos struct {
	File string
	Line int
	Col  int
}

// String returns file:line:column, as far as it is known.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Problem is one thing that is wrong, or likely wrong, with a configuration.
type Problem struct {
	Pos     Pos
	Warning bool   // not wrong in itself
	Text    string // what is wrong; never a secret or an expanded value
	Advice  string // what to do; "" where Text says it all
	// Other is the other of two places that can't both be, in another file than
	// Pos; zero where there is none.
	Other Pos
}

// String returns the problem as one line: where, what, what to do.
func (p Problem) String() string {
	s := p.Pos.String() + ": "
	if p.Warning {
		s += "warning: "
	}
	s += p.Text
	if p.Advice != "" {
		s += " (" + p.Advice + ")"
	}
	return oneLine(s)
}

// oneLine is a text without what moves a terminal's cursor or begins a line of its
// own: a name from a file may have that.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsGraphic(r):
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// Problems is an error that holds everything that was found.
type Problems []Problem

// Error returns a line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems as an error, nil where all are warnings.
func (ps Problems) Err() error {
	for _, p := range ps {
		if !p.Warning {
			return ps
		}
	}
	return nil
}
