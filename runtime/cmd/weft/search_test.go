package main

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/simulator"
)

// TestSearch: .ci/search, which `make test` runs the tests below, finds what the fake
// WeChat gives and what tests have as secrets, in what a command writes and in what
// hosts log.
func TestSearch(t *testing.T) {
	w := simulator.New(simulator.Options{})
	srv := httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); srv.Close() })
	w.Set(simulator.App{ID: testAppID, Secret: fleetSecret})
	code := w.NewCode(testAppID, simulator.LoginCode, "oUser", "")
	resp, err := srv.Client().Get(srv.URL + "/sns/jscode2session?grant_type=authorization_code&appid=" + testAppID + "&secret=" + fleetSecret + "&js_code=" + code)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	resp, err = srv.Client().Get(srv.URL + "/cgi-bin/token?grant_type=client_credential&appid=" + testAppID + "&secret=" + fleetSecret)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	secrets := append(w.Issued(), code, signSecret)
	if len(secrets) < 5 {
		t.Fatalf("WeChat gave %d secrets", len(secrets))
	}
	script := filepath.Join(repository(t), ".ci", "search")
	search := func(command, text string) (found bool) {
		cmd := exec.Command(script, "sh", "-c", command)
		cmd.Env = append(os.Environ(), "TEXT="+text)
		out, err := cmd.CombinedOutput()
		if _, exited := err.(*exec.ExitError); err != nil && !exited {
			t.Fatal(err)
		}
		if found = err != nil; found != strings.Contains(string(out), "of .ci/secrets") {
			t.Errorf("%v: %s", err, out)
		}
		return found
	}
	const written, logged = `echo "a $TEXT b"`, `echo "a $TEXT b" >"$WEFT_TEST_OUTPUT/host.log"`
	for _, secret := range secrets {
		if !search(written, secret) || !search(logged, secret) {
			t.Errorf("%.12s… is not found", secret)
		}
	}
	if search(written, "nothing") || search(logged, "nothing") {
		t.Error("it finds what is none")
	}
	if err := exec.Command(script, "false").Run(); err == nil {
		t.Error("a command that fails is right")
	}
}
