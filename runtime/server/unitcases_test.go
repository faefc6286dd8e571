package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

// replying is a file's pipeline that answers each text with a fixed one.
func replying(text string) string {
	return "pipeline: { stages: [ { reply: { text: " + text + " } } ] }\n"
}

// unitFile is an included file with apps and a pipeline of its own.
func unitFile(text string, apps ...string) string {
	s := "weft: 1\napps:\n"
	for _, a := range apps {
		s += appYAML(a, "encrypted", "")
	}
	return s + replying(text)
}

// rootOf are the sections of a root with an app of its own.
func rootOf(text string) string {
	return "include: [ \"apps/*.yaml\" ]\napps:\n" + appYAML("root", "encrypted", "") + replying(text)
}

// writeUnits writes a root and included files, by their names.
func writeUnits(t testing.TB, root string, files map[string]string) string {
	t.Helper()
	file := writeConfig(t, root)
	if err := os.Mkdir(filepath.Join(filepath.Dir(file), "apps"), 0o700); err != nil {
		t.Fatal(err)
	}
	edit(t, file, files)
	return file
}

// edit writes files beside the root, or what stands for it; "" removes one.
func edit(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		file := filepath.Join(filepath.Dir(root), filepath.FromSlash(name))
		if name == "pipeline.yaml" && strings.HasPrefix(text, "include:") {
			old, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head := strings.SplitAfterN(string(old), "\n", 3)
			text = "weft: 1\n" + head[1] + text
		}
		var err error
		if text == "" {
			err = os.Remove(file)
		} else if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			err = os.WriteFile(file, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// answers are what apps answer: a text, or the status as text.
func (h *testHost) answers(t testing.TB, id string, apps ...string) map[string]string {
	t.Helper()
	a := testAccount(t, wechat.Encrypted)
	all := map[string]string{}
	for _, app := range apps {
		status, _, body := postTo(t, h.url("/wx/"+app), seal(a, textMessage(id+app, "x"), time.Now()))
		if status == http.StatusOK {
			all[app] = openText(t, a, body)
		} else {
			all[app] = fmt.Sprint(status)
		}
	}
	return all
}

// states are the units' states in the status, by the file's name, with the first
// of their problems.
func (h *testHost) states(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, u := range h.status(t).Units {
		if u.Since.IsZero() || (u.State == unitCurrent) == (len(u.Problems) > 0) {
			t.Errorf("%+v", u)
		}
		all[filepath.Base(u.File)] = u.State
	}
	return all
}

// unitCase is a change of files and what comes of it.
type unitCase struct {
	name    string
	files   map[string]string // changed; "" is removed
	answers map[string]string // of apps
	states  map[string]string // of files; what is not there is current
	problem string            // one of them; "" where all is taken
}

// unitCases change a root whose app root says r1, with a.yaml (alpha: a1) and
// b.yaml (beta: b1), all of which were accepted.
func unitCases() []unitCase {
	broken := "weft: 1\napps: [\n"
	return []unitCase{
		{
			name:  "all change",
			files: map[string]string{"pipeline.yaml": rootOf("r2"), "apps/a.yaml": unitFile("a2", "alpha"), "apps/b.yaml": unitFile("b2", "beta")},

			answers: map[string]string{"root": "r2", "alpha": "a2", "beta": "b2"},
		},
		{
			name:  "the root is no YAML",
			files: map[string]string{"pipeline.yaml": "weft: 1\napps: [\n", "apps/a.yaml": unitFile("a2", "alpha")},

			answers: map[string]string{"root": "r1", "alpha": "a2", "beta": "b1"},
			states:  map[string]string{"pipeline.yaml": unitKept}, problem: "not YAML",
		},
		{
			name:  "the root is gone",
			files: map[string]string{"pipeline.yaml": "", "apps/a.yaml": unitFile("a2", "alpha")},

			answers: map[string]string{"root": "r1", "alpha": "a2", "beta": "b1"},
			states:  map[string]string{"pipeline.yaml": unitKept}, problem: "name it with -c",
		},
		{
			name:  "the root has an unknown key",
			files: map[string]string{"pipeline.yaml": rootOf("r2") + "x: 1\n", "apps/b.yaml": unitFile("b2", "beta")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b2"},
			states:  map[string]string{"pipeline.yaml": unitKept}, problem: "unknown key x",
		},
		{
			name:  "a condition of the root can't be compiled",
			files: map[string]string{"pipeline.yaml": strings.Replace(rootOf("r2"), "{ reply:", "{ when: 'nothing', reply:", 1), "apps/b.yaml": unitFile("b2", "beta")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b2"},
			states:  map[string]string{"pipeline.yaml": unitKept}, problem: "when: ",
		},
		{
			name:  "a plugin of the root is not there",
			files: map[string]string{"pipeline.yaml": rootOf("r2") + "plugins: { p: { source: none.wasm } }\n", "apps/b.yaml": unitFile("b2", "beta")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b2"},
			states:  map[string]string{"pipeline.yaml": unitKept}, problem: "plugin p: ",
		},
		{
			name:  "an included file is no YAML",
			files: map[string]string{"apps/a.yaml": broken, "apps/b.yaml": unitFile("b2", "beta"), "pipeline.yaml": rootOf("r2")},

			answers: map[string]string{"root": "r2", "alpha": "a1", "beta": "b2"},
			states:  map[string]string{"a.yaml": unitKept}, problem: "not YAML",
		},
		{
			name:  "a condition of an included file can't be compiled",
			files: map[string]string{"apps/a.yaml": strings.Replace(unitFile("a2", "alpha"), "{ reply:", "{ when: 'nothing', reply:", 1), "apps/b.yaml": unitFile("b2", "beta")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b2"},
			states:  map[string]string{"a.yaml": unitKept}, problem: "when: ",
		},
		{
			name:  "root and included files are broken",
			files: map[string]string{"pipeline.yaml": "-", "apps/a.yaml": broken, "apps/b.yaml": broken},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b1"},
			states:  map[string]string{"pipeline.yaml": unitKept, "a.yaml": unitKept, "b.yaml": unitKept}, problem: "not YAML",
		},
		{
			name:  "a new file that is broken",
			files: map[string]string{"apps/c.yaml": unitFile("c1", "gamma") + "x: 1\n", "apps/b.yaml": unitFile("b2", "beta")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b2", "gamma": "503", "delta": "404"},
			states:  map[string]string{"c.yaml": unitAbsent}, problem: "unknown key x",
		},
		{
			name:  "a new file that is no YAML",
			files: map[string]string{"apps/c.yaml": unitFile("c1", "gamma", "delta") + "x: [\n"},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b1", "gamma": "503", "delta": "503"},
			states:  map[string]string{"c.yaml": unitAbsent}, problem: "not YAML",
		},
		{
			name:  "a new file",
			files: map[string]string{"apps/c.yaml": unitFile("c1", "gamma")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b1", "gamma": "c1"},
		},
		{
			name:  "a file is removed",
			files: map[string]string{"apps/a.yaml": ""},

			answers: map[string]string{"root": "r1", "alpha": "404", "beta": "b1"},
		},
		{
			name:  "a file becomes a folder",
			files: map[string]string{"apps/a.yaml": "", "apps/a.yaml/x": unitFile("a2", "alpha")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b1"},
			states:  map[string]string{"a.yaml": unitKept}, problem: "not a regular file",
		},
		{
			name:  "a new file has an app of another",
			files: map[string]string{"apps/c.yaml": unitFile("c1", "alpha", "gamma")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b1", "gamma": "503"},
			states:  map[string]string{"c.yaml": unitAbsent}, problem: "app alpha is also in ",
		},
		{
			name:  "a new file that comes first has an app of another",
			files: map[string]string{"apps/0.yaml": unitFile("c1", "alpha", "gamma")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b1", "gamma": "503"},
			states:  map[string]string{"0.yaml": unitAbsent}, problem: "it clashes with what was accepted",
		},
		{
			name:  "a file that comes first takes an app of another",
			files: map[string]string{"apps/a.yaml": unitFile("a2", "alpha", "beta")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b1"},
			states:  map[string]string{"a.yaml": unitKept}, problem: "it clashes with what was accepted",
		},
		{
			name:  "an app moves",
			files: map[string]string{"apps/a.yaml": unitFile("a2", "alpha", "beta"), "apps/b.yaml": ""},

			answers: map[string]string{"root": "r1", "alpha": "a2", "beta": "a2"},
		},
		{
			name:  "the root takes an app of a file",
			files: map[string]string{"pipeline.yaml": "include: [ \"apps/*.yaml\" ]\napps:\n" + appYAML("alpha", "encrypted", "") + replying("r2"), "apps/b.yaml": unitFile("b2", "beta")},

			answers: map[string]string{"root": "r1", "alpha": "a1", "beta": "b2"},
			states:  map[string]string{"pipeline.yaml": unitKept}, problem: "the change is refused: it breaks ",
		},
		{
			name:  "the root includes nothing any more",
			files: map[string]string{"pipeline.yaml": strings.Replace(rootOf("r2"), "apps/*.yaml", "none/*.yaml", 1)},

			answers: map[string]string{"root": "r2", "alpha": "404", "beta": "404"},
		},
		{
			name:  "the root includes itself",
			files: map[string]string{"pipeline.yaml": strings.Replace(rootOf("r2"), "apps/*.yaml", "*.yaml", 1), "apps/a.yaml": unitFile("a2", "alpha")},

			answers: map[string]string{"root": "r1", "alpha": "a2", "beta": "b1"},
			states:  map[string]string{"pipeline.yaml": unitKept}, problem: "matches the root file itself",
		},
	}
}

// TestUnits: whatever becomes of one file, the others serve what they have now,
// and that one what it had last: in a running host, after a restart, and after
// another one. When it is mended, it serves, too.
func TestUnits(t *testing.T) {
	for _, c := range unitCases() {
		for _, restart := range []bool{false, true} {
			name := c.name
			if restart {
				name += ", at a restart"
			}
			t.Run(name, func(t *testing.T) { c.run(t, restart) })
		}
	}
}

func (c unitCase) run(t *testing.T, restart bool) {
	good := map[string]string{"apps/a.yaml": unitFile("a1", "alpha"), "apps/b.yaml": unitFile("b1", "beta")}
	file := writeUnits(t, rootOf("r1"), good)
	log := new(syncBuffer)
	host, err := startWatching(t.Context(), file, NewLogger(log), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{host, log}
	again := func() {
		t.Helper()
		if err := h.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		if h.Host, err = startWatching(t.Context(), file, NewLogger(log), nil); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	check := func(when string) {
		t.Helper()
		if got := h.answers(t, when, slices.Collect(maps.Keys(c.answers))...); !maps.Equal(got, c.answers) {
			t.Errorf("%s: %v, want %v", when, got, c.answers)
		}
		for name, got := range h.states(t) {
			want := unitCurrent
			if c.states[name] != "" {
				want = c.states[name]
			}
			if got != want {
				t.Errorf("%s: %s is %s, want %s", when, name, got, want)
			}
		}
	}
	edit(t, file, c.files)
	if restart {
		again()
	} else {
		c.reload(t, h)
	}
	check("1")
	again()
	check("2")
	if strings.Contains(c.problem, "regular file") {
		if err := os.RemoveAll(filepath.Join(filepath.Dir(file), "apps", "a.yaml")); err != nil {
			t.Fatal(err)
		}
	}
	good["pipeline.yaml"] = "weft: 1\nserver: { listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", data: ./data, drain: 5s }\n" + rootOf("r3")
	for name := range c.files {
		if good[name] == "" {
			if strings.HasSuffix(name, "/x") {
				continue
			}
			good[name] = "weft: 1\n"
		}
	}
	edit(t, file, good)
	if status, answer := h.postReload(t, ""); status != http.StatusOK {
		t.Errorf("mended: %d %+v", status, answer)
	}
	want := map[string]string{"root": "r3", "alpha": "a1", "beta": "b1", "gamma": "404"}
	if got := h.answers(t, "3", "root", "alpha", "beta", "gamma"); !maps.Equal(got, want) {
		t.Errorf("mended: %v", got)
	}
}

// reload reloads twice: what is refused once is refused again, and nothing is
// swapped for it.
func (c unitCase) reload(t *testing.T, h *testHost) {
	t.Helper()
	status, answer := h.postReload(t, "")
	if (status == http.StatusOK) != (c.problem == "") {
		t.Errorf("reload: %d %+v", status, answer)
	}
	if c.problem == "" {
		return
	}
	if !slices.ContainsFunc(answer.Problems, func(p problemStatus) bool { return strings.Contains(p.Text, c.problem) }) {
		t.Errorf("no problem %q in %+v", c.problem, answer.Problems)
	}
	status, second := h.postReload(t, "")
	if status != http.StatusUnprocessableEntity || second.Result != reloadRefused || second.Generation != answer.Generation || !slices.Equal(second.Problems, answer.Problems) {
		t.Errorf("once more: %d %+v, was %+v", status, second, answer)
	}
}
