package sandbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strconv"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// Spec is a plugin as pipeline.yaml has it.
type Spec struct {
	Name   string // its name there
	Wasm   []byte // the module, with its manifest in it
	Grants Grants // what the operator grants
	Limits Limits // the operator's; 0 where he says nothing
	// Isolation says what the plugin's instances serve.
	Isolation Isolation
	// State serves the host call state. Required where it is granted.
	State State
	// StateOf is the plugin whose keys it reads and writes; "": its own.
	StateOf string
}

// Limits bound a plugin. In a Spec, 0 is what the operator says nothing of: for
// memory, time and fuel the manifest's word counts then, where it is not above
// the default.
type Limits struct {
	Memory    int64         // bytes of one instance's linear memory; default 16 MiB
	Timeout   time.Duration // of one weft_handle; default 1 s
	Fuel      int64         // of one weft_handle, in units of an instruction; default 1,000 million
	Instances int           // at once, with IsolationApp in each app; default 2 for each processor, 64 with api or fetch
	State     int64         // bytes of keys and values that it keeps in an app; default hostapi.DefaultStateQuota
	HostCalls int           // that one call into a guest makes; default 100,000
	Response  int64         // bytes that the request-form calls of one event give; default 16 MiB
	Log       int64         // bytes that one call into a guest logs; default 64 KiB
}

// Defaults of Limits.
const (
	defaultMemory    = 16 << 20
	defaultTimeout   = time.Second
	defaultFuel      = 1_000_000_000
	defaultHostCalls = 100_000
	defaultResponse  = 16 << 20
	defaultLog       = 64 << 10
	// maxMemory is what a 32-bit memory can have, less a page, so that every
	// size fits in 32 bits.
	maxMemory = 4<<30 - pageSize
)

// Load checks a plugin, compiles it and starts a first instance, so that a bad
// one is refused before its first event. The error is a *LoadError, with all
// problems at once; those that need the compiled module are looked for when
// there are no others.
//
// A module that is not in the cache is compiled in a process of its own, which
// takes a second for a guest in Go, a minute at most, and ends with ctx.
//
// Where a Plugin of the same name, module, grants and limits in force, isolation,
// State and StateOf is not closed yet, the result shares its instances and its counters:
// nothing is compiled or started. So do Plugins that are loaded at once.
func (s *Sandbox) Load(ctx context.Context, spec Spec) (*Plugin, error) {
	if err := s.begin(); err != nil {
		return nil, &LoadError{Plugin: spec.Name, Problems: []string{err.Error()}, err: err}
	}
	defer s.end()
	man, limits, problems := inspect(spec, rewriting(spec.Isolation))
	if len(problems) > 0 {
		return nil, &LoadError{Plugin: spec.Name, Problems: problems}
	}
	key := moduleKey{
		name: spec.Name, digest: sha256.Sum256(spec.Wasm), grants: spec.Grants.cut(man), limits: limits,
		isolation: spec.Isolation, state: identity(spec.State), stateOf: cmp.Or(spec.StateOf, spec.Name),
	}
	p, err := s.share(ctx, key, func() (*Plugin, []string) { return s.load(ctx, key, man, spec) })
	if refused := (*LoadError)(nil); err != nil && !errors.As(err, &refused) {
		err = &LoadError{Plugin: spec.Name, Problems: []string{err.Error()}, err: err}
	}
	if err != nil {
		return nil, err
	}
	p.edition = p.failures.load(key.digest)
	return p, nil
}

// share gives a view of a module that is there, or that another is loading, and
// loads it where there is none.
func (s *Sandbox) share(ctx context.Context, key moduleKey, load func() (*Plugin, []string)) (*Plugin, error) {
	for {
		if p := s.join(key); p != nil {
			return p, nil
		}
		var mine *Plugin
		_, err := s.loads.do(ctx, key, func() (struct{}, error) {
			if mine = s.join(key); mine != nil { // it was ready just now
				return struct{}{}, nil
			}
			var problems []string
			if mine, problems = load(); len(problems) > 0 {
				return struct{}{}, &LoadError{Plugin: key.name, Problems: problems, err: ctx.Err()}
			}
			return struct{}{}, nil
		})
		if err != nil || mine != nil {
			return mine, err
		}
		// Whoever loaded it may have closed it again.
	}
}

// rewriting says how modules are rewritten.
func rewriting(isolation Isolation) fuel.Options {
	return fuel.Options{Module: moduleFuel, Name: nameRefuel, Globals: isolation == IsolationEvent}
}

// load gives the first view of a module.
func (s *Sandbox) load(ctx context.Context, key moduleKey, man *manifest.Manifest, spec Spec) (*Plugin, []string) {
	l := &loaded{
		sandbox:   s,
		key:       key,
		name:      key.name,
		manifest:  man,
		digest:    hex.EncodeToString(key.digest[:]),
		log:       s.opt.Logger.With(slog.String("plugin", key.name)),
		grants:    key.grants,
		limits:    key.limits,
		state:     spec.State,
		stateOf:   key.stateOf,
		isolation: key.isolation,
		closed:    make(chan struct{}),
	}
	l.failures = s.failuresOf(l.name, l.log)
	l.aside = s.failuresOf(l.name+asideMark, l.log.With(slog.Bool("aside", true)))
	l.pool = newPools(l.isolation, l.limits.Instances, l.newInstance)
	l.asidePool = newPools(l.isolation, max(1, l.limits.Instances/2), func(ctx context.Context) (*instance, error) {
		return l.instanceIn(ctx, &l.asideLine)
	})
	l.asidePool.lastTime = maxIdleAside
	var problems []string
	if l.module, problems = s.prepare(ctx, spec.Wasm, key.digest, rewriting(l.isolation)); len(problems) > 0 {
		return nil, problems
	}
	if problems = checkIsolation(l.name, l.isolation, l.module); len(problems) > 0 {
		return nil, problems
	}
	if err := s.compile(ctx, l); err != nil {
		return nil, []string{err.Error()}
	}
	l.life, l.kill = context.WithCancel(context.Background())
	p, err := l.warm(ctx)
	if err != nil {
		return nil, []string{err.Error()}
	}
	return p, nil
}

// inspect does what needs no compiler: it holds the module's outline and its
// manifest against ABI 1 and what the operator says. Where that finds something,
// it asks the rewriter, too, which else is asked later.
func inspect(spec Spec, opt fuel.Options) (man *manifest.Manifest, limits Limits, problems []string) {
	outline, err := readModule(spec.Wasm)
	if err != nil {
		return nil, Limits{}, []string{err.Error()}
	}
	problems = checkExports(outline)
	if man, err = readManifest(spec.Wasm); err != nil {
		problems = append(problems, err.Error())
	} else {
		problems = append(problems, checkImports(outline, man)...)
		problems = append(problems, checkGrants(spec, man)...)
		var more []string
		limits, more = decideLimits(spec, man)
		problems = append(problems, more...)
		problems = append(problems, checkMemory(spec.Name, outline, limits.Memory)...)
	}
	if len(problems) == 0 {
		return man, limits, nil
	}
	m, err := fuel.Rewrite(spec.Wasm, opt)
	if err != nil {
		return nil, Limits{}, append(problems, notAccepted(err).Error())
	}
	return nil, Limits{}, append(problems, checkIsolation(spec.Name, spec.Isolation, m)...)
}

func readManifest(wasm []byte) (*manifest.Manifest, error) {
	yaml, err := manifest.Extract(wasm)
	if errors.Is(err, manifest.ErrNoManifest) {
		return nil, fmt.Errorf("the module has no section %s: build it with `weft plugin build`, which puts plugin.yaml there", manifest.Section)
	}
	if err != nil {
		return nil, fmt.Errorf("section %s: %w", manifest.Section, err)
	}
	man, err := manifest.Parse(manifest.Section, yaml)
	if err != nil {
		return nil, fmt.Errorf("the manifest is not valid: %w", err)
	}
	return man, nil
}

// decideLimits says whose word counts for each limit.
func decideLimits(spec Spec, man *manifest.Manifest) (Limits, []string) {
	var problems []string
	l, asked := spec.Limits, man.Limits
	l.Memory = min(decide(&problems, spec.Name, "memory", l.Memory, asked.Memory, defaultMemory, sizeText), maxMemory)
	l.Timeout = decide(&problems, spec.Name, "timeout", l.Timeout, asked.Timeout, defaultTimeout, time.Duration.String)
	l.Fuel = decide(&problems, spec.Name, "fuel", l.Fuel, asked.Fuel, defaultFuel, func(n int64) string { return strconv.FormatInt(n, 10) })
	standard := defaultInstances()
	if spec.Grants.cut(man).waits() {
		standard = max(standard, outInstances)
	}
	l.Instances = cmp.Or(l.Instances, standard)
	l.State = cmp.Or(l.State, hostapi.DefaultStateQuota)
	l.HostCalls = cmp.Or(l.HostCalls, defaultHostCalls)
	l.Response = cmp.Or(l.Response, defaultResponse)
	l.Log = cmp.Or(l.Log, defaultLog)
	return l, problems
}

// decide gives one limit: the operator's where there is one, else what the
// manifest asks for, which is a problem where it is above the default.
func decide[T int64 | time.Duration](problems *[]string, plugin, key string, operator, asked, standard T, text func(T) string) T {
	switch {
	case operator > 0:
		return operator
	case asked > standard:
		*problems = append(*problems, fmt.Sprintf("the manifest asks for %s: %s, more than the default of %s; to allow it, add to pipeline.yaml: plugins.%s.limits: { %s: %s }", key, text(asked), text(standard), plugin, key, text(asked)))
	case asked > 0:
		return asked
	}
	return standard
}

// sizeText prints bytes as pipeline.yaml writes them.
func sizeText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// compile takes the native code of the module from the cache.
func (s *Sandbox) compile(ctx context.Context, l *loaded) error {
	r, err := s.newRuntime(ctx)
	if err != nil {
		return fmt.Errorf("set up its runtime: %w", err)
	}
	compiled, err := s.takeCode(ctx, r, l.module.Wasm)
	if err != nil {
		return errors.Join(fmt.Errorf("the module can't be compiled: %s", firstLine(err)), r.Close(ctx))
	}
	l.runtime, l.compiled = r, compiled
	// Without its bytes, 4 MB of a guest in Go. Another load may use the original.
	kept := *l.module
	kept.Wasm = nil
	l.module = &kept
	return nil
}

// takeCode takes the native code of a rewritten module from the cache into r. One
// call at a time does so for a module: wazero shows code that it reads from the
// cache to others before it is whole.
func (s *Sandbox) takeCode(ctx context.Context, r wazero.Runtime, wasm []byte) (wazero.CompiledModule, error) {
	one := &s.taking[maphash.Bytes(s.seed, wasm)%uint64(len(s.taking))]
	one.Lock()
	defer one.Unlock()
	return compileModule(ctx, r, wasm)
}

// compileModule turns a panic of wazero's compiler, which a module from a
// stranger may set off, into an error.
func compileModule(ctx context.Context, r wazero.Runtime, wasm []byte) (_ wazero.CompiledModule, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the compiler panicked: %v", v)
		}
	}()
	return r.CompileModule(ctx, wasm)
}

// warm starts the first instance and gives the first view; where that fails,
// nothing of l is left.
func (l *loaded) warm(ctx context.Context) (p *Plugin, err error) {
	in, err := l.pool.acquire(ctx, "")
	if err == nil {
		l.giveBack(ctx, in, "", nil)
		p, err = l.sandbox.add(l)
	}
	if err == nil {
		return p, nil
	}
	text := err.Error()
	var call *CallError
	if errors.As(err, &call) {
		text = call.text
		l.discarded(ctx, call, nil)
	}
	l.shut(ctx)
	if errClose := l.wait(ctx); errClose != nil {
		l.log.Error("close a plugin that did not load", slog.Any("error", errClose))
	}
	return nil, fmt.Errorf("it did not start: %s", text)
}
