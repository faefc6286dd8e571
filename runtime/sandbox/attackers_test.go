package sandbox

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// attackers are guests that misbehave for an event whose id begins with f. Each
// says how its call ends with time to spare, and with 20 million units of fuel
// where these are to end it. Those that go on without an end have to end with
// their time, too.
var attackers = []struct {
	guest   string // testdata/GUEST.wat
	endless bool
	reason  string // "" where the call ends well
	text    string // a part of the error's
}{
	// Processor time.
	{"endless", true, "fuel", "no answer within 20000000 units of fuel"},
	{"attackers/call-tree", true, "fuel", "units of fuel"},
	{"attackers/fill-loop", true, "fuel", "units of fuel"},
	{"attackers/fill-huge", true, "fuel", "units of fuel"},
	{"attackers/copy-loop", true, "fuel", "units of fuel"},
	{"attackers/copy-huge", true, "fuel", "units of fuel"},
	{"attackers/init-loop", true, "fuel", "units of fuel"},
	{"attackers/table-fill-loop", true, "fuel", "units of fuel"},
	{"attackers/table-copy-loop", true, "fuel", "units of fuel"},
	{"attackers/reference-loop", true, "fuel", "units of fuel"},
	{"attackers/forged-names", true, "fuel", "units of fuel"},
	// Memory, and tables, which can't grow.
	{"attackers/grow-loop", true, "fuel", "units of fuel"},
	{"attackers/table-grow-loop", true, "fuel", "units of fuel"},
	{"attackers/table-grow-huge", false, "", ""},
	{"attackers/references", false, "", ""},
	{"memory-trap", false, "memory", "it was refused memory over its limit of 64MiB and gave up"},
	{"memory-huge", false, "memory", "it was refused memory over its limit of 64MiB"},
	// The stack.
	{"recursion", false, "trap", "call stack"},
	{"attackers/recursion-indirect", false, "trap", "call stack"},
	{"attackers/recursion-locals", false, "trap", "call stack"},
	{"attackers/recursion-handle", false, "trap", "call stack"},
	{"attackers/forged-names-recursion", false, "trap", "call stack"},
	{"attackers/recursion-results", false, "trap", "call stack"},
	{"attackers/recursion-spills", false, "trap", "call stack"},
	{"attackers/recursion-deep", false, "", ""},
	// Host calls.
	{"attackers/flood-log", true, "trap", "more than 100000 host calls in one call"},
	{"attackers/flood-log-huge", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-annotate", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-config", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-response", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-state", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-send", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-api", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-fetch", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-clock", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-random-small", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-yield", true, "trap", "more than 100000 host calls"},
	{"attackers/flood-absent", true, "trap", "more than 100000 host calls"},
	{"bad-pointer", false, "trap", "log: pointer 65530, length 7 is outside the plugin's memory of 65536 bytes"},
	{"exit", false, "trap", "it ended itself with proc_exit(3)"},
	// Ways into the guest from inside it.
	{"attackers/reenter-table", false, "", ""},
}

// dear are attackers of which 100,000 host calls take minutes: their time ends
// them.
var dear = []string{"attackers/flood-fail", "attackers/flood-reply", "attackers/flood-random", "attackers/flood-write", "attackers/flood-write-empty", "attackers/flood-poll", "sleep"}

const (
	manyUnits  = math.MaxInt64 / 2
	muchTime   = 5 * time.Minute
	littleTime = 100 * time.Millisecond
	// attackHeap is what the host may hold of an attacker outside of its memory:
	// above all its call stack.
	attackHeap = 64 << 20
)

// TestAttackers: whatever a guest does, it is stopped, and soon; its plugin has
// the next event, its neighbour doesn't feel it, and nothing of it is left.
func TestAttackers(t *testing.T) {
	before := readResidue(t)
	t.Run("all", func(t *testing.T) {
		s := newSandbox(t, Options{})
		neighbour := load(t, s, watSpec(t, "done", ""))
		run := func(name, guest string, limits Limits, reason, text string, most time.Duration) {
			t.Run(guest[strings.LastIndexByte(guest, '/')+1:]+"/"+name, func(t *testing.T) {
				attack(t, s, attackerSpec(t, guest, limits), neighbour, reason, text, most)
			})
		}
		for _, a := range attackers {
			counted := Limits{Timeout: muchTime}
			if a.reason == "fuel" {
				counted.Fuel = 20_000_000
			}
			run("counted", a.guest, counted, a.reason, a.text, 20*time.Second)
			if a.endless {
				run("timed", a.guest, Limits{Fuel: manyUnits, HostCalls: math.MaxInt, Timeout: littleTime}, "timeout", "no answer within 100ms", 10*time.Second)
			}
		}
		for _, guest := range dear {
			run("timed", guest, Limits{Fuel: manyUnits, Timeout: littleTime}, "timeout", "no answer within 100ms", 10*time.Second)
		}
	})
	checkResidue(t, before)
}

// attack has a plugin attack, twice in a full run, and looks at what comes after. most
// bounds the processor time of an attack, forced collections beside it among
// that.
func attack(t *testing.T, s *Sandbox, spec Spec, neighbour *Plugin, reason, text string, most time.Duration) {
	p := load(t, s, spec)
	good(t, p, 0, neighbour)
	times := 1
	if os.Getenv("WEFT_BARS") != "" {
		times = 2
	}
	for i := range times {
		var err error
		took := measure(t, func() { _, err = handle(p, userCall('f', 1+i)) })
		checkEnd(t, err, reason, text)
		if took.processor > most || took.live > attackHeap {
			t.Errorf("it took %v", took)
		}
		t.Logf("%s: %s", took, firstWords(err))
		good(t, p, 10+i, neighbour)
	}
	if got := p.Stats(); got.Instances != 1 || got.Idle != 1 || got.Calls != uint64(1+2*times) || reason != "" && (got.Failed[reason] != uint64(times) || got.Discards[reason] != uint64(times)) {
		t.Errorf("stats %+v", got)
	}
	closePlugin(t, p)
}

func checkEnd(t *testing.T, err error, reason, text string) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Errorf("got %v; want an answer", err)
		}
		return
	}
	if e := callError(t, err); e.Reason() != reason || !strings.Contains(err.Error(), text) {
		t.Errorf("got %s %q; want %s %q", e.Reason(), err, reason, text)
	}
}

func firstWords(err error) string {
	if err == nil {
		return "an answer"
	}
	return err.Error()[:min(len(err.Error()), 100)]
}

// refusedAttackers never run: Load says why.
var refusedAttackers = []struct {
	guest string
	want  string // a part of each problem, a line each
}{
	{"start-section", "it has a start section"},
	{"attackers/recursion-start-section", "it has a start section"},
	{"attackers/recursion-start", "it did not start: weft_start: call stack"},
	{"start-endless", "it did not start: weft_start: no answer within "},
	{"attackers/forged-fuel-set", "global.set of global 1, which there isn't"},
	{"attackers/forged-fuel-get", "global.get of global 1, which there isn't"},
	{"attackers/forged-stack-set", "global.set of global 2, which there isn't"},
	{"attackers/forged-fuel-export", "an export of global 1, which there isn't"},
	{"attackers/forged-refuel-call", "call of function 3, which there isn't"},
	{"attackers/forged-refuel-import", "an import from module \"weft_host\", which is the host's own"},
	{"attackers/huge-locals", "a function with 10001 locals; at most 10000"},
	{"attackers/huge-parameters", "1001 values of one type; at most 1000"},
	{"attackers/huge-nesting", "blocks 10001 deep; at most 10000"},
	{"attackers/huge-functions", "100004 functions; at most 100000"},
	{"attackers/huge-body", "a function of 1050002 bytes; at most 1048576"},
	{"attackers/huge-br-table", "br_table"},
	{"attackers/huge-globals", "100001 globals; at most 10000 are"},
	{"attackers/huge-data", "100001 data segments; at most 100000"},
	{"attackers/huge-data-bytes", "bytes are over 32MiB"},
	{"attackers/huge-elements", "1000001"},
	{"attackers/huge-element-segments", "100001 element segments; at most 100000"},
	{"attackers/huge-tables", "101 tables; at most 100"},
	{"attackers/compile-bomb", "to compile, by an estimate; at most "},
	{"table-minimum", "tables that start with 100000000 elements; at most 65536 are accepted"},
	{"memory-minimum", "its memory starts with 32MiB, over its limit of 16MiB"},
}

// TestAttackersRefused: what can be seen of a module is refused before any of
// it runs, what it does as it starts ends the load.
func TestAttackersRefused(t *testing.T) {
	before := readResidue(t)
	t.Run("all", func(t *testing.T) {
		s := newSandbox(t, Options{})
		neighbour := load(t, s, watSpec(t, "done", ""))
		for _, a := range refusedAttackers {
			t.Run(a.guest[strings.LastIndexByte(a.guest, '/')+1:], func(t *testing.T) {
				spec := attackerSpec(t, a.guest, Limits{})
				spec.Limits.Memory = 16 << 20
				took := measure(t, func() { checkRefused(t, s, spec, strings.Split(a.want, "\n")) })
				if took.processor > 20*time.Second {
					t.Errorf("it took %v", took)
				}
				t.Logf("%s: %s", took, a.want)
				goodNeighbour(t, neighbour)
			})
		}
	})
	checkResidue(t, before)
}

// TestAttackersInOtherExports: what a guest does elsewhere than in weft_handle
// is bounded as well.
func TestAttackersInOtherExports(t *testing.T) {
	s := newSandbox(t, Options{})
	neighbour := load(t, s, watSpec(t, "done", ""))
	t.Run("check-endless", func(t *testing.T) {
		p, err := s.Load(context.Background(), attackerSpec(t, "attackers/check-endless", Limits{}))
		if err != nil {
			t.Fatal(err)
		}
		failed := p.SetConfigs(context.Background(), map[string]Config{"shop": {JSON: []byte("{}"), ID: 1}})
		if err := failed["shop"]; err == nil || !strings.Contains(err.Error(), "weft_check: no answer within ") {
			t.Errorf("got %v", failed)
		}
		if _, err := handle(p, textCall('0')); !errors.Is(err, ErrNoConfig) {
			t.Errorf("the next event: %v", err)
		}
		goodNeighbour(t, neighbour)
	})
	t.Run("buffer-endless", func(t *testing.T) {
		p := load(t, s, attackerSpec(t, "attackers/buffer-endless", Limits{}))
		call := userCall('0', 1)
		call.Event.Content = strings.Repeat("x", 20_000)
		_, err := handle(p, call)
		if e := callError(t, err); e.Reason() != "fuel" && e.Reason() != "timeout" || !strings.Contains(err.Error(), "weft_buffer: no answer within ") {
			t.Errorf("got %v", err)
		}
		good(t, p, 2, neighbour)
	})
	// The host makes a host call by itself, as it calls weft_handle: an event is
	// no reply, INVALID no outcome, and the config {} has two bytes.
	for guest, text := range map[string]string{"reenter-reply": "weft_handle returned 4", "reenter-export": "it gave no reason"} {
		t.Run(guest, func(t *testing.T) {
			p := load(t, s, attackerSpec(t, "attackers/"+guest, Limits{}))
			_, err := handle(p, userCall('f', 1))
			checkEnd(t, err, "error", text)
			goodNeighbour(t, neighbour)
		})
	}
}

// TestFloodPauses: a guest that makes host calls gives way to others as one
// that only computes does, also within its first slice of fuel.
func TestFloodPauses(t *testing.T) {
	var logs logLines
	s := newSandbox(t, Options{Logger: logs.logger()})
	p := load(t, s, attackerSpec(t, "attackers/flood-log", Limits{Timeout: muchTime}))
	var others line
	all := s.tokens.free
	for range all {
		s.tokens.take(&others, nil)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := p.Handle(ctx, userCall('f', 1))
	if e := callError(t, err); e.Reason() != "timeout" || !e.blameless {
		t.Errorf("without a run token: %v", err)
	}
	if n := len(logs.lines(t, "plugin log")); n == 0 || n > hostSlice/callWork {
		t.Errorf("%d host calls", n)
	}
	for range all {
		s.tokens.give()
	}
}

// TestBombInCompiler: a module that the estimate of its work lets through, as
// it might with another version of the compiler, ends its compiler's process and
// nothing else.
func TestBombInCompiler(t *testing.T) {
	s := newSandbox(t, Options{})
	neighbour := load(t, s, watSpec(t, "done", ""))
	bomb := &fuel.Module{Wasm: attackerModule(t, "attackers/compile-bomb")}
	for text, set := range map[string]func(){
		"took longer than 0.5s":  func() { s.compileTime = 500 * time.Millisecond },
		"needs more than 128MiB": func() { s.compileTime, s.compileMemory = time.Minute, 128<<20 },
	} {
		set()
		if err := s.compileApart(context.Background(), "bomb", bomb); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v; want %s", err, text)
		}
		goodNeighbour(t, neighbour)
		s.compileTime, s.compileMemory = compileTime, compileMemory
	}
}
