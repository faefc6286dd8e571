package server

import (
	"strings"
	"unicode/utf8"

	"github.com/weft-dev/weft/runtime/config"
)

// TestReport is what Test found. Its JSON is the output of `weft test --json`:
// names are added to it, and none is changed. No list in it is nil.
type TestReport struct {
	Passed   int           `json:"passed"`
	Failed   int           `json:"failed"`
	Cases    []CaseReport  `json:"cases"` // in the order of files and in them
	Problems []TestProblem `json:"problems"`
}

// OK tells whether every case passed, and every file could be read.
func (r *TestReport) OK() bool { return r.Failed == 0 && len(r.Problems) == 0 }

// CaseReport is what became of one case.
type CaseReport struct {
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Name     string        `json:"name"`
	App      string        `json:"app,omitempty"`    // of an app's case
	Plugin   string        `json:"plugin,omitempty"` // of a plugin's case
	Events   int           `json:"events"`
	Fuel     int64         `json:"fuel"` // of all plugins' calls, in units of an instruction
	OK       bool          `json:"ok"`
	Failures []CaseFailure `json:"failures"`
	// Log has what the host would have logged as a warning or an error.
	Log []string `json:"log"`
}

// CaseFailure is something that is not as the file expects it.
type CaseFailure struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	What     string `json:"what"`
	Expected string `json:"expected,omitempty"`
	Got      string `json:"got,omitempty"`
	Advice   string `json:"advice,omitempty"`
}

// String returns the failure as one line: where, what, what to do.
func (f CaseFailure) String() string {
	text := f.What
	if f.Expected != "" {
		text += ": expected " + f.Expected + ", got " + f.Got
	}
	return config.Problem{Pos: config.Pos{File: f.File, Line: f.Line, Col: f.Column}, Text: text, Advice: f.Advice}.String()
}

// TestProblem is what keeps cases of a file from being run.
type TestProblem struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

// String returns the problem as one line.
func (p TestProblem) String() string {
	return config.Problem{Pos: config.Pos{File: p.File, Line: p.Line, Col: p.Column}, Text: p.Text, Advice: p.Advice}.String()
}

// addProblems takes over what is no warning.
func (r *TestReport) addProblems(problems config.Problems) {
	for _, p := range problems {
		if !p.Warning {
			r.Problems = append(r.Problems, TestProblem{p.Pos.File, p.Pos.Line, p.Pos.Col, p.Text, p.Advice})
		}
	}
}

func (r *TestReport) addCase(c CaseReport) {
	if c.OK = len(c.Failures) == 0; c.OK {
		r.Passed++
	} else {
		r.Failed++
	}
	r.Cases = append(r.Cases, c)
}

// fail notes that something at pos is not as expected.
func (c *CaseReport) fail(pos config.Pos, what, expected, got, advice string) {
	expected, got = cutBoth(expected, got)
	c.Failures = append(c.Failures, CaseFailure{pos.File, pos.Line, pos.Col, what, expected, got, advice})
}

// maxShownText is how much of a text is shown, in bytes; shownBefore is how much of
// it before the first difference from another.
const (
	maxShownText = 2000
	shownBefore  = 200
)

func cutText(s string) string {
	if len(s) > maxShownText {
		return strings.ToValidUTF8(s[:maxShownText], "") + "…"
	}
	return s
}

// cutBoth cuts two texts so that what differs first is shown.
func cutBoth(a, b string) (string, string) {
	if len(a) <= maxShownText && len(b) <= maxShownText {
		return a, b
	}
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	for at -= shownBefore; at > 0 && !utf8.RuneStart(a[at]); {
		at--
	}
	if at <= 0 {
		return cutText(a), cutText(b)
	}
	return "…" + cutText(a[at:]), "…" + cutText(b[at:])
}
