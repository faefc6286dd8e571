package server

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/weft-dev/weft/runtime/wechat"
)

// TestIndependentClient sends a callback that OpenSSL built, and has the same
// tools check and open the answer.
func TestIndependentClient(t *testing.T) {
	for _, program := range []string{"openssl", "curl", "sha1sum", "od"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not there: make deps", program)
		}
	}
	h := startHost(t, writeConfig(t, probeSections(t, appYAML("shop", "encrypted", ""))))
	message := filepath.Join(t.TempDir(), "message.xml")
	for _, text := range []string{"hello", "你好，世界", "a longer text that needs another block of the cipher and one more"} {
		if err := os.WriteFile(message, textMessage(text, "echo "+text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", filepath.Join("testdata", "callback.sh"), h.url("/wx/shop"), testToken, testKey, testAppID, message)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		answer, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, errs.String())
		}
		if got := replyText(answer, wechat.XML); got != text {
			t.Errorf("%q, want %q: %s", got, text, answer)
		}
	}
}
