package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// TestUnitsRootBreaks: a root that drops what an accepted file uses is refused,
// and taken together with a change of that file; what breaks a file by itself is
// not laid at the root's door.
func TestUnitsRootBreaks(t *testing.T) {
	root := func(text, pipeline string) string {
		return "include: [ \"apps/*.yaml\" ]\napps:\n" + appYAML("root", "encrypted", "") +
			"pipelines:\n  main: { stages: [ { reply: { text: " + text + " } } ] }\n  " + pipeline + ": { stages: [ { reply: { text: " + pipeline + " } } ] }\n"
	}
	unit := func(pipeline string) string {
		return "weft: 1\napps:\n" + appYAML("alpha", "encrypted", "pipeline: "+pipeline+"\n")
	}
	file := writeUnits(t, root("r1", "spare"), map[string]string{"apps/a.yaml": unit("spare")})
	h := startHost(t, file)
	for i, c := range []struct {
		files       map[string]string
		root, alpha string
		state       string // of the root
	}{
		{map[string]string{"pipeline.yaml": root("r2", "other")}, "r1", "spare", unitKept},
		{map[string]string{"apps/a.yaml": "weft: ["}, "r1", "spare", unitKept},
		{map[string]string{"apps/a.yaml": unit("other")}, "r2", "other", unitCurrent},
		{map[string]string{"pipeline.yaml": root("r3", "other"), "apps/a.yaml": unit("spare")}, "r3", "other", unitCurrent},
		{map[string]string{"pipeline.yaml": root("r4", "spare")}, "r4", "spare", unitCurrent},
	} {
		edit(t, file, c.files)
		_, answer := h.postReload(t, "")
		want := map[string]string{"root": c.root, "alpha": c.alpha}
		if got := h.answers(t, fmt.Sprint(i), "root", "alpha"); !maps.Equal(got, want) || h.states(t)["pipeline.yaml"] != c.state {
			t.Errorf("%d: %v, %v: %+v", i, got, h.states(t), answer)
		}
		named := slices.ContainsFunc(answer.Problems, func(p problemStatus) bool {
			return p.File == file && strings.HasPrefix(p.Text, "the change is refused: it breaks "+filepath.Join(filepath.Dir(file), "apps", "a.yaml")) && strings.Contains(p.Text, "there is no pipeline spare")
		})
		if named != (c.state == unitKept) {
			t.Errorf("%d: %+v", i, answer)
		}
	}
}

// TestUnitsAtFirst: where nothing was accepted before, a broken file is left out
// and a broken root doesn't start.
func TestUnitsAtFirst(t *testing.T) {
	file := writeUnits(t, rootOf("r1"), map[string]string{
		"apps/a.yaml": "weft: 1\napps:\n  alpha: [\n    callback_path: /old/alpha\n", "apps/b.yaml": unitFile("b1", "beta"),
	})
	h := startHost(t, file)
	want := map[string]string{"root": "r1", "alpha": "503", "beta": "b1", "gamma": "404"}
	if got := h.answers(t, "1", "root", "alpha", "beta", "gamma"); !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if status, _, _ := postTo(t, h.url("/old/alpha"), request{}); status != http.StatusServiceUnavailable {
		t.Errorf("a path of the broken file: %d", status)
	}
	for _, path := range []string{"/jsapi/alpha/sign?url=https%3A%2F%2Fwww.acme.cn%2F", "/oauth/alpha/login?redirect=https%3A%2F%2Fwww.acme.cn%2F", "/mp/alpha/login"} {
		if status, _, body := get(t, h.url(path)); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if len(h.log.lines(t, "unit absent")) != 1 || len(h.log.lines(t, "configuration")) != 1 {
		t.Errorf("log:\n%s", h.log)
	}
	file = writeUnits(t, rootOf("r1")+"x: 1\n", nil)
	if _, err := Start(t.Context(), file, discard()); err == nil || !strings.Contains(err.Error(), "unknown key x") {
		t.Errorf("a broken root: %v", err)
	}
	if _, err := Start(t.Context(), file+"x", discard()); err == nil || !strings.HasPrefix(err.Error(), "reading the configuration: ") {
		t.Errorf("no root: %v", err)
	}
}

// TestUnitSecrets: a secret that goes doesn't touch a running host, and at the
// next start takes out the file that names it.
func TestUnitSecrets(t *testing.T) {
	secret := strings.Replace(unitFile("a1", "alpha"), "token: "+testToken, "token: \"${file:token}\"", 1)
	file := writeUnits(t, rootOf("r1"), map[string]string{
		"apps/a.yaml": secret, "apps/token": testToken + "\n", "apps/b.yaml": unitFile("b1", "beta"),
	})
	h := startHost(t, file)
	edit(t, file, map[string]string{"apps/token": "", "apps/b.yaml": unitFile("b2", "beta")})
	if status, answer := h.postReload(t, ""); status != http.StatusUnprocessableEntity || answer.Result != reloadPartial || !strings.Contains(answer.Problems[0].Text, "${file:token}") {
		t.Errorf("%d %+v", status, answer)
	}
	want := map[string]string{"root": "r1", "alpha": "a1", "beta": "b2"}
	if got := h.answers(t, "1", "root", "alpha", "beta"); !maps.Equal(got, want) {
		t.Errorf("after the reload: %v", got)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	edit(t, file, map[string]string{"pipeline.yaml": rootOf("r2")})
	other := startHost(t, file)
	want["alpha"], want["root"] = "503", "r2"
	if got := other.answers(t, "2", "root", "alpha", "beta"); !maps.Equal(got, want) {
		t.Errorf("after the restart: %v", got)
	}
	if got := other.states(t)["a.yaml"]; got != unitAbsent {
		t.Errorf("a.yaml is %s", got)
	}
	edit(t, file, map[string]string{"apps/token": testToken})
	if status, answer := other.postReload(t, ""); status != http.StatusOK {
		t.Errorf("%d %+v", status, answer)
	}
	want["alpha"] = "a1"
	if got := other.answers(t, "3", "root", "alpha", "beta"); !maps.Equal(got, want) {
		t.Errorf("when it is back: %v", got)
	}
}

// TestUnitModules: a plugin's file that breaks or goes doesn't touch a host, and
// at the next start its kept copy serves, as long as that is whole.
func TestUnitModules(t *testing.T) {
	module, err := os.ReadFile(probe(t))
	if err != nil {
		t.Fatal(err)
	}
	file := writeUnits(t, "include: [ \"apps/*.yaml\" ]\n"+strings.Replace(probeSections(t, appYAML("root", "encrypted", "")), fmt.Sprintf("%q", probe(t)), "p.wasm", 1),
		map[string]string{"p.wasm": string(module), "apps/a.yaml": unitFile("a1", "alpha")})
	log := new(syncBuffer)
	host, err := Start(t.Context(), file, NewLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{host, log}
	edit(t, file, map[string]string{"p.wasm": "\x00asm nonsense", "apps/a.yaml": unitFile("a2", "alpha")})
	status, answer := h.postReload(t, "")
	if status != http.StatusUnprocessableEntity || answer.Result != reloadPartial || answer.Problems[0].File != file {
		t.Errorf("%d %+v", status, answer)
	}
	if got := h.say(t, "root", "1", "count"); got != "run 1" {
		t.Errorf("root: %q", got)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	edit(t, file, map[string]string{"p.wasm": ""})
	second := startHost(t, file)
	if got := second.say(t, "root", "2", "count"); got != "run 2" || second.states(t)["pipeline.yaml"] != unitKept {
		t.Errorf("root: %q, %v", got, second.states(t))
	}
	if got := second.say(t, "alpha", "2", "x"); got != "a2" {
		t.Errorf("alpha: %q", got)
	}
	if err := second.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(file), "data", keptName, "*"+keptModule))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if err := os.Truncate(kept[0], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), file, discard()); err == nil || !strings.Contains(err.Error(), "it is damaged") {
		t.Errorf("with a damaged copy: %v", err)
	}
}

// TestUnitConfigs: an app whose plugin refuses its config has the last one that it
// took, over a restart, too, and whatever else changes; another app, and the file,
// go on.
func TestUnitConfigs(t *testing.T) {
	with := func(app, name string) string {
		return appYAML(app, "encrypted", "with: { probe: { name: "+name+" } }\n")
	}
	unit := func(alpha, beta string) string { return "weft: 1\napps:\n" + with("alpha", alpha) + with("beta", beta) }
	file := writeUnits(t, "include: [ \"apps/*.yaml\" ]\n"+probeSections(t, ""), map[string]string{"apps/a.yaml": unit("one", "one")})
	log := new(syncBuffer)
	host, err := Start(t.Context(), file, NewLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{host, log}
	stop := func() {
		t.Helper()
		if err := h.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { stop() }()
	start := func() {
		t.Helper()
		stop()
		if h.Host, err = Start(t.Context(), file, NewLogger(log)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(id, alpha, beta string) {
		t.Helper()
		if a, b := h.say(t, "alpha", id, "name"), h.say(t, "beta", id, "name"); a != alpha || b != beta {
			t.Errorf("%s: %q and %q, want %q and %q", id, a, b, alpha, beta)
		}
	}
	check("1", "one", "one")
	edit(t, file, map[string]string{"apps/a.yaml": unit("refused", "two")})
	if status, answer := h.postReload(t, ""); status != http.StatusUnprocessableEntity || answer.Result != reloadPartial || !strings.Contains(answer.Problems[0].Text, "config of plugin probe for app alpha") {
		t.Errorf("%d %+v", status, answer)
	}
	check("2", "one", "two")
	start()
	check("3", "one", "two")
	edit(t, file, map[string]string{"apps/a.yaml": unit("refused", "three")})
	start()
	check("4", "one", "three")
	edit(t, file, map[string]string{"apps/a.yaml": unit("refused", "four"), "pipeline.yaml": "-"})
	start()
	check("5", "one", "four")
	report, err := Check(t.Context(), file, false)
	if err != nil || report.Problems.Err() == nil {
		t.Errorf("check: %v, %v", report, err)
	}
	edit(t, file, map[string]string{"apps/a.yaml": unit("five", "refused")})
	start()
	check("6", "five", "four")
}

// TestUnitsHostileFolder: whatever stands in the folder of what was accepted, a
// host with files that are right starts, and keeps what it has again.
func TestUnitsHostileFolder(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"the state is nonsense": func(dir string) error { return os.WriteFile(filepath.Join(dir, keptState), []byte("x"), 0o600) },
		"it is empty":           func(dir string) error { return os.RemoveAll(dir) },
		"it is a file": func(dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.WriteFile(dir, nil, 0o600)
		},
		"sources are nonsense": func(dir string) error {
			files, err := filepath.Glob(filepath.Join(dir, "*"+keptSource))
			for _, f := range files {
				err = os.WriteFile(f, []byte("weft: 1\n"), 0o600)
			}
			return err
		},
		"of another root": func(dir string) error {
			k := &keptFolder{dir: dir}
			state, err := k.load()
			if err != nil {
				return err
			}
			state.Root = "other.yaml"
			return k.save(state, func(string) ([]byte, error) { return nil, os.ErrNotExist })
		},
		"of a root that is wrong": func(dir string) error {
			k := &keptFolder{dir: dir}
			state, content := keptOf("apps: [")
			return k.save(state, content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeUnits(t, rootOf("r1"), map[string]string{"apps/a.yaml": unitFile("a1", "alpha")})
			host, err := Start(t.Context(), file, discard())
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(filepath.Dir(file), "data", keptName)); err != nil {
				t.Fatal(err)
			}
			h := startHost(t, file)
			want := map[string]string{"root": "r1", "alpha": "a1"}
			if got := h.answers(t, "1", "root", "alpha"); !maps.Equal(got, want) {
				t.Errorf("got %v", got)
			}
			if name == "it is a file" {
				if len(h.log.lines(t, "the next start can't fall back to this configuration")) != 1 {
					t.Errorf("log:\n%s", h.log)
				}
				return
			}
			if state, err := (&keptFolder{dir: h.units.kept.dir}).load(); err != nil || len(state.Units) != 2 || state.Root != "pipeline.yaml" {
				t.Errorf("kept: %+v, %v", state, err)
			}
			// And where a file is broken, too, the others go on.
			if err := h.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(filepath.Dir(file), "data", keptName)); err != nil {
				t.Fatal(err)
			}
			edit(t, file, map[string]string{"apps/a.yaml": unitFile("a2", "alpha") + "x: 1\n"})
			again := startHost(t, file)
			want["alpha"] = "503"
			if got := again.answers(t, "2", "root", "alpha"); !maps.Equal(got, want) {
				t.Errorf("with a broken file: %v", got)
			}
		})
	}
}

// TestUnitsUnseen: a folder that can't be read takes no app out of service, and one
// that is gone does.
func TestUnitsUnseen(t *testing.T) {
	file := writeUnits(t, rootOf("r1"), map[string]string{"apps/a.yaml": unitFile("a1", "alpha")})
	apps := filepath.Join(filepath.Dir(file), "apps")
	h := startHost(t, file)
	if err := errors.Join(os.Rename(apps, apps+"2"), os.Symlink("apps", apps)); err != nil { // it leads to itself
		t.Fatal(err)
	}
	edit(t, file, map[string]string{"pipeline.yaml": rootOf("r2")})
	if status, answer := h.postReload(t, ""); status != http.StatusUnprocessableEntity || !strings.Contains(answer.Problems[0].Text, "can't be read") {
		t.Errorf("%d %+v", status, answer)
	}
	want := map[string]string{"root": "r2", "alpha": "a1"}
	if got := h.answers(t, "1", "root", "alpha"); !maps.Equal(got, want) || h.states(t)["a.yaml"] != unitKept {
		t.Errorf("%v, %v", got, h.states(t))
	}
	if err := os.Remove(apps); err != nil {
		t.Fatal(err)
	}
	if status, answer := h.postReload(t, ""); status != http.StatusOK {
		t.Errorf("%d %+v", status, answer)
	}
	want["alpha"] = "404"
	if got := h.answers(t, "2", "root", "alpha"); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestUnitsTooMany: files over the bound are left out, and the others serve.
func TestUnitsTooMany(t *testing.T) {
	files := map[string]string{}
	for i := range config.MaxIncluded + 1 {
		files[fmt.Sprintf("apps/a%04d.yaml", i)] = "weft: 1\n"
	}
	h := startHost(t, writeUnits(t, rootOf("r1"), files))
	if got := h.answers(t, "1", "root"); got["root"] != "r1" {
		t.Errorf("%v", got)
	}
	status, answer := h.postReload(t, "")
	if status != http.StatusUnprocessableEntity || len(answer.Problems) != 1 || !strings.HasSuffix(answer.Problems[0].File, "a1000.yaml") {
		t.Errorf("%d %+v", status, answer)
	}
}

// TestUnitsManyProblems: what is told of a reload and of a unit is bounded.
func TestUnitsManyProblems(t *testing.T) {
	files := map[string]string{}
	for i := range 20 {
		files[fmt.Sprintf("apps/app%d.yaml", i)] = "weft: 1\n" + strings.Repeat("x: 1\n", 30)
	}
	h := startHost(t, writeUnits(t, rootOf("r1"), files))
	_, answer := h.postReload(t, "")
	if n := len(answer.Problems); n != config.MaxProblems+1 || answer.Problems[n-1].Text != "and 500 more" {
		t.Errorf("%d problems: %+v", n, answer.Problems[n-1])
	}
	for _, u := range h.status(t).Units[1:] {
		if n := len(u.Problems); n != maxUnitProblems+1 || u.Problems[n-1].Text != "and 20 more" {
			t.Errorf("%d problems: %+v", n, u.Problems)
		}
	}
	if n := len(h.log.lines(t, "configuration")); n != config.MaxProblems+1 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestUnitsKeepNoSecret: what is kept has no expanded value.
func TestUnitsKeepNoSecret(t *testing.T) {
	file := writeUnits(t, rootOf("r1"), map[string]string{
		"apps/a.yaml": strings.Replace(unitFile("a1", "alpha"), "token: "+testToken, "token: \"${file:token}\"", 1), "apps/token": "tOpSeCrEt",
	})
	h := startHost(t, file)
	for _, name := range namesIn(t, h.units.kept.dir) {
		b, err := os.ReadFile(filepath.Join(h.units.kept.dir, name))
		if err != nil || strings.Contains(string(b), "tOpSeCrEt") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnitsWatched: a change of an included file, a new one and one that goes are
// seen without anybody asking.
func TestUnitsWatched(t *testing.T) {
	ticks := make(chan time.Time)
	file := writeUnits(t, rootOf("r1"), map[string]string{"apps/a.yaml": unitFile("a1", "alpha")})
	h := startTicking(t, file, ticks)
	for i, c := range []struct {
		files map[string]string
		want  map[string]string
	}{
		{map[string]string{"apps/a.yaml": unitFile("a2", "alpha")}, map[string]string{"alpha": "a2", "beta": "404"}},
		{map[string]string{"apps/b.yaml": unitFile("b1", "beta")}, map[string]string{"alpha": "a2", "beta": "b1"}},
		{map[string]string{"apps/a.yaml": "weft: [", "apps/b.yaml": unitFile("b2", "beta")}, map[string]string{"alpha": "a2", "beta": "b2"}},
		{map[string]string{"apps/a.yaml": unitFile("a3", "alpha")}, map[string]string{"alpha": "a3", "beta": "b2"}},
		{map[string]string{"pipeline.yaml": "weft: [", "apps/b.yaml": ""}, map[string]string{"alpha": "a3", "beta": "404"}},
	} {
		edit(t, file, c.files)
		for range watchLooks + 1 { // the last is taken when the reload is over
			ticks <- time.Now()
		}
		if got := h.answers(t, fmt.Sprint(i), "alpha", "beta"); !maps.Equal(got, c.want) {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
}

// TestUnitsMany: a thousand files, half of them broken, are one search of a few
// steps.
func TestUnitsMany(t *testing.T) {
	files := map[string]string{}
	for i := range config.MaxIncluded {
		name := fmt.Sprintf("app%d", i)
		files["apps/"+name+".yaml"] = unitFile(name, name)
		if i%2 == 0 {
			files["apps/"+name+".yaml"] += "x: 1\n"
		}
	}
	h := startHost(t, writeUnits(t, rootOf("r1"), files))
	want := map[string]string{"app0": "503", "app1": "app1", "app998": "503", "app999": "app999", "root": "r1"}
	if got := h.answers(t, "1", slices.Collect(maps.Keys(want))...); !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestRootSecretGone: what is wrong with both the root file and the accepted one is
// said once.
func TestRootSecretGone(t *testing.T) {
	file := writeUnits(t, strings.Replace(rootOf("r1"), testToken, "\"${file:token}\"", 1), map[string]string{"token": testToken})
	host, err := Start(t.Context(), file, discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	edit(t, file, map[string]string{"token": ""})
	_, err = Start(t.Context(), file, discard())
	if err == nil || strings.Count(err.Error(), "${file:token}: no such file") != 1 {
		t.Errorf("got %v", err)
	}
}
