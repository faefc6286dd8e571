// Package main is the plugin of the host's tests: the first word of a text says
// what it does.
package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weft-dev/weft/sdk"
)

func init() {
	sdk.Handle(handle)
	sdk.Check(check)
}

func main() {}

type config struct{ Name, Secret string }

func check(c *sdk.Call) error {
	cfg, err := sdk.Config[config](c)
	if err != nil {
		return err
	}
	if cfg.Name == "refused" {
		return errors.New("name must not be refused")
	}
	return nil
}

var kept [][]byte

func handle(c *sdk.Call) (sdk.Outcome, error) {
	word, rest, _ := strings.Cut(c.Event.Content, " ")
	switch word {
	case "echo":
		return sdk.Done, c.ReplyText(rest)
	case "name":
		cfg, err := sdk.Config[config](c)
		if err != nil {
			return sdk.Next, err
		}
		return sdk.Done, c.ReplyText(cfg.Name)
	case "count":
		n, err := c.State().Add("runs", 1, sdk.StateOptions{})
		if err != nil {
			return sdk.Next, err
		}
		return sdk.Done, c.ReplyText(fmt.Sprintf("run %d", n))
	case "put":
		if err := c.State().Set("text", []byte(rest), sdk.StateOptions{}); err != nil {
			return sdk.Done, c.ReplyText(err.Error())
		}
		return sdk.Done, c.ReplyText("put")
	case "nap":
		began := time.Now()
		time.Sleep(20 * time.Millisecond)
		return sdk.Done, c.ReplyText("slept " + time.Since(began).Round(time.Millisecond).String())
	case "tag":
		if err := c.Annotate("tag", rest); err != nil {
			return sdk.Next, err
		}
	case "wait":
		return wait(c)
	case "fail":
		return sdk.Next, errors.New("as it was asked to")
	case "trap":
		panic("as it was asked to")
	case "loop":
		for {
			kept = kept[:0]
		}
	case "memory":
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	}
	return sdk.Next, nil
}

// wait counts its run and goes on once the key open is there.
func wait(c *sdk.Call) (sdk.Outcome, error) {
	n, err := c.State().Add("runs", 1, sdk.StateOptions{})
	if err != nil {
		return sdk.Next, err
	}
	for {
		_, open, err := c.State().Get("open")
		if err != nil {
			return sdk.Next, err
		}
		if open {
			return sdk.Done, c.ReplyText(fmt.Sprintf("run %d", n))
		}
		time.Sleep(10 * time.Millisecond)
	}
}
