// Welcome greets new followers and users who scan a QR code. README.md says
// what it is told by its config.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/sdk"
)

func init() {
	sdk.Handle(greet)
	sdk.Check(check)
}

func main() {}

// greet answers a subscribe or SCAN event. The count of a user's greetings is
// one atomic step that is applied once an event, so that an event that is run
// again gets the same words, and two at once are not both the first.
func greet(c *sdk.Call) (sdk.Outcome, error) {
	s, err := sdk.Config[settings](c)
	if err != nil {
		return sdk.Next, err
	}
	visits, err := c.UserState().Add("greeted", 1, sdk.StateOptions{TTL: s.remember(), Once: "greeted"})
	if err != nil {
		// A greeting that may be the wrong one is better than none.
		c.Warn("greets as a new user, because the count of greetings failed: %v", err)
		visits = 1
	}
	text := s.words(c.Event.Scene, visits)
	if text == "" {
		return sdk.Next, nil
	}
	return sdk.Done, c.ReplyText(text)
}

// settings is the plugin's config; plugin.yaml describes each key.
type settings struct {
	Greeting     string           `json:"greeting"`
	Returning    string           `json:"returning"`
	RememberDays int              `json:"remember_days"`
	Scenes       map[string]scene `json:"scenes"`
}

// scene is what the config says of one QR scene. A nil text is the general one.
type scene struct {
	Name      string  `json:"name"`
	Greeting  *string `json:"greeting"`
	Returning *string `json:"returning"`
}

// UnmarshalJSON decodes a config over the defaults.
func (s *settings) UnmarshalJSON(b []byte) error {
	type plain settings
	p := plain{Greeting: "{scene}欢迎您！", Returning: "{scene}欢迎您再次光临！"}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*s = settings(p)
	return nil
}

// remember is how long a user's count is kept; 0: for ever.
func (s *settings) remember() time.Duration {
	return time.Duration(s.RememberDays) * 24 * time.Hour
}

// words returns the greeting of a user who came by a scene, "" for none, and
// who is greeted for the visits-th time.
func (s *settings) words(sceneID string, visits int64) string {
	text := s.Greeting
	if visits > 1 {
		text = s.Returning
	}
	sc, ok := s.Scenes[sceneID]
	if !ok {
		return expand(text, "", visits)
	}
	own := sc.Greeting
	if visits > 1 {
		own = sc.Returning
	}
	if own != nil {
		text = *own
	}
	return expand(text, cmp.Or(sc.Name, sceneID), visits)
}

// expand puts a scene's name and a count in the place of the placeholders.
func expand(text, name string, visits int64) string {
	if !strings.Contains(text, "{") {
		return text
	}
	return strings.NewReplacer("{scene}", name, "{visits}", strconv.FormatInt(visits, 10)).Replace(text)
}

// check looks for what the schema can't: placeholders that don't exist, and
// texts that are too long once the placeholders are filled in.
func check(c *sdk.Call) error {
	s, err := sdk.Config[settings](c)
	if err != nil {
		return err
	}
	problems := checkText(nil, "greeting", s.Greeting, "")
	problems = checkText(problems, "returning", s.Returning, "")
	for _, id := range slices.Sorted(maps.Keys(s.Scenes)) {
		sc := s.Scenes[id]
		at, name := "scenes."+id, cmp.Or(sc.Name, id)
		problems = checkText(problems, at+".greeting", *cmp.Or(sc.Greeting, &s.Greeting), name)
		problems = checkText(problems, at+".returning", *cmp.Or(sc.Returning, &s.Returning), name)
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// checkText appends what is wrong with a text, which stands at a place in the
// config.
func checkText(problems []string, at, text, name string) []string {
	if n := len(expand(text, name, math.MaxInt64)); n > sdk.MaxReplyText {
		problems = append(problems, fmt.Sprintf("%s: %d bytes with its placeholders filled in, and WeChat shows %d; shorten it", at, n, sdk.MaxReplyText))
	}
	rest := strings.NewReplacer("{scene}", "", "{visits}", "").Replace(text)
	if i := strings.IndexByte(rest, '{'); i >= 0 {
		problems = append(problems, fmt.Sprintf("%s: no such placeholder at %.20q; there are {scene} and {visits}", at, rest[i:]))
	}
	return problems
}
