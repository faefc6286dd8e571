package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// Check reads file, loads and admits every plugin, checks every config and
// builds the pipelines, and returns all that it found. It serves, binds and
// dials nothing and does not open the store. With noEnv no variable and no secret
// file is read, and what hangs on one without a default is not checked.
func Check(ctx context.Context, file string, noEnv bool) (config.Problems, error) {
	cfg, problems, err := readConfig(file, noEnv)
	if err != nil {
		var found config.Problems
		if errors.As(err, &found) {
			return found, nil
		}
		return nil, err
	}
	a, err := assemble(ctx, cfg, assembleOptions{
		cacheDir: existing(filepath.Join(cfg.Server.Data, "cache")),
		state:    noState{},
		log:      slog.New(slog.DiscardHandler),
		noEnv:    noEnv,
	})
	if err != nil {
		return nil, err
	}
	problems = append(problems, a.problems...)
	problems = append(problems, a.appProblems()...)
	return problems, a.close(ctx)
}

// Schema returns the JSON Schema 2020-12 of pipeline.yaml, indented.
func Schema() ([]byte, error) { return config.Schema() }

// existing returns dir where it is there, else "": check leaves nothing behind.
func existing(dir string) string {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// noState stands for the store in a check, where no event is handled.
type noState struct{}

// State answers UNAVAILABLE.
func (noState) State(context.Context, sandbox.StateCall, *hostapi.StateRequest, *hostapi.StateResponse) hostapi.Status {
	return hostapi.Unavailable
}
