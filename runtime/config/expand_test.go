package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func testEnv(name string) (string, bool) {
	v, ok := map[string]string{
		"A": "alpha", "EMPTY": "", "REF": "${A}", "DOLLAR": "$", "SECRET": "hunter2", "BAD": "a\xffb", "NUL": "a\x00", "_x9": "under",
	}[name]
	return v, ok
}

func testFile(path string) ([]byte, error) {
	switch path {
	case filepath.Join("conf", "s"), "/abs/s":
		return []byte("hunter2\n"), nil
	case "/abs/two":
		return []byte("a\n\n"), nil
	case "/abs/crlf":
		return []byte("a\r\n"), nil
	case "/abs/binary":
		return []byte{0xff}, nil
	case "/abs/broken":
		return nil, errors.New("input/output error")
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

func testExpander() *expander {
	return newExpander("conf/pipeline.yaml", Options{Getenv: testEnv, ReadFile: testFile})
}

func TestExpand(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain $ text $A {x}", "plain $ text $A {x}"},
		{"${A}", "alpha"},
		{"<${A}${A}>", "<alphaalpha>"},
		{"${_x9}", "under"},
		{"${NONE:-d}", "d"},
		{"${NONE:-}", ""},
		{"${NONE:-a:-b}", "a:-b"},
		{"${EMPTY}", ""},
		{"${EMPTY:-d}", "d"},
		{"${A:-d}", "alpha"},
		{"${REF}", "${A}"},
		{"${NONE:-$A}", "$A"},
		{"$${A}", "${A}"},
		{"$$${A}", "$${A}"},
		{"$${${A}}", "${alpha}"},
		{"${DOLLAR}{A}", "${A}"},
		{"${file:s}", "hunter2"},
		{"${file:/abs/s}", "hunter2"},
		{"${file:/abs/two}", "a\n"},
		{"${file:/abs/crlf}", "a"},
	} {
		if got := testExpander().scalar(c.in); got.text != c.want || len(got.problems) > 0 || got.unknown {
			t.Errorf("%s: got %+v, want %q", c.in, got, c.want)
		}
	}
}

func TestExpandProblems(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"${NONE}", "${NONE} is not set"},
		{"${SECRET}${NONE}", "${NONE} is not set"},
		{"${A", "${ has no }"},
		{"${}", "${} is not a variable's name"},
		{"${1A}", "${1A} is not a variable's name"},
		{"${A-d}", "${A-d} is not a variable's name"},
		{"${BAD}", "the value of ${BAD} is not UTF-8 text"},
		{"${NUL}", "the value of ${NUL} is not UTF-8 text"},
		{"${file:}", "${file:} names no file"},
		{"${file:none}", "${file:none}: no such file"},
		{"${file:/abs/binary}", "${file:/abs/binary}: not UTF-8 text"},
		{"${file:/abs/broken}", "${file:/abs/broken}: can't be read: input/output error"},
	} {
		got := testExpander().scalar(c.in)
		if len(got.problems) != 1 || got.problems[0].text != c.want {
			t.Errorf("%s: got %+v, want %q", c.in, got.problems, c.want)
		}
	}
	if got := newExpander("p", Options{}).scalar("${A}${file:x}"); len(got.problems) != 2 {
		t.Errorf("nothing to read from: got %+v", got.problems)
	}
}

// TestNoSecretInProblems breaks every secret and looks for it in the problems.
func TestNoSecretInProblems(t *testing.T) {
	const leak = "hunter2"
	for _, value := range []string{`"${SECRET} with blanks"`, `"${file:s}\t"`, `"${SECRET}/${file:/abs/s}/ü"`} {
		src := strings.ReplaceAll(`weft: V
server: { listen: V, admin: V, admin_token: V, drain: V }
apps:
  a: { type: V, app_id: V, token: V, encoding_aes_key: V, mode: V, max_skew: V, callback_path: V, pipeline: V,
    previous: { token: V, encoding_aes_key: V, mode: V, until: V } }
plugins:
  p: { source: "https://${SECRET}", grants: { state: V }, isolation: V,
    limits: { memory: V, timeout: V, fuel: V, instances: V, state: V, host_calls: V, response: V, log: V } }
pipeline:
  answer_within: V
  deadline: V
  order: V
  on_error: V
  stages:
    - { name: V, plugin: V }
    - { name: V, plugin: V, when: V, on_error: { plugin: V } }
    - { plugin: V }
    - { plugin: V }
    - { reply: { raw: { body: V } } }
    - { reply: V }
`, "V", value)
		_, problems := Parse("conf/pipeline.yaml", []byte(src), Options{Getenv: testEnv, ReadFile: testFile})
		if len(problems) < 30 {
			t.Errorf("only %d problems:\n%v", len(problems), problems)
		}
		if strings.Contains(problems.Error(), leak) {
			t.Errorf("a secret in:\n%v", problems)
		}
	}
	literal := "weft: 1\napps:\n  a: { token: 'hunter2 x', encoding_aes_key: hunter2, previous: { token: 'hunter2 y' } }\nserver: { admin_token: 'hunter2 z' }\n"
	for _, src := range []string{literal, strings.ReplaceAll(literal, "'hunter2 x'", "!hunter2"), strings.ReplaceAll(literal, "'hunter2 x'", "*hunter2")} {
		if _, problems := Parse("p", []byte(src), Options{}); strings.Contains(problems.Error(), leak) || problems.Err() == nil {
			t.Errorf("a secret in:\n%v", problems)
		}
	}
}

// FuzzExpand holds the expander against one regular expression.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "${A}", "$${A}", "$$${A}", "${NONE:-x}", "${A", "${file:s}", "a${REF}b${", "${DOLLAR}{A}", "${A}$${B}", "${1}", "${file:/abs/two}"} {
		f.Add(s)
	}
	form := regexp.MustCompile(`(?s)\$\$\{|\$\{[^}]*\}|\$\{.*`)
	name := regexp.MustCompile(`(?s)^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?\}$`)
	f.Fuzz(func(t *testing.T, s string) {
		failed := false
		want := form.ReplaceAllStringFunc(s, func(m string) string {
			if m == "$${" {
				return "${"
			}
			if path, ok := strings.CutPrefix(m, "${file:"); ok && strings.HasSuffix(m, "}") {
				b, err := testFile(filepath.Join("conf", strings.TrimSuffix(path, "}")))
				if strings.HasPrefix(path, "/") {
					b, err = testFile(strings.TrimSuffix(path, "}"))
				}
				failed = failed || err != nil || strings.Contains(path, "binary")
				return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
			}
			parts := name.FindStringSubmatch(m)
			if parts == nil {
				failed = true
				return ""
			}
			v, set := testEnv(parts[1])
			if v == "" && parts[2] != "" {
				v, set = parts[3], true
			}
			failed = failed || !set || strings.Contains(v, "\x00") || !utf8.ValidString(v)
			return v
		})
		got := testExpander().scalar(s)
		if failed != (len(got.problems) > 0) {
			t.Fatalf("%q: problems %v, the regular expression says %v", s, got.problems, failed)
		}
		if !failed && got.text != want && len(s) < MaxExpanded/8 {
			t.Fatalf("%q: got %q, want %q", s, got.text, want)
		}
	})
}
