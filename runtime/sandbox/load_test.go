package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// refusals are modules that Load refuses, and what it says of each.
var refusals = []struct {
	guest    string
	manifest string
	grants   Grants
	limits   Limits
	want     []string // a part of each problem, in order
}{
	{guest: "no-marker", want: []string{"it exports no ABI marker; this host speaks weft_abi_1"}},
	{guest: "unknown-marker", want: []string{"it speaks weft_abi_2, weft_abi_9; this host speaks weft_abi_1"}},
	{guest: "marker-signature", want: []string{"export weft_abi_1 is a function (i32) -> (); expected () -> ()"}},
	{guest: "missing-export", want: []string{"export weft_handle is missing; expected a function (i32, i32) -> i32"}},
	{guest: "wrong-signature", want: []string{"export weft_handle is a function (i64, i64) -> i64; expected (i32, i32) -> i32"}},
	{guest: "export-not-function", want: []string{"export weft_buffer is a global; expected a function (i32) -> i32"}},
	{guest: "no-memory", want: []string{"it has 0 memories of its own; expected one, exported as memory", "its memory is not exported as memory"}},
	{guest: "memory-not-exported", want: []string{"its memory is not exported as memory"}},
	{guest: "imported-memory", want: []string{"it has 0 memories of its own", "import env.memory: a memory can't be imported"}},
	{guest: "memory-minimum", want: []string{"its memory starts with 32MiB, over its limit of 16MiB; to allow it, add to pipeline.yaml: plugins.memory-minimum.limits: { memory: 32MiB }"}},
	{guest: "table-minimum", want: []string{"the module is not accepted: at byte 34: tables that start with 100000000 elements; at most 65536 are accepted"}},
	{guest: "start-section", want: []string{"it has a start section"}},
	{guest: "unknown-import", want: []string{"import env.open: this host has no such function", "import weft.exec: ", "import wasi_snapshot_preview1.fork: "}},
	{guest: "import-signature", want: []string{"import weft.log is a function (i32, i32) -> (); expected (i32, i32, i32) -> ()"}},
	{guest: "ungranted-import", want: []string{"import weft.state: the manifest doesn't declare the capability; add to plugin.yaml: capabilities: { state: { why: … } }"}},
	{
		guest: "empty", manifest: "capabilities: { api: { why: labels, paths: [GET /cgi-bin/tags/get, /a/**] }, fetch: { why: asks, upstreams: { stock: counts, orders: lists } } }",
		want: []string{
			"it needs the capability api (labels); to grant it, add to pipeline.yaml: plugins.empty.grants: { api: [ \"GET /cgi-bin/tags/get\", \"/a/**\" ] }",
			"it needs the capability fetch (asks); to grant it, add to pipeline.yaml: plugins.empty.grants: { fetch: { orders: …, stock: … } }",
		},
	},
	{
		guest: "ungranted-import", manifest: "capabilities: { state: { why: counts } }",
		want: []string{"it needs the capability state (counts); to grant it, add to pipeline.yaml: plugins.ungranted-import.grants: { state: true }"},
	},
	{
		guest: "empty", manifest: "capabilities: { send: { why: writes } }",
		want: []string{"it needs the capability send (writes), which this host doesn't offer"},
	},
	{guest: "empty", grants: Grants{State: true}, want: []string{"state is granted, but the host has no store for it"}},
	{guest: "many-misdeeds", want: []string{
		"it exports no ABI marker", "export weft_buffer is missing", "export weft_handle is a function (i32) -> i32; expected (i32, i32) -> i32",
		"its memory is not exported", "it has a start section", "import env.open",
	}},
	{guest: "table-minimum", manifest: "capabilities: { send: { why: writes } }", want: []string{
		"it needs the capability send", "the module is not accepted: at byte 34: tables that start with 100000000 elements",
	}},
	{guest: "invalid-code", want: []string{"the module can't be compiled: "}},
	{guest: "start-trap", want: []string{"it did not start: _initialize: unreachable"}},
	{guest: "start-endless", want: []string{"it did not start: weft_start: no answer within 1000000000 units of fuel"}},
	{guest: "start-fail", want: []string{"it did not start: weft_start refused to start: no moon tonight"}},
	{guest: "start-exit", want: []string{"it did not start: _initialize: it ended itself with proc_exit(0)"}},
	{guest: "buffer-zero", want: []string{"it did not start: weft_buffer has no room for an event of 16384 bytes"}},
	{guest: "buffer-outside", want: []string{"it did not start: weft_buffer(16384) gave address 49153, which doesn't leave so many bytes in the memory of 65536"}},
	{guest: "buffer-high", want: []string{"it did not start: weft_buffer(16384) gave address 4294967295"}},
	{
		guest: "empty", manifest: "limits: { memory: 32MiB, timeout: 3s }",
		want: []string{
			"the manifest asks for memory: 32MiB, more than the default of 16MiB; to allow it, add to pipeline.yaml: plugins.empty.limits: { memory: 32MiB }",
			"the manifest asks for timeout: 3s, more than the default of 1s; to allow it, add to pipeline.yaml: plugins.empty.limits: { timeout: 3s }",
		},
	},
}

func TestLoadRefuses(t *testing.T) {
	s := newSandbox(t, Options{})
	neighbour := load(t, s, watSpec(t, "done", ""))
	for _, tc := range refusals {
		name := tc.guest
		if tc.manifest != "" {
			name += " with " + tc.manifest
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := watSpec(t, tc.guest, tc.manifest)
			spec.Grants, spec.Limits = tc.grants, tc.limits
			checkRefused(t, s, spec, tc.want)
			if got, err := handle(neighbour, textCall('0')); err != nil || got.Outcome != hostapi.Done {
				t.Errorf("the neighbour answers %v, %v", got, err)
			}
		})
	}
}

func checkRefused(t *testing.T, s *Sandbox, spec Spec, want []string) {
	t.Helper()
	p, err := s.Load(context.Background(), spec)
	var refused *LoadError
	if !errors.As(err, &refused) || p != nil {
		t.Fatalf("got %v, %v; want a *LoadError", p, err)
	}
	ok := slices.EqualFunc(refused.Problems, want, func(got, part string) bool { return strings.Contains(got, part) })
	if !ok {
		t.Errorf("problems:\n%s\nwant parts of each:\n%s", strings.Join(refused.Problems, "\n"), strings.Join(want, "\n"))
	}
	for _, p := range refused.Problems {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error's text lacks the problem %q: %s", p, err)
		}
	}
}

// TestManyImports: a list of problems doesn't grow with what a stranger sends.
func TestManyImports(t *testing.T) {
	m := &fuel.Outline{}
	for i := range 10_000 {
		m.Imports = append(m.Imports, fuel.Import{Module: "env", Name: fmt.Sprint("f", i)})
	}
	got := checkImports(m, &manifest.Manifest{})
	if len(got) != maxProblems+1 || got[maxProblems] != "… and the 9950 imports after these were not looked at" {
		t.Errorf("%d problems, the last %q", len(got), got[len(got)-1])
	}
}

func TestLoadRefusesModule(t *testing.T) {
	s := newSandbox(t, Options{})
	good := watModule(t, "empty")
	section := func(id byte, body ...byte) []byte {
		return append(slices.Clone(good), append([]byte{id, byte(len(body))}, body...)...)
	}
	for name, tc := range map[string]struct {
		wasm []byte
		want string
	}{
		"nothing":         {nil, "not a WebAssembly module"},
		"text":            {[]byte("(module)"), "not a WebAssembly module"},
		"component":       {[]byte("\x00asm\x0d\x00\x01\x00"), "not a WebAssembly core module of version 1 (version bytes 0d 00 01 00)"},
		"truncated":       {good[:len(good)-1], "it ends in the middle"},
		"tag section":     {section(13, 0), "section 13 is not accepted"},
		"section twice":   {section(1, 0), "section 1 is out of order or there twice"},
		"over 4 GiB":      {[]byte("\x00asm\x01\x00\x00\x00\x05\x05\x01\x00\x81\x80\x04"), "the module is not accepted: at byte 11: a memory of at least 65537 pages"},
		"no manifest":     {good, "the module has no section weft.manifest: build it with `weft plugin build`"},
		"broken manifest": {withManifest(t, good, "capabilities: 7"), "the manifest is not valid: "},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefused(t, s, Spec{Name: "it", Wasm: tc.wasm}, []string{tc.want})
		})
	}
}

// TestLimits holds whose word counts for a limit.
func TestLimits(t *testing.T) {
	s := newSandbox(t, Options{})
	with := func(change func(*Limits)) Limits {
		l := Limits{16 << 20, time.Second, 1_000_000_000, defaultInstances(), 64 << 20, 100_000, 16 << 20, 64 << 10}
		change(&l)
		return l
	}
	other := Limits{64 << 20, 2 * time.Second, 10_000_000_000, 3, 1 << 20, 10, 1 << 10, 1 << 9}
	for name, tc := range map[string]struct {
		manifest string
		operator Limits
		want     Limits
	}{
		"defaults":           {"", Limits{}, with(func(*Limits) {})},
		"manifest below":     {"limits: { memory: 1MiB, timeout: 300ms, fuel: 5000 }", Limits{}, with(func(l *Limits) { l.Memory, l.Timeout, l.Fuel = 1<<20, 300*time.Millisecond, 5000 })},
		"operator over both": {"limits: { memory: 32MiB, timeout: 3s, fuel: 9000000000 }", other, other},
		"operator below":     {"limits: { memory: 8MiB, timeout: 500ms }", Limits{Memory: 1 << 20, Timeout: 20 * time.Millisecond, Instances: 1}, with(func(l *Limits) { l.Memory, l.Timeout, l.Instances = 1<<20, 20*time.Millisecond, 1 })},
		"each by itself":     {"limits: { memory: 8MiB, timeout: 3s }", Limits{Timeout: 4 * time.Second}, with(func(l *Limits) { l.Memory, l.Timeout = 8<<20, 4*time.Second })},
	} {
		t.Run(name, func(t *testing.T) {
			spec := watSpec(t, "empty", tc.manifest)
			spec.Limits = tc.operator
			if got := load(t, s, spec).Limits(); got != tc.want {
				t.Errorf("limits %+v, want %+v", got, tc.want)
			}
		})
	}
}

// TestOptionalCapabilities: what a manifest can do without is not refused, and
// its calls answer DENIED.
func TestOptionalCapabilities(t *testing.T) {
	s := newSandbox(t, Options{})
	var declared strings.Builder
	declared.WriteString("capabilities:\n")
	for _, c := range capabilities() {
		declared.WriteString("  " + c.name + ": { why: tries, optional: true }\n")
	}
	p := load(t, s, watSpec(t, "optional-capabilities", declared.String()))
	if got, err := handle(p, textCall('0')); err != nil || got.Outcome != hostapi.Done {
		t.Errorf("got %v, %v; want done", got, err)
	}
}

func TestLoadKnowsABI(t *testing.T) {
	s := newSandbox(t, Options{})
	spec := watSpec(t, "two-markers", "")
	p := load(t, s, spec)
	if p.Manifest().Name != "guest" || p.Name() != "two-markers" || len(p.Digest()) != 64 {
		t.Errorf("name %q of manifest %q, digest %q", p.Name(), p.Manifest().Name, p.Digest())
	}
}

// TestStartOrder holds what the host calls, in which order, once an instance.
func TestStartOrder(t *testing.T) {
	var logs logLines
	s := newSandbox(t, Options{Logger: logs.logger()})
	p := load(t, s, watSpec(t, "start-order", ""))
	for range 3 {
		if _, err := handle(p, textCall('0')); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"INFO initialize", "INFO start", "INFO buffer"}
	if got := logs.texts(t); !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
}

// FuzzLoad: a module of a stranger is refused with a list of problems, or
// loaded; it never takes the host down.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"empty", "start-order", "early-calls", "many-misdeeds"} {
		f.Add(withManifest(f, watModule(f, name), ""))
	}
	s := newSandbox(f, Options{})
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if len(wasm) > 1<<14 {
			t.Skip("large ones show nothing more")
		}
		p, err := s.Load(context.Background(), Spec{Name: "it", Wasm: wasm})
		var refused *LoadError
		if err != nil && (!errors.As(err, &refused) || len(refused.Problems) == 0) || (err == nil) != (p != nil) {
			t.Errorf("got %v, %v", p, err)
		}
		if p == nil {
			return
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
