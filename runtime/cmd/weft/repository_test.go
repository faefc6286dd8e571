package main

import (
	"bufio"
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weft-dev/weft/"

// room is what the packages below one folder may import: other rooms, and
// modules beside the standard library. Telemetry is open to all host rooms.
type room struct {
	rooms   []string
	modules []string
}

// anything opens a room to every room or module.
var anything = []string{"*"}

// house holds the arrows of the house: who may import whom. A folder that is
// not here may not hold a package.
var house = map[string]room{
	"hostapi":                 {},
	"sdk":                     {rooms: []string{"hostapi"}},
	"plugins":                 {rooms: []string{"sdk"}},
	"examples":                {rooms: []string{"runtime/simulator"}}, // a fake WeChat to try them with
	"runtime/telemetry":       {modules: []string{"github.com/prometheus/client_golang"}},
	"runtime/wechat":          {rooms: []string{"hostapi"}},
	"runtime/config":          {modules: []string{"gopkg.in/yaml.v3"}},
	"runtime/manifest":        {rooms: []string{"hostapi"}, modules: []string{"gopkg.in/yaml.v3", "github.com/santhosh-tekuri/jsonschema/v6", "github.com/Masterminds/semver/v3", "golang.org/x/text"}},
	"runtime/gateway":         {rooms: []string{"runtime/store", "runtime/wechat"}, modules: []string{"github.com/sony/gobreaker/v2"}},
	"runtime/identity":        {rooms: []string{"runtime/store", "runtime/gateway", "runtime/vault", "runtime/wechat"}, modules: []string{"github.com/golang-jwt/jwt/v5"}},
	"runtime/pipeline":        {rooms: []string{"runtime/config", "runtime/store", "hostapi"}, modules: []string{"github.com/expr-lang/expr"}},
	"runtime/sandbox":         {rooms: []string{"runtime/manifest", "hostapi"}, modules: []string{"github.com/tetratelabs/wazero"}},
	"runtime/store":           {},
	"runtime/store/bolt":      {rooms: []string{"runtime/store"}, modules: []string{"go.etcd.io/bbolt"}},
	"runtime/store/redis":     {rooms: []string{"runtime/store"}, modules: []string{"github.com/redis/go-redis/v9"}},
	"runtime/store/storetest": {rooms: []string{"runtime/store"}},
	"runtime/simulator":       {rooms: []string{"runtime/wechat"}},
	"runtime/vault":           {rooms: []string{"runtime/store"}, modules: []string{"github.com/tjfoc/gmsm"}},
	"runtime/server":          {rooms: anything, modules: []string{"github.com/labstack/echo/v4", "github.com/prometheus/client_golang", "golang.org/x/term"}},
	"runtime/cmd":             {rooms: []string{"runtime/server"}},
}

// roomOf finds the folder of the house that a package is in, the deepest one.
func roomOf(pkg string) string {
	for dir := strings.TrimPrefix(pkg, module); dir != "."; dir = filepath.Dir(dir) {
		if _, ok := house[dir]; ok {
			return dir
		}
	}
	return ""
}

// imports lists the packages of the project with what they import, tests not
// counted.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{range .Imports}} {{.}}{{end}}{{end}}", "./...")
	cmd.Dir = repository(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) > 0 && strings.HasPrefix(words[0], module) {
			found[words[0]] = words[1:]
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestImportArrows(t *testing.T) {
	packages := imports(t)
	if len(packages) < 10 {
		t.Fatalf("go list names %d packages of the project: the test reads it wrongly", len(packages))
	}
	for pkg, list := range packages {
		from := roomOf(pkg)
		if from == "" {
			t.Errorf("%s is in no room of the house", pkg)
			continue
		}
		for _, imported := range list {
			if why := forbidden(from, imported); why != "" {
				t.Errorf("%s imports %s: %s", pkg, imported, why)
			}
		}
	}
}

// forbidden says why a package in the room from may not import another one, or
// "" where it may.
func forbidden(from, imported string) string {
	allowed := house[from]
	switch first, _, _ := strings.Cut(imported, "/"); {
	case strings.HasPrefix(imported, module):
		to := roomOf(imported)
		if to == from || to == "runtime/telemetry" && strings.HasPrefix(from, "runtime/") || slices.Contains(allowed.rooms, to) || slices.Contains(allowed.rooms, "*") {
			return ""
		}
		return "no arrow goes from " + from + " to " + to
	case !strings.Contains(first, "."):
		return "" // the standard library
	default:
		for _, m := range allowed.modules {
			if imported == m || strings.HasPrefix(imported, m+"/") {
				return ""
			}
		}
		return from + " does not use that module"
	}
}

func TestArrowsAreHeld(t *testing.T) {
	for _, c := range []struct{ from, imported string }{
		{"runtime/sandbox", module + "runtime/store"},
		{"runtime/sandbox", module + "runtime/wechat"},
		{"runtime/pipeline", "github.com/tetratelabs/wazero/api"},
		{"runtime/pipeline", module + "runtime/sandbox"},
		{"hostapi", "google.golang.org/protobuf/proto"},
		{"sdk", module + "runtime/telemetry"},
		{"runtime/config", module + "hostapi"},
		{"runtime/vault", module + "runtime/identity"},
		{"runtime/gateway", module + "runtime/vault"},
		{"examples", module + "runtime/server"},
	} {
		if forbidden(c.from, c.imported) == "" {
			t.Errorf("%s → %s was let through", c.from, c.imported)
		}
	}
}

func TestTopLevel(t *testing.T) {
	agreed := strings.Fields("runtime hostapi plugins sdk examples pipeline.yaml go.mod go.sum Makefile README.md README.zh-CN.md LICENSE")
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = repository(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(line), "/")
		if !slices.Contains(agreed, top) && !strings.HasPrefix(top, ".") {
			t.Errorf("%s stands at the top level, outside the agreed layout", top)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(repository(t), "runtime", "*.go")); len(files) > 0 {
		t.Errorf("Go files directly in runtime/ would shadow the standard package: %v", files)
	}
}

// TestNoInit: host code has no init functions, so that nothing happens by being
// imported. A plugin registers its handler in one: a reactor has no main.
func TestNoInit(t *testing.T) {
	root := repository(t)
	for _, dir := range []string{"runtime", "hostapi", "sdk"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "testdata" {
				return cmpOr(err, fs.SkipDir)
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s has an init function", path)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func cmpOr(err, or error) error {
	if err != nil {
		return err
	}
	return or
}

// TestREADMEsInStep: both READMEs have the same sections and the same code.
func TestREADMEsInStep(t *testing.T) {
	english, chinese := readmeShape(t, "README.md"), readmeShape(t, "README.zh-CN.md")
	if !slices.Equal(english, chinese) {
		t.Errorf("README.md and README.zh-CN.md differ in sections or code blocks:\n%q\n%q", english, chinese)
	}
}

var metricName = regexp.MustCompile(`"(weft_[a-z_]+)"`)

// TestREADMEsNameMetrics: both READMEs have every metric of the code, and no
// other.
func TestREADMEsNameMetrics(t *testing.T) {
	root := repository(t)
	coded := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "runtime", "*", "*metrics.go"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range metricName.FindAllStringSubmatch(string(src), -1) {
			coded[found[1]] = true
		}
	}
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		src, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{}
		for _, found := range regexp.MustCompile("(?m)^\\| `(weft_[a-z_]+)` \\|").FindAllStringSubmatch(string(src), -1) {
			told[found[1]] = true
		}
		if !maps.Equal(coded, told) {
			t.Errorf("%s has the metrics %v, the code has %v", name, slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(coded)))
		}
	}
}

// readmeShape lists the levels of the headings and the code blocks in a README,
// comments in the code left out.
func readmeShape(t *testing.T, name string) []string {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(repository(t), name))
	if err != nil {
		t.Fatal(err)
	}
	var shape []string
	code := false
	for line := range strings.Lines(string(src)) {
		line = strings.TrimRight(line, "\n ")
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
			shape = append(shape, line)
		case code:
			line, _, _ = strings.Cut(line, "#")
			line, _, _ = strings.Cut(line, "//")
			if line = strings.TrimSpace(line); line != "" {
				shape = append(shape, line)
			}
		case strings.HasPrefix(line, "#"):
			shape = append(shape, strings.Repeat("#", len(line)-len(strings.TrimLeft(line, "#"))))
		}
	}
	return shape
}
