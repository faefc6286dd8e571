package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/manifest"
)

// block is a fenced piece of a README.
type block struct {
	name string // file:line of its first line
	lang string
	text string
}

// newUser tries the commands of a README in a copy of the repository.
type newUser struct {
	dir     string
	ports   *strings.Replacer // of the README's addresses by free ones
	hosts   []*host           // what the README said to leave running
	printed string            // by the last command
}

// TestREADME does what README.md says, from its first line to its last; the
// Chinese one has the same code. Afterwards the configurations that it and the
// other READMEs show are held to the host that it built.
func TestREADME(t *testing.T) {
	// `make test` runs this, and is no parent of what a new user types.
	for _, name := range []string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL"} {
		t.Setenv(name, "")
	}
	u := &newUser{dir: copyRepository(t)}
	u.choosePorts(t)
	u.follow(t, "README.md")
	examples := u.glob(t, "examples/*/README.md")
	for _, file := range examples {
		u.follow(t, file)
	}
	readmes := slices.Concat([]string{"README.md", "sdk/README.md"}, u.glob(t, "plugins/*/README.md"), examples)
	for _, file := range readmes {
		for _, b := range u.blocks(t, file) {
			if b.lang == "yaml" {
				t.Run(b.name, func(t *testing.T) { u.checkYAML(t, b) })
			}
		}
	}
	t.Run("links", func(t *testing.T) {
		for _, file := range append(readmes, "README.zh-CN.md", "hostapi/ABI.md") {
			u.checkLinks(t, file)
		}
	})
	t.Run("Ctrl-C", u.interrupt)
}

// follow does what a README says.
func (u *newUser) follow(t *testing.T, file string) {
	t.Helper()
	before := len(u.hosts)
	blocks := u.blocks(t, file)
	for i, b := range blocks {
		switch {
		case b.serves():
			u.hosts = append(u.hosts, startHost(t, u.dir, "sh", "-e", "-c", b.text))
		case strings.HasPrefix(b.text, "node ") && (i+1 == len(blocks) || blocks[i+1].lang != "text"): // it prints nothing: it listens
			startProgram(t, u.dir, b.text)
		default:
			if !t.Run(b.name, func(t *testing.T) { u.try(t, b) }) {
				t.Fatal("what follows builds on it")
			}
		}
	}
	if len(u.hosts) == before {
		t.Fatalf("%s serves nothing: the test reads it wrongly", file)
	}
}

// startProgram runs a script that is to be left running, until the test ends, and
// waits until it says where it listens.
func startProgram(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+script)
	cmd.Dir = dir
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), " listens at ") {
			return
		}
	}
	t.Fatalf("%q ended before it listened", script)
}

// copyRepository copies what a clone with the changes of this folder would have.
func copyRepository(t *testing.T) string {
	t.Helper()
	root, dir := repository(t), filepath.Join(t.TempDir(), "weft")
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		err := copyFile(filepath.Join(root, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // deleted, and not committed yet
			t.Fatal(err)
		}
	}
	return dir
}

// copyFile copies a file with its mode, and makes the folder to hold it.
func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

var address = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// choosePorts gives a free port to each address in README.md, in pipeline.yaml and
// in the examples, and writes it into all but READMEs. The ports are below those that
// systems give out by themselves, so that no other test gets one meanwhile.
func (u *newUser) choosePorts(t *testing.T) {
	t.Helper()
	files := []string{"pipeline.yaml"}
	err := fs.WalkDir(os.DirFS(u.dir), "examples", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := u.read(t, "README.md")
	for _, file := range files {
		all += u.read(t, file)
	}
	var pairs []string
	chosen := map[string]net.Listener{}
	for _, found := range address.FindAllString(all, -1) {
		for tries := 0; chosen[found] == nil; tries++ {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
			if err != nil && tries == 100 {
				t.Fatalf("no port is free: %v", err)
			}
			if err == nil {
				chosen[found] = ln
				pairs = append(pairs, found, ln.Addr().String())
			}
		}
	}
	for _, ln := range chosen {
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	u.ports = strings.NewReplacer(pairs...)
	for _, file := range files {
		u.write(t, file, u.ports.Replace(u.read(t, file)))
	}
}

func (u *newUser) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(u.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (u *newUser) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(u.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (u *newUser) glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := fs.Glob(os.DirFS(u.dir), pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found
}

// blocks reads the fenced pieces of a file.
func (u *newUser) blocks(t *testing.T, file string) []block {
	t.Helper()
	var found []block
	open, number := false, 0
	for line := range strings.Lines(u.ports.Replace(u.read(t, file))) {
		number++
		switch lang, fence := strings.CutPrefix(line, "```"); {
		case fence && !open:
			open = true
			found = append(found, block{name: fmt.Sprintf("%s:%d", file, number+1), lang: strings.TrimSpace(lang)})
		case fence:
			open = false
		case open:
			found[len(found)-1].text += line
		}
	}
	if open {
		t.Fatalf("%s: a block has no end", file)
	}
	return found
}

// serves tells whether the block is to be left running.
func (b block) serves() bool {
	return b.lang == "sh" && (slices.Contains([]string{"make run", "make shop"}, strings.TrimSpace(b.text)) || strings.HasPrefix(b.text, "bin/weft serve "))
}

// try does what a block of README.md says.
func (u *newUser) try(t *testing.T, b block) {
	switch {
	case b.lang == "text":
		if strings.TrimSpace(u.printed) != strings.TrimSpace(b.text) {
			t.Errorf("the block before printed %q, not %q", u.printed, b.text)
		}
	case b.lang != "sh":
	case strings.TrimSpace(b.text) == "make test":
		// It runs this test: it is enough that there is such a target.
		u.run(t, "make -n test")
	default:
		u.run(t, b.text)
		checkPrinted(t, b.text, u.printed)
	}
}

// run runs a script to its end.
func (u *newUser) run(t *testing.T, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = u.dir, &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	if errs.Len() > 0 {
		t.Errorf("it complains: %s", errs.String())
	}
	u.printed = out.String()
}

// checkPrinted holds what a script printed to what its commands are for.
func checkPrinted(t *testing.T, script, printed string) {
	t.Helper()
	sent := strings.Count(script, "bin/weft callback ")
	if strings.Count(printed, "\n") < sent {
		t.Errorf("%d callbacks, and fewer lines: %q", sent, printed)
	}
	for line := range strings.Lines(printed) {
		if sent > 0 && (line == "\n" || line == "success\n") {
			t.Errorf("a callback was not answered: %q", printed)
		}
	}
	for _, want := range []struct{ path, text string }{{"/readyz", `{"status":"ok"}`}, {"/metrics", "\nweft_events_total{"}} {
		if strings.Contains(script, want.path) && !strings.Contains(printed, want.text) {
			t.Errorf("%s: no %q in %s", want.path, want.text, printed)
		}
	}
}

// interrupt presses Ctrl-C where the hosts run.
func (u *newUser) interrupt(t *testing.T) {
	for _, h := range u.hosts {
		if err := syscall.Kill(-h.cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Error(err)
		}
		select {
		case err := <-h.exited:
			h.exited <- err
		case <-time.After(30 * time.Second):
			t.Fatal("the host goes on")
		}
		if !strings.Contains(h.logs.String(), `"msg":"stopped"`) {
			t.Errorf("the log ends with\n%s", tail(h.logs.String()))
		}
	}
}

// checkYAML holds a configuration, or a manifest, to the host. What is only a
// part of one is made whole first.
func (u *newUser) checkYAML(t *testing.T, b block) {
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(b.text), &doc); err != nil {
		t.Fatal(err)
	}
	switch has := func(key string) bool { return doc[key] != nil }; {
	case has("cases"):
		if _, problems := config.ParseCases("cases.yaml", []byte(b.text)); len(problems) > 0 {
			t.Error(problems)
		}
	case has("weft"):
		u.checkConfig(t, b.text, doc)
	case has("plugins") || has("pipeline"):
		complete(doc)
		text, err := yaml.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		u.checkConfig(t, string(text), doc)
	case has("abi"):
		checkManifest(t, b.text)
	case has("capabilities"):
		checkManifest(t, "name: part\nversion: 1.0.0\nabi: 1\ntitle: { en: Part }\n"+b.text)
	default:
		t.Errorf("it is neither a pipeline.yaml nor a plugin.yaml")
	}
}

// complete adds to a part of a pipeline.yaml an app, and the plugins that its
// stages name and that it leaves out.
func complete(doc map[string]any) {
	doc["weft"] = 1
	doc["apps"] = map[string]any{"demo": map[string]any{"type": "official", "app_id": "wx0000000000000000", "token": "demoToken", "mode": "plain"}}
	plugins, ok := doc["plugins"].(map[string]any)
	if !ok {
		plugins = map[string]any{}
		doc["plugins"] = plugins
	}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				visit(item)
			}
		case map[string]any:
			for _, item := range v {
				visit(item)
			}
			if name, ok := v["plugin"].(string); ok && plugins[name] == nil {
				plugins[name] = map[string]any{"source": "./plugins/" + name + "/" + name + ".wasm"}
			}
		}
	}
	visit(doc["pipeline"])
}

// checkConfig runs weft check on a pipeline.yaml. For a plugin that is not the
// project's own, the one that README.md makes stands in.
func (u *newUser) checkConfig(t *testing.T, text string, doc map[string]any) {
	t.Helper()
	plugins, _ := doc["plugins"].(map[string]any)
	for name, p := range plugins {
		p, _ := p.(map[string]any)
		source, _ := p["source"].(string)
		to := filepath.Join(u.dir, source)
		if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		grants, _ := p["grants"].(map[string]any)
		if err := u.standIn(to, grants); err != nil {
			t.Fatalf("plugin %s: %v", name, err)
		}
	}
	u.write(t, "shown.yaml", text)
	u.run(t, "bin/weft check --no-env --strict -c shown.yaml")
}

// standIn writes the plugin that README.md makes to a file, with a manifest that
// declares what it is granted.
func (u *newUser) standIn(file string, grants map[string]any) error {
	wasm, err := os.ReadFile(filepath.Join(u.dir, "plugins/hello/hello.wasm"))
	if err != nil {
		return err
	}
	if len(grants) > 0 {
		text, err := os.ReadFile(filepath.Join(u.dir, "plugins/hello/plugin.yaml"))
		if err != nil {
			return err
		}
		capabilities := map[string]any{}
		for name, grant := range grants {
			needs := map[string]any{"why": "stands in"}
			if upstreams, ok := grant.(map[string]any); ok {
				needs["upstreams"] = upstreams
			}
			capabilities[name] = needs
		}
		declared, err := yaml.Marshal(map[string]any{"capabilities": capabilities})
		if err != nil {
			return err
		}
		if wasm, err = manifest.Embed(wasm, append(text, declared...)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, wasm, 0o600)
}

func checkManifest(t *testing.T, text string) {
	t.Helper()
	if _, err := manifest.Parse("plugin.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
}

var (
	link = regexp.MustCompile(`\]\(([^)#]+)`)
	code = regexp.MustCompile("(?s)```.*?```|`[^`]*`")
)

// checkLinks wants the files that a README leads to.
func (u *newUser) checkLinks(t *testing.T, file string) {
	t.Helper()
	for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(u.read(t, file), ""), -1) {
		if target := found[1]; !strings.Contains(target, "://") {
			if _, err := os.Stat(filepath.Join(u.dir, filepath.Dir(file), target)); err != nil {
				t.Errorf("%s leads nowhere: %v", file, err)
			}
		}
	}
}
