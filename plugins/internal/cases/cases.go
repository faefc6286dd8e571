// Package cases runs the cases.yaml of a plugin through its handler in plain
// go test, so that what the file promises stays true. Tests of plugins import
// it, plugins don't.
package cases

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/weft-dev/weft/sdk"
	"github.com/weft-dev/weft/sdk/sdktest"
)

// Decode decodes YAML into v and refuses keys that v doesn't have. The tests
// bring it along, because what stands in plugins/ imports the SDK alone.
type Decode func(src []byte, v any) error

// File is a cases.yaml.
type File struct {
	Weft   int            `yaml:"weft"`   // version of the format: 1
	Config map[string]any `yaml:"config"` // of the cases that have none of their own
	Cases  []Case         `yaml:"cases"`
}

// Case is a sequence of events that share a state, which is empty before.
type Case struct {
	Name   string         `yaml:"name"`
	Config map[string]any `yaml:"config"`
	Events []Entry        `yaml:"events"`
	// State is what named keys hold at the end, null for nothing: app:KEY, or
	// user:OPENID:KEY. Other keys are not looked at.
	State map[string]*string `yaml:"state"`
}

// Entry is one event and what is expected of it; what is left out is not looked
// at.
type Entry struct {
	After       string            `yaml:"after"` // the clock goes on by this before
	Event       Event             `yaml:"event"`
	Reply       *Reply            `yaml:"reply"`
	Outcome     string            `yaml:"outcome"` // next, done or error
	Annotations map[string]string `yaml:"annotations"`
}

// Event is an event by the names of weft.proto. Created left out is the clock.
type Event struct {
	ID      string            `yaml:"id"`
	Type    string            `yaml:"type"`
	Event   string            `yaml:"event"`
	Key     string            `yaml:"key"`
	Content string            `yaml:"content"`
	User    string            `yaml:"user"`
	Scene   string            `yaml:"scene"`
	Created int64             `yaml:"created"`
	Attempt uint32            `yaml:"attempt"`
	Reply   *Reply            `yaml:"reply"`
	Fields  map[string]string `yaml:"fields"`
	Attrs   map[string]string `yaml:"attrs"`
}

// Reply is the JSON of Reply, as far as the plugins here use it; `text: S` is
// short for { content: S }, and `none` no reply.
type Reply struct{ Want *sdk.Reply }

// UnmarshalYAML decodes a reply.
func (r *Reply) UnmarshalYAML(decode func(any) error) error {
	var word string
	if decode(&word) == nil {
		if word != "none" {
			return fmt.Errorf("reply: %s; it is none or an object", word)
		}
		return nil
	}
	var body struct {
		Text *string `yaml:"text"`
		News *struct {
			Articles []struct {
				Title       string `yaml:"title"`
				Description string `yaml:"description"`
				PicURL      string `yaml:"pic_url"`
				URL         string `yaml:"url"`
			} `yaml:"articles"`
		} `yaml:"news"`
	}
	if err := decode(&body); err != nil {
		return err
	}
	r.Want = new(sdk.Reply)
	if body.Text != nil {
		r.Want.Text = &sdk.Text{Content: *body.Text}
	}
	if body.News != nil {
		r.Want.News = new(sdk.News)
		for _, a := range body.News.Articles {
			r.Want.News.Articles = append(r.Want.News.Articles, sdk.Article(a))
		}
	}
	if (r.Want.Text == nil) == (r.Want.News == nil) {
		return errors.New("reply: it is one of text and news")
	}
	return nil
}

// Read decodes a cases.yaml and refuses what the format doesn't have.
func Read(path string, decode Decode) (*File, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := new(File)
	if err := decode(src, f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.Weft != 1 {
		return nil, fmt.Errorf("%s: weft: %d; this reads 1", path, f.Weft)
	}
	if len(f.Cases) == 0 {
		return nil, fmt.Errorf("%s: no cases", path)
	}
	return f, nil
}

// start is when a case begins.
var start = time.Unix(1_800_000_000, 0)

// Run runs each case of the cases.yaml in the working directory, which for a
// test is the plugin's folder.
func Run(t *testing.T, decode Decode, handler sdk.Handler, check func(*sdk.Call) error) {
	t.Helper()
	f, err := Read("cases.yaml", decode)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range f.Cases {
		if c.Config == nil {
			c.Config = f.Config
		}
		t.Run(c.Name, func(t *testing.T) { c.run(t, handler, check) })
	}
}

func (c *Case) run(t *testing.T, handler sdk.Handler, check func(*sdk.Call) error) {
	now := start
	h := sdktest.New(handler, sdktest.Options{
		Config: JSON(t, c.Config),
		Now:    func() time.Time { return now },
		Check:  check,
	})
	if err := h.Check(); err != nil {
		t.Fatalf("config: %v", err)
	}
	for i, e := range c.Events {
		if e.After != "" {
			d, err := time.ParseDuration(e.After)
			if err != nil {
				t.Fatalf("event %d: %v", i, err)
			}
			now = now.Add(d)
		}
		if e.Event.Created == 0 {
			e.Event.Created = now.Unix()
		}
		e.compare(t, i, h.Send(e.Event.event()))
	}
	state := h.State()
	for _, key := range slices.Sorted(maps.Keys(c.State)) {
		got, found := state[key]
		switch want := c.State[key]; {
		case want == nil && found:
			t.Errorf("state %s: %q, want nothing", key, got)
		case want != nil && (!found || got != *want):
			t.Errorf("state %s: %q, want %q", key, got, *want)
		}
	}
}

// JSON returns a value of a YAML file as JSON; nil is {}.
func JSON(t *testing.T, v map[string]any) string {
	t.Helper()
	if v == nil {
		return "{}"
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (e *Event) event() *sdk.Event {
	ev := &sdk.Event{
		ID: e.ID, Type: e.Type, Event: e.Event, Key: e.Key, Content: e.Content, User: e.User,
		Scene: e.Scene, Created: e.Created, Attempt: e.Attempt, Fields: fields(e.Fields), Attrs: fields(e.Attrs),
	}
	if e.Reply != nil {
		ev.Reply = e.Reply.Want
	}
	return ev
}

func fields(m map[string]string) []sdk.Field {
	var list []sdk.Field
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, sdk.Field{Name: name, Value: m[name]})
	}
	return list
}

// compare reports what an event's result has that was not expected.
func (e *Entry) compare(t *testing.T, i int, got sdktest.Result) {
	t.Helper()
	outcome := "error"
	if got.Err == nil {
		outcome = map[sdk.Outcome]string{sdk.Next: "next", sdk.Done: "done"}[got.Outcome]
	}
	if e.Outcome != "" && outcome != e.Outcome {
		t.Errorf("event %d: outcome %s (%v), want %s", i, outcome, got.Err, e.Outcome)
	}
	if e.Outcome == "" && got.Err != nil {
		t.Errorf("event %d: %v", i, got.Err)
	}
	if e.Reply != nil {
		if g, w := show(got.Reply), show(e.Reply.Want); g != w {
			t.Errorf("event %d: reply\n%s\nwant\n%s", i, g, w)
		}
	}
	if e.Annotations != nil {
		if g := fields(e.Annotations); !slices.Equal(g, sorted(got.Annotations)) {
			t.Errorf("event %d: annotations %v, want %v", i, got.Annotations, g)
		}
	}
}

func sorted(list []sdk.Field) []sdk.Field {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b sdk.Field) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// show returns a reply as text that is equal for equal replies.
func show(r *sdk.Reply) string {
	switch {
	case r == nil:
		return "none"
	case r.Text != nil:
		return "text: " + r.Text.Content
	case r.News != nil:
		return fmt.Sprintf("news: %+v", r.News.Articles)
	default:
		return fmt.Sprintf("%s: %x", r.Kind(), r.Append(nil))
	}
}

// Default returns what the config's schema in the plugin.yaml of the working
// directory gives as the default of a property, by the path to it.
func Default(t *testing.T, decode Decode, path ...string) any {
	t.Helper()
	src, err := os.ReadFile("plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]any
	if err := decode(src, &manifest); err != nil {
		t.Fatal(err)
	}
	node, _ := manifest["config"].(map[string]any)
	for _, name := range path {
		properties, _ := node["properties"].(map[string]any)
		next, ok := properties[name].(map[string]any)
		if !ok {
			t.Fatalf("plugin.yaml: config has no property %v", path)
		}
		node = next
	}
	return node["default"]
}
