package server

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/wechat"
)

// BenchmarkHandler is the whole way of an encrypted text callback through the
// http.Handler: opening, decoding, the pipeline, the answer, sealing. Sealing
// the request is not in it.
func BenchmarkHandler(b *testing.B) {
	apps := "apps:\n" + appYAML("shop", "encrypted", "")
	for _, c := range []struct{ name, sections string }{
		{"reply", apps + "pipeline: { stages: [ { reply: { text: hello } } ] }\n"},
		{"go", probeSections(b, appYAML("shop", "encrypted", ""))},
		{"c", apps + fmt.Sprintf("plugins: { c: { source: %q } }\npipeline: { stages: [ { plugin: c } ] }\n", cGuest(b))},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := startHost(b, writeConfig(b, c.sections))
			benchmarkHandler(b, h)
		})
	}
}

func benchmarkHandler(b *testing.B, h *testHost) {
	a := testAccount(b, wechat.Encrypted)
	now := time.Now()
	requests := make([]request, b.N)
	for i := range requests {
		requests[i] = seal(a, textMessage(fmt.Sprint(i), "echo hello"), now)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r := requests[i]
		req := httptest.NewRequest(http.MethodPost, "/wx/shop?"+r.query, bytes.NewReader(r.body))
		w := httptest.NewRecorder()
		h.public.srv.Handler.ServeHTTP(w, req)
		if i == 0 {
			if got := openText(b, a, w.Body.Bytes()); got != "hello" {
				b.Fatalf("%d %q", w.Code, got)
			}
		} else if w.Code != http.StatusOK || w.Body.Len() < 100 {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

// cGuest compiles testdata/hello.c and returns the module's path.
func cGuest(b *testing.B) string {
	b.Helper()
	clang, err := exec.LookPath("clang")
	if err != nil {
		b.Skip("clang is not there: make deps")
	}
	module := filepath.Join(b.TempDir(), "hello.wasm")
	cmd := exec.CommandContext(b.Context(), clang, "--target=wasm32", "-O2", "-nostdlib", "-Wl,--no-entry", "-o", module, filepath.Join("testdata", "hello.c"))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	code, err := os.ReadFile(module)
	if err != nil {
		b.Fatal(err)
	}
	code, err = manifest.Embed(code, []byte("name: hello\nversion: 1.0.0\nabi: 1\ntitle: { en: Hello }\ndescription: { en: Says hello. }\nvendor: weft\nlicense: Apache-2.0\n"))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(module, code, 0o600); err != nil {
		b.Fatal(err)
	}
	return module
}
