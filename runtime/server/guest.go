package server

import (
	"context"
	"errors"

	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// guest is a loaded plugin as the pipeline sees it.
type guest struct {
	plugin *sandbox.Plugin
	state  sandbox.State
	layers *layers       // nil: shadows have no state
	asks   *capabilities // nil: it asks nobody
}

// Wants says whether the plugin's manifest has room for such an event. One that
// did not load wants all: its configuration never serves.
func (g guest) Wants(typ, event string) bool {
	return g.plugin == nil || g.plugin.Manifest().Wants(typ, event)
}

var errNotLoaded = errors.New("the plugin did not load")

// Handle runs the plugin on one event.
func (g guest) Handle(ctx context.Context, call *pipeline.Call) (pipeline.Result, error) {
	if g.plugin == nil {
		return pipeline.Result{}, errNotLoaded
	}
	c := sandbox.Call{Event: call.Event, Attrs: call.Attrs, Reply: call.Reply, Passive: call.Passive, Aside: call.Layer != nil}
	switch {
	case call.Layer != nil && g.layers != nil:
		c.State = g.layers.of(*call.Layer, call.Before)
	case call.Layer != nil:
		c.State = noState{}
	case call.Before != nil:
		c.State = &watchedState{inner: g.state, before: call.Before}
	}
	var calls *eventCalls
	if g.asks != nil {
		calls = &eventCalls{capabilities: g.asks}
		c.API, c.Fetch = calls, calls
	}
	res, err := g.plugin.Handle(ctx, &c)
	return pipeline.Result{
		Outcome: res.Outcome, Reply: res.Reply, ReplySet: res.ReplySet, Fuel: res.Fuel, Annotations: res.Annotations,
		Withheld: calls != nil && calls.withheld,
	}, err
}
