package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
)

// maxProblems is where a list that a hostile module makes long is cut.
const maxProblems = 50

// checkExports holds a module's exports against ABI 1.
func checkExports(m *module) []string {
	problems := checkMarker(m)
	for _, want := range guestExports() {
		e := m.export(want.name)
		if e == nil {
			if !want.optional {
				problems = append(problems, fmt.Sprintf("export %s is missing; expected a function %s", want.name, want.sig))
			}
			continue
		}
		problems = append(problems, checkFunction(m, e, want.sig)...)
	}
	problems = append(problems, checkOneMemory(m)...)
	if m.start {
		problems = append(problems, "it has a start section, which would run before the host can bound it; do that work in _initialize or weft_start")
	}
	return problems
}

func checkMarker(m *module) []string {
	names, known := markers(m)
	switch {
	case known:
		return checkFunction(m, m.export(hostapi.ExportMarker), sig("", ""))
	case len(names) == 0:
		return []string{fmt.Sprintf("it exports no ABI marker; this host speaks %s, a function %s", hostapi.ExportMarker, sig("", ""))}
	default:
		return []string{fmt.Sprintf("it speaks %s; this host speaks %s", strings.Join(names[:min(len(names), 8)], ", "), hostapi.ExportMarker)}
	}
}

func checkFunction(m *module, e *moduleExport, want signature) []string {
	if e.kind != kindFunc {
		return []string{fmt.Sprintf("export %s is a %s; expected a function %s", e.name, e.kind, want)}
	}
	got, ok := m.funcType(e.index)
	if !ok {
		return []string{fmt.Sprintf("export %s means function %d, which there isn't", e.name, e.index)}
	}
	if !got.equal(want) {
		return []string{fmt.Sprintf("export %s is a function %s; expected %s", e.name, got, want)}
	}
	return nil
}

func checkOneMemory(m *module) []string {
	var problems []string
	if len(m.memories) != 1 {
		problems = append(problems, fmt.Sprintf("it has %d memories of its own; expected one, exported as %s", len(m.memories), exportMemory))
	}
	if e := m.export(exportMemory); e == nil || e.kind != kindMemory {
		problems = append(problems, fmt.Sprintf("its memory is not exported as %s", exportMemory))
	}
	return problems
}

// memoryStart is how many bytes the memory starts with.
func (m *module) memoryStart() int64 {
	var n int64
	for _, pages := range m.memories {
		n += int64(pages) * pageSize
	}
	return n
}

// checkMemory holds what the memory starts with against its limit.
func checkMemory(plugin string, m *module, limit int64) []string {
	need := m.memoryStart()
	if need <= limit {
		return nil
	}
	return []string{fmt.Sprintf("its memory starts with %s, over its limit of %s; to allow it, add to pipeline.yaml: plugins.%s.limits: { memory: %s }", sizeText(need), sizeText(limit), plugin, sizeText(need))}
}

// checkImports holds a module's imports against what this host has and what
// the manifest declares.
func checkImports(m *module, man *manifest.Manifest) []string {
	var problems []string
	known := map[string]hostModule{hostapi.Module: weftModule(), moduleWASI: wasiModule()}
	for i := range m.imports {
		if len(problems) >= maxProblems {
			problems = append(problems, fmt.Sprintf("… and the %d imports after these were not looked at", len(m.imports)-i))
			break
		}
		imp := &m.imports[i]
		name := cleanText([]byte(imp.module + "." + imp.name))
		host := known[imp.module]
		f := host.find(imp.name)
		switch {
		case imp.kind != kindFunc:
			problems = append(problems, fmt.Sprintf("import %s: a %s can't be imported, only the functions of %s and %s", name, imp.kind, hostapi.Module, moduleWASI))
			continue
		case f == nil:
			problems = append(problems, fmt.Sprintf("import %s: this host has no such function; it has those of ABI 1 in module %s and WASI preview 1 in %s", name, hostapi.Module, moduleWASI))
			continue
		}
		if got, ok := m.typeAt(imp.typeIndex); !ok || !got.equal(f.sig) {
			problems = append(problems, fmt.Sprintf("import %s is a function %s; expected %s", name, got, f.sig))
		}
		if _, declared := man.Capabilities[f.capability]; f.capability != "" && !declared {
			problems = append(problems, fmt.Sprintf("import %s: the manifest doesn't declare the capability; add to plugin.yaml: capabilities: { %s: { why: … } }", name, f.capability))
		}
	}
	return slices.Compact(problems)
}

// checkGrants holds the capabilities that the manifest can't do without against
// the operator's grants.
func checkGrants(spec Spec, man *manifest.Manifest) []string {
	var problems []string
	offered := map[string]bool{}
	for _, c := range capabilities() {
		offered[c.name] = c.offered
	}
	for _, name := range slices.Sorted(maps.Keys(man.Capabilities)) {
		c := man.Capabilities[name]
		switch {
		case c.Optional:
		case !offered[name]:
			problems = append(problems, fmt.Sprintf("it needs the capability %s (%s), which this host doesn't offer", name, cleanText([]byte(c.Why))))
		case name == "state" && !spec.Grants.State:
			problems = append(problems, fmt.Sprintf("it needs the capability state (%s); to grant it, add to pipeline.yaml: plugins.%s.grants: { state: true }", cleanText([]byte(c.Why)), spec.Name))
		}
	}
	if spec.Grants.State && spec.State == nil {
		problems = append(problems, "state is granted, but the host has no store for it")
	}
	return problems
}
