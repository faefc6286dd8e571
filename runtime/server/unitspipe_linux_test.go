package server

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnitsPipes: a root and a secret that come through pipes are read once, and
// what was read goes on.
func TestUnitsPipes(t *testing.T) {
	data := t.TempDir()
	if err := os.Symlink(compileCache, filepath.Join(data, "cache")); err != nil {
		t.Fatal(err)
	}
	through := func(text string) string {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if _, err := w.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("/dev/fd/%d", r.Fd())
	}
	root := func(answer, secret string) string {
		return fmt.Sprintf("weft: 1\nserver: { listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", data: %q }\n", data) +
			strings.Replace("apps:\n"+appYAML("root", "encrypted", "")+replying(answer), "token: "+testToken, "token: \"${file:"+secret+"}\"", 1)
	}
	h := startHost(t, through(root("r1", through(testToken))))
	if status, answer := h.postReload(t, ""); status != http.StatusUnprocessableEntity || !strings.Contains(answer.Problems[0].Text, "can't be read again") {
		t.Errorf("%d %+v", status, answer)
	}
	if got := h.answers(t, "1", "root"); got["root"] != "r1" {
		t.Errorf("got %v", got)
	}
}
