// Package agency_test runs the example: each of the forty clients is served with
// its own words, whatever happens in the files of others.
package agency_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/weft-dev/weft/examples/internal/run"
)

const (
	admin    = "http://127.0.0.1:9093"
	clients  = 40
	fallback = "请回复“价格”或“营业时间”。" // of the root, where no rule of a client matches
)

// words is what a client's users read.
type words struct {
	greeting string
	rules    map[string]string // by the first word of each
}

// agency is a copy of the example.
type agency struct {
	*run.Example
	words map[string]words // by app: those in force
	users int              // so far
	good  string           // the file of harbor, before it was broken
}

func TestAgency(t *testing.T) {
	a := &agency{Example: run.New(t), words: map[string]words{}}
	a.readFiles(t)
	// A broken file can't tell weft callback of its app's secrets.
	a.Write(t, "before/pipeline.yaml", a.Read(t, "pipeline.yaml"))
	for app := range a.words {
		a.Write(t, "before/apps/"+app+".yaml", a.Read(t, "apps/"+app+".yaml"))
	}
	a.Command(t, "bin/weft", "check", "--strict", "-c", a.Config())
	host := a.Serve(t)
	a.allAnswer(t)
	t.Run("one changes", a.oneChanges)
	t.Run("one is broken", a.oneIsBroken)
	host.Stop(t)
	a.Serve(t)
	t.Run("started again", func(t *testing.T) {
		a.wantUnits(t, map[string]string{"harbor": "kept"})
		a.allAnswer(t)
	})
	t.Run("mended", a.mended)
}

// readFiles takes from the clients' files what their users should read.
func (a *agency) readFiles(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("apps/*.yaml")
	if err != nil || len(files) != clients {
		t.Fatalf("%d files, want %d: %v", len(files), clients, err)
	}
	greetings := map[string]string{}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Apps map[string]struct {
				With struct {
					Welcome struct{ Greeting string }
					Keyword struct {
						Rules []struct {
							Words []string
							Reply struct{ Text string }
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal(src, &doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		app, ok := doc.Apps[name]
		if !ok || len(doc.Apps) != 1 {
			t.Fatalf("%s has other apps than %s", file, name)
		}
		own := words{greeting: app.With.Welcome.Greeting, rules: map[string]string{"天气": fallback}}
		for _, rule := range app.With.Keyword.Rules {
			own.rules[rule.Words[0]] = rule.Reply.Text
		}
		if twin := greetings[own.greeting]; twin != "" || len(own.rules) < 3 {
			t.Errorf("%s greets as %q does, or has no words of its own", name, twin)
		}
		greetings[own.greeting], a.words[name] = name, own
	}
}

// ask sends a callback and gives what its user reads.
func (a *agency) ask(t *testing.T, app string, flags ...string) string {
	t.Helper()
	argv := append([]string{"bin/weft", "callback", "-c", "examples/agency/before/pipeline.yaml", "--app", app}, flags...)
	return strings.TrimSuffix(a.Command(t, argv...), "\n")
}

// allAnswer has a new user of every client follow the account and write to it.
func (a *agency) allAnswer(t *testing.T) {
	t.Helper()
	user := a.allGreet(t)
	a.each(t, func(t *testing.T, app string) {
		for word, want := range a.words[app].rules {
			if got := a.ask(t, app, "--user", user, "--text", word); got != want {
				t.Errorf("%s answers %s with %q, want %q", app, word, got, want)
			}
		}
	})
}

// allGreet has a new user follow every client's account, and gives the user.
func (a *agency) allGreet(t *testing.T) (user string) {
	t.Helper()
	a.users++
	user = fmt.Sprintf("oNewUser%d", a.users)
	a.each(t, func(t *testing.T, app string) { a.greets(t, app, user) })
	return user
}

// greets has a user follow a client's account.
func (a *agency) greets(t *testing.T, app, user string) {
	t.Helper()
	if got := a.ask(t, app, "--user", user, "--event", "subscribe"); got != a.words[app].greeting {
		t.Errorf("%s greets with %q, want %q", app, got, a.words[app].greeting)
	}
}

// each does something with every app, some of them at once.
func (a *agency) each(t *testing.T, do func(t *testing.T, app string)) {
	t.Helper()
	t.Run("all", func(t *testing.T) {
		for app := range a.words {
			t.Run(app, func(t *testing.T) {
				t.Parallel()
				do(t, app)
			})
		}
	})
}

// greet changes a client's greeting in its file. It is in force once the host has
// taken it.
func (a *agency) greet(t *testing.T, app, greeting string) {
	t.Helper()
	a.Edit(t, "apps/"+app+".yaml", `"`+a.words[app].greeting+`"`, `"`+greeting+`"`)
	own := a.words[app]
	own.greeting = greeting
	a.words[app] = own
}

// reload has the host read the files again, and wants the status. The host may
// have seen the change by itself just before.
func (a *agency) reload(t *testing.T, want int) (problems []problem) {
	t.Helper()
	code, body := a.HTTP(t, http.MethodPost, admin+"/admin/v1/reload")
	var answer struct{ Problems []problem }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != want {
		t.Fatalf("reload: %v, status %d: %s; want %d", err, code, body, want)
	}
	return answer.Problems
}

type problem struct {
	File         string
	Line, Column int
	Text         string
}

// status is what the example looks at of the host's.
type status struct {
	Units []struct {
		File, State string
		Since       time.Time
	}
	Plugins []struct {
		Name  string
		Calls int
	}
}

func (a *agency) status(t *testing.T) (s status) {
	t.Helper()
	code, body := a.HTTP(t, http.MethodGet, admin+"/admin/v1/status")
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", code, err, body)
	}
	return s
}

// since is by client when its file came into force.
func (s status) since() map[string]time.Time {
	all := map[string]time.Time{}
	for _, u := range s.Units {
		all[clientOf(u.File)] = u.Since
	}
	return all
}

// clientOf gives the client of a file, "pipeline" for the root.
func clientOf(file string) string { return strings.TrimSuffix(filepath.Base(file), ".yaml") }

// state is what the host says of a client's file.
func (a *agency) state(t *testing.T, client string) string {
	t.Helper()
	for _, u := range a.status(t).Units {
		if clientOf(u.File) == client {
			return u.State
		}
	}
	return ""
}

// wantUnits wants the files of all clients to be current, but for those named.
func (a *agency) wantUnits(t *testing.T, but map[string]string) {
	t.Helper()
	units := a.status(t).Units
	if len(units) != clients+1 {
		t.Errorf("%d units, want the root and %d clients", len(units), clients)
	}
	for _, u := range units {
		want, ok := but[clientOf(u.File)]
		if !ok {
			want = "current"
		}
		if u.State != want {
			t.Errorf("%s is %s, want %s", u.File, u.State, want)
		}
	}
}

// A client's change takes its own file over and nothing else: the plugins go on,
// with what they counted.
func (a *agency) oneChanges(t *testing.T) {
	before := a.status(t)
	a.greet(t, "bamboo", "新茶上市，欢迎来竹里茶馆！")
	a.reload(t, http.StatusOK)
	after := a.status(t)
	since := after.since()
	for client, was := range before.since() {
		if now := since[client]; now.Equal(was) == (client == "bamboo") {
			t.Errorf("%s is in force since %s, before it was %s", client, now, was)
		}
	}
	for i, p := range after.Plugins {
		if was := before.Plugins[i]; p.Calls < was.Calls || was.Calls < clients {
			t.Errorf("plugin %s counts %d calls, before it were %d", p.Name, p.Calls, was.Calls)
		}
	}
	a.wantUnits(t, nil)
	a.allGreet(t)
}

// A file that is broken, in whatever way, has the host serve what it had, and the
// changes of others all the same.
func (a *agency) oneIsBroken(t *testing.T) {
	a.good = a.Read(t, "apps/harbor.yaml")
	for i, tc := range []struct{ name, from, to, text string }{
		{"wrong type", `welcome: {`, `welcome: { remember_days: soon,`, "remember_days"},
		{"refused by the plugin", `welcome: {`, `welcome: { returning: "{nobody}",`, "nobody"},
		{"unknown plugin", "keyword:", "keywrod:", "keywrod"},
		{"no YAML", "rules:", "rules: [", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a.Write(t, "apps/harbor.yaml", strings.Replace(a.good, tc.from, tc.to, 1))
			a.greet(t, "pine", fmt.Sprintf("青松书店第 %d 次问候！", i+2))
			found := a.reload(t, http.StatusUnprocessableEntity)
			in := func(p problem) bool {
				return clientOf(p.File) == "harbor" && p.Line > 0 && p.Column > 0 && strings.Contains(p.Text, tc.text)
			}
			if !slices.ContainsFunc(found, in) || slices.ContainsFunc(found, func(p problem) bool { return clientOf(p.File) != "harbor" }) {
				t.Errorf("problems %+v, want only those of harbor, and one of them with %q", found, tc.text)
			}
			for _, app := range []string{"harbor", "pine"} {
				a.greets(t, app, "oUserOf"+strings.ReplaceAll(tc.name, " ", ""))
			}
		})
	}
	a.allGreet(t)
}

// The file that was broken is written anew, and the host sees it by itself.
func (a *agency) mended(t *testing.T) {
	a.Write(t, "apps/harbor.yaml", a.good)
	a.words["harbor"] = words{"开海了，欢迎来海港大排档！", a.words["harbor"].rules}
	a.Edit(t, "apps/harbor.yaml", "欢迎关注海港大排档！", a.words["harbor"].greeting)
	run.Until(t, "harbor's file serves", func() bool { return a.state(t, "harbor") == "current" })
	a.wantUnits(t, nil)
	a.allGreet(t)
}
