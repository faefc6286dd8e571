package fuel

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

func TestRead(t *testing.T) {
	m, err := Read(wat(t, `(module
		(type (func)) (import "env" "f" (func (param i32 v128) (result i64))) (import "env" "t" (table 1 funcref))
		(import "env" "g" (global (mut i32)))
		(memory 3 9) (global i64 (i64.const 1)) (func $own (param externref))
		(export "memory" (func 0)) (export "own" (func $own)) (export "" (memory 0)) (export "é" (global 1)) (export "t" (table 0))
		(func $s) (start $s))`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	imports := []Import{
		{Module: "env", Name: "f", Kind: KindFunc, Params: []byte{typeI32, typeV128}, Results: []byte{typeI64}},
		{Module: "env", Name: "t", Kind: KindTable},
		{Module: "env", Name: "g", Kind: KindGlobal},
	}
	if got, want := fmt.Sprint(placeless(m.Imports)), fmt.Sprint(imports); got != want {
		t.Errorf("imports %s, want %s", got, want)
	}
	exports := []Export{
		{Name: "memory", Kind: KindFunc, Params: []byte{typeI32, typeV128}, Results: []byte{typeI64}, index: 0}, // the import
		{Name: "own", Kind: KindFunc, Params: []byte{0x6f}, index: 1},
		{Name: "", Kind: KindMemory},
		{Name: "é", Kind: KindGlobal, index: 1},
		{Name: "t", Kind: KindTable},
	}
	if got, want := fmt.Sprint(m.Exports), fmt.Sprint(exports); got != want {
		t.Errorf("exports %s, want %s", got, want)
	}
	if !slices.Equal(m.Memories, []uint32{3}) || !m.Start {
		t.Errorf("memories %v, start %v", m.Memories, m.Start)
	}
	if e := m.Export("own"); e != &m.Exports[1] || m.Export("none") != nil {
		t.Errorf("found %v", e)
	}
}

// placeless gives imports without their place.
func placeless(imports []Import) []Import {
	imports = slices.Clone(imports)
	for i := range imports {
		imports[i].at = 0
	}
	return imports
}

// TestReadRefuses: the outline is refused, or where only the code and other
// parts that it doesn't look at are wrong, the module when it is rewritten.
func TestReadRefuses(t *testing.T) {
	const header = "\x00asm\x01\x00\x00\x00"
	const ends, over = "the module or a part of it ends in the middle", "a number of more than 32 bits"
	for name, tc := range map[string]struct{ wasm, want string }{
		"nothing":                {"", "at byte 0: not a WebAssembly module"},
		"text":                   {"(module)", "at byte 0: not a WebAssembly module"},
		"component":              {"\x00asm\x0d\x00\x01\x00", "at byte 4: not a WebAssembly core module of version 1 (version bytes 0d 00 01 00)"},
		"section over the end":   {header + "\x01\x05\x00", ends},
		"endless size":           {header + "\x01\xff\xff\xff\xff\xff\xff", over},
		"size of 33 bits":        {header + "\x01\xff\xff\xff\xff\x1f", over},
		"count over the bytes":   {header + "\x03\x05\xff\xff\xff\xff\x0f", ends},
		"bytes left":             {header + "\x01\x05\x01\x60\x00\x00\x00", "section 1 has 1 bytes too many"},
		"type of the future":     {header + "\x01\x02\x01\x50", "a type of form 0x50: only functions are accepted"},
		"unknown type":           {header + "\x01\x05\x01\x60\x01\x64\x00", "a value of the unknown type 0x64"},
		"shared memory":          {header + "\x05\x04\x01\x03\x01\x01", "limits with flags 0x03: shared and 64-bit memories are not accepted"},
		"64-bit memory":          {header + "\x05\x03\x01\x04\x01", "limits with flags 0x04"},
		"memory over 4 GiB":      {header + "\x05\x05\x01\x00\x81\x80\x04", "a memory of at least 65537 pages; at most 65536 are accepted"},
		"maximum below minimum":  {header + "\x05\x04\x01\x01\x02\x01", "a memory of at least 2 and at most 1 pages"},
		"imported memory":        {header + "\x02\x09\x01\x01a\x01b\x02\x01\x02\x01", "a memory of at least 2 and at most 1 pages"},
		"import of a tag":        {header + "\x02\x07\x01\x01a\x01b\x04\x00", "an import of the unknown kind 4"},
		"import of no type":      {header + "\x02\x07\x01\x01a\x01b\x00\x00", "type 0, which there isn't"},
		"imports to come":        {header + "\x02h\xf2\xf2\xf2\xf2\x00" + strings.Repeat("\x00", 99), ends},
		"import not UTF-8":       {header + "\x02\x07\x01\x01a\x01\xff\x00\x00", "a name that is not UTF-8"},
		"export not UTF-8":       {header + "\x07\x05\x01\x01\xff\x00\x00", "a name that is not UTF-8"},
		"export of a tag":        {header + "\x07\x05\x01\x01a\x04\x00", "an export of the unknown kind 4"},
		"export of no function":  {header + "\x07\x05\x01\x01a\x00\x00", "an export of function 0, which there isn't"},
		"export of no table":     {header + "\x07\x05\x01\x01a\x01\x00", "an export of table 0, which there isn't"},
		"export of no memory":    {header + "\x07\x05\x01\x01a\x02\x00", "an export of memory 0, which there isn't"},
		"export of no global":    {header + "\x07\x05\x01\x01a\x03\x00", "an export of global 0, which there isn't"},
		"two exports":            {header + "\x05\x03\x01\x00\x01\x07\x09\x02\x01a\x02\x00\x01a\x02\x00", `two exports of the name "a"`},
		"custom without name":    {header + "\x00\x02\x05a", ends},
		"custom not UTF-8":       {header + "\x00\x02\x01\xff", "a name that is not UTF-8"},
		"custom with nothing":    {header + "\x00\x00", ends},
		"globals to come":        {header + "\x06\x05\xff\xff\xff\xff\x0f", ends},
		"extended constants":     {header + "\x06\x0a\x01\x7f\x00\x41\x01\x41\x01\x6a\x0b\x00", "instruction i32.add in a constant expression"},
		"elements to come":       {header + "\x09\x08\x01\x01\x00\xff\xff\xff\xff\x0f", ends},
		"more segments to come":  {header + "\x09\x05\xff\xff\xff\xff\x0f", ends},
		"elements of form 8":     {header + "\x09\x04\x01\x08\x00\x00", "elements of form 8"},
		"expressions to come":    {header + "\x09\x08\x01\x05\x70\xff\xff\xff\xff\x0f", ends},
		"code to come":           {header + "\x0a\x05\xff\xff\xff\xff\x0f", ends},
		"body over the end":      {header + "\x0a\x07\x01\xff\xff\xff\xff\x0f\x00", ends},
		"declarations to come":   {header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x07\x01\x05\xff\xff\xff\xff\x0f", ends},
		"huge locals":            {header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x09\x01\x07\x01\xff\xff\xff\xff\x0f\x7f", "a function with 4294967295 locals; at most 10000 are accepted"},
		"a body without a type":  {header + "\x0a\x04\x01\x02\x00\x0b", "0 functions, but 1 bodies"},
		"data to come":           {header + "\x0b\x07\x01\x01\xff\xff\xff\xff\x0f", ends},
		"data of form 3":         {header + "\x0b\x03\x01\x03\x00", "data of form 3"},
		"number of data to come": {header + "\x0c\x05\xff\xff\xff\xff\x0f", "4294967295 data segments; at most 100000 are accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Rewrite([]byte(tc.wasm), Options{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if _, early := Read([]byte(tc.wasm), Limits{}); early != nil && early.Error() != err.Error() {
				t.Errorf("got %v, and %v at first", err, early)
			}
		})
	}
}

// TestBrokenNames: a section of names that wazero would take at its word isn't
// passed on.
func TestBrokenNames(t *testing.T) {
	for name, names := range map[string]string{
		"functions to come":      "\x01\x05\xff\xff\xff\xff\x0f",
		"module's name to come":  "\x00\x05\xff\xff\xff\xff\x0f",
		"locals to come":         "\x02\x07\x01\x00\xff\xff\xff\xff\x0f",
		"bytes after a name":     "\x00\x03\x01ab",
		"a name over its end":    "\x00\x01\x01a",
		"bytes after functions":  "\x01\x02\x00\x00",
		"half a subsection":      "\x07\x05a",
		"module's not UTF-8":     "\x00\x02\x01\xff",
		"function's not UTF-8":   "\x01\x04\x01\x00\x01\xff",
		"local's not UTF-8":      "\x02\x06\x01\x00\x01\x00\x01\xff",
		"wrong after a good one": "\x00\x02\x01a\x01\x05\xff\xff\xff\xff\x0f",
	} {
		good := bodyModule()
		broken := appendSection(bodyModule(), sectionCustom, append(appendName(nil, "name"), names...))
		if got, want := rewrite(t, broken, Options{}), rewrite(t, good, Options{}); !bytes.Equal(got, want) {
			t.Errorf("%s: % x", name, got)
		}
	}
}

// FuzzRead: no input makes it panic, what it and Rewrite let through wazero
// reads within its means, and of what all accept they read the same imports and
// exports.
func FuzzRead(f *testing.F) {
	guests, err := filepath.Glob(filepath.Join("..", "testdata", "*.wat"))
	if err != nil || len(guests) == 0 {
		f.Fatal(guests, err)
	}
	for _, g := range guests {
		f.Add(wat(f, string(readFile(f, g))))
	}
	r := newRuntimeOf(f, wazero.NewRuntimeConfigInterpreter())
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if len(wasm) > 1<<14 {
			t.Skip("large ones show nothing more")
		}
		got, err := Read(wasm, Limits{})
		m, errRewrite := Rewrite(wasm, Options{})
		if errRewrite != nil {
			return
		}
		if err != nil {
			t.Fatalf("Rewrite takes what Read refuses: %v", err)
		}
		before := allocated()
		compiled, err := r.CompileModule(context.Background(), m.Wasm)
		if n := allocated() - before; n > 1<<30 {
			t.Errorf("wazero allocates %d bytes", n)
		}
		if err != nil {
			return
		}
		if a, b := functionsOf(got), functionsOfWazero(compiled); a != b {
			t.Errorf("read\n%s\nwazero reads\n%s", a, b)
		}
		if err := compiled.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// allocated is how many bytes the process ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// functionsOf prints the functions that a module imports and exports.
func functionsOf(m *Outline) string {
	var imports, exports []string
	for _, i := range m.Imports {
		if i.Kind == KindFunc {
			imports = append(imports, fmt.Sprintf("%q.%q %x %x", i.Module, i.Name, i.Params, i.Results))
		}
	}
	for _, e := range m.Exports {
		if e.Kind == KindFunc {
			exports = append(exports, fmt.Sprintf("%q %x %x", e.Name, e.Params, e.Results))
		}
	}
	slices.Sort(exports)
	return fmt.Sprint(imports, exports)
}

// functionsOfWazero prints the same of what wazero read of the rewritten one.
func functionsOfWazero(m wazero.CompiledModule) string {
	var imports, exports []string
	for _, i := range m.ImportedFunctions() {
		if module, name, _ := i.Import(); module != "weft_host" {
			imports = append(imports, fmt.Sprintf("%q.%q %x %x", module, name, i.ParamTypes(), i.ResultTypes()))
		}
	}
	for name, f := range m.ExportedFunctions() {
		exports = append(exports, fmt.Sprintf("%q %x %x", name, f.ParamTypes(), f.ResultTypes()))
	}
	slices.Sort(exports)
	return fmt.Sprint(imports, exports)
}
