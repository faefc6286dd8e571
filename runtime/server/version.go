package server

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"

	"github.com/weft-dev/weft/runtime/config"
)

// version is a unit, the root file or an included one, as it was read at one time:
// its source, and the secret files that it names, which are read once. It is
// used by one goroutine at a time.
type version struct {
	unit    includedFile // of the root without a name
	src     []byte
	sum     string   // SHA-256 of src in hex
	reading *reading // that reads the secret files
	secrets map[string]secretRead
	// modules are those that an accepted root serves with: SHA-256 in hex, by
	// plugin. nil: the ones in the plugins' files.
	modules map[string]string
}

type secretRead struct {
	content []byte
	err     error
}

// reading is one look at the files of a configuration. It reads the root and each
// secret file once, which a pipe allows.
type reading struct {
	file    string
	from    *sources
	newest  *version // the root
	err     error    // why it can't be read
	secrets map[string]secretRead
}

// read begins a reading with the root file.
func read(file string, from *sources) *reading {
	r := &reading{file: file, from: from, secrets: map[string]secretRead{}}
	src, err := from.readAtMost(file, config.MaxFile+1)
	if err != nil {
		r.err = fmt.Errorf("reading the configuration: %w: name it with -c", err)
		return r
	}
	r.newest = newVersion(includedFile{file: file}, src, r)
	return r
}

// secret reads a secret file.
func (r *reading) secret(path string) secretRead {
	s, ok := r.secrets[path]
	if !ok {
		s.content, s.err = r.from.readAtMost(path, config.MaxExpanded+1)
		r.secrets[path] = s
	}
	return s
}

func newVersion(unit includedFile, src []byte, r *reading) *version {
	return &version{unit: unit, src: src, sum: digest(src), reading: r, secrets: map[string]secretRead{}}
}

// readFile is config.Options.ReadFile.
func (v *version) readFile(path string) ([]byte, error) {
	r, ok := v.secrets[path]
	if !ok {
		r = v.reading.secret(path)
		v.secrets[path] = r
	}
	return r.content, r.err
}

// options are for the root file; the included ones have readers of their own.
func (v *version) options() config.Options {
	return config.Options{Getenv: os.LookupEnv, ReadFile: v.readFile}
}

func (v *version) source() config.Source {
	return config.Source{File: v.unit.file, Name: v.unit.name, Src: v.src, ReadFile: v.readFile}
}

// same tells whether two versions of a unit that were both parsed say the same,
// modules apart.
func (v *version) same(other *version) bool {
	return other != nil && v.unit.name == other.unit.name && v.sum == other.sum && maps.EqualFunc(v.secrets, other.secrets, func(a, b secretRead) bool {
		return bytes.Equal(a.content, b.content) && (a.err == nil) == (b.err == nil)
	})
}

// moduleReader returns what reads a plugin's module for a root: its file, or what
// the root was accepted with. Many goroutines may call it.
func (u *units) moduleReader(root *version) func(p *config.Plugin) (wasm []byte, advice string, err error) {
	from := u.reading.from
	var mu sync.Mutex // of kept
	return func(p *config.Plugin) ([]byte, string, error) {
		sum, ok := root.modules[p.Name]
		wasm, advice, err := readModule(p.Source, from)
		if !ok || err == nil && digest(wasm) == sum {
			return wasm, advice, err
		}
		mu.Lock()
		defer mu.Unlock()
		wasm, errKept := u.kept.module(sum)
		if errKept == nil {
			return wasm, "", nil
		}
		if err == nil {
			err = errors.New("its file has changed")
		}
		return nil, advice, errors.Join(err, errKept)
	}
}
