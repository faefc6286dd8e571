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

func TestCases(t *testing.T) { cases.Run(t, decode, answer, check) }

func TestMatch(t *testing.T) {
	tests := []struct {
		name, rule string // the rule without its reply
		matches    []string
		not        []string
	}{
		{"exact", `"match":"exact","words":["Hi","你好"]`, []string{"Hi", "你好", " Hi "}, []string{"hi", "Hi!", "你好呀"}},
		{"exact, any case", `"match":"exact","words":["Hi","ÉTÉ"],"ignore_case":true`, []string{"hi", "HI", "été"}, []string{"hi!"}},
		{"prefix", `"match":"prefix","words":["查"]`, []string{"查", "查询"}, []string{"我查"}},
		{"prefix, any case", `"match":"prefix","words":["Help"],"ignore_case":true`, []string{"HELP me", "help"}, []string{"no help"}},
		{"contains", `"match":"contains","words":["营业"]`, []string{"营业", "几点营业啊"}, []string{"营 业"}},
		{"words are trimmed", `"match":"exact","words":[" 价格 "]`, []string{"价格"}, []string{"价 格"}},
		{"regexp finds", `"match":"regexp","pattern":"\\d+"`, []string{"12", "a1b"}, []string{"a", "一"}},
		{"regexp anchored", `"match":"regexp","pattern":"^a|b$"`, []string{"ax", "xb"}, []string{"xax"}},
		{"regexp, any case", `"match":"regexp","pattern":"^a|B$","ignore_case":true`, []string{"Ax", "xb"}, []string{"xaX"}},
		{"regexp on a sentence", `"match":"regexp","pattern":"(退|换).*货"`, []string{"我要退这个货"}, []string{"货退"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := sdktest.New(answer, sdktest.Options{Config: `{"rules":[{` + tt.rule + `,"reply":{"text":"y"}}]}`})
			for _, said := range tt.matches {
				if r := h.Send(&sdk.Event{Content: said}); r.Err != nil || r.Outcome != sdk.Done || r.Reply.Text.Content != "y" {
					t.Errorf("%q: %+v", said, r)
				}
			}
			for _, said := range tt.not {
				if r := h.Send(&sdk.Event{Content: said}); r.Err != nil || r.Outcome != sdk.Next || r.Reply != nil {
					t.Errorf("%q: %+v", said, r)
				}
			}
		})
	}
}

// TestMixedCase has rules that fold beside some that don't: each sees the
// message its own way.
func TestMixedCase(t *testing.T) {
	h := sdktest.New(answer, sdktest.Options{Config: `{"rules":[
		{"match":"exact","words":["A"],"reply":{"text":"1"}},
		{"match":"exact","words":["a"],"ignore_case":true,"reply":{"text":"2"}}]}`})
	for said, want := range map[string]string{"A": "1", "a": "2"} {
		if r := h.Send(&sdk.Event{Content: said}); r.Reply == nil || r.Reply.Text.Content != want {
			t.Errorf("%q: %+v, want %q", said, r, want)
		}
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name, config string
		want         []string // parts of the error; none: no error
	}{
		{"no config", `{}`, nil},
		{"good", `{"rules":[{"match":"regexp","pattern":"a+","reply":{"text":"x"}}],"fallback":{"text":"y"}}`, nil},
		{
			"broken regexps, each by its index",
			`{"rules":[{"match":"regexp","pattern":"a[","reply":{"text":"x"}},
				{"match":"regexp","pattern":"a","reply":{"text":"x"}},
				{"match":"regexp","pattern":"(?=a)","ignore_case":true,"reply":{"text":"x"}}]}`,
			[]string{"rules[0].pattern: ", "missing closing ]", "; rules[2].pattern: ", "(?="},
		},
		{
			"a regexp that would be too large",
			`{"rules":[{"match":"regexp","pattern":"((a{1000}){1000}){1000}","reply":{"text":"x"}}]}`,
			[]string{"rules[0].pattern: "},
		},
		{
			"a word of white space",
			`{"rules":[{"match":"contains","words":["a"," "],"reply":{"text":"x"}}]}`,
			[]string{"rules[0].words[1]: "},
		},
		{
			"a text too long",
			`{"rules":[{"match":"exact","words":["a"],"reply":{"text":"` + strings.Repeat("长", 683) + `"}}]}`,
			[]string{"rules[0].reply.text: 2049 bytes"},
		},
		{
			"a fallback too long",
			`{"fallback":{"text":"` + strings.Repeat("长", 683) + `"}}`,
			[]string{"fallback.text: 2049 bytes"},
		},
		{"no such match", `{"rules":[{"match":"fuzzy","words":["a"],"reply":{"text":"x"}}]}`, []string{`rules[0].match: `, `"fuzzy"`}},
		{"no reply", `{"rules":[{"match":"exact","words":["a"],"reply":{}}]}`, []string{"rules[0].reply: "}},
		{"not an object", `3`, []string{"config: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := sdktest.New(answer, sdktest.Options{Config: tt.config, Check: check}).Check()
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

// TestConfigAtRunTime: a config that was never checked fails the call and does
// not panic.
func TestConfigAtRunTime(t *testing.T) {
	h := sdktest.New(answer, sdktest.Options{Config: `{"rules":[{"match":"regexp","pattern":"[","reply":{"text":"x"}}]}`})
	if r := h.Send(&sdk.Event{Content: "a"}); r.Err == nil || r.Reply != nil {
		t.Fatalf("%+v", r)
	}
}

func TestDefaults(t *testing.T) {
	if got := cases.Default(t, decode, "voice"); got != false {
		t.Errorf("voice: plugin.yaml says %v", got)
	}
}

// BenchmarkMatch is a message that none of 200 rules of five words matches, and
// no rule compiled for it.
func BenchmarkMatch(b *testing.B) {
	rule := `{"match":"contains","words":["价格","多少钱","营业时间","几点开门","地址"],"ignore_case":true,"reply":{"text":"x"}}`
	var s settings
	if err := s.UnmarshalJSON([]byte(`{"rules":[` + strings.Repeat(rule+",", 199) + rule + `]}`)); err != nil {
		b.Fatal(err)
	}
	said := strings.Repeat("你好，请问一下", 10)
	b.ReportAllocs()
	for b.Loop() {
		if s.match(said) != nil {
			b.Fatal("matched")
		}
	}
}

// FuzzSettings: a config that compiles holds as many rules as it was given, and
// matching never panics and only gives replies of the config.
func FuzzSettings(f *testing.F) {
	f.Add(`{"rules":[{"match":"regexp","pattern":"a|b","ignore_case":true,"reply":{"text":"x"}}],"fallback":{"text":"y"},"voice":true}`, "B")
	f.Add(`{"rules":[{"match":"prefix","words":["İ"],"ignore_case":true,"reply":{"news":{"articles":[{"title":"t","url":"u"}]}}}]}`, "i̇x")
	f.Fuzz(func(t *testing.T, config, said string) {
		var s settings
		if err := s.UnmarshalJSON([]byte(config)); err != nil {
			return
		}
		r := s.match(said)
		known := r == nil
		for i := range s.rules {
			known = known || s.rules[i].reply == r
			if s.rules[i].reply.Kind() == "" {
				t.Fatalf("rule %d has no reply", i)
			}
		}
		if !known {
			t.Fatal("a reply of no rule")
		}
	})
}
