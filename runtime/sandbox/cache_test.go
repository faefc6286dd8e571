package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// loadOnce loads the guest empty with a cache in dir and ends the sandbox.
func loadOnce(t testing.TB, dir string, compiler []string) error {
	t.Helper()
	s, err := New(context.Background(), Options{CacheDir: dir, Compiler: compiler})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Load(context.Background(), watSpec(t, "empty", ""))
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
	return err
}

// TestCacheHit: what was compiled once is not compiled again.
func TestCacheHit(t *testing.T) {
	dir := t.TempDir()
	if err := loadOnce(t, dir, testCompiler(t, "fail")); err == nil || !strings.Contains(err.Error(), "its compiler failed: exit status 1: this compiler fails") {
		t.Fatalf("without a compiler: %v", err)
	}
	if err := loadOnce(t, dir, nil); err != nil {
		t.Fatal(err)
	}
	if err := loadOnce(t, dir, testCompiler(t, "fail")); err != nil {
		t.Errorf("after it was compiled: %v", err)
	}
}

// TestCachePermissions: other users see nothing of the cache.
func TestCachePermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "cache")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := loadOnce(t, dir, nil); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		return nil
	})
	if err != nil || files != 2 {
		t.Errorf("%d files, %v; want an entry and its native code", files, err)
	}
}

// TestCacheDamage: what was changed in the cache is compiled again, and then
// used again.
func TestCacheDamage(t *testing.T) {
	flip := func(at int) func(testing.TB, string) {
		return func(t testing.TB, name string) {
			b := readFile(t, name)
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 1
			writeTestFile(t, name, b)
		}
	}
	for _, test := range []struct {
		name          string
		entry, native func(t testing.TB, name string)
	}{
		{name: "entry: hash", entry: flip(0)},
		{name: "entry: length", entry: flip(32)},
		{name: "entry: header", entry: flip(60)},
		{name: "entry: module", entry: flip(-1)},
		{name: "entry: empty", entry: truncate(0)},
		{name: "entry: short", entry: truncate(100)},
		{name: "entry: gone", entry: remove},
		{name: "entry: a folder", entry: folder},
		{name: "entry: huge", entry: func(t testing.TB, name string) {
			if err := os.Truncate(name, 1<<40); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "entry: no permission", entry: func(t testing.TB, name string) {
			if err := os.Chmod(name, 0); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "entry: of another module", entry: forge(func(h *entryHeader) { h.Key = strings.Repeat("0", 64) })},
		{name: "entry: a path for a name", entry: forge(func(h *entryHeader) { h.Native[0].Name = "../entries/" + h.Key })},
		{name: "native: first byte", native: flip(0)},
		{name: "native: in the middle", native: flip(200)},
		{name: "native: last byte", native: flip(-1)},
		{name: "native: empty", native: truncate(0)},
		{name: "native: short", native: truncate(100)},
		{name: "native: gone", native: remove},
		{name: "native: a folder", native: folder},
		{name: "both gone", entry: remove, native: remove},
		{name: "folders gone", entry: func(t testing.TB, name string) {
			if err := os.RemoveAll(filepath.Dir(filepath.Dir(name))); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := loadOnce(t, dir, testCompiler(t)); err != nil {
				t.Fatal(err)
			}
			if test.entry != nil {
				test.entry(t, glob(t, dir, "weft-*", "entries", "*")[0])
			}
			if test.native != nil {
				test.native(t, glob(t, dir, "weft-*", "wazero-*", "*")[0])
			}
			if test.name != "entry: no permission" || os.Geteuid() != 0 {
				if err := loadOnce(t, dir, testCompiler(t, "fail")); err == nil {
					t.Error("it was used")
				}
			}
			if err := loadOnce(t, dir, testCompiler(t)); err != nil {
				t.Errorf("it was not compiled again: %v", err)
			}
			if err := loadOnce(t, dir, testCompiler(t, "fail")); err != nil {
				t.Errorf("it is not used after it was compiled again: %v", err)
			}
		})
	}
}

func truncate(size int) func(testing.TB, string) {
	return func(t testing.TB, name string) { writeTestFile(t, name, readFile(t, name)[:size]) }
}

func remove(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// folder puts a folder, with something in it, in a file's place.
func folder(t testing.TB, name string) {
	t.Helper()
	remove(t, name)
	if err := os.MkdirAll(filepath.Join(name, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// forge changes an entry's header and makes its hash right again.
func forge(change func(*entryHeader)) func(testing.TB, string) {
	return func(t testing.TB, name string) {
		t.Helper()
		head, wasm, err := openEntry(filepath.Base(name), readFile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		change(head)
		parts, err := sealEntry(head, wasm)
		if err != nil {
			t.Fatal(err)
		}
		writeTestFile(t, name, bytes.Join(parts, nil))
	}
}

func writeTestFile(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCacheTemporary: without a folder the cache is gone with its sandbox.
func TestCacheTemporary(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := New(context.Background(), Options{Compiler: testCompiler(t)})
	if err != nil {
		t.Fatal(err)
	}
	load(t, s, watSpec(t, "empty", ""))
	if found := glob(t, os.TempDir(), "weft-cache-*"); len(found) != 1 {
		t.Errorf("found %q, want the cache", found)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if found := glob(t, os.TempDir(), "weft-cache-*"); len(found) > 0 {
		t.Errorf("it left %q", found)
	}
}

// TestCacheDeleted: a folder that goes under a running sandbox is made anew, and
// said so once; where something else is in its place, a load says so.
func TestCacheDeleted(t *testing.T) {
	for name, parts := range map[string][]string{"all": nil, "of this version": {"weft-*"}, "entries": {"weft-*", "entries"}, "native code": {"weft-*", "wazero-*"}} {
		t.Run(name, func(t *testing.T) {
			var logs logLines
			dir := filepath.Join(t.TempDir(), "data", "cache")
			s := newSandbox(t, Options{CacheDir: dir, Logger: logs.logger()})
			load(t, s, watSpec(t, "done", ""))
			gone := glob(t, append([]string{dir}, parts...)...)[0]
			if len(parts) == 0 {
				gone = filepath.Dir(dir)
			}
			if err := os.RemoveAll(gone); err != nil {
				t.Fatal(err)
			}
			for _, guest := range []string{"empty", "trap"} {
				if _, err := handle(load(t, s, watSpec(t, guest, "")), textCall('0')); err != nil {
					t.Errorf("%s: %v", guest, err)
				}
			}
			if n := len(logs.lines(t, "compile cache: its folder was deleted and is made anew: what it had is compiled again")); n != 1 {
				t.Errorf("%d warnings", n)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder: %v, %v", info, err)
			}
		})
	}
	dir := filepath.Join(t.TempDir(), "cache")
	s := newSandbox(t, Options{CacheDir: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, dir, nil)
	if got := prepared(t, t.Context(), s, watModule(t, "empty")); !strings.HasPrefix(got, "the compile cache can't be written: ") {
		t.Errorf("with a file in its place: %q", got)
	}
}

// TestCacheSweep: what nobody used for long goes when a sandbox starts.
func TestCacheSweep(t *testing.T) {
	dir := t.TempDir()
	if err := loadOnce(t, dir, testCompiler(t)); err != nil {
		t.Fatal(err)
	}
	version := glob(t, dir, "weft-*")[0]
	entry, native := glob(t, version, "entries", "*")[0], glob(t, version, "wazero-*", "*")[0]
	day := 24 * time.Hour
	put := func(age time.Duration, parts ...string) string {
		name := filepath.Join(append([]string{dir}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeTestFile(t, name, nil)
		for path := name; path != dir && path != version && !slices.Contains([]string{filepath.Dir(entry), filepath.Dir(native)}, path); path = filepath.Dir(path) {
			setAge(t, path, age)
		}
		return name
	}
	v := filepath.Base(version)
	gone := []string{
		put(8*day, "weft-0123456789abcdef", "old-version"),
		put(2*day, v, "tmp-1", "left-by-a-crash"),
		put(2*day, "tmp-2", "left-by-a-crash"),
		put(31*day, v, "entries", strings.Repeat("1", 64)),
		put(2*day, v, "entries", "tmp-3"),
		put(31*day, v, filepath.Base(filepath.Dir(native)), strings.Repeat("2", 64)),
	}
	kept := []string{
		put(6*day, "weft-fedcba9876543210", "newer-version"),
		put(time.Hour, v, "tmp-4", "at-work"),
		put(29*day, v, "entries", strings.Repeat("3", 64)),
		put(100*day, "somebody-elses", "file"),
		entry, native,
	}
	setAge(t, entry, 29*day)
	setAge(t, native, 29*day)
	setAge(t, version, 29*day)
	if err := loadOnce(t, dir, testCompiler(t, "fail")); err != nil {
		t.Fatal(err)
	}
	for _, name := range gone {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there, %v", name, err)
		}
	}
	for _, name := range kept {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{entry, native, version} {
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > day {
			t.Errorf("%s was used, and counts as %v old", name, time.Since(info.ModTime()))
		}
	}
}

func setAge(t testing.TB, name string, age time.Duration) {
	t.Helper()
	if err := os.Chtimes(name, time.Time{}, time.Now().Add(-age)); err != nil {
		t.Fatal(err)
	}
}

// TestCacheShared: hosts that share a folder don't harm each other, also where
// one removes the other's files.
func TestCacheShared(t *testing.T) {
	dir := t.TempDir()
	wasm := withManifest(t, watModule(t, "empty"), "")
	var hosts sync.WaitGroup
	for i := range 4 {
		hosts.Go(func() {
			for range 5 {
				s, err := New(context.Background(), Options{CacheDir: dir, Compiler: testCompiler(t)})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Load(context.Background(), Spec{Name: "empty", Wasm: wasm}); err != nil {
					t.Error(err)
				}
				if err := s.Close(context.Background()); err != nil {
					t.Error(err)
				}
				if i > 0 {
					continue
				}
				for _, name := range append(glob(t, dir, "weft-*", "entries", "[0-9a-f]*"), glob(t, dir, "weft-*", "wazero-*", "*")...) {
					if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Error(err)
					}
				}
			}
		})
	}
	hosts.Wait()
}

func glob(t testing.TB, parts ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestCacheUnusable: a folder that can't be used, or is another user's, is left
// alone; plugins load without it, and nothing stays behind.
func TestCacheUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeTestFile(t, file, nil)
	foreign := "/"
	if os.Geteuid() == 0 {
		foreign = t.TempDir()
		if err := os.Chown(foreign, 12345, -1); err != nil {
			t.Fatal(err)
		}
	}
	for name, dir := range map[string]string{"a file": file, "another's": foreign} {
		t.Run(name, func(t *testing.T) {
			before, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			var logs logLines
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			s, err := New(t.Context(), Options{CacheDir: dir, Compiler: testCompiler(t), Logger: logs.logger()})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(t.Context(), watSpec(t, "empty", "")); err != nil {
				t.Error(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if n := len(logs.lines(t, "compile cache: the folder can't be used, so all plugins are compiled again: let the host's user own and write it")); n != 1 {
				t.Errorf("%d warnings", n)
			}
			after, err := os.Stat(dir)
			if err != nil || after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
				t.Errorf("it was changed: %v, %v; before %v", after, err, before)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}
