// Package sandbox runs plugins: WebAssembly modules that come from strangers.
// It checks a module before its first event, keeps a bounded pool of instances
// of it, gives it the host calls of ABI 1 and WASI, and ends what goes wrong.
//
// It knows no store, no gateway and no WeChat: what a host call needs comes
// through a small interface, such as State, that its caller supplies. It is the
// only importer of wazero.
package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// Options are the surroundings of a Sandbox. The zero value works.
type Options struct {
	// CacheDir keeps compiled modules between starts. Its entries are native
	// code that the host runs, so it is made, or set to, mode 0700. Several
	// hosts and commands of one user may have the same. Empty, or not to be used:
	// a temporary folder, which Close removes.
	CacheDir string
	// Compiler is the command that compiles modules, in a process of its own:
	// the program, as a path, and its arguments. It must call Compile, and be
	// built as this program is. Empty: this program with the argument compile.
	Compiler []string
	// Logger takes the plugins' log lines and the sandbox's own; nil: none.
	Logger *slog.Logger
	// Now is the clock that guests see, their monotonic one counts from New by
	// it; nil: time.Now. Another one must not go back, and may stand still: what an
	// instance has slept is added to it. It is used by many goroutines at once.
	// Time limits use the real clock.
	Now func() time.Time
	// Rand is what random_get reads; used by many goroutines at once; nil:
	// crypto/rand.
	Rand io.Reader
}

// Sandbox holds what all plugins of a host share: the cache of compiled
// modules. Each plugin has a wazero Runtime of its own, so that one can be
// closed, and its memory bounded, without the others.
type Sandbox struct {
	opt     Options
	started time.Time // what time limits count from
	clock0  time.Time // by Now: what the guests' monotonic clock counts from
	cache   *moduleCache
	flights flights[string, *fuel.Module] // by cache key
	loads   flights[moduleKey, struct{}]
	seed    maphash.Seed
	taking  [64]sync.Mutex // by a hash of the module: held while its code is taken from the cache
	tokens  *tokens

	compiler      []string
	compilers     chan struct{} // has an element for each that is at work
	compileTime   time.Duration // of one module
	compileMemory int64         // bytes, for one module
	compileCPU    int64         // seconds of processor time, where nobody looks at compileTime

	mu      sync.Mutex
	modules map[*loaded]struct{}  // those of which something may run; nil once closed
	live    map[moduleKey]*loaded // those that have a view
	loading int                   // calls of Load under way
	loaded  chan struct{}         // closed once there are none, after Close began
	// failures outlive the plugins: the next one of a name goes on with them.
	failures map[string]*failures // by plugin name, with asideMark of calls aside

	stopSweeps context.CancelFunc
	swept      chan struct{} // closed when the janitor has ended
}

// New returns a sandbox without plugins, which the caller closes. It fails where
// there is no temporary folder in place of a CacheDir that can't be used, and in
// a process that a sandbox started as a compiler.
func New(ctx context.Context, opt Options) (*Sandbox, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Rand == nil {
		opt.Rand = rand.Reader
	}
	if isCompiler() {
		return nil, errors.New("this process was started as a compiler: it has to call Compile")
	}
	command, err := compilerCommand(opt.Compiler)
	if err != nil {
		return nil, err
	}
	cache, err := openCache(ctx, opt.CacheDir, opt.Logger)
	if err != nil {
		return nil, fmt.Errorf("compile cache: %w", err)
	}
	cores := processors()
	s := &Sandbox{
		opt: opt, started: time.Now(), cache: cache, seed: maphash.MakeSeed(), tokens: newTokens(cores),
		compiler: command, compilers: make(chan struct{}, cores),
		compileTime: compileTime, compileMemory: compileMemory, compileCPU: int64(compileTime/time.Second) * int64(runtime.NumCPU()),
		modules: map[*loaded]struct{}{}, live: map[moduleKey]*loaded{}, failures: map[string]*failures{}, loaded: make(chan struct{}), swept: make(chan struct{}),
	}
	s.clock0 = s.now()
	ctx, s.stopSweeps = context.WithCancel(context.WithoutCancel(ctx))
	go s.janitor(ctx)
	return s, nil
}

// now is the clock that guests see.
func (s *Sandbox) now() time.Time {
	if s.opt.Now == nil {
		return time.Now()
	}
	return s.opt.Now()
}

// features are those of WebAssembly 2.0 and no other, written out so that a
// new version of wazero adds none by itself. Threads and exception handling
// are never enabled: the latter has an open use after free (wazero #2522).
const features = api.CoreFeatureMutableGlobal |
	api.CoreFeatureBulkMemoryOperations |
	api.CoreFeatureMultiValue |
	api.CoreFeatureNonTrappingFloatToIntConversion |
	api.CoreFeatureReferenceTypes |
	api.CoreFeatureSignExtensionOps |
	api.CoreFeatureSIMD

// newRuntime returns the runtime of one plugin, with the host's modules in it.
func (s *Sandbox) newRuntime(ctx context.Context) (wazero.Runtime, error) {
	r := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(s.cache.wazero))
	refuel := r.NewHostModuleBuilder(moduleFuel).NewFunctionBuilder().WithGoModuleFunction(fuelCall{}, nil, nil).Export(nameRefuel)
	if _, err := refuel.Instantiate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("host module %s: %w", moduleFuel, err), r.Close(ctx))
	}
	for _, m := range []hostModule{weftModule(), wasiModule()} {
		b := r.NewHostModuleBuilder(m.name)
		for _, f := range m.funcs {
			b = b.NewFunctionBuilder().WithGoModuleFunction(f.call, f.sig.params, f.sig.results).Export(f.name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("host module %s: %w", m.name, err), r.Close(ctx))
		}
	}
	return r, nil
}

// begin lets a load in, where the sandbox isn't closed; end must follow.
func (s *Sandbox) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.modules == nil {
		return fmt.Errorf("sandbox: %w", ErrClosed)
	}
	s.loading++
	return nil
}

func (s *Sandbox) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loading--
	if s.modules == nil && s.loading == 0 {
		close(s.loaded)
	}
}

// add gives the first view of a module that is ready.
func (s *Sandbox) add(l *loaded) (*Plugin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.modules == nil {
		return nil, fmt.Errorf("sandbox: %w", ErrClosed)
	}
	p := &Plugin{loaded: l}
	l.views = map[*Plugin]struct{}{p: {}}
	s.modules[l], s.live[l.key] = struct{}{}, l
	return p, nil
}

// join gives one more view of a module, nil where none is ready.
func (s *Sandbox) join(key moduleKey) *Plugin {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[key]
	if l == nil || s.modules == nil {
		return nil
	}
	p := &Plugin{loaded: l}
	l.views[p] = struct{}{}
	return p
}

// leave takes a view from its module; true where it was the last one.
func (s *Sandbox) leave(p *Plugin) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(p.views, p)
	if len(p.views) > 0 {
		return false
	}
	delete(s.live, p.key)
	return true
}

// asideMark follows the name of a plugin where the failures of its calls aside
// are kept. No name has a blank.
const asideMark = " aside"

// failuresOf gives the failure policy of the plugins of a name.
func (s *Sandbox) failuresOf(name string, log *slog.Logger) *failures {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures[name] == nil {
		s.failures[name] = newFailures(log)
	}
	return s.failures[name]
}

func (s *Sandbox) remove(l *loaded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.modules, l)
}

// Close lets no new load and no new call in, closes all plugins as Plugin.Close
// does, waits for loads and calls under way, also those of plugins that somebody
// else is closing, and closes the cache. Where ctx ends first, the cache stays
// for those who use it. A second Close does nothing.
func (s *Sandbox) Close(ctx context.Context) error {
	s.mu.Lock()
	modules := s.modules
	s.modules = nil
	if modules != nil && s.loading == 0 {
		close(s.loaded)
	}
	s.mu.Unlock()
	if modules == nil {
		return nil
	}
	s.stopSweeps()
	<-s.swept
	for l := range modules {
		l.shut(ctx)
	}
	var errs []error
	for l := range modules {
		errs = append(errs, l.wait(ctx))
	}
	select {
	case <-s.loaded:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("wait for plugins that load: %w", ctx.Err()))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.cache.close(ctx)
}
