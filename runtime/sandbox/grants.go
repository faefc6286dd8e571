package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/manifest"
)

// Grants are the capabilities that an operator gives a plugin. In force is what
// of them the manifest declares.
type Grants struct {
	State bool
	API   bool     // which calls of it is decided by Call.API
	Fetch []string // the plugin's names of the upstreams that it may ask
}

// grants are those in force. They are compared: modules that run with others are
// not shared.
type grants struct {
	State, API bool
	Fetch      string // names, sorted, a line each
}

// fetches tells whether an upstream is granted.
func (g grants) fetches(name string) bool {
	return slices.Contains(strings.Split(g.Fetch, "\n"), name) && name != ""
}

// waits tells whether calls of the plugin wait for others.
func (g grants) waits() bool { return g.API || g.Fetch != "" }

// cut gives what of g the manifest declares.
func (g Grants) cut(man *manifest.Manifest) grants {
	_, state := man.Capabilities["state"]
	_, api := man.Capabilities["api"]
	var names []string
	for _, name := range g.Fetch {
		if _, ok := man.Capabilities["fetch"].Upstreams[name]; ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return grants{State: g.State && state, API: g.API && api, Fetch: strings.Join(slices.Compact(names), "\n")}
}

// checkGrants holds the capabilities that the manifest can't do without against
// the operator's grants, and the grants against what there is to grant.
func checkGrants(spec Spec, man *manifest.Manifest) []string {
	var problems []string
	offered := offeredCapabilities()
	for _, name := range slices.Sorted(maps.Keys(man.Capabilities)) {
		c := man.Capabilities[name]
		switch {
		case c.Optional:
		case !offered[name]:
			problems = append(problems, fmt.Sprintf("it needs the capability %s (%s), which this host doesn't offer", name, cleanText([]byte(c.Why))))
		case !spec.Grants.enough(name, c):
			problems = append(problems, fmt.Sprintf("it needs the capability %s (%s); to grant it, add to pipeline.yaml: plugins.%s.grants: { %s }",
				name, cleanText([]byte(c.Why)), spec.Name, grantLine(name, c)))
		}
	}
	declared := man.Capabilities["fetch"].Upstreams
	for _, name := range slices.Sorted(slices.Values(spec.Grants.Fetch)) {
		if _, ok := declared[name]; !ok {
			problems = append(problems, fmt.Sprintf("plugins.%s.grants.fetch has %s, which the manifest doesn't declare; it declares %s",
				spec.Name, cleanText([]byte(name)), orNone(slices.Sorted(maps.Keys(declared)))))
		}
	}
	if spec.Grants.State && spec.State == nil {
		problems = append(problems, "state is granted, but the host has no store for it")
	}
	return problems
}

// enough tells whether a capability is granted as far as the manifest needs it.
func (g Grants) enough(name string, c manifest.Capability) bool {
	switch name {
	case "state":
		return g.State
	case "api":
		return g.API
	case "fetch":
		for upstream := range c.Upstreams {
			if !slices.Contains(g.Fetch, upstream) {
				return false
			}
		}
	}
	return true
}

// grantLine is what pipeline.yaml says to grant a capability.
func grantLine(name string, c manifest.Capability) string {
	switch name {
	case "api":
		paths := make([]string, len(c.Paths))
		for i, path := range c.Paths {
			paths[i] = `"` + path + `"`
		}
		if len(paths) == 0 {
			paths = []string{"…"}
		}
		return "api: [ " + strings.Join(paths, ", ") + " ]"
	case "fetch":
		names := slices.Sorted(maps.Keys(c.Upstreams))
		for i, name := range names {
			names[i] = name + ": …"
		}
		return "fetch: { " + strings.Join(names, ", ") + " }"
	}
	return name + ": true"
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
