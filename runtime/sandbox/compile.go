package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/tetratelabs/wazero"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// runtimeConfig is that of every runtime, here and in the compiler's process:
// native code is found again only where both have the same.
func runtimeConfig(cache wazero.CompilationCache) wazero.RuntimeConfig {
	return wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(features).
		WithCompilationCache(cache).
		WithDebugInfoEnabled(false)
}

// prepare rewrites a module, so that it can be bounded, and has native code of
// it in the cache: a runtime of s then compiles nothing. digest is that of
// wasm. Loads of the same module at once share the work, and the result, which
// is read only. Where there are problems, there is no module.
func (s *Sandbox) prepare(ctx context.Context, wasm []byte, digest [sha256.Size]byte, opt fuel.Options) (*fuel.Module, []string) {
	key, err := cacheKey(digest, opt)
	if err != nil {
		return nil, []string{err.Error()}
	}
	m, err := s.flights.do(ctx, key, func() (*fuel.Module, error) {
		if m, ok := s.cache.get(key); ok {
			return m, nil
		}
		m, err := fuel.Rewrite(wasm, opt)
		if err != nil {
			return nil, notAccepted(err)
		}
		if err := s.compileApart(ctx, key, m); err != nil {
			return nil, err
		}
		return m, nil
	})
	if err != nil {
		return nil, []string{err.Error()}
	}
	return m, nil
}

// notAccepted says why a module is refused, safe for a log.
func notAccepted(err error) error {
	return fmt.Errorf("the module is not accepted: %s", cleanText([]byte(err.Error())))
}

// compileApart compiles a rewritten module in a process of its own and takes
// what came of it into the cache.
func (s *Sandbox) compileApart(ctx context.Context, key string, m *fuel.Module) (err error) {
	select {
	case s.compilers <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for a compiler: %w", ctx.Err())
	}
	defer func() { <-s.compilers }()
	defer func() {
		if lacksRoom(err) {
			err = fmt.Errorf("%w: make room on the disk of %s: about eight times the module's size", err, s.cache.root)
		}
	}()
	if err := s.cache.restore(); err != nil {
		return fmt.Errorf("the compile cache can't be written: %w", err)
	}
	dir, err := os.MkdirTemp(s.cache.dir, tmpPrefix)
	if err != nil {
		return fmt.Errorf("the compile cache can't be written: %w", err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			s.opt.Logger.Warn("compile cache: remove a compiler's folder", slog.Any("error", err))
		}
	}()
	if err := s.runCompiler(ctx, dir, m.Wasm); err != nil {
		return err
	}
	if err := s.cache.put(key, m, dir); err != nil {
		return fmt.Errorf("the compile cache can't be written: %w", err)
	}
	return nil
}

// lacksRoom tells whether a full disk is the reason. What a compiler's process
// reports is a text.
func lacksRoom(err error) bool {
	if err == nil {
		return false
	}
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}

// compileInto writes native code of a module into dir, in the form of wazero's
// cache. A panic of wazero's compiler, which a module from a stranger may set
// off, is an error.
func compileInto(ctx context.Context, dir string, wasm []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the compiler panicked: %v", v)
		}
	}()
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return err
	}
	r := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(cache))
	_, err = r.CompileModule(ctx, wasm)
	return errors.Join(err, r.Close(ctx), cache.Close(ctx))
}
