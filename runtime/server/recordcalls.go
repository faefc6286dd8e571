package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/weft-dev/weft/runtime/gateway"
)

// askedCall is a call that a plugin made of WeChat's API, or of an upstream by its
// name in pipeline.yaml.
type askedCall struct {
	upstream     string // "": WeChat's API
	method, path string
}

// called notes what a plugin's call brought for an event; nil: no answer. Then, and
// where the same call brings another answer later, the event's answer hung on what a
// case can't say.
func (s *recording) called(event string, call askedCall, answer *recordedAnswer) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[event]
	if p == nil {
		return
	}
	before, again := p.calls[call]
	switch {
	case answer == nil || !utf8.ValidString(answer.Body):
		p.unsure, answer = true, &recordedAnswer{Status: http.StatusBadGateway}
	case again && before != *answer:
		p.unsure = true
	}
	if again {
		return
	}
	size := len(call.path) + len(answer.Body)
	if size > maxRecorded || s.held+size > maxHeld {
		s.forget(p)
		s.leftOut++
		return
	}
	if p.calls == nil {
		p.calls = map[askedCall]recordedAnswer{}
	}
	p.calls[call] = *answer
	p.size += size
	s.held += size
}

// addCalls tells what plugins were answered, with personal data replaced, by the
// keys of cases.
func (s *recording) addCalls(e *recordedEvent, p *pendingEvent) {
	for call, answer := range p.calls {
		path := s.replacer.text(call.path)
		key, to := call.method+" "+path, &e.WeChat
		_, err := gateway.ParseScope([]string{key})
		sayable := err == nil && !strings.Contains(path, "*")
		if call.upstream != "" {
			key, to = call.upstream+" "+key, &e.Upstreams
		}
		if !sayable { // by a key of a case
			if key = call.upstream; key == "" || e.Upstreams[key] != nil {
				e.Sure = false
				continue
			}
		}
		if *to == nil {
			*to = map[string]*recordedAnswer{}
		}
		(*to)[key] = &recordedAnswer{Status: answer.Status, Type: answer.Type, Body: s.replacer.json(answer.Body)}
	}
	e.Sure = e.Sure && !p.unsure
}

// json replaces what is personal in the leaves of a JSON document, by their names
// too, and leaves the rest as it stands; what is none is a text.
func (r *replacer) json(text string) string {
	if !json.Valid([]byte(text)) {
		return r.text(text)
	}
	var b strings.Builder
	name := ""           // of the member that is read
	var outside []string // the names around what is open
	for i := 0; i < len(text); {
		end := i + 1
		switch c := text[i]; {
		case c == '{' || c == '[':
			outside = append(outside, name)
		case c == '}' || c == ']':
			name, outside = outside[len(outside)-1], outside[:len(outside)-1]
		case c == '"':
			end = endOfString(text, i)
			var value string
			_ = json.Unmarshal([]byte(text[i:end]), &value) // the document is valid
			if strings.HasPrefix(strings.TrimLeft(text[end:], " \t\r\n"), ":") {
				name = value
			} else if made := r.leaf(name, value); made != value {
				b.Write(jsonText(made))
				i = end
				continue
			}
		case c == '-' || isDigit(c):
			end = i + len(text[i:]) - len(strings.TrimLeft(text[i:], "-+.eE0123456789"))
			made := r.leaf(name, text[i:end])
			if !json.Valid([]byte(made)) {
				made = string(jsonText(made))
			}
			b.WriteString(made)
			i = end
			continue
		}
		b.WriteString(text[i:end])
		i = end
	}
	return b.String()
}

// endOfString is where the string that begins at i in a valid document has ended.
func endOfString(text string, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}
