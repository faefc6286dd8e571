package server

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

// TestSendBesideBrokenFile: an included file that is wrong keeps nobody from
// sending callbacks to the apps of others.
func TestSendBesideBrokenFile(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	if err := os.WriteFile(filepath.Join(filepath.Dir(h.file), "client.yaml"), []byte("weft: 1\napps:\n"+appYAML("client", "encrypted", "")+"oops\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	replaceIn(t, h.file, "weft: 1\n", "weft: 1\ninclude: [ client.yaml ]\n")
	send := func(app string) (string, error) {
		answer, err := SendCallback(t.Context(), h.file, Callback{App: app, User: "oUser", Text: "hello", URL: h.url("/wx/shop")})
		return answer.Text, err
	}
	if got, err := send("shop"); err != nil || got != "你好" {
		t.Errorf("to an app of the root: %q, %v", got, err)
	}
	if _, err := send("client"); err == nil || !strings.Contains(err.Error(), "client.yaml:") || !strings.Contains(err.Error(), `no app "client"`) {
		t.Errorf("to an app of the broken file: %v", err)
	}
	if _, err := Doctor(t.Context(), h.file, DoctorOptions{App: "client"}); err == nil || !strings.Contains(err.Error(), "client.yaml:") || !strings.Contains(err.Error(), `no app "client"`) {
		t.Errorf("doctor of an app of the broken file: %v", err)
	}
	replaceIn(t, h.file, "pipeline:", "pipelien:")
	if _, err := send("shop"); err == nil || !strings.Contains(err.Error(), "pipelien") {
		t.Errorf("with a root that is wrong: %v", err)
	}
}

// TestFindAppAmongMany: of thousands of apps an error names some.
func TestFindAppAmongMany(t *testing.T) {
	cfg := new(config.Config)
	for i := range 3000 {
		cfg.Apps = append(cfg.Apps, &config.App{Name: "app" + strconv.Itoa(i)})
	}
	if _, err := findApp(cfg, "nope"); err == nil || !strings.HasSuffix(err.Error(), ", app19 and 2980 more") {
		t.Errorf("got %v", err)
	}
	if _, err := findApp(new(config.Config), "nope"); err == nil || err.Error() != `no app "nope": there is none` {
		t.Errorf("among none: %v", err)
	}
}
