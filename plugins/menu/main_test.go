package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/weft-dev/weft/plugins/internal/cases"
	"github.com/weft-dev/weft/sdk"
	"github.com/weft-dev/weft/sdk/sdktest"
	"gopkg.in/yaml.v3"
)

// decode is strict.
func decode(src []byte, v any) error {
	d := yaml.NewDecoder(bytes.NewReader(src))
	d.KnownFields(true)
	return d.Decode(v)
}

func TestCases(t *testing.T) { cases.Run(t, decode, handle, check) }

func TestCheck(t *testing.T) {
	long := strings.Repeat("长", 682) // 2,046 bytes
	tests := []struct {
		name, config string
		want         []string // parts of the error; none: no error
	}{
		{"no config", `{}`, nil},
		{"good", `{"items":{"a":{"start":"order"},"b":{"reply":{"text":"x"}}},"order":{"products":["a"]}}`, nil},
		{"items alone", `{"items":{"b":{"reply":{"text":"x"}}}}`, nil},
		{"no section order", `{"items":{"a":{"start":"order"}}}`, []string{"items.a.start: ", "order"}},
		{"a reply too long", `{"items":{"a":{"reply":{"text":"` + long + `长"}}}}`, []string{"items.a.reply.text: 2049 bytes"}},
		{"no reply", `{"items":{"a":{"reply":{}}}}`, []string{"items.a.reply: "}},
		{"a product with white space", `{"order":{"products":["a","b "]}}`, []string{"order.products[1]: "}},
		{"a product that cancels", `{"order":{"products":["退出"]}}`, []string{"order.products[0]: ", "cancel_words"}},
		{"a word for both", `{"order":{"products":["a"],"cancel_words":["x","OK"]}}`, []string{"order.confirm_words[3]: ", "cancel_words"}},
		{"a text just short enough", `{"order":{"products":["a"],"texts":{"placed":"` + long + `{product}"}}}`, nil},
		{"too long with a product", `{"order":{"products":["a","bcd"],"texts":{"placed":"` + long + `{product}"}}}`, []string{"order.texts.placed: 2049 bytes"}},
		{"too long with the list", `{"order":{"products":["` + long[:1023] + `","b` + long[:1023] + `"]}}`, []string{"order.texts.product: ", "; order.texts.product_again: "}},
		{"unknown placeholder", `{"order":{"products":["a"],"texts":{"quantity":"{price}?"}}}`, []string{"order.texts.quantity: ", `"{price}?"`}},
		{"order is no object", `{"order":[]}`, []string{"order: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := sdktest.New(handle, sdktest.Options{Config: tt.config, Check: check}).Check()
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

// TestDefaults holds plugin.yaml, which operators read, to what the plugin does.
func TestDefaults(t *testing.T) {
	o := defaultOrder()
	if want := cases.Default(t, decode, "order", "max_quantity"); o.MaxQuantity != want {
		t.Errorf("max_quantity %d, plugin.yaml says %v", o.MaxQuantity, want)
	}
	if want := cases.Default(t, decode, "order", "timeout_minutes"); o.TimeoutMinutes != want {
		t.Errorf("timeout_minutes %d, plugin.yaml says %v", o.TimeoutMinutes, want)
	}
	for name, words := range map[string][]string{"confirm_words": o.ConfirmWords, "cancel_words": o.CancelWords} {
		want, _ := cases.Default(t, decode, "order", name).([]any)
		if len(words) != len(want) {
			t.Fatalf("%s %v, plugin.yaml says %v", name, words, want)
		}
		for i := range words {
			if words[i] != want[i] {
				t.Errorf("%s %v, plugin.yaml says %v", name, words, want)
			}
		}
	}
	said := map[string]string{}
	for name := range o.Texts {
		said[name], _ = cases.Default(t, decode, "order", "texts", name).(string)
	}
	if !maps.Equal(said, o.Texts) {
		t.Errorf("texts %v, plugin.yaml says %v", o.Texts, said)
	}
}

// TestConfigChanges: an order goes on when the config changes under it; a
// product that is gone by then was still ordered.
func TestConfigChanges(t *testing.T) {
	h := sdktest.New(handle, sdktest.Options{Config: `{"items":{"o":{"start":"order"}},"order":{"products":["茶"]}}`})
	h.Send(click)
	h.Send(text("茶"))
	h.SetConfig(`{"order":{"products":["水"],"texts":{"confirm":"{product}{quantity}?"}}}`)
	if r := h.Send(text("2")); r.Err != nil || r.Reply.Text.Content != "茶2?" {
		t.Fatalf("%+v", r)
	}
}

// TestLostRecord: a record that can't be read counts as none, and says so.
func TestLostRecord(t *testing.T) {
	lost := func(c *sdk.Call) (sdk.Outcome, error) {
		if err := c.UserState().Set(recordKey, []byte("2\tof a later version"), sdk.StateOptions{}); err != nil {
			t.Fatal(err)
		}
		return handle(c)
	}
	h := sdktest.New(lost, sdktest.Options{Config: `{"items":{"o":{"start":"order"}},"order":{"products":["茶"]}}`})
	if r := h.Send(text("茶")); r.Err != nil || r.Outcome != sdk.Next || len(r.Logs) != 1 {
		t.Fatalf("%+v", r)
	}
	if r := h.Send(click); r.Err != nil || r.Outcome != sdk.Done {
		t.Fatalf("%+v", r)
	}
}

// TestNoStore: what needs no store works without one; the rest is an error, for
// on_error to decide.
func TestNoStore(t *testing.T) {
	h := sdktest.New(handle, sdktest.Options{
		NoState: true,
		Config:  `{"items":{"o":{"start":"order"},"a":{"reply":{"text":"x"}}},"order":{"products":["茶"]}}`,
	})
	if r := h.Send(&sdk.Event{Type: "event", Event: "CLICK", Key: "a", User: "oUser1"}); r.Err != nil || r.Reply.Text.Content != "x" {
		t.Fatalf("%+v", r)
	}
	for _, ev := range []*sdk.Event{click, text("茶")} {
		if r := h.Send(ev); r.Err == nil || r.Reply != nil {
			t.Fatalf("%+v", r)
		}
	}
}

// click begins an order of oUser1, text is a message of the same user; both of
// the second 1,800,000,000.
var click = &sdk.Event{Type: "event", Event: "CLICK", Key: "o", User: "oUser1", Created: 1_800_000_000}

func text(content string) *sdk.Event {
	return &sdk.Event{Type: "text", Content: content, User: "oUser1", Created: 1_800_000_000}
}
