package config

import (
	"bytes"
	"encoding/json"
	"io"
	"math/big"
	"os"
	"reflect"
	"sort"
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// TestMerge runs the examples of RFC 7386, appendix A.
func TestMerge(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		target, patch := decodeJSON(t, c[0]), decodeJSON(t, c[1])
		w := jsonWriter{max: 1 << 20}
		w.value(merge(fromJSON(target), fromJSON(patch)), "")
		if string(w.out) != c[2] {
			t.Errorf("%s over %s: got %s, want %s", c[1], c[0], w.out, c[2])
		}
	}
}

func TestJSONNumber(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "-0", "12": "12", "1.50": "1.50", "1e3": "1e3", "1E-3": "1E-3", "9007199254740993": "9007199254740993",
		"+1": "1", "0x1F": "31", "-0x1f": "-31", "0o17": "15", "017": "15", "0b101": "5", "-0b11": "-3", "1_000": "1000", "08": "8",
		".5": "0.5", "5.": "5", "+1.5": "1.5", "-.5e3": "-0.5e3", "1_0.5": "10.5", "18446744073709551616": "18446744073709551616",
	} {
		if tag := resolve(in); tag != tagInt && tag != tagFloat {
			t.Errorf("%s: YAML reads %s", in, tag)
		}
		if got, err := jsonNumber(in); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{".inf", "-.inf", ".nan", "1e401", "1e-401", "1e999999999", strings.Repeat("9", 200)} {
		if got, err := jsonNumber(in); err == nil {
			t.Errorf("%s: got %s", in, got)
		}
	}
}

// TestConfigScalars: unquoted, an expanded value is what YAML makes of it;
// quoted, it is a text.
func TestConfigScalars(t *testing.T) {
	env := map[string]string{"N": "42", "T": "true", "NULL": "null", "E": "", "S": "two words", "INF": ".inf", "MERGE": "<<"}
	src := `weft: 1
plugins:
  p:
    source: p.wasm
    config:
      - x
`
	values := `
      n: ${N}
      nq: "${N}"
      t: ${T}
      null: ${NULL}
      e: ${E}
      eq: '${E}'
      s: ${S}
      merge: ${MERGE}
      both: ${N}${N}
      date: 2026-12-01
      yes: yes
      "true": True
      block: |
        ${S}
      escapes: "\"\\\n\t\r\u0001\u2028é"
`
	opt := Options{Getenv: func(s string) (string, bool) { v, ok := env[s]; return v, ok }}
	src = strings.Replace(src, "\n      - x\n", strings.Replace(values, "      null:", `      "null":`, 1), 1)
	src += "apps: { a: { type: official, app_id: a, token: t, mode: plain } }\npipeline: { stages: [ { plugin: p } ] }\n"
	cfg, problems := Parse("p.yaml", []byte(src), opt)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	want := `{"block":"two words\n","both":4242,"date":"2026-12-01","e":null,"eq":"","escapes":"\"\\\n\t\r\u0001` + "\u2028é" +
		`","merge":"<<","n":42,"nq":"42","null":null,"s":"two words","t":true,"true":true,"yes":"yes"}`
	if got := string(cfg.Apps[0].Configs["p"].JSON); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	_, problems = Parse("p.yaml", []byte(strings.Replace(src, "n: ${N}", "n: ${INF}", 1)), opt)
	if got := problems.Error(); got != `p.yaml:6:10: plugins.p.config.n: the expanded value is not a number that JSON has (quote it for a text)` {
		t.Errorf("got %s", got)
	}
}

// FuzzMerge holds merge and the canonical JSON against a plain RFC 7386 over
// encoding/json's values.
func FuzzMerge(f *testing.F) {
	f.Add(`{"a":"b","c":{"d":1}}`, `{"a":null,"c":{"d":{"e":null,"f":1.50}}}`)
	f.Add(`[1,{"x":null}]`, `{"a":[null,{"b":null}]}`)
	f.Add(`{"~":{"/":"\u0000\u2028"}}`, `{"~":{"/":null,"":true}}`)
	f.Fuzz(func(t *testing.T, target, patch string) {
		a, okA := tryJSON(target)
		b, okB := tryJSON(patch)
		if !okA || !okB || !utf8.ValidString(target+patch) {
			return
		}
		before := fromJSON(a)
		w := jsonWriter{max: 1 << 30}
		w.value(merge(before, fromJSON(b)), "")
		got, ok := tryJSON(string(w.out))
		if !ok {
			t.Fatalf("not JSON: %s", w.out)
		}
		if want := mergeAny(a, b); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s over %s: got %v, want %v", patch, target, got, want)
		}
		if !reflect.DeepEqual(before, fromJSON(a)) {
			t.Fatalf("%s over %s changed the target", patch, target)
		}
		again := jsonWriter{max: 1 << 30}
		again.value(fromJSON(got), "")
		if !bytes.Equal(again.out, w.out) {
			t.Fatalf("not canonical: %s, then %s", w.out, again.out)
		}
	})
}

// mergeAny is MergePatch of RFC 7386 as it stands there.
func mergeAny(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		for k, v := range t {
			out[k] = v
		}
	}
	for k, v := range p {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = mergeAny(out[k], v)
		}
	}
	return out
}

func tryJSON(s string) (any, bool) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, false
	}
	_, err := dec.Token()
	return v, err == io.EOF && numbersFit(v)
}

// numbersFit leaves out numbers that a config refuses.
func numbersFit(v any) bool {
	switch v := v.(type) {
	case json.Number:
		_, err := jsonNumber(v.String())
		return err == nil
	case []any:
		for _, x := range v {
			if !numbersFit(x) {
				return false
			}
		}
	case map[string]any:
		for _, x := range v {
			if !numbersFit(x) {
				return false
			}
		}
	}
	return true
}

func decodeJSON(t *testing.T, s string) any {
	t.Helper()
	v, ok := tryJSON(s)
	if !ok {
		t.Fatalf("not JSON: %s", s)
	}
	return v
}

func fromJSON(v any) *node {
	switch v := v.(type) {
	case nil:
		return &node{tag: tagNull}
	case bool:
		if v {
			return &node{tag: tagBool, text: "true"}
		}
		return &node{tag: tagBool, text: "false"}
	case json.Number:
		return &node{tag: tagInt, text: v.String()}
	case string:
		return &node{tag: tagStr, text: v}
	case []any:
		n := &node{kind: list}
		for _, x := range v {
			n.items = append(n.items, fromJSON(x))
		}
		return n
	}
	n := &node{kind: mapping}
	for k, x := range v.(map[string]any) {
		n.entries = append(n.entries, entry{key: k, value: fromJSON(x)})
	}
	sort.Slice(n.entries, func(i, j int) bool { return n.entries[i].key < n.entries[j].key })
	return n
}

// FuzzParse: what Parse takes, yaml takes too, and makes the same of a plugin's
// config; what it says about a file is the same every time and has a place in it.
func FuzzParse(f *testing.F) {
	f.Add([]byte("weft: 1\napps: { a: { type: official, app_id: a, token: t, mode: plain, with: { p: { x: ~ } } } }\nplugins: { p: { source: p, config: { x: 1, y: [.5, 0x1f, on, 2026-01-01] } } }\npipeline: { stages: [ { plugin: p, when: 'x' } ] }\n"))
	f.Add([]byte("weft: 1\npipelines:\n  main: &m\n    stages: [ { switch: [ { stages: [ { reply: { text: hi } } ] } ] } ]\n  b: *m\n"))
	f.Add([]byte("weft: 1\nserver: { admin_token: \"${A}\", drain: ${B:-1s}\n# x\n"))
	f.Add([]byte("weft: 1\nplugins: { p: { source: p, isolation: app, limits: { fuel: 100000, state: 1TiB, host_calls: 1, response: 1KiB, log: 64KiB } } }\n"))
	f.Add([]byte("weft: 1\nserver: { key: \"${K}\" }\nstore: { redis: { addrs: [ \"h:1\", \"[::1]:2\" ], mode: sentinel, master: m, tls: { cert: c, key: k } } }\n" +
		"callers: { c: { key: \"sha256:9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08\", apps: all, paths: [ \"GET /a/*/**\" ], rate: 5/m } }\n"))
	f.Add([]byte("weft: 1\nupstreams: { u: { url: 'http://h' } }\napps: { a: { type: official, app_id: a, token: t, mode: plain, api_base: 'http://[::1]/x/', api: { rate: { /a: 1/s }, daily: { /a/**: 5 } }, " +
		"credentials: { from: http, upstream: u }, upstreams: { o: u } } }\nplugins: { p: { source: p, grants: { api: [ /a ], fetch: { o: u } } } }\npipeline: { stages: [ { plugin: p } ] }\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte("- !!binary x\n- ? [a]\n  : b\n---\n%YAML 1.1\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		cfg, problems := Parse("p.yaml", src, Options{Getenv: testEnv, ReadFile: testFile})
		again, problemsAgain := Parse("p.yaml", src, Options{Getenv: testEnv, ReadFile: testFile})
		if problems.Error() != problemsAgain.Error() {
			t.Fatalf("twice: %v, then %v", problems, problemsAgain)
		}
		lines := bytes.Count(src, []byte("\n")) + bytes.Count(src, []byte("\r")) + strings.Count(string(src), "\u0085") +
			strings.Count(string(src), "\u2028") + strings.Count(string(src), "\u2029") + 1
		for _, p := range problems {
			if p.Pos.Line > lines || p.Pos.File != "p.yaml" || p.Text == "" {
				t.Fatalf("%v of %d lines", p, lines)
			}
		}
		if _, p := Parse("p.yaml", src, Options{NoEnv: true}); cfg != nil && p.Err() != nil && !bytes.Contains(src, []byte("${")) {
			t.Fatalf("only without the environment: %v", p)
		}
		server, serverProblems := ParseServer("p.yaml", src, Options{Getenv: testEnv, ReadFile: testFile})
		if (server == nil) != (serverProblems.Err() != nil) {
			t.Fatalf("the server alone: %v and %v", server, serverProblems)
		}
		if cfg == nil {
			return
		}
		keyless := cfg.Server
		keyless.Key, keyless.PreviousKeys = nil, nil
		if server == nil || !reflect.DeepEqual(*server, keyless) {
			t.Fatalf("the server alone is %+v, %v, in the file %+v", server, serverProblems, cfg.Server)
		}
		var doc struct {
			Plugins map[string]struct {
				Config any `yaml:"config"`
			} `yaml:"plugins"`
		}
		if err := yaml.Unmarshal(src, &doc); err != nil {
			if strings.Contains(err.Error(), "excessive aliasing") {
				return
			}
			t.Fatalf("yaml refuses it: %v", err)
		}
		for i, a := range cfg.Apps {
			for name, c := range a.Configs {
				if !bytes.Equal(c.JSON, again.Apps[i].Configs[name].JSON) || c.ID != again.Apps[i].Configs[name].ID {
					t.Fatalf("config %s is not stable", name)
				}
				if !json.Valid(c.JSON) {
					t.Fatalf("config %s is not JSON: %s", name, c.JSON)
				}
				if !bytes.Contains(src, []byte("with")) && !bytes.Contains(src, []byte("${")) && !bytes.Contains(src, []byte("*")) {
					sameAsYAML(t, c.JSON, doc.Plugins[name].Config)
				}
			}
		}
	})
}

// sameAsYAML compares a config with what yaml decodes, as far as JSON has it.
func sameAsYAML(t *testing.T, got []byte, want any) {
	t.Helper()
	if want == nil {
		want = map[string]any{}
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatalf("yaml's value is no JSON: %v", err)
	}
	dates := strings.Contains(string(b), "T00:00:00Z") || strings.Contains(string(b), "Z\"")
	gotAny, _ := tryJSON(string(got))
	wantAny, ok := tryJSON(string(b))
	if ok && !dates && !equalJSON(gotAny, wantAny) {
		t.Fatalf("got %s, yaml has %s", got, b)
	}
}

func equalJSON(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		if !ok {
			return false
		}
		p, okP := new(big.Float).SetString(x.String())
		q, okQ := new(big.Float).SetString(y.String())
		if !okP || !okQ {
			return false
		}
		f, _ := p.Float64()
		g, _ := q.Float64()
		return f == g
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !equalJSON(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k := range x {
			if v, ok := y[k]; !ok || !equalJSON(x[k], v) {
				return false
			}
		}
		return true
	}
	return a == b
}
