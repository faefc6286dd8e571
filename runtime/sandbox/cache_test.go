package sandbox

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// noCompiler is the command of a compiler that always fails: with it only what
// is in the cache loads.
func noCompiler() []string { return []string{os.Args[0], "compile", "fail"} }

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
	if err := loadOnce(t, dir, noCompiler()); err == nil || !strings.Contains(err.Error(), "its compiler failed: exit status 1: this compiler fails") {
		t.Fatalf("without a compiler: %v", err)
	}
	if err := loadOnce(t, dir, nil); err != nil {
		t.Fatal(err)
	}
	if err := loadOnce(t, dir, noCompiler()); err != nil {
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
