package sdk_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBuild compiles plugins and looks at the face of the modules: what every
// one exports, and that one that keeps no state does not import it.
func TestBuild(t *testing.T) {
	tests := []struct {
		plugin  string
		imports []string
		size    int64 // at most, bytes
	}{
		{"hello", []string{"fail(i32, i32)", "reply(i32, i32) -> i32"}, 3 << 20},
		// More of what needs no grant than it uses, but not state.
		{"template", []string{
			"annotate(i32, i32, i32, i32) -> i32", "config(i32, i32) -> i32", "fail(i32, i32)", "log(i32, i32, i32)",
			"reply(i32, i32) -> i32",
		}, 6 << 20},
		// The same of api and fetch: these, and not state.
		{"asks", []string{
			"api(i32, i32, i32, i32) -> i64", "fail(i32, i32)", "fetch(i32, i32, i32, i32) -> i64", "response(i32, i32) -> i32",
		}, 4 << 20},
		{"all", []string{
			"annotate(i32, i32, i32, i32) -> i32", "api(i32, i32, i32, i32) -> i64", "config(i32, i32) -> i32", "fail(i32, i32)",
			"fetch(i32, i32, i32, i32) -> i64", "log(i32, i32, i32)", "reply(i32, i32) -> i32", "response(i32, i32) -> i32",
			"state(i32, i32, i32, i32) -> i64",
		}, 4 << 20},
	}
	exports := []string{
		"_initialize()", "memory", "weft_abi_1()", "weft_buffer(i32) -> i32", "weft_check() -> i32",
		"weft_handle(i32, i32) -> i32", "weft_start() -> i32",
	}
	for _, tt := range tests {
		t.Run(tt.plugin, func(t *testing.T) {
			src := build(t, tt.plugin)
			m, err := readModule(src)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.imports["weft"]; !slices.Equal(got, tt.imports) {
				t.Errorf("imports %q, want %q", got, tt.imports)
			}
			delete(m.imports, "weft")
			delete(m.imports, "wasi_snapshot_preview1")
			if len(m.imports) != 0 {
				t.Errorf("imports from %v", slices.Collect(maps.Keys(m.imports)))
			}
			if !slices.Equal(m.exports, exports) {
				t.Errorf("exports %q, want %q", m.exports, exports)
			}
			if size := int64(len(src)); size > tt.size {
				t.Errorf("%d bytes, at most %d are expected", size, tt.size)
			}
			t.Logf("%d bytes", len(src))
		})
	}
}

// TestFirstPlugin holds the first plugin of README.md to the one that TestBuild
// compiles.
func TestFirstPlugin(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("testdata/hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(src), "package main")
	if !strings.Contains(string(readme), "```go\npackage main"+code+"```") {
		t.Error("the first plugin in README.md is not testdata/hello/main.go")
	}
}

// build compiles testdata/NAME as a plugin and returns the module.
func build(t *testing.T, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), name+".wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", out, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	src, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// module is the face of a WebAssembly module, sorted.
type module struct {
	imports map[string][]string // by module: name and signature
	exports []string
}

// section is what is left of a section to read.
// https://webassembly.github.io/spec/core/binary/modules.html
type section struct{ b []byte }

func (s *section) byte() byte {
	b := s.b[0]
	s.b = s.b[1:]
	return b
}

func (s *section) uint() int {
	v, n := binary.Uvarint(s.b)
	s.b = s.b[n:]
	return int(v)
}

func (s *section) bytes(n int) []byte {
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

func (s *section) name() string { return string(s.bytes(s.uint())) }

// readModule reads a module that is well formed; of another it returns the
// panic as an error.
func readModule(src []byte) (m module, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed module: %v", p)
		}
	}()
	m.imports = map[string][]string{}
	var types, funcs []string
	all := section{src[8:]}
	for len(all.b) > 0 {
		id := all.byte()
		s := section{all.bytes(all.uint())}
		switch id {
		case 1:
			for range s.uint() {
				types = append(types, s.signature())
			}
		case 2:
			for range s.uint() {
				from, name := s.name(), s.name()
				if kind := s.byte(); kind != 0 {
					return m, fmt.Errorf("import %s.%s is of kind %d", from, name, kind)
				}
				funcs = append(funcs, types[s.uint()])
				m.imports[from] = append(m.imports[from], name+funcs[len(funcs)-1])
			}
		case 3:
			for range s.uint() {
				funcs = append(funcs, types[s.uint()])
			}
		case 7:
			for range s.uint() {
				name, kind, index := s.name(), s.byte(), s.uint()
				if kind == 0 {
					name += funcs[index]
				}
				m.exports = append(m.exports, name)
			}
		}
	}
	for _, names := range m.imports {
		slices.Sort(names)
	}
	slices.Sort(m.exports)
	return m, nil
}

// signature reads a function type and returns it like (i32, i32) -> i64.
func (s *section) signature() string {
	valueTypes := map[byte]string{0x7f: "i32", 0x7e: "i64", 0x7d: "f32", 0x7c: "f64"}
	list := func() string {
		var l []string
		for range s.uint() {
			l = append(l, valueTypes[s.byte()])
		}
		return strings.Join(l, ", ")
	}
	s.byte() // 0x60, a function
	text := "(" + list() + ")"
	if results := list(); results != "" {
		text += " -> " + results
	}
	return text
}
