// All uses everything that the SDK has.
package main

import (
	"time"

	"github.com/weft-dev/weft/sdk"
)

func init() {
	sdk.Handle(handle)
	sdk.Start(func() error { return nil })
	sdk.Check(func(c *sdk.Call) error {
		_, err := sdk.Config[config](c)
		return err
	})
}

func main() {}

type config struct{ Greeting string }

func handle(c *sdk.Call) (sdk.Outcome, error) {
	cfg, err := sdk.Config[config](c)
	if err != nil {
		return sdk.Next, err
	}
	n, err := c.UserState().Add("seen", 1, sdk.StateOptions{TTL: time.Hour, Once: "seen"})
	if err != nil {
		return sdk.Next, err
	}
	c.Info("seen %d times", n)
	if _, err := c.Fetch(sdk.FetchRequest{Upstream: "orders", Method: "GET"}); err != nil {
		return sdk.Next, err
	}
	if _, err := c.API(sdk.APIRequest{Method: "GET", Path: "/cgi-bin/tags/get"}); err != nil {
		return sdk.Next, err
	}
	if err := c.Annotate("seen", "yes"); err != nil {
		return sdk.Next, err
	}
	return sdk.Done, c.ReplyText(cfg.Greeting)
}
