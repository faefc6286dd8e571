package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

// includeRoot is a root with an app, two plugins and two pipelines.
const includeRoot = `weft: 1
include: [ "apps/*.yaml" ]
apps:
  shop: { type: official, app_id: wx1, token: t, mode: plain, callback_path: /wechat/shop }
plugins:
  a: { source: a.wasm, config: { n: 1 } }
  b: { source: b.wasm }
pipelines:
  main: { stages: [ { plugin: a } ] }
  spare: { stages: [ { plugin: b } ] }
`

// unit is an included file with one app.
func unit(app, more string) string {
	return "weft: 1\napps:\n  " + app + ": { type: official, app_id: wx2, token: t, mode: plain" + more + " }\n"
}

// parts are included files: names and contents.
func parts(files ...string) []config.Source {
	var all []config.Source
	for i := 0; i+1 < len(files); i += 2 {
		all = append(all, config.Source{File: "conf/" + files[i], Name: files[i], Src: []byte(files[i+1])})
	}
	return all
}

func parseParts(files ...string) (*config.Config, config.Problems) {
	return config.Parse("conf/pipeline.yaml", []byte(includeRoot), options(), parts(files...)...)
}

// TestInclude: what two files with pipelines of one name become.
func TestInclude(t *testing.T) {
	cfg, problems := parseParts(
		"apps/b.yaml", unit("beta", ", pipeline: spare, with: { b: { x: 1 } }")+"pipelines:\n  main: { stages: [ { plugin: b } ] }\n",
		"apps/a.yaml", unit("alpha", ", with: { a: { n: 2 } }")+"pipeline: { stages: [ { plugin: a }, { name: c, plugin: b } ] }\n",
		"apps/c.yaml", unit("gamma", ""),
		"apps/d.yaml", "weft: 1\n",
	)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	var got []string
	for _, a := range cfg.Apps {
		got = append(got, fmt.Sprintf("%s %s %s", a.Pos, a.Name, a.Pipeline.Label()))
	}
	want := []string{
		"conf/pipeline.yaml:4:3 shop main",
		"conf/apps/a.yaml:3:3 alpha apps/a.yaml:main",
		"conf/apps/b.yaml:3:3 beta spare",
		"conf/apps/c.yaml:3:3 gamma main",
	}
	if !slices.Equal(got, want) {
		t.Errorf("apps: got %q, want %q", got, want)
	}
	got = nil
	for _, p := range cfg.Pipelines {
		got = append(got, p.Label())
	}
	if want := []string{"main", "spare", "apps/a.yaml:main", "apps/b.yaml:main"}; !slices.Equal(got, want) {
		t.Errorf("pipelines: got %q, want %q", got, want)
	}
	if got := string(cfg.Apps[1].Configs["a"].JSON); got != `{"n":2}` {
		t.Errorf("the config of an included app: %s", got)
	}
	if len(cfg.Plugins[0].Apps) != 3 || len(cfg.Plugins[1].Apps) != 2 {
		t.Errorf("apps of the plugins: %d, %d", len(cfg.Plugins[0].Apps), len(cfg.Plugins[1].Apps))
	}
	if problems.Error() != "conf/apps/b.yaml:5:3: warning: no app uses pipeline main" {
		t.Errorf("got %v", problems)
	}
}

// TestIncludeProblems: each problem stands in the file that it is of.
func TestIncludeProblems(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  string
		other string // file of the other place of the first problem
	}{
		{"keys of the root", []string{"a.yaml", unit("x", "") + "server: { drain: oops }\nplugins: {}\ninclude: [ z.yaml ]\nstore:\n"}, `
conf/a.yaml:4:1: server stands in the root file only (an included file has weft, apps, pipelines and pipeline: move this to conf/pipeline.yaml)
conf/a.yaml:5:1: plugins stands in the root file only (an included file has weft, apps, pipelines and pipeline: move this to conf/pipeline.yaml)
conf/a.yaml:6:1: include stands in the root file only (an included file has weft, apps, pipelines and pipeline: move this to conf/pipeline.yaml)
conf/a.yaml:7:1: store stands in the root file only (an included file has weft, apps, pipelines and pipeline: move this to conf/pipeline.yaml)`, ""},
		{"unknown keys", []string{"a.yaml", unit("x", "") + "piplines: {}\nservr: {}\n"}, `
conf/a.yaml:4:1: unknown key piplines (did you mean pipelines?)
conf/a.yaml:5:1: unknown key servr`, ""},
		{"no version", []string{"a.yaml", "apps: {}\n"}, `conf/a.yaml:1:1: weft is missing (it is 1)`, ""},
		{"empty", []string{"a.yaml", ""}, `conf/a.yaml:1:1: the file is empty (it begins with weft: 1)`, ""},
		{"several files", []string{"b.yaml", "weft: [\n", "a.yaml", "- a\n", "c.yaml", unit("c", ", pipeline: nain")}, `
conf/a.yaml:1:1: must be a mapping, and is a list
conf/b.yaml:1:1: not YAML: did not find expected node content
conf/c.yaml:3:70: apps.c.pipeline: there is no pipeline nain (did you mean main?)`, ""},
		{"a pipeline of another file", []string{
			"a.yaml", unit("a", ", pipeline: mine") + "pipelines: { mine: {} }\n",
			"b.yaml", unit("b", ", pipeline: mine"),
		}, `conf/b.yaml:3:70: apps.b.pipeline: there is no pipeline mine`, ""},
		{
			"main twice in a file",
			[]string{"a.yaml", unit("a", "") + "pipelines: { main: {} }\npipeline: {}\n"},
			`conf/a.yaml:5:1: pipeline is short for pipelines.main, which line 4 has, too (keep one)`, "",
		},
		{
			"a plugin that the root doesn't have",
			[]string{"a.yaml", unit("a", "") + "pipeline: { stages: [ { plugin: c } ] }\n"},
			`conf/a.yaml:4:33: pipeline.stages.0.plugin: there is no plugin c`, "",
		},
		{
			"an app of the root",
			[]string{"a.yaml", unit("shop", "")},
			`conf/a.yaml:3:3: app shop is also in conf/pipeline.yaml:4:3 (names of apps are unique over all files)`, "conf/pipeline.yaml",
		},
		{
			"an app of another file",
			[]string{"b.yaml", unit("x", ""), "a.yaml", unit("x", "")},
			`conf/b.yaml:3:3: app x is also in conf/a.yaml:3:3 (names of apps are unique over all files)`, "conf/a.yaml",
		},
		{
			"a path of the root",
			[]string{"a.yaml", unit("a", ", callback_path: /wechat/shop")},
			`conf/a.yaml:3:75: apps.a.callback_path: app shop of conf/pipeline.yaml:4:3 has this path, too`, "conf/pipeline.yaml",
		},
		{
			"a path of the host's own for another file's app",
			[]string{"a.yaml", unit("a", ", callback_path: /jsapi/b"), "b.yaml", unit("b", "")},
			`conf/a.yaml:3:75: apps.a.callback_path: /jsapi/{app} is a path of the host's own`, "conf/b.yaml",
		},
		{
			"a path twice in a file",
			[]string{"a.yaml", unit("a", ", callback_path: /x") + "  b: { type: official, app_id: wx2, token: t, mode: plain, callback_path: /x }\n"},
			`conf/a.yaml:4:75: apps.b.callback_path: app a has this path, too`, "",
		},
		{"a name that no label can hold", []string{"a\xff.yaml", unit("a", ""), "b\n.yaml", unit("b", "")}, "\nconf/a\ufffd.yaml: the file's name is not UTF-8 (rename it)\n" +
			"conf/b .yaml: the file's name holds a control character (rename it)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, problems := parseParts(c.files...)
			var wrong config.Problems
			for _, p := range problems {
				if !p.Warning {
					wrong = append(wrong, p)
				}
			}
			if cfg != nil || wrong.Error() != strings.TrimPrefix(c.want, "\n") {
				t.Fatalf("got\n%v\nwant\n%s", wrong, c.want)
			}
			if wrong[0].Other.File != c.other {
				t.Errorf("other: got %v, want %q", wrong[0].Other, c.other)
			}
		})
	}
}

// TestIncludeBrokenRoot: included files are read where the root can't be.
func TestIncludeBrokenRoot(t *testing.T) {
	_, problems := config.Parse("p.yaml", []byte("weft: [\n"), config.Options{}, parts("a.yaml", "x: 1\n")...)
	want := "p.yaml:1:1: not YAML: did not find expected node content\nconf/a.yaml:1:1: unknown key x\nconf/a.yaml:1:1: weft is missing (it is 1)"
	if problems.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", problems, want)
	}
}

// TestIncludeSecrets: each file's paths start from its own folder, each has its
// own reader, and no problem shows a value.
func TestIncludeSecrets(t *testing.T) {
	var read []string
	reader := func(who string) func(string) ([]byte, error) {
		return func(path string) ([]byte, error) {
			read = append(read, who+" "+path)
			return []byte("se cret"), nil
		}
	}
	src := unit("x", ", labels: { k: \"${file:key}\" }") + "  y: { type: official, app_id: \"${file:key}\", token: t, mode: plain }\n"
	files := parts("apps/a.yaml", src, "apps/b.yaml", strings.NewReplacer("x:", "v:", "y:", "w:").Replace(src))
	files[1].ReadFile = reader("own")
	cfg, problems := config.Parse("conf/pipeline.yaml", []byte(includeRoot), config.Options{ReadFile: reader("all")}, files...)
	if want := []string{"all " + filepath.FromSlash("conf/apps/key"), "own " + filepath.FromSlash("conf/apps/key")}; cfg != nil || !slices.Equal(read, want) {
		t.Errorf("read %q, want %q", read, want)
	}
	if strings.Contains(problems.Error(), "cret") || !strings.Contains(problems.Error(), "conf/apps/b.yaml:4:32: apps.w.app_id: the expanded value is not") {
		t.Errorf("got %v", problems)
	}
	if _, problems := config.Parse("conf/pipeline.yaml", []byte(includeRoot), config.Options{NoEnv: true}, files...); problems.Err() != nil {
		t.Errorf("with NoEnv: %v", problems)
	}
}

func TestIncludes(t *testing.T) {
	src := `weft: 1
include: [ "apps/*.yaml", "../o[a-z]/x.yaml", "/etc/weft/*.yaml", "${DIR}/y.yaml", "${NONE}/z.yaml", "[", "a/**/b.yaml", "", [] ]
`
	opt := config.Options{Getenv: func(name string) (string, bool) { return "env", name == "DIR" }}
	var got []string
	for _, i := range config.Includes("co[n]f/p.yaml", []byte(src), opt) {
		got = append(got, fmt.Sprint(i.Pos, " ", filepath.ToSlash(i.Pattern), " ", i.Absolute))
	}
	want := []string{
		`co[n]f/p.yaml:2:12 co\[n]f/apps/*.yaml false`, `co[n]f/p.yaml:2:27 o[a-z]/x.yaml false`,
		`co[n]f/p.yaml:2:47 /etc/weft/*.yaml true`, `co[n]f/p.yaml:2:67 co\[n]f/env/y.yaml false`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	_, problems := config.Parse("p.yaml", []byte(src), opt)
	wrong := `p.yaml:2:84: ${NONE} is not set (set it, or give a default: ${NONE:-default})
p.yaml:2:102: include.5: "[" is not a pattern of files, such as apps/*.yaml
p.yaml:2:107: include.6: "a/**/b.yaml" holds **, which matches no more than * (it is a pattern of files, such as apps/*.yaml)
p.yaml:2:122: include.7: "" is not a pattern of files, such as apps/*.yaml
p.yaml:2:126: include.8: must be a pattern of files, such as apps/*.yaml, and is a list`
	if got := strings.SplitN(problems.Error(), "\n", 2)[1]; got != wrong {
		t.Errorf("got\n%s\nwant\n%s", got, wrong)
	}
	for _, src := range []string{"", "include: x\n", "[", "weft: 1\ninclude: [ a: b ]\n", "weft: 1\ninclude: [" + strings.Repeat("a, ", 101) + "]\n"} {
		if got := config.Includes("p.yaml", []byte(src), opt); got != nil {
			t.Errorf("%q: got %v", src, got)
		}
	}
}

// TestIncludeLimits: some are of each file, some of all.
func TestIncludeLimits(t *testing.T) {
	many := make([]config.Source, config.MaxIncluded+1)
	for i := range many {
		name := fmt.Sprintf("a%04d.yaml", i)
		many[i] = config.Source{File: name, Name: name, Src: []byte("weft: 1\n")}
	}
	if _, problems := config.Parse("p.yaml", []byte(app+stages), options(), many...); problems.Error() != "a1000.yaml: over 1000 included files" {
		t.Errorf("too many files: %v", problems)
	}
	if _, problems := config.Parse("p.yaml", []byte(app+stages), options(), many[1:]...); problems.Err() != nil {
		t.Errorf("1000 files: %v", problems)
	}

	big := []byte("weft: 1\n#" + strings.Repeat("x", config.MaxFile-100) + "\n")
	for i := range many {
		many[i].Src = big
	}
	_, problems := config.Parse("p.yaml", []byte(app+stages), options(), append(many[:18:18], config.Source{File: "z", Name: "z", Src: []byte("weft: 1\n")})...)
	if got := problems.Error(); !strings.HasPrefix(got, "a0016.yaml: the file and those before it have more than 67108864 bytes\na0017.yaml: ") || len(problems) != 2 {
		t.Errorf("too many bytes: %v", got)
	}

	values := []byte("weft: 1\nx: [" + strings.Repeat("a,", config.MaxValues-100) + "]\n")
	for i := range many[:12] {
		many[i].Src = values
	}
	_, problems = config.Parse("p.yaml", []byte(app+stages), options(), many[:12]...)
	if got := problems.Error(); !strings.Contains(got, "a0010.yaml:2:") || !strings.Contains(got, "the file and those before it have more than 1048576 values") {
		t.Errorf("too many values: %.300s", got)
	}
}

// TestIncludeNames: paths with ".." and absolute ones are the operator's own.
func TestIncludeNames(t *testing.T) {
	for _, name := range []string{"../other/a.yaml", "/etc/weft/a.yaml"} {
		cfg, problems := config.Parse("conf/pipeline.yaml", []byte(includeRoot), options(),
			config.Source{File: "x", Name: name, Src: []byte(unit("a", "") + "pipeline: {}\n")})
		if problems.Err() != nil || cfg.Apps[1].Pipeline.Label() != name+":main" {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// TestIncludeSchema: the schema of the root is one for included files.
func TestIncludeSchema(t *testing.T) {
	_, s := schema(t)
	for _, src := range []string{unit("a", ""), unit("a", "") + "pipeline: { stages: [ { reply: { text: x } } ] }\npipelines: { x: {} }\n"} {
		v, ok := instance(src)
		if err := s.Validate(v); !ok || err != nil {
			t.Errorf("%s: %v", src, err)
		}
	}
	if v, _ := instance(unit("a", "") + "piplines: {}\n"); s.Validate(v) == nil {
		t.Error("an unknown key is taken")
	}
	doc, _ := schema(t)
	for name, value := range doc["properties"].(map[string]any) {
		root := strings.HasSuffix(value.(map[string]any)["description"].(string), "In the root file only.")
		if root == slices.Contains([]string{"weft", "apps", "pipeline", "pipelines"}, name) {
			t.Errorf("%s: said to be of the root only: %v", name, root)
		}
	}
}

// FuzzInclude holds what Parse promises of more than one file.
func FuzzInclude(f *testing.F) {
	src, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(includeRoot, unit("a", ""), unit("b", "")+"pipeline: { stages: [ { plugin: a } ] }\n")
	f.Add(includeRoot, unit("shop", ", callback_path: /wechat/shop"), unit("shop", ""))
	f.Add(string(src), unit("a", ", with: { welcome: { greeting: \"${SHOP_TOKEN}\" } }"), "weft: 1\npipelines: { main: { on_error: { plugin: spare } } }\n")
	f.Add("weft: [", "", "- x")
	f.Add(includeRoot, "weft: 1\nserver: {}\nplugins: {}\n", "weft: 1\nx: &x [ *x ]\n")
	f.Fuzz(func(t *testing.T, root, one, two string) {
		opt := config.Options{
			Getenv:   func(string) (string, bool) { return "tOpSeCrEt!", true },
			ReadFile: func(string) ([]byte, error) { return nil, errors.New("no") },
		}
		files := parts("a.yaml", one, "b.yaml", two)
		config.Includes("conf/pipeline.yaml", []byte(root), opt)
		cfg, problems := config.Parse("conf/pipeline.yaml", []byte(root), opt, files...)
		if (cfg == nil) != (problems.Err() != nil) || len(problems) > 3*(config.MaxProblems+1) {
			t.Fatalf("config %v, %d problems", cfg != nil, len(problems))
		}
		if strings.Contains(problems.Error(), "tOpSeCrEt!") && !strings.Contains(root+one+two, "tOpSeCrEt!") {
			t.Fatalf("a secret in %v", problems)
		}
		if cfg == nil {
			return
		}
		names, labels := map[string]bool{}, map[string]bool{}
		for _, a := range cfg.Apps {
			if names[a.Name] || a.Pipeline == nil || a.Pipeline.Unit != "" && "conf/"+a.Pipeline.Unit != a.Pos.File {
				t.Errorf("app %s of %s", a.Name, a.Pos)
			}
			names[a.Name] = true
		}
		for _, p := range cfg.Pipelines {
			if labels[p.Label()] {
				t.Errorf("pipeline %s twice", p.Label())
			}
			labels[p.Label()] = true
		}
		alone, _ := config.Parse("conf/pipeline.yaml", []byte(root), opt, files[0])
		if alone != nil && len(alone.Apps) > len(cfg.Apps) {
			t.Error("fewer apps with more files")
		}
	})
}
