package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// manyTypes is a guest with n types: wazero is long at what it makes for each
// when it takes the module's code from the cache.
func manyTypes(t *testing.T, n int) []byte {
	t.Helper()
	var b strings.Builder
	b.WriteString("(module\n")
	for i := range n {
		b.WriteString("(type (func (param")
		for bit := range 12 {
			b.WriteString([]string{" i32", " i64"}[i>>bit&1])
		}
		b.WriteString(")))\n")
	}
	b.WriteString(`(memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))`)
	text := filepath.Join(t.TempDir(), "types.wat")
	if err := os.WriteFile(text, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out := text + ".wasm"
	compileGuest(t, "wat2wasm", text, "-o", out)
	return withManifest(t, readFile(t, out), "")
}

// TestSameModuleAtOnce: plugins of the same module load side by side, with an
// empty cache and with a full one.
func TestSameModuleAtOnce(t *testing.T) {
	wasm, dir := manyTypes(t, 4000), t.TempDir()
	for range 3 {
		s := newSandbox(t, Options{CacheDir: dir})
		var loads sync.WaitGroup
		for i := range 6 {
			loads.Go(func() {
				p, err := s.Load(t.Context(), Spec{Name: fmt.Sprintf("p%d", i), Wasm: wasm})
				if err != nil {
					t.Error(err)
					return
				}
				if failed := p.SetConfigs(t.Context(), map[string]Config{"shop": {JSON: []byte("{}")}}); failed != nil {
					t.Error(failed)
				}
				if _, err := handle(p, textCall('0')); err != nil {
					t.Error(err)
				}
			})
		}
		loads.Wait()
	}
}
