package server

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// keptOf is a state of a root and its modules, with what is in them.
func keptOf(root string, modules ...string) (*accepted, func(string) ([]byte, error)) {
	contents := map[string][]byte{digest([]byte(root)) + keptSource: []byte(root)}
	a := &accepted{Root: "pipeline.yaml", Units: []acceptedUnit{{Source: digest([]byte(root))}}, Modules: map[string]string{}}
	for _, m := range modules {
		a.Modules[m] = digest([]byte(m))
		contents[digest([]byte(m))+keptModule] = []byte(m)
	}
	return a, func(name string) ([]byte, error) {
		if b, ok := contents[name]; ok {
			return b, nil
		}
		return nil, errors.New("asked for " + name)
	}
}

func namesIn(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestKept: what is saved is there for another process, each content once, and
// what no state names goes.
func TestKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), keptName)
	k := &keptFolder{dir: dir}
	if a, err := k.load(); a != nil || err != nil {
		t.Errorf("nothing is kept: %v, %v", a, err)
	}
	first, content := keptOf("one", "m1", "m2")
	first.Configs = []acceptedConfig{{App: "shop", Plugin: "m1", Root: digest([]byte("one")), Source: digest([]byte("one"))}}
	if err := k.save(first, content); err != nil {
		t.Fatal(err)
	}
	if got := len(namesIn(t, dir)); got != 4 {
		t.Errorf("%d files", got)
	}
	stranger := filepath.Join(dir, "notes.txt")
	if err := errors.Join(os.WriteFile(stranger, nil, 0o600), os.WriteFile(filepath.Join(dir, ".new-left"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}

	other := &keptFolder{dir: dir}
	got, err := other.load()
	if err != nil || len(got.Configs) != 1 || got.Modules["m2"] != digest([]byte("m2")) || got.Root != "pipeline.yaml" {
		t.Fatalf("%+v, %v", got, err)
	}
	if b, err := other.source(got.Units[0].Source); string(b) != "one" || err != nil {
		t.Errorf("source: %q, %v", b, err)
	}
	second, content := keptOf("two", "m2")
	var asked []string
	err = other.save(second, func(name string) ([]byte, error) { asked = append(asked, name); return content(name) })
	if want := []string{digest([]byte("two")) + keptSource}; err != nil || !slices.Equal(asked, want) {
		t.Errorf("asked for %v: %v", asked, err)
	}
	want := []string{digest([]byte("m2")) + keptModule, digest([]byte("two")) + keptSource, "notes.txt", keptState}
	slices.Sort(want)
	if got := namesIn(t, dir); !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
	if len(other.whole) != 2 {
		t.Errorf("it remembers %v", other.whole)
	}
	if err := other.save(second, func(string) ([]byte, error) { return nil, errors.New("asked") }); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, name := range append(want, ".") {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || name != "notes.txt" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestKeptDamaged: whatever became of the folder, reading it says so.
func TestKeptDamaged(t *testing.T) {
	root := digest([]byte("one"))
	for name, c := range map[string]struct {
		damage func(dir string) error
		want   string // in the error; "" where there is none
	}{
		"state is cut":   {func(dir string) error { return os.Truncate(filepath.Join(dir, keptState), 80) }, "damaged"},
		"state is empty": {func(dir string) error { return os.Truncate(filepath.Join(dir, keptState), 0) }, "damaged"},
		"state is a folder": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, keptState)), os.Mkdir(filepath.Join(dir, keptState), 0o700))
		}, "damaged"},
		"state is too large": {func(dir string) error { return os.Truncate(filepath.Join(dir, keptState), maxState+1) }, "damaged"},
		"state is no JSON": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, keptState), []byte(digest([]byte("x"))+"\nx"), 0o600)
		}, "invalid character"},
		"state of a later version": {func(dir string) error {
			body := `{"version":2}`
			return os.WriteFile(filepath.Join(dir, keptState), []byte(digest([]byte(body))+"\n"+body), 0o600)
		}, "version 2"},
		"state names another file": {func(dir string) error {
			body := `{"version":1,"units":[{"source":"../../../../etc/passwd"}]}`
			return os.WriteFile(filepath.Join(dir, keptState), []byte(digest([]byte(body))+"\n"+body), 0o600)
		}, "damaged"},
		"source is another":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, root+keptSource), []byte("two"), 0o600) }, "damaged"},
		"source is gone":     {func(dir string) error { return os.Remove(filepath.Join(dir, root+keptSource)) }, "no such file"},
		"source is too long": {func(dir string) error { return os.Truncate(filepath.Join(dir, root+keptSource), 5<<20) }, "damaged"},
		"source is a link": {func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, root+keptSource), filepath.Join(dir, "x")), os.Symlink("x", filepath.Join(dir, root+keptSource)))
		}, "damaged"},
		"nothing": {func(string) error { return nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := &keptFolder{dir: filepath.Join(t.TempDir(), keptName)}
			state, content := keptOf("one", "m")
			if err := errors.Join(k.save(state, content), c.damage(k.dir)); err != nil {
				t.Fatal(err)
			}
			k = &keptFolder{dir: k.dir}
			a, err := k.load()
			if err == nil {
				_, err = k.source(a.Units[0].Source)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err := k.save(state, content); err != nil && name != "state is a folder" {
				t.Errorf("saving afterwards: %v", err)
			}
		})
	}
}

// TestKeptNotWritten: a folder that can't be written is an error, and once it can
// be, the same state is written.
func TestKeptNotWritten(t *testing.T) {
	dir := t.TempDir()
	k := &keptFolder{dir: filepath.Join(dir, keptName)}
	if err := os.WriteFile(k.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	state, content := keptOf("one", "m")
	if err := k.save(state, content); err == nil {
		t.Error("no error")
	}
	if err := os.Remove(k.dir); err != nil {
		t.Fatal(err)
	}
	if err := k.save(state, func(string) ([]byte, error) { return nil, errors.New("gone") }); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("content that can't be had: %v", err)
	}
	if err := k.save(state, content); err != nil {
		t.Error(err)
	}
	if a, err := (&keptFolder{dir: k.dir}).load(); err != nil || a == nil {
		t.Errorf("%v, %v", a, err)
	}
}

// FuzzKeptState: a state from disk is hostile.
func FuzzKeptState(f *testing.F) {
	f.Add([]byte(`{"version":1,"units":[{"name":"","source":"x"}],"modules":{"a":"b"},"configs":[{"app":"a"}]}`), true)
	f.Add([]byte("{}"), false)
	f.Fuzz(func(t *testing.T, body []byte, signed bool) {
		k := &keptFolder{dir: t.TempDir()}
		raw := body
		if signed {
			raw = append([]byte(digest(body)+"\n"), body...)
		}
		if err := os.WriteFile(filepath.Join(k.dir, keptState), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := k.load()
		if err != nil {
			return
		}
		for _, u := range a.Units {
			if _, err := k.source(u.Source); err == nil {
				t.Error("a source where there is none")
			}
		}
		for _, m := range a.Modules {
			if _, err := k.module(m); err == nil {
				t.Error("a module where there is none")
			}
		}
	})
}

// FuzzOpenUnits: whatever a state names, opening it and merging configs out of it
// reads what is kept and nothing else, and doesn't fail.
func FuzzOpenUnits(f *testing.F) {
	root := "weft: 1\napps: { a: { type: official, app_id: x, token: t, mode: plain, with: { p: { n: 1 } } } }\nplugins: { p: { source: p.wasm } }\npipeline: { stages: [ { plugin: p } ] }\n"
	unit := "weft: 1\napps: { b: { type: official, app_id: x, token: t, mode: plain } }\n"
	sums := digest([]byte(root)) + " " + digest([]byte(unit))
	f.Add(`{"version":1,"root":"p.yaml","units":[{"name":"","source":"R"},{"name":"apps/b.yaml","source":"U"}],"modules":{"p":"x"},"configs":[{"app":"b","plugin":"p","root":"R","unit":"apps/b.yaml","source":"U"},{"app":"a","plugin":"p","root":"R"}]}`)
	f.Add(`{"version":1,"root":"p.yaml","units":[{"name":"/etc/passwd","source":"U"},{"name":"../../x","source":"R"}],"configs":[{"unit":"x"},{"app":"b","root":"U","unit":"","source":"R"}]}`)
	f.Add(`{"version":1,"root":"p.yaml","units":[{"name":"","source":"U"},{"name":"","source":"R"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		dir := t.TempDir()
		k := &keptFolder{dir: filepath.Join(dir, "data", keptName)}
		for _, src := range []string{root, unit} {
			state, content := keptOf(src)
			if err := k.write(nil, state.blobs(), content); err != nil {
				t.Fatal(err)
			}
		}
		body = strings.NewReplacer(`"R"`, `"`+sums[:64]+`"`, `"U"`, `"`+sums[65:]+`"`).Replace(body)
		if err := os.WriteFile(filepath.Join(k.dir, keptState), []byte(digest([]byte(body))+"\n"+body), 0o600); err != nil {
			t.Fatal(err)
		}
		u, _ := openUnits(read(filepath.Join(dir, "p.yaml"), newSources(false)))
		for _, v := range u.accepted {
			if string(v.src) != root && string(v.src) != unit {
				t.Errorf("a source that was not kept: %q", v.src)
			}
		}
		for _, app := range []string{"a", "b"} {
			if c, ok := u.good(app, "p"); ok && string(c.JSON) != `{"n":1}` && string(c.JSON) != "{}" {
				t.Errorf("config of %s: %s", app, c.JSON)
			}
		}
	})
}
