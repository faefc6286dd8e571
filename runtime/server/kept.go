package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/sandbox"
)

const (
	// keptName is the folder of accepted configurations in server.data.
	keptName = "accepted"
	// keptState is its file that names all others.
	keptState   = "state"
	keptVersion = 1
	maxState    = 64 << 20 // bytes of keptState
)

// Endings of what is kept by content.
const (
	keptSource = ".yaml"
	keptModule = ".wasm"
)

// blobForm is such a name, with the SHA-256 of the content.
var blobForm = regexp.MustCompile(`^[0-9a-f]{64}\.(yaml|wasm)$`)

var errDamaged = errors.New("it is damaged: its SHA-256 is another one")

// keptFolder keeps what was accepted last for the next start: sources as they
// stand in their files, secrets not expanded, and modules. Files by content are
// never changed; the state is replaced in one step, when all that it names is on
// disk. The host's user alone can read it. It is not safe for concurrent use.
type keptFolder struct {
	dir   string
	saved []byte          // the state on disk as far as it is known
	whole map[string]bool // files that were read or written in full
	from  *keptFolder     // where modules are that are not in this one yet; nil: nowhere
}

// accepted is the state of a keptFolder. Digests are SHA-256 in hex.
type accepted struct {
	Version int               `json:"version"`
	Root    string            `json:"root"`    // the file's name, without its folder
	Units   []acceptedUnit    `json:"units"`   // the root first
	Modules map[string]string `json:"modules"` // of the root, by plugin
	Configs []acceptedConfig  `json:"configs"` // of apps that serve with another one than their unit has
}

type acceptedUnit struct {
	Name   string `json:"name"` // config.Source.Name; "" for the root
	Source string `json:"source"`
}

// acceptedConfig is where the config of a plugin for an app was good: in a root
// together with a unit.
type acceptedConfig struct {
	App    string `json:"app"`
	Plugin string `json:"plugin"`
	Root   string `json:"root"`
	Unit   string `json:"unit"` // "" where the app stands in the root
	Source string `json:"source"`
}

// load returns the state, nil where nothing is kept.
func (k *keptFolder) load() (*accepted, error) {
	raw, err := k.read(keptState, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading accepted configurations: %w", err)
	}
	sum, body, _ := bytes.Cut(raw, []byte("\n"))
	if string(sum) != digest(body) {
		return nil, fmt.Errorf("reading accepted configurations: %s: %w", filepath.Join(k.dir, keptState), errDamaged)
	}
	a := new(accepted)
	if err := json.Unmarshal(body, a); err != nil {
		return nil, fmt.Errorf("reading accepted configurations: %w", err)
	}
	if a.Version != keptVersion {
		return nil, fmt.Errorf("reading accepted configurations: they are of version %d, and the host knows %d", a.Version, keptVersion)
	}
	k.saved = raw
	return a, nil
}

// source returns a kept source.
func (k *keptFolder) source(sum string) ([]byte, error) { return k.blob(sum + keptSource) }

// module returns a kept module.
func (k *keptFolder) module(sum string) ([]byte, error) {
	b, err := k.blob(sum + keptModule)
	if err != nil && k.from != nil {
		return k.from.module(sum)
	}
	return b, err
}

// takeModule returns the module that is kept under a name, from the plugin's file
// where that still has it.
func (k *keptFolder) takeModule(name, file string) ([]byte, error) {
	b, _, err := readModule(file, nil)
	if err == nil && digest(b)+keptModule == name {
		return b, nil
	}
	if k.from != nil {
		return k.from.blob(name)
	}
	return nil, errors.Join(fmt.Errorf("the module in %s has changed since it was loaded", file), err)
}

// blob reads a file by content.
func (k *keptFolder) blob(name string) ([]byte, error) {
	if !blobForm.MatchString(name) {
		return nil, fmt.Errorf("reading what was accepted: %w", errDamaged)
	}
	most := int64(config.MaxFile)
	if filepath.Ext(name) == keptModule {
		most = sandbox.MaxModule
	}
	b, err := k.read(name, most)
	if err == nil && digest(b)+filepath.Ext(name) != name {
		err = fmt.Errorf("%s: %w", filepath.Join(k.dir, name), errDamaged)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was accepted: %w", err)
	}
	k.isWhole(name)
	return b, nil
}

func (k *keptFolder) isWhole(name string) {
	if k.whole == nil {
		k.whole = map[string]bool{}
	}
	k.whole[name] = true
}

// read reads a regular file of the folder.
func (k *keptFolder) read(name string, max int64) ([]byte, error) {
	path := filepath.Join(k.dir, name)
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > max:
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	return readAtMost(path, max)
}

// save makes a the state. content gives what has a digest in it, by name; it is
// asked for what is not there yet. What a names no more is removed.
func (k *keptFolder) save(a *accepted, content func(name string) ([]byte, error)) error {
	a.Version = keptVersion
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("keeping what was accepted: %w", err)
	}
	raw := append([]byte(digest(body)+"\n"), body...)
	if bytes.Equal(raw, k.saved) {
		return nil
	}
	names := a.blobs()
	if err := k.write(raw, names, content); err != nil {
		k.saved = nil
		return fmt.Errorf("keeping what was accepted: %w", err)
	}
	k.saved = raw
	return k.sweep(names)
}

// blobs are the names of the files that the state names, sorted.
func (a *accepted) blobs() []string {
	var names []string
	for _, u := range a.Units {
		names = append(names, u.Source+keptSource)
	}
	for _, sum := range a.Modules {
		names = append(names, sum+keptModule)
	}
	for _, c := range a.Configs {
		names = append(names, c.Root+keptSource, c.Source+keptSource)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (k *keptFolder) write(raw []byte, names []string, content func(name string) ([]byte, error)) error {
	if err := errors.Join(os.MkdirAll(k.dir, 0o700), os.Chmod(k.dir, 0o700)); err != nil {
		return err
	}
	for _, name := range names {
		if k.has(name) {
			continue
		}
		b, err := content(name)
		if err != nil {
			return err
		}
		if err := k.put(name, b); err != nil {
			return err
		}
		k.isWhole(name)
	}
	if err := syncFolder(k.dir); err != nil {
		return err
	}
	if err := k.put(keptState, raw); err != nil {
		return err
	}
	return syncFolder(k.dir)
}

// has tells whether a file is there and is what its name says.
func (k *keptFolder) has(name string) bool {
	info, err := os.Lstat(filepath.Join(k.dir, name))
	if err == nil && !k.whole[name] {
		_, err = k.blob(name)
	}
	return err == nil && info.Mode().IsRegular()
}

// put writes a file in one step, and onto the disk.
func (k *keptFolder) put(name string, b []byte) error {
	f, err := os.CreateTemp(k.dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(k.dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// sweep removes what the state does not name, of files that save wrote.
func (k *keptFolder) sweep(names []string) error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return fmt.Errorf("removing what is kept no more: %w", err)
	}
	var errs []error
	for _, e := range entries {
		_, named := slices.BinarySearch(names, e.Name())
		half, _ := filepath.Match(".new-*", e.Name())
		if half || blobForm.MatchString(e.Name()) && !named {
			errs = append(errs, os.Remove(filepath.Join(k.dir, e.Name())))
			delete(k.whole, e.Name())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing what is kept no more: %w", err)
	}
	return nil
}

// syncFolder has the names in a folder on disk. Windows knows no such thing.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// digest is the SHA-256 of b in hex.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
