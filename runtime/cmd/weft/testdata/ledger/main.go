// Ledger is the guest of the durability tests: what it says it has written must
// be there after a kill.
package main

import (
	"errors"
	"strings"
	"time"

	"github.com/weft-dev/weft/sdk"
)

func init() { sdk.Handle(ledger) }

func main() {}

// ledger understands 'put K', 'slow K' (takes two seconds, then puts), 'note K'
// (puts, and answers nothing), 'flaky K' (fails at the first attempt, then does as
// note) and 'get K'. put counts: the answer and the value are how often K was put.
func ledger(c *sdk.Call) (sdk.Outcome, error) {
	verb, key, _ := strings.Cut(c.Event.Content, " ")
	switch verb {
	case "flaky":
		if c.Event.Attempt < 2 {
			return sdk.Done, errors.New("as it was asked to")
		}
		fallthrough
	case "note":
		_, err := c.State().Add(key, 1, sdk.StateOptions{})
		return sdk.Done, err
	case "slow":
		time.Sleep(2 * time.Second)
		fallthrough
	case "put":
		if _, err := c.State().Add(key, 1, sdk.StateOptions{}); err != nil {
			return sdk.Done, err
		}
		return sdk.Done, c.ReplyText("put " + key)
	default:
		value, found, err := c.State().Get(key)
		if err != nil {
			return sdk.Done, err
		}
		if !found {
			return sdk.Done, c.ReplyText("none")
		}
		return sdk.Done, c.ReplyText(string(value))
	}
}
