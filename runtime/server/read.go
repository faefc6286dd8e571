package server

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/config"
)

// readConfig reads and checks a pipeline.yaml and the files that it includes.
// Where one is wrong the error is config.Problems, else the problems are warnings.
func readConfig(file string, noEnv bool, from *sources) (*config.Config, config.Problems, error) {
	return readConfigIn(os.LookupEnv, file, noEnv, from)
}

// readConfigIn is readConfig with an environment of the caller's, and without
// some of the included files.
func readConfigIn(getenv func(string) (string, bool), file string, noEnv bool, from *sources, without ...string) (*config.Config, config.Problems, error) {
	src, err := from.readAtMost(file, config.MaxFile+1)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %w: name it with -c", err)
	}
	opt := config.Options{Getenv: getenv, ReadFile: from.secretReader(), NoEnv: noEnv}
	found, problems := findIncluded(file, config.Includes(file, src, opt), from)
	found = slices.DeleteFunc(found, func(f includedFile) bool { return slices.Contains(without, f.file) })
	sources, more := readIncluded(found, config.MaxFiles-len(src), from)
	problems = append(problems, more...)
	cfg, more := config.Parse(file, src, opt, sources...)
	problems = append(problems, more...)
	sortProblems(file, problems)
	if problems.Err() != nil {
		return nil, problems, problems
	}
	return cfg, problems, nil
}

// readGood is readConfig without the included files that are wrong: they take no
// other's apps out of service. The problems are theirs. The error is
// config.Problems where the root is wrong.
func readGood(file string) (*config.Config, config.Problems, error) {
	cfg, problems, err := readConfig(file, false, nil)
	if err == nil || len(problems) == 0 {
		return cfg, nil, err
	}
	var wrong []string
	for _, p := range problems {
		if !p.Warning {
			wrong = append(wrong, p.Pos.File)
		}
	}
	cfg, _, errRest := readConfigIn(os.LookupEnv, file, false, nil, wrong...)
	if slices.Contains(wrong, file) || errRest != nil {
		return nil, nil, err
	}
	return cfg, problems, nil
}

// includedFile is a file that a pattern of `include` matches.
type includedFile struct {
	file string // its path
	name string // config.Source.Name
}

// findIncluded lists the files that the patterns of the root file match, each
// once, by name, at most config.MaxIncluded. As in a shell a * matches no dot at
// the beginning of a name. The problems are patterns that match nothing, the root
// itself, and too many files.
func findIncluded(root string, patterns []config.Include, from *sources) ([]includedFile, config.Problems) {
	var found []includedFile
	var problems config.Problems
	var infos []os.FileInfo // of found
	rootInfo, err := os.Stat(root)
	for _, p := range patterns {
		paths, errGlob := from.glob(p.Pattern) // the pattern is a good one, and nothing else is an error
		paths = slices.DeleteFunc(paths, func(path string) bool { return hidden(p.Pattern, path) })
		if len(paths) == 0 || errGlob != nil {
			problems = append(problems, config.Problem{Pos: p.Pos, Warning: true, Text: "include: no file matches this pattern"})
		}
		for _, path := range paths {
			info, errStat := os.Stat(path)
			switch {
			case errStat == nil && err == nil && os.SameFile(info, rootInfo):
				problems = append(problems, config.Problem{Pos: p.Pos, Text: "include: the pattern matches the root file itself", Advice: "keep what is included in a folder of its own"})
				continue
			case errStat == nil && slices.ContainsFunc(infos, func(i os.FileInfo) bool { return os.SameFile(i, info) }):
				continue
			case errStat == nil:
				infos = append(infos, info)
			}
			found = append(found, includedFile{file: path, name: nameOf(root, path, p.Absolute)})
		}
	}
	slices.SortFunc(found, func(a, b includedFile) int { return strings.Compare(a.name, b.name) })
	found = slices.CompactFunc(found, func(a, b includedFile) bool { return a.name == b.name })
	if n := len(found); n > config.MaxIncluded {
		problems = append(problems, config.Problem{
			Pos:  config.Pos{File: found[config.MaxIncluded].file},
			Text: fmt.Sprintf("include: there are %d files, over %d: this one and those after it are left out", n, config.MaxIncluded),
		})
		found = found[:config.MaxIncluded]
	}
	return found, problems
}

// hidden tells whether a part of path begins with a dot where the pattern's
// doesn't.
func hidden(pattern, path string) bool {
	wanted, parts := strings.Split(filepath.ToSlash(pattern), "/"), strings.Split(filepath.ToSlash(path), "/")
	for i, part := range parts {
		if strings.HasPrefix(part, ".") && i < len(wanted) && !strings.HasPrefix(wanted[i], ".") {
			return true
		}
	}
	return false
}

// nameOf is how the folder of root sees a file.
func nameOf(root, path string, absolute bool) string {
	if !absolute {
		if rel, err := filepath.Rel(filepath.Dir(root), path); err == nil {
			path = rel
		}
	}
	return filepath.ToSlash(path)
}

// readIncluded reads files, left bytes in all, about. What is over a bound is cut,
// and long enough for config.Parse to say so.
func readIncluded(files []includedFile, left int, from *sources) ([]config.Source, config.Problems) {
	var sources []config.Source
	var problems config.Problems
	for _, f := range files {
		src, err := f.read(int64(max(0, min(config.MaxFile, left)))+1, from)
		if err != nil {
			problems = append(problems, config.Problem{Pos: config.Pos{File: f.file}, Text: err.Error()})
			continue
		}
		if len(src) <= left {
			left -= len(src)
		}
		sources = append(sources, config.Source{File: f.file, Name: f.name, Src: src})
	}
	return sources, problems
}

// read returns the file's first n bytes.
func (f includedFile) read(n int64, from *sources) ([]byte, error) {
	info, err := from.stat(f.file)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is included, and is not a regular file")
	}
	var src []byte
	if err == nil {
		src, err = from.readAtMost(f.file, n)
	}
	if err != nil {
		return nil, fmt.Errorf("the included file can't be read: %w", reason(err))
	}
	return src, nil
}

func readAtMost(file string, n int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	var src bytes.Buffer
	info, err := f.Stat()
	if err == nil {
		src.Grow(int(min(info.Size(), n)) + bytes.MinRead) // a module has megabytes
		_, err = src.ReadFrom(io.LimitReader(f, n))
	}
	return src.Bytes(), errors.Join(err, f.Close())
}

// reason is what happened to a file, without its path, which stands before it.
func reason(err error) error {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// sortProblems sorts by file, the root's first, and by place; those of a file
// that have none come last.
func sortProblems(root string, problems config.Problems) {
	slices.SortStableFunc(problems, func(a, b config.Problem) int {
		if a.Pos.File != b.Pos.File {
			switch root {
			case a.Pos.File:
				return -1
			case b.Pos.File:
				return 1
			}
			return strings.Compare(a.Pos.File, b.Pos.File)
		}
		if noA, noB := a.Pos.Line == 0, b.Pos.Line == 0; noA != noB {
			return b.Pos.Line - a.Pos.Line
		}
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col))
	})
}
