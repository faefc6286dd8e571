package main

import (
	"bytes"
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

func TestCases(t *testing.T) { cases.Run(t, decode, greet, check) }

func TestGreetsWithoutState(t *testing.T) {
	h := sdktest.New(greet, sdktest.Options{NoState: true})
	for range 2 {
		r := h.Send(&sdk.Event{Type: "event", Event: "SCAN", User: "oUser1"})
		if r.Err != nil || r.Outcome != sdk.Done || r.Reply.Text.Content != "欢迎您！" {
			t.Fatalf("%+v", r)
		}
		if len(r.Logs) != 1 || !strings.Contains(r.Logs[0].Text, "DENIED") {
			t.Fatalf("logs %v", r.Logs)
		}
	}
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("长", 682) // 2,046 bytes
	tests := []struct {
		name, config string
		want         []string // parts of the error; none: no error
	}{
		{"no config", `{}`, nil},
		{"known placeholders", `{"greeting":"{scene}{visits}}"}`, nil},
		{"just short enough", `{"greeting":"` + long + `"}`, nil},
		{"too long", `{"greeting":"` + long + `长"}`, []string{"greeting: 2049 bytes", "2048"}},
		{
			"too long with a scene's name",
			`{"greeting":"{scene}` + long + `","scenes":{"1":{"name":"店"}}}`,
			[]string{"scenes.1.greeting: 2049 bytes"},
		},
		{
			"too long with the scene itself",
			`{"returning":"{scene}` + long + `","scenes":{"123":{}}}`,
			[]string{"scenes.123.returning: 2049 bytes"},
		},
		{"too long with a count", `{"returning":"{visits}` + long + `"}`, []string{"returning: 2065 bytes"}},
		{"unknown placeholder", `{"greeting":"你好 {name}！"}`, []string{"greeting: ", `"{name}！"`, "{visits}"}},
		{"not closed", `{"returning":"{scene"}`, []string{"returning: ", `"{scene"`}},
		{
			"all at once",
			`{"greeting":"{a}","scenes":{"2":{"returning":"{c}","greeting":""},"1":{"greeting":"{b}"}}}`,
			[]string{"greeting: ", "; scenes.1.greeting: ", "; scenes.2.returning: "},
		},
		{"not an object", `[]`, []string{"config: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := sdktest.New(greet, sdktest.Options{Config: tt.config, Check: check}).Check()
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
	var s settings
	if err := s.UnmarshalJSON([]byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if want := cases.Default(t, decode, "greeting"); s.Greeting != want {
		t.Errorf("greeting %q, plugin.yaml says %q", s.Greeting, want)
	}
	if want := cases.Default(t, decode, "returning"); s.Returning != want {
		t.Errorf("returning %q, plugin.yaml says %q", s.Returning, want)
	}
	if want := cases.Default(t, decode, "remember_days"); s.RememberDays != want {
		t.Errorf("remember_days %d, plugin.yaml says %v", s.RememberDays, want)
	}
}

func FuzzWords(f *testing.F) {
	f.Add(`{"scenes":{"1":{"name":"a","greeting":"{scene}{visits}"}}}`, "1", int64(2))
	f.Add(`{"greeting":"{scene}","scenes":{"{visits}":{}}}`, "{visits}", int64(1))
	f.Fuzz(func(t *testing.T, config, scene string, visits int64) {
		h := sdktest.New(greet, sdktest.Options{Config: config, Check: check})
		if config == "" || h.Check() != nil {
			return
		}
		var s settings
		if err := s.UnmarshalJSON([]byte(config)); err != nil {
			t.Fatal(err)
		}
		// What check lets through fits into an answer, whatever the event says.
		if text := s.words(scene, max(visits, 1)); len(text) > sdk.MaxReplyText {
			t.Fatalf("%d bytes", len(text))
		}
	})
}
