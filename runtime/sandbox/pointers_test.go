package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-dev/weft/hostapi"
)

// pointerPlaces are the parameters of the host calls of module weft that begin
// a range, a pointer and a length: a range outside the guest's memory ends it.
// Calls that aren't granted, and WASI, don't end it.
var pointerPlaces = map[string][]int{
	"log": {1}, "fail": {0}, "config": {0}, "reply": {0}, "annotate": {0, 2}, "response": {0}, "state": {0, 2},
}

// ranges are pointers and lengths at each boundary of a memory of a page.
var ranges = []struct {
	at, n uint32
}{
	{0, 0},
	{pageSize - 1, 0},
	{pageSize, 0},
	{pageSize + 1, 0},
	{0x80000000, 0},
	{0xffffffff, 0},
	{0, 1},
	{0, pageSize},
	{pageSize - 1, 1},
	{0, pageSize + 1},
	{0, 0xffffffff},
	{pageSize - 1, 2},
	{pageSize, 1},
	{pageSize + 1, 1},
	{0x7fffffff, 0x7fffffff},
	{0x80000000, 0x80000000},
	{0xfffffff0, 0x11},
	{0xffffffff, 1},
	{0xffffffff, 0xffffffff},
}

// pointerModule is testdata/attackers/bad-pointers.wat with these host calls.
func pointerModule(t *testing.T, calls []hostCall) []byte {
	t.Helper()
	var imports, dispatch strings.Builder
	for i, c := range calls {
		var params, args, result string
		for j, p := range c.sig.params {
			params += " " + typeName(p)
			if typeName(p) == "i32" {
				args += fmt.Sprintf(" (call $arg (i32.const %d))", j)
			} else {
				args += " (i64.const 0)"
			}
		}
		id, call := fmt.Sprintf("$f%d", i), fmt.Sprintf("(call $f%d%s)", i, args)
		if c.name == "state" && c.module == hostapi.Module {
			id, call = "$state", fmt.Sprintf("(call $state%s)", args)
		}
		if len(c.sig.results) > 0 {
			result, call = "(result "+typeName(c.sig.results[0])+")", "(drop "+call+")"
		}
		fmt.Fprintf(&imports, "(import %q %q (func %s (param%s) %s))\n", c.module, c.name, id, params, result)
		fmt.Fprintf(&dispatch, "(if (i32.eq (local.get $n) (i32.const %d)) (then %s return))\n", i, call)
	}
	text := string(readFile(t, filepath.Join("testdata", "attackers", "bad-pointers.wat")))
	text = strings.NewReplacer(";;imports", imports.String(), ";;calls", dispatch.String()).Replace(text)
	in := filepath.Join(t.TempDir(), "bad-pointers.wat")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	compileGuest(t, "wat2wasm", in, "-o", in+".wasm")
	return readFile(t, in+".wasm")
}

// hostCall is one function that a guest may import.
type hostCall struct {
	hostFunc
	module string
}

func allHostCalls() []hostCall {
	var all []hostCall
	for _, m := range []hostModule{weftModule(), wasiModule()} {
		for _, f := range m.funcs {
			all = append(all, hostCall{f, m.name})
		}
	}
	return all
}

// keptState answers with more than a guest has room for.
type keptState struct{}

func (keptState) State(_ context.Context, _ StateCall, _ *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status {
	resp.Value = []byte("kept for response")
	return hostapi.OK
}

// TestBadPointers has a guest make each host call with each range at each place
// of its parameters. What is outside its memory ends the guest, or is an error
// that it is told; the host comes to no harm, and never calls into the guest
// while that is in a host call.
func TestBadPointers(t *testing.T) {
	calls := allHostCalls()
	declared := "capabilities:\n"
	for _, c := range capabilities() {
		declared += "  " + c.name + ": { why: tries, optional: true }\n"
	}
	p := load(t, newSandbox(t, Options{}), Spec{
		Name: "bad-pointers", Wasm: withManifest(t, pointerModule(t, calls), declared), Limits: Limits{Instances: 1, Timeout: muchTime},
		Grants: Grants{State: true}, State: keptState{},
	})
	user, ended := 0, 0
	for i, c := range calls {
		for place := range max(1, len(c.sig.params)) {
			for _, r := range ranges {
				user++
				call := userCall('f', user)
				call.Event.ID = fmt.Sprintf("f%02x%x%08x%08x%012d", i, place, r.at, r.n, 0)
				_, err := handle(p, call)
				ends, want := pointsOutside(c, place, r.at, r.n), c.name+": pointer "
				if c.name == "proc_exit" {
					ends, want = true, "it ended itself with proc_exit"
				}
				if (err != nil) != ends || ends && !strings.Contains(err.Error(), want) {
					t.Errorf("%s, parameter %d: %d, %d: %v", c.name, place, r.at, r.n, err)
				}
				if err != nil {
					ended++
				}
				for range 2 { // so that the plugin isn't one that fails most of the time
					user++
					if got, err := handle(p, userCall('0', user)); err != nil || got.Outcome != hostapi.Next {
						t.Fatalf("after %s, parameter %d: %d, %d: %v, %v", c.name, place, r.at, r.n, got, err)
					}
				}
			}
		}
	}
	if s := p.Stats(); s.Instances != 1 || s.Failed["trap"] != uint64(ended) || s.Discards["trap"] != uint64(ended) {
		t.Errorf("%d calls ended, stats %+v", ended, s)
	}
	t.Logf("%d host calls, %d ways to make them, %d ended the guest", len(calls), user/3, ended)
}

// pointsOutside tells whether a host call ends the guest that makes it with at
// and n at two of its parameters, 0 elsewhere.
func pointsOutside(c hostCall, place int, at, n uint32) bool {
	params := make([]uint64, len(c.sig.params)+2)
	params[place], params[place+1] = uint64(at), uint64(n)
	return c.module == hostapi.Module && slices.ContainsFunc(pointerPlaces[c.name], func(p int) bool {
		return params[p+1] > 0 && params[p]+params[p+1] > pageSize
	})
}
