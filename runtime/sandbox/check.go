package sandbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// Report is what Check says of a module. Its texts are safe for a terminal.
type Report struct {
	Manifest     *manifest.Manifest // nil where it has none that is valid
	Digest       string             // SHA-256 of the module, in hex
	Capabilities []Capability       // by name
	Limits       Limits             // it runs with these where the operator follows Notes; 0 where there are Problems
	Exports      []string           // those of ABI 1 that it has
	Imports      []string           // the host's functions that it uses, as weft.log, by name
	CantReset    []string           // why it can't run with IsolationEvent; none where it can
	Problems     []string           // why Load refuses it, whatever pipeline.yaml says; none where it doesn't
	Notes        []string           // what an operator has to do, or should know
}

// Capability is one that a plugin's manifest declares.
type Capability struct {
	Name, Why string
	Optional  bool
}

// Check loads a module as Load does, start of an instance included, and lets it
// go again. Of spec it takes Wasm and State, which is not called. What the
// manifest declares counts as granted, and what it asks for as allowed: what the
// operator has to write for that is in the report's Notes. The error is ctx's,
// or that of ending the instance.
func (s *Sandbox) Check(ctx context.Context, spec Spec) (Report, error) {
	digest := sha256.Sum256(spec.Wasm)
	r := Report{Digest: hex.EncodeToString(digest[:])}
	spec.Name, spec.Grants, spec.Limits = "NAME", Grants{}, Limits{}
	outline, err := readModule(spec.Wasm)
	if err != nil {
		outline = new(fuel.Outline) // Load says why
	}
	r.Exports, r.Imports = touches(outline)
	if man, err := readManifest(spec.Wasm); err == nil {
		r.Manifest, spec.Name = man, man.Name
		needs := []string{r.grant(&spec), r.allow(&spec, outline)}
		if needs = slices.DeleteFunc(needs, func(s string) bool { return s == "" }); len(needs) > 0 {
			r.Notes = slices.Insert(r.Notes, 0, "needs in pipeline.yaml: "+strings.Join(needs, ", "))
		}
	}
	p, err := s.Load(ctx, spec)
	if refused := (*LoadError)(nil); errors.As(err, &refused) && ctx.Err() == nil {
		r.Problems = refused.Problems
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("check a plugin: %w", cmp.Or(ctx.Err(), err))
	}
	r.Limits, r.CantReset = p.Limits(), p.module.CantReset
	if len(r.CantReset) > 0 {
		r.Notes = append(r.Notes, "can't run with isolation: event, because of "+strings.Join(r.CantReset, "; "))
	}
	return r, p.Close(ctx)
}

// grant gives what the manifest declares, and what pipeline.yaml has to say for
// that.
func (r *Report) grant(spec *Spec) string {
	offered := offeredCapabilities()
	var grants []string
	for _, name := range slices.Sorted(maps.Keys(r.Manifest.Capabilities)) {
		c := r.Manifest.Capabilities[name]
		r.Capabilities = append(r.Capabilities, Capability{Name: name, Why: cleanText([]byte(c.Why)), Optional: c.Optional})
		switch {
		case c.Optional && !offered[name]:
			r.Notes = append(r.Notes, fmt.Sprintf("this host doesn't offer the capability %s, which is optional: calls answer DENIED", name))
		case c.Optional:
			r.Notes = append(r.Notes, fmt.Sprintf("may have in pipeline.yaml: grants: { %s }; without it calls answer DENIED", grantLine(name, c)))
		case offered[name]:
			grants = append(grants, grantLine(name, c))
		}
		spec.Grants.State = spec.Grants.State || name == "state"
		spec.Grants.API = spec.Grants.API || name == "api"
		spec.Grants.Fetch = slices.AppendSeq(spec.Grants.Fetch, maps.Keys(c.Upstreams))
	}
	return inBraces("grants", grants)
}

// allow allows what the manifest asks for over the defaults, and the memory
// that the module starts with, and gives what pipeline.yaml has to say for that.
func (r *Report) allow(spec *Spec, outline *fuel.Outline) string {
	var limits []string
	asked := r.Manifest.Limits
	memory := cmp.Or(asked.Memory, defaultMemory)
	if start := memoryStart(outline); start > memory {
		r.Notes = append(r.Notes, fmt.Sprintf("its memory starts with %s: plugin.yaml should ask for that: limits: { memory: %[1]s }", sizeText(start)))
		memory = start
	}
	if memory > defaultMemory || memory != asked.Memory && asked.Memory > 0 {
		spec.Limits.Memory = memory
		limits = append(limits, "memory: "+sizeText(memory))
	}
	if asked.Timeout > defaultTimeout {
		spec.Limits.Timeout = asked.Timeout
		limits = append(limits, "timeout: "+asked.Timeout.String())
	}
	if asked.Fuel > defaultFuel {
		spec.Limits.Fuel = asked.Fuel
		limits = append(limits, "fuel: "+strconv.FormatInt(asked.Fuel, 10))
	}
	return inBraces("limits", limits)
}

func inBraces(key string, members []string) string {
	if len(members) == 0 {
		return ""
	}
	return key + ": { " + strings.Join(members, ", ") + " }"
}

// touches lists the exports of ABI 1 that a module has, and the functions of
// the host that it imports.
func touches(m *fuel.Outline) (exports, imports []string) {
	for _, name := range []string{exportMemory, hostapi.ExportMarker} {
		if m.Export(name) != nil {
			exports = append(exports, name)
		}
	}
	for _, e := range guestExports() {
		if m.Export(e.name) != nil {
			exports = append(exports, e.name)
		}
	}
	for _, host := range []hostModule{weftModule(), wasiModule()} {
		used := map[string]bool{}
		for _, imp := range m.Imports {
			if imp.Module == host.name && host.find(imp.Name) != nil {
				used[host.name+"."+imp.Name] = true
			}
		}
		imports = append(imports, slices.Sorted(maps.Keys(used))...)
	}
	return exports, imports
}
