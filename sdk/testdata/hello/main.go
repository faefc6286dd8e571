// Hello greets whoever writes.
package main

import "github.com/weft-dev/weft/sdk"

func init() { sdk.Handle(hello) }
func main() {}

func hello(c *sdk.Call) (sdk.Outcome, error) {
	return sdk.Done, c.ReplyText("你好，" + c.Event.Content)
}
