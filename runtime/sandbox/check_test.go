package sandbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weft-dev/weft/hostapi"
)

// TestCheck: what the manifest declares and asks for is granted, and told.
func TestCheck(t *testing.T) {
	s := newSandbox(t, Options{})
	for _, tc := range []struct {
		guest, manifest string
		problems, notes []string // a part of each, in order
	}{
		{guest: "empty"},
		{guest: "empty", manifest: "limits: { memory: 1MiB, timeout: 1s, fuel: 1000000000 }"},
		{
			guest: "empty", manifest: "limits: { memory: 32MiB, timeout: 90s, fuel: 1000000001 }",
			notes: []string{"needs in pipeline.yaml: limits: { memory: 32MiB, timeout: 1m30s, fuel: 1000000001 }"},
		},
		{
			guest: "ungranted-import", manifest: "capabilities: { state: { why: \"counts\\e[0m\" } }\nlimits: { timeout: 3s }",
			notes: []string{"needs in pipeline.yaml: grants: { state: true }, limits: { timeout: 3s }"},
		},
		{
			guest: "empty", manifest: "capabilities: { state: { why: a, optional: true }, send: { why: b, optional: true } }",
			notes: []string{
				"this host doesn't offer the capability send, which is optional: calls answer DENIED",
				"may have in pipeline.yaml: grants: { state: true }; without it calls answer DENIED",
			},
		},
		{
			guest: "memory-minimum",
			notes: []string{"needs in pipeline.yaml: limits: { memory: 32MiB }", "its memory starts with 32MiB: plugin.yaml should ask for that: limits: { memory: 32MiB }"},
		},
		{
			guest: "memory-minimum", manifest: "limits: { memory: 1MiB }",
			notes: []string{"needs in pipeline.yaml: limits: { memory: 32MiB }", "plugin.yaml should ask for that: limits: { memory: 32MiB }"},
		},
		{guest: "memory-minimum", manifest: "limits: { memory: 32MiB }", notes: []string{"needs in pipeline.yaml: limits: { memory: 32MiB }"}},
		{
			guest: "ungranted-import", manifest: "capabilities: { send: { why: writes } }",
			problems: []string{"import weft.state: the manifest doesn't declare", "it needs the capability send (writes), which this host doesn't offer"},
		},
		{guest: "start-fail", problems: []string{"it did not start: weft_start refused to start: no moon tonight"}},
		{guest: "keeps-tables", notes: []string{"can't run with isolation: event, because of table.set in function 1; data.drop in function 2; global 0, which is mutable, of type v128"}},
		{guest: "empty", manifest: "capabilities: 7", problems: []string{"the manifest is not valid"}},
	} {
		t.Run(tc.guest+" with "+tc.manifest, func(t *testing.T) {
			spec := watSpec(t, tc.guest, tc.manifest)
			spec.State = stateless{}
			r, err := s.Check(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			contains := func(got, part string) bool { return strings.Contains(got, part) && !strings.Contains(got, "\x1b") }
			if !slices.EqualFunc(r.Problems, tc.problems, contains) {
				t.Errorf("problems %q, want parts of each: %q", r.Problems, tc.problems)
			}
			if !slices.EqualFunc(r.Notes, tc.notes, contains) {
				t.Errorf("notes %q, want parts of each: %q", r.Notes, tc.notes)
			}
			for _, c := range r.Capabilities {
				if strings.Contains(c.Why, "\x1b") {
					t.Errorf("capability %s: %q", c.Name, c.Why)
				}
			}
			if fine := len(tc.problems) == 0; fine != (r.Limits.Memory > 0) || len(r.Digest) != 64 {
				t.Errorf("limits %+v, digest %s", r.Limits, r.Digest)
			}
		})
	}
	if len(s.modules) > 0 {
		t.Errorf("%d plugins are left", len(s.modules))
	}
}

// stateless is granted, and never called.
type stateless struct{}

func (stateless) State(context.Context, StateCall, *hostapi.StateRequest, *hostapi.StateResponse) hostapi.Status {
	panic("state is called in a check")
}

// TestCheckFollowed loads a module under its own note's line.
func TestCheckFollowed(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "memory-minimum", "limits: { memory: 1MiB, fuel: 2000000000 }")
	r, err := s.Check(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Limits = Limits{Memory: 32 << 20, Fuel: 2_000_000_000}
	if got := load(t, s, spec).Limits(); got != r.Limits {
		t.Errorf("limits %+v, the report has %+v", got, r.Limits)
	}
}

// TestCheckUses lists what a module has and uses of the ABI, also where it is refused.
func TestCheckUses(t *testing.T) {
	s := newSandbox(t, Options{})
	r, err := s.Check(t.Context(), watSpec(t, "many-misdeeds", ""))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"weft_handle"}; !slices.Equal(r.Exports, want) || len(r.Imports) > 0 || r.Manifest == nil {
		t.Errorf("exports %q, imports %q, manifest %v", r.Exports, r.Imports, r.Manifest)
	}
	if r, err = s.Check(t.Context(), watSpec(t, "ungranted-import", "")); err != nil || !slices.Equal(r.Imports, []string{"weft.state"}) {
		t.Errorf("imports %q, %v", r.Imports, err)
	}
	if r, err = s.Check(t.Context(), Spec{Wasm: []byte("\x00asm")}); err != nil || len(r.Problems) == 0 || r.Manifest != nil {
		t.Errorf("half a header: %+v, %v", r, err)
	}
}

// TestCheckEnds: the end of ctx is no fault of the module.
func TestCheckEnds(t *testing.T) {
	s := newSandbox(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := s.Check(ctx, watSpec(t, "empty", "")); !errors.Is(err, context.Canceled) || len(r.Problems) > 0 {
		t.Errorf("problems %q, %v", r.Problems, err)
	}
}
