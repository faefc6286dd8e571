// Keyword answers texts by rules from its config. README.md says what it is
// told by its config.
package main

import (
	"strings"

	"github.com/weft-dev/weft/sdk"
)

func init() {
	sdk.Handle(answer)
	sdk.Check(check)
}

func main() {}

// answer gives the reply of the first rule that matches what the user said.
func answer(c *sdk.Call) (sdk.Outcome, error) {
	s, err := sdk.Config[settings](c)
	if err != nil {
		return sdk.Next, err
	}
	said := s.said(c.Event)
	if said == "" {
		return sdk.Next, nil
	}
	if r := s.match(said); r != nil {
		return sdk.Done, c.Reply(r)
	}
	// The fallback is for a user who would get no answer otherwise.
	if s.fallback == nil || c.Event.Reply != nil {
		return sdk.Next, nil
	}
	return sdk.Done, c.Reply(s.fallback)
}

// said returns the text of a message without the white space around it, ""
// where it has none that counts.
func (s *settings) said(e *sdk.Event) string {
	switch {
	case e.Type == "text":
		return strings.TrimSpace(e.Content)
	case e.Type == "voice" && s.voice:
		// Recognition ends a sentence as one writes it: 营业时间。
		heard, _ := e.Field("Recognition")
		return strings.TrimRight(strings.TrimSpace(heard), "。！？，、；.!?,; ")
	}
	return ""
}

// match returns the reply of the first rule that matches, nil where none does.
func (s *settings) match(said string) *sdk.Reply {
	folded := said
	if s.folds {
		folded = strings.ToLower(said)
	}
	for i := range s.rules {
		if s.rules[i].matches(said, folded) {
			return s.rules[i].reply
		}
	}
	return nil
}

// check looks for what the schema can't: compiling the rules says it all.
func check(c *sdk.Call) error {
	_, err := sdk.Config[settings](c)
	return err
}
