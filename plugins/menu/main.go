// Menu answers clicks on the account's menu, and takes an order in a short
// conversation. README.md says what it is told by its config.
package main

import (
	"github.com/weft-dev/weft/sdk"
)

func init() {
	sdk.Handle(handle)
	sdk.Check(check)
}

func main() {}

// handle answers a click by its key; a text it takes for the next step of the
// user's order, where one is under way.
func handle(c *sdk.Call) (sdk.Outcome, error) {
	s, err := sdk.Config[settings](c)
	if err != nil {
		return sdk.Next, err
	}
	if c.Event.Type == "event" {
		it, ok := s.items[c.Event.Key]
		switch {
		case !ok:
			return sdk.Next, nil
		case it.reply != nil:
			return sdk.Done, c.Reply(it.reply)
		}
	}
	if s.order == nil {
		return sdk.Next, nil
	}
	return s.order.converse(c)
}

// check looks for what the schema can't: compiling the config says it all.
func check(c *sdk.Call) error {
	_, err := sdk.Config[settings](c)
	return err
}
