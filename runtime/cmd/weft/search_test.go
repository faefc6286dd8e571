package main

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/simulator"
)

// sampleSecrets are those that the examples have where the environment names none.
func sampleSecrets(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository(t), "examples", "*", "pipeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`SECRET:-([^}]+)}`).FindAllStringSubmatch(string(src), -1) {
			all = append(all, m[1])
		}
	}
	if len(all) < 3 {
		t.Fatalf("the examples have %d secrets", len(all))
	}
	return all
}

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
	secrets = append(secrets, sampleSecrets(t)...)
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
