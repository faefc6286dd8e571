// Package config turns pipeline.yaml into a checked, typed value with
// positions. It touches only bytes: what it needs of the environment and of
// secret files is handed in.
//
// One table describes each section's keys (keys.go, stages.go, reply.go): the
// same lines decode a file, check it and document it.
package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Limits of a configuration. What goes over one is refused.
const (
	MaxFile         = 4 << 20  // bytes of a file
	MaxValues       = 100_000  // values in a file, aliases followed
	MaxDepth        = 64       // nesting, aliases followed
	MaxText         = 16 << 20 // bytes of all scalars of a file together, aliases followed and expanded
	MaxIncluded     = 1000     // included files
	MaxFiles        = 64 << 20 // bytes of all files
	MaxAllValues    = 1 << 20  // values in all files
	MaxAllText      = 64 << 20 // bytes of all scalars of all files
	MaxExpanded     = 1 << 20  // bytes of one scalar after expansion, and of a secret file
	MaxWhen         = 32 << 10 // bytes of a `when`: who reads it goes as deep as it has brackets
	MaxPluginConfig = 1 << 20  // bytes of JSON of one plugin's config in one app
	MaxConfigs      = 64 << 20 // bytes that all of them take, about
	MaxProblems     = 100      // problems of a file that are listed; a last one counts the rest
)

// Options is what Parse may use beside the bytes.
type Options struct {
	// Getenv finds what ${NAME} stands for; nil: nothing is set.
	Getenv func(name string) (value string, set bool)
	// ReadFile reads what ${file:PATH} stands for; PATH is absolute or
	// relative to the working directory. nil: secret files are refused.
	ReadFile func(path string) ([]byte, error)
	// NoEnv reads neither: ${NAME:-default} is its default, any other one is
	// accepted and leaves the value open, its zero value in Config, unchecked.
	NoEnv bool
}

// Parse reads a pipeline.yaml and the files that it includes: see Includes. file
// is its path, for positions and as the place that relative paths start from.
//
// Problems holds all that is wrong and all warnings, file by file: the root's
// first, then by Source.Name; those of a file by place, at most MaxProblems of
// them and one more that counts the rest. The file of a problem's Pos is the one
// that is to be changed or, where Other is set, one of the two. Config is nil
// where Problems.Err is not nil.
func Parse(file string, src []byte, opt Options, included ...Source) (*Config, Problems) {
	root := newDecoder(file, opt, new(usage))
	units := []*decoder{root}
	if n := root.readYAML(src); n != nil {
		root.document(n)
	}
	units = append(units, root.included(src, included, opt)...)
	var cfg *Config
	if root.doc != nil {
		cfg = link(units)
	}
	var problems Problems
	for _, d := range units {
		problems = append(problems, d.finish()...)
	}
	if problems.Err() != nil {
		return nil, problems
	}
	return cfg, problems
}

// ParseServer reads the section server of a pipeline.yaml, without its keys, and
// looks at nothing else of it: a program that has only the address of a running
// host to know needs neither the secrets of the host and the apps nor a file that
// is right. Server is nil where Problems.Err is not nil.
func ParseServer(file string, src []byte, opt Options) (*Server, Problems) {
	d := newDecoder(file, opt, new(usage))
	s := new(Server)
	if doc := d.parse(src); doc != nil {
		pos := d.place(doc)
		n := &node{pos: pos, from: pos, kind: mapping}
		for i := 0; i+1 < len(doc.Content) && doc.Kind == yaml.MappingNode; i += 2 {
			k := doc.Content[i]
			if k.Kind == yaml.AliasNode {
				k = k.Alias
			}
			if k.Value == "server" {
				n = (&reader{d: d}).node(withoutKeys(doc.Content[i+1]), 2)
				break
			}
		}
		d.push("server")
		serverSection().decode(d, n, s)
		d.pop()
	}
	problems := d.finish()
	if problems.Err() != nil {
		return nil, problems
	}
	return s, problems
}

// withoutKeys is the section server without the keys that seal and sign.
func withoutKeys(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return n
	}
	out := *n
	out.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i].Value; k != "key" && k != "previous_keys" {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &out
}

// decoder collects what is found on the way through one file.
type decoder struct {
	file       string
	dir        string
	unit       string    // Source.Name; "" in the root
	doc        *document // nil where the file can't be read as one
	lines      int       // how many the file has
	path       []string  // the keys down to the value that is being read
	expand     *expander
	problems   []Problem
	plugins    []pluginRef     // references that are resolved once all plugins are known
	upstreams  []upstreamRef   // the same of upstreams
	canaryRefs []canaryRef     // the apps that canaries name
	unnamed    []*Stage        // stages that get the name of their plugin
	hidden     map[*Stage]bool // stages whose name is an expanded value
	used       *usage
}

// usage is what all files together have taken of the limits so far.
type usage struct {
	values int
	text   int // bytes of scalars
	json   int // bytes of plugin configs
}

func newDecoder(file string, opt Options, used *usage) *decoder {
	return &decoder{file: file, dir: filepath.Dir(file), expand: newExpander(file, opt), hidden: map[*Stage]bool{}, used: used}
}

// pluginRef is a plugin's name where one is used.
type pluginRef struct {
	node *node
	path string
	set  func(*Plugin)
}

func (d *decoder) where() string { return strings.Join(d.path, ".") }

func (d *decoder) push(name string) { d.path = append(d.path, show(name)) }

func (d *decoder) pop() { d.path = d.path[:len(d.path)-1] }

// add notes a problem of the value that is being read.
func (d *decoder) add(pos Pos, text, advice string) {
	if w := d.where(); w != "" {
		text = w + ": " + text
	}
	d.addAt(pos, text, advice)
}

// addAt notes a problem whose text says by itself what it is about.
func (d *decoder) addAt(pos Pos, text, advice string) {
	d.problems = append(d.problems, Problem{Pos: pos, Text: text, Advice: advice})
}

// warn notes something that is not wrong in itself.
func (d *decoder) warn(pos Pos, text, advice string) {
	d.problems = append(d.problems, Problem{Pos: pos, Warning: true, Text: text, Advice: advice})
}

// finish returns the problems sorted by place, each once, and bounded.
func (d *decoder) finish() Problems {
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col))
	})
	seen := make(map[Problem]bool, len(d.problems))
	all := slices.DeleteFunc(d.problems, func(p Problem) bool {
		double := seen[p]
		seen[p] = true
		return double
	})
	if len(all) <= MaxProblems {
		return all
	}
	shown, rest := all[:MaxProblems:MaxProblems], all[MaxProblems:]
	return append(shown, Problem{
		Pos:     Pos{File: d.file},
		Warning: Problems(rest).Err() == nil,
		Text:    fmt.Sprintf("and %d more", len(rest)),
	})
}

// relative returns path as seen from the working directory; in the file it is
// written as seen from the file's folder.
func (d *decoder) relative(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.dir, path)
}
