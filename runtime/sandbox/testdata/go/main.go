// A guest in Go, on the SDK. What it does is said by the event's content.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/weft-dev/weft/sdk"
)

func init() {
	sdk.Handle(handle)
	sdk.Check(check)
	sdk.Start(func() error {
		kept = map[string]int{}
		return nil
	})
}

func main() {}

// kept outlives an event, and so takes part in the collector's work.
var kept map[string]int

type config struct {
	Greeting string `json:"greeting"`
}

func check(c *sdk.Call) error {
	cfg, err := sdk.Config[config](c)
	if err == nil && cfg.Greeting == "rude" {
		err = errors.New("greeting: be polite")
	}
	return err
}

func handle(c *sdk.Call) (sdk.Outcome, error) {
	cfg, err := sdk.Config[config](c)
	if err != nil {
		return sdk.Next, err
	}
	switch c.Event.Content {
	case "panic":
		var nothing []int
		return sdk.Next, fmt.Errorf("never said %d", nothing[len(c.Event.Content)])
	case "exit":
		os.Exit(4)
	case "error":
		return sdk.Next, errors.New("not today")
	case "sleep":
		time.Sleep(time.Hour)
	case "memory":
		var blocks [][]byte
		for {
			blocks = append(blocks, make([]byte, 1<<20))
		}
	case "print":
		fmt.Println("to standard output")
		fmt.Fprintln(os.Stderr, "to standard error")
		c.Warn("to the log: %d files", len(os.Args))
	case "count":
		n, err := c.UserState().Add("visits", 1, sdk.StateOptions{Once: "visit"})
		if err != nil {
			return sdk.Next, err
		}
		return sdk.Done, c.ReplyText(fmt.Sprintf("visit %d", n))
	}
	kept[c.Event.From]++
	if err := c.Annotate("greeted", c.Event.From); err != nil {
		return sdk.Next, err
	}
	return sdk.Done, c.ReplyText(cfg.Greeting + ", " + c.Event.Content)
}
