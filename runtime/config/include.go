package config

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPatterns is how many patterns `include` may have.
const maxPatterns = 100

// Include is a pattern of `include`.
type Include struct {
	Pos Pos
	// Pattern is as filepath.Match has it, absolute or relative to the working
	// directory.
	Pattern string
	// Absolute says that the pattern is absolute as it stands in the file.
	Absolute bool
}

// Source is a file that the root includes.
type Source struct {
	// File is its path, for positions and as the place that relative paths start
	// from.
	File string
	// Name is how the root's folder sees the file: the relative path with slashes,
	// the absolute one where the pattern is absolute. It is a part of the labels of
	// the file's pipelines, no two files have the same.
	Name string
	Src  []byte
	// ReadFile is Options.ReadFile for this file; nil: the one of Options.
	ReadFile func(path string) ([]byte, error)
}

// Includes returns the patterns of the root file's `include`, as far as they can
// be told: what is wrong with them Parse says. It is called before Parse, whose
// Sources are the files that the patterns match.
func Includes(file string, src []byte, opt Options) []Include {
	d := newDecoder(file, opt, new(usage))
	root := d.readYAML(src)
	if root == nil {
		return nil
	}
	n := root.get("include")
	if n == nil {
		return nil
	}
	all, _ := includeKind().read(d, n)
	return all
}

// includeKind reads the list of patterns.
func includeKind() kind[[]Include] {
	return atMost(maxPatterns, "patterns", listOf("a list of patterns, such as [ \"apps/*.yaml\" ]", pattern()))
}

// pattern reads a pattern of files.
func pattern() kind[Include] {
	inner := text("a pattern of files, such as apps/*.yaml", func(s string) error {
		if _, err := filepath.Match(s, ""); err != nil || s == "" || len(s) > 4096 || strings.Contains(s, "\x00") || strings.Contains(s, "://") {
			return notThat()
		}
		if strings.Contains(s, "**") {
			return errors.New("holds **, which matches no more than *")
		}
		return nil
	})
	return kind[Include]{shape: inner.shape, read: func(d *decoder, n *node) (Include, bool) {
		s, ok := inner.read(d, n)
		if !ok {
			return Include{}, false
		}
		if filepath.IsAbs(s) {
			return Include{Pos: n.pos, Pattern: filepath.Clean(s), Absolute: true}, true
		}
		return Include{Pos: n.pos, Pattern: filepath.Join(literal(d.dir), s)}, true
	}}
}

// literal is a pattern that matches path only. Windows has no way to write one.
func literal(path string) string {
	if runtime.GOOS == "windows" {
		return path
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// includedKeys are what an included file may hold.
func includedKeys() []string { return []string{"weft", "apps", "pipelines", "pipeline"} }

func includedWords() string { return "weft, apps, pipelines and pipeline" }

// includedSection is documentSection for an included file.
func includedSection() section[document] {
	s := documentSection()
	s.keys = slices.DeleteFunc(s.keys, func(k key[document]) bool { return !slices.Contains(includedKeys(), k.name) })
	return s
}

// included reads the files that the root includes, in the order of their names.
func (d *decoder) included(src []byte, sources []Source, opt Options) []*decoder {
	size := len(src) // of all files so far
	sorted := slices.SortedFunc(slices.Values(sources), func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	units := make([]*decoder, len(sorted))
	for i, s := range sorted {
		opt := opt
		if s.ReadFile != nil {
			opt.ReadFile = s.ReadFile
		}
		unit := newDecoder(s.File, opt, d.used)
		unit.unit, units[i] = s.Name, unit
		text, advice := "", ""
		switch bad := badFileName(s.Name); {
		case i >= MaxIncluded:
			text = fmt.Sprintf("over %d included files", MaxIncluded)
		case bad != "":
			text, advice = bad, "rename it"
		case size+len(s.Src) > MaxFiles:
			text = fmt.Sprintf("the file and those before it have more than %d bytes", MaxFiles)
		}
		if text != "" {
			unit.addAt(Pos{File: s.File}, text, advice)
			continue
		}
		size += len(s.Src)
		if n := unit.readYAML(s.Src); n != nil {
			unit.part(n, d.file)
		}
	}
	return units
}

// badFileName says what is wrong with a file's name, which is a label of metrics
// and a part of log lines.
func badFileName(name string) string {
	switch {
	case !utf8.ValidString(name):
		return "the file's name is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "the file's name holds a control character"
	}
	return ""
}

// part decodes an included file. What only the root may have is named as that.
func (d *decoder) part(n *node, root string) {
	own := *n
	own.entries = nil
	known := documentSection().names()
	for _, e := range n.entries {
		if slices.Contains(known, e.key) && !slices.Contains(includedKeys(), e.key) {
			d.addAt(e.pos, show(e.key)+" stands in the root file only", "an included file has "+includedWords()+": move this to "+root)
			continue
		}
		own.entries = append(own.entries, e)
	}
	doc := new(document)
	if includedSection().decode(d, &own, doc) {
		d.complete(doc)
	}
}
