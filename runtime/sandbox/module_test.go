package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

func TestReadModule(t *testing.T) {
	m, err := readModule(watModule(t, "early-calls"))
	if err != nil {
		t.Fatal(err)
	}
	var imports, exports []string
	for _, i := range m.imports {
		s, _ := m.typeAt(i.typeIndex)
		imports = append(imports, fmt.Sprint(i.module, ".", i.name, " ", i.kind, " ", s))
	}
	for _, e := range m.exports {
		s, _ := m.funcType(e.index)
		exports = append(exports, fmt.Sprint(e.name, " ", e.kind, " ", s))
	}
	if want := []string{
		"weft.reply function (i32, i32) -> i32",
		"weft.annotate function (i32, i32, i32, i32) -> i32",
		"weft.config function (i32, i32) -> i32",
		"weft.response function (i32, i32) -> i32",
		"weft.state function (i32, i32, i32, i32) -> i64",
	}; !slices.Equal(imports, want) {
		t.Errorf("imports %q", imports)
	}
	if want := []string{
		"memory memory (i32, i32) -> i32", // function 0 is the first import
		"weft_abi_1 function () -> ()",
		"weft_buffer function (i32) -> i32",
		"weft_handle function (i32, i32) -> i32",
	}; !slices.Equal(exports, want) {
		t.Errorf("exports %q", exports)
	}
	if len(m.memories) != 1 || m.memories[0] != 3 || m.start {
		t.Errorf("memories %v, start %v", m.memories, m.start)
	}
}

func TestReadModuleRefuses(t *testing.T) {
	const header = "\x00asm\x01\x00\x00\x00"
	for name, tc := range map[string]struct{ wasm, want string }{
		"section over the end":  {header + "\x01\x05\x00", "section 1: it ends in the middle"},
		"endless size":          {header + "\x01\xff\xff\xff\xff\xff\xff", "section 1: a number of more than 32 bits"},
		"size of 33 bits":       {header + "\x01\xff\xff\xff\xff\x1f", "section 1: a number of more than 32 bits"},
		"count over the bytes":  {header + "\x03\x05\xff\xff\xff\xff\x0f", "section 3: it ends in the middle"},
		"a million and one":     {header + "\x03\xc4\x84\x3d\xc1\x84\x3d" + strings.Repeat("\x00", 1_000_001), "section 3: 1000001 elements; at most 1000000 are accepted"},
		"bytes left":            {header + "\x03\x02\x00\x00", "section 3: 1 bytes too many"},
		"type of the future":    {header + "\x01\x02\x01\x50", "section 1: a type of form 0x50: only functions are accepted"},
		"shared memory":         {header + "\x05\x04\x01\x03\x01\x01", "section 5: limits with flags 0x03: shared and 64-bit memories are not accepted"},
		"64-bit memory":         {header + "\x05\x03\x01\x04\x01", "section 5: limits with flags 0x04"},
		"import of a tag":       {header + "\x02\x07\x01\x01a\x01b\x04\x00", "section 2: an import of kind 0x04"},
		"name that isn't UTF-8": {header + "\x07\x05\x01\x01\xff\x00\x00", "section 7: a name that is not UTF-8"},
		"unknown type":          {header + "\x01\x05\x01\x60\x01\x64\x00", "section 1: a value of the unknown type 0x64"},
		"custom without name":   {header + "\x00\x02\x05a", "a custom section: it ends in the middle"},
		"names to come":         {header + "\x00\x0c\x04name\x01\x05\xff\xff\xff\xff\x0f", "a custom section: names of kind 1: it ends in the middle"},
		"names after names":     {header + "\x00\x0a\x04name\x00\x03\x01ab", "a custom section: names of kind 0: 1 bytes too many"},
		"imports to come":       {header + "\x02h\xf2\xf2\xf2\xf2\x00" + strings.Repeat("\x00", 99), "section 2: it ends in the middle"},
		"globals to come":       {header + "\x06\x05\xff\xff\xff\xff\x0f", "section 6: it ends in the middle"},
		"elements to come":      {header + "\x09\x08\x01\x01\x00\xff\xff\xff\xff\x0f", "section 9: it ends in the middle"},
		"elements of form 8":    {header + "\x09\x04\x01\x08\x00\x00", "section 9: elements of form 8"},
		"code to come":          {header + "\x0a\x05\xff\xff\xff\xff\x0f", "section 10: it ends in the middle"},
		"body over the end":     {header + "\x0a\x07\x01\xff\xff\xff\xff\x0f\x00", "section 10: it ends in the middle"},
		"huge locals":           {header + "\x0a\x09\x01\x07\x01\xff\xff\xff\xff\x0f\x7f", "section 10: a function with 4294967295 locals; at most 50000 are accepted"},
		"many locals":           {header + "\x0a\x8a\x04\x64" + strings.Repeat("\x05\x01\xd0\x86\x03\x7f", 100), "section 10: functions with more than 4000000 locals in all"},
		"data to come":          {header + "\x0b\x07\x01\x01\xff\xff\xff\xff\x0f", "section 11: it ends in the middle"},
		"data of form 3":        {header + "\x0b\x03\x01\x03\x00", "section 11: data of form 3"},
		"extended constants":    {header + "\x06\x0a\x01\x7f\x00\x41\x01\x41\x01\x6a\x0b\x00", "section 6: instruction 0x6a in a constant expression"},
		"large":                 {header + strings.Repeat("\x00", MaxModule), "are over 32MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readModule([]byte(tc.wasm)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSignatureString(t *testing.T) {
	s := signature{params: []api.ValueType{0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f, 0x11}, results: slices.Repeat([]api.ValueType{0x7f}, 20)}
	want := "(i32, i64, f32, f64, v128, funcref, externref, 0x11) -> (" + strings.Repeat("i32, ", 16) + "… 20 in all)"
	if s.String() != want {
		t.Errorf("got %s", s)
	}
}

// FuzzReadModule: no input makes it panic, what it lets through wazero reads
// within its means, and of what both accept they read the same imports and
// exports.
func FuzzReadModule(f *testing.F) {
	guests, err := filepath.Glob(filepath.Join("testdata", "*.wat"))
	if err != nil || len(guests) == 0 {
		f.Fatal(guests, err)
	}
	for _, g := range guests {
		f.Add(watModule(f, strings.TrimSuffix(filepath.Base(g), ".wat")))
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features))
	f.Cleanup(func() {
		if err := r.Close(ctx); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if len(wasm) > 1<<14 {
			t.Skip("large ones show nothing more")
		}
		got, err := readModule(wasm)
		if err != nil {
			return // wazero would allocate whatever a count says
		}
		want, err := compileModule(ctx, r, wasm)
		if err != nil {
			return
		}
		defer func() {
			if err := want.Close(ctx); err != nil {
				t.Error(err)
			}
		}()
		if a, b := outline(got), outlineOf(want); a != b {
			t.Errorf("read\n%s\nwazero reads\n%s", a, b)
		}
	})
}

// outline prints the functions that a module imports and exports.
func outline(m *module) string {
	var imports []string
	for _, i := range m.imports {
		if i.kind == kindFunc {
			s, _ := m.typeAt(i.typeIndex)
			imports = append(imports, fmt.Sprintf("%q.%q %s", i.module, i.name, s))
		}
	}
	var exports []string
	for _, e := range m.exports {
		if e.kind == kindFunc {
			s, _ := m.funcType(e.index)
			exports = append(exports, fmt.Sprintf("%q %s", e.name, s))
		}
	}
	slices.Sort(exports)
	return fmt.Sprint(imports, exports)
}

// outlineOf prints the same of what wazero read.
func outlineOf(m wazero.CompiledModule) string {
	var imports, exports []string
	for _, i := range m.ImportedFunctions() {
		module, name, _ := i.Import()
		imports = append(imports, fmt.Sprintf("%q.%q %s", module, name, signature{i.ParamTypes(), i.ResultTypes()}))
	}
	functions := m.ExportedFunctions()
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		exports = append(exports, fmt.Sprintf("%q %s", name, signature{functions[name].ParamTypes(), functions[name].ResultTypes()}))
	}
	slices.Sort(exports)
	return fmt.Sprint(imports, exports)
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

// TestGuestsSayWhatTheyDo: each text module begins with what it is for.
func TestGuestsSayWhatTheyDo(t *testing.T) {
	guests, err := filepath.Glob(filepath.Join("testdata", "*.wat"))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range guests {
		b, err := os.ReadFile(g)
		if err != nil || !strings.HasPrefix(string(b), ";; ") {
			t.Errorf("%s begins without a comment, %v", g, err)
		}
	}
}
