package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/weft-dev/weft/runtime/manifest"
)

// BuildPlugin compiles the Go plugin in dir, puts its plugin.yaml into the
// module and writes DIR/NAME.wasm, NAME being the manifest's. It returns that
// path. The compiler's output goes to out.
func BuildPlugin(ctx context.Context, dir string, out io.Writer) (path string, err error) {
	yamlFile := filepath.Join(dir, "plugin.yaml")
	yaml, err := os.ReadFile(yamlFile)
	if err != nil {
		return "", fmt.Errorf("reading the manifest: %w: name the plugin's folder", err)
	}
	m, err := manifest.Parse(yamlFile, yaml)
	if err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp("", "weft-build-")
	if err != nil {
		return "", fmt.Errorf("making a folder to build in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	module := filepath.Join(tmp, "module.wasm")
	if err := compileGo(ctx, dir, module, out); err != nil {
		return "", err
	}
	code, err := os.ReadFile(module)
	if err != nil {
		return "", fmt.Errorf("reading what was compiled: %w", err)
	}
	code, err = manifest.Embed(code, yaml)
	if err != nil {
		return "", fmt.Errorf("embedding the manifest: %w", err)
	}
	target := filepath.Join(dir, m.Name+".wasm")
	return target, replaceFile(target, code)
}

// compileGo builds the package in dir as a WASI reactor. The same source gives
// the same bytes, whatever folder it is built in.
func compileGo(ctx context.Context, dir, module string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", module, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("compiling %s: %w: install Go and put it into PATH", dir, err)
	}
	if err != nil {
		return fmt.Errorf("compiling %s: %w", dir, err)
	}
	return nil
}

// replaceFile writes target in one step: a host that reads it sees the old or
// the new bytes.
func replaceFile(target string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(target), ".weft-*.wasm")
	if err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", target, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
