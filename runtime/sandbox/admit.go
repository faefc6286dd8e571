package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// MaxModule is the most bytes that a module may have.
const MaxModule = 32 << 20

// readModule reads what admission looks at, within the limits of the rewriter.
func readModule(wasm []byte) (*fuel.Outline, error) {
	if len(wasm) > MaxModule {
		return nil, notAccepted(fmt.Errorf("its %d bytes are over %s", len(wasm), sizeText(MaxModule)))
	}
	m, err := fuel.Read(wasm, fuel.Limits{})
	if err != nil {
		return nil, notAccepted(err)
	}
	return m, nil
}

// maxProblems is where a list that a hostile module makes long is cut.
const maxProblems = 50

// checkExports holds a module's exports against ABI 1.
func checkExports(m *fuel.Outline) []string {
	problems := checkMarker(m)
	for _, want := range guestExports() {
		e := m.Export(want.name)
		if e == nil {
			if !want.optional {
				problems = append(problems, fmt.Sprintf("export %s is missing; expected a function %s", want.name, want.sig))
			}
			continue
		}
		problems = append(problems, checkFunction(e, want.sig)...)
	}
	problems = append(problems, checkOneMemory(m)...)
	if m.Start {
		problems = append(problems, "it has a start section, which would run before the host can bound it; do that work in _initialize or weft_start")
	}
	return problems
}

func checkMarker(m *fuel.Outline) []string {
	names, known := markers(m)
	switch {
	case known:
		return checkFunction(m.Export(hostapi.ExportMarker), sig("", ""))
	case len(names) == 0:
		return []string{fmt.Sprintf("it exports no ABI marker; this host speaks %s, a function %s", hostapi.ExportMarker, sig("", ""))}
	default:
		return []string{fmt.Sprintf("it speaks %s; this host speaks %s", strings.Join(names[:min(len(names), 8)], ", "), hostapi.ExportMarker)}
	}
}

// markers gives the ABI markers among a module's exports, as `weft_abi_1`.
func markers(m *fuel.Outline) (names []string, known bool) {
	for _, e := range m.Exports {
		if strings.HasPrefix(e.Name, markerPrefix) {
			names = append(names, cleanText([]byte(e.Name)))
			known = known || e.Name == hostapi.ExportMarker
		}
	}
	return names, known
}

func checkFunction(e *fuel.Export, want signature) []string {
	if e.Kind != fuel.KindFunc {
		return []string{fmt.Sprintf("export %s is a %s; expected a function %s", e.Name, e.Kind, want)}
	}
	if got := (signature{e.Params, e.Results}); !got.equal(want) {
		return []string{fmt.Sprintf("export %s is a function %s; expected %s", e.Name, got, want)}
	}
	return nil
}

func checkOneMemory(m *fuel.Outline) []string {
	var problems []string
	if len(m.Memories) != 1 {
		problems = append(problems, fmt.Sprintf("it has %d memories of its own; expected one, exported as %s", len(m.Memories), exportMemory))
	}
	if e := m.Export(exportMemory); e == nil || e.Kind != fuel.KindMemory {
		problems = append(problems, fmt.Sprintf("its memory is not exported as %s", exportMemory))
	}
	return problems
}

// memoryStart is how many bytes the memory starts with.
func memoryStart(m *fuel.Outline) int64 {
	var n int64
	for _, pages := range m.Memories {
		n += int64(pages) * pageSize
	}
	return n
}

// checkMemory holds what the memory starts with against its limit.
func checkMemory(plugin string, m *fuel.Outline, limit int64) []string {
	need := memoryStart(m)
	if need <= limit {
		return nil
	}
	return []string{fmt.Sprintf("its memory starts with %s, over its limit of %s; to allow it, add to pipeline.yaml: plugins.%s.limits: { memory: %s }", sizeText(need), sizeText(limit), plugin, sizeText(need))}
}

// checkImports holds a module's imports against what this host has and what
// the manifest declares.
func checkImports(m *fuel.Outline, man *manifest.Manifest) []string {
	var problems []string
	known := map[string]hostModule{hostapi.Module: weftModule(), moduleWASI: wasiModule()}
	for i := range m.Imports {
		if len(problems) >= maxProblems {
			problems = append(problems, fmt.Sprintf("… and the %d imports after these were not looked at", len(m.Imports)-i))
			break
		}
		imp := &m.Imports[i]
		name := cleanText([]byte(imp.Module + "." + imp.Name))
		host := known[imp.Module]
		f := host.find(imp.Name)
		switch {
		case imp.Module == moduleFuel: // the rewriter refuses it
			continue
		case imp.Kind != fuel.KindFunc:
			problems = append(problems, fmt.Sprintf("import %s: a %s can't be imported, only the functions of %s and %s", name, imp.Kind, hostapi.Module, moduleWASI))
			continue
		case f == nil:
			problems = append(problems, fmt.Sprintf("import %s: this host has no such function; it has those of ABI 1 in module %s and WASI preview 1 in %s", name, hostapi.Module, moduleWASI))
			continue
		}
		if got := (signature{imp.Params, imp.Results}); !got.equal(f.sig) {
			problems = append(problems, fmt.Sprintf("import %s is a function %s; expected %s", name, got, f.sig))
		}
		if _, declared := man.Capabilities[f.capability]; f.capability != "" && !declared {
			problems = append(problems, fmt.Sprintf("import %s: the manifest doesn't declare the capability; add to plugin.yaml: capabilities: { %s: { why: … } }", name, f.capability))
		}
	}
	return slices.Compact(problems)
}
