package pipeline

import (
	"strings"

	"github.com/weft-dev/weft/hostapi"
)

// env is what a condition sees. The names in brackets can't be written in an
// expression; the patched one uses them.
type env struct {
	App     string            `expr:"app"`
	Labels  map[string]string `expr:"labels"`
	Type    string            `expr:"type"`
	Event   string            `expr:"event"`
	Key     string            `expr:"key"`
	Scene   string            `expr:"scene"`
	Content string            `expr:"content"`
	From    string            `expr:"from"`
	To      string            `expr:"to"`
	User    string            `expr:"user"`
	Created int               `expr:"created"`
	Hour    int               `expr:"hour"`    // 0 to 23
	Weekday int               `expr:"weekday"` // 1, Monday, to 7
	Origin  string            `expr:"origin"`

	// Attrs and Fields are never read: looking up in them is patched to a call.
	Attrs  map[string]string `expr:"attrs"`
	Fields map[string]string `expr:"fields"`

	FoldedType  string         `expr:"type[]"`
	FoldedEvent string         `expr:"event[]"`
	View        *hostapi.Event `expr:"view[]"` // its Fields, and the Attrs so far

	view hostapi.Event
}

// names returns what an expression may name.
func names() []string {
	return []string{
		"app", "labels", "type", "event", "key", "scene", "content", "from", "to", "user",
		"created", "hour", "weekday", "origin", "attrs", "fields",
	}
}

// newEnv makes the environment of one event. Its attrs are set before each
// evaluation.
func newEnv(a *app, ev *hostapi.Event) *env {
	e := &env{
		App: a.name, Labels: a.labels, Type: ev.Type, Event: ev.Event, Key: ev.Key, Scene: ev.Scene, Content: ev.Content,
		From: ev.From, To: ev.To, User: ev.User, Created: int(ev.Created), Origin: ev.Origin,
		FoldedType: strings.ToLower(ev.Type), FoldedEvent: strings.ToLower(ev.Event),
	}
	e.Hour, e.Weekday = shanghai(ev.Created)
	e.view.Fields = ev.Fields
	e.View = &e.view
	return e
}

// shanghai gives the hour and the weekday (1, Monday, to 7) in Asia/Shanghai,
// which has been 8 hours ahead of UTC without a break since 1991, of a time in
// Unix seconds.
func shanghai(unix int64) (hour, weekday int) {
	const hourSeconds = 3600
	hours := floorDiv(unix, hourSeconds) + 8
	days := floorDiv(hours, 24)
	const epoch = 3 // 1970-01-01 was a Thursday: 3 days after a Monday
	return int(hours - days*24), int((days%7+7+epoch)%7) + 1
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
