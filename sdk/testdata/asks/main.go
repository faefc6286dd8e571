// Asks calls WeChat's API and a service of the business, and keeps nothing.
package main

import (
	"errors"

	"github.com/weft-dev/weft/sdk"
)

func init() { sdk.Handle(handle) }

func main() {}

func handle(c *sdk.Call) (sdk.Outcome, error) {
	orders, err := c.Fetch(sdk.FetchRequest{Upstream: "orders", Method: "GET", Path: "/orders/" + c.Event.User})
	if err != nil {
		return sdk.Next, err
	}
	body, err := sdk.JSON(map[string]any{"touser": c.Event.User, "msgtype": "text", "text": map[string]string{"content": string(orders.Body)}})
	if err != nil {
		return sdk.Next, err
	}
	_, err = c.API(sdk.APIRequest{Method: "POST", Path: "/cgi-bin/message/custom/send", Body: body, IdempotencyKey: c.Event.ID})
	var refused *sdk.APIError
	if errors.As(err, &refused) && refused.Class == "user_state" {
		return sdk.Next, nil
	}
	return sdk.Done, err
}
