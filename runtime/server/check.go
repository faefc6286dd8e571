package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// CheckReport is what Check found.
type CheckReport struct {
	Problems config.Problems // sorted by file and place
	Ceilings []Ceiling       // of the plugins that may wait, and of the upstreams, each in the order of the file
}

// Check reads file and what it includes, loads and admits every plugin, checks every config, builds
// the pipelines and lints them. It serves, binds and dials nothing and does not
// open the store. With noEnv no variable and no secret file is read, and what
// hangs on one without a default is not checked. The error is a file that can't be
// read, or ctx's end.
func Check(ctx context.Context, file string, noEnv bool) (*CheckReport, error) {
	cfg, problems, err := readConfig(file, noEnv, nil)
	if err != nil {
		var found config.Problems
		if errors.As(err, &found) {
			return &CheckReport{Problems: found}, nil
		}
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	box, err := sandbox.New(ctx, sandbox.Options{CacheDir: existing(filepath.Join(cfg.Server.Data, "cache")), Logger: log})
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	a, err := assemble(ctx, cfg, assembleOptions{sandbox: box, upstreams: gateway.NewPool(nil, log), state: noState{}, log: log, noEnv: noEnv})
	if err != nil {
		return nil, errors.Join(err, box.Close(context.WithoutCancel(ctx)))
	}
	problems = slices.Concat(problems, a.problems, a.appProblems(), a.idleGrants(), pipeline.Lint(cfg, a.facts()))
	sortProblems(file, problems)
	report := &CheckReport{Problems: slices.Compact(problems), Ceilings: a.ceilings()}
	return report, errors.Join(a.close(ctx), box.Close(ctx))
}

// Schema returns the JSON Schema 2020-12 of pipeline.yaml, indented.
func Schema() ([]byte, error) { return config.Schema() }

// CaseSchema returns the JSON Schema 2020-12 of files of cases, indented.
func CaseSchema() ([]byte, error) { return config.CaseSchema() }

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
