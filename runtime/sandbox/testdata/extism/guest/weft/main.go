//go:build wasip1

// The work as a plugin of Weft, on its SDK: an Event comes in, a Reply with the
// event's content as its text goes out.
package main

import "github.com/weft-dev/weft/sdk"

func init() { sdk.Handle(handle) }

func main() {}

func handle(c *sdk.Call) (sdk.Outcome, error) {
	return sdk.Done, c.Reply(&sdk.Reply{Text: &sdk.Text{Content: c.Event.Content}})
}
