package server

import (
	"errors"
	"hash/maphash"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// freshTime is how long a file's time of change may stay the same while the file
// changes: its clock may be that coarse.
const freshTime = 3 * time.Second

// errOnce is for a pipe and the like when it is to be read again: that could
// wait for ever.
var errOnce = errors.New("it is not a regular file, which can't be read again: the change needs a restart")

// sources reads the files that a configuration is made of, and knows how each was
// when it was first looked at, before it was read. Many goroutines may use one.
// nil reads, too, and keeps nothing.
type sources struct {
	again bool // not for the first time: what is no regular file is refused
	seed  maphash.Seed

	mu    sync.Mutex
	files map[string]look     // by path
	globs map[string][]string // by pattern: what it matched
}

// look is a file as it was at one time.
type look struct {
	info os.FileInfo // nil: it isn't there
	hash uint64      // of its content, where known
	read bool        // hash is known
}

// newSources returns sources of nothing yet.
func newSources(again bool) *sources {
	return &sources{again: again, seed: maphash.MakeSeed(), files: map[string]look{}, globs: map[string][]string{}}
}

// stat is os.Stat.
func (s *sources) stat(path string) (os.FileInfo, error) {
	info, err := os.Stat(path)
	if s != nil {
		s.note(path, look{info: info})
	}
	return info, err
}

// readAtMost returns the file's first n bytes.
func (s *sources) readAtMost(path string, n int64) ([]byte, error) {
	if s == nil {
		return readAtMost(path, n)
	}
	info, err := s.stat(path)
	switch {
	case err != nil:
		return nil, err
	case s.again && !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: path, Err: errOnce}
	}
	content, err := readAtMost(path, n)
	s.note(path, look{info: info, hash: maphash.Bytes(s.seed, content), read: err == nil && int64(len(content)) == info.Size()})
	return content, err
}

// secretReader returns a config.Options.ReadFile that reads each file once: it may
// be a pipe, and all that it is used for has to be the same. It is for one
// goroutine.
func (s *sources) secretReader() func(path string) ([]byte, error) {
	type outcome struct {
		content []byte
		err     error
	}
	known := map[string]outcome{}
	return func(path string) ([]byte, error) {
		r, ok := known[path]
		if !ok {
			r.content, r.err = s.readAtMost(path, config.MaxExpanded+1)
			known[path] = r
		}
		return r.content, r.err
	}
}

// note keeps how a file was when it was first looked at, and its content as long
// as it is that file: what came later is a change.
func (s *sources) note(path string, l look) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, known := s.files[path]; !known || !first.read && first.same(l) {
		s.files[path] = l
	}
}

// glob is filepath.Glob.
func (s *sources) glob(pattern string) ([]string, error) {
	found, err := filepath.Glob(pattern)
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, known := s.globs[pattern]; !known {
			s.globs[pattern] = slices.Clone(found)
		}
	}
	return found, err
}

// now looks at the same files again.
func (s *sources) now(at time.Time) *sources {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := &sources{seed: s.seed, files: make(map[string]look, len(s.files)), globs: make(map[string][]string, len(s.globs))}
	for path := range s.files {
		next.files[path] = s.look(path, at)
	}
	for pattern := range s.globs {
		found, _ := filepath.Glob(pattern) // a bad pattern matches nothing
		next.globs[pattern] = found
	}
	return next
}

// look reads a file only where its time of change doesn't tell.
func (s *sources) look(path string, at time.Time) look {
	info, err := os.Stat(path)
	if err != nil {
		return look{}
	}
	l := look{info: info}
	if info.Mode().IsRegular() && info.Size() <= sandbox.MaxModule && at.Sub(info.ModTime()).Abs() < freshTime {
		content, err := readAtMost(path, info.Size()+1)
		l.hash, l.read = maphash.Bytes(s.seed, content), err == nil && int64(len(content)) == info.Size()
	}
	return l
}

// same tells whether all is as it was. Of two that know a file's content it is
// compared.
func (s *sources) same(other *sources) bool {
	return maps.EqualFunc(s.files, other.files, look.same) && maps.EqualFunc(s.globs, other.globs, slices.Equal)
}

func (l look) same(other look) bool {
	switch {
	case l.info == nil || other.info == nil:
		return l.info == other.info
	case !os.SameFile(l.info, other.info) || l.info.Mode() != other.info.Mode():
		return false
	case !l.info.Mode().IsRegular(): // reading a pipe changes its time
		return true
	}
	return l.info.Size() == other.info.Size() && l.info.ModTime().Equal(other.info.ModTime()) && (!l.read || !other.read || l.hash == other.hash)
}
