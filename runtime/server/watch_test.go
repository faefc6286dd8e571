package server

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

// TestWatch: each way in which a file changes is seen, once it has settled; what
// is the same is not.
func TestWatch(t *testing.T) {
	if longest := watchLooks * watchEvery; longest >= 2*time.Second {
		t.Errorf("a change may be seen after %v", longest)
	}
	long := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		mtime  time.Time // of the file, before; zero: now
		change func(file string) error
		want   bool
	}{
		"nothing":           {change: func(string) error { return nil }},
		"nothing, long ago": {mtime: long, change: func(string) error { return nil }},
		"written":           {mtime: long, change: func(f string) error { return os.WriteFile(f, []byte("two"), 0o600) }, want: true},
		"longer":            {change: func(f string) error { return os.WriteFile(f, []byte("three"), 0o600) }, want: true},
		"replaced": {change: func(f string) error {
			return errors.Join(os.WriteFile(f+"~", []byte("one"), 0o600), os.Rename(f+"~", f))
		}, want: true},
		"removed":               {change: os.Remove, want: true},
		"readable for all":      {mtime: long, change: func(f string) error { return os.Chmod(f, 0o644) }, want: true},
		"a folder in its place": {change: func(f string) error { return errors.Join(os.Remove(f), os.Mkdir(f, 0o700)) }, want: true},
		"another file matches":  {mtime: long, change: func(f string) error { return os.WriteFile(f+".more", nil, 0o600) }, want: true},
		"another doesn't":       {mtime: long, change: func(f string) error { return os.WriteFile(filepath.Join(filepath.Dir(f), "x"), nil, 0o600) }},
		"missing, and made":     {change: func(f string) error { return os.WriteFile(filepath.Join(filepath.Dir(f), "missing"), nil, 0o600) }, want: true},
		"written within the file system's time": {change: func(f string) error {
			info, err := os.Stat(f)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(f, []byte("two"), 0o600), os.Chtimes(f, time.Time{}, info.ModTime()))
		}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			if err := errors.Join(os.WriteFile(file, []byte("one"), 0o600), os.Chtimes(file, time.Time{}, c.mtime)); err != nil {
				t.Fatal(err)
			}
			from := newSources(false)
			if b, err := from.readAtMost(file, 10); string(b) != "one" || err != nil {
				t.Fatalf("%q, %v", b, err)
			}
			if _, err := from.readAtMost(filepath.Join(filepath.Dir(file), "missing"), 10); !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if found, err := from.glob(file + "*"); len(found) != 1 || err != nil {
				t.Fatalf("%v, %v", found, err)
			}
			w := watch{taken: from}
			for range 2 {
				if w.look(time.Now()) {
					t.Error("seen before anything changed")
				}
			}
			if err := c.change(file); err != nil {
				t.Fatal(err)
			}
			if w.look(time.Now()) {
				t.Error("seen before it has settled")
			}
			if got := w.look(time.Now()); got != c.want {
				t.Errorf("seen: %v, want %v", got, c.want)
			}
		})
	}
}

// TestWatchLinks: Kubernetes puts a new folder in place of the old one by a link.
func TestWatchLinks(t *testing.T) {
	dir := t.TempDir()
	publish := func(name, content string) {
		t.Helper()
		folder := filepath.Join(dir, name)
		err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "pipeline.yaml"), []byte(content), 0o600),
			os.Symlink(name, filepath.Join(dir, "..new")), os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", "one")
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.Symlink(filepath.Join("..data", "pipeline.yaml"), file); err != nil {
		t.Fatal(err)
	}
	from := newSources(false)
	if _, err := from.readAtMost(file, 10); err != nil {
		t.Fatal(err)
	}
	w := watch{taken: from}
	publish("..2", "two")
	if w.look(time.Now()) || !w.look(time.Now()) {
		t.Error("the new folder is not seen at the second look")
	}
}

// TestWatchUnsettled: a file that is being written is waited for, and not for
// ever; one that is as it was is not read again.
func TestWatchUnsettled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	from := newSources(false)
	if _, err := from.readAtMost(file, 10); err != nil {
		t.Fatal(err)
	}
	w := watch{taken: from}
	for i := 1; i < watchLooks; i++ {
		write(strings.Repeat("x", i))
		if w.look(time.Now()) {
			t.Errorf("seen at look %d, while it is written", i)
		}
	}
	write("last")
	if !w.look(time.Now()) {
		t.Error("a file that never settles is not seen")
	}
}

// tick has the host look at its files so often that it sees a change, and
// returns when it has done what follows.
func tick(ticks chan<- time.Time) {
	for range 3 {
		ticks <- time.Time{}
	}
}

// TestReloadWatch changes each kind of file that a configuration is made of: the
// host reads all again, and a failed reload only when something changes again.
func TestReloadWatch(t *testing.T) {
	ticks := make(chan time.Time)
	healthy := textGuest(t, filepath.Join("testdata", "healthy.wat"), "")
	file := writeConfig(t, fmt.Sprintf("include: [ \"apps/*.yaml\" ]\napps:\n%splugins: { p: { source: %q } }\npipeline: { stages: [ { plugin: p } ] }\n",
		strings.Replace(appYAML("shop", "encrypted", ""), testToken, "\"${file:token}\"", 1), healthy))
	dir := filepath.Dir(file)
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "apps"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("token", testToken)
	h := startTicking(t, file, ticks)
	want := func(after string, generation uint64, refused int) {
		t.Helper()
		tick(ticks)
		tick(ticks) // and no more than once
		if got := h.current.Load().number; got != generation {
			t.Errorf("%s: generation %d, want %d\n%s", after, got, generation, h.log)
		}
		if got := len(h.log.lines(t, "reload refused")); got != refused {
			t.Errorf("%s: %d reloads refused, want %d", after, got, refused)
		}
	}
	want("nothing", 1, 0)
	replaceIn(t, file, "stages: [", "stages: [ { reply: { text: first } },")
	want("pipeline.yaml", 2, 0)
	write("apps/more.yaml", "weft: 1\napps:\n"+appYAML("more", "encrypted", ""))
	want("a new included file", 3, 0)
	write("token", "anotherToken")
	want("a secret", 4, 0)
	a := testAccount(t, wechat.Encrypted)
	if status, _, _ := postTo(t, h.url("/wx/shop"), seal(a, textMessage("1", "hello"), time.Now())); status != http.StatusForbidden {
		t.Errorf("with the old token: %d", status)
	}
	if got, err := h.ask(a, "more", textMessage("2", "hello")); err != nil || got != "well" {
		t.Errorf("%q, %v", got, err)
	}
	write("token", testToken)
	want("the secret again", 5, 0)
	code, err := os.ReadFile(healthy)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(healthy, []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("a broken module", 5, 1)
	if doc := h.status(t); doc.Reload.Last.Trigger != "watch" || !strings.Contains(doc.Reload.Last.Problems[0].Text, "is not a WebAssembly module") {
		t.Errorf("%+v", doc.Reload.Last)
	}
	if err := os.WriteFile(healthy, code, 0o600); err != nil {
		t.Fatal(err)
	}
	want("the module again", 6, 1)
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	want("no secret", 6, 2)
	write("token", testToken)
	want("the secret again", 7, 2)
	if got := h.say(t, "shop", "3", "hello"); got != "well" {
		t.Errorf("at last: %q", got)
	}
}

// TestReloadPipe: what can be read once only is good for the start; it is no
// change that it was read, and doesn't hold up a reload.
func TestReloadPipe(t *testing.T) {
	file := writeConfig(t, echoSections())
	pipe := filepath.Join(filepath.Dir(file), "token")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	replaceIn(t, file, "token: "+testToken, "token: \"${file:token}\"")
	written := make(chan error)
	go func() { written <- os.WriteFile(pipe, []byte(testToken), 0o600) }()
	ticks := make(chan time.Time)
	h := startTicking(t, file, ticks)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	tick(ticks)
	if doc := h.status(t); doc.Reload.Last != nil {
		t.Errorf("reading it is a change: %+v", doc.Reload.Last)
	}
	result, err := h.Reload(t.Context(), "test")
	if err != nil || result.Result != reloadRefused || !strings.Contains(result.Problems.Error(), "is not a regular file, which can't be read again: the change needs a restart") {
		t.Errorf("%+v, %v", result, err)
	}
}
