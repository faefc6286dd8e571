package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// moduleCache keeps rewritten modules and their native code in a folder that
// several hosts and commands may use at once:
//
//	CacheDir/
//	  weft-VERSION/          of one version of all that makes its content
//	    entries/KEY          a rewritten module, and what must be there with it
//	    wazero-…/NAME        native code, where wazero looks for it
//	    tmp-…/               what a compiler is writing
//
// What is in it is used only after its hash was found right; anything else is as
// if it were not there. Files come in whole, by renaming, and are never changed.
type moduleCache struct {
	root      string
	temporary bool   // root goes with the cache
	dir       string // CacheDir/weft-VERSION
	native    string // the name of wazero's folder in it
	wazero    wazero.CompilationCache
	log       *slog.Logger
	restoring sync.Mutex
}

const (
	versionPrefix = "weft-"
	entriesFolder = "entries"
	tmpPrefix     = "tmp-"
	// maxEntry is more than an entry has: the rewriter's bound of 128 MiB.
	maxEntry = 160 << 20
)

// cacheFormat is raised when the layout of the folder or of an entry changes.
const cacheFormat = 1

// nativeName is what wazero calls its files.
var nativeName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// openCache opens the cache in a folder, which it makes. Where that can't be
// used, or is "", the cache is in a temporary folder: a disk that is full, or a
// folder that another user made, costs time at the start, not the host.
func openCache(ctx context.Context, dir string, log *slog.Logger) (*moduleCache, error) {
	if dir != "" {
		c, err := openCacheIn(ctx, dir, log)
		if err == nil {
			return c, nil
		}
		advice := "let the host's user own and write it"
		if lacksRoom(err) {
			advice = "make room on its disk"
		}
		log.LogAttrs(ctx, slog.LevelWarn, "compile cache: the folder can't be used, so all plugins are compiled again: "+advice,
			slog.String("folder", dir), slog.Any("error", err))
	}
	root, err := os.MkdirTemp("", "weft-cache-")
	if err != nil {
		return nil, err
	}
	c, err := openCacheIn(ctx, root, log)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	c.temporary = true
	return c, nil
}

func openCacheIn(ctx context.Context, dir string, log *slog.Logger) (*moduleCache, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeRoot(root); err != nil {
		return nil, err
	}
	version, native, err := cacheVersion(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("try the compiler: %w", err)
	}
	c := &moduleCache{root: root, dir: filepath.Join(root, versionPrefix+version), native: native, log: log}
	if _, err := c.makeFolders(); err != nil {
		return nil, err
	}
	for _, folder := range c.folders() {
		if err := checkOurs(folder); err != nil {
			return nil, err
		}
	}
	if c.wazero, err = wazero.NewCompilationCacheWithDir(c.dir); err != nil {
		return nil, err
	}
	c.sweep(time.Now())
	return c, nil
}

// makeRoot makes the folder of a cache, or takes it where it is there.
func makeRoot(root string) error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	if err := checkOurs(root); err != nil {
		return err
	}
	if err := os.Chmod(root, 0o700); err != nil {
		return fmt.Errorf("keep other users out: %w", err)
	}
	return nil
}

// checkOurs refuses a folder of another user, who could change what is in it, or
// could not use what this process leaves there: the host's user after a command
// that an administrator ran.
func checkOurs(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if !isOurs(info) {
		return fmt.Errorf("%s is another user's", folder)
	}
	return nil
}

// cacheVersion names all that native code and rewritten modules depend on, and
// wazero's folder. It looks at what wazero calls the code of an empty module:
// that name holds wazero's version and the features of this processor.
func cacheVersion(ctx context.Context, root string) (version, native string, err error) {
	dir, err := os.MkdirTemp(root, tmpPrefix)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := compileInto(ctx, dir, []byte("\x00asm\x01\x00\x00\x00")); err != nil {
		return "", "", err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(found) != 1 {
		return "", "", fmt.Errorf("wazero wrote the files %q, want one: %w", found, err)
	}
	native = filepath.Base(filepath.Dir(found[0]))
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s %s %s %s %s", cacheFormat, fuel.Version, native, filepath.Base(found[0]), runtime.Version(), runtime.GOOS, runtime.GOARCH))
	return hex.EncodeToString(sum[:8]), native, nil
}

// makeFolders makes the folders in root; anew says that one was missing.
func (c *moduleCache) makeFolders() (anew bool, err error) {
	for _, dir := range c.folders() {
		switch err := os.Mkdir(dir, 0o700); {
		case err == nil:
			anew = true
		case !errors.Is(err, os.ErrExist):
			return anew, err
		}
	}
	return anew, nil
}

// restore makes the folders again that somebody deleted while the host runs.
// The cache is not closed.
func (c *moduleCache) restore() error {
	c.restoring.Lock()
	defer c.restoring.Unlock()
	if err := makeRoot(c.root); err != nil {
		return err
	}
	anew, err := c.makeFolders()
	if anew {
		c.log.Warn("compile cache: its folder was deleted and is made anew: what it had is compiled again", slog.String("folder", c.root))
	}
	return err
}

// folders are those in root, each before what is in it.
func (c *moduleCache) folders() []string {
	return []string{c.dir, filepath.Join(c.dir, entriesFolder), filepath.Join(c.dir, c.native)}
}

// close gives the native code in memory back. No plugin may use it any more.
func (c *moduleCache) close(ctx context.Context) error {
	err := c.wazero.Close(ctx)
	if c.temporary {
		err = errors.Join(err, os.RemoveAll(c.root))
	}
	return err
}

// cacheKey names the entry of a module.
func cacheKey(digest [sha256.Size]byte, opt fuel.Options) (string, error) {
	b, err := json.Marshal(opt)
	if err != nil {
		return "", fmt.Errorf("name its cache entry: %w", err)
	}
	h := sha256.New()
	h.Write(digest[:])
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// An entry is 32 bytes, the SHA-256 of all that follows; the length of a header,
// 4 bytes, little-endian; the header as JSON; the rewritten module.
type entryHeader struct {
	Key    string
	Module fuel.Module // without Wasm
	Native []nativeFile
}

// nativeFile is a file in wazero's folder.
type nativeFile struct {
	Name   string
	Size   int64
	SHA256 string // hex
}

const entryPrefix = sha256.Size + 4

// get gives the module of an entry, where it and its native code are there as
// they were written.
func (c *moduleCache) get(key string) (*fuel.Module, bool) {
	m, err := c.read(key)
	if err == nil {
		return m, true
	}
	if !errors.Is(err, os.ErrNotExist) {
		c.log.Warn("compile cache: an entry is not used", slog.String("entry", key), slog.Any("error", err))
	}
	return nil, false
}

func (c *moduleCache) read(key string) (*fuel.Module, error) {
	name := filepath.Join(c.dir, entriesFolder, key)
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < entryPrefix || info.Size() > maxEntry {
		return nil, fmt.Errorf("%d bytes are not the size of an entry", info.Size())
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	head, wasm, err := openEntry(key, b)
	if err != nil {
		return nil, err
	}
	for _, n := range head.Native {
		if err := c.checkNative(n); err != nil {
			return nil, fmt.Errorf("its native code: %w", err)
		}
	}
	c.used(name, info)
	m := head.Module
	m.Wasm = wasm
	return &m, nil
}

func openEntry(key string, b []byte) (*entryHeader, []byte, error) {
	if sum := sha256.Sum256(b[sha256.Size:]); !bytes.Equal(sum[:], b[:sha256.Size]) {
		return nil, nil, errors.New("its hash is wrong")
	}
	n := binary.LittleEndian.Uint32(b[sha256.Size:])
	rest := b[entryPrefix:]
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, fmt.Errorf("a header of %d bytes in %d", n, len(rest))
	}
	var head entryHeader
	if err := json.Unmarshal(rest[:n], &head); err != nil {
		return nil, nil, fmt.Errorf("its header: %w", err)
	}
	if head.Key != key {
		return nil, nil, errors.New("it is the entry of another module")
	}
	return &head, rest[n:], nil
}

func (c *moduleCache) checkNative(want nativeFile) error {
	if !nativeName.MatchString(want.Name) {
		return fmt.Errorf("%q is not a name that wazero gives", want.Name)
	}
	name := filepath.Join(c.dir, c.native, want.Name)
	got, info, err := hashFile(name)
	if err != nil {
		return err
	}
	if got != want {
		return errors.New("its size or its hash is wrong")
	}
	c.used(name, info)
	return nil
}

// hashFile says what a file holds.
func hashFile(name string) (nativeFile, os.FileInfo, error) {
	f, err := os.Open(name)
	if err != nil {
		return nativeFile{}, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nativeFile{}, nil, err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 256<<10))
	if err != nil {
		return nativeFile{}, nil, err
	}
	return nativeFile{Name: filepath.Base(name), Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, info, nil
}

// put takes the native code that a compiler left in the folder tmp into the
// cache, and writes the entry.
func (c *moduleCache) put(key string, m *fuel.Module, tmp string) error {
	if err := c.restore(); err != nil {
		return err
	}
	files, err := os.ReadDir(filepath.Join(tmp, c.native))
	if err != nil {
		return fmt.Errorf("the compiler is of another version than this program: %w", err)
	}
	head := entryHeader{Key: key, Module: *m}
	head.Module.Wasm = nil
	for _, f := range files {
		if !nativeName.MatchString(f.Name()) || !f.Type().IsRegular() {
			return fmt.Errorf("the compiler left %q, which is not native code", f.Name())
		}
		from := filepath.Join(tmp, c.native, f.Name())
		n, _, err := hashFile(from)
		if err != nil {
			return err
		}
		if err := replace(from, filepath.Join(c.dir, c.native, f.Name())); err != nil {
			return err
		}
		head.Native = append(head.Native, n)
	}
	parts, err := sealEntry(&head, m.Wasm)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(c.dir, entriesFolder, key), parts...)
}

// sealEntry gives the parts of an entry.
func sealEntry(head *entryHeader, wasm []byte) ([][]byte, error) {
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	length := binary.LittleEndian.AppendUint32(nil, uint32(len(text)))
	h := sha256.New()
	for _, part := range [][]byte{length, text, wasm} {
		h.Write(part)
	}
	return [][]byte{h.Sum(nil), length, text, wasm}, nil
}

// writeFile writes a file in one step: others see all of it or nothing.
func writeFile(name string, parts ...[]byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), tmpPrefix)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err == nil {
			_, err = f.Write(part)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = replace(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// replace renames a file, also where a folder came into its place.
func replace(from, to string) error {
	err := os.Rename(from, to)
	if err == nil {
		return nil
	}
	if errRemove := os.RemoveAll(to); errRemove != nil {
		return errors.Join(err, errRemove)
	}
	return os.Rename(from, to)
}

// Times after which the cache forgets.
const (
	// forgetTime is that of an entry that nothing used.
	forgetTime = 30 * 24 * time.Hour
	// forgetVersion is that of another version's folder: going back to it soon
	// finds it.
	forgetVersion = 7 * 24 * time.Hour
	// useTime is how fine uses are told apart.
	useTime = 24 * time.Hour
)

// used keeps a file, and the version's folder, for forgetTime from now on.
func (c *moduleCache) used(name string, info os.FileInfo) {
	now := time.Now()
	if now.Sub(info.ModTime()) < useTime {
		return
	}
	for _, path := range []string{name, c.dir} {
		if err := os.Chtimes(path, time.Time{}, now); err != nil {
			c.log.Warn("compile cache: mark an entry as used", slog.Any("error", err))
		}
	}
}

// sweep removes what nothing used for long. What it can't remove stays.
func (c *moduleCache) sweep(now time.Time) {
	if err := os.Chtimes(c.dir, time.Time{}, now); err != nil {
		c.log.Warn("compile cache: mark it as used", slog.Any("error", err))
	}
	c.sweepFolder(c.root, func(name string) time.Duration {
		switch {
		case strings.HasPrefix(name, tmpPrefix):
			return useTime
		case strings.HasPrefix(name, versionPrefix) && name != filepath.Base(c.dir):
			return forgetVersion
		}
		return 0
	}, now)
	c.sweepFolder(c.dir, func(name string) time.Duration {
		if strings.HasPrefix(name, tmpPrefix) {
			return useTime
		}
		return 0
	}, now)
	for _, folder := range []string{entriesFolder, c.native} {
		c.sweepFolder(filepath.Join(c.dir, folder), func(name string) time.Duration {
			if strings.HasPrefix(name, tmpPrefix) {
				return useTime
			}
			return forgetTime
		}, now)
	}
}

// sweepFolder removes each part of a folder that is older than keep says; 0 is
// for ever.
func (c *moduleCache) sweepFolder(dir string, keep func(name string) time.Duration, now time.Time) {
	parts, err := os.ReadDir(dir)
	if err != nil {
		c.log.Warn("compile cache: look for what is old", slog.Any("error", err))
		return
	}
	for _, part := range parts {
		limit := keep(part.Name())
		if limit == 0 {
			continue
		}
		info, err := part.Info()
		if err == nil && now.Sub(info.ModTime()) > limit {
			err = os.RemoveAll(filepath.Join(dir, part.Name()))
			c.log.Debug("compile cache: removed", slog.String("name", part.Name()))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			c.log.Warn("compile cache: remove what is old", slog.String("name", part.Name()), slog.Any("error", err))
		}
	}
}
