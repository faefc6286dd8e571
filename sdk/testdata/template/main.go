// Template keeps no state, and links what looks methods up by name, which
// makes the linker keep more than is called.
package main

import (
	"strings"
	"text/template"

	"github.com/weft-dev/weft/sdk"
)

func init() { sdk.Handle(handle) }
func main() {}

func handle(c *sdk.Call) (sdk.Outcome, error) {
	var text strings.Builder
	t, err := template.New("").Parse("{{.Content}}")
	if err == nil {
		err = t.Execute(&text, c.Event)
	}
	if err != nil {
		return sdk.Next, err
	}
	c.Debug("answer %q", text.String())
	return sdk.Done, c.ReplyText(text.String())
}
