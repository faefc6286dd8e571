package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/weft-dev/weft/sdk"
)

// settings is the plugin's config, compiled. It is made once for each config,
// not for each event.
type settings struct {
	rules    []rule
	fallback *sdk.Reply // nil: none
	voice    bool
	folds    bool // a rule needs the message in lower case
}

// rule is one compiled rule. Its reply is shared by all events and never
// changed.
type rule struct {
	// matches tells whether the rule holds for a message, given as it is and,
	// where a rule of the config ignores case, in lower case.
	matches func(said, folded string) bool
	reply   *sdk.Reply
}

// ruleConfig is a rule in the config.
type ruleConfig struct {
	Match      string          `json:"match"`
	Words      []string        `json:"words"`
	Pattern    string          `json:"pattern"`
	IgnoreCase bool            `json:"ignore_case"`
	Reply      sdk.ReplyConfig `json:"reply"`
}

// UnmarshalJSON compiles a config. Its error says all that is wrong, each with
// the rule's index.
func (s *settings) UnmarshalJSON(b []byte) error {
	var conf struct {
		Rules    []ruleConfig     `json:"rules"`
		Fallback *sdk.ReplyConfig `json:"fallback"`
		Voice    bool             `json:"voice"`
	}
	if err := json.Unmarshal(b, &conf); err != nil {
		return err
	}
	*s = settings{voice: conf.Voice}
	var problems []string
	for i, rc := range conf.Rules {
		r, err := rc.compile()
		if err != nil {
			problems = append(problems, fmt.Sprintf("rules[%d]%v", i, err))
		}
		s.rules = append(s.rules, r)
		s.folds = s.folds || rc.IgnoreCase
	}
	if conf.Fallback != nil {
		r, err := conf.Fallback.Reply()
		if err != nil {
			problems = append(problems, "fallback"+err.Error())
		}
		s.fallback = r
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// compile makes a rule. Its error begins with the place in the rule.
func (rc *ruleConfig) compile() (rule, error) {
	matches, err := rc.matcher()
	if err != nil {
		return rule{}, err
	}
	reply, err := rc.Reply.Reply()
	if err != nil {
		return rule{}, fmt.Errorf(".reply%w", err)
	}
	return rule{matches: matches, reply: reply}, nil
}

// matcher makes the function that tells whether a message matches.
func (rc *ruleConfig) matcher() (func(said, folded string) bool, error) {
	if rc.Match == "regexp" {
		pattern := rc.Pattern
		if rc.IgnoreCase {
			pattern = "(?i)" + pattern
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf(".pattern: %w", err)
		}
		return func(said, _ string) bool { return re.MatchString(said) }, nil
	}
	var holds func(said, word string) bool
	switch rc.Match {
	case "exact":
		holds = func(said, word string) bool { return said == word }
	case "contains":
		holds = strings.Contains
	case "prefix":
		holds = strings.HasPrefix
	default:
		return nil, fmt.Errorf(".match: no way to match is called %q", rc.Match)
	}
	words := make([]string, len(rc.Words))
	for i, w := range rc.Words {
		if words[i] = strings.TrimSpace(w); words[i] == "" {
			return nil, fmt.Errorf(".words[%d]: only white space, which no message consists of", i)
		}
		if rc.IgnoreCase {
			words[i] = strings.ToLower(words[i])
		}
	}
	ignoreCase := rc.IgnoreCase
	return func(said, folded string) bool {
		if ignoreCase {
			said = folded
		}
		for _, w := range words {
			if holds(said, w) {
				return true
			}
		}
		return false
	}, nil
}
