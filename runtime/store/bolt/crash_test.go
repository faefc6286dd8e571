package bolt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

// With writerDir set the test binary is a process that writes to the store there
// and says each write on standard output once it was acknowledged: writerEach
// writes by each of writerCallers goroutines, or until it is killed.
const (
	writerDir     = "WEFT_TEST_WRITER_DIR"
	writerEach    = "WEFT_TEST_WRITER_EACH"
	writerCallers = 8
)

func TestMain(m *testing.M) {
	dir := os.Getenv(writerDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := writeAndSay(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeAndSay(ctx context.Context, dir string) error {
	each, err := strconv.Atoi(os.Getenv(writerEach))
	if err != nil {
		return err
	}
	s, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, writerCallers)
	for g := range writerCallers {
		wg.Go(func() {
			for i := 0; i < each; i++ {
				if err := writeOne(ctx, s, fmt.Sprintf("%d.%d.", g, i), i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return errors.Join(<-errs, s.Close())
}

// writerValue is the value of a key: some small, some over several pages.
func writerValue(key string, i int) []byte {
	return bytes.Repeat([]byte(key), 1+i%5*i%997)
}

// writeOne makes the change number i, one of several kinds, and says it.
func writeOne(ctx context.Context, s store.Store, key string, i int) error {
	value := writerValue(key, i)
	say := func(what string) error {
		_, err := fmt.Fprintf(os.Stdout, "%s %s %d\n", what, key, i) // one write
		return err
	}
	if i%2 == 0 {
		if _, err := s.Apply(ctx, store.Op{Kind: store.Set, Bucket: "b", Key: key, Value: value}); err != nil {
			return err
		}
		return say("set")
	}
	claims, err := s.Append(ctx, "q", time.Hour, store.Entry{Key: key, Value: value})
	if err != nil {
		return err
	}
	switch i % 6 {
	case 1:
		return say("append")
	case 3:
		claims[0].Tries = 9
		if err := s.Release(ctx, "q", claims[0], 0); err != nil {
			return err
		}
		return say("release")
	default:
		if err := s.Ack(ctx, "q", claims[0]); err != nil {
			return err
		}
		return say("ack")
	}
}

// missing says which of the acknowledged writes s doesn't have.
func missing(t *testing.T, s store.Store, said []string) []string {
	t.Helper()
	queued := map[string]store.Info{}
	err := s.List(t.Context(), "q", 0, func(i store.Info) bool {
		queued[i.Key] = i
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	var lost []string
	for _, line := range said {
		var what, key string
		var i int
		if _, err := fmt.Sscan(line, &what, &key, &i); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		entry, there := queued[key]
		whole := there && bytes.Equal(entry.Value, writerValue(key, i))
		var ok bool
		switch what {
		case "set":
			v, err := s.Get(t.Context(), "b", key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			ok = bytes.Equal(v, writerValue(key, i))
		case "append":
			ok = whole && entry.Tries == 0
		case "release":
			ok = whole && entry.Tries == 9
		case "ack":
			ok = !there
		}
		if !ok {
			lost = append(lost, line)
		}
	}
	return lost
}

// writer is the command of a process that writes to dir.
func writer(t *testing.T, dir string, each int) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), writerDir+"="+dir, writerEach+"="+strconv.Itoa(each))
	cmd.Stderr = os.Stderr
	return cmd
}

// TestKill kills a process in the middle of its load, more than once on one file.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for _, lines := range []int{1, 300, 2000} {
		sub := filepath.Join(dir, strconv.Itoa(lines))
		said := killAfter(t, sub, lines)
		if len(said) < lines {
			t.Fatalf("the writer said %d lines", len(said))
		}
		s := openTest(t, sub, nil)
		if lost := missing(t, s, said); len(lost) > 0 {
			t.Errorf("after %d lines %d of %d acknowledged writes are lost: %.200q", lines, len(lost), len(said), lost)
		}
		d, err := s.Depth(t.Context(), "q")
		if err != nil || d.Claimed != 0 {
			t.Errorf("what the dead process held is not ready: %+v, %v", d, err)
		}
	}
}

// killAfter starts a writer, kills it when it has said so many lines, and
// returns all that it said.
func killAfter(t *testing.T, dir string, lines int) []string {
	t.Helper()
	cmd := writer(t, dir, 1<<30)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break // what comes without its end was not said
		}
		if said = append(said, line); len(said) == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the writer ended by itself")
	}
	return said
}

// TestSyncedBeforeAcknowledged traces a writer and looks at what the disk had for
// sure when each acknowledgement went out.
func TestSyncedBeforeAcknowledged(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	path := filepath.Join(data, FileName)
	trace := filepath.Join(dir, "trace")
	const each = 30
	storetest.RunStrace(t, trace, writer(t, data, each))
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := storetest.ReadTrace(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}

	t.Run("an fdatasync that covers the write ends before the acknowledgement", func(t *testing.T) {
		answers := 0
		for _, c := range calls {
			if !isAnswer(c) {
				continue
			}
			answers++
			said := strings.Fields(string(c.Data))
			stored := nameKey("q", said[1])
			if said[0] == "set" {
				stored = nameKey("b", said[1])
			}
			if said[0] != "ack" && !syncedBefore(calls, path, stored, c.Begin) {
				t.Errorf("%q went out first", c.Data)
			}
		}
		if answers != writerCallers*each {
			t.Errorf("%d acknowledgements, want %d", answers, writerCallers*each)
		}
	})
	t.Run("the file cut at its last sync has every acknowledged write", func(t *testing.T) {
		said, lost := replay(t, calls, path)
		if said != writerCallers*each || lost > 0 {
			t.Errorf("%d of %d acknowledged writes are lost", lost, said)
		}
	})
	t.Run("without some of the syncs writes would be found lost", func(t *testing.T) {
		n := 0
		var fewer []storetest.Call
		for _, c := range calls {
			if c.Name == "fdatasync" && c.File == path {
				if n++; n > 20 {
					continue
				}
			}
			fewer = append(fewer, c)
		}
		if _, lost := replay(t, fewer, path); lost == 0 {
			t.Error("none was missed")
		}
	})
}

func isAnswer(c storetest.Call) bool {
	return c.Name == "write" && bytes.Count(c.Data, []byte(" ")) == 2 &&
		(bytes.HasPrefix(c.Data, []byte("set ")) || bytes.HasPrefix(c.Data, []byte("append ")) ||
			bytes.HasPrefix(c.Data, []byte("release ")) || bytes.HasPrefix(c.Data, []byte("ack ")))
}

// syncedBefore says whether a write to path of a page with key was followed by a whole sync of it before line.
func syncedBefore(calls []storetest.Call, path string, key []byte, line int) bool {
	for _, w := range calls {
		if w.Name != "pwrite64" || w.File != path || w.End == 0 || w.End >= line || !bytes.Contains(w.Data, key) {
			continue
		}
		for _, s := range calls {
			if s.Name == "fdatasync" && s.File == path && s.Result == 0 && s.Begin > w.End && s.End < line {
				return true
			}
		}
	}
	return false
}

// replay opens each image of the trace and counts the acknowledgements, and those whose write it lacks.
func replay(t *testing.T, calls []storetest.Call, path string) (all, lost int) {
	t.Helper()
	var said []string
	for image := range storetest.SyncedImages(calls, path, nil, isAnswer) {
		for _, c := range image.Answers {
			said = append(said, string(c.Data))
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), image.File, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatalf("after %d acknowledgements: %v", len(said), err)
		}
		lost += len(missing(t, s, said))
		if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
	}
	return len(said), lost
}
