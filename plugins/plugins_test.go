// Package plugins_test looks at what all plugins of the project have in common.
package plugins_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/plugins/internal/cases"
	"github.com/weft-dev/weft/runtime/manifest"
	"gopkg.in/yaml.v3"
)

// own returns the folders of the project's own plugins; an author may have more
// beside them.
func own() []string { return []string{"welcome", "keyword", "menu"} }

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t *testing.T, dir string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Parse(filepath.Join(dir, "plugin.yaml"), read(t, dir, "plugin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFiles(t *testing.T) {
	for _, dir := range own() {
		for _, name := range []string{"main.go", "main_test.go", "plugin.yaml", "README.md", "cases.yaml"} {
			read(t, dir, name)
		}
		m := parse(t, dir)
		if m.Name != dir {
			t.Errorf("%s: the manifest's name is %s", dir, m.Name)
		}
		for _, language := range []string{"en", "zh"} {
			if m.Title[language] == "" || m.Description[language] == "" {
				t.Errorf("%s: no title or description in %s", dir, language)
			}
		}
		for name, c := range m.Capabilities {
			if c.Why == "" {
				t.Errorf("%s: capability %s does not say why", dir, name)
			}
		}
	}
}

// TestConfigs holds every config that the cases and the READMEs show to the
// schema in plugin.yaml.
func TestConfigs(t *testing.T) {
	for _, dir := range own() {
		m := parse(t, dir)
		f, err := cases.Read(filepath.Join(dir, "cases.yaml"), decode)
		if err != nil {
			t.Fatal(err)
		}
		accepts(t, m, "cases.yaml", f.Config)
		for _, c := range f.Cases {
			accepts(t, m, "case "+c.Name, c.Config)
		}
		shown := 0
		for i, block := range strings.Split(string(read(t, dir, "README.md")), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			var doc struct {
				Plugins map[string]struct {
					Config map[string]any `yaml:"config"`
				} `yaml:"plugins"`
			}
			if err := yaml.Unmarshal([]byte(block), &doc); err != nil {
				t.Errorf("%s/README.md, block %d: %v", dir, i, err)
			}
			if p, ok := doc.Plugins[dir]; ok {
				shown++
				accepts(t, m, fmt.Sprintf("README.md, block %d", i), p.Config)
			}
		}
		if shown == 0 {
			t.Errorf("%s/README.md shows no config", dir)
		}
	}
}

func decode(src []byte, v any) error {
	d := yaml.NewDecoder(bytes.NewReader(src))
	d.KnownFields(true)
	return d.Decode(v)
}

func accepts(t *testing.T, m *manifest.Manifest, what string, config map[string]any) {
	t.Helper()
	for _, p := range m.CheckConfig([]byte(cases.JSON(t, config))) {
		t.Errorf("%s, %s: %s: %s", m.Name, what, p.Pointer, p.Text)
	}
}

// TestSchemas gives each schema configs that it refuses.
func TestSchemas(t *testing.T) {
	tests := []struct{ dir, config, at string }{
		{"welcome", `{"greting":"x"}`, ""},
		{"welcome", `{"greeting":3}`, "/greeting"},
		{"welcome", `{"remember_days":-1}`, "/remember_days"},
		{"welcome", `{"scenes":{"1":{"title":"x"}}}`, "/scenes/1"},
		{"welcome", `{"scenes":{"1":"x"}}`, "/scenes/1"},
		{"keyword", `{"rules":[{"match":"exact","words":["a"]}]}`, "/rules/0"},
		{"keyword", `{"rules":[{"match":"exact","pattern":"a","reply":{"text":"x"}}]}`, "/rules/0"},
		{"keyword", `{"rules":[{"match":"regexp","words":["a"],"reply":{"text":"x"}}]}`, "/rules/0"},
		{"keyword", `{"rules":[{"match":"regexp","pattern":"a","words":["a"],"reply":{"text":"x"}}]}`, "/rules/0"},
		{"keyword", `{"rules":[{"match":"fuzzy","words":["a"],"reply":{"text":"x"}}]}`, "/rules/0/match"},
		{"keyword", `{"rules":[{"match":"exact","words":[],"reply":{"text":"x"}}]}`, "/rules/0/words"},
		{"keyword", `{"fallback":{}}`, "/fallback"},
		{"keyword", `{"fallback":{"text":"x","news":{"articles":[{"title":"t","url":"u"}]}}}`, "/fallback"},
		{"keyword", `{"fallback":{"news":{"articles":[]}}}`, "/fallback/news/articles"},
		{"menu", `{"items":{"a":{}}}`, "/items/a"},
		{"menu", `{"items":{"a":{"start":"survey"}}}`, "/items/a/start"},
		{"menu", `{"items":{"a":{"start":"order","reply":{"text":"x"}}}}`, "/items/a"},
		{"menu", `{"order":{}}`, "/order"},
		{"menu", `{"order":{"products":[]}}`, "/order/products"},
		{"menu", `{"order":{"products":["a\tb"]}}`, "/order/products/0"},
		{"menu", `{"order":{"products":["a","a"]}}`, "/order/products"},
		{"menu", `{"order":{"products":["a"],"max_quantity":0}}`, "/order/max_quantity"},
		{"menu", `{"order":{"products":["a"],"texts":{"hello":"x"}}}`, "/order/texts"},
	}
	for _, tt := range tests {
		problems := parse(t, tt.dir).CheckConfig([]byte(tt.config))
		if !slices.ContainsFunc(problems, func(p manifest.ConfigProblem) bool { return strings.HasPrefix(p.Pointer, tt.at) }) {
			t.Errorf("%s: %s: problems %v, want one at %q", tt.dir, tt.config, problems, tt.at)
		}
	}
}

// TestImports compiles each plugin and holds its imports to its manifest: what
// isn't declared must not be there, and what is declared is used.
func TestImports(t *testing.T) {
	always := []string{"log", "fail", "config", "reply", "annotate"}
	for _, dir := range own() {
		module := filepath.Join(t.TempDir(), dir+".wasm")
		cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", module, "./"+dir)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", dir, err, out)
		}
		found, err := imports(read(t, module), hostapi.Module)
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		capabilities := parse(t, dir).Capabilities
		for name := range capabilities {
			if !slices.Contains(found, name) {
				t.Errorf("%s declares %s and doesn't import it", dir, name)
			}
		}
		for _, name := range found {
			_, declared := capabilities[name]
			if !declared && !slices.Contains(always, name) && (name != "response" || len(capabilities) == 0) {
				t.Errorf("%s imports %s and doesn't declare it", dir, name)
			}
		}
	}
}

var errModule = errors.New("not a module that this test can read")

// imports lists what a WebAssembly module imports from another one; all of them
// are functions.
func imports(code []byte, from string) ([]string, error) {
	if len(code) < 8 || string(code[:8]) != "\x00asm\x01\x00\x00\x00" {
		return nil, errModule
	}
	for code = code[8:]; len(code) > 0; {
		id := code[0]
		size, n := binary.Uvarint(code[1:])
		if n <= 0 || size > uint64(len(code)-1-n) {
			return nil, errModule
		}
		section := code[1+n:][:size]
		if id == 2 {
			return importNames(section, from)
		}
		code = code[1+n+int(size):]
	}
	return nil, nil
}

func importNames(section []byte, from string) (names []string, err error) {
	next := func() uint64 {
		v, n := binary.Uvarint(section)
		if n <= 0 {
			err = errModule
			return 0
		}
		section = section[n:]
		return v
	}
	text := func() string {
		n := next()
		if err != nil || n > uint64(len(section)) {
			err = errModule
			return ""
		}
		s := string(section[:n])
		section = section[n:]
		return s
	}
	for count := next(); count > 0 && err == nil; count-- {
		module, name := text(), text()
		if kind := next(); kind != 0 {
			return nil, errModule
		}
		next() // the index of the type
		if module == from {
			names = append(names, name)
		}
	}
	return names, err
}

// TestDefaultsPass: a config that says no more than the schema's defaults is one
// that the schema allows.
func TestDefaultsPass(t *testing.T) {
	for _, dir := range own() {
		var doc struct {
			Config map[string]any `yaml:"config"`
		}
		if err := yaml.Unmarshal(read(t, dir, "plugin.yaml"), &doc); err != nil {
			t.Fatal(err)
		}
		config := map[string]any{}
		properties, _ := doc.Config["properties"].(map[string]any)
		for name, p := range properties {
			if def, ok := p.(map[string]any)["default"]; ok {
				config[name] = def
			}
		}
		accepts(t, parse(t, dir), "the defaults", config)
	}
}
