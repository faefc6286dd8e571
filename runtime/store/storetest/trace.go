package storetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Strace returns the arguments that make strace write to out what ReadTrace
// reads; the command to be traced, with its arguments, follows them.
func Strace(out string) []string {
	return []string{
		"-f", "-qq", "-y", "-xx", "-s", strconv.Itoa(64 << 20), "-e", "signal=none",
		"-e", "trace=pwrite64,ftruncate,fdatasync,fsync,write,writev,sendto", "-o", out, "--",
	}
}

// RunStrace runs cmd, made with exec.CommandContext, under strace, which writes
// to out. Where strace can't trace here the test is skipped, saying so; where the
// command fails, so does the test.
func RunStrace(t *testing.T, out string, cmd *exec.Cmd) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed, so what reaches the disk before an answer can't be looked at")
	}
	probe := exec.CommandContext(t.Context(), strace, append(Strace(out), "true")...)
	if text, err := probe.CombinedOutput(); err != nil {
		t.Skipf("strace can't trace here, so what reaches the disk before an answer can't be looked at: %v: %s", err, text)
	}
	cmd.Args = append(append([]string{strace}, Strace(out)...), append([]string{cmd.Path}, cmd.Args[1:]...)...)
	cmd.Path = strace
	if err := cmd.Run(); err != nil {
		t.Fatalf("run under strace: %v", err)
	}
}

// Call is a system call of a trace.
type Call struct {
	Name   string
	File   string // path of the file, or what strace says of another descriptor
	Data   []byte // what was to be written
	Offset int64  // pwrite64: where; ftruncate: the new length
	Result int64  // −1: it failed, or did not end
	// Begin and End are the lines of the trace, from 1, where the call began and
	// ended; End is 0 for one that did not end. A call that ended before another
	// began ended before it in fact.
	Begin, End int
}

// ReadTrace reads a trace, its calls in the order of their beginning.
func ReadTrace(r io.Reader) ([]Call, error) {
	t := tracer{open: map[string]*opened{}}
	br := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		line, err := br.ReadString('\n')
		if line != "" {
			if perr := t.line(n, strings.TrimSuffix(line, "\n")); perr != nil {
				return nil, fmt.Errorf("line %d of the trace: %w", n, perr)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the trace: %w", err)
		}
	}
	for _, o := range t.open {
		c, err := parseCall(o.text)
		if err != nil {
			return nil, fmt.Errorf("line %d of the trace: %w", o.begin, err)
		}
		c.Begin, c.Result = o.begin, -1
		t.calls = append(t.calls, c)
	}
	slices.SortFunc(t.calls, func(a, b Call) int { return a.Begin - b.Begin })
	return t.calls, nil
}

// tracer joins the parts of calls that others interrupted.
type tracer struct {
	calls []Call
	open  map[string]*opened // by thread
}

type opened struct {
	begin int
	text  string
}

// A line can be megabytes long: these match its head only.
var (
	threadHead  = regexp.MustCompile(`^(\d+) +`)
	resumedHead = regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
	callStart   = regexp.MustCompile(`^\w+\(`)
)

const unfinished = " <unfinished ...>"

func (t *tracer) line(n int, line string) error {
	m := threadHead.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("it does not begin with a thread: %.40q", line)
	}
	thread, text, begin := m[1], line[len(m[0]):], n
	if r := resumedHead.FindString(text); r != "" {
		o := t.open[thread]
		if o == nil {
			return nil // it began before strace looked
		}
		delete(t.open, thread)
		begin, text = o.begin, o.text+text[len(r):]
	} else if !callStart.MatchString(text) {
		return nil // an exit, or a signal
	}
	if head, ok := strings.CutSuffix(text, unfinished); ok {
		t.open[thread] = &opened{begin, head}
		return nil
	}
	c, err := parseCall(text)
	if err != nil {
		return err
	}
	c.Begin, c.End = begin, n
	t.calls = append(t.calls, c)
	return nil
}

var (
	callResult = regexp.MustCompile(`\) += (-?\d+)[^"]*$`) // of what follows the data
	descriptor = regexp.MustCompile(`^\d+(?:<([^>]*)>)?`)
	lastNumber = regexp.MustCompile(`, (\d+)$`)
)

// parseCall reads NAME(DESCRIPTOR, ARGUMENTS) = RESULT; the end may be missing.
func parseCall(text string) (Call, error) {
	name, args, ok := strings.Cut(text, "(")
	if !ok {
		return Call{}, fmt.Errorf("no call: %.40q", text)
	}
	c := Call{Name: name, Result: -1}
	after := strings.LastIndexByte(args, '"') + 1
	if m := callResult.FindStringSubmatchIndex(args[after:]); m != nil {
		n, err := strconv.ParseInt(args[after+m[2]:after+m[3]], 10, 64)
		if err != nil {
			return Call{}, fmt.Errorf("the result of %s: %w", name, err)
		}
		c.Result, args = n, args[:after+m[0]]
	}
	fd := descriptor.FindStringSubmatch(args)
	if fd == nil {
		return Call{}, fmt.Errorf("%s of no descriptor: %.40q", name, args)
	}
	file, err := unescape(fd[1])
	if err != nil {
		return Call{}, err
	}
	c.File, args = string(file), args[len(fd[0]):]
	for {
		before, rest, ok := strings.Cut(args, `"`)
		if !ok {
			break
		}
		quoted, after, ok := strings.Cut(rest, `"`)
		if !ok || strings.HasPrefix(after, "...") {
			return Call{}, fmt.Errorf("the data of %s is cut short; give strace a larger -s", name)
		}
		b, err := unescape(quoted)
		if err != nil {
			return Call{}, err
		}
		c.Data, args = append(c.Data, b...), before+after
	}
	if m := lastNumber.FindStringSubmatch(args); m != nil {
		if c.Offset, err = strconv.ParseInt(m[1], 10, 64); err != nil {
			return Call{}, fmt.Errorf("the last argument of %s: %w", name, err)
		}
	}
	return c, nil
}

// unescape reads strace's \x41\x42; other characters stand for themselves.
func unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s)/4+1)
	for len(s) > 0 {
		head, rest, escaped := strings.Cut(s, `\x`)
		out, s = append(out, head...), rest
		if !escaped {
			break
		}
		if len(s) < 2 {
			return nil, fmt.Errorf("a character is cut short: %q", s)
		}
		b, err := strconv.ParseUint(s[:2], 16, 8)
		if err != nil {
			return nil, fmt.Errorf("no character: %q: %w", `\x`+s[:2], err)
		}
		out, s = append(out, byte(b)), s[2:]
	}
	return out, nil
}

// Image is a file as the disk has it for sure at some time.
type Image struct {
	// File is good until the next Image is asked for.
	File []byte
	// Answers began while the disk had no more than File: what each of them says
	// must be found in it, and what those of earlier images say.
	Answers []Call
}

// SyncedImages rebuilds the file path from base, its content before the trace,
// as it would be found after a loss of power: of what was written, only that
// which had been written when a sync began that has ended. It gives an Image for
// each such state in which a call began that is an answer.
func SyncedImages(calls []Call, path string, base []byte, answer func(Call) bool) iter.Seq[Image] {
	return func(yield func(Image) bool) {
		d := disk{image: Image{File: bytes.Clone(base)}, syncs: map[int]int{}}
		for _, p := range points(calls) {
			c := p.call
			switch {
			case !p.end && answer(*c):
				d.image.Answers = append(d.image.Answers, *c)
			case c.File != path || c.Result < 0:
			case c.Name == "fdatasync" || c.Name == "fsync":
				if !p.end {
					d.syncs[c.Begin] = len(d.written)
				} else if !d.sync(d.syncs[c.Begin], yield) {
					return
				}
			case p.end:
				d.written = append(d.written, c)
			}
		}
		if len(d.image.Answers) > 0 {
			yield(d.image)
		}
	}
}

// point is the beginning or the end of a call.
type point struct {
	call *Call
	line int
	end  bool
}

// points returns beginnings and ends in the order of the trace.
func points(calls []Call) []point {
	var ps []point
	for i := range calls {
		c := &calls[i]
		ps = append(ps, point{c, c.Begin, false})
		if c.End > 0 {
			ps = append(ps, point{c, c.End, true})
		}
	}
	slices.SortStableFunc(ps, func(a, b point) int { return a.line - b.line })
	return ps
}

// disk is what the disk has (image), and what it may not have yet (written).
type disk struct {
	image   Image
	written []*Call
	applied int         // so many of written are in image
	syncs   map[int]int // by beginning: what was written when the sync began
}

// sync puts the first n of written on the disk; the image of before is yielded first.
func (d *disk) sync(n int, yield func(Image) bool) bool {
	if n <= d.applied {
		return true
	}
	if len(d.image.Answers) > 0 {
		if !yield(d.image) {
			return false
		}
		d.image.Answers = nil
	}
	for _, c := range d.written[d.applied:n] {
		d.image.File = apply(d.image.File, c)
	}
	d.applied = n
	return true
}

// apply makes the change of c in file.
func apply(file []byte, c *Call) []byte {
	if c.Name == "ftruncate" {
		if int64(len(file)) >= c.Offset {
			return file[:c.Offset]
		}
		return append(file, make([]byte, c.Offset-int64(len(file)))...)
	}
	if c.Name != "pwrite64" {
		return file
	}
	data := c.Data[:min(int64(len(c.Data)), c.Result)]
	if short := c.Offset + int64(len(data)) - int64(len(file)); short > 0 {
		file = append(file, make([]byte, short)...)
	}
	copy(file[c.Offset:], data)
	return file
}
