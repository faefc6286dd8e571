// Package manifest reads plugin.yaml, from its file or from the custom section of
// a module, and holds a config against the schema that is in it.
package manifest

import (
	"fmt"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// MaxSize is the most bytes that a plugin.yaml may have.
const MaxSize = 256 << 10

// Manifest is a checked plugin.yaml. It is not changed after Parse, and any
// number of goroutines may use it.
type Manifest struct {
	Name        string
	Version     string            // semantic version 2.0.0
	ABI         int               // the highest that the plugin speaks
	Title       map[string]string // by language: en, zh, zh-CN
	Description map[string]string // by language
	Vendor      string
	License     string

	Messages    []string // MsgTypes that the plugin can use
	Events      []string // Events, or InfoTypes, that the plugin can use
	MessagesSet bool     // messages stands in the file
	EventsSet   bool     // events stands in the file

	Capabilities map[string]Capability // by name: state, send, …
	Raw          bool                  // the plugin reads Event.raw
	Limits       Limits

	schema *jsonschema.Schema // nil: any config will do
}

// Capability is a host call that the plugin needs.
type Capability struct {
	Why       string            // for the operator
	Optional  bool              // not granted, its calls answer DENIED
	Upstreams map[string]string // fetch only: the plugin's name for each, and what it asks there
	Paths     []string          // api only: patterns of the calls that it makes; none: it doesn't say, and all that are granted may be made
}

// Limits is what the plugin asks for; 0 where it says nothing.
type Limits struct {
	Memory  int64         // bytes
	Timeout time.Duration // of one call
	Fuel    int64         // instructions of one call
}

// Wants tells whether the plugin can use an event with this MsgType and Event. A
// push without MsgType has typ "" and its InfoType as event. Letter case doesn't
// matter.
//
// A manifest that has neither messages nor events wants everything; one that has
// one of them wants none of the other.
func (m *Manifest) Wants(typ, event string) bool {
	switch {
	case !m.MessagesSet && !m.EventsSet:
		return true
	case typ == "" || strings.EqualFold(typ, "event"):
		return contains(m.Events, event)
	}
	return contains(m.Messages, typ)
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// Problem is one thing that is wrong with a plugin.yaml.
type Problem struct {
	Line, Col int // from 1
	Text      string
}

// Error is all that is wrong with a plugin.yaml, in the order of the file.
type Error struct {
	File     string
	Problems []Problem // at most 100
}

// Error returns a line for each problem: file:line:column and what is wrong.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", e.File, p.Line, p.Col, p.Text)
	}
	return strings.Join(lines, "\n")
}
