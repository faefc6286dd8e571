package bolt

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// openTest opens a store and closes it at the end of the test.
func openTest(t testing.TB, dir string, now func() time.Time) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func put(t testing.TB, s *Store, key, value string) {
	t.Helper()
	if _, err := s.Apply(t.Context(), setOp(key, value)); err != nil {
		t.Fatal(err)
	}
}

func setOp(key, value string) store.Op {
	return store.Op{Kind: store.Set, Bucket: "b", Key: key, Value: []byte(value)}
}

func TestOpenMakesFolderAndFileForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	openTest(t, dir, nil)
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s is %o, want %o", path, got, want)
		}
	}
}

func TestOpenSaysWhichFileIsInUse(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	begin := time.Now()
	_, err := Open(t.Context(), Options{Dir: dir})
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), filepath.Join(dir, FileName)) || !strings.Contains(err.Error(), "stop") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that ends: %v", err)
	}
	put(t, s, "k", "v")
}

func TestOpenWaitsForAProcessThatIsGoing(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	closed := make(chan error)
	timer := time.AfterFunc(100*time.Millisecond, func() { closed <- s.Close() })
	defer timer.Stop()
	openTest(t, dir, nil)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatIsNoStore(t *testing.T) {
	write := func(b []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		make func(*testing.T, string)
		want string
	}{
		"a text":              {write([]byte("hello")), "invalid"},
		"a longer text":       {write([]byte(strings.Repeat("hello ", 1000))), "too small"},
		"an even longer text": {write([]byte(strings.Repeat("hello ", 10000))), "invalid"},
		"zeros":               {write(make([]byte, 32768)), "invalid"},
		"a folder":            {makeFolder, "no regular file"},
		"another program's":   {makeForeign, "another program"},
		"a newer version's":   {makeNewer, "run the version of weft that wrote it"},
		"one with a part less": {func(t *testing.T, path string) {
			update(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(keysBucket)) })
		}, `part "keys" is missing`},
		"one cut short": {cutShort, "cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			c.make(t, path)
			_, err := Open(t.Context(), Options{Dir: dir})
			if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			// It let go of the file.
			if name == "a newer version's" {
				update(t, path, func(tx *bbolt.Tx) error {
					return tx.Bucket([]byte(weftBucket)).Put([]byte(formatKey), []byte{fileFormat})
				})
				openTest(t, dir, nil)
			}
		})
	}
}

func makeFolder(t *testing.T, path string) {
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// update changes the file of a store behind its back.
func update(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: filepath.Dir(path)})
	if errors.Is(err, ErrForeign) {
		db, oerr := bbolt.Open(path, 0o600, nil)
		if oerr != nil {
			t.Fatal(oerr)
		}
		if err := errors.Join(db.Update(f), db.Close()); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.db.Update(f), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func makeForeign(t *testing.T, path string) {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("other"))
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func makeNewer(t *testing.T, path string) {
	update(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(weftBucket)).Put([]byte(formatKey), []byte{fileFormat + 1})
	})
}

// cutShort makes a store and cuts off its last part.
func cutShort(t *testing.T, path string) {
	s, err := Open(t.Context(), Options{Dir: filepath.Dir(path)})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", strings.Repeat("v", 1<<20))
	if err := errors.Join(s.Close(), os.Truncate(path, 40960)); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTakesAnEmptyFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, openTest(t, dir, nil), "k", "v")
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// A store that is open is not bound to it.
	ctx, cancel = context.WithCancel(t.Context())
	s, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	put(t, s, "k", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestClaimsEndWithTheStore(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	claims, err := s.Append(t.Context(), "q", time.Hour, store.Entry{Key: "k", Delay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, nil)
	if err := s.Ack(t.Context(), "q", claims[0]); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a claim of before: %v", err)
	}
	again, err := s.Claim(t.Context(), "q", "", 1, time.Hour)
	if err != nil || len(again) != 1 || again[0].Token == claims[0].Token {
		t.Fatalf("%+v, %v", again, err)
	}
}
