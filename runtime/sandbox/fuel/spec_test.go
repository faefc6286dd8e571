package fuel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// specCommand is a line of the specification's tests, as wast2json writes it.
type specCommand struct {
	Type     string     `json:"type"`
	Line     int        `json:"line"`
	Name     string     `json:"name"`
	Filename string     `json:"filename"`
	As       string     `json:"as"`
	Kind     string     `json:"module_type"`
	Action   specAction `json:"action"`
}

type specAction struct {
	Type   string      `json:"type"`
	Args   []specValue `json:"args"`
	Field  string      `json:"field"`
	Module string      `json:"module"`
}

type specValue struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

// bits gives a value as wazero takes it. A reference other than null can be
// any number that isn't 0.
func (v specValue) bits() []uint64 {
	if lanes, ok := v.Value.([]any); ok {
		width := 128 / len(lanes)
		var bits [2]uint64
		for i, lane := range lanes {
			bits[i*width/64] |= number(lane.(string), width) << (i * width % 64)
		}
		return bits[:]
	}
	switch text, _ := v.Value.(string); {
	case text == "" || text == "null":
		return []uint64{0}
	case strings.HasSuffix(v.Type, "ref"):
		return []uint64{number(text, 64) + 1}
	case strings.HasSuffix(v.Type, "32"):
		return []uint64{number(text, 32)}
	default:
		return []uint64{number(text, 64)}
	}
}

func number(text string, bits int) uint64 {
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		return v
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return uint64(v) << (64 - bits) >> (64 - bits)
}

// tablesGrow are the files that need table.grow to succeed, or a table with a
// maximum above its minimum.
var tablesGrow = []string{"table_grow", "table_size", "table_get", "table_set", "table_fill"}

// TestSpecification runs the WebAssembly specification's tests, as wazero
// carries them, on each module rewritten and as it came, at 50 units a slice:
// results, traps and memories are the same. Every fourth file, unless WEFT_BARS
// asks for all.
func TestSpecification(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		dir := filepath.Join(wazeroDir(t), "internal/integration_test/spectest", version, "testdata")
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || len(files) < 70 {
			t.Fatalf("%d files in %s, %v", len(files), dir, err)
		}
		var all specRun
		for i, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".json")
			if slices.Contains(tablesGrow, name) || os.Getenv("WEFT_BARS") == "" && i%4 != 0 {
				continue
			}
			t.Run(version+"/"+name, func(t *testing.T) {
				s := newSpecRun(t, dir)
				s.file(file)
				all.modules += s.modules
				all.calls += s.calls
				all.traps += s.traps
				all.refused += s.refused
				all.host.refuels += s.host.refuels
			})
		}
		t.Logf("%s: %d modules, %d calls, %d of them trapped, %d refuels; %d invalid modules refused",
			version, all.modules, all.calls, all.traps, all.host.refuels, all.refused)
	}
}

// specRun runs one file on two sides: 0 as it came, 1 rewritten.
type specRun struct {
	t                              *testing.T
	dir                            string
	host                           host
	r                              [2]wazero.Runtime
	last                           [2]api.Module
	all                            []api.Module // of side 1
	named                          map[string][2]api.Module
	modules, calls, traps, refused int
}

func newSpecRun(t *testing.T, dir string) *specRun {
	s := &specRun{t: t, dir: dir, host: host{slice: 50, left: 1 << 40}, named: map[string][2]api.Module{}}
	base := spectest(t)
	for i := range s.r {
		s.r[i] = newRuntime(t)
		if _, err := s.r[i].Instantiate(context.Background(), base); err != nil {
			t.Fatal(err)
		}
	}
	s.host.provide(t, s.r[1])
	return s
}

// spectest is the module that the specification's tests import from.
func spectest(t *testing.T) []byte {
	t.Helper()
	return readFile(t, filepath.Join(wazeroDir(t), "internal/integration_test/spectest/testdata/spectest.wasm"))
}

func (s *specRun) file(name string) {
	var suite struct{ Commands []specCommand }
	if err := json.Unmarshal(readFile(s.t, name), &suite); err != nil {
		s.t.Fatal(err)
	}
	for i := range suite.Commands {
		c := &suite.Commands[i]
		switch c.Type {
		case "module":
			as := ""
			if i+1 < len(suite.Commands) && suite.Commands[i+1].Type == "register" {
				as = suite.Commands[i+1].As
			}
			s.module(c, as)
		case "assert_return", "action", "assert_trap", "assert_exhaustion":
			if c.Action.Type == "invoke" {
				s.invoke(c)
			} else {
				s.get(c)
			}
		case "assert_invalid", "assert_malformed", "assert_unlinkable", "assert_uninstantiable":
			if c.Kind != "text" {
				s.invalid(c)
			}
		}
	}
}

func (s *specRun) errorf(c *specCommand, format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("line %d, %s: %s", c.Line, c.Type, fmt.Sprintf(format, args...))
}

func (s *specRun) module(c *specCommand, as string) {
	wasm := readFile(s.t, filepath.Join(s.dir, c.Filename))
	m, err := Rewrite(wasm, Options{Limits: Limits{TableSize: 1 << 24}})
	if err != nil {
		s.errorf(c, "%v", err)
		s.t.FailNow()
	}
	s.modules++
	for i, b := range [][]byte{wasm, m.Wasm} {
		mod, err := s.r[i].InstantiateWithConfig(context.Background(), b, wazero.NewModuleConfig().WithName(as))
		if err != nil {
			s.errorf(c, "side %d: %v", i, err)
			s.t.FailNow()
		}
		s.last[i] = mod
	}
	s.all = append(s.all, s.last[1])
	if c.Name != "" {
		s.named[c.Name] = s.last
	}
}

func (s *specRun) sides(c *specCommand) [2]api.Module {
	if c.Action.Module != "" {
		return s.named[c.Action.Module]
	}
	return s.last
}

func (s *specRun) invoke(c *specCommand) {
	s.calls++
	var args []uint64
	for _, a := range c.Action.Args {
		args = append(args, a.bits()...)
	}
	var results [2][]uint64
	var errs [2]error
	mods := s.sides(c)
	for i, mod := range mods {
		f := mod.ExportedFunction(c.Action.Field)
		results[i], errs[i] = f.Call(context.Background(), args...)
		at := 0
		for _, t := range f.Definition().ResultTypes() {
			if at < len(results[i]) && t == 0x70 && results[i][at] != 0 {
				results[i][at] = 1 // an address
			}
			at++
			if t == 0x7b {
				at++
			}
		}
	}
	if errs[0] != nil {
		// An instance that trapped is not used again but here.
		s.traps++
		for _, mod := range s.all {
			mod.ExportedGlobal("weft_stack").(api.MutableGlobal).Set(16 << 20)
		}
	}
	if c.Type == "assert_exhaustion" {
		if errs[1] == nil || !strings.Contains(errs[1].Error(), errDeep.Error()) {
			s.errorf(c, "the stack didn't end: %v", errs[1])
		}
		return
	}
	if firstLine(errs[0]) != firstLine(errs[1]) || !slices.Equal(results[0], results[1]) {
		s.errorf(c, "%s(%v): %v, %v; rewritten %v, %v", c.Action.Field, args, results[0], errs[0], results[1], errs[1])
	}
	s.compareMemories(c, mods)
	if mods[1].ExportedGlobal("weft_stack") != nil && errs[1] == nil {
		if left := mods[1].ExportedGlobal("weft_stack").Get(); left != 16<<20 {
			s.errorf(c, "%d bytes of stack afterwards", left)
		}
	}
}

func (s *specRun) compareMemories(c *specCommand, mods [2]api.Module) {
	a, b := mods[0].Memory(), mods[1].Memory()
	if reflect.ValueOf(a).IsNil() {
		return
	}
	x, _ := a.Read(0, a.Size())
	y, _ := b.Read(0, b.Size())
	if !bytes.Equal(x, y) {
		s.errorf(c, "%s: memories differ", c.Action.Field)
	}
}

func (s *specRun) get(c *specCommand) {
	mods := s.sides(c)
	a, b := mods[0].ExportedGlobal(c.Action.Field), mods[1].ExportedGlobal(c.Action.Field)
	if a.Get() != b.Get() {
		s.errorf(c, "global %s: %d, rewritten %d", c.Action.Field, a.Get(), b.Get())
	}
}

// invalid: what wazero refuses is refused by the rewriter, or by wazero once
// rewritten.
func (s *specRun) invalid(c *specCommand) {
	wasm, err := os.ReadFile(filepath.Join(s.dir, c.Filename))
	if err != nil {
		s.t.Fatal(err)
	}
	accept := func(r wazero.Runtime, b []byte) bool {
		mod, err := r.InstantiateWithConfig(context.Background(), b, wazero.NewModuleConfig().WithName(""))
		if err == nil {
			err = mod.Close(context.Background())
		}
		return err == nil
	}
	// Both, because a module that fails to start may have written to others.
	original, rewritten := accept(s.r[0], wasm), false
	m, err := Rewrite(wasm, Options{})
	if err == nil {
		rewritten = accept(s.r[1], m.Wasm)
	}
	// A table's maximum, which is another, may let modules link.
	if rewritten && !original && c.Type != "assert_unlinkable" {
		s.errorf(c, "%s is accepted once rewritten", c.Filename)
		return
	}
	s.refused++
}
