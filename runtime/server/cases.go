package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/config"
)

// TestOptions say what Test runs.
type TestOptions struct {
	Config string // the pipeline.yaml
	// Files are files of cases, or folders that hold some. None: those beside
	// Config and beside the modules of its plugins.
	Files []string
	Run   *regexp.Regexp // of the names of cases; nil: all
}

// Test runs files of cases and says what became of each. An app's cases walk the
// pipeline of Config; a plugin's need no Config. Nothing is bound or dialled, and
// the store of the host is left alone. The error is a file that can't be read, Run
// that matches no case, or ctx's end.
func Test(ctx context.Context, opt TestOptions) (_ *TestReport, err error) {
	files, err := caseFiles(opt)
	if err != nil {
		return nil, err
	}
	run := &testRun{opt: opt, report: &TestReport{Cases: []CaseReport{}, Problems: []TestProblem{}}}
	var done func() error
	if run.cacheDir, done, err = benchCache(opt.Config); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	for _, file := range files {
		if err := run.file(ctx, file); err != nil {
			return nil, err
		}
	}
	if len(run.report.Cases)+len(run.report.Problems) == 0 {
		return nil, errNoCase
	}
	return run.report, nil
}

// errNoCase: a gate through which nothing went would look as if all were well.
var errNoCase = errors.New("--run matches the name of no case: name one, or leave it out")

// benchCache is the folder of compiled plugins for benches: that of the
// configuration in file where it is there, else one that done removes.
func benchCache(file string) (dir string, done func() error, err error) {
	if cfg, _, err := readConfig(file, true, nil); err == nil {
		if dir = existing(filepath.Join(cfg.Server.Data, "cache")); dir != "" {
			return dir, func() error { return nil }, nil
		}
	}
	if dir, err = os.MkdirTemp("", "weft-bench-"); err != nil {
		return "", nil, fmt.Errorf("making a folder for compiled plugins: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// caseFiles lists the files to be run.
func caseFiles(opt TestOptions) ([]string, error) {
	if len(opt.Files) == 0 {
		return defaultCaseFiles(opt.Config)
	}
	var files []string
	for _, name := range opt.Files {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("reading the cases: %w", err)
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		found, err := casesIn(name)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: there is no cases.yaml: write one, or name another folder", name)
		}
		files = append(files, found...)
	}
	return files, nil
}

// defaultCaseFiles lists those beside a pipeline.yaml and beside its plugins.
func defaultCaseFiles(file string) ([]string, error) {
	cfg, _, err := readConfig(file, true, nil)
	if err != nil {
		return nil, err
	}
	dirs := []string{filepath.Dir(file)}
	for _, p := range cfg.Plugins {
		if dir := filepath.Dir(p.Source); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	var files []string
	for _, dir := range dirs {
		found, err := casesIn(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no cases.yaml beside %s or a plugin of it: write one, or name a file", file)
	}
	return files, nil
}

// casesIn lists the files of cases in a folder, by name.
func casesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for cases: %w", err)
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && (name == "cases.yaml" || strings.HasSuffix(name, ".cases.yaml")) {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files, nil
}

// testRun is one Test.
type testRun struct {
	opt      TestOptions
	cacheDir string // of compiled plugins
	report   *TestReport
}

// file runs the cases of one file.
func (t *testRun) file(ctx context.Context, name string) error {
	src, err := readAtMost(name, config.MaxFile+1)
	if err != nil {
		return fmt.Errorf("reading the cases: %w", err)
	}
	f, problems := config.ParseCases(name, src)
	t.report.addProblems(problems)
	if f == nil {
		return nil
	}
	f.Cases = slices.DeleteFunc(f.Cases, func(c *config.Case) bool { return t.opt.Run != nil && !t.opt.Run.MatchString(c.Name) })
	if len(f.Cases) == 0 {
		return nil
	}
	if f.App != "" {
		return t.appFile(ctx, f)
	}
	return t.pluginFile(ctx, name, f)
}

// caseConfig reads a pipeline.yaml as the cases of a file see it.
func caseConfig(file string, env map[string]string) (*config.Config, config.Problems, error) {
	getenv := func(name string) (string, bool) {
		if v, ok := env[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	}
	return readConfigIn(getenv, file, false, nil)
}

// appFile runs an app's cases.
func (t *testRun) appFile(ctx context.Context, f *config.CaseFile) error {
	cfg, _, err := caseConfig(t.opt.Config, f.Env)
	if found := config.Problems(nil); errors.As(err, &found) {
		t.report.addProblems(found)
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range f.Cases {
		r := newCaseReport(c)
		r.App = c.App
		app, err := findApp(cfg, c.App)
		if err != nil {
			r.fail(c.Pos, err.Error(), "", "", "name an app of "+t.opt.Config)
		} else if p := strangeState(cfg, app, c); p != nil {
			r.fail(p.Pos, p.Text, "", "", p.Advice)
		} else if err := t.appCase(ctx, r, cfg, app, c); err != nil {
			return err
		}
		t.report.addCase(*r)
	}
	return nil
}

// strangeState is what is wrong with the first value of state in an app's case that no
// plugin of the app has, nil where there is none: it would be given to nobody, or never
// be found.
func strangeState(cfg *config.Config, app *config.App, c *config.Case) *config.Problem {
	for _, v := range slices.Concat(c.Given, c.State) {
		if slices.ContainsFunc(cfg.Plugins, func(p *config.Plugin) bool { return p.StateOwner() == v.Plugin && slices.Contains(p.Apps, app) }) {
			continue
		}
		i := slices.IndexFunc(cfg.Plugins, func(p *config.Plugin) bool { return p.Name == v.Plugin })
		switch {
		case i < 0:
			return &config.Problem{Pos: v.Pos, Text: "there is no plugin " + v.Plugin, Advice: "name a plugin that app " + app.Name + " uses"}
		case cfg.Plugins[i].StateOf != nil:
			return &config.Problem{Pos: v.Pos, Text: "plugin " + v.Plugin + " has no state of its own", Advice: "write " + cfg.Plugins[i].StateOwner() + ", whose state it has"}
		}
		return &config.Problem{Pos: v.Pos, Text: "app " + app.Name + " does not use plugin " + v.Plugin, Advice: "name a plugin that it uses"}
	}
	return nil
}

func newCaseReport(c *config.Case) *CaseReport {
	return &CaseReport{File: c.Pos.File, Line: c.Pos.Line, Name: c.Name, Events: len(c.Events), Failures: []CaseFailure{}, Log: []string{}}
}

// pluginFile runs a plugin's cases.
func (t *testRun) pluginFile(ctx context.Context, name string, f *config.CaseFile) error {
	module, err := caseModule(name, f)
	if err != nil {
		t.report.Problems = append(t.report.Problems, TestProblem{File: name, Text: err.Error()})
		return nil
	}
	wasm, advice, err := readModule(module, nil)
	if err != nil {
		t.report.Problems = append(t.report.Problems, TestProblem{File: name, Text: err.Error(), Advice: advice})
		return nil
	}
	for _, c := range f.Cases {
		r := newCaseReport(c)
		r.Plugin = strings.TrimSuffix(filepath.Base(module), ".wasm")
		if err := t.pluginCase(ctx, r, wasm, c); err != nil {
			return err
		}
		t.report.addCase(*r)
	}
	return nil
}

// caseModule is the module that a plugin's cases are of.
func caseModule(name string, f *config.CaseFile) (string, error) {
	if f.Plugin != "" {
		return f.Plugin, nil
	}
	dir := filepath.Dir(name)
	found, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.wasm"))
	switch {
	case err != nil:
		return "", fmt.Errorf("looking for the plugin: %w", err)
	case len(found) == 0:
		return "", errors.New("no .wasm file is beside it, and it names no app: `weft plugin build` makes the one; for cases of a pipeline write app: NAME at the top")
	case len(found) > 1:
		return "", errors.New("more than one .wasm file is beside it: name its own, plugin: ./NAME.wasm")
	}
	return found[0], nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
