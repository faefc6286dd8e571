// Package main is a plugin of the host's tests: it asks others what a text says,
// `api METHOD PATH BODY` or `fetch UPSTREAM METHOD PATH BODY`, a line each, and
// answers with what came of the last one.
package main

import (
	"fmt"
	"strings"

	"github.com/weft-dev/weft/sdk"
)

func init() { sdk.Handle(handle) }

func main() {}

func handle(c *sdk.Call) (sdk.Outcome, error) {
	said := ""
	for line := range strings.SplitSeq(c.Event.Content, "\n") {
		what, rest, _ := strings.Cut(line, " ")
		switch what {
		case "api":
			said = api(c, rest)
		case "fetch":
			said = fetch(c, rest)
		}
	}
	return sdk.Done, c.ReplyText(said)
}

// request takes METHOD PATH?NAME=VALUE BODY apart.
func request(text string) (method, path string, query []sdk.Field, body []byte) {
	method, text, _ = strings.Cut(text, " ")
	path, rest, _ := strings.Cut(text, " ")
	path, pairs, _ := strings.Cut(path, "?")
	if pairs != "" {
		name, value, _ := strings.Cut(pairs, "=")
		query = []sdk.Field{{Name: name, Value: value}}
	}
	return method, path, query, []byte(rest)
}

func api(c *sdk.Call, text string) string {
	var req sdk.APIRequest
	req.Method, req.Path, req.Query, req.Body = request(text)
	resp, err := c.API(req)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s %s", resp.Status, resp.Class, resp.Body)
}

func fetch(c *sdk.Call, text string) string {
	var req sdk.FetchRequest
	req.Upstream, text, _ = strings.Cut(text, " ")
	req.Method, req.Path, req.Query, req.Body = request(text)
	req.Headers = []sdk.Field{{Name: "Accept", Value: "text/plain"}}
	req.IdempotencyKey = c.Event.ID
	resp, err := c.Fetch(req)
	if err != nil {
		return err.Error()
	}
	said := fmt.Sprintf("%d %s", resp.Status, resp.Body)
	for _, h := range resp.Headers {
		said += " " + h.Name + "=" + h.Value
	}
	return said
}
