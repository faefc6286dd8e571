package server

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/sandbox"
)

// PluginReport is what CheckPlugin says of a module. Its JSON is the output of
// `weft plugin check --json`: names are added to it, and none is changed. No
// list in it is nil.
type PluginReport struct {
	File         string             `json:"file"`
	OK           bool               `json:"ok"`      // there are no problems
	Name         string             `json:"name"`    // of the manifest; "" where that can't be read
	Version      string             `json:"version"` // likewise
	Digest       string             `json:"digest"`  // SHA-256 of the file, in hex
	Size         int                `json:"size"`    // bytes of the file
	Capabilities []PluginCapability `json:"capabilities"`
	Limits       PluginLimits       `json:"limits"`
	Isolation    []config.Isolation `json:"isolation"` // what it can run with
	Exports      []string           `json:"exports"`   // of ABI 1
	Imports      []string           `json:"imports"`   // of the host
	Problems     []string           `json:"problems"`  // why no host loads it
	Notes        []string           `json:"notes"`     // what pipeline.yaml needs for it, and what else there is to know
}

// PluginCapability is one that the manifest declares.
type PluginCapability struct {
	Name     string `json:"name"`
	Why      string `json:"why"`
	Optional bool   `json:"optional"`
}

// PluginLimits are the limits that a manifest can ask for, as they are when
// pipeline.yaml follows the notes; 0 where there are problems.
type PluginLimits struct {
	Memory    int64 `json:"memory"`     // bytes of one instance
	TimeoutMS int64 `json:"timeout_ms"` // of one call
	Fuel      int64 `json:"fuel"`       // instructions of one call
}

// CheckPlugin loads the module in file as a host would, without a pipeline.yaml:
// what its manifest declares and asks for counts as granted. A module that is
// wrong is in the report; an error is a file that can't be read, or ctx's end.
func CheckPlugin(ctx context.Context, file string) (*PluginReport, error) {
	wasm, advice, err := readModule(file, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, advice)
	}
	box, err := sandbox.New(ctx, sandbox.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	found, err := box.Check(ctx, sandbox.Spec{Wasm: wasm, State: noState{}})
	if errClose := box.Close(context.WithoutCancel(ctx)); err == nil {
		err = errClose
	}
	if err != nil {
		return nil, err
	}
	r := &PluginReport{
		File: file, OK: len(found.Problems) == 0, Digest: found.Digest, Size: len(wasm),
		Capabilities: []PluginCapability{}, Isolation: []config.Isolation{},
		Limits:  PluginLimits{Memory: found.Limits.Memory, TimeoutMS: found.Limits.Timeout.Milliseconds(), Fuel: found.Limits.Fuel},
		Exports: append([]string{}, found.Exports...), Imports: append([]string{}, found.Imports...),
		Problems: append([]string{}, found.Problems...), Notes: append([]string{}, found.Notes...),
	}
	if found.Manifest != nil {
		r.Name, r.Version = found.Manifest.Name, found.Manifest.Version
	}
	for _, c := range found.Capabilities {
		r.Capabilities = append(r.Capabilities, PluginCapability(c))
	}
	if r.OK {
		r.Isolation = append(r.Isolation, config.IsolationShared, config.IsolationApp)
		if len(found.CantReset) == 0 {
			r.Isolation = append(r.Isolation, config.IsolationEvent)
		}
	}
	return r, nil
}
