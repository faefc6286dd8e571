package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// expander replaces ${…} in scalars. A file is read once.
type expander struct {
	dir   string
	opt   Options
	files map[string]secretFile

	literal bool // ${…} stands for itself
}

type secretFile struct {
	text string
	err  string
}

func newExpander(file string, opt Options) *expander {
	return &expander{dir: filepath.Dir(file), opt: opt, files: map[string]secretFile{}}
}

// expansion is a scalar after expansion.
type expansion struct {
	text     string
	expanded bool // text holds a value from outside the file, or would
	unknown  bool // NoEnv left it open
	problems []expandProblem
}

type expandProblem struct{ text, advice string }

// scalar expands s in one pass:
//
//	${NAME}           the variable's value
//	${NAME:-default}  default where NAME is not set or empty; it ends at the first }
//	${file:PATH}      a file's content without one final line end
//	$${               ${ as it stands
//
// A $ before anything else is itself. What was put in is not looked at again.
func (x *expander) scalar(s string) expansion {
	var out expansion
	if x.literal || !strings.Contains(s, "${") {
		out.text = s
		return out
	}
	var b strings.Builder
	for s != "" {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			break
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		body, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed {
			out.fail("${ has no }", "write $${ for ${ itself")
			break
		}
		x.reference(&b, &out, body)
		s = rest
		if b.Len() > MaxExpanded {
			out.fail(fmt.Sprintf("over %d bytes after expansion", MaxExpanded), "")
			break
		}
	}
	out.text = b.String()
	return out
}

func (e *expansion) fail(text, advice string) {
	e.problems = append(e.problems, expandProblem{text, advice})
}

// reference expands what stands between ${ and }.
func (x *expander) reference(b *strings.Builder, out *expansion, body string) {
	out.expanded = true
	if path, ok := strings.CutPrefix(body, "file:"); ok {
		x.file(b, out, path)
		return
	}
	name, def, hasDefault := strings.Cut(body, ":-")
	if !isVariable(name) {
		out.fail("${"+cut(name)+"} is not a variable's name", "${NAME}, ${NAME:-default} or ${file:PATH}; write $${ for ${ itself")
		return
	}
	value, set := "", false
	switch {
	case x.opt.NoEnv:
		if !hasDefault {
			out.unknown = true
			return
		}
	case x.opt.Getenv != nil:
		value, set = x.opt.Getenv(name)
	}
	if hasDefault && value == "" {
		value, set = def, true
	}
	switch {
	case !set:
		out.fail("${"+cut(name)+"} is not set", "set it, or give a default: ${"+cut(name)+":-default}")
	case !utf8.ValidString(value) || strings.Contains(value, "\x00"):
		out.fail("the value of ${"+cut(name)+"} is not UTF-8 text", "")
	default:
		b.WriteString(value)
	}
}

// file expands ${file:path}.
func (x *expander) file(b *strings.Builder, out *expansion, path string) {
	switch {
	case path == "":
		out.fail("${file:} names no file", "${file:PATH}")
		return
	case x.opt.NoEnv:
		out.unknown = true
		return
	}
	f, ok := x.files[path]
	if !ok {
		f = x.read(path)
		x.files[path] = f
	}
	if f.err != "" {
		out.fail("${file:"+cut(path)+"}: "+f.err, "")
		return
	}
	b.WriteString(f.text)
}

func (x *expander) read(path string) secretFile {
	if x.opt.ReadFile == nil {
		return secretFile{err: "files are not read here"}
	}
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(x.dir, full)
	}
	content, err := x.opt.ReadFile(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return secretFile{err: "no such file"}
	case errors.Is(err, fs.ErrPermission):
		return secretFile{err: "no permission to read it"}
	case err != nil:
		return secretFile{err: "can't be read: " + err.Error()}
	case len(content) > MaxExpanded:
		return secretFile{err: fmt.Sprintf("over %d bytes", MaxExpanded)}
	case !utf8.Valid(content) || strings.Contains(string(content), "\x00"):
		return secretFile{err: "not UTF-8 text"}
	}
	text := string(content)
	if line, ok := strings.CutSuffix(text, "\n"); ok {
		text = strings.TrimSuffix(line, "\r")
	}
	return secretFile{text: text}
}

// isVariable tells whether s is a name that a shell could set.
func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// cut shortens what an error repeats from the file, without quotes around it.
func cut(s string) string {
	if q := show(s); q[0] == '"' {
		return q[1 : len(q)-1]
	}
	return show(s)
}
