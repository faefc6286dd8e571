package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestServeReloads: a running host takes a change of its file over by itself, and
// reads it again on SIGHUP.
func TestServeReloads(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		yaml := fmt.Sprintf(`weft: 1
server: { listen: "127.0.0.1:0", admin: "127.0.0.1:0" }
apps:
  shop: { type: official, app_id: %s, token: %s, mode: encrypted, encoding_aes_key: %s }
pipeline: { stages: [ { reply: { text: %s } } ] }
`, testAppID, testToken, testAESKey, text)
		if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	h := startHost(t, dir, weftBinary(t), "serve")
	say := func(id, want string) {
		t.Helper()
		if got, err := h.text("oUser", id, "hello"); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	say("1", "first")
	write("second")
	h.waitLog(1, `"msg":"reloaded","trigger":"watch"`)
	say("2", "second")
	if err := h.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.waitLog(1, `"msg":"reloaded","trigger":"signal"`)
	say("3", "second")
	if err := h.terminate(); err != nil {
		t.Errorf("serve: %v\n%s", err, h.logs)
	}
	if n := strings.Count(h.logs.String(), `"msg":"reloaded"`); n != 2 {
		t.Errorf("%d reloads\n%s", n, h.logs)
	}
}
