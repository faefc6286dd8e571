package storetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func readTrace(t *testing.T, text string) []Call {
	t.Helper()
	calls, err := ReadTrace(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// images renders the images of file f: its bytes and the answers.
func images(calls []Call) []string {
	var out []string
	for i := range SyncedImages(calls, "f", []byte("base"), func(c Call) bool { return c.Name == "write" }) {
		s := strings.ReplaceAll(string(i.File), "\x00", ".")
		for _, a := range i.Answers {
			s += " " + string(a.Data)
		}
		out = append(out, s)
	}
	return out
}

func TestSyncedImages(t *testing.T) {
	for name, c := range map[string]struct {
		trace string
		want  string
	}{
		"an answer before any sync sees the base": {`
1 pwrite64(3<f>, "AB", 2, 0) = 2
1 write(1<out>, "a", 1) = 1`, "[base a]"},
		"a sync puts what was written on the disk": {`
1 pwrite64(3<\x66>, "\x41\x42", 2, 0) = 2
1 fdatasync(3<f>) = 0
1 write(1<out>, "a", 1) = 1
1 write(1<out>, "b", 1) = 1
1 pwrite64(3<f>, "CD", 2, 6) = 2
1 fsync(3<f>) = 0
1 write(1<out>, "c", 1) = 1`, "[ABse a b ABse..CD c]"},
		"a write that ended after the sync began is not on the disk": {`
1 pwrite64(3<f>, "AB", 2, 0 <unfinished ...>
2 fdatasync(3<f> <unfinished ...>
1 <... pwrite64 resumed>) = 2
2 <... fdatasync resumed>) = 0
1 write(1<out>, "a", 1) = 1
2 fdatasync(3<f>) = 0
1 write(1<out>, "b", 1) = 1`, "[base a ABse b]"},
		"an answer that began before the sync ended sees what was before": {`
1 pwrite64(3<f>, "AB", 2, 0) = 2
1 fdatasync(3<f> <unfinished ...>
2 write(1<out>, "a", 1 <unfinished ...>
1 <... fdatasync resumed>) = 0
2 <... write resumed>) = 1
2 write(1<out>, "b", 1) = 1`, "[base a ABse b]"},
		"a sync that failed, or never ended, or of another file, is none": {`
1 pwrite64(3<f>, "AB", 2, 0) = 2
1 fdatasync(3<f>) = -1 EIO (Input/output error)
1 fdatasync(4<g>) = 0
2 fdatasync(3<f> <unfinished ...>
1 write(1<out>, "a", 1) = 1
1 +++ killed by SIGKILL +++`, "[base a]"},
		"short and failed writes, other files, and lengths": {`
1 pwrite64(3<f>, "ABCD", 4, 0) = 2
1 pwrite64(3<f>, "XXXX", 4, 0) = -1 ENOSPC (No space left on device)
1 pwrite64(4<g>, "XXXX", 4, 0) = 4
1 ftruncate(3<f>, 6) = 0
1 fsync(3<f>) = 0
1 write(1<out>, "a", 1) = 1
1 ftruncate(3<f>, 1) = 0
1 fsync(3<f>) = 0
1 write(1<out>, "b", 1) = 1`, "[ABse.. a A b]"},
		"an answer in parts": {`
1 writev(1<out>, [{iov_base="a", iov_len=1}, {iov_base="b", iov_len=1}], 2) = 2
1 write(1<out>, "c", 1) = ?
1 ???( <detached ...>`, "[base c]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(images(readTrace(t, strings.TrimPrefix(c.trace, "\n")))); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestReadTraceRefusesDataThatWasCut(t *testing.T) {
	if _, err := ReadTrace(strings.NewReader("1 write(1<out>, \"ab\"..., 10) = 10\n")); err == nil || !strings.Contains(err.Error(), "-s") {
		t.Fatal(err)
	}
}

// TestReadTraceOfStrace traces a shell that writes a line.
func TestReadTraceOfStrace(t *testing.T) {
	out := filepath.Join(t.TempDir(), "trace")
	RunStrace(t, out, exec.CommandContext(t.Context(), "/bin/sh", "-c", `printf 'a\n"b"\0'`))
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	calls, err := ReadTrace(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		if c.Name == "write" && string(c.Data) == "a\n\"b\"\x00" && c.Result == 6 {
			return
		}
	}
	t.Fatalf("no such write in %+v", calls)
}

// FuzzReadTrace reads any text: it must not panic, nor make bytes out of nothing.
func FuzzReadTrace(f *testing.F) {
	f.Add("1 pwrite64(3<f>, \"AB\", 2, 0 <unfinished ...>\n1 <... pwrite64 resumed>) = 2\n")
	f.Add("1 write(1<\\x66>, \"\\x41\", 1) = 1\n2 +++ exited with 0 +++\n")
	f.Add("1 writev(1<out>, [{iov_base=\"a\", iov_len=1}], 1) = 1\n")
	f.Fuzz(func(t *testing.T, s string) {
		calls, err := ReadTrace(strings.NewReader(s))
		if err != nil {
			return
		}
		n := 0
		for _, c := range calls {
			n += len(c.Data)
			if c.Begin < 1 || c.End != 0 && c.End < c.Begin {
				t.Fatalf("%+v", c)
			}
		}
		if n > len(s) {
			t.Fatalf("%d bytes of data in a trace of %d", n, len(s))
		}
	})
}
